package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
)

// tableFormat fixes what Pebble writes: log chunks that tell a torn end from damage in the middle, and checksums of every block.
const tableFormat = pebble.FormatTableFormatV6

// journalOptions suit data that is written once, in order, and mostly read from its end: large memtables, so that little is
// compacted, and the fastest compression, because ids and digests do not shrink and the rest does at once.
func (s *Store) journalOptions() *pebble.Options {
	options := &pebble.Options{
		FormatMajorVersion:          tableFormat,
		CacheSize:                   cacheBytes,
		MemTableSize:                uint64(s.config.Memory),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                openFiles(),
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	for i := range options.Levels {
		options.TargetFileSizes[i] = 32 << 20
		options.Levels[i].BlockSize = 32 << 10
		options.Levels[i].IndexBlockSize = 256 << 10
	}
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return options
}

// openFiles is how many tables are kept open: a quarter of the files that the process may have, so that there are some for its callers.
// Pebble takes at least 74.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(1024, limit.Cur/4)) //nolint:gosec // it is small
}

// openPebble opens a database on a guarded disk. Whatever is wrong with its files is an error, never a panic.
func openPebble(dir string, options *pebble.Options, d *disk) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: open %s: %v", storage.ErrCorrupt, dir, p)
		}
	}()
	trouble := &trouble{disk: d, log: d.log.With("dir", dir)}
	if err := d.roomToOpen(dir); err != nil && !options.ReadOnly {
		return nil, err
	}
	options.FS = d
	options.Logger = trouble
	options.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { trouble.often("background work failed", err) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { trouble.often("damaged table", info.Details) },
	}
	db, err = pebble.Open(dir, options)
	switch {
	case err == nil:
		return db, d.failure() // what failed after all, the caller closes
	case isDamage(err):
		return nil, fmt.Errorf("%w: open %s%s: %w; restore the directory from a backup", storage.ErrCorrupt, dir, manifestOf(dir, d), err)
	default:
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
}

// manifestOf names the file that says which tables and logs a database has, where that can be found out: whatever is missed, it may
// be the one that is damaged.
func manifestOf(dir string, d *disk) string {
	found, err := pebble.Peek(dir, d)
	if err != nil || found.ManifestFilename == "" {
		return ""
	}
	return ", whose manifest is " + filepath.Base(found.ManifestFilename)
}

// isDamage tells files that are not as they were left from a system that does not give them.
func isDamage(err error) bool {
	var errno syscall.Errno
	return pebble.IsCorruptionError(err) || !errors.As(err, &errno) || errno == syscall.ENOENT
}

// closePebble closes a database. One whose disk failed may never finish its background work; its disk lets nothing through
// any more, so it is left behind after a while.
func closePebble(db *pebble.DB, d *disk) error {
	closed := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				closed <- fmt.Errorf("close the database: %v", p)
			}
		}()
		closed <- db.Close()
	}()
	if d.failure() == nil {
		select {
		case err := <-closed:
			return err
		case <-d.failed:
		}
	}
	select {
	case err := <-closed:
		return errors.Join(d.failure(), err)
	case <-time.After(patience):
		return d.failure()
	}
}

// trouble is Pebble's logger: information is dropped, errors are logged, and what Pebble calls fatal fails the disk, because a
// library must not end the process.
type trouble struct {
	disk  *disk
	log   *slog.Logger
	quiet atomic.Int64 // no repetition is logged before this time, in nanoseconds
}

// Infof implements pebble.Logger.
func (*trouble) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (t *trouble) Errorf(format string, args ...any) {
	t.log.Error("pebble reported an error", "error", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It returns: the failed disk keeps whatever follows from doing harm.
func (t *trouble) Fatalf(format string, args ...any) {
	t.disk.fail(fmt.Errorf(format, args...))
}

// often logs at most one error in ten seconds: Pebble repeats failed work at once and for ever.
func (t *trouble) often(what string, err error) {
	now := time.Now().UnixNano()
	if until := t.quiet.Load(); now >= until && t.quiet.CompareAndSwap(until, now+int64(10*time.Second)) {
		t.log.Error("background work failed", "work", what, "error", err)
	}
}
