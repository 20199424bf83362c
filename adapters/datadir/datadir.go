// Package datadir keeps Life's own data directory out of the reach of agents, whose workspaces may hold it: a home directory does by default.
//
// What belongs to it is told by inode, not by name, so that no link, mount, spelling in other letters or other normal form of a name leads around it: the
// directory itself, the directories right below it (one of them may be mounted elsewhere), and the files in it that have further names elsewhere. A single
// file of it that root mounted elsewhere is not noticed.
package datadir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Dir is a data directory.
type Dir struct {
	path string
	open string

	mu     sync.Mutex
	looked time.Time      // when linked was found
	linked map[inode]bool // files of the directory with several names
}

// inode identifies a file or directory of this machine.
type inode struct{ device, number uint64 }

// New returns the data directory at a path. In the directories below the one called open, agents may work: the workspaces of forks are there.
func New(path, open string) *Dir { return &Dir{path: path, open: open} }

// Guard looks at the directory before a call that works in a workspace. It refuses a workspace that is in it, and otherwise returns what tells the
// directories and files that belong to it.
func (d *Dir) Guard(workspace string) (reserved func(fs.FileInfo) bool, err error) {
	dirs, open := d.dirs()
	if len(dirs) == 0 { // there is none yet
		return func(fs.FileInfo) bool { return false }, nil
	}
	if err := refuseInside(workspace, dirs, open); err != nil {
		return nil, err
	}
	return func(info fs.FileInfo) bool {
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
			return false
		case info.IsDir():
			return dirs[inodeOf(stat)]
		}
		return info.Mode().IsRegular() && stat.Nlink > 1 && d.holds(stat)
	}, nil
}

// dirs are the directory and those right below it; open is the one below which agents may work.
func (d *Dir) dirs() (dirs map[inode]bool, open inode) {
	own, err := os.Stat(d.path)
	if err != nil {
		return nil, inode{}
	}
	dirs = map[inode]bool{}
	add := func(info fs.FileInfo) (id inode) {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.IsDir() {
			id = inodeOf(stat)
			dirs[id] = true
		}
		return id
	}
	add(own)
	entries, _ := os.ReadDir(d.path) //nolint:errcheck // what cannot be listed cannot be reached by these names either
	for _, entry := range entries {
		if info, err := os.Stat(filepath.Join(d.path, entry.Name())); err == nil { // a store may be linked from a larger disk
			if id := add(info); entry.Name() == d.open {
				open = id
			}
		}
	}
	return dirs, open
}

// refuseInside refuses a workspace that is one of the directories or below one.
func refuseInside(workspace string, dirs map[inode]bool, open inode) error {
	top, err := filepath.EvalSymlinks(workspace)
	if err != nil {
		return err
	}
	for at := top; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok || inodeOf(stat) == open && at != top:
			return nil
		case dirs[inodeOf(stat)]:
			return fmt.Errorf("the workspace %s is in Life's own data directory, which is out of reach: give the agent another one", workspace)
		case at == filepath.Dir(at):
			return nil
		}
	}
}

// settle is how long after a change the times of a file may not yet show another one, where only whole seconds are kept.
const settle = 3 * time.Second

// holds reports whether a file that has several names has one in the directory. The directory is read for it, but seldom: to give a file another name
// changes the file's own times, so one that has not changed since the last look is what it was then.
func (d *Dir) holds(stat *syscall.Stat_t) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if changed := time.Unix(stat.Ctim.Unix()); d.linked == nil || changed.Add(settle).After(d.looked) {
		d.looked, d.linked = time.Now(), map[inode]bool{}
		d.find()
	}
	return d.linked[inodeOf(stat)]
}

// find finds the files with several names, except in the directory where agents may work.
func (d *Dir) find() {
	below, err := os.ReadDir(d.path)
	if err != nil {
		return
	}
	for _, entry := range below {
		top, err := filepath.EvalSymlinks(filepath.Join(d.path, entry.Name()))
		if err != nil || entry.Name() == d.open {
			continue
		}
		//nolint:errcheck // what ends or cannot be read meanwhile is passed over
		_ = filepath.WalkDir(top, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil //nolint:nilerr // see above
			}
			if info, err := entry.Info(); err == nil {
				if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
					d.linked[inodeOf(stat)] = true
				}
			}
			return nil
		})
	}
}

func inodeOf(stat *syscall.Stat_t) inode {
	return inode{uint64(stat.Dev), stat.Ino} //nolint:unconvert // its type differs between platforms
}
