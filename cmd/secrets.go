package cmd

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

func secretsCommand(a *app) *cobra.Command {
	return group("secrets", "Find secrets in what is stored", "  life secrets audit", secretsAuditCommand(a))
}

func secretsAuditCommand(a *app) *cobra.Command {
	masking, asJSON, progress := "", false, false
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Find secrets in history that came in before they were masked",
		Long: "Read everything that is stored, events, large texts and recorded files, and name where there are secrets that would be masked\n" +
			"today: the event, the field and the rule. No part of a secret is shown. It exits with status 1 if there are any;\n" +
			"docs/operations.md says what to do then. It also counts what was masked, by rule.",
		Example: "  life secrets audit\n  life secrets audit --masking strict --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := events.MaskingLevel(masking)
			switch level {
			case events.MaskKnown, events.MaskShapes, events.MaskStrict:
			default:
				return usage("--masking is %q: it is known, shapes or strict", masking)
			}
			if err := stores.Openable(a.place()); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				m := a.newMeter(progress)
				defer m.done()
				report, err := host.AuditSecrets(cmd.Context(), level, func(checked, total int64) { m.show("position %d of %d", checked, total) })
				if err != nil {
					return err
				}
				m.done()
				return a.printAudit(&report, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&masking, "masking", string(events.MaskShapes), "secrets to look for: known (what the host knows), shapes (credentials of well-known shape too), strict (guesses by name too)")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

func (a *app) printAudit(report *api.SecretsReport, asJSON bool) error {
	found := len(report.Findings) + report.More
	var failed error
	if found > 0 {
		failed = &exit{exitError, coded("secrets", "secrets stand in %d places: revoke each, and see docs/operations.md for what to do about the history", found)}
	}
	if asJSON {
		return cmp.Or(a.printJSON(report), failed)
	}
	w := table(a.out)
	for _, f := range report.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", events.NewRef(f.Stream, f.Revision), f.Kind, f.Field, times(f.Rule, f.Count))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if report.More > 0 {
		fmt.Fprintf(a.out, "and %d more\n", report.More)
	}
	for _, unread := range report.Unread {
		fmt.Fprintf(a.out, "not read: %s\n", unread)
	}
	masked := make([]string, len(report.Masked))
	for i, m := range report.Masked {
		masked[i] = times(m.Rule, m.Count)
	}
	fmt.Fprintf(a.out, "%d events and %d blobs read; masked before they were stored: %s\n", report.Events, report.Blobs, cmp.Or(strings.Join(masked, ", "), "nothing"))
	return failed
}

// times is a rule and how often it matched.
func times(rule string, count int) string {
	if count == 1 {
		return rule
	}
	return fmt.Sprintf("%s (%d times)", rule, count)
}
