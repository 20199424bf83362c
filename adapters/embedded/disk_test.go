package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

const plenty = math.MaxInt64 / 2

// smallDisk is a file system of so many bytes, whose sync can break.
type smallDisk struct {
	vfs.FS
	free   atomic.Int64
	broken atomic.Bool
	hangs  atomic.Pointer[chan struct{}] // syncs wait until it is closed
	once   sync.Once
	full   chan struct{} // closed at the first write that does not fit
}

func newSmallDisk() *smallDisk {
	d := &smallDisk{FS: vfs.NewMem(), full: make(chan struct{})}
	d.free.Store(plenty)
	return d
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(max(0, d.free.Load()))}, nil
}

func (d *smallDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	return &smallFile{f, d}, err
}

func (d *smallDisk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, category)
	return &smallFile{f, d}, err
}

type smallFile struct {
	vfs.File
	disk *smallDisk
}

func (f *smallFile) Write(p []byte) (int, error) {
	fits := int(min(int64(len(p)), max(0, f.disk.free.Load())))
	f.disk.free.Add(-int64(fits))
	n, err := f.File.Write(p[:fits])
	if err == nil && fits < len(p) {
		f.disk.once.Do(func() { close(f.disk.full) })
		err = &os.PathError{Op: "write", Path: "small disk", Err: syscall.ENOSPC}
	}
	return n, err
}

func (f *smallFile) Sync() error {
	if hangs := f.disk.hangs.Load(); hangs != nil {
		<-*hangs
	}
	if f.disk.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

func (f *smallFile) SyncData() error { return f.Sync() }

func (f *smallFile) SyncTo(int64) (bool, error) { return true, f.Sync() }

// appendOne appends one event and returns how it went.
func appendOne(ctx context.Context, store *embedded.Store, stream events.Stream, last events.Revision) error {
	c := chain{last: last}
	_, err := store.Append(ctx, stream, storage.ExpectRevision(last), c.next(1))
	return err
}

func mustHold(t *testing.T, store *embedded.Store, stream events.Stream, n int) {
	t.Helper()
	page, err := store.Read(t.Context(), stream, 0, storage.Forward, storage.Limit{Events: 4096})
	if err != nil || len(page.Events) != n {
		t.Fatalf("%s holds %d events, %v; want %d", stream, len(page.Events), err, n)
	}
}

func mustCheck(t *testing.T, store *embedded.Store, least int) {
	t.Helper()
	report, err := store.Check(t.Context(), nil)
	if err != nil || len(report.Damage) > 0 || report.Events < uint64(least) {
		t.Fatalf("the check says %+v, %v; want at least %d whole events", report, err, least)
	}
}

func TestBelowTheReserveAppendsAreRefused(t *testing.T) {
	disk := newSmallDisk()
	store := open(t, embedded.Config{Dir: "store", FS: disk, Reserve: 1 << 20})
	disk.free.Store(1 << 19)
	stored := events.Revision(-1)
	for { // what was found free is believed for some milliseconds
		err := appendOne(t.Context(), store, "s", stored)
		if err == nil {
			stored++
			disk.free.Store(1 << 19)
			continue
		}
		if !errors.Is(err, storage.ErrFull) || !strings.Contains(err.Error(), "kept in reserve") {
			t.Fatalf("append to a full disk: %v", err)
		}
		break
	}
	if err := store.Room(); !errors.Is(err, storage.ErrFull) {
		t.Errorf("room on a full disk: %v", err)
	}
	mustHold(t, store, "s", int(stored)+1)
	disk.free.Store(plenty)
	for {
		err := appendOne(t.Context(), store, "s", stored)
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrFull) {
			t.Fatal(err)
		}
	}
	mustHold(t, store, "s", int(stored)+2)
	if err := store.Room(); err != nil {
		t.Errorf("room on a disk with room: %v", err)
	}
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	disk := newSmallDisk()
	config := embedded.Config{Dir: "store", FS: disk, Reserve: -1, Memory: 256 << 10}
	store := open(t, config)
	disk.free.Store(100 << 10)
	stored := 0
	answer := make(chan error, 1)
	go func() { // until the disk was full
		for {
			err := appendOne(t.Context(), store, "s", events.Revision(stored-1))
			if err == nil {
				stored++
			}
			select {
			case <-disk.full:
				answer <- err
				return
			default:
			}
		}
	}()
	<-disk.full
	for { // the one that met the end waits; as soon as that is noticed, others are refused
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := appendOne(ctx, store, "other", events.NoRevision)
		cancel()
		if errors.Is(err, storage.ErrFull) {
			break
		}
	}
	page, err := store.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
	if err != nil || len(page.Events) == 0 {
		t.Fatalf("a full disk is not read: %d events, %v", len(page.Events), err)
	}
	disk.free.Store(plenty)
	if err := <-answer; err != nil && !errors.Is(err, storage.ErrFull) {
		t.Fatalf("the append that waited: %v", err)
	}
	mustCheck(t, store, stored)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, open(t, config), stored)
}

func TestClosingOnAFullDisk(t *testing.T) {
	disk := newSmallDisk()
	config := embedded.Config{Dir: "store", FS: disk, Reserve: -1, Memory: 256 << 10}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	disk.free.Store(50 << 10)
	var stored atomic.Int64
	answer := make(chan error, 1)
	go func() {
		for {
			if err := appendOne(t.Context(), store, "s", events.Revision(stored.Load()-1)); err != nil {
				answer <- err
				return
			}
			stored.Add(1)
		}
	}()
	<-disk.full
	if err := store.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("close on a full disk: %v", err)
	}
	if err := <-answer; err == nil {
		t.Error("the append under way was acknowledged")
	}
	disk.free.Store(plenty)
	mustCheck(t, open(t, config), int(stored.Load()))
}

func TestABrokenDiskStopsAppends(t *testing.T) {
	disk := newSmallDisk()
	config := embedded.Config{Dir: "store", FS: disk, Memory: 256 << 10}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := appendOne(t.Context(), store, "s", events.Revision(i-1)); err != nil {
			t.Fatal(err)
		}
	}
	disk.broken.Store(true)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			err := appendOne(t.Context(), store, events.Stream(fmt.Sprint("broken-", w)), events.NoRevision)
			if err == nil || errors.Is(err, storage.ErrFull) || !errors.Is(err, syscall.EIO) {
				t.Errorf("append to a broken disk: %v", err)
			}
		})
	}
	writers.Wait()
	mustHold(t, store, "s", 10)
	for w := range 8 { // nothing that was not acknowledged is seen
		mustHold(t, store, events.Stream(fmt.Sprint("broken-", w)), 0)
	}
	disk.broken.Store(false)
	if err := appendOne(t.Context(), store, "s", 9); !errors.Is(err, syscall.EIO) {
		t.Errorf("append after the disk broke: %v", err)
	}
	if err := store.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close after the disk broke: %v", err)
	}
	store = open(t, config)
	mustCheck(t, store, 10)
	mustHold(t, store, "s", 10)
	if err := appendOne(t.Context(), store, "s", 9); err != nil {
		t.Errorf("append after opening again: %v", err)
	}
}

// begins appends without waiting, and returns the channel on which the answer comes; a second answer fails the test.
func begins(ctx context.Context, t *testing.T, store *embedded.Store, stream events.Stream, last events.Revision) <-chan error {
	t.Helper()
	c := chain{last: last}
	answers := make(chan error, 1)
	store.Begin(ctx, storage.Begun{Stream: stream, Expected: storage.ExpectRevision(last), Batch: c.next(1)}, func(_ storage.Appended, err error) {
		select {
		case answers <- err:
		default:
			t.Errorf("append to %s: a second answer: %v", stream, err)
		}
	})
	return answers
}

// Appends that nobody waits for are all answered, once: when the disk breaks, when it hangs beyond their time, and when the store closes.
func TestAppendsThatNobodyWaitsForAreAnswered(t *testing.T) {
	disk := newSmallDisk()
	store, err := embedded.Open(embedded.Config{Dir: "store", FS: disk, Memory: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	stream := func(i int) events.Stream { return events.Stream(fmt.Sprint("begun-", i)) }
	for i := range 8 {
		if err := <-begins(t.Context(), t, store, stream(i), events.NoRevision); err != nil {
			t.Fatal(err)
		}
	}
	hangs := make(chan struct{})
	disk.hangs.Store(&hangs)
	ctx, end := context.WithCancel(t.Context())
	waiting := make([]<-chan error, 8)
	for i := range waiting {
		of := t.Context()
		if i%2 == 0 {
			of = ctx
		}
		waiting[i] = begins(of, t, store, stream(i), 0)
	}
	end()
	for i, answers := range waiting {
		if i%2 == 0 {
			if err := <-answers; !errors.Is(err, context.Canceled) {
				t.Errorf("an append whose time is over: %v", err)
			}
		}
	}
	disk.hangs.Store(nil)
	close(hangs)
	for i, answers := range waiting {
		if i%2 == 1 {
			if err := <-answers; err != nil {
				t.Errorf("an append that could wait: %v", err)
			}
		}
	}
	for i := range waiting {
		mustHold(t, store, stream(i), 2) // also those whose callers no longer knew
	}
	disk.broken.Store(true)
	for i := range waiting {
		waiting[i] = begins(t.Context(), t, store, stream(i), 1)
	}
	for _, answers := range waiting {
		if err := <-answers; !errors.Is(err, syscall.EIO) {
			t.Errorf("an append to a broken disk: %v", err)
		}
	}
	if err := store.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if err := <-begins(t.Context(), t, store, "closed", events.NoRevision); err == nil {
		t.Error("an append to a closed store was stored")
	}
}
