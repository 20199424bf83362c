package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// A batch of an import, which is stored whole or not at all.
const (
	importEvents = 1000
	importBytes  = 4 << 20
)

// Import says what is imported where.
type Import struct {
	Name   string          // of the export, for errors
	From   *os.File        // the export
	Into   embedded.Config // the store
	Finish string          // the command that finishes this import if it is cut off
	Show   func(format string, args ...any)
}

// Imported says what an import came to.
type Imported struct {
	Events int64 // of the export, all of them in the store
	New    int64 // of them, those that were not there before
}

// Run stores the events of an export in an embedded store. A regular file is checked as a whole first; what comes through a pipe is stored as it
// comes. If we die on the way, the store knows that it is half an import; the same import again finishes it.
func (i *Import) Run(ctx context.Context) (done Imported, err error) {
	info, err := i.From.Stat()
	if err != nil {
		return done, fmt.Errorf("import %s: %w", i.Name, err)
	}
	if !info.Mode().IsRegular() {
		in, stop := interruptible(ctx, i.From)
		defer stop()
		return i.lines(ctx, NewLineReader(in), 0)
	}
	total, err := checkExport(ctx, i.From, i.Show)
	if err == nil {
		_, err = i.From.Seek(0, io.SeekStart)
	}
	if err != nil {
		return done, fmt.Errorf("import %s: nothing was stored: %w", i.Name, err)
	}
	return i.lines(ctx, NewLineReader(i.From), total)
}

// lines stores what a reader has; total is how many events those are, if it is known.
func (i *Import) lines(ctx context.Context, lines *LineReader, total int64) (done Imported, err error) {
	if err := lines.begin(); err != nil {
		return done, fmt.Errorf("import %s: nothing was stored: %w", i.Name, err)
	}
	config := i.Into
	config.Filling = true
	store, err := embedded.Open(config)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	before, err := store.Stats(ctx)
	if err != nil {
		return done, err
	}
	if before.Last == 0 { // also while nothing has come yet, nobody else begins a history here
		if err := store.BeginImport(i.Finish); err != nil {
			return done, err
		}
	}
	err = ImportLines(ctx, store, lines, i.Finish, func(done int64) {
		if total > 0 {
			i.Show("%d of %d events imported", done, total)
		} else {
			i.Show("%d events imported", done)
		}
	})
	after, counted := store.Stats(context.WithoutCancel(ctx))
	done = Imported{Events: lines.events, New: int64(after.Events - before.Events)}
	if err = errors.Join(err, counted); err == nil {
		return done, store.FinishImport()
	}
	if err = fmt.Errorf("import %s: %w", i.Name, err); done.New > 0 {
		return done, errors.Join(fmt.Errorf("%w\n  %d events were stored: the store is half an import until it is finished; try again: %s", err, done.New, i.Finish))
	}
	return done, errors.Join(err, store.DropImport())
}

// interruptible reads from a file whose reads may block for ever, until ctx ends.
func interruptible(ctx context.Context, from io.Reader) (in io.Reader, stop func()) {
	out, to := io.Pipe()
	go func() {
		_, err := io.Copy(to, from)
		_ = to.CloseWithError(err) // it never fails
	}()
	end := context.AfterFunc(ctx, func() { _ = out.CloseWithError(ctx.Err()) })
	return out, func() {
		end()
		_ = out.Close() //nolint:errcheck // it never fails
	}
}

// checkExport reads a whole export and returns how many events it has.
func checkExport(ctx context.Context, file io.Reader, show func(format string, args ...any)) (count int64, err error) {
	lines := NewLineReader(file)
	for ctx.Err() == nil {
		if _, err := lines.next(); errors.Is(err, io.EOF) {
			return lines.events, nil
		} else if err != nil {
			return 0, err
		}
		show("%d events checked", lines.events)
	}
	return 0, ctx.Err()
}

// ImportLines stores events in batches of many. A batch that is refused is stored event by event, so that the one is named. Before the first event
// that is new, the store is told that it is half an import; that it is whole is for the caller to say.
func ImportLines(ctx context.Context, store *embedded.Store, lines *LineReader, finish string, progress func(done int64)) error {
	var batch []events.Envelope
	size, begun := 0, false
	flush := func() error {
		if !begun && len(batch) > 0 {
			stats, err := store.Stats(ctx)
			if err == nil && batch[len(batch)-1].Position > stats.Last {
				begun, err = true, store.BeginImport(finish)
			}
			if err != nil {
				return err
			}
		}
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
			return errors.Join(err, flush()) // what came before it is finished by the next attempt
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
