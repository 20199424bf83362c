package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/blake3"

	"example.com/life/actors"
	"example.com/life/events"
)

// snapshots is a cache in a database of its own, so that it neither mixes with the journal's tables nor weighs on its fsync. It
// has no log: a crash loses the newest ones, a Close does not.
//
//	stream 0x00 fold → blake3(32, over the key and all that follows it) digest(32) revision(8, little-endian) state
type snapshots struct {
	db   *pebble.DB
	disk *disk
	log  *slog.Logger
}

const snapshotHead = 32 + 32 + 8

const snapshotMemory = 4 << 20

// openSnapshots opens the cache, or a new one in place of one that is damaged.
func openSnapshots(dir string, fs vfs.FS, config Config, closing <-chan struct{}) (*snapshots, error) {
	s := &snapshots{log: config.Log}
	var err error
	for range 2 {
		s.disk = newDisk(fs, dir, config.Reserve, config.Log, closing)
		if s.db, err = openPebble(dir, snapshotOptions(), s.disk); err == nil {
			close(s.disk.trusted)
			return s, nil
		}
		if !errors.Is(err, actors.ErrCorrupt) {
			return nil, err
		}
		config.Log.Warn("the snapshots cannot be opened and are dropped", "dir", dir, "error", err)
		if err := fs.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("drop the damaged snapshots in %s: %w", dir, err)
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
	if err := closePebble(s.db, s.disk); err != nil {
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

// Load implements actors.Snapshots.
func (s *Store) Load(ctx context.Context, fold string, stream events.Stream) (actors.Snapshot, bool, error) {
	done, err := s.reading(ctx)
	if err != nil {
		return actors.Snapshot{}, false, err
	}
	defer done()
	return s.snapshots.load(fold, stream)
}

// Save implements actors.Snapshots. It waits for no disk.
func (s *Store) Save(ctx context.Context, fold string, stream events.Stream, snapshot actors.Snapshot) error {
	done, err := s.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.snapshots.save(fold, stream, snapshot)
}

func (s *snapshots) load(fold string, stream events.Stream) (actors.Snapshot, bool, error) {
	key := snapshotKey(fold, stream)
	value, closer, err := s.db.Get(key)
	if err != nil {
		if !errors.Is(err, pebble.ErrNotFound) {
			s.log.Warn("a damaged snapshot counts as not there", "fold", fold, "stream", stream, "error", err)
		}
		return actors.Snapshot{}, false, nil
	}
	snapshot, whole := parseSnapshot(key, value)
	if !whole {
		s.log.Warn("a damaged snapshot counts as not there", "fold", fold, "stream", stream)
	}
	return snapshot, whole, closer.Close()
}

func (s *snapshots) save(fold string, stream events.Stream, snapshot actors.Snapshot) error {
	if err := errors.Join(s.disk.refusal(), s.disk.room()); err != nil {
		return fmt.Errorf("save snapshot %s of %s: %w", fold, stream, err)
	}
	key := snapshotKey(fold, stream)
	value := appendSnapshot(make([]byte, 0, snapshotHead+len(snapshot.State)), key, snapshot)
	if err := s.db.Set(key, value, pebble.NoSync); err != nil {
		return fmt.Errorf("save snapshot %s of %s: %w", fold, stream, err)
	}
	return nil
}

func snapshotKey(fold string, stream events.Stream) []byte {
	key := make([]byte, 0, len(stream)+1+len(fold))
	key = append(key, stream...)
	key = append(key, 0)
	return append(key, fold...)
}

func appendSnapshot(dst, key []byte, snapshot actors.Snapshot) []byte {
	dst = append(dst, make([]byte, 32)...)
	dst = append(dst, snapshot.Digest[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(snapshot.Revision))
	dst = append(dst, snapshot.State...)
	sum := snapshotSum(key, dst)
	copy(dst, sum[:])
	return dst
}

// parseSnapshot copies a snapshot out of its stored form; whole is false when it is not what was stored.
func parseSnapshot(key, value []byte) (snapshot actors.Snapshot, whole bool) {
	if len(value) < snapshotHead || snapshotSum(key, value) != [32]byte(value[:32]) {
		return snapshot, false
	}
	copy(snapshot.Digest[:], value[32:])
	snapshot.Revision = events.Revision(binary.LittleEndian.Uint64(value[64:]))
	snapshot.State = append(make([]byte, 0, len(value)-snapshotHead), value[snapshotHead:]...)
	return snapshot, true
}

func snapshotSum(key, value []byte) [32]byte {
	hash := blake3.New()
	for _, part := range [][]byte{key, value[32:]} {
		_, _ = hash.Write(part) // a hash takes everything and never fails
	}
	return [32]byte(hash.Sum(nil))
}
