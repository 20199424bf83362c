package eventstore

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// ReadAll implements storage.Journal.
//
// EventStoreDB's positions are places in its log, and it reads from places where a record begins: forward from such a place, including
// what is there; backward from what ends before it.
func (j *Journal) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (storage.Page, error) {
	plan := allPlan{from: from, direction: direction, filter: filter, limit: limit.Bounded()}
	if plan.empty() {
		if err := j.ready(ctx); err != nil {
			return storage.Page{}, fmt.Errorf("read everything: %w", err)
		}
		return storage.Page{Next: from, End: true}, nil
	}
	if from.Position > math.MaxInt64 && from != storage.End() { // no log has such a place: servers of EventStoreDB do not even refuse it by name
		return storage.Page{}, fmt.Errorf("read everything from %s: %w", from, storage.ErrPlace)
	}
	var page storage.Page
	known := true
	err := j.call(ctx, access{right: toRead}, func(ctx context.Context, n *node) (f *failure) {
		page, f = plan.read(ctx, n)
		if known = !f.refusesPlace() || from == storage.Start() || from == storage.End(); !known {
			return nil
		}
		return f
	})
	if err == nil && !known {
		err = storage.ErrPlace
	}
	if err != nil {
		return storage.Page{}, fmt.Errorf("read everything from %s: %w", from, err)
	}
	return page, nil
}

// refusesPlace reports the failure of a read from a position at which no record begins. Nothing but the words tells it from others; before
// 24.2 they do not even say that it was the position.
func (f *failure) refusesPlace() bool {
	return f != nil && (f.code == codes.InvalidArgument || f.code == codes.Unknown && strings.Contains(f.message, "ReadAllResult"))
}

// given refuses a subscription from a position that the store did not give. EventStoreDB would confirm one that is beyond the end, and
// then leave out events until there.
func (j *Journal) given(ctx context.Context, from storage.From) error {
	if from.Stream != "" || from.Position == 0 {
		return nil
	}
	_, err := j.ReadAll(ctx, storage.Before(from.Position), storage.Forward, storage.Filter{System: true}, one())
	return err
}

// ready returns what a call would fail with that needs nothing of the store.
func (j *Journal) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return storage.ErrClosed
	}
	return nil
}

// allPlan is one page of everything.
type allPlan struct {
	from      storage.Place
	direction storage.Direction
	filter    storage.Filter
	limit     storage.Limit // bounded
}

// empty reports that nothing can be there.
func (p allPlan) empty() bool {
	return p.direction == storage.Backward && p.from == storage.Start() || p.direction == storage.Forward && p.from == storage.End()
}

// read reads the page on one connection.
func (p allPlan) read(ctx context.Context, n *node) (storage.Page, *failure) {
	if p.direction == storage.Backward {
		return p.backward(ctx, n)
	}
	pushed := pushedFilter(p.filter, false)
	bound := events.Position(0) // everything up to here is seen by the read below
	if pushed != nil {
		last, f := lastPosition(ctx, n)
		if f != nil {
			return storage.Page{}, f
		}
		bound = last
	}
	page, came, f := p.attempt(ctx, n, pushed)
	if f != nil {
		return page, f
	}
	if came == 0 && pushed == nil && p.from != storage.Start() {
		// Not even the event of the place came: it is beyond the end, unless a scavenge has removed it.
		if bound, f = lastPosition(ctx, n); f != nil {
			return page, f
		}
	}
	if came == 0 && p.from.Position > bound {
		return page, &failure{code: codes.InvalidArgument, message: fmt.Sprintf("the store ends at position %d", bound)}
	}
	if page.End && page.Next.Position <= bound && bound > 0 {
		page.Next = storage.After(bound) // all of it was looked at
	}
	return page, nil
}

// backward reads what is before a place. The event of a place behind one is asked for by itself: a read backward leaves it out.
func (p allPlan) backward(ctx context.Context, n *node) (storage.Page, *failure) {
	if p.from.Before || p.from == storage.End() {
		page, _, f := p.attempt(ctx, n, pushedFilter(p.filter, false))
		return page, f
	}
	itself := allPlan{from: storage.Before(p.from.Position), filter: storage.Filter{System: true}, limit: one()}
	first, f := itself.read(ctx, n)
	if f != nil {
		return storage.Page{}, f
	}
	p.from.Before = true
	all := gatherer{limit: p.limit}
	for i := range first.Events {
		if e := &first.Events[i]; e.Position == p.from.Position && p.filter.Chooses(e.Stream, e.Kind) {
			all.add(e)
		}
	}
	rest, _, f := p.attempt(ctx, n, pushedFilter(p.filter, false))
	if f != nil || len(all.events) == 0 {
		return rest, f
	}
	next := p.from
	for i := range rest.Events {
		if !all.add(&rest.Events[i]) {
			return storage.Page{Events: all.events, Next: next}, nil
		}
		next = storage.Before(rest.Events[i].Position)
	}
	return storage.Page{Events: all.events, Next: rest.Next, End: rest.End}, nil
}

// attempt is one Read on the wire. came is how many events there were, chosen or not.
func (p allPlan) attempt(ctx context.Context, n *node, pushed *streams.ReadReq_Options_FilterOptions) (page storage.Page, came int, f *failure) {
	page = storage.Page{Next: p.from}
	gather := gatherer{limit: p.limit}
	count := p.limit.Events + 2 // one to know whether there are more, and one that ended the page before
	cut := false
	f = read(ctx, n.calls.ClientConn, p.request(count, pushed), silence(n, pushed), func(a *answer) (more bool) {
		if !a.hasEvent {
			return true
		}
		came++
		e := &a.event
		if p.direction == storage.Forward && !p.from.Before && e.Position <= p.from.Position {
			return true
		}
		if p.filter.Chooses(e.Stream, e.Kind) && !gather.add(e) {
			cut = true
			return false
		}
		page.Next = storage.Place{Position: e.Position, Before: p.direction == storage.Backward}
		return true
	})
	page.Events, page.End = gather.events, !cut && came < count
	return page, came, f
}

func (p allPlan) request(count int, pushed *streams.ReadReq_Options_FilterOptions) *streams.ReadReq {
	at := uint64(p.from.Position)
	all := &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
		Position: &streams.ReadReq_Options_Position{CommitPosition: at, PreparePosition: at},
	}}
	switch p.from {
	case storage.Start():
		all.AllOption = &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}
	case storage.End():
		all.AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	}
	options := readOptions(p.direction, count)
	options.StreamOption = &streams.ReadReq_Options_All{All: all}
	if pushed != nil {
		options.FilterOption = &streams.ReadReq_Options_Filter{Filter: pushed}
	}
	return &streams.ReadReq{Options: options}
}

// lastPosition is where the store ends; 0 when it is empty.
func lastPosition(ctx context.Context, n *node) (events.Position, *failure) {
	last := allPlan{from: storage.End(), direction: storage.Backward}
	position := events.Position(0)
	f := read(ctx, n.calls.ClientConn, last.request(1, nil), n.target.silence, func(a *answer) (more bool) {
		if a.hasEvent {
			position = a.event.Position
		}
		return true
	})
	return position, f
}

// filterWindow is how many events the server looks at before it says how far it is.
const filterWindow = 512

// pushedFilter is the part of a filter that the server can decide, nil when that is nothing: it filters by streams or by kinds, not by
// either. Whether an event is chosen is always looked at here again. A subscription has the server leave out its own streams as well;
// a read does not, so that its page knows how far it has looked.
func pushedFilter(filter storage.Filter, live bool) *streams.ReadReq_Options_FilterOptions {
	byStream := func(e *streams.ReadReq_Options_FilterOptions_Expression) *streams.ReadReq_Options_FilterOptions {
		return &streams.ReadReq_Options_FilterOptions{
			Filter:                       &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: e},
			Window:                       &streams.ReadReq_Options_FilterOptions_Max{Max: filterWindow},
			CheckpointIntervalMultiplier: 1,
		}
	}
	switch {
	case len(filter.Streams) > 0 && len(filter.Kinds) == 0:
		return byStream(&streams.ReadReq_Options_FilterOptions_Expression{Prefix: filter.Streams})
	case len(filter.Kinds) > 0 && len(filter.Streams) == 0:
		pushed := byStream(nil)
		pushed.Filter = &streams.ReadReq_Options_FilterOptions_EventType{
			EventType: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: filter.Kinds},
		}
		return pushed
	case live && !filter.System:
		return byStream(&streams.ReadReq_Options_FilterOptions_Expression{Regex: `^[^\$]`})
	}
	return nil
}
