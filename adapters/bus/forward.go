package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// ForwardConfig says what is forwarded where. Name, Journal, Publisher and Topic are required.
type ForwardConfig struct {
	Name      string // whose position is stored: 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit
	Journal   storage.Journal
	Publisher message.Publisher               // of any broker
	Topic     func(*events.Envelope) string   // at that broker
	Streams   []string                        // only of streams that begin with one of them; none: of all
	Kinds     []string                        // only events whose kind begins with one of them; none: all
	Forwarded func(count int64, e events.Ref) // hears of each event, with how many there were; nil: nobody
	Log       *slog.Logger                    // nil: nothing is logged
}

func (c *ForwardConfig) validate() error {
	if c.Journal == nil || c.Publisher == nil || c.Topic == nil {
		return errors.New("configure forwarding: a journal, a publisher and topics are required")
	}
	if events.AgentID(c.Name).Validate() != nil { // the same alphabet
		return fmt.Errorf("configure forwarding: name %q is not 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit", c.Name)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Forward publishes events elsewhere, in order, until ctx ends, and returns its error. The next one waits until the broker has
// confirmed the one before. How far it has come is stored under its name, so it goes on from there: an event that was confirmed
// shortly before a crash is published again, under the same id. Where the store does not have the event that it forwarded last, it returns a
// *LostError at once. Two of one name at a time would publish everything twice.
func Forward(ctx context.Context, c ForwardConfig) error {
	if err := c.validate(); err != nil {
		return err
	}
	out, err := NewFanOut(FeedConfig{Journal: c.Journal, Log: c.Log})
	if err != nil {
		return err
	}
	out.single = true // whoever chooses other events from now on goes on from where it is
	filter := storage.Filter{Streams: c.Streams}
	if len(c.Streams) == 0 {
		filter.Kinds = c.Kinds
	}
	var count int64
	publish := func(ctx context.Context, e events.Envelope) error {
		if !c.chooses(e.Kind) {
			return nil
		}
		m := messageOf(&e)
		m.UUID = e.ID.String() // by which brokers and consumers tell repetitions
		m.SetContext(ctx)
		if err := c.Publisher.Publish(c.Topic(&e), m); err != nil {
			c.Log.Warn("forward an event, which will be tried again", "event", e.Ref(), "error", err)
			return err
		}
		if count++; c.Forwarded != nil {
			c.Forwarded(count, e.Ref())
		}
		return nil
	}
	consume := func(ctx context.Context) error {
		return out.Consume(ctx, "forward-"+c.Name, storage.From{Filter: filter}, publish)
	}
	return again(ctx, againFirst, againMost, consume, func(wait time.Duration, err error) {
		c.Log.Warn("read on", "name", c.Name, "after", wait, "error", err)
	})
}

func (c *ForwardConfig) chooses(kind events.Kind) bool {
	return len(c.Kinds) == 0 || slices.ContainsFunc(c.Kinds, func(prefix string) bool { return strings.HasPrefix(string(kind), prefix) })
}
