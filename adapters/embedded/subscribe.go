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

// tail is what was appended and not yet taken by a subscription.
type tail struct {
	mu      sync.Mutex
	pages   [][]events.Envelope
	whole   bool            // the last of them ends a decision
	through events.Position // everything chosen up to here was handed over, or missed
	count   int             // events in pages
	bytes   int             // of them
	missed  bool            // something was not kept: it must be read
	wake    chan struct{}   // has a token when there is something new, or an end
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
	if found, err := u.fill(ctx); !found {
		return nil, false, err
	}
	for u.more && len(u.pages) < takePages {
		if err := u.read(ctx); err != nil {
			break // it comes again when these are delivered
		}
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

// offer hands over what was appended and chosen, or notes that it was missed.
func (u *subscription) offer(p *piece) {
	t, chosen, most := &u.tail, p.batch, tailEvents
	if u.from.Stream == "" {
		chosen, most = u.chosen(p), tailEverything
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.through = p.end()
	if len(chosen) == 0 {
		return
	}
	t.count, t.bytes = t.count+len(chosen), t.bytes+len(p.body)
	if t.missed || t.count > most || t.bytes > tailBytes {
		t.missed, t.pages = true, nil
	} else {
		t.pages, t.whole = append(t.pages, chosen), !p.cut && len(chosen) == len(p.batch)
	}
	t.signal()
}

// chosen is what the filter chooses of a piece: most often all of it, or nothing.
func (u *subscription) chosen(p *piece) []events.Envelope {
	n := 0
	for i := range p.batch {
		if u.from.Filter.Chooses(p.stream, p.batch[i].Kind) {
			n++
		}
	}
	if n == 0 || n == len(p.batch) {
		return p.batch[:n]
	}
	some := make([]events.Envelope, 0, n)
	for i := range p.batch {
		if u.from.Filter.Chooses(p.stream, p.batch[i].Kind) {
			some = append(some, p.batch[i])
		}
	}
	return some
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

// take returns what was handed over after the place up to which its subscription has read, and moves that on; missed says that it is not
// all there is.
func (t *tail) take(u *subscription) (handed [][]events.Envelope, missed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	handed, missed = t.pages, t.missed
	t.pages, t.count, t.bytes, t.missed = nil, 0, 0, false
	if missed {
		return nil, true
	}
	for len(handed) > 0 && u.passed(&handed[0][0]) { // read before it was handed over
		if rest := handed[0][1:]; len(rest) > 0 {
			handed[0] = rest
		} else {
			handed = handed[1:]
		}
	}
	if len(handed) > 0 {
		u.whole = t.whole
	}
	if u.from.Stream == "" {
		u.from.Position = max(u.from.Position, t.through)
	}
	return handed, false
}

// passed reports whether an event is before where the subscription goes on.
func (u *subscription) passed(e *events.Envelope) bool {
	if u.from.Stream == "" {
		return e.Position <= u.from.Position
	}
	return e.Revision <= u.from.Revision
}

// news hands subscriptions what has become durable.
type news struct {
	mu         sync.Mutex
	streams    map[events.Stream][]*subscription
	everything []*subscription // not to a stream
}

// wake has all subscriptions look whether they have ended.
func (n *news) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, u := range n.everything {
		u.tail.signal()
	}
	for _, of := range n.streams {
		for _, u := range of {
			u.tail.signal()
		}
	}
}

func (n *news) publish(pieces []*piece) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.streams) == 0 && len(n.everything) == 0 {
		return
	}
	for _, p := range pieces {
		watchers := n.streams[p.stream]
		if len(watchers) > 0 || len(n.everything) > 0 {
			p.place()
		}
		for _, u := range watchers {
			u.offer(p)
		}
		for _, u := range n.everything {
			u.offer(p)
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
	if u.from.Stream == "" {
		n.everything = append(n.everything, u)
		return
	}
	if n.streams == nil {
		n.streams = map[events.Stream][]*subscription{}
	}
	n.streams[u.from.Stream] = append(n.streams[u.from.Stream], u)
}

func (n *news) remove(u *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	other := func(other *subscription) bool { return other == u }
	if u.from.Stream == "" {
		n.everything = slices.DeleteFunc(n.everything, other)
		return
	}
	rest := slices.DeleteFunc(n.streams[u.from.Stream], other)
	if n.streams[u.from.Stream] = rest; len(rest) == 0 {
		delete(n.streams, u.from.Stream)
	}
}

// Close implements io.Closer.
func (u *subscription) Close() error {
	u.once.Do(func() {
		close(u.closed)
		u.store.news.remove(u)
		u.tail.signal()
	})
	return nil
}
