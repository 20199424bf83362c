package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

func storeExportCommand(a *app) *cobra.Command {
	from, progress := "", false
	cmd := &cobra.Command{
		Use:   "export [FILE|-]",
		Short: "Write all events as lines of JSON",
		Long: "Write every event as a line of JSON, in order of position, including the store's own streams: ids, positions, revisions, times, data\n" +
			"and metadata, byte for byte. The last line has a count and a digest, so that a truncated file is detected. The same store always\n" +
			"gives the same file. Blobs, which hold large texts and workspace files, are not included: copy the directory blobs/ of the data\n" +
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
		_, blobs, err := exportTo(ctx, source, a.out, from, m)
		m.done()
		a.warnOfBlobs(blobs)
		return err
	}
	partial, err := os.OpenFile(file+".partial", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	count, blobs, err := exportTo(ctx, source, partial, from, m)
	if err == nil {
		err = partial.Sync()
	}
	if err = errors.Join(err, partial.Close()); err == nil {
		err = os.Rename(partial.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the export: %w", err), os.Remove(partial.Name()))
	}
	m.done()
	fmt.Fprintf(a.errs, "life: %d events written to %s\n", count, file)
	a.warnOfBlobs(blobs)
	return nil
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

func exportTo(ctx context.Context, source storage.Journal, to io.Writer, from events.Position, m *meter) (count, blobs int64, err error) {
	w, err := newLineWriter(to)
	if err != nil {
		return 0, 0, err
	}
	err = stores.Everything(ctx, source, from, func(e *events.Envelope) error {
		if stores.Refers(e) {
			blobs++
		}
		m.show("%d events written, up to position %d", w.count, e.Position)
		return w.event(e)
	})
	if err != nil {
		return w.count, blobs, err // and no trailer: what was written is not whole
	}
	return w.count, blobs, w.end()
}
