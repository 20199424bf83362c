package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  life version",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			revision := ""
			if build, ok := debug.ReadBuildInfo(); ok {
				for _, s := range build.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			if asJSON {
				return a.printJSON(map[string]string{"version": a.build.Version, "revision": revision, "go": runtime.Version()})
			}
			fmt.Fprintf(a.out, "life %s %s/%s %s\n", a.build.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
