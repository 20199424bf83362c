package cmd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

func commandsCommand(a *app) *cobra.Command {
	return group("commands", "Manage commands that were published on the bus",
		"  life commands poisoned list", poisonedCommand(a))
}

func poisonedCommand(a *app) *cobra.Command {
	return group("poisoned", "Manage commands that could not be executed",
		"  life commands poisoned list\n  life commands poisoned retry 3\n  life commands poisoned drop 3 --reason \"sent by mistake\"",
		poisonedListCommand(a), poisonedRetryCommand(a), poisonedDropCommand(a))
}

// poisonedFlags are those of the verbs about poisoned commands.
type poisonedFlags struct {
	tenant string
	asJSON bool
}

func (f *poisonedFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tenant, "tenant", string(sagas.DefaultTenant), "tenant that the commands belong to")
	jsonFlag(cmd, &f.asJSON)
}

func (f *poisonedFlags) check() (events.TenantID, error) {
	tenant := events.TenantID(f.tenant)
	if err := tenant.Validate(); err != nil {
		return "", usage("--tenant: %w", err)
	}
	return tenant, nil
}

func poisonedListCommand(a *app) *cobra.Command {
	var f poisonedFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the commands that could not be executed and were neither retried nor dropped",
		Long: "List the commands that could not be executed and were neither retried nor dropped, with the reason. A command is poisoned\n" +
			"if it cannot be read, or if several attempts to decide it failed. A command that an agent refused is not poisoned: it has a\n" +
			"response. docs/bus.md describes both.",
		Example: "  life commands poisoned list\n  life commands poisoned list --tenant acme --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tenant, err := f.check()
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				list, err := host.Poisoned(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				return a.printPoisoned(list, f.asJSON)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) printPoisoned(list []api.PoisonedCommand, asJSON bool) error {
	if asJSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.errs, "no command is poisoned")
		return nil
	}
	w := table(a.out)
	fmt.Fprintln(w, "NUMBER\tCOMMAND\tTYPE\tPUBLISHED AS\tPOISONED\tREASON")
	for i := range list {
		c := &list[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", c.Entry, c.Command, c.Type, c.Event, clock(c.At), strings.Join(strings.Fields(c.Reason), " "))
	}
	return w.Flush()
}

func poisonedRetryCommand(a *app) *cobra.Command {
	var f poisonedFlags
	cmd := &cobra.Command{
		Use:     "retry NUMBER",
		Short:   "Publish a poisoned command again, with its id",
		Long:    "Publish a poisoned command again, with its id: if it was executed after all, it is not executed twice.",
		Example: "  life commands poisoned retry 3",
		Args:    takes(1, 1, "the number of one poisoned command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.settlePoisoned(cmd, args[0], &f, "published again", func(host reached, tenant events.TenantID, entry events.Revision) error {
				return host.Retry(cmd.Context(), tenant, entry, a.person())
			})
		},
	}
	f.add(cmd)
	return cmd
}

func poisonedDropCommand(a *app) *cobra.Command {
	var f poisonedFlags
	reason := ""
	cmd := &cobra.Command{
		Use:     "drop NUMBER",
		Short:   "Record that a poisoned command will never be executed, and why",
		Example: "  life commands poisoned drop 3 --reason \"sent by mistake\"",
		Args:    takes(1, 1, "the number of one poisoned command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage("give the reason with --reason: it is recorded")
			}
			return a.settlePoisoned(cmd, args[0], &f, "dropped", func(host reached, tenant events.TenantID, entry events.Revision) error {
				return host.Drop(cmd.Context(), tenant, entry, a.person(), reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it will never be executed")
	f.add(cmd)
	return cmd
}

// settlePoisoned does something about a poisoned command, and says so.
func (a *app) settlePoisoned(
	cmd *cobra.Command, number string, f *poisonedFlags, done string, do func(reached, events.TenantID, events.Revision) error,
) error {
	tenant, err := f.check()
	if err != nil {
		return err
	}
	entry, err := strconv.ParseInt(number, 10, 64)
	if err != nil || entry < 0 {
		return usage("%q is not the number of a poisoned command; life commands poisoned list shows them", number)
	}
	return a.with(cmd.Context(), func(host reached) error {
		if err := do(host, tenant, events.Revision(entry)); err != nil {
			return err
		}
		if f.asJSON {
			return a.printJSON(map[string]string{"entry": number, "done": done})
		}
		fmt.Fprintf(a.out, "%s: poisoned command %d\n", done, entry)
		return nil
	})
}
