package groups

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// format writes a place as EventStoreDB's tools read it: a revision as a number, a position as C:<number>/P:<number>.
func (k Key) format(at place) string {
	if k.Stream == All {
		return fmt.Sprintf("C:%d/P:%d", at, at)
	}
	return strconv.FormatInt(int64(at), 10)
}

// parsePlace reads either form.
func parsePlace(text string) (place, bool) {
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "C:"), "/P:")
	n, err := strconv.ParseInt(text, 10, 64)
	return place(n), err == nil && n >= int64(nowhere)
}

// lastPlace returns where a source ends; nowhere when it is empty.
func lastPlace(ctx context.Context, store Store, stream events.Stream) (place, error) {
	if stream != All {
		page, err := store.Read(ctx, stream, math.MaxInt64, actors.Backward, actors.Limit{Events: 1})
		return place(page.Last), err
	}
	page, err := store.ReadAll(ctx, actors.End(), actors.Backward, actors.Filter{System: true}, actors.Limit{Events: 1})
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

// unread reports that a source has an event after a place.
func unread(ctx context.Context, store Store, stream events.Stream, after place) (bool, error) {
	if after == math.MaxInt64 {
		return false, nil
	}
	var page actors.Page
	var err error
	if stream == All {
		page, err = store.ReadAll(ctx, actors.After(events.Position(max(after, 0))), actors.Forward, actors.Filter{System: true}, actors.Limit{Events: 1})
	} else {
		page, err = store.Read(ctx, stream, events.Revision(after+1), actors.Forward, actors.Limit{Events: 1})
	}
	return len(page.Events) > 0, err
}

// subscribe follows a source after a place.
func subscribe(ctx context.Context, store Store, stream events.Stream, after place) (actors.Subscription, error) {
	if stream == All {
		return store.Subscribe(ctx, actors.From{Position: events.Position(max(after, 0)), Filter: actors.Filter{System: true}})
	}
	return store.Subscribe(ctx, actors.From{Stream: stream, Revision: events.Revision(after)})
}
