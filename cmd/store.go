package cmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/cmd/transfer"
	"example.com/life/events"
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
				failed := &exit{exitError, coded("corrupt", "%d damaged items; restore %s from a backup", damage, a.damaged())}
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

type copyFlags struct {
	fromCredentials, toCredentials string
	asJSON, progress               bool
}

func storeCopyCommand(a *app) *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a store to another one, and compare both",
		Long: "Copy every event with its id, revision and order between two stores, each a data directory or the address of an EventStoreDB. TO must\n" +
			"be empty or hold the beginning of a copy: an interrupted copy, or a later copy of a store that has grown, continues where TO ends.\n" +
			"Until a copy is finished, every other command refuses TO and names the command that finishes it. At the end both stores are read and compared by digest. The latest metadata of each stream are copied, and streams that were deleted\n" +
			"permanently are deleted last. A data directory also keeps positions and times; EventStoreDB assigns its own.\n" +
			"Users, and consumer groups with their checkpoints, are not copied. Blobs are copied between data directories.",
		Example: "  life store copy ~/.local/share/life esdb://127.0.0.1:2113?tls=false\n  life store copy esdb://db.example:2113 restored --from-credentials-file ~/.esdb --json",
		Args:    takes(2, 2, "two stores, each a data directory or an address such as esdb://127.0.0.1:2113"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := a.copyStore(cmd.Context(), args[0], args[1], &f)
			if err != nil {
				return err
			}
			return a.printCopied(report, f.asJSON)
		},
	}
	cmd.Flags().StringVar(&f.fromCredentials, "from-credentials-file", "", "file with user:password for FROM (default: --store-credentials-file)")
	cmd.Flags().StringVar(&f.toCredentials, "to-credentials-file", "", "file with user:password for TO (default: --store-credentials-file)")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// placeOf reads a store's name on the command line.
func (a *app) placeOf(text, credentials string) (stores.Location, error) {
	p := stores.Location{Data: text, Say: a.errs}
	if stores.IsAddress(text) {
		p = stores.Location{Address: text, Credentials: credentials, Say: a.errs}
		if credentials == "" {
			p.Credentials = a.config.get("store-credentials-file")
		}
		if err := p.CheckAddress(true); err != nil {
			return p, &exit{exitUsage, err}
		}
		return p, nil
	}
	var err error
	if p.Data, err = filepath.Abs(text); err != nil {
		return p, fmt.Errorf("find %s: %w", text, err)
	}
	return p, nil
}

func (a *app) copyStore(ctx context.Context, from, to string, f *copyFlags) (report transfer.Copied, err error) {
	source, err := a.placeOf(from, f.fromCredentials)
	if err != nil {
		return report, err
	}
	target, err := a.placeOf(to, f.toCredentials)
	if err != nil {
		return report, err
	}
	if source.String() == target.String() {
		return report, usage("%s cannot be copied into itself", source)
	}
	report.From, report.To = source.String(), target.String()
	reading, err := a.openSource(ctx, source)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, reading.Close()) }()
	target.Filling = true
	writing, err := target.Open(ctx, a.log)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, writing.Close()) }()
	m := a.newMeter(f.progress)
	defer m.done()
	c := transfer.NewCopier(reading, writing, "life store copy "+quote(report.From)+" "+quote(report.To), m.show)
	if source.Embedded() && target.Embedded() {
		if err := c.CopyBlobs(source.Data, target.Data); err != nil {
			return report, err
		}
	}
	err = c.Run(ctx, &report)
	return report, err
}

func (a *app) printCopied(r transfer.Copied, asJSON bool) error {
	if asJSON {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.out, "ok: %d events in %d streams are the same in both, %d of them new\ndigest %s\n", r.Events, r.Streams, r.New, r.Digest)
	if r.Left > 0 {
		fmt.Fprintf(a.errs, "life: %d events of the store's own streams are not copied: users, and consumer groups with their checkpoints\n", r.Left)
	}
	switch {
	case !stores.IsAddress(r.From) && stores.IsAddress(r.To):
		fmt.Fprintf(a.errs, "life: blobs stay in %s: hosts that use the copy need that directory in their data directory\n", filepath.Join(r.From, stores.BlobsName))
	case stores.IsAddress(r.From):
		fmt.Fprintln(a.errs, "life: blobs are not copied: hosts that use the copy need the directory blobs of the hosts that wrote it")
	}
	return nil
}

func storeExportCommand(a *app) *cobra.Command {
	from, progress := "", false
	cmd := &cobra.Command{
		Use:   "export [FILE|-]",
		Short: "Write all events as lines of JSON",
		Long: "Write every event as a line of JSON, in order of position, including the store's own streams: ids, positions, revisions, times, data\n" +
			"and metadata, byte for byte. The last line has a count and a digest, so that a truncated file is detected. The same store always\n" +
			"gives the same file. FILE is complete or as it was; a device, a pipe or - is written to as such, and a link stays. Blobs, which hold large texts and workspace files, are not included: copy the directory blobs/ of the data\n" +
			"directory too. The embedded store must not be in use; export one behind life store serve through its address (--store).\n" +
			"life store import reads the file.",
		Example: "  life store export backup.jsonl\n  life store export | zstd > backup.jsonl.zst\n  life store export --store esdb://127.0.0.1:2113?tls=false --from 120 since.jsonl",
		Args:    takes(0, 1, "at most one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			first, err := parsePosition("--from", from, 0)
			if err != nil {
				return err
			}
			file := "-"
			if len(args) > 0 {
				file = args[0]
			}
			return a.export(cmd.Context(), file, first, progress)
		},
	}
	cmd.Flags().StringVar(&from, "from", "1", "first position to write")
	progressFlag(cmd, &progress)
	return cmd
}

// parsePosition reads a position that is at least as great as one.
func parsePosition(flag, text string, least events.Position) (events.Position, error) {
	position, err := strconv.ParseUint(text, 10, 64)
	if err != nil || events.Position(position) < least {
		return 0, usage("%s is %q: a position must be a number from %d to %d", flag, text, least, uint64(math.MaxUint64))
	}
	return events.Position(position), nil
}

// warnOfBlobs says what an export does not hold, if its events refer to any of it.
func (a *app) warnOfBlobs(count int64) {
	if count > 0 {
		fmt.Fprintf(a.errs, "life: %d events refer to blobs, which are not included: large texts and workspace files. Copy the directory blobs\n"+
			"  of the data directory too (%s): without it, forks cannot restore these files\n", count, filepath.Join(a.config.get("data"), stores.BlobsName))
	}
}

// openSource opens a store that is only read.
func (a *app) openSource(ctx context.Context, at stores.Location) (stores.Journal, error) {
	if err := stores.Openable(at); err != nil {
		return nil, err
	}
	return at.Open(ctx, a.log)
}

func storeImportCommand(a *app) *cobra.Command {
	progress := false
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Restore the events of an export at their positions",
		Long: "Store the events of a file written by life store export, each with its id, stream, revision, position and time, in the embedded\n" +
			"store of the data directory. The whole file is checked first; what comes through a pipe, or - for standard input, is stored as it\n" +
			"comes. Until an import is finished, every other command refuses the store, and names the command that finishes it: the same import.\n" +
			"Events that are already stored are skipped; an event that contradicts a stored one ends it. EventStoreDB assigns its own positions:\n" +
			"import into a data directory and use life store copy. Blobs, which hold large texts and workspace files, are not included: copy the\n" +
			"directory blobs/ too. life store check lists missing blobs.",
		Example: "  life store import backup.jsonl --data restored\n  zstd -dc backup.jsonl.zst | life store import - --data restored",
		Args:    takes(1, 1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importFile(cmd.Context(), args[0], progress)
		},
	}
	progressFlag(cmd, &progress)
	return cmd
}

// export writes the store to a file, which is complete or not there, or to standard output.
func (a *app) export(ctx context.Context, file string, from events.Position, progress bool) (err error) {
	source, err := a.openSource(ctx, a.place())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	m := a.newMeter(progress)
	defer m.done()
	if file == "-" {
		_, blobs, err := transfer.Export(ctx, source, a.out, from, m.show)
		m.done()
		a.warnOfBlobs(blobs)
		return err
	}
	count, blobs, err := transfer.ExportTo(ctx, source, file, a.out, from, m.show)
	if err != nil {
		return err
	}
	m.done()
	fmt.Fprintf(a.errs, "life: %d events written to %s\n", count, file)
	a.warnOfBlobs(blobs)
	return nil
}

func (a *app) importFile(ctx context.Context, name string, progress bool) error {
	at := a.place()
	if !at.Embedded() {
		return usage("%s assigns its own positions, so nothing can be imported there: import into a data directory (--store %s --data NEW), then life store copy NEW %s", at, stores.InData, at)
	}
	from := os.Stdin
	if name == "-" {
		name = "standard input"
	} else {
		file, err := openExport(ctx, name)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer file.Close()
		from = file
	}
	m := a.newMeter(progress)
	defer m.done()
	in := transfer.Import{Name: name, From: from, Into: embedded.Config{Dir: filepath.Join(at.Data, stores.StoreName), Log: a.log}, Show: m.show}
	in.Finish = "life store import - --data " + quote(at.Data) + " <FILE"
	if path, err := filepath.Abs(name); err == nil && from != os.Stdin {
		in.Finish = "life store import " + quote(path) + " --data " + quote(at.Data)
	}
	done, err := in.Run(ctx)
	if err != nil {
		return err
	}
	m.done()
	fmt.Fprintf(a.out, "ok: %d events imported into %s, %d of them new\n", done.Events, at, done.New)
	return nil
}

// openExport opens an export for reading. A pipe that has a name is opened when somebody writes to it.
func openExport(ctx context.Context, name string) (*os.File, error) {
	type opened struct {
		file *os.File
		err  error
	}
	opening := make(chan opened, 1)
	go func() {
		file, err := os.Open(name)
		opening <- opened{file, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a writer of %s: %w", name, ctx.Err())
	case o := <-opening:
		return o.file, o.err
	}
}
