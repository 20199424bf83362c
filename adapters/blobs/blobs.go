// Package blobs stores large payloads on disk by the BLAKE3 hash of their bytes, each once.
//
// A blob of hash abcdef… is the file ab/cdef… below the store's directory, so that no directory grows too large. It promises:
//
//   - A blob that Put returned is durable: its bytes, its name and the directory it is in were synced before the answer.
//   - A name never stands for half a blob: the bytes are written to tmp/, hashed as they come in, and renamed when complete.
//     What a crash leaves in tmp/ is removed by the next Open; what another process is writing there is not.
//   - Bytes are verified whenever they are read to the end: damage is storage.ErrCorrupt, never wrong bytes with a nil error.
//   - A full disk is storage.ErrFull, leaves nothing behind, and does not disturb reading.
//
// The store keeps bytes and nothing else. A media type belongs to the reference, which lives in the event: the same bytes may be
// text in one event and JSON in another. Several processes, and several hosts on a file system with flock, may have one directory
// open: this is how hosts that share an EventStoreDB share their blobs.
package blobs

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/zeebo/blake3"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Store is a directory of blobs. It is safe for concurrent use and holds no file open between calls.
type Store struct {
	dir string
}

var _ storage.Blobs = (*Store)(nil)

// Open opens the store in dir, which it creates if it is not there, and removes what a crash left unfinished.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	s := &Store{dir: dir}
	if err := s.removeUnfinished(); err != nil && !onlyRead(err) {
		return nil, fmt.Errorf("open blob store: remove unfinished blobs: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, unfinished), 0o700); err != nil && !onlyRead(err) {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	return s, nil
}

// onlyRead reports an error that says that nothing can be written now: what is there can be read all the same, and Put says why it cannot.
func onlyRead(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) || errors.Is(full(err), storage.ErrFull)
}

// Put stores the content and returns once it is durable. Bytes that are there already, whole, are not written again.
func (s *Store) Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error) {
	temp, err := s.createUnfinished()
	if err != nil {
		return events.BlobRef{}, fmt.Errorf("put blob: %w", full(err))
	}
	ref, err := s.write(ctx, temp, content)
	if err != nil {
		// Nothing has the blob's name yet, so removing the file undoes everything.
		return events.BlobRef{}, fmt.Errorf("put blob: %w", errors.Join(full(err), gone(os.Remove(temp.Name()))))
	}
	ref.Media = media
	return ref, nil
}

// write copies the content to temp, syncs it and gives it its name. It closes temp in any case.
func (s *Store) write(ctx context.Context, temp *os.File, content io.Reader) (events.BlobRef, error) {
	hash := blake3.New()
	size, err := io.Copy(temp, io.TeeReader(&untilDone{ctx, content}, hash))
	if err != nil {
		return events.BlobRef{}, errors.Join(err, temp.Close())
	}
	ref := events.BlobRef{Hash: hex.EncodeToString(hash.Sum(nil)), Size: size}
	if there, err := s.has(ref); there || err != nil {
		return ref, errors.Join(err, temp.Close(), os.Remove(temp.Name()))
	}
	// The lock is held until the file has left the directory of unfinished ones.
	err = temp.Sync()
	if err == nil {
		err = s.name(temp.Name(), s.path(ref.Hash))
	}
	return ref, errors.Join(err, temp.Close())
}

// has reports whether the blob is stored with its right size. A file of another size is damaged and is written anew.
func (s *Store) has(ref events.BlobRef) (bool, error) {
	stat, err := os.Lstat(s.path(ref.Hash))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !stat.Mode().IsRegular() || stat.Size() != ref.Size {
		return false, nil
	}
	// Another Put may have renamed this file a moment ago and not yet have synced its name: the answer must not be
	// durable by luck.
	return true, syncDir(filepath.Dir(s.path(ref.Hash)))
}

// name moves a synced file to its final path.
func (s *Store) name(temp, path string) error {
	shard := filepath.Dir(path)
	if err := os.Mkdir(shard, 0o700); err == nil {
		if err := syncDir(s.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	// If we die here, the blob may or may not have its name; nobody was told that it has.
	return syncDir(shard)
}

// Open returns the bytes of a blob. The reader answers storage.ErrCorrupt in place of io.EOF when they are not what was stored.
func (s *Store) Open(ctx context.Context, ref events.BlobRef) (io.ReadCloser, error) {
	if err := ref.Validate(); err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open blob %s: %w", ref.Hash, err)
	}
	file, err := os.Open(s.path(ref.Hash))
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", ref.Hash, err)
	}
	return &verified{file: file, source: bufio.NewReaderSize(file, 64<<10), hash: blake3.New(), ref: ref}, nil
}

func (s *Store) path(hash string) string { return filepath.Join(s.dir, hash[:2], hash[2:]) }

// verified reads a blob and compares it with its reference at the end.
type verified struct {
	file   *os.File
	source *bufio.Reader
	hash   *blake3.Hasher
	ref    events.BlobRef
	size   int64
}

// Read returns the next bytes; the last call tells whether all of them were right.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.source.Read(p)
	v.size += int64(n)
	v.hash.Write(p[:n]) // a hash.Hash never returns an error
	if v.size > v.ref.Size {
		return 0, v.damaged("has more than the %d bytes that were stored", v.ref.Size)
	}
	if err == nil || !errors.Is(err, io.EOF) {
		return n, err
	}
	if v.size < v.ref.Size {
		return n, v.damaged("ends after %d of %d bytes", v.size, v.ref.Size)
	}
	if sum := hex.EncodeToString(v.hash.Sum(nil)); sum != v.ref.Hash {
		return n, v.damaged("has the hash %s", sum)
	}
	return n, io.EOF
}

func (v *verified) damaged(how string, args ...any) error {
	return fmt.Errorf("read blob %s: it %s: %w", v.ref.Hash, fmt.Sprintf(how, args...), storage.ErrCorrupt)
}

// Close releases the file.
func (v *verified) Close() error { return v.file.Close() }

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx    context.Context //nolint:containedctx // it lives for one call of Put
	source io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.source.Read(p)
}

// full gives the error of a full disk, or of a used-up quota, the name that callers know.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}

// gone is err unless it says that the file is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
