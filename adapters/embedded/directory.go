package embedded

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	lockName   = "LIFE_LOCK"
	formatName = "LIFE_FORMAT"
	lastName   = "LIFE_LAST"
	importName = "LIFE_IMPORT"
)

// directoryFormat is the version of the directory that this build writes, and the newest it reads.
const directoryFormat = 1

// HeldError says that another store has the directory open.
type HeldError struct {
	Dir string
	PID int // of the process that has it, maybe this one; 0 when that could not be found out

	Server bool // it has it for as long as it is not stopped
}

// Error names the directory, the process and the remedy.
func (h *HeldError) Error() string {
	return fmt.Sprintf("%s is in use by process %d; stop that process, or reach it instead of opening its directory", h.Dir, h.PID)
}

type directoryLock struct{ file *os.File }

// lockDirectory takes the directory for this store alone. The kernel gives it back when the process ends, however it ends.
func lockDirectory(dir string, server bool) (*directoryLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, holder(dir, f)
	}
	if err = f.Truncate(0); err == nil {
		said := strconv.Itoa(os.Getpid())
		if server {
			said += " server"
		}
		_, err = f.WriteAt([]byte(said+"\n"), 0)
	}
	if err != nil && !errors.Is(err, unix.ENOSPC) { // the lock holds without the process's id
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return &directoryLock{file: f}, nil
}

// lockToRead keeps writers out of a directory that this process cannot write to, beside others that only read. A directory without a lock was never
// open, or is a copy that leaves it out: nobody can open it to write where it is.
func lockToRead(dir string) (*directoryLock, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is no lock to take
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, holder(dir, f)
	}
	return &directoryLock{file: f}, nil
}

// unwritable reports an error that says that a place cannot be written to, whatever is free.
func unwritable(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
}

// holder reads which process has the lock: none when it has not written that yet.
func holder(dir string, f *os.File) *HeldError {
	held := &HeldError{Dir: dir}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	pid, kind, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if err == nil {
		held.PID, err = strconv.Atoi(pid)
	}
	held.Server = err == nil && kind == "server"
	return held
}

func (l *directoryLock) release() error { return l.file.Close() }

// checkFormat refuses a directory that this build does not understand, and marks a new one.
func checkFormat(disk vfs.FS, dir string) error {
	path := filepath.Join(dir, formatName)
	text, err := readSmall(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := disk.Stat(filepath.Join(dir, "journal")); err == nil {
			return fmt.Errorf("%w: %s is missing although there is a journal beside it; restore the directory from a backup", storage.ErrCorrupt, path)
		}
		if err := disk.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the store's directory: %w", err)
		}
		return writeSmall(disk, dir, formatName, strconv.Itoa(directoryFormat)+"\n")
	}
	if err != nil {
		return fmt.Errorf("read the store's format: %w", err)
	}
	format, err := strconv.Atoi(strings.TrimSpace(text))
	switch {
	case err != nil || format < 1 || text != strconv.Itoa(format)+"\n":
		return fmt.Errorf("%w: %s says %q instead of a version; restore it from a backup", storage.ErrCorrupt, path, text)
	case format > directoryFormat:
		return fmt.Errorf("%s was made by a newer build: %s says format %d, this build reads up to %d; use the newer build", dir, formatName, format, directoryFormat)
	}
	return nil
}

// readLast returns the position that the last Close wrote down; 0 when there was none.
func readLast(disk vfs.FS, dir string) (events.Position, error) {
	path := filepath.Join(dir, lastName)
	text, err := readSmall(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the store's last position: %w", err)
	}
	number, _, _ := strings.Cut(text, " ")
	last, err := strconv.ParseUint(number, 10, 64)
	if err != nil || text != lastText(events.Position(last)) {
		return 0, fmt.Errorf("%w: %s says %q instead of a position and its checksum; restore it from a backup, or delete it and check the store",
			storage.ErrCorrupt, path, text)
	}
	return events.Position(last), nil
}

func writeLast(disk vfs.FS, dir string, last events.Position) error {
	return writeSmall(disk, dir, lastName, lastText(last))
}

func lastText(last events.Position) string {
	number := strconv.FormatUint(uint64(last), 10)
	return fmt.Sprintf("%s %08x\n", number, crc32.ChecksumIEEE([]byte(number)))
}

func readSmall(disk vfs.FS, path string) (string, error) {
	f, err := disk.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 16<<10))
	return string(text), err
}

// writeSmall replaces a file whole, durably: after a crash it has the old text or the new one.
func writeSmall(disk vfs.FS, dir, name, text string) error {
	path := filepath.Join(dir, name)
	f, err := disk.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write([]byte(text))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := disk.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := syncDir(disk, dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// removeSmall removes a file durably; one that is not there is removed.
func removeSmall(disk vfs.FS, dir, name string) error {
	err := disk.Remove(filepath.Join(dir, name))
	if err == nil {
		err = syncDir(disk, dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
