package groups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/link"
	"example.com/life/events"
)

const (
	parkBatch   = 256 // links in one append
	replayBatch = 64
	parkedPage  = 1024 // links that are read at once
)

// parkedMetadata stands beside a link in the parked stream, as EventStoreDB writes it. Where the message was in what the group reads stands
// in the link's causation, as <stream>@<place>, which nobody is shown.
type parkedMetadata struct {
	Added  time.Time       `json:"added"`
	Reason string          `json:"reason"`
	Number events.Revision `json:"subscriptionEventNumber,omitempty"` // of the message in its own stream; of a link, in the link's
}

// oldParkedMetadata is what builds before this one wrote.
type oldParkedMetadata struct {
	Revision *int64 `json:"subscriptionEventNumber"` // in the group's stream
	Position string `json:"subscriptionPosition"`    // in groups of $all
}

// loadParked finds out where the parked stream stands, and which messages after the checkpoint are in it. Such a message was read before it
// was parked, so no link before the first event after the checkpoint is one of theirs.
func (w *writer) loadParked(ctx context.Context, k *known) error {
	r, stream := w.runner, w.runner.key.parkedStream()
	first, err := w.read(ctx, stream, 0, storage.Forward, 1)
	if err != nil {
		return err
	}
	w.parked = first.Last
	k.firstParked = first.Last + 1
	if len(first.Events) == 0 {
		return nil
	}
	k.firstParked = first.Events[0].Revision
	next, err := behind(ctx, r.config.Store, r.key.Stream, k.after)
	if errors.Is(err, storage.ErrDeleted) || err == nil && next == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", r.key.Stream, err)
	}
	for from := events.Revision(math.MaxInt64); from >= k.firstParked; {
		page, err := w.read(ctx, stream, from, storage.Backward, parkedPage)
		if err != nil {
			return err
		}
		for i := range page.Events {
			if page.Events[i].Position < next.Position {
				return nil
			}
			at, err := w.parkedFrom(ctx, &page.Events[i])
			if err != nil {
				return err
			}
			if at > k.after {
				k.parked = append(k.parked, at)
			}
			from = page.Events[i].Revision - 1
		}
		if page.End || len(page.Events) == 0 {
			return nil
		}
	}
	return nil
}

// parkedFrom returns where in the source a parked message was; nowhere when it was replayed, as it was parked before, and when that is not
// known: then it may be delivered again.
func (w *writer) parkedFrom(ctx context.Context, parked *events.Envelope) (place, error) {
	key := w.runner.key
	if stream, at, err := parked.Causation.Split(); !isOld(parked) && err == nil {
		if stream != key.Stream {
			return nowhere, nil
		}
		return place(at), nil
	}
	var old oldParkedMetadata
	if json.Unmarshal(parked.Metadata(), &old) != nil {
		return nowhere, nil //nolint:nilerr // somebody else's: it is no message of the source
	}
	if key.Stream == All {
		if at, ok := parsePlace(old.Position); ok {
			if at, ok = at.scaled(w.runner.config.spread(parked)); ok {
				return at, nil
			}
		}
		return nowhere, nil
	}
	if old.Revision == nil || *old.Revision < 0 {
		return nowhere, nil
	}
	return w.confirmed(ctx, events.Revision(*old.Revision), parked)
}

// confirmed returns the place of an event of the group's stream if it is what a parked link leads to. EventStoreDB numbers what was
// replayed and parked again by its place in the parked stream instead.
func (w *writer) confirmed(ctx context.Context, revision events.Revision, parked *events.Envelope) (place, error) {
	r := w.runner
	page, err := w.read(ctx, r.key.Stream, revision, storage.Forward, 1)
	if err != nil || len(page.Events) == 0 || page.Events[0].Revision != revision {
		return nowhere, err
	}
	event, itself, err := r.resolved(ctx, &page.Events[0])
	if err != nil {
		return nowhere, err
	}
	if data, err := parked.Bytes(); err != nil || (&message{event: event, link: itself}).target() != string(data) {
		return nowhere, nil //nolint:nilerr // it leads elsewhere
	}
	return place(revision), nil
}

// park writes links to messages that are to be parked. When an answer was lost, the same links are written again at the same place, and
// the store recognises them.
func (w *writer) park(ctx context.Context) (bool, error) {
	r := w.runner
	if len(w.batch) == 0 {
		if err := w.gather(); err != nil || len(w.batch) == 0 {
			return false, err
		}
	}
	appended, err := r.config.Store.Append(ctx, r.key.parkedStream(), storage.ExpectRevision(w.parked), w.batch)
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		appended.Last, err = w.foundParked(ctx, conflict)
	}
	if err != nil {
		return false, fmt.Errorf("park %d messages: %w", len(w.batch), err)
	}
	// True from here on: the messages are in the parked stream, once, and a restart does not deliver them again.
	w.parked = appended.Last
	r.do(func(m *machine) { m.wasParked(len(w.batch)) })
	w.batch = nil
	return true, nil
}

// gather makes links of what is to be parked.
func (w *writer) gather() error {
	w.runner.mu.Lock()
	defer w.runner.mu.Unlock()
	parking := w.runner.machine.parking
	for _, p := range parking[:min(len(parking), parkBatch)] {
		made, err := w.link(p)
		if err != nil {
			return err
		}
		w.batch = append(w.batch, made)
	}
	return nil
}

// foundParked is asked when the parked stream is not where it was left: somebody else wrote to it or deleted it, perhaps after a write of
// ours whose answer was lost. It returns the stream's end if our links are there, and otherwise the conflict, to try again from there.
func (w *writer) foundParked(ctx context.Context, conflict *storage.ConflictError) (events.Revision, error) {
	last := w.batch[len(w.batch)-1].ID
	for from := w.parked + 1; ; {
		page, err := w.read(ctx, w.runner.key.parkedStream(), from, storage.Forward, parkedPage)
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(page.Events, func(e events.Envelope) bool { return e.ID == last }) {
			return page.Last, nil
		}
		if page.End || len(page.Events) == 0 {
			w.parked = conflict.Actual
			return 0, conflict
		}
		from = page.Events[len(page.Events)-1].Revision + 1
	}
}

// link makes the event that parks a message.
func (w *writer) link(p *message) (events.Envelope, error) {
	now, key := w.runner.config.Now(), w.runner.key
	metadata, err := json.Marshal(parkedMetadata{Added: time.UnixMicro(int64(now)).UTC(), Reason: p.reason, Number: p.number})
	if err != nil {
		return events.Envelope{}, fmt.Errorf("park a message: %w", err)
	}
	made := note(link.Kind, link.Data(p.leads), metadata, now)
	made.Foreign.ContentType, made.Foreign.Base64 = "application/octet-stream", true
	if made.Causation = events.NewRef(key.Stream, events.Revision(p.at)); p.at == nowhere {
		made.Causation = events.NewRef(key.parkedStream(), p.replay)
	}
	return made, nil
}

// replay reads parked messages that are to be delivered again.
func (w *writer) replay(ctx context.Context) (bool, error) {
	r := w.runner
	r.mu.Lock()
	wanted, from, until := r.wantsReplays(), r.machine.replayed, r.replayUntil
	r.mu.Unlock()
	if !wanted {
		return false, nil
	}
	page, err := w.read(ctx, r.key.parkedStream(), from, storage.Forward, replayBatch)
	if err != nil {
		return false, fmt.Errorf("replay parked messages: %w", err)
	}
	all := page.End
	for i := range page.Events {
		parked := &page.Events[i]
		if all = all || parked.Revision+1 >= until; parked.Revision >= until {
			break
		}
		event, itself, err := resolve(ctx, r.config.Store, parked)
		if err != nil {
			return false, fmt.Errorf("replay parked messages: %w", err)
		}
		r.do(func(m *machine) { m.takeParked(parked.Revision, event, itself) })
	}
	if all {
		r.do(func(m *machine) { m.replayed = max(m.replayed, r.replayUntil) })
	}
	return true, nil
}

// truncate gives up what was replayed and is done. Until it is, a message stays in the parked stream: a crash during a replay loses nothing.
func (w *writer) truncate(ctx context.Context, final bool) (bool, error) {
	r := w.runner
	r.mu.Lock()
	keep, wanted := r.machine.keptFrom(), r.wantsTruncation(final)
	r.mu.Unlock()
	if !wanted {
		return false, nil
	}
	now, err := w.truncatedBefore(ctx)
	if err == nil && now < keep { // somebody may have given up more, or all
		err = w.setMetadata(ctx, r.key.parkedStream(), fmt.Sprintf(`{"$tb":%d,"$acl":%s}`, keep, forAdmins))
	}
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	r.truncated = keep
	r.mu.Unlock()
	return true, nil
}

// forAdmins is the access list of a parked stream from its first replay on.
const forAdmins = `{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}`

// truncatedBefore reads $tb of the parked stream.
func (w *writer) truncatedBefore(ctx context.Context) (events.Revision, error) {
	page, err := w.read(ctx, "$$"+w.runner.key.parkedStream(), math.MaxInt64, storage.Backward, 1)
	if err != nil || len(page.Events) == 0 {
		return 0, err
	}
	var metadata struct {
		Before int64 `json:"$tb"`
	}
	if json.Unmarshal(page.Events[0].Data, &metadata) != nil {
		return 0, nil //nolint:nilerr // malformed metadata say nothing
	}
	return events.Revision(metadata.Before), nil
}
