package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.com/life/cmd/stores"
)

func storeCommand(a *app) *cobra.Command {
	return group("store", "Check, copy, export, import and serve the event store", "  life store check\n  life store export backup.jsonl\n  life store serve --insecure",
		storeCheckCommand(a), storeless(aboutData, storeServeCommand(a)), storeless(aboutData, storeUsersCommand(a)),
		storeless(aboutNone, storeCertificatesCommand(a)), storeExportCommand(a), storeImportCommand(a), storeless(aboutBoth, storeCopyCommand(a)))
}

func storeCheckCommand(a *app) *cobra.Command {
	asJSON, progress := false, false
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read everything that is stored and report damage",
		Long: "Read everything that is stored, events and blobs, and report damage: changed bytes and missing records. It exits with status 1 if\n" +
			"it finds any. Of an EventStoreDB it reads what the server returns, and lists what it cannot check.\n" +
			"life verify checks the meaning of events.",
		Example: "  life store check\n  life store check --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := stores.Openable(a.place()); err != nil {
				return err // nothing is not sound
			}
			return a.with(cmd.Context(), func(host reached) error {
				m := a.newMeter(progress)
				defer m.done()
				report, err := host.CheckStore(cmd.Context(), func(checked, total int64) { m.show("%d of %d events read", checked, total) })
				if err != nil {
					return err
				}
				m.done()
				damage := len(report.Damage) + report.More
				failed := &exit{exitError, fmt.Errorf("%d damaged items; restore %s from a backup", damage, a.damaged())}
				if asJSON {
					if err := a.printJSON(report); err != nil || damage == 0 {
						return err
					}
					return failed
				}
				for _, d := range report.Damage {
					fmt.Fprintln(a.out, d.Problem)
				}
				if damage > 0 {
					return failed
				}
				fmt.Fprintf(a.out, "ok: %d events in %d streams\n", report.Events, report.Streams)
				for _, what := range report.Unchecked {
					fmt.Fprintf(a.out, "not checked: %s\n", what)
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

// damaged names what to restore.
func (a *app) damaged() string {
	if at := a.place(); !at.Embedded() {
		return "the store at " + at.String()
	}
	return "the data directory"
}

// here is the data directory for verbs about its own store alone. Another store that is set, which other verbs use, is mentioned.
func (a *app) here() string {
	data, store := a.config.get("data"), a.config.find("store")
	if stores.IsAddress(store.value) {
		fmt.Fprintf(a.errs, "life: this checks the store in %s, not the one at %s (%s)\n", data, stores.Masked(store.value), store.source)
	}
	return data
}
