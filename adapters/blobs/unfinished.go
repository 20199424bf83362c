package blobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// unfinished is the directory of blobs that are being written. Each file there is locked by its writer, so that another process
// that opens the same directory tells what is being written from what a crash left behind.
const unfinished = "tmp"

// createUnfinished makes a locked file in the directory of unfinished blobs.
func (s *Store) createUnfinished() (*os.File, error) {
	for {
		temp, err := os.CreateTemp(filepath.Join(s.dir, unfinished), "put-*")
		if err != nil {
			return nil, err
		}
		mine, err := lock(temp)
		if mine {
			return temp, nil
		}
		// Another process was removing what a crash left behind, and came between the two steps: the file is gone or will be.
		if err = errors.Join(err, temp.Close(), gone(os.Remove(temp.Name()))); err != nil {
			return nil, err
		}
	}
}

// lock takes the lock of a file that still has its name; false when someone else has it or the name is gone.
func lock(file *os.File) (bool, error) {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return false, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	named, err := os.Lstat(file.Name())
	if err != nil {
		return false, gone(err)
	}
	held, err := file.Stat()
	return err == nil && os.SameFile(named, held), err
}

// removeUnfinished removes what nobody writes any more.
func (s *Store) removeUnfinished() error {
	names, err := os.ReadDir(filepath.Join(s.dir, unfinished))
	if err != nil {
		return gone(err)
	}
	for _, name := range names {
		if err := gone(removeAbandoned(filepath.Join(s.dir, unfinished, name.Name()))); err != nil {
			return err
		}
	}
	return nil
}

func removeAbandoned(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return os.RemoveAll(path) // nothing that a store wrote
	}
	defer file.Close()
	mine, err := lock(file)
	if err != nil || !mine {
		return err
	}
	return os.Remove(path)
}
