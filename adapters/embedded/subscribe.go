package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// subscription reads on from where it stands. A live one to a stream is handed what is appended; what it was not handed, because it
// is slow or still catching up, it reads. Either way it goes on at the revision after the last, so there is no hand-over to
// get wrong. What a stream's metadata hide is left out of what is read, and only there.
type subscription struct {
	store  *Store
	from   storage.From        // the next page is after this
	pages  [][]events.Envelope // read and not yet delivered; none is empty
	more   bool                // the last page was not the end
	tail   tail                // of a subscription to a stream
	once   sync.Once
	closed chan struct{}
	opened events.Position // the end of the store when it began
}

// tail is what was appended to a stream and not yet taken by a subscription to it.
type tail struct {
	mu     sync.Mutex
	pages  [][]events.Envelope
	count  int           // events in pages
	bytes  int           // of them
	missed bool          // something was not kept: it must be read
	wake   chan struct{} // has a token when there is something new
}

// subscriptionPage bounds what a subscription holds in memory of what it reads.
var subscriptionPage = storage.Limit{Events: 256, Bytes: 256 << 10} //nolint:gochecknoglobals // never written to

// What a subscription keeps of what it is handed; it shares that with the other subscriptions to the stream.
const (
	tailEvents = 256
	tailBytes  = 4 << 20
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
	if from.Stream != "" {
		s.news.add(u)
	}
	return u, nil
}

// Next implements storage.Subscription.
func (u *subscription) Next(ctx context.Context) (events.Envelope, error) {
	for {
		var news <-chan struct{}
		if len(u.pages) == 0 {
			news = u.news() // asked for before anything is read: what becomes visible in between is news
		}
		if e, found, err := u.Poll(ctx); found || err != nil {
			return e, err
		}
		select {
		case <-news:
		case <-ctx.Done():
		case <-u.closed:
		case <-u.store.closing:
		}
	}
}

// Poll implements Follower.
func (u *subscription) Poll(ctx context.Context) (next events.Envelope, found bool, err error) {
	for first := true; len(u.pages) == 0; first = false {
		if err := u.ended(ctx); err != nil {
			return next, false, err
		}
		if !first && !u.more {
			return next, false, nil
		}
		if err := u.read(ctx); err != nil {
			return next, false, err
		}
	}
	if err := u.ended(ctx); err != nil {
		return next, false, err
	}
	next = u.pages[0][0]
	if u.pages[0] = u.pages[0][1:]; len(u.pages[0]) == 0 {
		u.pages[0] = nil
		u.pages = u.pages[1:]
	}
	return next, true, nil
}

func (u *subscription) news() <-chan struct{} {
	if u.from.Stream != "" {
		return u.tail.wake
	}
	return u.store.news.wait()
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
	if u.from.Stream == "" {
		page, err := u.store.ReadAll(ctx, storage.After(u.from.Position), storage.Forward, u.from.Filter, subscriptionPage)
		if err != nil {
			return err
		}
		u.take(page)
		u.from.Position = page.Next.Position
		return nil
	}
	if !u.more {
		if handed, missed := u.tail.take(u.from.Revision); !missed {
			u.hand(handed)
			return nil
		}
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
	u.pages = handed
	u.moved(handed[len(handed)-1])
	u.more = u.from.Revision == tombstoneRevision
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
		u.pages = append(u.pages, page.Events)
	}
}

// moved notes how far the subscription has read.
func (u *subscription) moved(page []events.Envelope) { u.from.Revision = page[len(page)-1].Revision }

// offer hands over what was appended, or notes that it was missed.
func (t *tail) offer(p *piece) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count, t.bytes = t.count+len(p.batch), t.bytes+len(p.body)
	if t.missed || t.count > tailEvents || t.bytes > tailBytes {
		t.missed, t.pages = true, nil
	} else {
		t.pages = append(t.pages, p.batch)
	}
	t.signal()
}

// miss has the subscription read.
func (t *tail) miss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed, t.pages = true, nil
	t.signal()
}

func (t *tail) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take returns what was handed over after a revision; missed says that it is not all there is.
func (t *tail) take(after events.Revision) (handed [][]events.Envelope, missed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	handed, missed = t.pages, t.missed
	t.pages, t.count, t.bytes, t.missed = nil, 0, 0, false
	for len(handed) > 0 && handed[0][0].Revision <= after { // read before it was handed over
		if rest := handed[0][1:]; len(rest) > 0 {
			handed[0] = rest
		} else {
			handed = handed[1:]
		}
	}
	if missed {
		return nil, true
	}
	return handed, false
}

// news tells subscriptions what has become durable: those to a stream, what was appended to it; the others, that there is something.
type news struct {
	mu      sync.Mutex
	next    chan struct{} // closed by the next publish; nil while nobody waits
	streams map[events.Stream][]*subscription
}

// wait returns a channel that the next publish closes.
func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) publish(pieces []*piece) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
	if len(n.streams) == 0 {
		return
	}
	for _, p := range pieces {
		watchers := n.streams[p.stream]
		if len(watchers) > 0 {
			p.place()
		}
		for _, u := range watchers {
			u.tail.offer(p)
		}
		if p.first == tombstoneRevision { // its metadata end with it
			for _, u := range n.streams[metastream(p.stream)] {
				u.tail.miss()
			}
		}
	}
}

// place tells the batch where it stands. Its writer leaves that to the journal, and does not look.
func (p *piece) place() {
	for i := range p.batch {
		p.batch[i].Stream = p.stream
		p.batch[i].Revision = p.first + events.Revision(i)
		p.batch[i].Position = p.position + events.Position(i)
	}
}

func (n *news) add(u *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams == nil {
		n.streams = map[events.Stream][]*subscription{}
	}
	n.streams[u.from.Stream] = append(n.streams[u.from.Stream], u)
}

func (n *news) remove(u *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := slices.DeleteFunc(n.streams[u.from.Stream], func(other *subscription) bool { return other == u })
	if n.streams[u.from.Stream] = rest; len(rest) == 0 {
		delete(n.streams, u.from.Stream)
	}
}

// Close implements io.Closer.
func (u *subscription) Close() error {
	u.once.Do(func() {
		close(u.closed)
		if u.from.Stream != "" {
			u.store.news.remove(u)
		}
	})
	return nil
}
