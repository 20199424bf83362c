package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// subscription reads on from where it stands. A live one is handed what is appended; what it was not handed, because it
// is slow or still catching up, it reads. Either way it goes on at the revision, or the position, after the last, so there is no hand-over to
// get wrong. What a stream's metadata hide is left out of what is read, and only there.
type subscription struct {
	store  *Store
	from   storage.From        // the next page is after this
	pages  [][]events.Envelope // read or handed over, and not yet delivered; none is empty
	whole  bool                // the last of them ends a decision
	more   bool                // the last page was not the end
	tail   tail
	once   sync.Once
	closed chan struct{}
	opened events.Position // the end of the store when it began
}

// subscriptionPage bounds what a subscription holds in memory of what it reads.
var subscriptionPage = storage.Limit{Events: 256, Bytes: 256 << 10} //nolint:gochecknoglobals // never written to

// What a subscription keeps of what it is handed; it shares that with the others. One to everything is handed as much in a moment as
// all streams together.
const (
	tailEvents     = 256
	tailBytes      = 4 << 20
	tailEverything = 8192
	takePages      = 8 // that are read at once when there are more
)

// Follower is a subscription that says when it has caught up. To a stream, what is appended from then on is delivered even if metadata
// hide it at once: only reading leaves out what is hidden.
type Follower interface {
	storage.Subscription
	// Poll is Next, but does not wait: found is false when everything that is stored was delivered.
	Poll(ctx context.Context) (e events.Envelope, found bool, err error)
}

// Subscribe implements storage.Journal.
func (s *Store) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	return s.Follow(ctx, from)
}

// Follow is Subscribe.
func (s *Store) Follow(ctx context.Context, from storage.From) (Follower, error) {
	if from.Stream != "" {
		if err := storage.CheckStream(from.Stream); err != nil {
			return nil, err
		}
	}
	done, err := s.reading(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	done()
	from.Revision = min(from.Revision, math.MaxInt64-1)
	u := &subscription{store: s, from: from, more: true, opened: s.last(), tail: tail{wake: make(chan struct{}, 1)}, closed: make(chan struct{})}
	s.news.add(u)
	return u, nil
}

// Next implements storage.Subscription.
func (u *subscription) Next(ctx context.Context) (events.Envelope, error) {
	for {
		if e, found, err := u.Poll(ctx); found || err != nil {
			return e, err
		}
		select {
		case <-u.tail.wake:
		case <-ctx.Done():
		case <-u.closed:
		case <-u.store.closing:
		}
	}
}

// Poll implements Follower.
func (u *subscription) Poll(ctx context.Context) (next events.Envelope, found bool, err error) {
	if found, err = u.fill(ctx); !found {
		return next, false, err
	}
	next = u.pages[0][0]
	if u.pages[0] = u.pages[0][1:]; len(u.pages[0]) == 0 {
		u.pages[0] = nil
		u.pages = u.pages[1:]
	}
	return next, true, nil
}

// Take implements storage.Live.
func (u *subscription) Take(ctx context.Context) (batches [][]events.Envelope, whole bool, err error) {
	found, err := u.fill(ctx)
	if !found {
		return nil, false, err
	}
	for u.more && len(u.pages) < takePages && err == nil {
		err = u.read(ctx) // an error comes again when these are delivered
	}
	batches, u.pages = u.pages, nil
	return batches, u.whole, nil
}

// More implements storage.Live.
func (u *subscription) More() <-chan struct{} { return u.tail.wake }

// fill has something to deliver in pages, if there is anything.
func (u *subscription) fill(ctx context.Context) (found bool, err error) {
	for first := true; len(u.pages) == 0; first = false {
		if err := u.ended(ctx); err != nil {
			return false, err
		}
		if !first && !u.more {
			return false, nil
		}
		if err := u.read(ctx); err != nil {
			return false, err
		}
	}
	if err := u.ended(ctx); err != nil {
		return false, err
	}
	return true, nil
}

func (u *subscription) ended(ctx context.Context) error {
	select {
	case <-u.closed:
		return storage.ErrClosed
	case <-u.store.closing:
		return storage.ErrClosed
	default:
		return ctx.Err()
	}
}

// read fetches the next page and moves on behind it.
func (u *subscription) read(ctx context.Context) error {
	if !u.more {
		if handed, missed := u.tail.take(u); !missed {
			u.hand(handed)
			return nil
		}
	}
	if u.from.Stream == "" {
		page, err := u.store.ReadAll(ctx, storage.After(u.from.Position), storage.Forward, u.from.Filter, subscriptionPage)
		if err != nil {
			return err
		}
		u.take(page)
		u.from.Position = page.Next.Position
		return nil
	}
	page, err := u.store.Read(ctx, u.from.Stream, u.from.Revision+1, storage.Forward, subscriptionPage)
	if errors.Is(err, storage.ErrDeleted) {
		return u.end(ctx, err)
	}
	if err != nil {
		return err
	}
	u.take(page)
	if len(page.Events) > 0 {
		u.moved(page.Events)
	}
	if page.End {
		u.from.Revision = max(u.from.Revision, page.Last) // what is hidden was looked at too
	}
	return nil
}

// hand delivers what was handed over, as it is. A stream's last event is followed by the news that it has ended, which reading brings.
func (u *subscription) hand(handed [][]events.Envelope) {
	if len(handed) == 0 {
		return
	}
	u.pages = append(u.pages, handed...)
	if u.from.Stream != "" {
		u.moved(handed[len(handed)-1])
		u.more = u.from.Revision == tombstoneRevision
	}
}

// end delivers the event that ended the stream, if that happened while the subscription was there to see it.
func (u *subscription) end(ctx context.Context, ended error) error {
	if u.from.Revision == tombstoneRevision {
		return ended
	}
	done, err := u.store.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	e, _, err := u.store.newest(u.from.Stream, u.store.last())
	if err != nil {
		return err
	}
	if e.Revision != tombstoneRevision || e.Position <= u.opened {
		return ended
	}
	u.pages, u.from.Revision, u.more = [][]events.Envelope{{e}}, tombstoneRevision, true
	return nil
}

func (u *subscription) take(page storage.Page) {
	if u.more = !page.End; len(page.Events) > 0 {
		u.pages, u.whole = append(u.pages, page.Events), false
	}
}

// moved notes how far the subscription has read.
func (u *subscription) moved(page []events.Envelope) { u.from.Revision = page[len(page)-1].Revision }

// Close implements io.Closer.
func (u *subscription) Close() error {
	u.once.Do(func() {
		close(u.closed)
		u.store.news.remove(u)
		u.tail.signal()
	})
	return nil
}
