package cmd

import (
	"errors"
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
		Example:       "  life run \"Take the tour\"\n  life serve &\n  life send demo \"And now?\"\n  life history demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd); err != nil {
				return err
			}
			return a.refuseStore(cmd)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			if now, was := renamed(unknown.GetSpecifiedName()); was && cmd.Flags().Lookup(now) != nil {
				return usage("--%s is called --%s now", unknown.GetSpecifiedName(), now)
			}
		}
		return usage("%w; %s --help lists the flags", err, cmd.CommandPath())
	})
	addSettingFlags(root)
	root.AddCommand(
		runCommand(a), serveCommand(a),
		agentsCommand(a), sendCommand(a), cancelCommand(a), approveCommand(a), denyCommand(a),
		tailCommand(a), historyCommand(a), stateCommand(a), workspaceCommand(a), diffCommand(a), waterfallCommand(a), causesCommand(a), effectsCommand(a),
		forkCommand(a), whatIfCommand(a), treeCommand(a), rulesCommand(a), verifyCommand(a), projectionsCommand(a),
		knowledgeCommand(a), walletCommand(a), storeCommand(a), commandsCommand(a), forwardCommand(a),
		doctorCommand(a), storeless(aboutNone, sampleCommand(a)), benchCommand(a), storeless(aboutNone, versionCommand(a)),
	)
	return root
}

// noVerb refuses arguments of a command that only groups others.
func noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
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
