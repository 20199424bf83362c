package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// FeedConfig says how the consumers of a journal in this process keep their positions. Journal is required.
type FeedConfig struct {
	Journal  storage.Journal
	Every    int           // a position is stored after this many events; default 100
	Interval time.Duration // and when this time has passed since the first event that it does not cover; default 1 s
	Log      *slog.Logger  // nil: nothing is logged
}

func (c FeedConfig) complete() (FeedConfig, error) {
	if c.Journal == nil || c.Every < 0 || c.Interval < 0 {
		return c, errors.New("configure feed: a journal is required, and no negative numbers")
	}
	c.Every, c.Interval = cmp.Or(c.Every, 100), cmp.Or(c.Interval, time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// LocalGroups are consumer groups among the members in this process: one member at a time has a group of a source, so order is
// kept; when it leaves, the one that has waited goes on from the stored position. Two processes on one journal must not have the
// same group: both would get every event.
type LocalGroups struct {
	config FeedConfig
	mu     sync.Mutex
	turns  map[string]chan struct{} // holds a value while a member has the group
}

var (
	_ Groups = (*LocalGroups)(nil)
	_ Groups = (*FanOut)(nil)
)

// NewLocalGroups returns the groups of this process. There is one for a journal: groups of another one are other groups.
func NewLocalGroups(c FeedConfig) (*LocalGroups, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &LocalGroups{config: c, turns: map[string]chan struct{}{}}, nil
}

// Consume implements Groups.
func (g *LocalGroups) Consume(ctx context.Context, group string, source storage.From, handle func(context.Context, events.Envelope) error) error {
	return g.ConsumeAhead(ctx, group, source, 1, g.config.oneByOne(ctx, handle))
}

// ConsumeAhead implements Groups.
func (g *LocalGroups) ConsumeAhead(
	ctx context.Context, group string, source storage.From, ahead int, handle func(ctx context.Context, e events.Envelope, done func(error)),
) error {
	if group == "" {
		return errors.New("join group: it has no name")
	}
	key := group + ":" + labelOf(source)
	turn := g.turn(key)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.config.feed(ctx, key, source, ahead, handle)
}

func (g *LocalGroups) turn(key string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns[key] == nil {
		g.turns[key] = make(chan struct{}, 1)
	}
	return g.turns[key]
}

// FanOut delivers every event to every consumer. A consumer with a name goes on from its stored position; one without begins anew
// each time.
type FanOut struct {
	config FeedConfig
	single bool // each name consumes one source, which may change: its position is kept under the name alone
}

// NewFanOut returns a fan-out over a journal.
func NewFanOut(c FeedConfig) (*FanOut, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &FanOut{config: c}, nil
}

// Consume implements Groups, except that members of one name do not share the events among them.
func (f *FanOut) Consume(ctx context.Context, name string, source storage.From, handle func(context.Context, events.Envelope) error) error {
	return f.ConsumeAhead(ctx, name, source, 1, f.config.oneByOne(ctx, handle))
}

// ConsumeAhead implements Groups, with the same exception.
func (f *FanOut) ConsumeAhead(
	ctx context.Context, name string, source storage.From, ahead int, handle func(ctx context.Context, e events.Envelope, done func(error)),
) error {
	key := name
	if name != "" && !f.single {
		key += ":" + labelOf(source)
	}
	return f.config.feed(ctx, key, source, ahead, handle)
}

// again is how long an event waits that its handler returned: first, and at most.
const (
	againFirst = 10 * time.Millisecond
	againMost  = 5 * time.Second
)

// feed hands the events of a source to handle, in order, from the stored position on, until ctx ends or the journal fails. It returns when all that
// it has handed out is done with.
func (c FeedConfig) feed(
	ctx context.Context, key string, source storage.From, ahead int, handle func(ctx context.Context, e events.Envelope, done func(error)),
) error {
	at := &positions{journal: c.Journal, key: key, every: c.Every, log: c.Log}
	if err := at.load(ctx, &source); err != nil {
		return err
	}
	p := newProgress(at, ahead)
	defer p.close(ctx)
	subscription, err := c.Journal.Subscribe(ctx, source)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", labelOf(source), err)
	}
	defer subscription.Close()
	w := window{interval: c.Interval}
	defer w.close()
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	for p.room(ctx) {
		e, err := subscription.Next(w.waiting(ctx, p.unsaved()))
		switch {
		case err == nil:
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			p.save(ctx)
			w.close()
			continue
		default:
			if ctx.Err() == nil {
				end()
			}
			p.wait()
			return cmp.Or(ctx.Err(), fmt.Errorf("wait for events of %s: %w", labelOf(source), err))
		}
		if strings.HasPrefix(string(e.Stream), checkpointPrefix) {
			continue // handling one would store another one, and so on for ever
		}
		handle(held, e, p.begin(ctx, &e))
	}
	p.wait()
	return ctx.Err()
}

// oneByOne is how a handler that handles one event at a time is used: until it is done with it, however often that takes, or ctx ends.
func (c FeedConfig) oneByOne(
	ctx context.Context, handle func(context.Context, events.Envelope) error,
) func(held context.Context, e events.Envelope, done func(error)) {
	return func(held context.Context, e events.Envelope, done func(error)) {
		one, cancel := bothOf(held, ctx)
		defer cancel()
		done(c.hand(one, e, handle))
	}
}

// bothOf ends when one of two contexts does.
func bothOf(ctx, other context.Context) (both context.Context, cancel context.CancelFunc) {
	both, end := context.WithCancel(ctx)
	if other.Err() != nil { // AfterFunc would end it a moment later
		end()
	}
	stop := context.AfterFunc(other, end)
	return both, func() {
		stop()
		end()
	}
}

// hand has an event handled, however often that takes.
func (c FeedConfig) hand(ctx context.Context, e events.Envelope, handle func(context.Context, events.Envelope) error) error {
	for wait := againFirst; ; wait = min(2*wait, againMost) {
		err := handle(ctx, e)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.Log.Debug("an event is delivered again", "event", e.Ref(), "error", err)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// window is the time in which events may go by before their position is stored.
type window struct {
	interval time.Duration
	ctx      context.Context //nolint:containedctx // ends with the window; made once for many waits
	cancel   context.CancelFunc
}

// waiting is the context to wait for the next event in: it ends with the window, if there is something to store.
func (w *window) waiting(ctx context.Context, unsaved bool) context.Context {
	if !unsaved {
		w.close()
		return ctx
	}
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithTimeout(ctx, w.interval)
	}
	return w.ctx
}

func (w *window) close() {
	if w.ctx != nil {
		w.cancel()
		w.ctx, w.cancel = nil, nil
	}
}
