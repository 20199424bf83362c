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

// ImportFile stores the events of an export in the embedded store of a configuration, once the whole file has been checked.
func ImportFile(ctx context.Context, name string, into embedded.Config, show func(format string, args ...any)) (total int64, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("import: %w", err)
	}
	defer file.Close()
	total, err = checkExport(ctx, file, show)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, fmt.Errorf("import %s: nothing was stored: %w", name, err)
	}
	store, err := embedded.Open(into)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := ImportLines(ctx, store, NewLineReader(file), func(done int64) { show("%d of %d events imported", done, total) }); err != nil {
		return 0, fmt.Errorf("import %s: %w", name, err)
	}
	return total, nil
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

// ImportLines stores events in batches of many. A batch that is refused is stored event by event, so that the one is named.
func ImportLines(ctx context.Context, store *embedded.Store, lines *LineReader, progress func(done int64)) error {
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
