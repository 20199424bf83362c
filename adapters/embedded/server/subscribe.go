package server

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/events"
)

// feeder is one subscription: confirmation, then what is stored, then caught up, then what is appended. It holds the page that it
// sends and nothing else: a client that is slow is waited for, and what it has not taken stays in the store.
type feeder struct {
	send   *sender
	from   actors.From // everything up to here was sent, or is not wanted
	placed bool        // from is a place that was looked at, so a checkpoint may name it

	considered uint64          // events since the last checkpoint
	floor      events.Position // nothing up to here is sent: the client has named a place beyond the end
}

// catchUpPage bounds what a subscription holds in memory.
func catchUpPage() actors.Limit { return actors.Limit{Events: 256, Bytes: 256 << 10} }

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
	f := &feeder{send: send}
	if err := f.begin(ctx); err != nil {
		return err
	}
	id := uuid.New().String()
	if err := send.content(&streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: id}}); err != nil {
		return err
	}
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	if f.placed {
		if err := f.checkpoint(); err != nil {
			return err
		}
	}
	if err := send.content(&streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}); err != nil {
		return err
	}
	return f.live(ctx)
}

// begin finds the place that the client named. The end is where the store ends now.
func (f *feeder) begin(ctx context.Context) error {
	r, store := f.send.reading, f.send.service.store
	f.from = actors.From{Stream: r.stream, Revision: r.revision, Position: r.at.Position, Filter: actors.Filter{System: true}}
	if !r.nothing && r.stream != "" {
		return nil
	}
	if r.stream == "" {
		page, err := store.ReadAll(ctx, actors.End(), actors.Backward, f.from.Filter, actors.Limit{Events: 1})
		end := events.Position(0)
		if len(page.Events) > 0 {
			end = page.Events[0].Position
		}
		switch {
		case r.nothing:
			f.from.Position, f.placed = end, end > 0
		case f.from.Position > end:
			f.from.Position, f.floor = end, f.from.Position
		}
		return err
	}
	page, err := store.Read(ctx, r.stream, math.MaxInt64, actors.Backward, actors.Limit{Events: 1})
	if f.from.Revision = page.Last; errors.Is(err, actors.ErrDeleted) {
		return nil // catching up says so, after the confirmation
	}
	return err
}

// catchUp sends what is stored.
func (f *feeder) catchUp(ctx context.Context) error {
	store := f.send.service.store
	for end := false; !end; {
		var page actors.Page
		var err error
		if f.from.Stream == "" {
			if f.from.Position == math.MaxUint64 {
				return nil
			}
			page, err = store.ReadAll(ctx, actors.After(f.from.Position), actors.Forward, f.from.Filter, catchUpPage())
		} else {
			if f.from.Revision == math.MaxInt64 {
				return nil
			}
			page, err = store.Read(ctx, f.from.Stream, f.from.Revision+1, actors.Forward, catchUpPage())
		}
		if err != nil {
			return err
		}
		for i := range page.Events {
			if err := f.deliver(&page.Events[i]); err != nil {
				return err
			}
		}
		end = page.End || f.from.Stream != "" && len(page.Events) == 0
	}
	return nil
}

// live sends what is appended, and reads on from the store what was appended in between.
func (f *feeder) live(ctx context.Context) error {
	feed, err := f.send.service.store.Subscribe(ctx, f.from)
	if err != nil {
		return err
	}
	defer feed.Close()
	for {
		e, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := f.deliver(&e); err != nil {
			return err
		}
	}
}

// deliver sends an event if it is chosen, and a checkpoint when so many were looked at.
func (f *feeder) deliver(e *events.Envelope) error {
	f.from.Revision = e.Revision
	if f.from.Stream == "" {
		f.from.Position, f.placed = e.Position, true
	}
	if f.from.Stream == "" && e.Position <= f.floor {
		return nil
	}
	chosen := f.send.reading.filter
	if f.from.Stream != "" || chosen.chooses(e) {
		if err := f.send.event(e); err != nil {
			return err
		}
	}
	if chosen == nil {
		return nil
	}
	if f.considered++; f.considered >= chosen.interval() {
		return f.checkpoint()
	}
	return nil
}

// checkpoint tells the client of a filtered subscription how far everything was looked at, so that it can go on from there.
func (f *feeder) checkpoint() error {
	if f.send.reading.filter == nil {
		return nil
	}
	f.considered = 0
	at := uint64(f.from.Position)
	return f.send.content(&streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: at, PreparePosition: at}})
}
