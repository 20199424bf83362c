package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// snapshots is a cache in a database of its own, so that it neither mixes with the journal's tables nor weighs on its fsync. It
// has no log: a crash loses the newest ones, a Close does not. What it holds is described in snapshots_stored.go.
type snapshots struct {
	db     *pebble.DB
	disk   *disk
	log    *slog.Logger
	dir    string
	saving sync.Mutex // held while anything is written
}

const snapshotMemory = 4 << 20

// openSnapshots opens the cache, or a new one in place of one that is damaged or of another format.
func openSnapshots(dir string, fs vfs.FS, config Config, closing <-chan struct{}) (*snapshots, error) {
	s := &snapshots{log: config.Log, dir: dir}
	var err error
	for range 2 {
		s.disk = newDisk(fs, dir, config.Reserve, config.Log, closing)
		if err = breakSeal(fs, dir); err == nil {
			s.db, err = openPebble(dir, snapshotOptions(), s.disk)
		}
		if err == nil {
			close(s.disk.trusted)
			if err = s.checkFormat(); err == nil {
				return s, nil
			}
			if err := closePebble(s.db, s.disk); err != nil {
				return nil, fmt.Errorf("close the old snapshots in %s: %w", dir, err)
			}
		}
		if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, errFormat) {
			return nil, err
		}
		config.Log.Warn("the snapshots cannot be used and are dropped; they are made again as they are needed", "dir", dir, "error", err)
		if err := fs.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("drop the snapshots in %s: %w", dir, err)
		}
	}
	return nil, err
}

func snapshotOptions() *pebble.Options {
	return &pebble.Options{
		FormatMajorVersion: tableFormat,
		CacheSize:          1 << 20,
		MemTableSize:       snapshotMemory,
		MaxOpenFiles:       64,
		DisableWAL:         true,
		// Nothing ever waits for a flush: Save refuses as soon as one waits for space.
		MemTableStopWritesThreshold: 1 << 20,
		L0StopWritesThreshold:       1 << 20,
	}
}

func (s *snapshots) close() error {
	if err := s.flush(); err != nil {
		s.log.Warn("the newest snapshots are not kept", "error", err)
	}
	err := closePebble(s.db, s.disk)
	if err == nil {
		err = seal(s.disk, s.dir)
	}
	if err != nil {
		s.log.Warn("the snapshots did not close", "error", err)
	}
	return nil // a cache: nothing is lost but time
}

// flush keeps the newest snapshots. On a full or failed disk that would never end.
func (s *snapshots) flush() error {
	if err := errors.Join(s.disk.refusal(), s.disk.room()); err != nil {
		return err
	}
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-s.disk.failed:
		return s.disk.failure()
	}
}

// Load implements storage.Snapshots.
func (s *Store) Load(ctx context.Context, fold string, stream events.Stream, until events.Revision) (storage.Snapshot, bool, error) {
	done, err := s.reading(ctx)
	if err != nil {
		return storage.Snapshot{}, false, err
	}
	defer done()
	if s.snapshots == nil {
		return storage.Snapshot{}, false, nil
	}
	return s.snapshots.load(fold, stream, until)
}

// Save implements storage.Snapshots. It waits for no disk.
func (s *Store) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	done, err := s.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.snapshots == nil {
		return nil
	}
	return s.snapshots.save(fold, stream, snapshot)
}

// Drop implements storage.Snapshots. It waits for no disk.
func (s *Store) Drop(ctx context.Context, fold string, stream events.Stream, from events.Revision) error {
	done, err := s.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.snapshots == nil {
		return nil
	}
	return s.snapshots.drop(fold, stream, from)
}
