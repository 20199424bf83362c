package actors

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// An entity moves when the view of the cluster places it elsewhere. Its registry tells it to leave; it goes at a safe point, when nothing that it
// decided is unstored and nothing runs that is not simply asked for again. Its new owner does not wait for that: it asks those that owned it
// before, is told that it is free or where it is held, and sends commands there as long as it is.
//
// If we die at any moment of this, the view drops us, and the owner activates what is stored.

// yieldTime is how long an owner is left without an answer while an entity stores what it decided.
const yieldTime = 500 * time.Millisecond

// placement handles what concerns where entities live.
func (r *registry) placement(c actor.Context, message any) {
	switch m := message.(type) {
	case placed:
		r.epoch = max(r.epoch, m.epoch)
		for id, h := range r.live {
			r.place(c, id, h)
		}
		r.settle()
	case held:
		if h := r.live[m.id]; h != nil && h.pid.Equal(m.pid) {
			h.tell(PeerHeld)
		}
	case moving:
		r.moving(m)
	case yield:
		h := r.live[m.id]
		if h == nil {
			m.answer(PeerReleased)
			return
		}
		h.asked = append(h.asked, m.answer)
		if r.place(c, m.id, h); !h.leaving {
			h.tell(PeerHeld)
		}
	case pulled:
		waiting := r.pulling[m.id]
		delete(r.pulling, m.id)
		for _, w := range waiting {
			if m.holder != "" && r.live[m.id] == nil {
				w.reject(&MovedError{Stream: r.entityType.stream(m.id), To: m.holder})
				continue
			}
			w.pulled = true
			r.deliver(c, w)
		}
	}
}

// place tells an entity to leave, or to stay, as the newest view has it.
func (r *registry) place(c actor.Context, id string, h *handle) {
	n := r.host.cluster
	owner := n.owner(r.entityType.stream(id))
	switch here := owner == n.self || owner != "" && h.stands == owner && !n.draining(); {
	case !here && !h.leaving:
		h.leaving = true
		c.Send(h.pid, leave{})
	case here && h.leaving:
		h.leaving = false
		h.tell(PeerHeld)
		c.Send(h.pid, stay{})
	}
}

// tell answers the hosts that have asked for the entity.
func (h *handle) tell(holding PeerHolding) {
	for _, answer := range h.asked {
		answer(holding)
	}
	h.asked = nil
}

// settle notes as of which epoch nothing is here that belongs elsewhere.
func (r *registry) settle() {
	for _, h := range r.live {
		if h.leaving {
			return
		}
	}
	category, _ := r.entityType.stream("x").Split()
	r.host.cluster.kept[category].Store(int64(r.epoch))
}

// left notes that an entity is not here any more. What has work outstanding is woken where it belongs.
func (r *registry) left(h *handle, open bool) {
	n := r.host.cluster
	if n == nil {
		return
	}
	h.tell(PeerReleased)
	if h.leaving {
		n.count.handedOver.Add(1)
		r.settle()
	}
	if stream := r.entityType.stream(h.id); open && !n.mine(stream) {
		n.push(stream, nil)
	}
}

// mayLive reports whether an entity may be brought to life here for a message; if not, whoever waits is told where it lives. While it is not known
// whether an earlier owner still holds it, the message waits.
func (r *registry) mayLive(c actor.Context, m deliver) bool {
	n, stream := r.host.cluster, r.entityType.stream(m.id)
	full := n.MaxLive > 0 && r.host.living.Load() >= int64(n.MaxLive)
	owner := n.owner(stream)
	switch waiting, asking := r.pulling[m.id]; {
	case len(m.unfit) > 0 && n.draining(): // its owner did not know that yet; and nothing would tell the entity to leave
		m.reject(&IneligibleError{Stream: stream, Host: n.self, Reason: "it drains"})
		return false
	case len(m.unfit) == 0 && owner != n.self:
		m.reject(&MovedError{Stream: stream, To: owner})
		return false
	case asking && !m.pulled && len(waiting) >= r.host.limits.Waiting:
		m.reject(&OverloadedError{Stream: stream, Waiting: r.host.limits.Waiting})
		return false
	case asking && !m.pulled:
		r.pulling[m.id] = append(waiting, m)
		return false
	case full:
		m.reject(&IneligibleError{Stream: stream, Host: n.self, Reason: fmt.Sprintf("it holds %d entities, which is its limit (--max-live)", n.MaxLive)})
		return false
	case m.pulled || len(m.unfit) > 0:
		return true
	}
	if holder := n.holder(stream); holder != "" {
		m.reject(&MovedError{Stream: stream, To: holder})
		return false
	}
	hosts := n.before(stream)
	if len(hosts) == 0 {
		return true
	}
	self, id := c.Self(), m.id
	r.pulling[id] = []deliver{m}
	n.pull(stream, hosts, func(holder events.HostID) { n.host.system.Root.Send(self, pulled{id, holder}) })
	return false
}

// standsFor is the owner for which an entity is held here, because that cannot hold it.
func (r *registry) standsFor(m deliver) events.HostID {
	if r.host.cluster == nil || len(m.unfit) == 0 {
		return ""
	}
	return r.host.cluster.owner(r.entityType.stream(m.id))
}

// standIn has another host go on with an entity's work that this one cannot hold.
func (r *registry) standIn(m gone) bool {
	n := r.host.cluster
	var ineligible *IneligibleError
	if n == nil || m.failure == nil || !errors.As(m.failure.err, &ineligible) {
		return false
	}
	if stream := r.entityType.stream(m.id); n.mine(stream) {
		n.push(stream, ineligible)
	}
	return true
}

// pull asks those that may still hold an entity, all at once, and says who does. Without an answer in time the entity is activated anyway: if somebody goes on with it
// nonetheless, one of the two appends is refused.
func (c *clustered) pull(stream events.Stream, hosts []cluster.Member, done func(holder events.HostID)) {
	c.host.run(func() {
		ctx, cancel := context.WithTimeout(c.host.running, pullTime)
		defer cancel()
		holders := make([]events.HostID, len(hosts))
		var asked sync.WaitGroup
		for i, host := range hosts {
			asked.Go(func() {
				answer, err := c.send(ctx, host, PeerCall{Own: &PeerOwn{Stream: stream}})
				if err == nil && answer.Own == PeerHeld {
					holders[i] = host.ID
				}
			})
		}
		asked.Wait()
		for _, holder := range holders {
			if holder != "" {
				c.setHolder(stream, holder)
				done(holder)
				return
			}
		}
		done("")
	})
}

// yield lets go of an entity for the host that owns it, or says that it is held here.
func (c *clustered) yield(ctx context.Context, stream events.Stream) (PeerAnswer, error) {
	registry, id, err := c.host.address(stream)
	if err != nil {
		return PeerAnswer{}, err
	}
	done := make(chan PeerHolding, 1)
	c.host.system.Root.Send(registry, yield{id, func(holding PeerHolding) {
		select {
		case done <- holding:
		default:
		}
	}})
	timer := time.NewTimer(yieldTime)
	defer timer.Stop()
	select {
	case holding := <-done:
		return PeerAnswer{Own: holding}, nil
	case <-timer.C:
		return PeerAnswer{Own: PeerHeld}, nil
	case <-ctx.Done():
		return PeerAnswer{}, ctx.Err()
	case <-c.host.running.Done():
		return PeerAnswer{}, storage.ErrClosed
	}
}

// push wakes an entity with work outstanding at its owner; or, if this host is that and cannot hold it, at the next in rank.
func (c *clustered) push(stream events.Stream, why *IneligibleError) {
	c.pushing.Add(1)
	c.host.run(func() {
		defer c.pushing.Add(-1)
		select {
		case c.pushes <- struct{}{}:
			defer func() { <-c.pushes }()
		case <-c.host.running.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.host.running, holdTime)
		defer cancel()
		for wait := paceFirst; ; wait = min(2*wait, paceMost) {
			changed := c.Member.Changed()
			if why != nil && !c.mine(stream) {
				return // the owner of the newest view finds out by itself
			}
			err := c.pushOnce(ctx, stream, why)
			if err == nil {
				return
			}
			select {
			case <-changed:
			case <-time.After(wait):
			case <-ctx.Done():
				c.host.log.Warn("an entity with work to do was not woken at its owner: it goes on when somebody needs it, or at the next change of the cluster",
					"stream", stream, "error", err)
				return
			}
		}
	})
}

func (c *clustered) pushOnce(ctx context.Context, stream events.Stream, why *IneligibleError) error {
	view := c.Member.View()
	var unfit []events.HostID
	if why != nil {
		unfit = []events.HostID{c.self}
	}
	ranked := view.Ranked(stream)
	if len(unfit) == 0 && len(ranked) > 0 && ranked[0] == c.self { // it came back
		return c.wake(stream, nil)
	}
	err := error(&MovedError{Stream: stream})
	for _, id := range ranked {
		if slices.Contains(unfit, id) {
			continue
		}
		_, err = c.send(ctx, view.Members[id], PeerCall{Unfit: unfit, Take: &PeerTake{Streams: []events.Stream{stream}}})
		if err == nil && len(unfit) > 0 {
			c.setHolder(stream, id)
			c.noteUnfit(stream, id, why)
		}
		var ineligible *IneligibleError
		if len(unfit) == 0 || !errors.As(err, &ineligible) {
			return err
		}
		unfit = append(unfit, id)
	}
	if why != nil {
		c.noteUnfit(stream, "", err)
	}
	return err
}

// take wakes entities that another host has let go of.
func (c *clustered) take(call PeerCall) error {
	for _, stream := range call.Take.Streams {
		c.count.received.Add(1)
		if err := c.wake(stream, call.Unfit); err != nil {
			return err
		}
	}
	return nil
}

func (c *clustered) wake(stream events.Stream, unfit []events.HostID) error {
	registry, id, err := c.host.address(stream)
	if err != nil {
		return err
	}
	c.setHolder(stream, "")
	c.host.system.Root.Send(registry, deliver{id: id, message: wakeUp{}, unfit: unfit, pulled: true})
	return nil
}

// keep saves a fold that another host had of an entity that is this host's now.
func (c *clustered) keep(ctx context.Context, s *PeerSnapshot) error {
	if c.host.snapshots == nil {
		return nil
	}
	return c.host.snapshots.Save(ctx, s.Fold, s.Stream, storage.Snapshot{Revision: s.Revision, Digest: s.Digest, State: s.State})
}

// mostSnapshot is how large a fold goes along with its entity. A larger one is made anew from history.
const mostSnapshot = 1 << 20

// sendSnapshot gives a fold to the host that is to go on with it, or would if this one died: then only a long history is worth it. Losing it costs time only.
func (c *clustered) sendSnapshot(fold string, stream events.Stream, s storage.Snapshot) {
	view := c.Member.View()
	ranked := view.Ranked(stream)
	if len(ranked) > 0 && ranked[0] == c.self && s.Revision >= storage.SnapshotEvery {
		ranked = ranked[1:]
	}
	if len(ranked) == 0 || ranked[0] == c.self || len(s.State) > mostSnapshot {
		return
	}
	to := ranked[0]
	ctx, cancel := context.WithTimeout(c.host.running, catchUpTime)
	defer cancel()
	_, err := c.send(ctx, view.Members[to], PeerCall{Keep: &PeerSnapshot{Fold: fold, Stream: stream, Revision: s.Revision, Digest: s.Digest, State: s.State}})
	if err != nil {
		c.host.log.Debug("a snapshot did not go along", "stream", stream, "to", to, "error", err)
	}
}

// considerLeaving asks the registry to let the entity go to another host, if nothing holds it. Until the registry answers the entity takes
// nothing in but what comes from there: whatever was asked is asked again at the new owner.
func (l *actorShell[S]) considerLeaving() {
	if !l.leaving || l.dead || !l.settled() || !l.behavior.mayLeave() {
		return
	}
	l.frozen = true
	open := l.behavior.letGo()
	l.host.system.Root.Send(l.registry, passivate{id: l.handle.id, pid: l.self, seen: l.seen, open: open})
}

// beginLeaving has the entity go at its next safe point.
func (l *actorShell[S]) beginLeaving() {
	l.leaving = true
	l.flushNow()
	if !l.behavior.mayLeave() {
		l.host.system.Root.Send(l.registry, held{l.handle.id, l.self})
		l.hurry = time.AfterFunc(l.host.cluster.Handover, func() { l.send(hurry{}) })
	}
	l.considerLeaving()
}

// endLeaving has the entity stay, and go on.
func (l *actorShell[S]) endLeaving() {
	l.leaving, l.frozen = false, false
	if l.hurry != nil {
		l.hurry.Stop()
	}
	l.behavior.stays()
	l.afterStep()
}

// mayLeave implements behavior: what runs and is not simply asked for again holds the agent.
func (a *agent) mayLeave() bool {
	if a.follow != nil && a.follow.moving {
		return false
	}
	for _, sent := range a.running {
		if e, is := sent.(*errand); is && (e.about.Model != "" || a.host.unrepeatable(e.about.Tool)) {
			return false
		}
	}
	return true
}

func (h *Host) unrepeatable(tool string) bool {
	found, known := h.tool(tool)
	return known && !found.Spec().Repeatable
}

// letGo implements behavior.
func (a *agent) letGo() bool {
	for _, sent := range a.running {
		sent.abandon()
	}
	clear(a.running)
	return len(a.saga.Ready()) > 0
}

// hurried implements behavior: the model is asked again where the agent goes, which is an event there.
func (a *agent) hurried() {
	for id, sent := range a.running {
		if e, is := sent.(*errand); is && e.about.Model != "" {
			sent.abandon()
			delete(a.running, id)
			a.cut = true
		}
	}
}

// stays implements behavior.
func (a *agent) stays() {
	a.follow = nil // all of it can be had again
	if a.cut {
		a.cut = false
		a.command(a.saga.Recovery(a.meta("recovered")), "")
		return
	}
	a.stored()
}

// unfit implements behavior: a host of a cluster holds only agents that it can serve.
func (a *agent) unfit(ctx context.Context) (string, error) {
	if a.saga.ID == "" || a.saga.Retired || a.saga.Quarantined != "" || a.saga.Fork.OnTape() {
		return "", nil
	}
	config := &a.saga.Config
	for _, grant := range config.Tools {
		if _, known := a.host.tool(grant.Name); !known {
			return "it has no tool " + grant.Name, nil
		}
	}
	if _, is := strings.CutPrefix(config.Model, sagas.RoutePrefix); !is {
		if _, _, err := a.host.models.Lookup(config.Model); err != nil {
			return "it cannot ask the agent's model: " + err.Error(), nil //nolint:nilerr // the error is the answer
		}
	}
	if a.host.cluster.shares(config.Workspace) {
		return "", nil
	}
	page, err := a.host.journal.Read(ctx, a.stream, 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return "", err
	}
	if on := page.Events[0].Host.Name(); on != "" && on != a.host.id.Name() {
		return fmt.Sprintf("the workspace %s is on host %s: it is below none of the directories that all hosts share (--shared-workspaces)", config.Workspace, on), nil
	}
	return "", nil
}

// shares reports whether a workspace is the same on all hosts.
func (c *clustered) shares(workspace string) bool {
	if workspace == "" {
		return true
	}
	return slices.ContainsFunc(c.Workspaces, func(shared string) bool {
		within, err := filepath.Rel(shared, workspace)
		return err == nil && within != ".." && !strings.HasPrefix(within, "../")
	})
}

// strange is why an agent cannot be made on this host; empty if it can: where a workspace that others have not got is, there its agent lives.
func (c *clustered) strange(command sagas.Command, entry events.HostID) string {
	workspace := ""
	switch made := command.(type) {
	case sagas.Create:
		workspace = made.Config.Workspace
	case sagas.Fork:
		workspace = made.Config.Workspace
	}
	if c.shares(workspace) || entry.Name() == c.self.Name() {
		return ""
	}
	return fmt.Sprintf("the workspace %s is on host %s, where the agent was ordered: it is below none of the directories that all hosts share (--shared-workspaces)", workspace, entry.Name())
}

// ineligible is why a stream cannot be folded by this build, though a newer one can; nil if it is not for that.
func ineligible(err error, stream events.Stream, host events.HostID) *IneligibleError {
	var unknown *sagas.UnknownEventError
	if errors.As(err, &unknown) && !errors.As(err, new(*history.GoneError)) {
		return &IneligibleError{Stream: stream, Host: host, Reason: unknown.Error()}
	}
	return nil
}
