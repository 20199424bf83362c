package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/events"
)

// SubscriberConfig says where messages come from. Groups is required: a [LocalGroups], a [FanOut], or a store's own groups.
type SubscriberConfig struct {
	Groups Groups
	Name   string        // of the consumer group, or of the fan-out consumer whose position is stored
	First  time.Duration // until a message that was nacked is delivered again; doubled each time; default 10 ms
	Most   time.Duration // at most; default 5 s. Lost connections wait as long
	Log    *slog.Logger  // nil: nothing is logged

	lanes *laneConfig // nil: a topic is one lane
}

// Subscriber delivers the events of topics as messages. The next message of a topic is withheld until the one before is acked; one
// that is nacked is delivered again after a while, first. It is safe for concurrent use.
type Subscriber struct {
	config SubscriberConfig
	mu     sync.Mutex // of closed, and of adding to running
	closed chan struct{}
	feeds  sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber. It holds nothing open until something is subscribed to.
func NewSubscriber(c SubscriberConfig) (*Subscriber, error) {
	if c.Groups == nil || c.First < 0 || c.Most < 0 {
		return nil, errors.New("configure subscriber: groups are required, and no negative times")
	}
	c.First, c.Most = cmp.Or(c.First, 10*time.Millisecond), cmp.Or(c.Most, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Subscriber{config: c, closed: make(chan struct{})}, nil
}

// Subscribe delivers the messages of a topic until ctx ends or the subscriber is closed; then the channel is closed. It is closed too, and an error
// logged, where the event that the name handled last is not in the store any more (LostError). A message that
// was delivered and not acked by then is delivered again to the next subscriber of the name.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	source, err := sourceOf(topic)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	messages := make(chan *message.Message)
	s.feeds.Go(func() {
		defer close(messages)
		defer cancel()
		consume := func(ctx context.Context) error {
			if s.config.lanes != nil {
				return s.consumeLanes(ctx, source, messages)
			}
			return s.config.Groups.Consume(ctx, s.config.Name, source, func(ctx context.Context, e events.Envelope) error {
				return s.deliver(ctx, messages, e)
			})
		}
		err := again(ctx, s.config.First, s.config.Most, consume, func(wait time.Duration, err error) {
			s.config.Log.Warn("subscribe again", "topic", topic, "name", s.config.Name, "after", wait, "error", err)
		})
		if ctx.Err() == nil {
			s.config.Log.Error("the subscription ends: it cannot go on", "topic", topic, "name", s.config.Name, "error", err)
		}
	})
	s.feeds.Go(func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	return messages, nil
}

// again does something that lasts, such as a subscription, whenever it ends, until ctx does, or until its place in the store is lost; tell hears
// why it ended otherwise.
func again(ctx context.Context, first, most time.Duration, do func(context.Context) error, tell func(wait time.Duration, err error)) error {
	for wait := first; ; {
		began := time.Now()
		err := do(ctx)
		var lost *LostError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &lost):
			return err
		}
		if time.Since(began) > most { // it went well for a while
			wait = first
		}
		tell(wait, err)
		pause(ctx, wait)
		wait = min(2*wait, most)
	}
}

// deliver hands out one message until it is acked. An ack that comes while the subscription ends still counts.
func (s *Subscriber) deliver(ctx context.Context, messages chan<- *message.Message, e events.Envelope) error {
	return s.deliverUntil(ctx, ctx, messages, &e, nil)
}

// deliverUntil is deliver for an event that may be acked for a while after ctx has ended, while the membership lasts for which it was delivered:
// held. settled reports whether an event that was nacked is done with all the same; nil: it is not.
func (s *Subscriber) deliverUntil(
	ctx, held context.Context, messages chan<- *message.Message, e *events.Envelope, settled func(context.Context, *events.Envelope) (bool, error),
) error {
	for wait := s.config.First; ; wait = min(2*wait, s.config.Most) {
		acked, err := s.offer(ctx, held, messages, messageOf(e))
		if acked || err != nil {
			return err
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		if settled == nil {
			continue
		}
		if is, err := settled(ctx, e); is && err == nil {
			return nil
		}
	}
}

func (s *Subscriber) offer(ctx, held context.Context, messages chan<- *message.Message, m *message.Message) (acked bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel() // the message's context ends with its ack
	m.SetContext(own)
	select {
	case messages <- m:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case <-m.Acked():
		return true, nil
	case <-m.Nacked():
		return false, nil
	case <-ctx.Done():
	}
	if s.config.lanes != nil {
		select {
		case <-m.Acked():
		case <-m.Nacked():
		case <-held.Done():
		case <-time.After(s.config.lanes.leave):
		}
	}
	select {
	case <-m.Acked():
		return true, nil
	default:
		return false, ctx.Err()
	}
}

func (s *Subscriber) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Close ends all subscriptions, and returns when their positions are stored and their channels closed.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.isClosed() {
		close(s.closed)
	}
	s.mu.Unlock()
	s.feeds.Wait()
	return nil
}
