package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// A batch of an import, which is stored whole or not at all.
const (
	importEvents = 1000
	importBytes  = 4 << 20
)

func storeImportCommand(a *app) *cobra.Command {
	progress := false
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Restore the events of an export at their positions",
		Long: "Store the events of a file written by life store export, each with its id, stream, revision, position and time, in the embedded\n" +
			"store of the data directory. The whole file is checked first. Events that are already stored are skipped, so you can repeat an\n" +
			"interrupted import; an event that contradicts a stored one ends it. EventStoreDB assigns its own positions: import into a data\n" +
			"directory and use life store copy. Blobs, which hold large texts and workspace files, are not included: copy the directory blobs/\n" +
			"too. life store check lists missing blobs.",
		Example: "  life store import backup.jsonl --data restored",
		Args:    takes(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importFile(cmd.Context(), args[0], progress)
		},
	}
	progressFlag(cmd, &progress)
	return cmd
}

func (a *app) importFile(ctx context.Context, name string, progress bool) (err error) {
	at := a.place()
	if !at.Embedded() {
		return usage("%s assigns its own positions, so nothing can be imported there: import into a data directory (--store %s --data NEW), then life store copy NEW %s", at, stores.InData, at)
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer file.Close()
	m := a.newMeter(progress)
	defer m.done()
	total, err := checkExport(ctx, file, m)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("import %s: nothing was stored: %w", name, err)
	}
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(at.Data, stores.StoreName), Log: a.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := importLines(ctx, store, newLineReader(file), func(done int64) { m.show("%d of %d events imported", done, total) }); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	m.done()
	fmt.Fprintf(a.out, "ok: %d events imported into %s\n", total, at)
	return nil
}

// checkExport reads a whole export and returns how many events it has.
func checkExport(ctx context.Context, file io.Reader, m *meter) (count int64, err error) {
	lines := newLineReader(file)
	for ctx.Err() == nil {
		if _, err := lines.next(); errors.Is(err, io.EOF) {
			return lines.events, nil
		} else if err != nil {
			return 0, err
		}
		m.show("%d events checked", lines.events)
	}
	return 0, ctx.Err()
}

// importLines stores events in batches of many. A batch that is refused is stored event by event, so that the one is named.
func importLines(ctx context.Context, store *embedded.Store, lines *lineReader, progress func(done int64)) error {
	var batch []events.Envelope
	size := 0
	flush := func() error {
		if store.Import(ctx, batch) == nil {
			progress(lines.events)
			batch, size = nil, 0 // the store may keep what it got
			return nil
		}
		for i := range batch {
			if err := store.Import(ctx, batch[i:i+1]); err != nil {
				return fmt.Errorf("line %d: %w", lines.line-int64(len(batch)-1-i), err)
			}
		}
		batch, size = nil, 0
		return nil
	}
	for {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			lines.line--
			return flush()
		}
		if err != nil {
			return err
		}
		event, err := parseLine(text)
		if err != nil {
			return errors.Join(lines.wrong("%w", err), flush())
		}
		batch = append(batch, event)
		if size += len(text); len(batch) == importEvents || size > importBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
