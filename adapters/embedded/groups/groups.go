// Package groups is EventStoreDB's persistent subscriptions on the embedded store: a group reads a stream, or everything, and hands each
// event to one of its consumers, which answers when it has processed it. The group remembers how far it is.
//
// # What it promises
//
// Every event that the group chooses is processed at least once: it is handed out again until a consumer acknowledges it, skips it, or it
// is parked, across disconnects, restarts and crashes. First deliveries are in the source's order. No consumer holds more messages
// than it asked for. A parked event stands in the parked stream once, and counts there until its replay was processed too. Events
// that have the same id and are handed out at the same time are one to their consumers: an answer of the id is for all of them.
//
// A group never stalls: while a consumer has room, and somebody may have the next message, it is handed out. Writing checkpoints and
// parked messages happens beside deliveries; when it fails it is tried again, ever more slowly, and deliveries go on. A watchdog looks at
// every group each second. Progress is any of: an event read, handed out, answered, timed out, parked or replayed. A group owes progress while
// a message waits although somebody has room for it, or somebody has room and an event is stored that was not read, or a message is
// held past its time. A group that owes progress for ten seconds and makes none is stalled: that is logged, stands in its
// Report, and the group goes back to its checkpoint and reads again.
//
// # How it works
//
// The machine (machine.go) decides and does nothing; it is pure, and its properties are tested with random histories. A runner
// (runner.go) owns one machine, behind a mutex that is never held while something is read or written, and three goroutines:
// the feeder hands in what is read, the writer writes checkpoints and parked messages and reads replays, the clock ticks. A Member
// is a connected consumer.
//
// # What is stored
//
//	$persistentSubscriptionConfig                 every change of any group: the settings of all
//	$persistentsubscription-<key>-checkpoint      how far a group is, as a JSON string
//	$persistentsubscription-<key>-parked          links to its parked events; $tb is where those begin that are not done
//
// with key = stream::group. The forms are EventStoreDB's. A group from the end also notes where that end was, so that a restart
// loses nothing that was appended before its first checkpoint. What EventStoreDB has no field for is in the envelope, and nobody is shown it:
// the version says of which kind positions are (noteVersion), a parked link's causation where its message was.
//
// # Where it differs from EventStoreDB 24.10
//
//   - Settings with which a group cannot work are refused, and so is a filter that is empty.
//   - A parked message leaves the parked stream when its replay was processed, not when it begins: a crash in between loses nothing.
//   - A checkpoint moves past events that the filter does not choose, at most every five seconds for these alone, or for 10,000 of them.
//   - The checkpoint stream keeps its two newest events.
//   - Consumers are dropped when they lose the right to read.
//
// # To add a strategy
//
// Write a chooser in strategy.go and name it in Strategy.chooser and Settings.validate. The machine's tests run over all of them.
package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Store is what groups need of the embedded store.
type Store interface {
	storage.Journal
	// Delete makes a stream read as one that is not there.
	Delete(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error)
}

// Config is how groups are opened. Zero values mean the defaults.
type Config struct {
	Store    Store                // required; stays its owner's, who closes it after the groups
	Log      *slog.Logger         // default: nowhere
	Now      func() events.Micros // default storage.Now
	Tick     time.Duration        // how often message timeouts are looked for, and the watchdog looks; default 1 s
	Patience time.Duration        // how long a group may owe progress; default 10 s
	Spread   int64                // how many times smaller than the store's the positions are that builds before stored; default 1
}

func (c Config) completed() (Config, error) {
	if c.Store == nil {
		return c, errors.New("open consumer groups: no store is given")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = storage.Now
	}
	if c.Tick <= 0 {
		c.Tick = time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
	c.Spread = max(c.Spread, 1)
	return c, nil
}

// Groups are all groups of a store. It is safe for concurrent use.
type Groups struct {
	config Config
	stop   context.CancelFunc
	watch  sync.WaitGroup

	admin  sync.Mutex // held while groups are made, changed or removed
	stored settingsLog

	mu      sync.RWMutex
	runners map[Key]*runner
	broken  []brokenEntry // groups that do not run
	closed  bool
}

// Open loads the groups that are stored and has them run until Close.
func Open(ctx context.Context, config Config) (*Groups, error) {
	config, err := config.completed()
	if err != nil {
		return nil, err
	}
	g := &Groups{config: config, runners: map[Key]*runner{}}
	g.stored.config = &g.config
	entries, err := g.stored.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load consumer groups: %w", err)
	}
	g.runners, g.broken = g.start(ctx, entries), g.stored.broken
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.watch.Go(func() { g.watchdog(ctx) })
	return g, nil
}

// start runs groups.
func (g *Groups) start(ctx context.Context, entries []entry) map[Key]*runner {
	running := map[Key]*runner{}
	for i := range entries {
		running[entries[i].key] = startRunner(ctx, &g.config, entries[i])
	}
	return running
}

// Close drops all consumers, stores how far each group is and ends. Members get storage.ErrClosed.
func (g *Groups) Close() {
	g.admin.Lock()
	defer g.admin.Unlock()
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.closed = true
	g.mu.Unlock()
	g.stop()
	g.watch.Wait()
	g.replace(storage.ErrClosed, func() map[Key]*runner { return map[Key]*runner{} })
}

func (g *Groups) open() error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return storage.ErrClosed
	}
	return nil
}

func (g *Groups) find(key Key) (*runner, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return nil, storage.ErrClosed
	}
	if r := g.runners[key]; r != nil {
		return r, nil
	}
	if b := brokenOf(g.broken, key); b != nil {
		return nil, &RefusalError{Kind: Failed, Key: key, Cause: fmt.Errorf("its settings cannot be read, update or delete it: %w", b.err)}
	}
	return nil, &RefusalError{Kind: Missing, Key: key}
}

// with does something with a group. One that is being changed is neither gone nor as it was: then it waits for what comes after that.
func (g *Groups) with(ctx context.Context, key Key, do func(r *runner) error) error {
	for {
		r, err := g.find(key)
		if err != nil {
			return err
		}
		var refusal *RefusalError
		if err = do(r); !errors.As(err, &refusal) || refusal.Kind != Dropped {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.replaced:
		}
	}
}

// Consumer is who joins a group.
type Consumer struct {
	Name   string // what it calls itself
	User   string
	Buffer int // how many messages it may hold; at least 1
}

// maxBuffer is the most messages that a consumer is given before it answers, whatever it asks for.
const maxBuffer = 5000

// Join adds a consumer to a group, until it closes the Member. While the group is being changed it waits. The errors are *RefusalError (Missing,
// Full, Failed), storage.ErrClosed and ctx's.
func (g *Groups) Join(ctx context.Context, key Key, who Consumer) (member *Member, err error) {
	err = g.with(ctx, key, func(r *runner) (err error) {
		if who.Buffer <= 0 {
			return &RefusalError{Kind: Failed, Key: key, Cause: fmt.Errorf("a consumer's buffer size is %d, it must be positive", who.Buffer)}
		}
		who.Buffer = min(who.Buffer, maxBuffer)
		member, err = r.join(who)
		return err
	})
	return member, err
}

// ReplayParked has parked messages delivered again, those before stopAt in the parked stream that are there now. While an earlier replay
// still reads, nothing is added to it. The error is a *RefusalError (Failed: stopAt is negative; Missing), ctx's or the store's.
func (g *Groups) ReplayParked(ctx context.Context, key Key, stopAt events.Revision) error {
	if stopAt < 0 {
		return &RefusalError{Kind: Failed, Key: key, Cause: fmt.Errorf("parked messages cannot be replayed up to %d", stopAt)}
	}
	return g.with(ctx, key, func(r *runner) error { return r.replay(ctx, stopAt) })
}

// Report says how a group is. The error is a *RefusalError (Missing) or the store's.
func (g *Groups) Report(ctx context.Context, key Key) (Report, error) {
	r, err := g.find(key)
	if err != nil {
		return Report{}, err
	}
	return r.report(ctx)
}

// List reports on all groups of a stream, or of all streams when it is empty, in order of their keys.
func (g *Groups) List(ctx context.Context, stream events.Stream) ([]Report, error) {
	g.mu.RLock()
	var chosen []*runner
	for key, r := range g.runners {
		if stream == "" || key.Stream == stream {
			chosen = append(chosen, r)
		}
	}
	g.mu.RUnlock()
	slices.SortFunc(chosen, func(a, b *runner) int { return cmp.Compare(a.key.String(), b.key.String()) })
	reports := make([]Report, 0, len(chosen))
	for _, r := range chosen {
		report, err := r.report(ctx)
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}
