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
	checkpointKind = events.Kind("$SubscriptionCheckpoint")
	metadataKind   = events.Kind("$metadata")
	parkBatch      = 256 // links in one append
	replayBatch    = 64
	lookBack       = 4096            // parked messages that are looked at for those after the checkpoint
	lastWords      = 5 * time.Second // for what is written when the group ends
)

// writer does what a group has to store, and reads parked messages for replay. Each of its steps has its own pause after a failure:
// one that cannot be done keeps no other from being done.
type writer struct {
	runner  *runner
	parked  events.Revision   // last of the parked stream, as far as it is known
	batch   []events.Envelope // links that are being written to it
	limited bool              // the checkpoint stream has its metadata
	pauses  map[string]*backoff
}

// known is what is stored about a group.
type known struct {
	after, saved place
	parked       []place
	firstParked  events.Revision
}

// begin reads what is stored, until it succeeds; false when the group ends before.
func (w *writer) begin(ctx context.Context) bool {
	for pause := (backoff{}); ctx.Err() == nil; pause.wait(ctx) {
		k, err := w.load(ctx)
		if err == nil {
			w.runner.begins(k)
			w.runner.trouble("load", nil)
			return true
		}
		w.runner.trouble("load", err)
	}
	return false
}

func (w *writer) load(ctx context.Context) (known, error) {
	r := w.runner
	k := known{after: r.entry.settings.Start.after(r.entry.end), saved: nowhere}
	page, err := w.read(ctx, r.key.checkpointStream(), math.MaxInt64, actors.Backward, 1)
	if err != nil {
		return k, err
	}
	w.limited = page.Last != events.NoRevision
	if len(page.Events) > 0 {
		var text string
		at, ok := nowhere, json.Unmarshal(page.Events[0].Data, &text) == nil
		if ok {
			at, ok = parsePlace(text)
		}
		if !ok {
			return k, fmt.Errorf("%w: checkpoint %s is %.100s", actors.ErrCorrupt, page.Events[0].Ref(), page.Events[0].Data)
		}
		k.after, k.saved = at, at
	}
	return k, w.loadParked(ctx, &k)
}

func (w *writer) loadParked(ctx context.Context, k *known) error {
	stream := w.runner.key.parkedStream()
	first, err := w.read(ctx, stream, 0, actors.Forward, 1)
	if err != nil {
		return err
	}
	w.parked = first.Last
	k.firstParked = first.Last + 1
	if len(first.Events) > 0 {
		k.firstParked = first.Events[0].Revision
	}
	last, err := w.read(ctx, stream, math.MaxInt64, actors.Backward, lookBack)
	if err != nil {
		return err
	}
	for i := range last.Events {
		if at, ok := parkedFrom(last.Events[i].Metadata()); ok && at > k.after {
			k.parked = append(k.parked, at)
		}
	}
	return nil
}

func (w *writer) read(ctx context.Context, stream events.Stream, from events.Revision, direction actors.Direction, limit int) (actors.Page, error) {
	page, err := w.runner.config.Store.Read(ctx, stream, from, direction, actors.Limit{Events: limit})
	if errors.Is(err, actors.ErrDeleted) { // somebody did that; what is to be written will say so
		return actors.Page{Last: events.NoRevision, End: true}, nil
	}
	if err != nil {
		return page, fmt.Errorf("read %s: %w", stream, err)
	}
	return page, nil
}

// run writes what there is to write, until the group ends; then once more.
func (w *writer) run(ctx context.Context) {
	for w.wait(ctx) {
		w.steps(ctx, false)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	w.pauses = nil
	w.steps(last, true)
}

// wait waits for work; false when the group ends.
func (w *writer) wait(ctx context.Context) bool {
	now, soonest := w.runner.config.Now(), events.Micros(math.MaxInt64)
	for _, pause := range w.pauses {
		soonest = min(soonest, max(pause.until-now, 0))
	}
	var due <-chan time.Time
	if soonest != math.MaxInt64 {
		timer := time.NewTimer(time.Duration(soonest) * time.Microsecond)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.runner.work:
	case <-due:
	}
	return true
}

// steps does all there is to do.
func (w *writer) steps(ctx context.Context, final bool) {
	for again := true; again && ctx.Err() == nil; {
		again = w.step("park", func() (bool, error) { return w.park(ctx) })
		again = w.step("checkpoint", func() (bool, error) { return w.checkpoint(ctx, final) }) || again
		if !final {
			again = w.step("replay", func() (bool, error) { return w.replay(ctx) }) || again
		}
		again = w.step("truncate", func() (bool, error) { return w.truncate(ctx, final) }) || again
	}
}

// step does something unless it failed a moment ago; true when it did.
func (w *writer) step(name string, do func() (bool, error)) bool {
	if pause := w.pauses[name]; pause != nil && pause.until > w.runner.config.Now() {
		return false
	}
	done, err := do()
	if err == nil {
		if w.pauses[name] != nil {
			delete(w.pauses, name)
			w.runner.trouble(name, nil)
		}
		return done
	}
	if w.pauses == nil {
		w.pauses = map[string]*backoff{}
	}
	if w.pauses[name] == nil {
		w.pauses[name] = &backoff{}
	}
	w.pauses[name].until = w.runner.config.Now() + events.Micros(w.pauses[name].next().Microseconds())
	w.runner.trouble(name, err)
	return false
}

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

// checkpoint writes how far the group is.
func (w *writer) checkpoint(ctx context.Context, final bool) (bool, error) {
	r := w.runner
	r.mu.Lock()
	at, finished, passed, due := r.machine.checkpoint(), r.machine.finished, r.machine.passed, r.machine.due(final)
	r.mu.Unlock()
	if !due {
		return false, nil
	}
	data, err := json.Marshal(r.key.format(at))
	if err != nil {
		return false, fmt.Errorf("write the checkpoint: %w", err)
	}
	if !w.limited {
		if err := w.setMetadata(ctx, r.key.checkpointStream(), `{"$maxCount":2}`); err != nil {
			return false, err
		}
		w.limited = true
	}
	batch := []events.Envelope{note(checkpointKind, data, nil, r.config.Now())}
	if _, err := r.config.Store.Append(ctx, r.key.checkpointStream(), actors.ExpectAny, batch); err != nil {
		return false, fmt.Errorf("write the checkpoint: %w", err)
	}
	r.do(func(m *machine) { m.wasSaved(at, finished, passed) })
	return true, nil
}

func (w *writer) setMetadata(ctx context.Context, stream events.Stream, data string) error {
	batch := []events.Envelope{note(metadataKind, json.RawMessage(data), nil, w.runner.config.Now())}
	if _, err := w.runner.config.Store.Append(ctx, "$$"+stream, actors.ExpectAny, batch); err != nil {
		return fmt.Errorf("set the metadata of %s: %w", stream, err)
	}
	return nil
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
	for i := range page.Events {
		link := &page.Events[i]
		if link.Revision >= until {
			break
		}
		event, err := resolve(ctx, r.config.Store, link)
		if err != nil {
			return false, fmt.Errorf("replay parked messages: %w", err)
		}
		r.do(func(m *machine) { m.takeParked(link.Revision, event, link) })
	}
	if page.End {
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
	if err := w.setMetadata(ctx, r.key.parkedStream(), fmt.Sprintf(`{"$tb":%d}`, keep)); err != nil {
		return false, err
	}
	r.mu.Lock()
	r.truncated = keep
	r.mu.Unlock()
	return true, nil
}
