package server

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// feeder is one subscription: confirmation, then what is stored, then caught up, then what is appended. It holds the page that it
// sends and nothing else: a client that is slow is waited for, and what it has not taken stays in the store.
type feeder struct {
	send        *sender
	feed        embedded.Follower
	floor       events.Position // of everything: nothing up to here is sent, the client has named a place beyond the end
	refused     error           // the place is none; the client is told so after the confirmation
	checkpoints *checkpoints    // nil: without a filter there are none
}

// subscribe answers a subscription until it ends, which is always with an error.
func (s *streamsService) subscribe(send *sender) error {
	ctx, cancel := context.WithCancelCause(send.call.Context())
	ctx, stop, err := s.guard.hold(ctx, callerOf(ctx), toRead, send.reading.readable())
	if err != nil {
		cancel(nil)
		return err
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.closing:
			cancel(notReady())
		case <-ctx.Done():
		}
	})
	err = s.feed(ctx, send)
	var cause *failure
	if errors.As(context.Cause(ctx), &cause) {
		err = cause // the server closes, or the right to read was lost
	}
	stop()
	cancel(nil)
	watching.Wait()
	return storeFailure(err, send.reading.stream)
}

func (s *streamsService) feed(ctx context.Context, send *sender) error {
	if err := send.reading.selection.ready(); err != nil {
		return err
	}
	f := &feeder{send: send}
	if err := f.begin(ctx); err != nil {
		return err
	}
	if f.feed != nil {
		defer f.feed.Close()
	}
	id := uuid.New().String()
	err := send.content(&streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: id}})
	if err = cmp.Or(err, f.refused); err != nil {
		return err
	}
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	if err := send.content(&streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}); err != nil {
		return err
	}
	return f.live(ctx)
}

// begin finds the place that the client named, and follows the store from there. The end is where the store ends now.
func (f *feeder) begin(ctx context.Context) (err error) {
	r, store := f.send.reading, f.send.service.store
	from := storage.From{Stream: r.stream, Revision: r.revision, Filter: storage.Filter{System: true}}
	if r.stream == "" {
		from.Position, err = f.position(ctx)
	} else {
		var page storage.Page
		page, err = store.Read(ctx, r.stream, math.MaxInt64, storage.Backward, storage.Limit{Events: 1}) // of what has ended for good nothing is confirmed
		if r.fromEnd {
			from.Revision = page.Last
		}
	}
	if err != nil || f.refused != nil {
		return err
	}
	f.feed, err = store.Follow(ctx, from)
	return err
}

// position finds the event after which everything is sent.
func (f *feeder) position(ctx context.Context) (events.Position, error) {
	r, service := f.send.reading, f.send.service
	end, err := service.end(ctx)
	if err != nil {
		return 0, err
	}
	if r.selection != nil {
		f.checkpoints = &checkpoints{window: uint64(r.selection.window), interval: r.selection.interval()}
	}
	last := events.Position(end.commit)
	switch {
	case r.at == endPoint:
		return last, nil
	case !r.at.less(end):
		f.floor = events.Position(r.at.commit)
		return last, nil
	case r.at == startPoint:
		return 0, nil
	}
	// What stands before the point tells whether it is one, too.
	page, err := service.store.ReadAll(ctx, r.at.before(), storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if errors.Is(err, storage.ErrPlace) {
		f.refused = invalid("Trying to read from an invalid position.")
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if f.checkpoints != nil {
		f.checkpoints.beginAt(r.at)
	}
	if r.at.prepare == r.at.commit {
		return events.Position(r.at.commit), nil
	}
	if len(page.Events) == 0 {
		return 0, nil
	}
	return page.Events[0].Position, nil
}

// catchUp sends what is stored.
func (f *feeder) catchUp(ctx context.Context) error {
	if err := f.checkpoint(f.checkpoints.turn(false)); err != nil { // the event at the given place may be a page by itself
		return err
	}
	for {
		e, found, err := f.feed.Poll(ctx)
		if err != nil {
			return err
		}
		if !found {
			return f.checkpoint(f.checkpoints.turn(true))
		}
		sent, err := f.deliver(&e)
		if err != nil {
			return err
		}
		f.checkpoints.look(e.Position, sent)
		if err := f.checkpoint(f.checkpoints.turn(false)); err != nil {
			return err
		}
	}
}

// live sends what is appended, and reads on from the store what was appended in between.
func (f *feeder) live(ctx context.Context) error {
	for {
		e, err := f.feed.Next(ctx)
		if err != nil {
			return err
		}
		if f.send.reading.stream == "" && e.Position <= f.floor {
			continue
		}
		if _, err := f.deliver(&e); err != nil {
			return err
		}
		if err := f.checkpoint(f.checkpoints.live(e.Position)); err != nil {
			return err
		}
	}
}

// deliver sends an event if it is chosen.
func (f *feeder) deliver(e *events.Envelope) (sent bool, err error) {
	if f.send.reading.stream == "" {
		if sent, err = f.send.reading.selection.filter().Chooses(e); err != nil || !sent {
			return false, err
		}
	}
	return true, f.send.event(e)
}

// checkpoint tells the client of a filtered subscription how far everything was looked at, so that it can go on from there.
func (f *feeder) checkpoint(at point, due bool) error {
	if !due {
		return nil
	}
	return f.send.content(at.checkpoint())
}
