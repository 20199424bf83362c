package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// ErrClosed is returned by publishers and subscribers that were closed.
var ErrClosed = errors.New("the bus is closed")

// PublisherConfig says where messages are stored. Journal is required.
type PublisherConfig struct {
	Journal storage.Journal
	Within  time.Duration // one publishing, retries included; default 15 s
}

// Publisher appends messages to streams. It is safe for concurrent use.
type Publisher struct {
	journal storage.Journal
	within  time.Duration
	closed  atomic.Bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher. It holds nothing open.
func NewPublisher(c PublisherConfig) (*Publisher, error) {
	if c.Journal == nil || c.Within < 0 {
		return nil, errors.New("configure publisher: a journal is required, and a positive time")
	}
	return &Publisher{journal: c.Journal, within: cmp.Or(c.Within, 15*time.Second)}, nil
}

// What one append holds at most: EventStoreDB refuses more than 1 MiB, of which metadata take some.
const (
	batchEvents = 256
	batchBytes  = 512 << 10
)

// Publish appends the messages to the topic's stream, in order, and returns when they are durable. A message that the stream holds
// already, as far back as its store remembers, is not appended again: so a publishing that failed half way is simply repeated. It
// ends early when the context of the first message does.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return ErrClosed
	}
	stream, err := streamOf(topic)
	if err != nil || len(messages) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(messages[0].Context(), p.within)
	defer cancel()
	var batch []events.Envelope
	held := 0
	for _, m := range messages {
		e, err := envelopeOf(m)
		if err != nil {
			return err
		}
		size := storage.BatchSize([]events.Envelope{e}) + len(e.Metadata())
		if len(batch) > 0 && (len(batch) == batchEvents || held+size > batchBytes) {
			if err := p.store(ctx, stream, batch); err != nil {
				return err
			}
			batch, held = nil, 0
		}
		batch, held = append(batch, e), held+size
	}
	return p.store(ctx, stream, batch)
}

// store appends a batch. If the stream holds some of it already, each event is tried by itself.
func (p *Publisher) store(ctx context.Context, stream events.Stream, batch []events.Envelope) error {
	_, err := appendAgain(ctx, p.journal, stream, batch)
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) && len(batch) > 1 {
		for i := range batch {
			if _, err := appendAgain(ctx, p.journal, stream, batch[i:i+1:i+1]); err != nil {
				return fmt.Errorf("publish to %s: %w", stream, err)
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", stream, err)
	}
	return nil
}

// appendAgain appends at the end of a stream, with the same ids until the outcome is known or ctx ends.
func appendAgain(ctx context.Context, journal storage.Journal, stream events.Stream, batch []events.Envelope) (storage.Appended, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		appended, err := journal.Append(ctx, stream, storage.ExpectAny, batch)
		if err == nil || lasting(err) {
			return appended, err
		}
		if !pause(ctx, wait) {
			return appended, err
		}
	}
}

// lasting reports errors of an append that trying again does not change.
func lasting(err error) bool {
	var conflict *storage.ConflictError
	return errors.As(err, &conflict) || errors.Is(err, storage.ErrInvalidAppend) || errors.Is(err, storage.ErrClosed) || errors.Is(err, storage.ErrDeleted)
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close makes further publishing fail. What was published is stored.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
