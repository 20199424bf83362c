package eventstore

import (
	"context"
	"fmt"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors"
	"example.com/life/events"
)

// ReadAll implements actors.Journal.
//
// EventStoreDB's positions are places in its log, and it reads from places where a record begins: forward from such a place,
// including what is there; backward up to it. The port's "first ≥ from" and "last ≤ from" are made of that by asking from one before, or
// to one after, what a page ended with, which are such places; for other values the server is asked again from the value itself.
func (j *Journal) ReadAll(ctx context.Context, from events.Position, direction actors.Direction, filter actors.Filter, limit actors.Limit) (actors.Page, error) {
	plan := allPlan{from: from, direction: direction, filter: filter, limit: limit.Bounded()}
	if plan.empty() {
		if err := j.ready(ctx); err != nil {
			return actors.Page{}, fmt.Errorf("read everything: %w", err)
		}
		return actors.Page{Next: from, End: true}, nil
	}
	var page actors.Page
	err := j.call(ctx, func(ctx context.Context, n *node) (f *failure) {
		page, f = plan.read(ctx, n)
		return f
	})
	if err != nil {
		return actors.Page{}, fmt.Errorf("read everything from %d: %w", from, err)
	}
	return page, nil
}

// ready returns what a call would fail with that needs nothing of the store.
func (j *Journal) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return actors.ErrClosed
	}
	return nil
}

// allPlan is one page of everything.
type allPlan struct {
	from      events.Position
	direction actors.Direction
	filter    actors.Filter
	limit     actors.Limit // bounded
}

// empty reports that nothing can be there: no event is at position 0, and none at the greatest number.
func (p allPlan) empty() bool {
	return p.direction == actors.Backward && p.from == 0 || p.direction == actors.Forward && p.from == math.MaxUint64
}

// read reads the page on one connection.
func (p allPlan) read(ctx context.Context, n *node) (actors.Page, *failure) {
	pushed := pushedFilter(p.filter, false)
	bound := events.Position(0) // everything up to here is seen by the read below
	if pushed != nil && p.direction == actors.Forward {
		last, f := lastPosition(ctx, n)
		if f != nil {
			return actors.Page{}, f
		}
		bound = last
	}
	page, f := p.attempt(ctx, n, p.beside(), pushed)
	if f == nil || f.code != codes.InvalidArgument {
		return p.finish(page, bound), f
	}
	page, f = p.exactly(ctx, n, pushed)
	return p.finish(page, bound), f
}

// beside is the place to read from: where the page before ended.
func (p allPlan) beside() events.Position {
	switch {
	case p.direction == actors.Forward && p.from > 0:
		return p.from - 1
	case p.direction == actors.Backward && p.from < math.MaxUint64:
		return p.from + 1
	}
	return p.from
}

// exactly reads from the value itself, which has to be an event's position. Backward that leaves out the event, so it is read before.
func (p allPlan) exactly(ctx context.Context, n *node, pushed *streams.ReadReq_Options_FilterOptions) (actors.Page, *failure) {
	if p.direction == actors.Forward {
		return p.attempt(ctx, n, p.from, pushed)
	}
	itself := allPlan{from: p.from, filter: actors.Filter{System: true}, limit: one()}
	page, f := itself.attempt(ctx, n, p.from, nil)
	if f != nil || len(page.Events) == 0 || page.Events[0].Position != p.from || !p.filter.Chooses(page.Events[0].Stream, page.Events[0].Kind) {
		page.Events = nil
	}
	if f != nil {
		return page, f
	}
	rest, f := p.attempt(ctx, n, p.from, pushed)
	if len(page.Events) == 0 {
		return rest, f
	}
	all := gatherer{limit: p.limit}
	all.add(&page.Events[0])
	next := p.from - 1
	for i := range rest.Events {
		if !all.add(&rest.Events[i]) {
			return actors.Page{Events: all.events, Next: next}, f
		}
		next = rest.Events[i].Position - 1
	}
	return actors.Page{Events: all.events, Next: rest.Next, End: rest.End}, f
}

// attempt is one Read on the wire from a place of the log.
func (p allPlan) attempt(ctx context.Context, n *node, place events.Position, pushed *streams.ReadReq_Options_FilterOptions) (actors.Page, *failure) {
	page := actors.Page{Next: p.from}
	gather := gatherer{limit: p.limit}
	count := p.limit.Events + 2 // one to know whether there are more, and one that ended the page before
	came, cut := 0, false
	f := read(ctx, n, p.request(place, count, pushed), func(a *answer) (more bool) {
		if !a.hasEvent {
			return true
		}
		came++
		e := &a.event
		if p.outside(e.Position) {
			return true
		}
		if p.filter.Chooses(e.Stream, e.Kind) && !gather.add(e) {
			cut = true
			return false
		}
		if page.Next = e.Position + 1; p.direction == actors.Backward {
			page.Next = e.Position - 1
		}
		return true
	})
	page.Events, page.End = gather.events, !cut && came < count
	return page, f
}

// outside reports an event on the wrong side of where the page begins.
func (p allPlan) outside(at events.Position) bool {
	if p.direction == actors.Backward {
		return at > p.from
	}
	return at < p.from
}

// finish moves the next page beyond all that this one looked at.
func (p allPlan) finish(page actors.Page, bound events.Position) actors.Page {
	if page.End && p.direction == actors.Forward && page.Next <= bound {
		page.Next = bound + 1
	}
	return page
}

func (p allPlan) request(place events.Position, count int, pushed *streams.ReadReq_Options_FilterOptions) *streams.ReadReq {
	all := &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
		Position: &streams.ReadReq_Options_Position{CommitPosition: uint64(place), PreparePosition: uint64(place)},
	}}
	switch place {
	case 0:
		all.AllOption = &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}
	case math.MaxUint64:
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
	last := allPlan{from: math.MaxUint64, direction: actors.Backward, filter: actors.Filter{System: true}, limit: one()}
	position := events.Position(0)
	f := read(ctx, n, last.request(math.MaxUint64, 1, nil), func(a *answer) (more bool) {
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
func pushedFilter(filter actors.Filter, live bool) *streams.ReadReq_Options_FilterOptions {
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
