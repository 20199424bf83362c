package server

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// linkKind is the type of events that point at another: their data are "<revision>@<stream>".
const linkKind = "$>"

// pointer is what the data of a link say. What begins with no number, or names no stream, is no link, whatever its type says.
type pointer struct {
	isLink   bool
	revision events.Revision // NoRevision: the last
	stream   events.Stream
}

func parseLink(link *events.Envelope) (pointer, error) {
	data, _, err := dataOf(link)
	if err != nil {
		return pointer{}, storeFailure(err, link.Stream)
	}
	number, name, found := strings.Cut(string(data), "@")
	revision, err := strconv.ParseInt(strings.Trim(number, " \t\n\v\f\r"), 10, 64)
	if !found || err != nil || revision < int64(events.NoRevision) {
		return pointer{}, nil //nolint:nilerr // it is an event like others
	}
	return pointer{isLink: true, revision: events.Revision(revision), stream: events.Stream(name)}, nil
}

// resolve finds what a link points at. It is not found when it was deleted, was never there, or may not be read by the caller.
func (s *streamsService) resolve(ctx context.Context, to pointer) (target events.Envelope, found bool, err error) {
	if actors.CheckStream(to.stream) != nil || s.guard.allow(ctx, callerOf(ctx), toRead, to.stream) != nil {
		return target, false, nil
	}
	direction := actors.Forward
	if to.revision == events.NoRevision {
		to.revision, direction = math.MaxInt64, actors.Backward
	}
	page, err := s.store.Read(ctx, to.stream, to.revision, direction, actors.Limit{Events: 1})
	if errors.Is(err, actors.ErrDeleted) {
		return target, false, nil
	}
	if err != nil {
		return target, false, storeFailure(err, to.stream)
	}
	if len(page.Events) == 0 || direction == actors.Forward && page.Events[0].Revision != to.revision {
		return target, false, nil
	}
	return page.Events[0], true, nil
}
