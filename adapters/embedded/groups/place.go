package groups

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/link"
	"example.com/life/events"
)

// format writes a place as EventStoreDB's tools read it: a revision as a number, a position as C:<number>/P:<number>.
func (k Key) format(at place) string {
	return k.formatStart(Start{At: int64(at), Prepare: int64(at)})
}

func (k Key) formatStart(from Start) string {
	if k.Stream == All {
		return fmt.Sprintf("C:%d/P:%d", from.At, from.Prepare)
	}
	return strconv.FormatInt(from.At, 10)
}

// parseStart reads either form.
func parseStart(text string) (from Start, ok bool) {
	commit, prepare, isPosition := strings.Cut(strings.TrimPrefix(text, "C:"), "/P:")
	var err error
	if from.At, err = strconv.ParseInt(commit, 10, 64); err != nil || from.At < int64(nowhere) {
		return Start{}, false
	}
	if isPosition {
		from.Prepare, err = strconv.ParseInt(prepare, 10, 64)
	}
	return from, err == nil && from.Prepare >= int64(nowhere) && from.Prepare <= from.At
}

// parsePlace reads either form.
func parsePlace(text string) (place, bool) {
	from, ok := parseStart(text)
	return place(from.At), ok
}

// scaled multiplies a position by how far apart positions are; nowhere stays. It says whether there is such a position.
func (p place) scaled(spread int64) (place, bool) {
	if p <= 0 {
		return p, true
	}
	return p * place(spread), int64(p) <= math.MaxInt64/spread
}

// lastPlace returns where a source ends; nowhere when it is empty.
func lastPlace(ctx context.Context, store Store, stream events.Stream) (place, error) {
	if stream != All {
		page, err := store.Read(ctx, stream, math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
		return place(page.Last), err
	}
	page, err := store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return nowhere, err
	}
	return placeIn(All, &page.Events[0]), nil
}

// placeIn returns where an event of a source stands.
func placeIn(stream events.Stream, e *events.Envelope) place {
	if stream == All {
		return place(min(uint64(e.Position), math.MaxInt64))
	}
	return place(e.Revision)
}

// behind returns the first event of a source after a place; nil when there is none.
func behind(ctx context.Context, store Store, stream events.Stream, after place) (*events.Envelope, error) {
	if after == math.MaxInt64 {
		return nil, nil //nolint:nilnil // there is none
	}
	var page storage.Page
	var err error
	if stream == All {
		page, err = store.ReadAll(ctx, storage.After(events.Position(max(after, 0))), storage.Forward, storage.Filter{System: true}, storage.Limit{Events: 1})
	} else {
		page, err = store.Read(ctx, stream, events.Revision(after+1), storage.Forward, storage.Limit{Events: 1})
	}
	if err != nil || len(page.Events) == 0 {
		return nil, err
	}
	return &page.Events[0], nil
}

// before returns where the last event before a position of All stands. There need not be an event at the position, and then it is looked for
// from the end of the store.
func before(ctx context.Context, store Store, position int64) (place, error) {
	if position <= 0 {
		return nowhere, nil
	}
	limit := storage.Limit{Events: 1}
	from := storage.Before(events.Position(position))
	for {
		page, err := store.ReadAll(ctx, from, storage.Backward, storage.Filter{System: true}, limit)
		if errors.Is(err, storage.ErrPlace) && from != storage.End() {
			from, limit = storage.End(), storage.Limit{Events: 4096}
			continue
		}
		if err != nil {
			return nowhere, err
		}
		for i := range page.Events {
			if at := placeIn(All, &page.Events[i]); at < place(position) {
				return at, nil
			}
		}
		if page.End {
			return nowhere, nil
		}
		from = page.Next
	}
}

// resolve returns an event, or, of a link, what it leads to, which may be nothing, and the link itself.
func resolve(ctx context.Context, store Store, e *events.Envelope) (event, itself *events.Envelope, err error) {
	to, isLink, err := link.Parse(e)
	if err != nil || !isLink {
		return e, nil, err
	}
	if event, err = to.Find(ctx, store); err != nil {
		return nil, nil, fmt.Errorf("resolve link %s: %w", e.Ref(), err)
	}
	return event, e, nil
}

// subscribe follows a source after a place.
func subscribe(ctx context.Context, store Store, stream events.Stream, after place) (storage.Subscription, error) {
	if stream == All {
		return store.Subscribe(ctx, storage.From{Position: events.Position(max(after, 0)), Filter: storage.Filter{System: true}})
	}
	return store.Subscribe(ctx, storage.From{Stream: stream, Revision: events.Revision(after)})
}
