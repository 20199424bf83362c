package projector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// The state of a projection is stored with the position it stands for as one snapshot of the stream $all: whatever happens, what is
// found is a state and its position. Several are kept, so that earlier positions are answered from the nearest one.
//
// States belong to a generation. A rebuild stores those of the next generation, and only when it takes over does the note of the
// current generation name it: killed before, it leaves the old ones to go on from.
const projectedStream events.Stream = "$all"

func statesOf(name string, generation int) string {
	return fmt.Sprintf("projection:%s/%d", name, generation)
}
func currentOf(name string) string { return "projection-current:" + name }

// current is the note of a projection's generation, written when its fold was at the end of history for the first time.
type current struct {
	Generation int    `json:"generation"`
	Version    int    `json:"version"`
	Source     string `json:"source,omitempty"`
}

func (c current) of(version int, source string) bool {
	return c.Version == version && c.Source == source
}

// stateHead is the first line of a stored state; the fold's own bytes follow.
type stateHead struct {
	Version int               `json:"version"`
	Source  string            `json:"source,omitempty"`
	Folded  int64             `json:"folded,string"`
	Begun   events.Micros     `json:"begun,string"`
	Last    mark              `json:"last"`
	Skipped []events.Position `json:"skipped,omitempty"` // events that are not in it though they are before its position
}

// stored is what is known of a reading's latest stored state.
type stored struct {
	at     events.Position
	folded int64
	read   int64
	bytes  int
	large  bool // the state is too large to be stored
}

const (
	maxState   = 256 << 20 // bytes of a state that is stored
	movedPart  = 64        // positions that a state has moved on count this much less than events that it folded
	passedPart = 16        // events that are only read past count this much less than those that are folded
	savingPart = 20        // a feeder spends at most one part in this many of its time on storing

	// landmarkPart thins out what Retain keeps: there are many folds of all events, and few of one agent's.
	landmarkPart = 8
)

// due reports whether enough was folded since the latest stored state, or enough was read past of which it needs little. Storing costs
// what the state is large, so large ones are stored less often.
func (r *reading) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.stored
	spacing := storage.SnapshotSpacing(s.bytes)
	return r.phase != dropped && !r.frozen && (r.folded-s.folded >= spacing || r.read-s.read >= passedPart*spacing)
}

// save stores the state, if it is another than the one stored last by at least minFolded events. It is a cache: failing costs time at
// the next start.
func (p *Projector) save(ctx context.Context, r *reading, minFolded int64) {
	if p.config.Snapshots == nil {
		return
	}
	snapshot, before, changed, err := r.snapshot(minFolded)
	if err != nil {
		p.config.Log.Error("encode the state of a projection", "projection", r.spec.Name, "error", err)
		return
	}
	if !changed {
		return
	}
	err = p.config.Snapshots.Save(ctx, statesOf(r.spec.Name, r.generation), projectedStream, snapshot)
	if err == nil {
		return
	}
	r.mu.Lock()
	r.stored = before // cut off by the host's end it is tried again there
	r.mu.Unlock()
	if !errors.Is(err, storage.ErrClosed) && ctx.Err() == nil {
		p.config.Log.Warn("store the state of a projection", "projection", r.spec.Name, "error", err)
	}
}

// snapshot encodes the state, and takes it for stored; before is what was stored until now.
func (r *reading) snapshot(minFolded int64) (snapshot storage.Snapshot, before stored, changed bool, err error) {
	r.folding.Lock()
	defer r.folding.Unlock()
	if before, changed = r.moved(minFolded); !changed {
		return snapshot, before, false, nil
	}
	state, err := r.fold.Save()
	if err != nil {
		return snapshot, before, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	head, err := json.Marshal(stateHead{
		Version: r.spec.Version, Source: r.source, Folded: r.folded, Begun: r.begun, Last: r.last, Skipped: r.skips.upTo(r.at),
	})
	if err != nil || r.frozen {
		return snapshot, before, false, err
	}
	r.stored = stored{at: r.at, folded: r.folded, read: r.read, bytes: len(state), large: len(state) > maxState}
	whole := append(append(make([]byte, 0, len(head)+1+len(state)), head...), '\n')
	return storage.Snapshot{
		Revision: events.Revision(r.at), Digest: r.last.Digest, Events: max(1, r.folded/landmarkPart), State: append(whole, state...),
	}, before, !r.stored.large, nil
}

// moved reports whether the state is another than the one stored last by at least minFolded events.
func (r *reading) moved(minFolded int64) (before stored, moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase >= doubtful || r.frozen || r.last.Stream == "" || r.at == r.stored.at {
		return r.stored, false
	}
	return r.stored, r.folded-r.stored.folded >= minFolded || r.at-r.stored.at >= events.Position(movedPart*minFolded)
}

// load puts the newest fitting stored state no later than a position into a reading that has read nothing. Nobody else has the reading,
// or its fold is locked.
func (p *Projector) load(ctx context.Context, r *reading, until events.Position) error {
	if p.config.Snapshots == nil {
		return nil
	}
	for latest := events.Revision(min(until, 1<<62)); ; {
		snapshot, found, err := p.config.Snapshots.Load(ctx, statesOf(r.spec.Name, r.generation), projectedStream, latest)
		if err != nil || !found || snapshot.Revision > latest {
			return ctx.Err() // it is a cache: history is read instead
		}
		head, state, at, err := p.recognise(ctx, &snapshot)
		if err != nil {
			return err
		}
		if at > until { // stored when the store could be reached under other positions
			latest = snapshot.Revision - 1
			continue
		}
		if at > 0 && r.restore(head, state, at) {
			return nil
		}
		p.config.Log.Info("a stored state of a projection is dropped: it is not of this history, this build, or these skipped events",
			"projection", r.spec.Name, "position", snapshot.Revision)
		if err := p.config.Snapshots.Drop(ctx, statesOf(r.spec.Name, r.generation), projectedStream, snapshot.Revision); err != nil {
			return ctx.Err()
		}
	}
}

// recognise finds in history the event by which a stored state is marked; at is 0 when it is not there. The store says at which position it
// is now: states outlive positions, which change when a store is copied or reached in another way.
func (p *Projector) recognise(ctx context.Context, snapshot *storage.Snapshot) (head stateHead, state []byte, at events.Position, err error) {
	line, state, _ := bytes.Cut(snapshot.State, []byte("\n"))
	if json.Unmarshal(line, &head) != nil || head.Last.Stream == "" {
		return head, nil, 0, nil //nolint:nilerr // a state that cannot be read is dropped
	}
	page, err := p.config.Journal.Read(ctx, head.Last.Stream, head.Last.Revision, storage.Forward, storage.Limit{Events: 1})
	if err != nil && !errors.Is(err, storage.ErrDeleted) {
		return head, nil, 0, fmt.Errorf("read %s at revision %d: %w", head.Last.Stream, head.Last.Revision, err)
	}
	if len(page.Events) == 0 || markOf(&page.Events[0]) != head.Last {
		return head, nil, 0, nil
	}
	return head, state, page.Events[0].Position, nil
}

// restore takes over a stored state as of a position if it is of this fold.
func (r *reading) restore(head stateHead, state []byte, at events.Position) bool {
	if head.Version != r.spec.Version || head.Source != r.source || !slices.Equal(head.Skipped, r.skips.upTo(at)) || restoring(r, state) != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.place, r.last, r.folded, r.begun = at, at, head.Last, head.Folded, head.Begun
	r.stored = stored{at: r.at, folded: r.folded, bytes: len(state)}
	return true
}

// restoring restores a fold, and returns a panic as an error: the state is not one of this fold.
func restoring(r *reading, state []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.fold, err = r.spec.New(), fmt.Errorf("panic: %v", p)
		}
	}()
	return r.fold.Restore(state)
}

// current returns the note of a projection's generation; the zero value when there is none.
func (p *Projector) current(ctx context.Context, name string) (noted current) {
	if p.config.Snapshots == nil {
		return noted
	}
	snapshot, found, err := p.config.Snapshots.Load(ctx, currentOf(name), projectedStream, 1<<62)
	if err != nil || !found || json.Unmarshal(snapshot.State, &noted) != nil {
		return current{}
	}
	return noted
}

// noteCurrent makes a reading's generation the one that a start goes on from.
func (p *Projector) noteCurrent(ctx context.Context, r *reading) {
	if p.config.Snapshots == nil {
		return
	}
	state, err := json.Marshal(current{Generation: r.generation, Version: r.spec.Version, Source: r.source})
	if err == nil {
		err = p.config.Snapshots.Drop(ctx, currentOf(r.spec.Name), projectedStream, 0)
	}
	if err == nil {
		err = p.config.Snapshots.Save(ctx, currentOf(r.spec.Name), projectedStream, storage.Snapshot{Revision: events.Revision(r.position()), Events: 1, State: state})
	}
	if err != nil && !errors.Is(err, storage.ErrClosed) && ctx.Err() == nil {
		p.config.Log.Warn("note which state of a projection is current", "projection", r.spec.Name, "error", err)
	}
}
