package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"example.com/life/events"
	"example.com/life/projections"
)

// roster keeps the list of agents up to date from the whole store. What it has read is saved as a snapshot, so that a start reads
// only what came since.
type roster struct {
	host  *Host
	mu    sync.Mutex
	fold  *projections.Roster
	saved events.Position
}

const (
	rosterFold   = "roster/1"
	rosterStream = "$all"
	rosterEvery  = 10 * time.Second
)

// list returns all agents as of now.
func (r *roster) list(ctx context.Context) ([]projections.AgentSummary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fold == nil {
		r.load(ctx)
	}
	for {
		page, err := r.host.journal.ReadAll(ctx, r.fold.Position+1, Forward,
			Filter{Kinds: projections.RosterKinds()}, Limit{Events: maxPageEvents, Bytes: 4 << 20})
		if err != nil {
			return nil, fmt.Errorf("read events after position %d: %w", r.fold.Position, err)
		}
		for i := range page.Events {
			r.fold.Apply(&page.Events[i])
		}
		if page.Next > 0 && page.Next-1 > r.fold.Position {
			r.fold.Position = page.Next - 1
		}
		if page.End {
			return r.fold.List(), nil
		}
	}
}

func (r *roster) load(ctx context.Context) {
	r.fold = projections.NewRoster()
	if r.host.snapshots == nil {
		return
	}
	snapshot, found, err := r.host.snapshots.Load(ctx, rosterFold, rosterStream, latest)
	if err != nil || !found {
		return // it is a cache: all history is read instead
	}
	restored := projections.NewRoster()
	if json.Unmarshal(snapshot.State, restored) == nil && restored.Agents != nil {
		r.fold, r.saved = restored, restored.Position
	}
}

// follow reads on from time to time and saves what was read, until the host closes.
func (r *roster) follow() {
	tick := time.NewTicker(rosterEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.host.running.Done():
			r.save(context.Background())
			return
		case <-tick.C:
			if _, err := r.list(r.host.running); err == nil {
				r.save(r.host.running)
			}
		}
	}
}

func (r *roster) save(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.host.snapshots == nil || r.fold == nil || r.fold.Position == r.saved {
		return
	}
	state, err := json.Marshal(r.fold)
	if err != nil {
		r.host.log.Error("encode roster", "error", err)
		return
	}
	if err := r.host.snapshots.Save(ctx, rosterFold, rosterStream, Snapshot{Revision: events.Revision(r.fold.Position), State: state}); err == nil {
		r.saved = r.fold.Position
	}
}
