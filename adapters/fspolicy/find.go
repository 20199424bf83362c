package fspolicy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Protected is something in a workspace that a command must not change, or not even read.
type Protected struct {
	Path string // below the workspace
	Dir  bool
	Read bool // not even that
	Kept bool // only its place is protected: it holds something that is
}

// The bounds of a look at a workspace. Beyond them nothing is found in silence: commands are refused.
const (
	mostDirs      = 50_000
	mostProtected = 1000
	mostDepth     = 64
)

// Find finds everything in a workspace that is protected, in the order of a walk: a directory before what is in it.
func (p *Policy) Find(workspace string) ([]Protected, error) {
	f := finder{policy: p, top: workspace, began: time.Now()}
	known := p.found.of(workspace)
	f.known = known.take()
	err := f.look(".", 0)
	if err == nil {
		known.put(f.next)
	}
	switch {
	case f.dirs > mostDirs:
		return nil, fmt.Errorf("the workspace has more than %d directories, too many to find what is protected in it: give the agent a smaller one", mostDirs)
	case len(f.found) > mostProtected:
		return nil, fmt.Errorf("more than %d files are protected, such as %s: --files-allow makes exceptions", mostProtected, f.found[len(f.found)-1].Path)
	case errors.Is(err, errEnough):
		return nil, fmt.Errorf("the workspace has directories more than %d deep, in which what is protected is not looked for: give the agent a smaller one", mostDepth)
	}
	return f.found, err
}

// finder is one look at a workspace.
type finder struct {
	policy *Policy
	top    string
	began  time.Time
	dirs   int
	known  map[string]seen
	next   map[string]seen
	found  []Protected
}

// seen is what a directory held when it was read.
type seen struct {
	stamp stamp
	dirs  []string // to be looked into
	names []string // of everything that the rules may be about
	git   bool     // it is a repository's own
}

// stamp tells whether the names in a directory have changed.
type stamp struct {
	device, inode uint64
	modified      time.Time
	changed       time.Time
}

var errEnough = errors.New("there is too much")

func (f *finder) look(dir string, depth int) error {
	if f.dirs++; f.dirs > mostDirs || depth > mostDepth {
		return errEnough
	}
	s, err := f.read(dir)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return nil // commands do not reach it either, or it is gone
	case err != nil:
		return fmt.Errorf("look for what is protected in %s: %w", dir, err)
	}
	for _, name := range s.names {
		f.judge(path.Join(dir, name))
	}
	if s.git {
		f.repository(dir)
	}
	if len(f.found) > mostProtected {
		return errEnough
	}
	for _, name := range s.dirs {
		at := path.Join(dir, name)
		if slices.ContainsFunc(f.found, func(p Protected) bool { return p.Path == at && p.Read }) {
			continue // all of it is out of reach
		}
		if err := f.look(at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// judge adds a path, if it is protected.
func (f *finder) judge(name string) {
	tree := below(f.top)
	info, err := tree.Lstat(name)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 { // a link is what it leads to, and that is found by itself
		return
	}
	p := Protected{Path: name, Dir: info.IsDir()}
	switch {
	case f.policy.denied(tree, name, false) != nil:
		p.Read = true
	case path.Base(name) == dotGit && p.Dir:
		p.Kept = true
	case f.policy.denied(tree, name, true) == nil, f.inside(name):
		return
	}
	f.found = append(f.found, p)
}

// inside reports whether a path is in a directory that may not be written.
func (f *finder) inside(name string) bool {
	return slices.ContainsFunc(f.found, func(p Protected) bool { return p.Dir && !p.Kept && strings.HasPrefix(name, p.Path+"/") })
}

// repository adds the parts of a repository's directory that are protected.
func (f *finder) repository(dir string) {
	for _, part := range gitParts() {
		f.judge(path.Join(dir, part))
	}
}

// below is a directory as a Tree.
type below string

func (b below) Lstat(name string) (fs.FileInfo, error) {
	return os.Lstat(filepath.Join(string(b), name))
}

// unsettled is how long after a change a directory may change again without another time.
const unsettled = 50 * time.Millisecond

// read reads a directory, unless it is as it was.
func (f *finder) read(dir string) (seen, error) {
	at := filepath.Join(f.top, dir)
	info, err := os.Lstat(at)
	if err != nil {
		return seen{}, err
	}
	now := stampOf(info)
	s, ok := f.known[dir]
	if !ok || s.stamp != now {
		if s, err = f.list(at, dir); err != nil {
			return s, err
		}
		s.stamp = now
	}
	if f.next == nil {
		f.next = map[string]seen{}
	}
	if f.began.Sub(now.changed) > unsettled {
		f.next[dir] = s
	}
	return s, nil
}

func (f *finder) list(at, dir string) (s seen, err error) {
	d, err := os.OpenFile(at, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return s, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	marks := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		if slices.Contains([]string{"HEAD", "objects", "refs", "commondir"}, name) {
			marks[name] = true
		}
		if entry.IsDir() && (!isPackages(name) || len(f.policy.deny) > 0) && !f.objects(dir, name) {
			s.dirs = append(s.dirs, name)
		}
		if full := path.Join(dir, name); f.policy.concerns(full) {
			s.names = append(s.names, name)
		}
	}
	s.git = !passes(dir) && (path.Base(dir) == dotGit || marks["HEAD"] && (marks["objects"] && marks["refs"] || marks["commondir"]))
	return s, err
}

// objects reports the directories in which git keeps objects, of which there are hundreds.
func (f *finder) objects(dir, name string) bool {
	return len(name) == 2 && path.Base(dir) == "objects" && strings.Contains("/"+dir, "/"+dotGit+"/")
}

// concerns reports whether any rule may be about a path, whatever is there.
func (p *Policy) concerns(name string) bool {
	by, _ := builtIn(name, true)
	return path.Base(name) == dotGit && !passes(name) || by != "" || match(p.deny, name, true) != ""
}

func stampOf(info fs.FileInfo) stamp {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{changed: time.Now()}
	}
	return stamp{uint64(stat.Dev), stat.Ino, time.Unix(stat.Mtim.Unix()), time.Unix(stat.Ctim.Unix())} //nolint:unconvert // its type differs between platforms
}

// cache keeps what directories held, for the workspaces that were looked at last.
type cache struct {
	mu         sync.Mutex
	workspaces map[string]*kept
}

// mostKept is how many workspaces are remembered.
const mostKept = 64

// kept is what is known of one workspace.
type kept struct {
	mu   sync.Mutex
	dirs map[string]seen
}

func (c *cache) of(workspace string) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.workspaces[workspace]
	if k == nil {
		if c.workspaces == nil || len(c.workspaces) >= mostKept {
			c.workspaces = map[string]*kept{}
		}
		k = &kept{}
		c.workspaces[workspace] = k
	}
	return k
}

func (k *kept) take() map[string]seen {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dirs
}

func (k *kept) put(dirs map[string]seen) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirs = dirs
}
