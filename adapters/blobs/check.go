package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/life/events"
)

// Checked is what Check found.
type Checked struct {
	Blobs   int      // blobs read
	Bytes   int64    // of all of them
	Damaged []Damage // in the order of their names
}

// Damage is a file of the store that is not what its name says.
type Damage struct {
	Path   string // below the store's directory
	Detail string // what is wrong with it
}

func (c *Checked) damage(path string, err error) {
	c.Damaged = append(c.Damaged, Damage{Path: path, Detail: err.Error()})
}

// Check reads every blob and compares it with its name. After each it calls progress, which may be nil, with what was found
// so far. Damage is a finding, not an error: the error says that the check itself could not go on.
func (s *Store) Check(ctx context.Context, progress func(Checked)) (Checked, error) {
	var found Checked
	err := fs.WalkDir(os.DirFS(s.dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			found.damage(path, err)
			return nil
		}
		if entry.IsDir() {
			if path == unfinished {
				return fs.SkipDir
			}
			return nil
		}
		size, err := s.checkFile(ctx, path, entry)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		found.Blobs++
		found.Bytes += size
		if err != nil {
			found.damage(path, err)
		}
		if progress != nil {
			progress(found)
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("check blob store: %w", err)
	}
	return found, nil
}

// checkFile reads one file of the store; the error says what is wrong with it.
func (s *Store) checkFile(ctx context.Context, path string, entry fs.DirEntry) (int64, error) {
	shard, rest := filepath.Split(path)
	ref := events.BlobRef{Hash: filepath.Clean(shard) + rest}
	if ref.Validate() != nil || filepath.Join(s.dir, path) != s.path(ref.Hash) {
		return 0, errors.New("it is not a blob: its name is not a hash")
	}
	if !entry.Type().IsRegular() {
		return 0, fmt.Errorf("it is not a blob: it is %s", entry.Type())
	}
	stat, err := entry.Info()
	if err != nil {
		return 0, err
	}
	ref.Size = stat.Size()
	blob, err := s.Open(ctx, ref)
	if err != nil {
		return 0, err
	}
	size, err := io.Copy(io.Discard, &untilDone{ctx, blob})
	return size, errors.Join(err, blob.Close())
}
