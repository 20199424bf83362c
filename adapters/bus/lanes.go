package bus

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// laneConfig divides a topic's messages into lanes: those of one lane are delivered one after another, in order, those of different lanes side by
// side. A lane that cannot go on holds up itself alone, until it and others like it fill what may be under way.
type laneConfig struct {
	of     func(e *events.Envelope) string // the lane of an event; empty: none, it is delivered before anything behind it is taken
	side   int                             // messages that are delivered at once, at most
	ahead  int                             // events under way at once, at most: delivered, or waiting in their lanes
	weight int                             // bytes of them, at most, unless it is one event alone
	leave  time.Duration                   // for how long after the end of a subscription what was delivered may still be acked
	// settled reports whether an event is done with already. It is asked in order when events come, with the oldest that is under way; and again,
	// with events.NoRevision in its place, when a message was nacked.
	settled func(ctx context.Context, e *events.Envelope, oldest events.Revision) (bool, error)
}

// lanes are those of one membership.
type lanes struct {
	*laneConfig
	s        *Subscriber
	ctx      context.Context //nolint:containedctx // ends with the subscription
	messages chan<- *message.Message
	slots    chan struct{}
	room     chan struct{} // a token: something is done with

	mu      sync.Mutex
	waiting map[string][]*laneEvent // of the lanes that somebody works on, the next one first
	under   *list.List              // of *laneEvent, the oldest first
	held    int                     // bytes of them
}

// laneEvent is an event under way.
type laneEvent struct {
	ctx  context.Context //nolint:containedctx // ends with the membership
	e    events.Envelope
	done func(error)
	at   *list.Element
}

// consumeLanes is one membership of a subscription with lanes.
func (s *Subscriber) consumeLanes(ctx context.Context, source storage.From, messages chan<- *message.Message) error {
	c := s.config.lanes
	l := &lanes{
		laneConfig: c, s: s, ctx: ctx, messages: messages, slots: make(chan struct{}, c.side), room: make(chan struct{}, 1),
		waiting: map[string][]*laneEvent{}, under: list.New(),
	}
	return s.config.Groups.ConsumeAhead(ctx, s.config.Name, source, c.ahead, l.take)
}

// take takes the next event in. It waits while what is under way is too large.
func (l *lanes) take(held context.Context, e events.Envelope, done func(error)) {
	in := &laneEvent{ctx: held, e: e, done: done}
	oldest := l.enter(in)
	both, cancel := bothOf(held, l.ctx)
	defer cancel()
	settled, err := l.isSettled(both, &e, oldest)
	if settled || err != nil {
		l.leaveWith(in, err)
		return
	}
	for !l.fits() {
		select {
		case <-l.room:
		case <-both.Done():
			l.leaveWith(in, both.Err())
			return
		}
	}
	lane := l.of(&e)
	if lane == "" {
		l.leaveWith(in, l.deliver(in))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, working := l.waiting[lane]
	l.waiting[lane] = append(queue, in)
	if !working {
		go l.work(lane)
	}
}

// enter notes an event, and returns the oldest that is under way.
func (l *lanes) enter(in *laneEvent) events.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	in.at = l.under.PushBack(in)
	l.held += len(in.e.Data)
	oldest, _ := l.under.Front().Value.(*laneEvent) //nolint:errcheck // nothing else is in it
	return min(oldest.e.Revision, in.e.Revision)
}

func (l *lanes) leaveWith(in *laneEvent, err error) {
	l.mu.Lock()
	l.under.Remove(in.at)
	l.held -= len(in.e.Data)
	l.mu.Unlock()
	select {
	case l.room <- struct{}{}:
	default:
	}
	in.done(err)
}

func (l *lanes) fits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held <= l.weight || l.under.Len() == 1
}

// isSettled asks until there is an answer, or ctx ends: those that come later wait.
func (l *lanes) isSettled(ctx context.Context, e *events.Envelope, oldest events.Revision) (bool, error) {
	for wait := l.s.config.First; ; wait = min(2*wait, l.s.config.Most) {
		settled, err := l.settled(ctx, e, oldest)
		if err == nil {
			return settled, nil
		}
		if ctx.Err() == nil {
			l.s.config.Log.Warn("whether a message is done with is not known: trying again", "event", e.Ref(), "after", wait, "error", err)
		}
		if !pause(ctx, wait) {
			return false, ctx.Err()
		}
	}
}

// work delivers the events of a lane until there are none.
func (l *lanes) work(lane string) {
	for {
		l.mu.Lock()
		queue := l.waiting[lane]
		if len(queue) == 0 {
			delete(l.waiting, lane)
			l.mu.Unlock()
			return
		}
		next := queue[0]
		queue[0] = nil
		l.waiting[lane] = queue[1:]
		l.mu.Unlock()
		l.leaveWith(next, l.deliver(next))
	}
}

func (l *lanes) deliver(in *laneEvent) error {
	both, cancel := bothOf(in.ctx, l.ctx)
	defer cancel()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-both.Done():
	}
	if both.Err() != nil { // and so it was for the one before it, if that is not done with: nothing may overtake it
		return both.Err()
	}
	return l.s.deliverUntil(both, in.ctx, l.messages, &in.e, func(ctx context.Context, e *events.Envelope) (bool, error) {
		return l.settled(ctx, e, events.NoRevision)
	})
}
