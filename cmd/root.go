package cmd

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/life/cmd/stores"
)

// newRoot returns the command with all its verbs. The list is the only one.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "life",
		Short: "Run AI agents whose every step is a stored event",
		Long: "life runs long-lived AI agents. Every message of every turn is a stored event, so you can kill an agent at any instant and it\n" +
			"resumes where it stopped, and you can inspect and verify any moment of its past.",
		Example:       "  life demo\n  life serve &\n  life send demo \"And now?\"\n  life history demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd); err != nil {
				return &codedError{"settings", err}
			}
			return a.refuseStore(cmd)
		},
		Version: a.build.Version,
	}
	root.SetVersionTemplate(a.versionLine())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			if now, was := renamed(unknown.GetSpecifiedName()); was && cmd.Flags().Lookup(now) != nil {
				return usage("--%s is called --%s now", unknown.GetSpecifiedName(), now)
			}
			if flag := nearestFlag(cmd, unknown.GetSpecifiedName()); flag != "" {
				return usage("%w; did you mean --%s?", err, flag)
			}
		}
		return usage("%w; %s --help lists the flags", err, cmd.CommandPath())
	})
	addSettingFlags(root)
	root.AddCommand(
		demoCommand(a), runCommand(a), serveCommand(a), clusterCommand(a),
		agentsCommand(a), sendCommand(a), cancelCommand(a), compactCommand(a), approvalsCommand(a), approveCommand(a), denyCommand(a), answerCommand(a),
		tailCommand(a), historyCommand(a), stateCommand(a), workspaceCommand(a), undoCommand(a), diffCommand(a), waterfallCommand(a), causesCommand(a), effectsCommand(a),
		forkCommand(a), whatIfCommand(a), treeCommand(a), rulesCommand(a), permissionsCommand(a), verifyCommand(a), secretsCommand(a), projectionsCommand(a),
		knowledgeCommand(a), walletCommand(a), storeCommand(a), commandsCommand(a), forwardCommand(a),
		doctorCommand(a), storeless(aboutNone, sampleCommand(a)), benchCommand(a), storeless(aboutNone, versionCommand(a)),
	)
	root.AddCommand(catalogueCommands(a)...)
	addCompletion(root)
	a.complete(root)
	a.completeModel(root)
	return root
}

// addCompletion adds the verb that prints cobra's scripts for shells.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		storeless(aboutNone, cmd).Example = "  source <(life completion bash)"
		for _, shell := range cmd.Commands() {
			shell.Example = "  " + shell.CommandPath()
		}
	}
}

// nearestFlag is the flag of a command that was probably meant; empty if none is near.
func nearestFlag(cmd *cobra.Command, typed string) string {
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
	return nearest(typed, flags)
}

// noVerb refuses arguments of a command that only groups others.
func noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, below := range cmd.Commands() {
		verbs = append(verbs, below.Name())
	}
	if verb := nearest(args[0], verbs); verb != "" {
		return usage("there is no %q in %s; did you mean %s %s?", args[0], cmd.CommandPath(), cmd.CommandPath(), verb)
	}
	return usage("there is no %q in %s; %s --help lists what there is", args[0], cmd.CommandPath(), cmd.CommandPath())
}

// group returns a command that only groups others.
func group(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short, Example: example, Args: noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(verbs...)
	return command
}

// takes checks the number of arguments; names says what they are.
func takes(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usage("%s takes %s; got %d; see %s --help", cmd.CommandPath(), names, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// Why verbs have no use for the flag --store, which every verb takes.
const (
	aboutNone = "it does not use a store"
	aboutOwn  = "it creates its own store"
	aboutData = "it works on the store in a data directory (--data)"
	aboutBoth = "its arguments name both stores"
)

// storeless marks a verb, and those below it, that has no use for the flag --store.
func storeless(why string, cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{"storeless": why}
	return cmd
}

// refuseStore refuses the address of a store on the command line of a verb that would ignore it. One that is set for all verbs is ignored.
func (a *app) refuseStore(cmd *cobra.Command) error {
	store := a.config.find("store")
	if !stores.IsAddress(store.value) || !strings.HasPrefix(store.source, "flag") {
		return nil
	}
	for at := cmd; at != nil; at = at.Parent() {
		if why := at.Annotations["storeless"]; why != "" {
			return usage("%s does not take --store: %s; remove --store", cmd.CommandPath(), why)
		}
	}
	return nil
}

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
			fmt.Fprint(a.out, a.versionLine())
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// versionLine is what life version and life --version print.
func (a *app) versionLine() string {
	return fmt.Sprintf("life %s %s/%s %s\n", a.build.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
