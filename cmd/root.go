package cmd

import (
	"github.com/spf13/cobra"
)

// newRoot returns the command with all its verbs. The list is the only one.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "life",
		Short:         "Run agents whose every step is stored",
		Long:          "life runs agents. Every message of every turn is a stored event, so an agent can be killed at any instant and goes on\nwhere it stopped, and any moment of its past can be looked at and verified.",
		Example:       "  life run \"Take the tour\"\n  life serve &\n  life send demo \"And now?\"\n  life history demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.configure(cmd)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; %s --help lists the flags", err, cmd.CommandPath())
	})
	addSettingFlags(root)
	root.AddCommand(
		runCommand(a), serveCommand(a),
		agentsCommand(a), sendCommand(a), cancelCommand(a), approveCommand(a), denyCommand(a),
		tailCommand(a), historyCommand(a), stateCommand(a), workspaceCommand(a), diffCommand(a), waterfallCommand(a), causesCommand(a), effectsCommand(a),
		forkCommand(a), whatIfCommand(a), treeCommand(a), rulesCommand(a), verifyCommand(a), projectionsCommand(a),
		knowledgeCommand(a), walletCommand(a), storeCommand(a), commandsCommand(a), forwardCommand(a),
		doctorCommand(a), sampleCommand(a), benchCommand(a), versionCommand(a),
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
			return usage("%s takes %s, %d given; see %s --help", cmd.CommandPath(), names, len(args), cmd.CommandPath())
		}
		return nil
	}
}
