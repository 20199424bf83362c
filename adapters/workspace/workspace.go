// Package workspace records the files of agents' workspaces, so that a fork can begin with them as they were at any revision.
//
// What is recorded is a tree: a manifest for each directory (manifest.go) and the contents of its files, all of them blobs. Each
// content is stored once, and so is each directory: a call that changes one file stores that file and the manifests on the way
// to it. It promises:
//
//   - A capture costs one lstat for each file. Contents are read only where size, times or inode differ from the last capture, or
//     where the times are so recent that a change could hide behind them (cache.go).
//   - Symbolic links are recorded as links and never followed, also when somebody changes the workspace meanwhile: every file is
//     opened through an os.Root. Pipes, sockets and devices are never opened; they are left out, and the manifest says so.
//   - Secrets in a text are masked in what is recorded of it; what is no text and holds a secret that the host knows is left out.
//   - What should be in a tree and is not is said in events.Tree.Missing: files that are too large, that cannot be read or that
//     changed while they were read; secrets; and workspaces beyond the limits, of which nothing is recorded.
//   - A restored directory is complete or not there. Nothing outside of it is written, whatever a manifest says, and bytes that are
//     not those that were recorded are storage.ErrCorrupt.
//
// Permissions are recorded without set-user-id and its like; owners, times, extended attributes and hard links are not. Life's own data directory
// and the file that its tools write before they rename it are left out. The repository in .git is recorded like everything
// else: a copy of the workspace is of use with it. A file that another process changes through a memory map may be recorded as it was before.
package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Config says where trees are kept and how large they may be. Blobs is required.
type Config struct {
	Blobs     storage.Blobs
	Ignore    Ignore  // what is left out of recordings; nil: nothing
	Own       DataDir // which is never recorded; nil: there is none
	Files     int     // most files, links and directories of one workspace; default 20,000
	FileBytes int64   // most of one file; larger ones are left out; default 16 MiB
	Bytes     int64   // most of all files together; default 256 MiB
	Mask      Mask    // nil: contents are recorded as they are

	Marked func(text string) bool // whether secrets are masked in a content that was recorded; nil: in none
}

// Mask reads a file with its secrets masked, and counts them when it has been read. Of what is no text only those are looked for that the host knows.
type Mask func(source io.Reader, text bool) (masked io.Reader, hits func() []events.Masked)

// DataDir keeps what belongs to Life out of what is recorded.
type DataDir interface {
	// Guard looks at Life's data directory before a workspace is recorded. It refuses a workspace that is in it, and otherwise returns what
	// tells the directories and files that belong to it.
	Guard(workspace string) (reserved func(fs.FileInfo) bool, err error)
}

// Ignore tells what a workspace's own rules leave out.
type Ignore interface {
	// Begin begins a look at a workspace: the result says which file of rules leaves out a path, or nothing. It reads the rules with read, and whoever
	// asks does not go into what is left out.
	Begin(read func(path string) []byte) func(path string, dir bool) (by string)
}

// The bounds of what is read.
const (
	maxDepth    = 100      // directories within directories; each is open while those below it are read
	maxName     = 1024     // bytes; Linux has 255
	maxManifest = 64 << 20 // bytes
)

// Store records and restores workspaces. It is safe for concurrent use.
type Store struct {
	blobs  storage.Blobs
	own    DataDir
	ignore Ignore
	limits limits
	mask   Mask
	marked func(string) bool

	mu     sync.Mutex
	caches map[inode]*cache
	clock  int64 // counts uses of caches
}

type limits struct {
	files            int
	fileBytes, bytes int64
}

var _ storage.Workspaces = (*Store)(nil)

// New returns a store.
func New(c Config) (*Store, error) {
	if c.Blobs == nil {
		return nil, errors.New("configure the recording of workspaces: a blob store is required")
	}
	if c.Files < 0 || c.FileBytes < 0 || c.Bytes < 0 {
		return nil, errors.New("configure the recording of workspaces: a limit is negative")
	}
	return &Store{
		blobs: c.Blobs, own: c.Own, ignore: c.Ignore, mask: c.Mask, marked: c.Marked, caches: map[inode]*cache{},
		limits: limits{files: cmp.Or(c.Files, 20_000), fileBytes: cmp.Or(c.FileBytes, 16<<20), bytes: cmp.Or(c.Bytes, 256<<20)},
	}, nil
}

// List implements [storage.Workspaces].
func (s *Store) List(ctx context.Context, tree events.Tree) ([]storage.File, error) {
	files := []storage.File{}
	err := s.walk(ctx, tree, func(dir string, e *entry) error {
		files = append(files, e.file(dir))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list workspace: %w", err)
	}
	return files, nil
}

// Blobs hands over each blob of a tree: manifests, and with them the contents of files. A manifest that visit does not want to go into, because
// it was there before, it answers with false.
func (s *Store) Blobs(ctx context.Context, tree events.Tree, visit func(events.BlobRef) (into bool)) error {
	if tree.Manifest == nil || !visit(*tree.Manifest) {
		return nil
	}
	var below func(ref events.BlobRef, depth int) error
	below = func(ref events.BlobRef, depth int) error {
		entries, err := s.manifest(ctx, ref, depth)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			if e.kind != 'd' && e.kind != 'f' || !visit(e.blob()) || e.kind == 'f' {
				continue
			}
			if err := below(e.blob(), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return below(*tree.Manifest, 0)
}

// walk visits everything in a tree, a directory before what is in it. More than the tree is said to hold ends it: few manifests
// could describe a directory of any size.
func (s *Store) walk(ctx context.Context, tree events.Tree, visit func(dir string, e *entry) error) error {
	if tree.Manifest == nil {
		return fmt.Errorf("it was not recorded: %s", cmp.Or(tree.Missing, "nothing says why"))
	}
	var seen events.Tree
	var below func(dir string, ref events.BlobRef, depth int) error
	below = func(dir string, ref events.BlobRef, depth int) error {
		entries, err := s.manifest(ctx, ref, depth)
		if err != nil {
			return fmt.Errorf("read directory %q: %w", dir, err)
		}
		for i := range entries {
			e := &entries[i]
			count(&seen, e)
			if seen.Files > tree.Files || seen.Dirs > tree.Dirs || seen.Bytes > tree.Bytes {
				return fmt.Errorf("%w: there is more in it than was recorded", storage.ErrCorrupt)
			}
			if err := visit(dir, e); err != nil {
				return err
			}
			if e.kind != 'd' {
				continue
			}
			if err := below(join(dir, e.name), e.blob(), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := below("", *tree.Manifest, 0); err != nil {
		return err
	}
	if seen.Files != tree.Files || seen.Dirs != tree.Dirs || seen.Bytes != tree.Bytes {
		return fmt.Errorf("%w: there is less in it than was recorded", storage.ErrCorrupt)
	}
	return nil
}

// count adds an entry to a tree's numbers.
func count(tree *events.Tree, e *entry) {
	switch e.kind {
	case 'd':
		tree.Dirs++
	case 'f':
		tree.Files++
		tree.Bytes += e.size
	case 'l':
		tree.Files++
	}
}

// manifest reads the manifest of one directory.
func (s *Store) manifest(ctx context.Context, ref events.BlobRef, depth int) ([]entry, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: directories lie more than %d deep", storage.ErrCorrupt, maxDepth)
	}
	if ref.Size > maxManifest {
		return nil, fmt.Errorf("%w: a manifest of %d bytes is too large", storage.ErrCorrupt, ref.Size)
	}
	blob, err := s.blobs.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	text, err := io.ReadAll(blob)
	if err != nil {
		return nil, err
	}
	return decode(text)
}
