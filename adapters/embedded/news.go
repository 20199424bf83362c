package embedded

import (
	"slices"
	"sync"

	"example.com/life/events"
)

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
