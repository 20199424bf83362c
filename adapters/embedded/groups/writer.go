package groups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	checkpointKind = events.Kind("$SubscriptionCheckpoint")
	metadataKind   = events.Kind("$metadata")
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
	k := known{saved: nowhere}
	page, err := w.read(ctx, r.key.checkpointStream(), math.MaxInt64, storage.Backward, 1)
	if err != nil {
		return k, err
	}
	w.limited = page.Last != events.NoRevision
	switch {
	case len(page.Events) > 0:
		if k.saved, err = r.checkpointIn(&page.Events[0]); err != nil {
			return k, err
		}
		k.after = k.saved
	default:
		if k.after, err = r.begin(ctx); err != nil {
			return k, err
		}
	}
	return k, w.loadParked(ctx, &k)
}

// checkpointIn reads a checkpoint.
func (r *runner) checkpointIn(e *events.Envelope) (place, error) {
	var text string
	at, ok := nowhere, json.Unmarshal(e.Data, &text) == nil
	if ok {
		at, ok = parsePlace(text)
	}
	if ok && r.key.Stream == All {
		at, ok = at.scaled(r.config.spread(e))
	}
	if !ok {
		return at, fmt.Errorf("%w: checkpoint %s is %.100s", storage.ErrCorrupt, e.Ref(), e.Data)
	}
	return at, nil
}

func (w *writer) read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit int) (storage.Page, error) {
	page, err := w.runner.config.Store.Read(ctx, stream, from, direction, storage.Limit{Events: limit})
	if errors.Is(err, storage.ErrDeleted) { // somebody did that; what is to be written will say so
		return storage.Page{Last: events.NoRevision, End: true}, nil
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
	batch := []events.Envelope{note(checkpointKind, data, nil, r.config.Now())}
	appended, err := r.config.Store.Append(ctx, r.key.checkpointStream(), storage.ExpectAny, batch)
	if err != nil {
		return false, fmt.Errorf("write the checkpoint: %w", err)
	}
	if !w.limited { // afterwards: metadata bring the checkpoints of a group that was deleted back, as far as they allow
		if err := w.setMetadata(ctx, r.key.checkpointStream(), fmt.Sprintf(`{"$maxCount":2,"$tb":%d}`, appended.First)); err != nil {
			return false, err
		}
		w.limited = true
	}
	r.do(func(m *machine) { m.wasSaved(at, finished, passed) })
	return true, nil
}

func (w *writer) setMetadata(ctx context.Context, stream events.Stream, data string) error {
	batch := []events.Envelope{note(metadataKind, json.RawMessage(data), nil, w.runner.config.Now())}
	if _, err := w.runner.config.Store.Append(ctx, "$$"+stream, storage.ExpectAny, batch); err != nil {
		return fmt.Errorf("set the metadata of %s: %w", stream, err)
	}
	return nil
}
