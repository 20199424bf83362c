package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.com/life/adapters/providers"
)

func sampleCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "sample DIR",
		Short:   "Write a small workspace for the tour to a new directory",
		Example: "  life sample /tmp/tour && life run --workspace /tmp/tour \"Take the tour\"",
		Args:    takes(1, 1, "the name of a new directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			files, err := providers.Sample()
			if err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s already exists: name a new directory", dir)
			} else if err != nil {
				return fmt.Errorf("create the sample: %w", err)
			}
			if err := os.CopyFS(dir, files); err != nil {
				return fmt.Errorf("write the sample: %w", err)
			}
			fmt.Fprintln(a.out, dir)
			return nil
		},
	}
}
