package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// latest is a revision beyond the end of every stream.
const latest events.Revision = 1 << 62

// foldStream folds a stream up to and including a revision, from the newest usable snapshot. What it had to fold it leaves snapshots
// of along the way, so that looking at the same part of the past again is cheap.
func foldStream[S sagas.Saga[S]](ctx context.Context, h *Host, f fold[S], stream events.Stream, until events.Revision) (S, tip, error) {
	saga, at, err := fromSnapshot(ctx, h, f, stream, until)
	if err != nil {
		return saga, at, err
	}
	saved, every := at.revision, events.Revision(storage.SnapshotEvery)
	for at.revision < until {
		page, err := h.journal.Read(ctx, stream, at.revision+1, storage.Forward, storage.Limit{Events: int(min(until-at.revision, storage.DefaultPageEvents))})
		if err != nil {
			return saga, at, fmt.Errorf("read %s from revision %d: %w", stream, at.revision+1, err)
		}
		for i := range page.Events {
			if page.Events[i].Revision > until {
				return saga, at, nil
			}
			fact, err := sagas.FactOf(&page.Events[i])
			if err != nil {
				return saga, at, &poisoned{err}
			}
			if fact.Revision == 0 && f.origin != nil {
				if saga, err = f.origin(ctx, h, f, fact); err != nil {
					return saga, at, err
				}
			}
			saga = saga.Apply(fact)
			at = tip{page.Events[i].Revision, page.Events[i].Digest}
		}
		if page.End || len(page.Events) == 0 {
			break
		}
		if at.revision-saved >= every {
			saved, every = at.revision, leaveSnapshot(ctx, h, f, stream, &saga, at)
		}
	}
	return saga, at, nil
}

// leaveSnapshot saves a fold on its way, and returns how many events later the next one is due.
func leaveSnapshot[S sagas.Saga[S]](ctx context.Context, h *Host, f fold[S], stream events.Stream, saga *S, at tip) events.Revision {
	if h.snapshots == nil {
		return latest
	}
	state, err := json.Marshal(saga)
	if err != nil {
		h.log.Error("encode snapshot", "stream", stream, "error", err)
		return latest
	}
	snapshot := storage.Snapshot{Revision: at.revision, Digest: at.digest, State: state}
	if err := h.snapshots.Save(ctx, f.name, stream, snapshot); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrClosed) {
		h.log.Warn("save snapshot", "stream", stream, "error", err)
	}
	return events.Revision(storage.SnapshotSpacing(len(state)))
}

// fromSnapshot returns the state of the newest snapshot that is no later than until and fits the history it claims to be of; or
// the zero state. Those that do not fit are dropped.
func fromSnapshot[S sagas.Saga[S]](ctx context.Context, h *Host, f fold[S], stream events.Stream, until events.Revision) (S, tip, error) {
	start := tip{revision: events.NoRevision}
	if h.snapshots == nil {
		return f.zero(), start, nil
	}
	for {
		snapshot, found, err := h.snapshots.Load(ctx, f.name, stream, until)
		if err != nil {
			h.log.Warn("snapshot cannot be loaded: reading all history", "stream", stream, "error", err)
		}
		if err != nil || !found {
			return f.zero(), start, ctx.Err()
		}
		page, err := h.journal.Read(ctx, stream, snapshot.Revision, storage.Forward, storage.Limit{Events: 1})
		if err != nil {
			return f.zero(), start, fmt.Errorf("read %s at revision %d: %w", stream, snapshot.Revision, err)
		}
		saga, problem := f.zero(), "it does not fit its history"
		if len(page.Events) == 1 && page.Events[0].Revision == snapshot.Revision && page.Events[0].Digest == snapshot.Digest {
			err := json.Unmarshal(snapshot.State, &saga)
			if err == nil {
				return saga, tip{snapshot.Revision, snapshot.Digest}, nil
			}
			problem = err.Error()
		}
		h.log.Warn("snapshot dropped: an earlier one is used, or all history is read",
			"stream", stream, "revision", snapshot.Revision, "problem", problem)
		if err := h.snapshots.Drop(ctx, f.name, stream, snapshot.Revision); err != nil {
			return f.zero(), start, ctx.Err() // it is a cache
		}
		until = snapshot.Revision - 1
	}
}
