package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// lost decides what became of a call that a host claimed and that has no result in history: it waits while the call may run. A result that the host
// still has is the answer.
//
// If we die meanwhile, the next activation finds the claim and asks again.
func (c *clustered) lost(ctx context.Context, agent events.AgentID, request events.RequestID, claim string, note func(error)) (*sagas.RecordResult, error) {
	id := events.HostID(claim)
	for {
		changed := c.Member.Changed()
		view := c.Member.View()
		member, is := view.Member(id)
		wait := paceMost
		switch {
		case id.Joined() == events.NoRevision || id == c.self: // no host of a cluster; or it is not under way here
			return nil, nil
		case is:
			answer, err := c.send(ctx, member, PeerCall{Runs: &PeerRuns{Agent: agent, Request: request}})
			switch {
			case err != nil:
				note(err)
			case answer.Runs != nil && answer.Runs.Result != nil:
				command, err := answer.Runs.Result.Command()
				if result, is := command.(sagas.RecordResult); err == nil && is {
					return &result, nil
				}
				return nil, nil
			case answer.Runs == nil || !answer.Runs.Runs:
				return nil, nil
			default:
				note(fmt.Errorf("host %s, which began it, still runs it", id))
			}
		default:
			left := c.fence(view, id)
			if left <= 0 {
				return nil, nil
			}
			note(fmt.Errorf("host %s, which began it, was removed: what it began has ended in %s", id, left.Round(time.Millisecond)))
			wait = left
		}
		select {
		case <-changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fence is how long what a host began may still run: it is counted from when this host learned that the other one is gone.
func (c *clustered) fence(view *cluster.View, id events.HostID) time.Duration {
	fence := time.Duration(view.FenceOf(id)) * time.Microsecond
	c.mu.Lock()
	defer c.mu.Unlock()
	since, known := c.gone[id]
	if !known {
		since = c.began
	}
	return since + fence - c.Member.Now()
}

// runs says what this host knows of a call that it claimed.
func (c *clustered) runs(q *PeerRuns) (PeerAnswer, error) {
	in := &c.host.inflight
	in.mu.Lock()
	defer in.mu.Unlock()
	for e := in.errands[q.Agent]; e != nil; e = e.next {
		if e.about.Request != q.Request || e.released {
			continue
		}
		if e.answer == nil {
			if e.blob != nil {
				c.host.run(e.fetch)
			}
			return PeerAnswer{Runs: &PeerRun{Runs: true}}, nil
		}
		result, is := e.answer.command.(sagas.RecordResult)
		if !is {
			break
		}
		command, err := NewPeerCommand(result)
		if err != nil {
			return PeerAnswer{}, err
		}
		if !e.passed { // the other host may not hear this, and ask again
			e.passed = true
			time.AfterFunc(time.Minute, e.abandon)
		}
		return PeerAnswer{Runs: &PeerRun{Result: &command}}, nil
	}
	return PeerAnswer{Runs: &PeerRun{}}, nil
}

// watchdog ends calls that cannot be repeated when this host may not go on with them: what it began is lost for others after the fencing delay, and has to have ended
// by then. See [cluster.Lease].
func (h *Host) watchdog(spec *ToolSpec) *Watchdog {
	if h.cluster == nil || spec.Repeatable {
		return nil
	}
	fence := time.Duration(h.cluster.Member.View().Fence()) * time.Microsecond
	return &Watchdog{GoesOnUntil: h.cluster.Member.GoesOnUntil, Every: min(500*time.Millisecond, fence/16)}
}

// begin waits until a call that was claimed may begin; [ErrNotBegun] says that it never may.
func (c *clustered) begin(ctx context.Context, claimed time.Duration, note func(error)) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := c.Member.Fresh(ctx, claimed)
		if err == nil || errors.Is(err, ErrNotBegun) || ctx.Err() != nil {
			return err
		}
		note(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
