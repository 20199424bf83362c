package eventstoretest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// behind is how many events a live subscriber may be behind before it reads them as the past.
const behind = 32

func confirm(call streams.Streams_ReadServer) error {
	return call.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: uuid.NewString()},
	}})
}

func (n *Node) caughtUp(call streams.Streams_ReadServer) error {
	n.cluster.mu.Lock()
	n.cluster.counts.Followed++
	n.cluster.mu.Unlock()
	if !n.cluster.config.Profile.CaughtUp {
		return nil
	}
	return call.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}})
}

// more waits until the node has more records than some, and returns what it has.
func (n *Node) more(ctx context.Context, than int) (view, error) {
	for {
		c := n.cluster
		c.mu.Lock()
		seen, changed := view(c.log.records[:n.has]), c.changed
		c.mu.Unlock()
		if len(seen) > than {
			return seen, nil
		}
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// followStream answers a subscription to a stream: what is behind the revision, then what comes.
func (n *Node) followStream(call streams.Streams_ReadServer, q reading, stream []*record) error {
	ctx, profile := call.Context(), n.cluster.config.Profile
	fromEnd := q.revision == end && !q.start
	if ended(stream) && (profile.EarlyFailure || !fromEnd) {
		return streamDeleted(ctx, q.stream)
	}
	if err := confirm(call); err != nil {
		return err
	}
	after := int64(q.revision)
	switch {
	case q.start:
		after = noRevision
	case fromEnd && len(stream) > 0:
		after = stream[len(stream)-1].revision
	case fromEnd:
		after = noRevision
	}
	waits := profile.Waits && len(stream) == 0 // it has nothing to catch up with yet
	caughtUp := false
	for seen := 0; ; {
		sent := 0
		for _, r := range stream[min(int(max(after+1, 0)), len(stream)):] {
			if r.revision <= after {
				continue
			}
			if err := call.Send(r.read(q.text)); err != nil {
				return err
			}
			after = r.revision
			sent++
		}
		if sent > 0 && after == tombstone {
			return streamDeleted(ctx, q.stream)
		}
		if waits = waits && sent == 0; !waits && (!caughtUp || sent > behind) {
			caughtUp = true
			if err := n.caughtUp(call); err != nil {
				return err
			}
		}
		records, err := n.more(ctx, seen)
		if err != nil {
			return err
		}
		seen = len(records)
		n.cluster.mu.Lock()
		stream = records.stream(n.cluster.log.streams[q.stream])
		n.cluster.mu.Unlock()
	}
}

// follower is a subscription to everything.
type follower struct {
	node    *Node
	call    streams.Streams_ReadServer
	q       reading
	next    int    // index of the next record to look at
	from    place  // what is not behind it is not sent
	looked  int    // events since the last checkpoint was due
	reached place  // the last event sent, or the last checkpoint
	nothing bool   // no event or checkpoint was sent yet, and it began at the start
	named   *place // the last checkpoint
}

// followAll answers a subscription to everything.
func (n *Node) followAll(call streams.Streams_ReadServer, q reading, seen view) error {
	ctx, profile := call.Context(), n.cluster.config.Profile
	at := q.from.commit
	beyond := at >= seen.last() && !q.start
	if !q.start && !beyond && !seen.begins(at) {
		if !profile.LateRefusal {
			return failing(ctx, codes.Unknown, thrown)
		}
		if err := confirm(call); err != nil {
			return err
		}
		return failing(ctx, codes.InvalidArgument, "Trying to read from an invalid position.")
	}
	if err := confirm(call); err != nil {
		return err
	}
	f := &follower{node: n, call: call, q: q, from: q.from, reached: q.from, nothing: q.start}
	switch {
	case at == end:
		f.next, f.from, f.reached = len(seen), place{}, place{seen.last(), seen.last()}
	case beyond:
		f.next = seen.index(at)
	default:
		f.next = seen.index(at)
		if err := f.past(ctx); err != nil {
			return err
		}
	}
	if err := n.caughtUp(call); err != nil {
		return err
	}
	return f.live(ctx)
}

// past reads pages until the end.
func (f *follower) past(ctx context.Context) error {
	for {
		seen, err := f.node.more(ctx, f.next-1)
		if err != nil {
			return err
		}
		if f.next >= len(seen) {
			return f.atTheEnd()
		}
		if err := f.page(seen); err != nil {
			return err
		}
	}
}

// page reads up to as many events as a filter's window has, or as many as are sent at once.
func (f *follower) page(seen view) error {
	began, last := place{seen[f.next].begin, 0}, (*record)(nil)
	if f.reached.commit == began.commit {
		began = f.reached // the place where it all began
	}
	window, sent := streamPage, 0
	if f.q.filter != nil {
		window = f.q.filter.window
	}
	for looked := 0; looked < window && sent < streamPage && f.next < len(seen); f.next++ {
		r := seen[f.next]
		if !r.inAll() {
			continue
		}
		looked++
		f.looked++
		last = r
		taken, err := f.take(r)
		if err != nil {
			return err
		}
		if taken {
			sent++
		}
	}
	if f.q.filter == nil || f.looked < f.q.filter.interval || last == nil {
		return nil
	}
	f.looked %= f.q.filter.interval
	at := f.reached // the last event, if it was in this page
	switch f.node.cluster.config.Profile.Checkpoints {
	case PageBegin:
		if at.commit < began.commit {
			at = began
		}
	case PageEnd:
		at = place{last.end, 0}
	case LastLooked:
		at = place{last.begin, last.begin}
	}
	return f.checkpoint(at)
}

// take sends a record if it is to be sent.
func (f *follower) take(r *record) (bool, error) {
	if !f.q.filter.chooses(r) || !f.q.start && !f.from.before(r) {
		return false, nil
	}
	f.reached, f.nothing = place{r.begin, r.begin}, false
	return true, f.call.Send(r.read(f.q.text))
}

// atTheEnd names the place reached when all of the past was read.
func (f *follower) atTheEnd() error {
	profile := f.node.cluster.config.Profile
	switch {
	case f.q.filter == nil || !profile.AtTheEnd:
		return nil
	case f.nothing && profile.Endless:
		return f.send(place{end, end})
	case f.nothing:
		return nil
	}
	return f.checkpoint(f.reached)
}

// checkpoint names a place, unless a later one was named.
func (f *follower) checkpoint(at place) error {
	if f.named != nil && !f.named.less(at) {
		return nil
	}
	f.named, f.reached, f.nothing = &at, at, false
	return f.send(at)
}

func (f *follower) send(at place) error {
	return f.call.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{
		Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: at.commit, PreparePosition: at.prepare},
	}})
}

// live sends what comes, until it falls behind.
func (f *follower) live(ctx context.Context) error {
	for {
		seen, err := f.node.more(ctx, f.next)
		if err != nil {
			return err
		}
		if len(seen)-f.next > behind {
			if err := f.past(ctx); err != nil {
				return err
			}
			if err := f.node.caughtUp(f.call); err != nil {
				return err
			}
			continue
		}
		for ; f.next < len(seen); f.next++ {
			if err := f.step(seen[f.next]); err != nil {
				return err
			}
		}
	}
}

// step is one live event, and a checkpoint behind it when one is due.
func (f *follower) step(r *record) error {
	if !r.inAll() {
		return nil
	}
	if _, err := f.take(r); err != nil {
		return err
	}
	if f.looked++; f.q.filter == nil || f.looked < f.q.filter.interval {
		return nil
	}
	f.looked = 0
	return f.checkpoint(place{r.begin, r.begin})
}
