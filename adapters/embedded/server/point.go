package server

import (
	"context"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// point is a place in $all as clients name it: two numbers, in the order of the first and then of the second. An event stands at (p, p)
// with p its position; (p, less than p) is right before it, and (0, 0) before everything.
type point struct{ commit, prepare uint64 }

// The ends of everything.
var (
	startPoint = point{}                               //nolint:gochecknoglobals // never written to
	endPoint   = point{math.MaxUint64, math.MaxUint64} //nolint:gochecknoglobals // never written to
)

// newPoint reads a pair that a client gives. Whether an event stands there is for the store to say.
func newPoint(commit, prepare uint64) (point, error) {
	p := point{commit, prepare}
	if p != endPoint && (prepare > commit || commit > math.MaxInt64) {
		return p, unexpected("'C:%d/P:%d' is not a valid position", commit, prepare)
	}
	return p, nil
}

// pointAt is where an event stands.
func pointAt(position events.Position) point { return point{uint64(position), uint64(position)} }

func (p point) less(q point) bool {
	return p.commit < q.commit || p.commit == q.commit && p.prepare < q.prepare
}

// before is the place in front of what stands at the point.
func (p point) before() storage.Place {
	if p == endPoint {
		return storage.End()
	}
	return storage.Before(events.Position(p.commit))
}

func (p point) checkpoint() *streams.ReadResp_Checkpoint_ {
	return &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: p.commit, PreparePosition: p.prepare}}
}

// end is where the last event stands; the start when there is none.
func (s *streamsService) end(ctx context.Context) (point, error) {
	page, err := s.store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return startPoint, err
	}
	return pointAt(page.Events[0].Position), nil
}
