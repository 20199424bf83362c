package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Create makes a group. The errors are *RefusalError (Exists, Failed) and those of the store.
func (g *Groups) Create(ctx context.Context, key Key, settings Settings, by string) error {
	ctx = context.WithoutCancel(ctx) // half of it must not remain
	g.admin.Lock()
	defer g.admin.Unlock()
	if err := g.open(); err != nil {
		return err
	}
	added, err := g.entry(ctx, key, settings)
	if err != nil {
		return err
	}
	if g.exists(key) {
		return &RefusalError{Kind: Exists, Key: key}
	}
	if err := settings.validate(key); err != nil {
		return &RefusalError{Kind: Failed, Key: key, Cause: err}
	}
	// A group of this name that was deleted may have left notes, if the process ended in the middle.
	if err := g.forget(ctx, key); err != nil {
		return err
	}
	return g.put(ctx, added, by)
}

// exists reports a group of that name, or one of another stream and name whose notes would have the same streams: "a::b" and "c" read as
// "a" and "b::c". One that cannot be read is there too. Admin is held.
func (g *Groups) exists(key Key) bool {
	for other := range g.stored.all {
		if other.String() == key.String() {
			return true
		}
	}
	return slices.ContainsFunc(g.stored.broken, func(b brokenEntry) bool { return b.key.Group != "" && b.key.String() == key.String() })
}

// Update changes a group's settings, all but its filter. Its consumers are dropped; its checkpoint stays. The errors are *RefusalError (Missing,
// Failed) and those of the store.
func (g *Groups) Update(ctx context.Context, key Key, settings Settings, by string) error {
	ctx = context.WithoutCancel(ctx) // half of it must not remain
	g.admin.Lock()
	defer g.admin.Unlock()
	if err := g.open(); err != nil {
		return err
	}
	var err error
	if settings.Filter, err = g.stored.filterOf(key); err != nil {
		return err
	}
	changed, err := g.entry(ctx, key, settings)
	if err != nil {
		return err
	}
	if err := settings.validate(key); err != nil {
		return &RefusalError{Kind: Failed, Key: key, Cause: err}
	}
	return g.put(ctx, changed, by)
}

// Delete removes a group, its checkpoint and its parked messages. The errors are *RefusalError (Missing) and those of the store.
func (g *Groups) Delete(ctx context.Context, key Key, by string) error {
	ctx = context.WithoutCancel(ctx) // half of it must not remain
	g.admin.Lock()
	defer g.admin.Unlock()
	if err := g.open(); err != nil {
		return err
	}
	if _, there := g.stored.all[key]; !there && brokenOf(g.stored.broken, key) == nil {
		return &RefusalError{Kind: Missing, Key: key}
	}
	if err := g.stored.remove(ctx, key, by); err != nil {
		return err
	}
	g.change(key, nil)
	return g.forget(ctx, key)
}

// entry completes what a group is to be, and checks what is checked even of one that exists.
func (g *Groups) entry(ctx context.Context, key Key, settings Settings) (entry, error) {
	made := entry{key: key, settings: settings}
	if err := settings.Strategy.validate(); err != nil {
		return made, &RefusalError{Kind: Failed, Key: key, Cause: err}
	}
	if err := storage.CheckStream(key.parkedStream()); err != nil {
		return made, &RefusalError{Kind: Failed, Key: key, Cause: err}
	}
	var err error
	if made.end, err = lastPlace(ctx, g.config.Store, key.Stream); err != nil && !errors.Is(err, storage.ErrDeleted) {
		return made, fmt.Errorf("find the end of %s: %w", key.Stream, err)
	}
	if start := settings.Start; key.Stream == All && start.At > 0 && place(start.At) > made.end {
		return made, &RefusalError{Kind: Failed, Key: key, Cause: fmt.Errorf("it cannot start from position %d: the last one is %d", start.At, made.end)}
	}
	return made, nil
}

// put stores a group's settings and starts it with them, in place of what runs.
func (g *Groups) put(ctx context.Context, changed entry, by string) error {
	if err := g.stored.put(ctx, changed, by); err != nil {
		return err
	}
	g.change(changed.key, func() *runner { return startRunner(ctx, &g.config, changed) })
	return nil
}

// change ends what runs of a group, which stores how far it is for another to go on from, and has that in its place, if there is one.
// Admin is held.
func (g *Groups) change(key Key, start func() *runner) {
	g.mu.RLock()
	old := g.runners[key]
	g.mu.RUnlock()
	if old != nil {
		old.close(&RefusalError{Kind: Dropped, Key: key})
	}
	g.mu.Lock()
	if start != nil {
		g.runners[key] = start()
	} else {
		delete(g.runners, key)
	}
	g.broken = g.stored.broken
	g.mu.Unlock()
	if old != nil {
		close(old.replaced)
	}
}

// forget removes a group's streams. Those that are not there need not be.
func (g *Groups) forget(ctx context.Context, key Key) error {
	for _, stream := range []events.Stream{key.checkpointStream(), key.parkedStream()} {
		page, err := g.config.Store.Read(ctx, stream, 0, storage.Backward, storage.Limit{Events: 1})
		if err == nil && page.Last != events.NoRevision {
			_, err = g.config.Store.Delete(ctx, stream, storage.ExpectAny)
		}
		if err != nil && !errors.Is(err, storage.ErrDeleted) {
			return fmt.Errorf("delete %s: %w", stream, err)
		}
	}
	return nil
}

// replace ends all runners, at once, for a reason that their consumers get, and has others in their place. Admin is held.
func (g *Groups) replace(reason error, by func() map[Key]*runner) {
	g.mu.RLock()
	ended := slices.Collect(maps.Values(g.runners))
	g.mu.RUnlock()
	var all sync.WaitGroup
	for _, r := range ended {
		all.Go(func() { r.close(cmp.Or(reason, error(&RefusalError{Kind: Dropped, Key: r.key}))) })
	}
	all.Wait()
	g.mu.Lock()
	g.runners, g.broken = by(), g.stored.broken
	g.mu.Unlock()
	for _, r := range ended {
		close(r.replaced)
	}
}

// Restart ends all groups and loads them again. Their consumers are dropped. When they cannot be loaded, nothing is ended.
func (g *Groups) Restart(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // half of it must not remain
	g.admin.Lock()
	defer g.admin.Unlock()
	if err := g.open(); err != nil {
		return err
	}
	entries, err := g.stored.load(ctx)
	if err != nil {
		return fmt.Errorf("restart consumer groups: %w", err)
	}
	g.replace(nil, func() map[Key]*runner { return g.start(ctx, entries) })
	return nil
}
