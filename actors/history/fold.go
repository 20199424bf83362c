package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Fold says how a kind of stream is folded.
type Fold[S sagas.Saga[S]] struct {
	Name string // with its version: snapshots of another version are not read
	Zero func() S
	// origin is what a stream's first fact is folded on, where that is not Zero: a fork begins with its parent's fold; nil for
	// sagas that are not forked.
	origin func(context.Context, *Reader, Fold[S], sagas.Fact) (S, error)
	path   []events.AgentID // the forks whose origin is looked for
}

// AgentFold is the fold of agents. Raise the version in a fold's name with every change to what the fold holds.
func AgentFold() Fold[sagas.Agent] {
	return Fold[sagas.Agent]{Name: "agent/13", Zero: sagas.NewAgent, origin: forkOrigin}
}

// WalletFold is the fold of wallets.
func WalletFold() Fold[sagas.Wallet] {
	return Fold[sagas.Wallet]{Name: "wallet/2", Zero: sagas.NewWallet}
}

// HomeostasisFold is the fold of a tenant's rules.
func HomeostasisFold() Fold[sagas.Homeostasis] {
	return Fold[sagas.Homeostasis]{Name: "homeostasis/1", Zero: sagas.NewHomeostasis}
}

// KnowledgeFold is the fold of a tenant's notes.
func KnowledgeFold() Fold[sagas.Knowledge] {
	return Fold[sagas.Knowledge]{Name: "knowledge/1", Zero: sagas.NewKnowledge}
}

// CatalogueFold is the fold of a tenant's declared projections.
func CatalogueFold() Fold[sagas.Catalogue] {
	return Fold[sagas.Catalogue]{Name: "projections/1", Zero: sagas.NewCatalogue}
}

// Tip is the end of a stream, or of what was read of it.
type Tip struct {
	Revision events.Revision
	Digest   events.Digest
	Time     events.Micros
}

// UnreadableError says that a history itself cannot be folded: trying again fails again.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }
func (e *UnreadableError) Unwrap() error { return e.Err }

// GoneError says that part of a stream is gone, so that it cannot be folded: what is left would give another state.
type GoneError struct {
	Stream      events.Stream
	First, Last events.Revision // that cannot be read
}

// Error says what may have removed the events, and what to do.
func (g *GoneError) Error() string {
	if g.Last == events.NoRevision {
		return fmt.Sprintf("the events of %s are gone: it was deleted (the metadata in $$%s say so); restore the store from a backup (life store import)", g.Stream, g.Stream)
	}
	gone := fmt.Sprintf("revisions %d to %d of %s are gone", g.First, g.Last, g.Stream)
	if g.First == g.Last {
		gone = fmt.Sprintf("revision %d of %s is gone", g.First, g.Stream)
	}
	return fmt.Sprintf("%s: the metadata of the stream ($maxCount, $maxAge, $tb) hide it, or a scavenge removed it; what is left is not folded, "+
		"because it would give another state; take the limit out of the metadata in $$%s, or restore the store from a backup (life store import)", gone, g.Stream)
}

// unfoldable marks errors of reading that come again however often it is read.
func unfoldable(err error) error {
	var gone *GoneError
	switch {
	case errors.As(err, &gone):
		return &UnreadableError{gone}
	case errors.Is(err, storage.ErrDeleted):
		return &UnreadableError{err}
	}
	return err
}

// whole refuses a page of a stream, read forward from behind a revision, in which events are missing. Of a stream that was deleted nothing is left
// but its metadata: without a look at them it would be begun again, behind its last revision.
func (r *Reader) whole(ctx context.Context, stream events.Stream, after events.Revision, page *storage.Page) error {
	next := after + 1
	for i := range page.Events {
		if at := page.Events[i].Revision; at != next {
			return &GoneError{stream, next, at - 1}
		}
		next++
	}
	switch {
	case len(page.Events) > 0:
		return nil
	case page.Last > after:
		return &GoneError{stream, next, page.Last}
	case page.Last != events.NoRevision || after != events.NoRevision:
		return nil
	}
	metadata, err := r.journal.Read(ctx, "$$"+stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return fmt.Errorf("read its metadata: %w", err)
	}
	var said struct {
		Before int64 `json:"$tb"`
	}
	if len(metadata.Events) > 0 && json.Unmarshal(metadata.Events[0].Data, &said) == nil && said.Before > 0 {
		return &GoneError{stream, 0, events.NoRevision}
	}
	return nil
}

// beginning refuses a stream whose first event cannot be read, though later ones can or could.
func (r *Reader) beginning(ctx context.Context, stream events.Stream) error {
	page, err := r.journal.Read(ctx, stream, 0, storage.Forward, storage.Limit{Events: 1})
	if err == nil {
		err = r.whole(ctx, stream, events.NoRevision, &page)
	}
	if err != nil {
		return unfoldable(fmt.Errorf("read the beginning of %s: %w", stream, err))
	}
	return nil
}

// FoldStream folds a stream up to and including a revision, from the newest usable snapshot. What it had to fold it leaves snapshots
// of along the way, so that looking at the same part of the past again is cheap.
func FoldStream[S sagas.Saga[S]](ctx context.Context, r *Reader, f Fold[S], stream events.Stream, until events.Revision) (S, Tip, error) {
	saga, at, err := fromSnapshot(ctx, r, f, stream, until)
	if err != nil {
		return saga, at, err
	}
	saved, every := at.Revision, events.Revision(storage.SnapshotEvery)
	for at.Revision < until {
		page, err := r.journal.Read(ctx, stream, at.Revision+1, storage.Forward, storage.Limit{Events: int(min(until-at.Revision, storage.DefaultPageEvents))})
		if err == nil {
			err = r.whole(ctx, stream, at.Revision, &page)
		}
		if err != nil {
			return saga, at, unfoldable(fmt.Errorf("read %s from revision %d: %w", stream, at.Revision+1, err))
		}
		for i := range page.Events {
			if page.Events[i].Revision > until {
				return saga, at, nil
			}
			fact, err := sagas.FactOf(&page.Events[i])
			if err != nil {
				return saga, at, &UnreadableError{err}
			}
			if fact.Revision == 0 && f.origin != nil {
				if saga, err = f.origin(ctx, r, f, fact); err != nil {
					return saga, at, err
				}
			}
			saga = saga.Apply(fact)
			at = Tip{page.Events[i].Revision, page.Events[i].Digest, page.Events[i].Time}
		}
		if page.End || len(page.Events) == 0 {
			break
		}
		if at.Revision-saved >= every {
			saved, every = at.Revision, leaveSnapshot(ctx, r, f, stream, &saga, at)
		}
	}
	return saga, at, nil
}

// leaveSnapshot saves a fold on its way, and returns how many events later the next one is due.
func leaveSnapshot[S sagas.Saga[S]](ctx context.Context, r *Reader, f Fold[S], stream events.Stream, saga *S, at Tip) events.Revision {
	if r.snapshots == nil {
		return storage.Latest
	}
	state, err := json.Marshal(saga)
	if err != nil {
		r.log.Error("encode snapshot", "stream", stream, "error", err)
		return storage.Latest
	}
	snapshot := storage.Snapshot{Revision: at.Revision, Digest: at.Digest, State: state}
	if err := r.snapshots.Save(ctx, f.Name, stream, snapshot); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrClosed) {
		r.log.Warn("save snapshot", "stream", stream, "error", err)
	}
	return events.Revision(storage.SnapshotSpacing(len(state)))
}

// fromSnapshot returns the state of the newest snapshot that is no later than until and fits the history it claims to be of; or
// the zero state. Those that do not fit are dropped.
func fromSnapshot[S sagas.Saga[S]](ctx context.Context, r *Reader, f Fold[S], stream events.Stream, until events.Revision) (S, Tip, error) {
	start := Tip{Revision: events.NoRevision}
	if r.snapshots == nil {
		return f.Zero(), start, nil
	}
	for begun := false; ; begun = true {
		snapshot, found, err := r.snapshots.Load(ctx, f.Name, stream, until)
		if err != nil {
			r.log.Warn("snapshot cannot be loaded: reading all history", "stream", stream, "error", err)
		}
		if err != nil || !found {
			return f.Zero(), start, ctx.Err()
		}
		if !begun { // with snapshots and without, the same streams are refused
			if err := r.beginning(ctx, stream); err != nil {
				return f.Zero(), start, err
			}
		}
		page, err := r.journal.Read(ctx, stream, snapshot.Revision, storage.Forward, storage.Limit{Events: 1})
		if err != nil {
			return f.Zero(), start, fmt.Errorf("read %s at revision %d: %w", stream, snapshot.Revision, err)
		}
		saga, problem := f.Zero(), "it does not fit its history"
		if len(page.Events) == 1 && page.Events[0].Revision == snapshot.Revision && page.Events[0].Digest == snapshot.Digest {
			err := json.Unmarshal(snapshot.State, &saga)
			if err == nil {
				return saga, Tip{snapshot.Revision, snapshot.Digest, page.Events[0].Time}, nil
			}
			problem = err.Error()
		}
		r.log.Warn("snapshot dropped: an earlier one is used, or all history is read",
			"stream", stream, "revision", snapshot.Revision, "problem", problem)
		if err := r.snapshots.Drop(ctx, f.Name, stream, snapshot.Revision); err != nil {
			return f.Zero(), start, ctx.Err() // it is a cache
		}
		until = snapshot.Revision - 1
	}
}
