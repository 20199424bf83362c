// Package embedded is the journal on one machine: Pebble in process, fsync before the answer, group commit across streams.
//
// # What it promises
//
// An append is answered once it is on disk, whole; what is not on disk yet is invisible to every reader. Nothing acknowledged
// is lost by a crash of the process or of the machine. Damaged bytes are reported as storage.ErrCorrupt, with what and where,
// and never returned as events. A full disk refuses appends with storage.ErrFull, serves reads, and needs no repair when space
// returns. One process holds a directory; any other is refused with that process's id.
//
// # How an append goes
//
// Writers encode their batch and queue it. One goroutine, the committer, takes all that is queued, decides each append by the
// stream's head, gives out revisions and positions, and applies the group to Pebble as one batch. A second one waits for the
// write-ahead log's fsync, makes the group visible and answers. So the next group is built while the last one syncs, and under
// load one fsync carries many appends. If a sync fails, everything after it fails too and the store accepts nothing more until
// it is opened again; reads go on.
//
// # The directory
//
//	LIFE_LOCK    the process that has the directory open, under flock
//	LIFE_FORMAT  the version of all this: 1
//	LIFE_LAST    the last position at the last Close, and its checksum: what is there must reach at least this far
//	LIFE_IMPORT  there while an import is not finished: what is stored is not whole, and only the import may go on
//	journal/     Pebble: records and index
//	snapshots/   Pebble without a log: a cache, which may be deleted whenever the store is closed
//
// # Streams that are deleted, and what is said about streams
//
// A stream's metadata are the newest event of the stream "$$" and its name. $maxCount, $maxAge and $tb bound what is read of the
// stream from the moment they are answered; reads of everything know nothing of them. A stream is deleted by metadata that let
// nothing of it be read ($tb is the greatest revision). For expectations it keeps its last revision, and whoever appends to it next, be it
// nothing, brings it back: further metadata, in the same group, make it begin behind that revision. A stream ends for good with a last event
// at the greatest revision, its tombstone; its metadata say nothing from then on. All this is decided by the committer, in line with the
// appends, as EventStoreDB 24.10 does it; decision.go has the whole matrix. Streams whose names begin with "$" are
// the store's own, and are left out of reads of everything that do not ask for them.
//
// # The journal's keys and records
//
//	'a' position(8, big-endian)              → record: one append, whole
//	's' stream 0x00 revision(8, big-endian)  → uvarint position, uvarint count: where the append with that first revision is
//	'g'                                      → uvarint: how many positions before the last no event has; not there means none
//
// Positions count events from 1: the event at index i of a record has the record's position plus i. Only what was imported leaves
// gaps, and the record behind a gap says how wide it is: so every record tells where the one before it ended, and none can be
// missing unnoticed. A record is
//
//	format(1) crc32c(4, little-endian, over the key and all that follows it)
//	[format 2: features(1) [features&1: uvarint: positions that no event has between the record before and this]]
//	uvarint: first revision · events · bytes of data · bytes of the stream's name
//	stream's name · one head for each event · the data of each event, one after the other
//
// Format 1 is that of all events of Life's own; format 2 is used only where a record needs one of its features. A head is
//
//	[features&2: form(1)]
//	flags(1): which of the fields in brackets follow; those that do not are as in the event before
//	id(16) digest(32) [kind] [version: varint] [time: varint, added to the one before] [actor] [command] [correlation]
//	[causation] [traceparent]
//	[features&4: host]
//	[form&2: uvarint: bytes of metadata] [form&4: content type]
//	uvarint: bytes of data
//
// A text is uvarint(length<<2 | form) and its bytes. Forms: 0 plain; 1 a UUID, 16 bytes; 2 equal to the event's command; 3 in
// causation, uvarint revision in the same stream; in traceparent, the 25 bytes of trace, span and flags of version 00. In host, form 2 is
// the host of the event before.
//
// The form of an event says whether it is foreign (1), has metadata (2), which stand before its data, has a content type (4), and
// whether its data are a JSON string of base64 (8) of which the bytes themselves are stored (16).
//
// # To change the format
//
// Add a feature, or a higher format, for a record that older builds cannot read, and keep reading every older one. Raise directoryFormat when
// the directory as a whole changes. Stores outlive builds: nothing that was ever written may become unreadable.
package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Config is how a store is opened. Zero values mean the defaults.
type Config struct {
	Dir     string       // required; made when it is not there
	Memory  int          // bytes of recent appends kept in memory before they go to tables; default 64 MiB
	Reserve int64        // bytes of the disk left free, below which appends are refused; default 128 MiB, negative: none
	Log     *slog.Logger // trouble in the background; default: nowhere
	Server  bool         // it stays open until it is stopped: others do not wait for it
	Filling bool         // a store that holds half an import is opened too: to finish it
	FS      vfs.FS       // for tests; the lock on the directory is taken only on the real file system

	now func() events.Micros // the clock, for $maxAge and for events of the store's own; only tests set another than storage.Now
}

const (
	cacheBytes     = 32 << 20 // of table blocks kept in memory
	defaultMemory  = 64 << 20
	defaultReserve = 128 << 20
	patience       = time.Second // with work that a failed disk may hold for ever
)

func (c Config) completed() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("open the embedded store: no directory is given")
	}
	if c.Memory < 0 {
		return c, fmt.Errorf("open the embedded store: memory %d must not be negative", c.Memory)
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Reserve == 0 {
		c.Reserve = defaultReserve
	}
	if c.now == nil {
		c.now = storage.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Store is an open journal with its snapshots. It implements storage.Journal and storage.Snapshots.
type Store struct {
	config    Config
	lock      *directoryLock // nil on a file system of tests
	disk      *disk
	db        *pebble.DB
	snapshots *snapshots

	queue    queue
	requests sync.Pool
	cohorts  cohorts
	durable  atomic.Uint64   // the last position on disk: nothing after it may be seen
	metadata descriptions    // of streams
	helpers  chan struct{}   // has a token for each reader that has another goroutine's help
	opened   events.Position // the last position when it was opened
	stored   uint64          // events up to durable; under the mutex of metadata
	news     news            // who is handed what becomes durable

	closing chan struct{} // closed when Close begins
	given   chan struct{} // closed when Close gives up on workers that a failed disk holds
	workers sync.WaitGroup
	life    sync.RWMutex // held for reading while the database is read
	closed  bool         // under life
}

// Open opens the store in a directory, or makes one. It takes well under a second however much is stored: the end is found and
// verified, not the whole; for that there is Check.
func Open(config Config) (*Store, error) {
	config, err := config.completed()
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, closing: make(chan struct{}), given: make(chan struct{})}
	s.helpers = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
	s.metadata.known = newRecent[events.Stream, Metadata](keepHeads)
	s.requests.New = func() any { return &request{answer: make(chan answer, 1)} }
	if err := s.open(); err != nil {
		closed := s.release()
		if s.disk != nil && s.disk.failure() != nil {
			closed = nil // it says again why the store was not opened, and nothing was written
		}
		return nil, errors.Join(fmt.Errorf("open the embedded store: %w", err), closed)
	}
	groups := make(chan *group, 1)
	s.queue.wake = make(chan struct{}, 1)
	s.opened = s.last()
	c := newCommitter(s, groups)
	s.workers.Go(c.run)
	s.workers.Go(func() { s.acknowledge(groups) })
	return s, nil
}

func (s *Store) open() error {
	fs := s.config.FS
	var readOnly error // why nothing can be written
	if fs == nil {
		fs = vfs.Default
		lock, err := lockDirectory(s.config.Dir, s.config.Server)
		if unwritable(err) {
			problem := err
			if lock, err = lockToRead(s.config.Dir); err == nil {
				readOnly = fmt.Errorf("%w: %s is on a file system, or belongs to a user, that lets nothing be written: %w; to write, copy the data directory elsewhere",
					storage.ErrReadOnly, s.config.Dir, problem)
			}
		}
		if err != nil {
			return err
		}
		s.lock = lock
	}
	if err := checkFormat(fs, s.config.Dir); wantsSpace(err) {
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	} else if err != nil {
		return err
	}
	if note, err := readHalf(fs, s.config.Dir); err != nil {
		return err
	} else if note != nil && !s.config.Filling {
		return &storage.HalfError{Store: s.config.Dir, What: "an import", Finish: note.Finish}
	}
	s.disk = newDisk(fs, s.config.Dir, s.config.Reserve, s.config.Log, s.closing)
	if full := s.disk.roomToOpen(s.path("journal")); readOnly == nil && full != nil {
		if _, err := fs.Stat(s.path("journal")); err != nil {
			return full // there is nothing to be read
		}
		readOnly = fmt.Errorf("%w: %w", storage.ErrReadOnly, full)
	}
	options := s.journalOptions()
	if readOnly != nil {
		s.config.Log.Warn("the store is opened to be read only", "dir", s.config.Dir, "reason", readOnly)
		s.disk.refused.Store(&readOnly)
		options.ReadOnly = true
	}
	var err error
	if s.db, err = openPebble(s.path("journal"), options, s.disk); err != nil {
		return err
	}
	if err := errors.Join(s.findEnd(fs), s.checkTables()); err != nil {
		s.disk.fail(err) // what is there stays as it is
		return err
	}
	close(s.disk.trusted)
	if readOnly == nil { // else every fold begins at the beginning
		s.snapshots, err = openSnapshots(s.path("snapshots"), fs, s.config, s.closing)
	}
	return err
}

// refusal is why an append must not even be queued. A store that was opened on a full disk is opened again, to be written, once there is room.
func (s *Store) refusal() error {
	err := s.disk.refusal()
	if errors.Is(err, storage.ErrReadOnly) && errors.Is(err, storage.ErrFull) && s.disk.roomToOpen(s.path("journal")) == nil {
		return s.openToWrite()
	}
	return err
}

// Room implements [storage.Roomy].
func (s *Store) Room() error {
	if err := s.refusal(); err != nil {
		return err
	}
	return s.disk.room()
}

// openToWrite puts a database that can be written in the place of one that can only be read. Readers wait meanwhile. If we die in between, nothing
// has changed.
func (s *Store) openToWrite() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	if err := s.disk.refusal(); !errors.Is(err, storage.ErrReadOnly) {
		return err // somebody was faster
	}
	if err := closePebble(s.db, s.disk); err != nil {
		s.disk.fail(err)
		return err
	}
	db, err := openPebble(s.path("journal"), s.journalOptions(), s.disk)
	if err != nil {
		options := s.journalOptions()
		options.ReadOnly = true
		var worse error
		if s.db, worse = openPebble(s.path("journal"), options, s.disk); worse != nil {
			s.closed = true
		}
		return errors.Join(err, worse)
	}
	s.db = db
	if s.snapshots, err = openSnapshots(s.path("snapshots"), s.disk.FS, s.config, s.closing); err != nil {
		s.config.Log.Warn("the snapshots cannot be used: histories are read from their beginning", "error", err)
	}
	s.disk.refused.Store(nil)
	s.config.Log.Info("there is room again: the store is written to", "dir", s.config.Dir)
	return nil
}

// findEnd verifies the newest record and what the last Close said about it.
func (s *Store) findEnd(fs vfs.FS) error {
	last, err := s.lastRecord()
	if err != nil {
		return err
	}
	noted, err := readLast(fs, s.config.Dir)
	if err != nil {
		return err
	}
	if last < noted {
		return fmt.Errorf("%w: %s ends at position %d, but it was closed at position %d: the newest events are missing. "+
			"Restore the directory from a backup, or delete %s to go on without them",
			storage.ErrCorrupt, s.path("journal"), last, noted, s.path(lastName))
	}
	described, err := s.hasMetadata()
	if err != nil {
		return err
	}
	skipped, err := s.skipped()
	if err != nil {
		return err
	}
	s.metadata.any.Store(described)
	s.durable.Store(uint64(last))
	s.stored = uint64(last) - skipped
	return nil
}

// skipped reads how many positions up to the last no event has.
func (s *Store) skipped() (uint64, error) {
	value, closer, err := s.db.Get([]byte{gapsPrefix})
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, damaged("the count of positions without events", err)
	}
	count, n := binary.Uvarint(value)
	if n != len(value) {
		err = fmt.Errorf("%w: the count of positions without events is malformed", storage.ErrCorrupt)
	}
	return count, errors.Join(err, closer.Close())
}

func (s *Store) path(name string) string { return filepath.Join(s.config.Dir, name) }

// Close refuses new appends, answers those that are queued, ends all subscriptions and waits for reads that are under way.
func (s *Store) Close() error {
	if !s.queue.close() {
		return nil // closed before
	}
	close(s.closing)
	s.news.wake()
	s.waitForWorkers()
	s.cohorts.close(errors.Join(storage.ErrClosed, s.disk.failure()))
	s.life.Lock()
	defer s.life.Unlock()
	s.closed = true
	return s.release()
}

// waitForWorkers lets everything queued be answered. On a disk that failed Pebble may hold the committer for ever: then those
// who wait are told that their outcome is unknown.
func (s *Store) waitForWorkers() {
	finished := make(chan struct{})
	go func() {
		s.workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return
	case <-s.disk.failed:
	}
	select {
	case <-finished:
	case <-time.After(patience):
		close(s.given)
	}
}

// release closes what Open opened, in the other order. Every step is taken, whatever the others answer.
func (s *Store) release() error {
	var errs []error
	if s.snapshots != nil {
		errs = append(errs, s.snapshots.close())
	}
	if s.db != nil {
		errs = append(errs, closePebble(s.db, s.disk))
		if s.disk.failure() == nil && s.disk.refused.Load() == nil {
			errs = append(errs, writeLast(s.disk.FS, s.config.Dir, s.last()))
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the embedded store: %w", err)
	}
	return nil
}

func (s *Store) last() events.Position { return events.Position(s.durable.Load()) }

// reading keeps the database open until done is called.
func (s *Store) reading(ctx context.Context) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return nil, storage.ErrClosed
	}
	return s.life.RUnlock, nil
}

// Stats says how much there is.
type Stats struct {
	Events uint64          // stored
	Last   events.Position // of the newest event; 0 when there is none
	Bytes  uint64          // on disk, logs and snapshots included
}

// Stats returns how much there is now.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	done, err := s.reading(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer done()
	last, stored := s.end()
	bytes := s.db.Metrics().DiskSpaceUsage()
	if s.snapshots != nil {
		bytes += s.snapshots.db.Metrics().DiskSpaceUsage()
	}
	return Stats{Events: stored, Last: last, Bytes: bytes}, nil
}
