package storage

import (
	"context"
	"io"
	"sync"

	"example.com/life/events"
)

// Live is a Subscription whose owner need not wait in it, and that hands over what was appended by reference, as it was appended: nothing is
// read or copied that is in memory anyway. It belongs to one goroutine.
type Live interface {
	// Take returns what there is and was not delivered, without waiting: batches of events, none of them empty, or none. What it returns
	// belongs to others too: nobody writes to it. whole says that the last event ends a decision, as every append ends one; otherwise
	// what follows in its stream says so.
	Take(ctx context.Context) (batches [][]events.Envelope, whole bool, err error)
	// More returns a channel from which a token can be had when Take may return more, or an error.
	More() <-chan struct{}
	io.Closer
}

// Follow makes a subscription live. One that is not live itself is read ahead by a goroutine, which Close ends.
func Follow(subscription Subscription) Live {
	if live, ok := subscription.(Live); ok {
		return live
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &readAhead{subscription: subscription, cancel: cancel, more: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: make(chan struct{})}
	go r.run(ctx)
	return r
}

// readAheadEvents is how many events are read ahead at most.
const readAheadEvents = 512

// readAhead follows a subscription that has to be waited for.
type readAhead struct {
	subscription Subscription
	cancel       context.CancelFunc
	more, room   chan struct{} // tokens
	ended        chan struct{}

	mu    sync.Mutex
	taken []events.Envelope
	err   error
}

func (r *readAhead) run(ctx context.Context) {
	defer close(r.ended)
	for {
		event, err := r.subscription.Next(ctx)
		r.mu.Lock()
		if err == nil {
			r.taken = append(r.taken, event)
		}
		r.err = err
		full := len(r.taken) >= readAheadEvents
		r.mu.Unlock()
		signal(r.more)
		if err != nil {
			return
		}
		for ; full; full = r.full() {
			select {
			case <-r.room:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (r *readAhead) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.taken) >= readAheadEvents
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// Take implements Live.
func (r *readAhead) Take(ctx context.Context) ([][]events.Envelope, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) > 0 {
		batch := r.taken
		r.taken = nil
		signal(r.room)
		return [][]events.Envelope{batch}, false, nil
	}
	if r.err != nil {
		return nil, false, r.err
	}
	return nil, false, ctx.Err()
}

// More implements Live.
func (r *readAhead) More() <-chan struct{} { return r.more }

// Close implements io.Closer.
func (r *readAhead) Close() error {
	r.cancel()
	<-r.ended
	err := r.subscription.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = ErrClosed
	return err
}
