package embedded

import (
	"context"
	"fmt"
	"math"
	"sync"

	"example.com/life/actors"
	"example.com/life/events"
)

// subscription pulls pages from where it stands. Catching up and being live are the same: there is no hand-over to get wrong.
type subscription struct {
	store  *Store
	from   actors.From       // the next page is after this
	page   []events.Envelope // read and not yet delivered
	more   bool              // the last page was not the end
	once   sync.Once
	closed chan struct{}
}

// subscriptionPage bounds what a subscription holds in memory.
var subscriptionPage = actors.Limit{Events: 256, Bytes: 256 << 10} //nolint:gochecknoglobals // never written to

// Subscribe implements actors.Journal.
func (s *Store) Subscribe(ctx context.Context, from actors.From) (actors.Subscription, error) {
	if from.Stream != "" {
		if err := actors.CheckStream(from.Stream); err != nil {
			return nil, err
		}
	}
	done, err := s.reading(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	done()
	from.Revision, from.Position = min(from.Revision, math.MaxInt64-1), min(from.Position, math.MaxUint64-1)
	return &subscription{store: s, from: from, more: true, closed: make(chan struct{})}, nil
}

// Next implements actors.Subscription.
func (u *subscription) Next(ctx context.Context) (events.Envelope, error) {
	for len(u.page) == 0 {
		if err := u.ended(ctx); err != nil {
			return events.Envelope{}, err
		}
		// The channel is taken before the page is read: what becomes visible in between closes it.
		news := u.store.news.wait()
		if err := u.read(ctx); err != nil {
			return events.Envelope{}, err
		}
		if len(u.page) > 0 || u.more {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
		case <-u.closed:
		case <-u.store.closing:
		}
	}
	if err := u.ended(ctx); err != nil {
		return events.Envelope{}, err
	}
	next := u.page[0]
	u.page[0] = events.Envelope{} // what was delivered is not kept alive
	u.page = u.page[1:]
	return next, nil
}

func (u *subscription) ended(ctx context.Context) error {
	select {
	case <-u.closed:
		return actors.ErrClosed
	case <-u.store.closing:
		return actors.ErrClosed
	default:
		return ctx.Err()
	}
}

// read fetches the next page and moves on behind it.
func (u *subscription) read(ctx context.Context) error {
	var page actors.Page
	var err error
	if u.from.Stream != "" {
		page, err = u.store.Read(ctx, u.from.Stream, u.from.Revision+1, actors.Forward, subscriptionPage)
	} else {
		page, err = u.store.ReadAll(ctx, u.from.Position+1, actors.Forward, u.from.Filter, subscriptionPage)
	}
	if err != nil {
		return err
	}
	u.page, u.more = page.Events, !page.End
	if u.from.Stream == "" {
		u.from.Position = max(u.from.Position, page.Next-1)
	} else if n := len(page.Events); n > 0 {
		u.from.Revision = page.Events[n-1].Revision
	}
	return nil
}

// Close implements io.Closer.
func (u *subscription) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}
