package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
)

// disk is the file system as Pebble sees it. Pebble takes any failed write to its log or manifest as the end, so failures are
// dealt with here, before it sees them:
//
//   - Below the reserve, appends are refused before anything is written (see room).
//   - Should space run out all the same, the write waits until there is some, and appends are refused meanwhile. Pebble never
//     learns of it, so there is nothing to repair.
//   - After any other failure nothing is written any more: what is on disk stays as it was, whatever Pebble makes of it.
type disk struct {
	vfs.FS
	dir     string
	reserve int64
	log     *slog.Logger
	closing <-chan struct{} // ends waiting

	refused atomic.Pointer[error] // why the database was opened to be read only; nil: it was not
	waiting atomic.Int32          // writes that wait for space
	once    sync.Once
	cause   atomic.Pointer[error]
	failed  chan struct{} // closed after cause is set
	trusted chan struct{} // closed when nothing that was opened turned out to be missing

	mu     sync.Mutex
	looked time.Time // when room last asked
	answer error     // what it found
}

const (
	lookAgain   = 5 * time.Millisecond  // how long an answer of room holds
	tryAgain    = 20 * time.Millisecond // between attempts of a write that waits for space
	leastToOpen = 4 << 20               // bytes, logs not counted

	penalty = 100 * time.Millisecond // what each use of a failed disk costs: Pebble repeats failed work at once
)

func newDisk(fs vfs.FS, dir string, reserve int64, log *slog.Logger, closing <-chan struct{}) *disk {
	return &disk{FS: fs, dir: dir, reserve: reserve, log: log, closing: closing, failed: make(chan struct{}), trusted: make(chan struct{})}
}

// room reports that less than the reserve is free.
func (d *disk) room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.looked) < lookAgain {
		return d.answer
	}
	d.looked, d.answer = now, nil
	if d.reserve <= 0 {
		return nil
	}
	usage, err := d.GetDiskUsage(d.dir)
	if err == nil && usage.AvailBytes < uint64(d.reserve) {
		d.answer = fmt.Errorf("%w: %s has %d bytes left, of which %d are kept in reserve; make room and try again",
			storage.ErrFull, d.dir, usage.AvailBytes, d.reserve)
	}
	return d.answer // a file system that cannot say is found full when it is
}

// roomToOpen reports that opening a database would run out of space: it writes what its logs hold to tables, and waits until it
// can.
func (d *disk) roomToOpen(database string) error {
	need := uint64(leastToOpen)
	names, err := d.List(database)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", database, err)
	}
	for _, name := range names {
		if info, err := d.Stat(d.PathJoin(database, name)); err == nil && strings.HasSuffix(name, ".log") {
			need += uint64(info.Size())
		}
	}
	if usage, err := d.GetDiskUsage(d.dir); err == nil && usage.AvailBytes < need {
		return fmt.Errorf("%w: %s has %d bytes left, opening it takes up to %d; make room and try again", storage.ErrFull, d.dir, usage.AvailBytes, need)
	}
	return nil // a file system that cannot say is found full when it is
}

// refusal is why an append must not even be queued: the disk failed, or a write waits for space.
func (d *disk) refusal() error {
	if err := d.failure(); err != nil {
		return err
	}
	if refused := d.refused.Load(); refused != nil {
		return *refused
	}
	if d.waiting.Load() > 0 {
		return fmt.Errorf("%w: %s; make room and try again", storage.ErrFull, d.dir)
	}
	return nil
}

// failure is why nothing is written any more, or nil.
func (d *disk) failure() error {
	if cause := d.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// fail stops all writing, for good.
func (d *disk) fail(err error) {
	d.once.Do(func() {
		err = fmt.Errorf("the disk failed and nothing is written until the store is opened again: %w", err)
		d.cause.Store(&err)
		close(d.failed)
		d.log.Error("writing stopped", "dir", d.dir, "error", err)
	})
}

// do tries an operation until it succeeds or fails for another reason than want of space.
func (d *disk) do(operation func() error) error {
	if err := d.failure(); err != nil {
		d.pause(penalty)
		return err
	}
	err := operation()
	if wantsSpace(err) {
		d.waiting.Add(1)
		defer d.waiting.Add(-1)
		d.log.Warn("the disk is full: a write waits for space", "dir", d.dir)
		for wantsSpace(err) && d.failure() == nil && d.pause(tryAgain) {
			err = operation()
		}
	}
	return err
}

func wantsSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// must is do for operations whose failure leaves files in a state that Pebble does not expect.
func (d *disk) must(operation func() error) error {
	err := d.do(operation)
	if err != nil {
		d.fail(err)
	}
	return err
}

// pause waits, or returns false when the store closes.
func (d *disk) pause(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.closing:
		return false
	}
}

func (d *disk) guarded(open func() (vfs.File, error)) (*file, error) {
	var f vfs.File
	err := d.do(func() (err error) { f, err = open(); return err })
	if err != nil {
		return nil, err
	}
	return &file{File: f, disk: d}, nil
}

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.guarded(func() (vfs.File, error) { return d.FS.Create(name, category) })
	if err != nil {
		return nil, err
	}
	return extended(name, f), nil
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return d.guarded(func() (vfs.File, error) { return d.FS.OpenReadWrite(name, category, options...) })
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.guarded(func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, category) })
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.guarded(func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

// Link implements vfs.FS.
func (d *disk) Link(from, to string) error {
	return d.do(func() error { return d.FS.Link(from, to) })
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	return d.do(func() error { return d.FS.Rename(from, to) })
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.do(func() error { return d.FS.MkdirAll(dir, perm) })
}

// Remove implements vfs.FS. Pebble removes, in the background, whatever its manifest does not name; if the manifest is damaged
// that is the journal itself. So no data are removed until the opened database is known to be whole, nor after a failure.
func (d *disk) Remove(name string) error {
	if base := d.PathBase(name); strings.HasSuffix(base, ".sst") || strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-") {
		select {
		case <-d.trusted:
		case <-d.failed:
		}
	}
	return d.do(func() error { return d.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	return d.do(func() error { return d.FS.RemoveAll(name) })
}

// Lock implements vfs.FS. A database that is only read needs no lock of its own: its directory has one.
func (d *disk) Lock(name string) (io.Closer, error) {
	if d.refused.Load() != nil {
		return io.NopCloser(nil), nil
	}
	return d.FS.Lock(name)
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// file is an open file of a disk.
type file struct {
	vfs.File
	disk *disk
}

// Write goes on where a full disk stopped it.
func (f *file) Write(p []byte) (int, error) {
	written := 0
	err := f.disk.must(func() error {
		n, err := f.File.Write(p[written:])
		written += n
		return err
	})
	return written, err
}

// WriteAt goes on where a full disk stopped it.
func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	written := 0
	err := f.disk.must(func() error {
		n, err := f.File.WriteAt(p[written:], offset+int64(written))
		written += n
		return err
	})
	return written, err
}

// Sync fails for good: after a failed sync nobody knows what is on disk, and a second one may claim success.
func (f *file) Sync() error { return f.synced(f.File.Sync) }

// SyncData is as Sync.
func (f *file) SyncData() error { return f.synced(f.File.SyncData) }

// SyncTo is as Sync.
func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.synced(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

func (f *file) synced(sync func() error) error {
	if err := f.disk.failure(); err != nil {
		return err
	}
	err := sync()
	if err != nil {
		f.disk.fail(err)
	}
	return err
}
