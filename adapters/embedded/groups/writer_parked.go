package groups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

const (
	parkBatch   = 256 // links in one append
	replayBatch = 64
	lookBack    = 4096 // parked messages that are looked at for those after the checkpoint
)

// parkedMetadata stands beside a link in the parked stream.
type parkedMetadata struct {
	Added    time.Time `json:"added"`
	Reason   string    `json:"reason"`
	Revision *int64    `json:"subscriptionEventNumber,omitempty"`
	Position string    `json:"subscriptionPosition,omitempty"` // in groups of $all
}

// parkedFrom reads where in the source a parked message was; a replayed one was parked before, and was nowhere.
func parkedFrom(metadata []byte) (place, bool) {
	var read parkedMetadata
	if json.Unmarshal(metadata, &read) != nil {
		return nowhere, false
	}
	if read.Revision != nil {
		return place(*read.Revision), *read.Revision >= 0
	}
	return parsePlace(read.Position)
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
	appended, err := r.config.Store.Append(ctx, r.key.parkedStream(), actors.ExpectRevision(w.parked), w.batch)
	var conflict *actors.Conflict
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
		link, err := w.link(p)
		if err != nil {
			return err
		}
		w.batch = append(w.batch, link)
	}
	return nil
}

// foundParked is asked when the parked stream is not where it was left: somebody else wrote to it or deleted it, perhaps after a write of
// ours whose answer was lost. It returns the stream's end if our links are there, and otherwise the conflict, to try again from there.
func (w *writer) foundParked(ctx context.Context, conflict *actors.Conflict) (events.Revision, error) {
	page, err := w.read(ctx, w.runner.key.parkedStream(), w.parked+1, actors.Forward, lookBack)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(page.Events, func(e events.Envelope) bool { return e.ID == w.batch[0].ID }) {
		return page.Last, nil
	}
	w.parked = conflict.Actual
	return 0, conflict
}

// link makes the event that parks a message.
func (w *writer) link(p *message) (events.Envelope, error) {
	now := w.runner.config.Now()
	about := parkedMetadata{Added: time.UnixMicro(int64(now)).UTC(), Reason: p.reason}
	switch {
	case p.at == nowhere:
	case w.runner.key.Stream == All:
		about.Position = w.runner.key.format(p.at)
	default:
		about.Revision = (*int64)(&p.at)
	}
	metadata, err := json.Marshal(about)
	if err != nil {
		return events.Envelope{}, fmt.Errorf("park a message: %w", err)
	}
	link := note(linkKind, newLink(p.target), metadata, now)
	link.Foreign.ContentType, link.Foreign.Base64 = "application/octet-stream", true
	return link, nil
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
	page, err := w.read(ctx, r.key.parkedStream(), from, actors.Forward, replayBatch)
	if err != nil {
		return false, fmt.Errorf("replay parked messages: %w", err)
	}
	all := page.End
	for i := range page.Events {
		link := &page.Events[i]
		if all = all || link.Revision+1 >= until; link.Revision >= until {
			break
		}
		event, err := resolve(ctx, r.config.Store, link)
		if err != nil {
			return false, fmt.Errorf("replay parked messages: %w", err)
		}
		r.do(func(m *machine) { m.takeParked(link.Revision, event, link) })
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
		err = w.setMetadata(ctx, r.key.parkedStream(), fmt.Sprintf(`{"$tb":%d}`, keep))
	}
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	r.truncated = keep
	r.mu.Unlock()
	return true, nil
}

// truncatedBefore reads $tb of the parked stream.
func (w *writer) truncatedBefore(ctx context.Context) (events.Revision, error) {
	page, err := w.read(ctx, "$$"+w.runner.key.parkedStream(), math.MaxInt64, actors.Backward, 1)
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
