package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/life/events"
)

// watching is what the watchdog knows about a group. It belongs to the watchdog's goroutine.
type watching struct {
	moves uint64        // of the machine, when it last looked
	since events.Micros // when the group was first seen to owe progress without making any; 0: it does not
	hung  bool          // the clock cannot get hold of the machine, and that was logged
}

// stall is what is reported about stalls.
type stall struct {
	count int
	since events.Micros // of the present one; 0: there is none
}

// watchdog looks at every group until the groups are closed.
func (g *Groups) watchdog(ctx context.Context) {
	ticker := time.NewTicker(g.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		g.mu.RLock()
		running := make([]*runner, 0, len(g.runners))
		for _, r := range g.runners {
			running = append(running, r)
		}
		g.mu.RUnlock()
		for _, r := range running {
			r.watch(ctx)
		}
	}
}

// watch compares what the group owes with what it does (the package's comment defines both), and has it read again when it owes progress
// and makes none for too long.
func (r *runner) watch(ctx context.Context) {
	w, now := &r.watching, r.config.Now()
	patience := events.Micros(r.config.Patience.Microseconds())
	if beat := events.Micros(r.beat.Load()); now-beat > patience+2*events.Micros(r.config.Tick.Microseconds()) {
		if !w.hung {
			w.hung = true
			r.config.Log.ErrorContext(ctx, "a consumer group hangs: its clock does not get through", r.name(), slog.Int64("for_ms", int64((now-beat)/events.Millisecond)))
		}
	} else {
		w.hung = false
	}
	if !r.mu.TryLock() {
		return // it is busy, so it moves; if it hangs, the clock will tell
	}
	if r.over != nil { // it is being changed
		r.mu.Unlock()
		return
	}
	moves, owes := r.machine.moves, r.machine.stalled(patience)
	failing := r.failed != 0 && now-r.failed < 2*events.Micros(lastPause.Microseconds()) // it tries again, and says so: reading again is no help
	look := r.begun && !r.ended && !failing && r.machine.wants() && r.machine.hasRoom()
	read := r.machine.read
	r.mu.Unlock()
	if moves == w.moves && !owes && look {
		next, err := behind(ctx, r.config.Store, r.key.Stream, read)
		owes = next != nil && err == nil // the feeder meets the same error and reports it
	}
	switch {
	case moves != w.moves || !owes:
		w.moves, w.since = moves, 0
		r.moving(ctx)
	case w.since == 0:
		w.since = now
	case now-w.since >= patience:
		r.stalls(ctx, now)
	}
}

// stalls says that the group owes progress and makes none, and has it read again from its checkpoint.
func (r *runner) stalls(ctx context.Context, now events.Micros) {
	r.mu.Lock()
	if r.stall.since == 0 {
		r.stall.since = r.watching.since
	}
	r.stall.count++
	since, m := r.stall.since, r.machine
	state := []any{
		r.name(), slog.Int64("for_ms", int64((now-since)/events.Millisecond)), slog.Int64("read", int64(m.read)), slog.Int64("checkpoint", int64(m.checkpoint())),
		slog.Int("buffered", len(m.buffer)), slog.Int("to_retry", len(m.retry)), slog.Int("held", len(m.held)), slog.Int("consumers", len(m.consumers)),
	}
	r.mu.Unlock()
	r.config.Log.ErrorContext(ctx, "a consumer group stalled: it is read again from its checkpoint", state...)
	r.watching.since = now // the next attempt has as long
	r.reread()
	r.mu.Lock()
	r.watching.moves = r.machine.moves // reading again is no progress by itself
	r.mu.Unlock()
}

// moving notes that the group owes nothing, or moves.
func (r *runner) moving(ctx context.Context) {
	r.mu.Lock()
	since := r.stall.since
	r.stall.since = 0
	r.mu.Unlock()
	if since != 0 {
		r.config.Log.InfoContext(ctx, "a consumer group moves again", r.name())
	}
}

func (r *runner) name() slog.Attr { return slog.String("group", r.key.String()) }

// trouble notes that something failed, or no longer does when err is nil. It is logged when that is new.
func (r *runner) trouble(step string, err error) {
	var text string
	if err != nil && !errors.Is(err, context.Canceled) {
		text = err.Error()
	}
	r.mu.Lock()
	before := r.troubles[step]
	if text == "" {
		delete(r.troubles, step)
	} else {
		r.troubles[step] = fmt.Sprintf("%s: %s", step, text)
	}
	after := r.troubles[step]
	r.mu.Unlock()
	switch ctx := context.Background(); {
	case before == after:
	case after == "":
		r.config.Log.InfoContext(ctx, "a consumer group is out of trouble", r.name(), slog.String("step", step))
	default:
		r.config.Log.WarnContext(ctx, "a consumer group is in trouble; it tries again", r.name(), slog.String("trouble", after))
	}
}
