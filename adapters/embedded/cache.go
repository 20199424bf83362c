package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Cache is a directory with snapshots alone, for a host whose journal is elsewhere. It implements storage.Snapshots.
type Cache struct {
	lock      *directoryLock // nil on a file system of tests
	snapshots *snapshots
	closing   chan struct{}
	life      sync.RWMutex // held for reading while the database is in use
	closed    bool         // under life
}

// OpenSnapshots opens the snapshots in a directory, or makes one. Like a Store's, the directory has one holder at a time.
func OpenSnapshots(config Config) (*Cache, error) {
	config, err := config.completed()
	if err != nil {
		return nil, err
	}
	c := &Cache{closing: make(chan struct{})}
	fs := config.FS
	if fs == nil {
		fs = vfs.Default
		if c.lock, err = lockDirectory(config.Dir, config.Server); err != nil {
			return nil, fmt.Errorf("open the snapshots: %w", err)
		}
	}
	if c.snapshots, err = openSnapshots(filepath.Join(config.Dir, "snapshots"), fs, config, c.closing); err != nil {
		return nil, errors.Join(fmt.Errorf("open the snapshots: %w", err), c.release())
	}
	return c, nil
}

func (c *Cache) release() error {
	if c.lock == nil {
		return nil
	}
	return c.lock.release()
}

// Close keeps the newest snapshots and gives the directory back.
func (c *Cache) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	close(c.closing)
	if err := errors.Join(c.snapshots.close(), c.release()); err != nil {
		return fmt.Errorf("close the snapshots: %w", err)
	}
	return nil
}

// Load implements storage.Snapshots.
func (c *Cache) Load(ctx context.Context, fold string, stream events.Stream, until events.Revision) (storage.Snapshot, bool, error) {
	c.life.RLock()
	defer c.life.RUnlock()
	if err := c.usable(ctx); err != nil {
		return storage.Snapshot{}, false, err
	}
	return c.snapshots.load(fold, stream, until)
}

// Save implements storage.Snapshots. It waits for no disk.
func (c *Cache) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	c.life.RLock()
	defer c.life.RUnlock()
	if err := c.usable(ctx); err != nil {
		return err
	}
	return c.snapshots.save(fold, stream, snapshot)
}

// Drop implements storage.Snapshots. It waits for no disk.
func (c *Cache) Drop(ctx context.Context, fold string, stream events.Stream, from events.Revision) error {
	c.life.RLock()
	defer c.life.RUnlock()
	if err := c.usable(ctx); err != nil {
		return err
	}
	return c.snapshots.drop(fold, stream, from)
}

func (c *Cache) usable(ctx context.Context) error {
	if c.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}
