package workspace

import (
	"context"
	"io/fs"
	"syscall"
	"time"
)

// inode identifies a file or directory of this machine.
type inode struct{ device, number uint64 }

// stamp is what tells, without reading it, that a file is as it was. The time of the last change of the inode is the one that no
// program can set.
type stamp struct {
	inode
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

func stampOf(info fs.FileInfo) (stamp, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{inode{uint64(stat.Dev), stat.Ino}, stat.Size, stat.Mtim.Nano(), stat.Ctim.Nano()}, true //nolint:unconvert // its type differs between platforms
}

// How long a change can hide: two writes within one tick of the file system's clock leave the same times.
const (
	fineTick   = int64(50 * time.Millisecond)
	coarseTick = int64(3 * time.Second) // where only whole seconds are kept
)

// settled reports whether a file that had this stamp when it was read, at a moment no earlier than begun, would show a later
// change in its times.
func (s *stamp) settled(begun time.Time) bool {
	tick := fineTick
	if s.modified%int64(time.Second) == 0 && s.changed%int64(time.Second) == 0 {
		tick = coarseTick
	}
	return max(s.modified, s.changed)+tick < begun.UnixNano()
}

// known is a file of which the content is stored.
type known struct {
	stamp  stamp
	hash   string
	size   int64  // of the content, which is not the file's where secrets are masked
	masked string // what is masked in it
}

// cache is what is known of one workspace. Whoever has its lock captures; nobody else touches the rest.
type cache struct {
	lock      chan struct{}
	files     map[string]known
	manifests map[string]bool // that are stored
	// The rest belongs to whoever has Store.mu.
	users int   // that have the lock or wait for it
	used  int64 // by Store.clock
	size  int   // of files
}

// How much is remembered of workspaces, all together.
const (
	mostCaches = 256
	mostKnown  = 400_000
)

// lock returns the cache of a workspace when nobody else captures it.
func (s *Store) lock(ctx context.Context, id inode) (*cache, error) {
	s.mu.Lock()
	c := s.caches[id]
	if c == nil {
		c = &cache{lock: make(chan struct{}, 1)}
		s.caches[id] = c
	}
	s.clock++
	c.used = s.clock
	c.users++
	s.mu.Unlock()
	select {
	case c.lock <- struct{}{}:
		return c, nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		c.users--
		return nil, ctx.Err()
	}
}

// unlock lets the next one capture.
func (s *Store) unlock(c *cache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.size = len(c.files)
	c.users--
	<-c.lock
	s.forget()
}

// forget forgets the workspaces that were not used for longest while too much is remembered.
func (s *Store) forget() {
	for {
		total, oldest := 0, inode{}
		for id, each := range s.caches {
			total += each.size
			if least := s.caches[oldest]; each.users == 0 && (least == nil || each.used < least.used) {
				oldest = id
			}
		}
		if s.caches[oldest] == nil || len(s.caches) <= mostCaches && total <= mostKnown {
			return
		}
		delete(s.caches, oldest)
	}
}
