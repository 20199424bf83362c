package cmd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// lookupTime is how long a completion or a suggestion may look for names.
const lookupTime = 2 * time.Second

// maxNames is how many names of a kind a completion or a suggestion looks at.
const maxNames = 1000

// named returns the names of what an argument's placeholder in the help stands for, such as AGENT; nothing for one that has no list.
func (a *app) named(ctx context.Context, cmd *cobra.Command, placeholder string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var names []string
	switch {
	case placeholder == "AGENT" || placeholder == "NAMES":
		return names, a.with(ctx, func(host reached) error {
			list, err := host.Agents(ctx, projections.AgentFilter{Limit: maxNames})
			for i := range list {
				names = append(names, string(list[i].ID))
			}
			return err
		})
	case placeholder == "MODEL":
		return a.modelNames()
	case placeholder == "NAME" && cmd.Parent() != nil && cmd.Parent().Name() == "projections":
		return names, a.with(ctx, func(host reached) error {
			list, err := host.Projections(ctx)
			for i := range list {
				names = append(names, list[i].Name)
			}
			return err
		})
	}
	return nil, nil
}

// modelNames are those of the models that are known, of providers and endpoints that are configured.
func (a *app) modelNames() ([]string, error) { return a.catalogue().ModelNames() }

// completeModel makes the shell complete the setting model.
func (a *app) completeModel(root *cobra.Command) {
	if err := root.RegisterFlagCompletionFunc("model", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		if a.configure(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := a.modelNames()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}); err != nil { // only for a flag that is not there
		panic(err)
	}
}

// placeholders are those of a verb's arguments, such as AGENT and CALL of approve.
func placeholders(cmd *cobra.Command) []string {
	fields := strings.Fields(cmd.Use)[1:]
	for i := range fields {
		fields[i] = strings.Trim(fields[i], "[].")
	}
	return fields
}

// placeholder is the one that the argument with that index has; the last one of a list stands for the rest of it.
func placeholder(cmd *cobra.Command, index int) string {
	all := placeholders(cmd)
	switch {
	case index < len(all):
		return all[index]
	case len(all) > 0 && strings.Contains(cmd.Use, "..."):
		return all[len(all)-1]
	}
	return ""
}

// complete makes the shell complete what has a list: arguments by their placeholders, and flags by their names.
func (a *app) complete(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		a.complete(below)
	}
	names := func(cmd *cobra.Command, placeholder string) ([]string, cobra.ShellCompDirective) {
		if a.configure(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := a.named(cmd.Context(), cmd, placeholder)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	if len(placeholders(cmd)) > 0 && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch what := placeholder(cmd, len(args)); what {
			case "FILE", "DIR", "FROM", "TO":
				return nil, cobra.ShellCompDirectiveDefault
			default:
				return names(cmd, what)
			}
		}
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"agent": func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return names(cmd, "AGENT")
		},
		"agents": func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return names(cmd, "AGENT")
		},
		"parent": func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return names(cmd, "AGENT")
		},
		"status": cobra.FixedCompletions(projections.AgentStatuses(), cobra.ShellCompDirectiveNoFileComp),
		"set":    completeKeys,
	} {
		if cmd.LocalNonPersistentFlags().Lookup(flag) != nil {
			if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil { // only for a flag that is not there
				panic(err)
			}
		}
	}
}

// completeKeys completes the keys of KEY=VALUE.
func completeKeys(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	keys, about := actors.SettingKeys()
	completions := make([]string, len(keys))
	for i := range keys {
		completions[i] = cobra.CompletionWithDesc(keys[i]+"=", about[i])
	}
	return completions, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// guess says which name was probably meant when a command's argument names something that does not exist; empty if none is near.
func (a *app) guess(ctx context.Context, cmd *cobra.Command, err error) string {
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedMissing {
		return ""
	}
	for i, argument := range cmd.Flags().Args() {
		known, err := a.named(ctx, cmd, placeholder(cmd, i))
		if err != nil || len(known) == 0 || slices.Contains(known, argument) {
			continue
		}
		if name := nearest(argument, known); name != "" {
			return "\n  did you mean " + name + "?"
		}
	}
	return ""
}

// nearest is the name that needs the fewest changes of a letter to be the one that was typed; empty if all are too far from it.
func nearest(typed string, names []string) string {
	best, least := "", max(1, min(len(typed)/3, 4))+1
	typed = events.Clip(typed, 200)
	for _, name := range names {
		if changes := levenshtein.ComputeDistance(strings.ToLower(typed), strings.ToLower(name)); changes < least {
			best, least = name, changes
		}
	}
	return best
}
