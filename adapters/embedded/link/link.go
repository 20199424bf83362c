// Package link has links as EventStoreDB 24.10 has them: events of a type of their own, which stand for another event and say in their
// data, as "<revision>@<stream>", for which. Reads, subscriptions and consumer groups share it.
package link

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Kind is the type of links.
const Kind = events.Kind("$>")

// Pointer is what a link points at.
type Pointer struct {
	Revision events.Revision // NoRevision: the last
	Stream   events.Stream   // it need not be a name that a stream can have
}

// Parse reads what an event points at. One that is of another type, or whose data begin with no number, is no link but an event like
// others. The error is storage.ErrCorrupt.
func Parse(e *events.Envelope) (to Pointer, isLink bool, err error) {
	if e.Kind != Kind {
		return Pointer{}, false, nil
	}
	data, err := e.Bytes()
	if err != nil {
		return Pointer{}, false, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	number, stream, found := strings.Cut(string(data), "@")
	revision, err := strconv.ParseInt(strings.Trim(number, " \t\n\v\f\r"), 10, 64)
	if !found || err != nil || revision < int64(events.NoRevision) {
		return Pointer{}, false, nil //nolint:nilerr // it is an event like others
	}
	return Pointer{Revision: events.Revision(revision), Stream: events.Stream(stream)}, true, nil
}

// Data makes the data of a link. It is kept as base64: a link is no JSON.
func Data(target string) json.RawMessage {
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString([]byte(target)) + `"`)
}

// Store is where links are followed.
type Store interface {
	Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error)
}

// Find reads the event that is pointed at; nil when it was deleted or never was there.
func (p Pointer) Find(ctx context.Context, store Store) (*events.Envelope, error) {
	if storage.CheckStream(p.Stream) != nil {
		return nil, nil //nolint:nilnil,nilerr // it cannot be there
	}
	from, direction := p.Revision, storage.Forward
	if from == events.NoRevision {
		from, direction = math.MaxInt64, storage.Backward
	}
	page, err := store.Read(ctx, p.Stream, from, direction, storage.Limit{Events: 1})
	if errors.Is(err, storage.ErrDeleted) {
		return nil, nil //nolint:nilnil // it is there no more
	}
	if err != nil {
		return nil, err
	}
	if len(page.Events) == 0 || direction == storage.Forward && page.Events[0].Revision != from {
		return nil, nil //nolint:nilnil // it is not there
	}
	return &page.Events[0], nil
}
