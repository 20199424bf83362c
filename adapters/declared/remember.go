package declared

import (
	"slices"

	"example.com/life/events"
	"example.com/life/projections"
)

// remembered is what one part of remember holds: entries by what they are found by, in the order in which they came.
type remembered struct {
	entries map[string]*entry
	order   []*entry // the oldest first; those that were forgotten are still there, marked
	head    int      // of order: before it all are forgotten
	gone    int      // of order
}

type entry struct {
	under  string
	at     events.Position
	values []any
	gone   bool
}

func newRemembered() *remembered { return &remembered{entries: map[string]*entry{}} }

func (e *entry) size() int { return 96 + len(e.under) + sizeOf(e.values) }

// add remembers an entry, instead of another under the same name. At the limit the oldest is forgotten: whoever would have found it is
// counted as unmatched. It returns by how much more is held.
func (r *remembered) add(e *entry) int {
	grows := e.size() - r.forget(e.under)
	r.entries[e.under] = e
	r.order = append(r.order, e)
	for len(r.entries) > maxRemembered {
		grows -= r.forget(r.oldest())
	}
	return grows
}

func (r *remembered) oldest() string {
	for r.order[r.head].gone {
		r.head++
	}
	return r.order[r.head].under
}

// forget forgets an entry and returns how much was held.
func (r *remembered) forget(under string) int {
	e := r.entries[under]
	if e == nil {
		return 0
	}
	delete(r.entries, under)
	e.gone = true
	if r.gone++; r.gone > len(r.order)/2 {
		r.order = slices.DeleteFunc(r.order, func(e *entry) bool { return e.gone })
		r.head, r.gone = 0, 0
	}
	return e.size()
}

// live lists the entries, the oldest first.
func (r *remembered) live() []*entry {
	live := make([]*entry, 0, len(r.entries))
	for _, e := range r.order {
		if !e.gone {
			live = append(live, e)
		}
	}
	return live
}

// find puts what an earlier event said where expressions find it. An event that belongs to none finds zeros.
func (f *fold) find(i int, m *memory, c *change) error {
	found, err := f.machine.run(m.find)
	if err != nil {
		return err
	}
	under, _ := found.(string) //nolint:errcheck // it was compiled to be one
	values := m.zeros
	if under != "" {
		e := f.remember[i].entries[under]
		if e == nil {
			c.unmatched = true
			return nil
		}
		values = e.values
		if m.once {
			c.found[i] = under
		}
	}
	for j := range m.keep {
		f.machine.names[m.keep[j].name] = values[j]
	}
	return nil
}

// recall computes what is remembered of an event; nil: nothing.
func (f *fold) recall(e *projections.Recorded, m *memory) (*entry, error) {
	if err := m.reader.read(e, f.machine.names); err != nil {
		return nil, err
	}
	if holds, err := f.machine.holds(m.when); err != nil || !holds {
		return nil, err
	}
	under, err := f.keepable(m.under)
	if err != nil {
		return nil, err
	}
	kept := &entry{at: e.Position}
	if kept.under, _ = under.(string); kept.under == "" { //nolint:errcheck // it was compiled to be one
		return nil, nil //nolint:nilnil // nothing could find it
	}
	kept.values, err = f.compute(m.keep)
	return kept, err
}
