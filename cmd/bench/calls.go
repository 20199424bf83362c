package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

// answers hears of each turn that ends or pauses, from the store, whichever host it was on.
type answers struct {
	feed   storage.Subscription
	cancel context.CancelFunc
	heard  chan struct{} // closed when it hears no more, with err
	err    error

	mu     sync.Mutex
	ended  map[events.TurnID]time.Time
	paused map[events.TurnID]string // why
	next   chan struct{}            // closed when another turn has ended or paused
}

func listen(ctx context.Context, journal storage.Journal) (*answers, error) {
	ctx, cancel := context.WithCancel(ctx)
	end, err := stores.LastPosition(ctx, journal)
	if err != nil {
		cancel()
		return nil, err
	}
	feed, err := journal.Subscribe(ctx, storage.From{Position: end, Filter: storage.Filter{Kinds: []string{string(events.TurnEnded{}.Kind()), string(events.TurnPaused{}.Kind())}}})
	if err != nil {
		cancel()
		return nil, err
	}
	a := &answers{feed: feed, cancel: cancel, heard: make(chan struct{}), ended: map[events.TurnID]time.Time{}, paused: map[events.TurnID]string{}, next: make(chan struct{})}
	go func() {
		defer close(a.heard)
		for a.err == nil {
			a.err = a.hear(ctx)
		}
	}()
	return a, nil
}

func (a *answers) hear(ctx context.Context) error {
	e, err := a.feed.Next(ctx)
	if err != nil {
		return err
	}
	event, err := e.Event()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch turn := event.(type) {
	case events.TurnEnded:
		a.ended[turn.Turn] = time.Now()
	case events.TurnPaused:
		a.paused[turn.Turn] = turn.Detail
	default:
		return fmt.Errorf("the store sent %s as a turn's end", e.Kind)
	}
	close(a.next)
	a.next = make(chan struct{})
	return nil
}

// wait waits for the end of a turn and says when it was.
func (a *answers) wait(ctx context.Context, turn events.TurnID) (time.Time, error) {
	for {
		a.mu.Lock()
		at, ended := a.ended[turn]
		why, paused := a.paused[turn]
		next := a.next
		a.mu.Unlock()
		if ended {
			return at, nil
		}
		if paused { // nobody is there to let it go on
			return at, fmt.Errorf("turn %s is paused: %s", turn, why)
		}
		select {
		case <-next:
		case <-a.heard:
			return at, fmt.Errorf("wait for turn %s: %w", turn, a.err)
		case <-ctx.Done():
			return at, fmt.Errorf("wait for turn %s: %w", turn, ctx.Err())
		}
	}
}

func (a *answers) close() error {
	a.cancel()
	<-a.heard
	return a.feed.Close()
}

// answerTime is how long a message is waited for, whatever has failed.
const answerTime = time.Minute

// called is what became of a message.
type called struct {
	agent    events.AgentID
	sent     time.Time
	accepted time.Time // the agent has decided to take it, and that is stored
	answered time.Time // the turn has ended
}

// refusals counts commands that a host answered with an error.
type refusals struct {
	count atomic.Int64
	mu    sync.Mutex
	first error
}

func (r *refusals) note(err error) {
	r.count.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = cmp.Or(r.first, err)
}

// meta identifies a command.
func meta() sagas.Meta {
	return sagas.Meta{ID: events.CommandID(uuid.NewString()), At: storage.Now()}
}

// origin is where the benchmark's commands come from.
func origin() actors.Origin { return actors.Origin{Actor: "bench"} }

// send gives an agent a message by way of a host, and waits until the turn has ended. A refusal is counted, and the message sent again under its id.
func (h *hosts) send(ctx context.Context, by *host, agent events.AgentID, text string, refused *refusals) (c called, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	c.agent, c.sent = agent, time.Now()
	message := sagas.Send{Meta: meta(), Verb: events.Collect, Text: events.Text{Inline: text}}
	for {
		receipt, err := by.client.Do(ctx, events.AgentStream(agent), message, origin())
		if err == nil {
			c.accepted = time.Now()
			c.answered, err = h.answers.wait(ctx, receipt.Turn)
			return c, err
		}
		if ctx.Err() != nil {
			return c, fmt.Errorf("send agent %s a message: %w", agent, errors.Join(err, ctx.Err()))
		}
		refused.note(err)
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return c, err
		}
	}
}

// create makes agents by way of the hosts in turn, and has each answer once.
func (h *hosts) create(ctx context.Context, agents []events.AgentID, config func(events.AgentID) events.AgentConfig) error {
	return h.each(agents, 8, func(by *host, agent events.AgentID) error {
		made := sagas.Create{Meta: meta(), Agent: agent, Config: config(agent)}
		if _, err := by.client.Do(ctx, events.AgentStream(agent), made, origin()); err != nil {
			return fmt.Errorf("create agent %s: %w", agent, err)
		}
		return nil
	})
}

// each does something for each agent, by way of the living hosts in turn, several at once.
func (h *hosts) each(agents []events.AgentID, atOnce int, do func(*host, events.AgentID) error) error {
	var (
		workers sync.WaitGroup
		next    atomic.Int64
		living  = h.living()
		failed  = make([]error, len(agents))
	)
	for range min(atOnce, len(agents)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(agents); i = int(next.Add(1)) - 1 {
				failed[i] = do(living[i%len(living)], agents[i])
			}
		})
	}
	workers.Wait()
	return errors.Join(failed...)
}

// load sends agents messages, again and again, until it is ended.
type load struct {
	stop    context.CancelFunc
	workers sync.WaitGroup
	sent    atomic.Int64
	mu      sync.Mutex
	calls   []called
	failed  []error
}

// load begins to send: so many callers, each with agents of its own and the next message when the one before was answered. What was sent when it is ended
// is waited for.
func (h *hosts) load(ctx context.Context, callers int, agents []events.AgentID, by []*host, text func() string, refused *refusals) *load {
	l := &load{}
	running, stop := context.WithCancel(ctx)
	l.stop = stop
	callers = min(callers, len(agents))
	for i := range callers {
		l.workers.Go(func() {
			for n := i; running.Err() == nil; n += callers {
				if n >= len(agents) {
					n = i
				}
				c, err := h.send(ctx, by[int(l.sent.Add(1))%len(by)], agents[n], text(), refused)
				l.note(c, err)
				if err != nil {
					return
				}
			}
		})
	}
	return l
}

func (l *load) note(c called, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err)
		return
	}
	l.calls = append(l.calls, c)
}

// end waits for what was sent, and returns it.
func (l *load) end() ([]called, error) {
	l.stop()
	l.workers.Wait()
	return l.calls, errors.Join(l.failed...)
}

// quantile is that of lengths of time, in milliseconds; 0 without any.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[int(q*float64(len(sorted)-1))].Nanoseconds()) / 1e6
}
