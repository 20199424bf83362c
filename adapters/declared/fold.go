package declared

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/projections"
)

// fold is the state of a declared projection: groups by their keys, and what is remembered of earlier events. The expressions of one
// event are all computed before anything is changed, so that an event that cannot be folded leaves everything as it was.
type fold struct {
	of        *declaration
	machine   *machine
	groups    map[string]*group
	remember  []*remembered
	unmatched int64 // events whose earlier event is not known
	dropped   int64 // groups that gave way to others
	size      int   // bytes, about
}

// group is what is kept under one key.
type group struct {
	key    []any
	values []any
	rank   any // those with the least are dropped first
}

func newFold(d *declaration) *fold {
	f := &fold{of: d, machine: newMachine(), groups: map[string]*group{}}
	for range d.remember {
		f.remember = append(f.remember, newRemembered())
	}
	return f
}

// change is what an event will change.
type change struct {
	unmatched bool
	found     []string // what to forget, by memory; empty: nothing
	id        string
	before    *group // nil: a new one
	after     *group // nil: no group changes
	kept      []*entry
}

// Apply implements projections.Fold.
func (f *fold) Apply(e *projections.Recorded) error {
	f.machine.meter.begin("the event", maxSteps)
	c := change{found: make([]string, len(f.remember)), kept: make([]*entry, len(f.remember))}
	if f.of.on[e.Kind] {
		if err := f.consider(e, &c); err != nil {
			return f.stop(e, err)
		}
	}
	for i, m := range f.of.remember {
		if m.on[e.Kind] {
			kept, err := f.recall(e, m)
			if err != nil {
				return f.stop(e, err)
			}
			c.kept[i] = kept
		}
	}
	if err := f.room(&c); err != nil {
		return f.stop(e, err)
	}
	f.commit(&c)
	return nil
}

// stop says at which event the projection stops and why.
func (f *fold) stop(e *projections.Recorded, err error) error {
	if _, is := err.(*projections.PoisonError); is { //nolint:errorlint // as read made it
		return err
	}
	return poison(e, fmt.Errorf("event %s, %w", e.Ref(), err))
}

// consider computes what an event changes in its group.
func (f *fold) consider(e *projections.Recorded, c *change) error {
	names := f.machine.names
	if err := f.of.reader.read(e, names); err != nil {
		return err
	}
	if f.of.early {
		if holds, err := f.machine.holds(f.of.when); err != nil || !holds {
			return err
		}
	}
	for i, m := range f.of.remember {
		if err := f.find(i, m, c); err != nil || c.unmatched {
			return err
		}
	}
	if !f.of.early {
		if holds, err := f.machine.holds(f.of.when); err != nil || !holds {
			return err
		}
	}
	key, err := f.compute(f.of.key)
	if err != nil {
		return err
	}
	c.id = identify(key)
	c.before = f.groups[c.id]
	c.after = &group{key: key, values: make([]any, len(f.of.fold))}
	for i := range f.of.fold {
		names[f.of.fold[i].state] = f.of.fold[i].start
		if c.before != nil {
			names[f.of.fold[i].state] = c.before.values[i]
		}
	}
	for i := range f.of.fold {
		if c.after.values[i], err = f.keepable(f.of.fold[i].then); err != nil {
			return err
		}
	}
	return f.ranked(c.after)
}

// ranked computes what decides which groups are dropped first.
func (f *fold) ranked(g *group) (err error) {
	if f.of.by == nil {
		return nil
	}
	f.of.name(g, f.machine.names)
	g.rank, err = f.machine.run(f.of.by)
	return err
}

// keepable computes a value that will be kept.
func (f *fold) keepable(e *expression) (any, error) {
	value, err := f.machine.run(e)
	if err != nil {
		return nil, err
	}
	if kept, is := value.(string); is {
		value = strings.ToValidUTF8(kept, "\uFFFD")
	}
	return value, e.fits(value)
}

// compute computes named values that will be kept.
func (f *fold) compute(parts []part) (values []any, err error) {
	values = make([]any, len(parts))
	for i := range parts {
		if values[i], err = f.keepable(parts[i].value); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// identify makes one text of a key, another for every key.
func identify(key []any) string {
	if len(key) == 1 {
		if only, is := key[0].(string); is {
			return only
		}
	}
	var id []byte
	for _, value := range key {
		switch v := value.(type) {
		case string:
			id = strconv.AppendInt(id, int64(len(v)), 10)
			id = append(append(id, ':'), v...)
		case int:
			id = append(strconv.AppendInt(id, int64(v), 10), ';')
		case bool:
			id = strconv.AppendBool(id, v)
		}
	}
	return string(id)
}

// room refuses what would be more than a fold may hold.
func (f *fold) room(c *change) error {
	grows := 0
	if c.after != nil {
		grows = c.after.size() - c.before.size()
		if c.before == nil && f.of.most == 0 && len(f.groups) >= maxGroups {
			return fmt.Errorf("there are more than %d groups; name fewer by key, or keep says which to drop", maxGroups)
		}
	}
	for _, kept := range c.kept {
		if kept != nil {
			grows += kept.size()
		}
	}
	if f.size+grows > maxState {
		return fmt.Errorf("the state has more than %d bytes; name fewer by key, or keep says which to drop", maxState)
	}
	return nil
}

// size is about what a group takes, in bytes.
func (g *group) size() int {
	if g == nil {
		return 0
	}
	return 64 + sizeOf(g.key) + sizeOf(g.values)
}

func sizeOf(values []any) int {
	size := 0
	for _, value := range values {
		size += 24
		if kept, is := value.(string); is {
			size += len(kept)
		}
	}
	return size
}

// commit changes what was computed.
func (f *fold) commit(c *change) {
	if c.unmatched {
		f.unmatched++
	}
	for i, found := range c.found {
		if found != "" {
			f.size -= f.remember[i].forget(found)
		}
	}
	if c.after != nil {
		f.size += c.after.size() - c.before.size()
		f.groups[c.id] = c.after
		if f.of.most > 0 && len(f.groups) > f.of.most {
			f.drop()
		}
	}
	for i, kept := range c.kept {
		if kept != nil {
			f.size += f.remember[i].add(kept)
		}
	}
}

// drop drops the groups with the least rank: one in ten, so that it need not be done again soon.
func (f *fold) drop() {
	all := f.sorted()
	slices.SortStableFunc(all, func(a, b *group) int { return compare(a.rank, b.rank) })
	for _, g := range all[:max(len(all)-f.of.most, f.of.most/10)] {
		f.size -= g.size()
		delete(f.groups, identify(g.key))
		f.dropped++
	}
}

// sorted lists the groups in the order of their keys.
func (f *fold) sorted() []*group {
	all := make([]*group, 0, len(f.groups))
	for _, g := range f.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return slices.CompareFunc(a.key, b.key, compare) })
	return all
}

// compare orders values of one shape: numbers, texts by their bytes, false before true.
func compare(a, b any) int {
	switch a := a.(type) {
	case int:
		if b, is := b.(int); is {
			return cmp.Compare(a, b)
		}
	case string:
		if b, is := b.(string); is {
			return cmp.Compare(a, b)
		}
	case bool:
		if b, is := b.(bool); is && a != b {
			if b {
				return -1
			}
			return 1
		}
	}
	return 0
}

// name puts a group where answers find it.
func (d *declaration) name(g *group, names map[string]any) {
	for i := range d.key {
		names[d.key[i].name] = g.key[i]
	}
	for i := range d.fold {
		names[d.fold[i].name] = g.values[i]
	}
}
