package workspace

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/life/events"
)

// unfinishedName is the file that Life's tools write before they rename it. It is on its way to be another file, so it is passed over.
const unfinishedName = ".life-unfinished"

// node is something in the workspace, as a walk found it.
type node struct {
	entry
	path     string
	stamp    stamp
	children []*node
	gone     bool   // it went away while it was looked at
	masked   string // says which secrets are masked in its content
}

// capture is one look at a workspace.
type capture struct {
	store   *Store
	cache   *cache
	root    *os.Root
	own     func(fs.FileInfo) bool // tells what belongs to Life
	ignored func(path string, dir bool) (by string)
	begun   time.Time
	tree    events.Tree
	left    []string // what is missing
	changed []*node  // files that have to be read
}

// beyond says that a workspace is beyond the limits.
type beyond struct{ why string }

func (b *beyond) Error() string { return b.why }

// Capture implements [storage.Workspaces]. Everything that a tree refers to is stored before its tree is returned: if we die before
// somebody records the tree, what is left is blobs that nothing refers to, and they do no harm.
func (s *Store) Capture(ctx context.Context, dir string) (events.Tree, error) {
	tree, err := s.capture(ctx, dir)
	var over *beyond
	switch {
	case errors.As(err, &over):
		return events.Tree{Missing: over.why}, nil
	case err != nil:
		return events.Tree{}, fmt.Errorf("record workspace %s: %w", dir, err)
	}
	return tree, nil
}

func (s *Store) capture(ctx context.Context, dir string) (events.Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return events.Tree{}, err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return events.Tree{}, err
	}
	id, ok := stampOf(info)
	if !ok {
		return events.Tree{}, errors.New("the file system does not number its files")
	}
	c := &capture{store: s, root: root, begun: time.Now(), own: func(fs.FileInfo) bool { return false }, ignored: func(string, bool) string { return "" }}
	if s.ignore != nil {
		c.ignored = s.ignore.Begin(c.rules)
	}
	if s.own != nil {
		if c.own, err = s.own.Guard(dir); err != nil {
			return events.Tree{}, &beyond{"the workspace is not recorded: " + err.Error()}
		}
	}
	if c.cache, err = s.lock(ctx, id.inode); err != nil {
		return events.Tree{}, err
	}
	defer s.unlock(c.cache)
	return c.run(ctx)
}

// run looks, reads what has changed and stores it, contents before the manifests that refer to them.
func (c *capture) run(ctx context.Context) (events.Tree, error) {
	top := &node{entry: entry{kind: 'd'}}
	if err := c.look(ctx, c.root, top, 0); err != nil {
		return events.Tree{}, err
	}
	if err := c.readChanged(ctx); err != nil {
		return events.Tree{}, err
	}
	files, manifests := make(map[string]known, c.tree.Files), map[string]bool{}
	c.tree = events.Tree{}
	if err := c.write(ctx, top, files, manifests); err != nil {
		return events.Tree{}, err
	}
	c.cache.files, c.cache.manifests = files, manifests
	manifest := top.blob()
	c.tree.Manifest, c.tree.Missing = &manifest, missing(c.left)
	return c.tree, nil
}

// look finds everything in a directory and below. It opens directories and nothing else.
func (c *capture) look(ctx context.Context, root *os.Root, dir *node, depth int) error {
	names, err := c.names(ctx, root)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it went away meanwhile
		case err != nil:
			return err
		}
		child := &node{entry: entry{name: name, mode: uint32(info.Mode().Perm())}, path: join(dir.path, name)}
		dir.children = append(dir.children, child)
		if err := c.find(ctx, root, child, info, depth); err != nil {
			return err
		}
		count(&c.tree, &child.entry)
		if err := c.within(); err != nil {
			return err
		}
	}
	return nil
}

// names lists a directory, sorted. It stops when there are more than may be recorded.
func (c *capture) names(ctx context.Context, root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var names []string
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := dir.Readdirnames(1024)
		for _, name := range more {
			if name != unfinishedName {
				names = append(names, name)
			}
		}
		if len(more) == 0 {
			slices.Sort(names)
			return names, ignoreEnd(err)
		}
		if len(names)+c.tree.Files+c.tree.Dirs > c.store.limits.files {
			return nil, c.tooMany()
		}
	}
}

// find says what a child is.
func (c *capture) find(ctx context.Context, root *os.Root, child *node, info fs.FileInfo, depth int) (err error) {
	child.stamp, _ = stampOf(info)
	if by := c.ignored(child.path, info.IsDir()); by != "" {
		child.leave("it is left out by " + by)
		return nil
	}
	switch mode := info.Mode(); {
	case mode.IsDir() && c.own(info):
		child.leave("it is Life's own data directory")
	case mode.IsRegular() && c.own(info):
		child.leave("it is a file of Life's own data directory")
	case mode.IsDir():
		return c.lookInto(ctx, root, child, depth+1)
	case mode.IsRegular():
		child.kind, child.size = 'f', info.Size()
		if child.size > c.store.limits.fileBytes {
			c.miss(child, c.tooLarge())
			return nil
		}
		if known, ok := c.cache.files[child.path]; ok && known.stamp == child.stamp {
			child.hash, child.size, child.masked = known.hash, known.size, known.masked
			if child.masked != "" {
				c.left = append(c.left, child.path+": "+child.masked)
			}
			return nil
		}
		c.changed = append(c.changed, child)
	case mode&fs.ModeSymlink != 0:
		child.kind = 'l'
		if child.text, err = root.Readlink(child.name); err != nil {
			child.gone = true // or it is something else by now, which the next capture will find
		}
	default:
		child.leave("it is a " + special(mode))
	}
	return nil
}

// rulesSize is how much of a file of rules is read.
const rulesSize = 1 << 20

// rules reads a file of rules, if there is one.
func (c *capture) rules(name string) []byte {
	file, err := c.open(&node{path: name})
	if err != nil {
		return nil
	}
	defer file.Close()
	content, _ := io.ReadAll(io.LimitReader(file, rulesSize)) //nolint:errcheck // what could be read of it holds
	return content
}

// lookInto looks into a directory, if it still is the one that was found.
func (c *capture) lookInto(ctx context.Context, parent *os.Root, dir *node, depth int) error {
	dir.kind = 'd'
	if depth > maxDepth {
		return &beyond{fmt.Sprintf("the workspace is not recorded: its directories lie more than %d deep, at %s", maxDepth, dir.path)}
	}
	root, err := parent.OpenRoot(dir.name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.miss(dir, "permission denied")
		return nil
	case err != nil:
		dir.gone = true // somebody changed it into something else, or removed it
		return nil
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	if opened, _ := stampOf(info); opened.inode != dir.stamp.inode {
		dir.gone = true // a link to another directory took its place: links are not followed
		return nil
	}
	switch err = c.look(ctx, root, dir, depth); {
	case errors.Is(err, fs.ErrPermission):
		c.miss(dir, "permission denied")
	case errors.Is(err, fs.ErrNotExist):
		dir.gone = true // it was removed while it was read
	default:
		return err
	}
	return nil
}

// within holds the workspace to the limits.
func (c *capture) within() error {
	limits := c.store.limits
	if c.tree.Files+c.tree.Dirs > limits.files {
		return c.tooMany()
	}
	if c.tree.Bytes > limits.bytes {
		return &beyond{fmt.Sprintf("the workspace is not recorded: its files are larger than %s together (setting record)", size(limits.bytes))}
	}
	return nil
}

func (c *capture) tooMany() error {
	return &beyond{fmt.Sprintf("the workspace is not recorded: it has more than %d files (setting record)", c.store.limits.files)}
}

func (c *capture) tooLarge() string {
	return "it is larger than " + size(c.store.limits.fileBytes) + " (setting record)"
}

// leave leaves a node out of the tree, with nothing lost.
func (n *node) leave(why string) { n.kind, n.text, n.hash, n.size, n.mode = 'x', why, "", 0, 0 }

// miss leaves a node out of the tree although it should be in it.
func (c *capture) miss(n *node, why string) {
	n.leave(why)
	c.left = append(c.left, n.path+": "+why)
}

// write stores the manifests, those of the directories below first.
func (c *capture) write(ctx context.Context, dir *node, files map[string]known, manifests map[string]bool) error {
	entries := make([]entry, 0, len(dir.children))
	for _, child := range dir.children {
		if child.gone {
			continue
		}
		if child.kind == 'd' {
			if err := c.write(ctx, child, files, manifests); err != nil {
				return err
			}
		}
		if child.kind == 'f' && child.stamp.settled(c.begun) {
			files[child.path] = known{child.stamp, child.hash, child.size, child.masked}
		}
		count(&c.tree, &child.entry)
		entries = append(entries, child.entry)
	}
	text := encode(entries)
	dir.size, dir.hash = int64(len(text)), events.HashBytes(text)
	if !c.cache.manifests[dir.hash] && !manifests[dir.hash] {
		if _, err := c.store.blobs.Put(ctx, manifestMedia, bytes.NewReader(text)); err != nil {
			return fmt.Errorf("store manifest: %w", err)
		}
	}
	manifests[dir.hash] = true
	return nil
}

// missing says in a sentence what is not in a tree.
func missing(left []string) string {
	const most = 3
	if len(left) == 0 {
		return ""
	}
	slices.SortFunc(left, func(a, b string) int { return cmp.Compare(a, b) })
	text := strings.Join(left[:min(len(left), most)], "; ")
	if len(left) > most {
		text += fmt.Sprintf("; and %d more", len(left)-most)
	}
	return text
}

// special names what is neither a file nor a directory nor a link.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d %s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// ignoreEnd is err, unless it only says that there is no more.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
