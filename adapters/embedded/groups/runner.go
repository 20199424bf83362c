package groups

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// runner runs one group. Its mutex guards the machine and is held for moments only, never while the store is asked.
type runner struct {
	key    Key
	entry  entry
	config *Config
	filter *filter.Filter // of All

	stop     context.CancelFunc
	workers  sync.WaitGroup
	room     chan struct{} // has a token when the machine wants more events
	work     chan struct{} // has a token when there is something to write or to replay
	replaced chan struct{} // closed when the group was changed and what comes after this runner is there
	beat     atomic.Int64  // when the clock last got hold of the machine, in Micros
	watching watching      // the watchdog's own

	mu          sync.Mutex
	machine     *machine
	begun       bool // what is stored about the group was read
	epoch       int  // of the feeder: what an earlier one read is dropped
	refeed      context.CancelFunc
	failed      events.Micros   // when the feeder last did
	replayUntil events.Revision // parked messages before this are read for replay
	truncated   events.Revision // $tb of the parked stream, as it was last written
	ended       bool            // nothing more comes: the stream was deleted for good
	tombstone   bool            // consumers are given the event that says so
	lost        error           // what consumers get when that event cannot be read any more
	over        error           // what consumers get, once the group has ended
	troubles    map[string]string
	stall       stall
}

// startRunner has a group run. It needs nothing of the store to start: what cannot be read now is tried again.
func startRunner(ctx context.Context, config *Config, e entry) *runner {
	chosen, err := readyFilter(e.settings.Filter)
	if err != nil { // it was checked: no event is chosen rather than the wrong ones
		chosen = &filter.Filter{}
	}
	now := config.Now()
	r := &runner{
		key: e.key, entry: e, config: config, filter: chosen, machine: newMachine(e.settings, now),
		room: make(chan struct{}, 1), work: make(chan struct{}, 1), replaced: make(chan struct{}), troubles: map[string]string{},
	}
	r.beat.Store(int64(now))
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.workers.Go(func() { r.tick(ctx) })
	r.workers.Go(func() {
		w := writer{runner: r}
		if !w.begin(ctx) {
			return
		}
		r.workers.Go(func() { r.feed(ctx) })
		w.run(ctx)
	})
	return r
}

// do has the machine do something, and wakes whoever has work after it.
func (r *runner) do(step func(m *machine)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step(r.machine)
	if r.machine.wants() {
		wake(r.room)
	}
	if r.hasWork(false) {
		wake(r.work)
	}
}

func wake(sleeper chan struct{}) {
	select {
	case sleeper <- struct{}{}:
	default:
	}
}

// hasWork reports that there is something for the writer. The mutex is held.
func (r *runner) hasWork(final bool) bool {
	m := r.machine
	return r.begun && (len(m.parking) > 0 || m.due(final) || r.wantsReplays() || r.wantsTruncation(final))
}

// tick tells the machine the time.
func (r *runner) tick(ctx context.Context) {
	ticker := time.NewTicker(r.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now := r.config.Now()
			r.do(func(m *machine) { m.tick(now) })
			r.beat.Store(int64(now))
		}
	}
}

// close ends the group: consumers get the reason, and how far the group is is stored, if the store still takes it.
func (r *runner) close(reason error) {
	r.mu.Lock()
	if r.over == nil {
		r.over = reason
	}
	for _, c := range r.machine.consumers {
		c.signal()
	}
	r.mu.Unlock()
	r.stop()
	r.workers.Wait()
}

// join adds a consumer.
func (r *runner) join(who Consumer) (*Member, error) {
	c := &consumer{name: who.Name, user: who.User, buffer: who.Buffer, wake: make(chan struct{}, 1)}
	limit := r.entry.settings.MaxConsumers
	var refused error
	r.do(func(m *machine) {
		switch {
		case r.over != nil:
			refused = r.over
		case limit > 0 && len(m.consumers) >= limit:
			refused = &RefusalError{Kind: Full, Key: r.key}
		default:
			m.join(c)
		}
	})
	if refused != nil {
		return nil, refused
	}
	return &Member{runner: r, consumer: c}, nil
}

// feed reads the source for as long as the group runs.
func (r *runner) feed(ctx context.Context) {
	for pause := (backoff{}); ctx.Err() == nil; {
		err := r.follow(ctx, &pause)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errRefed):
			continue
		case errors.Is(err, storage.ErrDeleted):
			r.end()
			return
		}
		r.mu.Lock()
		r.failed = r.config.Now()
		r.mu.Unlock()
		r.trouble("read", err)
		pause.wait(ctx)
	}
}

// end notes that nothing more comes. Consumers who saw the end stay, for what is left to answer and to replay; those of a group that finds
// its stream deleted are dropped, now and when they join.
func (r *runner) end() {
	r.do(func(m *machine) {
		if r.ended = true; r.tombstone {
			return
		}
		r.lost = &RefusalError{Kind: Dropped, Key: r.key}
		r.config.Log.Warn("a consumer group has nothing to read: its stream was deleted for good; consumers are dropped", r.name())
		for _, c := range m.consumers {
			c.signal()
		}
	})
}

var errRefed = errors.New("reading begins again")

// follow hands the machine what is read after the last it has, until something fails.
func (r *runner) follow(ctx context.Context, pause *backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.epoch++
	epoch, after := r.epoch, r.machine.read
	r.refeed = cancel
	r.mu.Unlock()
	source, err := subscribe(ctx, r.config.Store, r.key.Stream, after)
	if err != nil {
		return r.unreadable(err, after)
	}
	defer source.Close()
	for {
		if err := r.waitForRoom(ctx); err != nil {
			return errRefed
		}
		e, err := source.Next(ctx)
		if err == nil {
			err = r.hand(ctx, epoch, &e)
		}
		if ctx.Err() != nil {
			return errRefed
		}
		if err != nil {
			return r.unreadable(err, after)
		}
		if pause.failures > 0 {
			pause.failures = 0
			r.trouble("read", nil)
		}
	}
}

// unreadable says what failed and, where only an operator can help, what to do.
func (r *runner) unreadable(err error, after place) error {
	if errors.Is(err, storage.ErrPlace) {
		return fmt.Errorf("read %s behind %s, where the group has come to in another store: delete %s and update the group, which then begins anew: %w",
			r.key.Stream, r.key.format(after), r.key.checkpointStream(), err)
	}
	return fmt.Errorf("read %s: %w", r.key.Stream, err)
}

func (r *runner) waitForRoom(ctx context.Context) error {
	for {
		r.mu.Lock()
		wants := r.machine.wants()
		r.mu.Unlock()
		if wants {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.room:
		}
	}
}

// hand gives the machine an event, unless reading began again in the meantime.
func (r *runner) hand(ctx context.Context, epoch int, e *events.Envelope) error {
	at := placeIn(r.key.Stream, e)
	chosen := r.key.Stream != All
	if !chosen {
		var err error
		if chosen, err = r.filter.Chooses(e); err != nil {
			return err
		}
	}
	event, itself := e, (*events.Envelope)(nil)
	if chosen {
		var err error
		if event, itself, err = r.resolved(ctx, e); err != nil {
			return err
		}
	}
	r.do(func(m *machine) {
		switch {
		case epoch != r.epoch:
		case chosen:
			r.tombstone = r.tombstone || r.key.Stream != All && at == math.MaxInt64
			m.take(at, event, itself)
		default:
			m.pass(at, isNote(e.Stream))
		}
	})
	return nil
}

// resolved returns what is delivered for an event of the source.
func (r *runner) resolved(ctx context.Context, e *events.Envelope) (event, itself *events.Envelope, err error) {
	if !r.entry.settings.ResolveLinks {
		return e, nil, nil
	}
	return resolve(ctx, r.config.Store, e)
}

// begin returns the place after which the group begins that has no checkpoint.
func (r *runner) begin(ctx context.Context) (place, error) {
	start := r.entry.settings.Start
	switch {
	case start == FromEnd:
		return r.entry.end, nil
	case r.key.Stream != All:
		return place(min(start.At, math.MaxInt64-1)) - 1, nil
	}
	at, err := before(ctx, r.config.Store, start.At)
	if err != nil {
		return at, fmt.Errorf("find position %s: %w", r.key.formatStart(start), err)
	}
	return at, nil
}

// begins notes what is stored about the group.
func (r *runner) begins(k known) {
	r.do(func(m *machine) {
		m.begin(k.after, k.saved, k.parked, k.firstParked)
		r.replayUntil = max(r.replayUntil, k.firstParked)
		r.truncated = k.firstParked
		r.begun = true
	})
}

// reread goes back to the checkpoint, because the group does not move.
func (r *runner) reread() {
	r.do(func(m *machine) {
		m.reset()
		r.epoch++ // what is on its way is dropped
		if r.refeed != nil {
			r.refeed()
		}
	})
}

// replay has parked messages delivered again.
func (r *runner) replay(ctx context.Context, stopAt events.Revision) error {
	page, err := r.config.Store.Read(ctx, r.key.parkedStream(), 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil {
		return fmt.Errorf("read %s: %w", r.key.parkedStream(), err)
	}
	until := min(page.Last+1, stopAt)
	var over error
	r.do(func(*machine) {
		if over = r.over; over == nil && !r.wantsMoreReplays() {
			r.replayUntil = until
		}
	})
	return over
}

func (r *runner) wantsMoreReplays() bool { return r.machine.replayed < r.replayUntil }

func (r *runner) wantsReplays() bool { return r.wantsMoreReplays() && r.machine.wantsReplays() }

// truncateStep is how many replayed messages are done before the parked stream is truncated, while others are not done.
const truncateStep = 100

// wantsTruncation reports that the parked stream begins with messages that were replayed and are done.
func (r *runner) wantsTruncation(final bool) bool {
	done := r.machine.keptFrom() - r.truncated
	return done > 0 && (final || done >= truncateStep || r.machine.replays.length == 0 && !r.wantsMoreReplays())
}
