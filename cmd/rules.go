package cmd

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

func rulesCommand(a *app) *cobra.Command {
	return group("rules", "Show and replace homeostasis rules, which advise agents how to work", "  life rules show\n  life rules adopt rules.json",
		rulesShowCommand(a), rulesAdoptCommand(a))
}

func rulesShowCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show [TENANT]",
		Short:   "Show a tenant's homeostasis rules",
		Long:    "Show a tenant's homeostasis rules: the first rule that matches an agent's state decides its operating mode. life rules adopt reads the JSON form.",
		Example: "  life rules show\n  life rules show accounts --json > rules.json",
		Args:    takes(0, 1, "at most one tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tenant := tenantOf(args)
			return a.with(cmd.Context(), func(host reached) error {
				found, err := host.Rules(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				rules := api.NewRules(tenant, found)
				if asJSON {
					return a.printJSON(map[string][]events.Rule{"rules": rules.Rules})
				}
				return printRules(seen(a.out), &rules)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func tenantOf(args []string) events.TenantID {
	if len(args) == 0 {
		return sagas.DefaultTenant
	}
	return events.TenantID(args[0])
}

func printRules(out io.Writer, rules *api.Rules) error {
	if rules.Revision == events.NoRevision {
		fmt.Fprintf(out, "tenant %s has adopted no rules; these are the defaults:\n", rules.Tenant)
	} else {
		fmt.Fprintf(out, "rules of tenant %s, revision %d:\n", rules.Tenant, rules.Revision)
	}
	w := table(out)
	fmt.Fprintln(w, "RULE\tWHEN\tMODE")
	for i := range rules.Rules {
		r := &rules.Rules[i]
		when := r.Measure
		if r.AtLeast != nil {
			when += fmt.Sprintf(" ≥ %g", *r.AtLeast)
		}
		if r.AtMost != nil {
			when += fmt.Sprintf(" ≤ %g", *r.AtMost)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", events.Visible(r.Name), when, r.Mode)
	}
	return w.Flush()
}

func rulesAdoptCommand(a *app) *cobra.Command {
	tenant := ""
	asJSON := false
	cmd := &cobra.Command{
		Use:   "adopt FILE",
		Short: "Replace a tenant's homeostasis rules",
		Long: "Replace a tenant's homeostasis rules with those of a JSON file, a list of {\"name\", \"measure\", \"at_least\" or \"at_most\", \"mode\"}. They apply\n" +
			"to the tenant's agents from their next advice on; earlier advice stays as it was.",
		Example: "  life rules adopt rules.json\n  life rules adopt strict.json --tenant accounts",
		Args:    takes(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readPrompt(args[0])
			if err != nil {
				return err
			}
			rules, err := actors.ReadRules([]byte(text))
			if err != nil {
				return usage("%s: %w", args[0], err)
			}
			return a.with(cmd.Context(), func(host reached) error {
				receipt, err := host.Do(cmd.Context(), events.HomeostasisStream(events.TenantID(tenant)), sagas.Adopt{Meta: newMeta(""), Rules: rules, By: a.person()}, origin())
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(receipt)
				}
				fmt.Fprintf(a.out, "tenant %s has adopted %d rules, revision %d\n", tenant, len(rules), receipt.Revision)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", string(sagas.DefaultTenant), "tenant that the rules belong to")
	jsonFlag(cmd, &asJSON)
	return cmd
}
