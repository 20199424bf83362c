package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// How long and how often a command is sent to the host that it is for.
const (
	holdTime  = 10 * time.Second // a caller waits for an owner
	mostHeld  = 4096             // callers
	paceFirst = 50 * time.Millisecond
	paceMost  = time.Second
	tryTime   = time.Second            // a host is waited for, before the command is sent once more, with the same id, by another way
	pullTime  = 800 * time.Millisecond // an earlier owner is waited for
)

// address finds the registry that keeps a stream's entity.
func (h *Host) address(stream events.Stream) (*actor.PID, string, error) {
	category, id := stream.Split()
	var err error
	var registry *actor.PID
	switch category {
	case events.AgentCategory:
		registry, err = h.agents, events.AgentID(id).Validate()
	case events.WalletCategory:
		registry, err = h.wallets, events.WalletID(id).Validate()
	case events.HomeostasisCategory:
		registry, err = h.homeostasis, events.TenantID(id).Validate()
	case events.KnowledgeCategory:
		registry, err = h.knowledge, events.TenantID(id).Validate()
	case events.ProjectionsCategory:
		registry = h.catalogues
		if events.TenantID(id) != sagas.DefaultTenant {
			err = fmt.Errorf("a host keeps the projections of tenant %s only", sagas.DefaultTenant)
		}
	default:
		err = fmt.Errorf("stream %q takes no commands", string(stream))
	}
	if err != nil {
		return nil, "", &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	return registry, id, nil
}

// routed is a call to whichever host holds the entity: as others are asked, and as it is done here.
type routed struct {
	stream events.Stream
	call   func() (PeerCall, error)
	here   func(ctx context.Context, unfit []events.HostID) (PeerAnswer, error)
}

// do is Host.do for a host of a cluster: the command is decided by the host that holds the entity. While there is none, because its owner died or
// hands it over, the caller is held; the command keeps its id, so that it is accepted once however often it is sent.
func (c *clustered) do(ctx context.Context, stream events.Stream, order *instruction) (Receipt, error) {
	if _, _, err := c.host.address(stream); err != nil {
		return Receipt{}, err
	}
	answer, err := c.route(ctx, routed{
		stream: stream,
		call: func() (PeerCall, error) {
			command, err := NewPeerCommand(order.command)
			return PeerCall{Do: &PeerDo{
				Stream: stream, Command: command, Actor: order.origin.Actor, Traceparent: order.origin.Traceparent, Causation: order.causation, Entry: c.self,
			}}, err
		},
		here: c.doHere(stream, order),
	})
	if err != nil {
		return Receipt{}, err
	}
	if category, _ := stream.Split(); category == events.ProjectionsCategory {
		if err := c.host.Reconcile(ctx); err != nil {
			return Receipt{}, err
		}
	}
	if answer.Receipt != nil {
		c.host.Stored(answer.Receipt.Position)
	}
	if answer.Receipt == nil {
		return Receipt{}, fmt.Errorf("command to %s: the host that decided it gave no receipt", stream)
	}
	return *answer.Receipt, nil
}

func (c *clustered) doHere(stream events.Stream, order *instruction) func(context.Context, []events.HostID) (PeerAnswer, error) {
	return func(ctx context.Context, unfit []events.HostID) (PeerAnswer, error) {
		if reason := c.strange(order.command, cmp.Or(order.entry, c.self)); reason != "" {
			return PeerAnswer{}, &IneligibleError{Stream: stream, Host: c.self, Reason: reason}
		}
		receipt, err := c.host.doHere(ctx, stream, order, unfit)
		if err != nil {
			return PeerAnswer{}, err
		}
		return PeerAnswer{Receipt: &receipt}, nil
	}
}

// route finds the host that holds an entity and has it do something, for up to holdTime.
func (c *clustered) route(ctx context.Context, r routed) (PeerAnswer, error) {
	if c.held.Add(1) > mostHeld {
		c.held.Add(-1)
		return PeerAnswer{}, &OverloadedError{Stream: r.stream, Waiting: mostHeld}
	}
	defer c.held.Add(-1)
	began, pace := time.Now(), paceFirst
	for try := 0; ; try++ {
		changed := c.Member.Changed()
		view := c.Member.View()
		answer, err := c.try(ctx, view, r, try)
		if err == nil || !c.passes(err) {
			return answer, err
		}
		if c.Member.View().Epoch > view.Epoch {
			pace = paceFirst
			continue
		}
		left := holdTime - time.Since(began)
		if left <= 0 {
			return PeerAnswer{}, &UnavailableError{Stream: r.stream, Reason: fmt.Sprintf("no host took it within %s: %v", holdTime, err)}
		}
		select {
		case <-changed:
			pace = paceFirst
		case <-time.After(min(pace, left)):
			pace = min(2*pace, paceMost)
		case <-ctx.Done():
			return PeerAnswer{}, fmt.Errorf("wait for %s, of which the host is not known (%w): %w", r.stream, err, ctx.Err())
		case <-c.host.running.Done():
			return PeerAnswer{}, storage.ErrClosed
		}
	}
}

// passes reports an error that says where the entity is not: another try may find it.
func (c *clustered) passes(err error) bool {
	var (
		moved  *MovedError
		fenced *FencedError
		silent *silentError
	)
	switch {
	case errors.Is(err, ErrNotMember): // the other host is behind
		return true
	case errors.As(err, &silent), errors.As(err, &moved), errors.As(err, &fenced):
		return true
	case errors.Is(err, storage.ErrClosed): // of another host
		return !c.host.closing.Load() && c.member()
	}
	return false
}

// silentError says that a host gave no answer. Why not concerns nobody but people: that a call was cancelled, for one, says nothing of the one before it.
type silentError struct {
	to  events.HostID
	why string
}

func (s *silentError) Error() string { return fmt.Sprintf("host %s did not answer: %s", s.to, s.why) }

// try asks once: here if the entity lives here, else its host; and every second time after one that did not answer a third host, for only the way between
// these two may be cut.
func (c *clustered) try(ctx context.Context, view *cluster.View, r routed, try int) (PeerAnswer, error) {
	owner, ok := view.Owner(r.stream)
	if !ok {
		return PeerAnswer{}, &MovedError{Stream: r.stream}
	}
	if owner == c.self {
		return c.carry(ctx, view, r, 0, nil)
	}
	// It may still be here, until what runs has ended.
	to := view.Members[owner]
	if try%2 == 1 {
		to = c.detour(view, r.stream, try, to)
	}
	return c.ask(ctx, to, r, 0, nil)
}

// detour is a host by way of which another one is asked.
func (c *clustered) detour(view *cluster.View, stream events.Stream, try int, to cluster.Member) cluster.Member {
	var others []cluster.Member
	for _, id := range view.Ranked(stream) {
		if id != c.self && id != to.ID {
			others = append(others, view.Members[id])
		}
	}
	if len(others) == 0 {
		return to
	}
	return others[try/2%len(others)]
}

// carry has the entity of which this host is the owner do something: here; or where it is still held; or, if this host cannot hold it, at
// the next in rank that can.
func (c *clustered) carry(ctx context.Context, view *cluster.View, r routed, hops int, unfit []events.HostID) (PeerAnswer, error) {
	answer, err := r.here(ctx, unfit)
	var moved *MovedError
	var ineligible *IneligibleError
	switch {
	case errors.As(err, &moved):
		to, member := view.Member(moved.To)
		if !member || to.ID == c.self || hops >= MaxPeerHops {
			return answer, err
		}
		if answer, err = c.ask(ctx, to, r, hops, nil); errors.As(err, &moved) { // it has let go
			c.setHolder(r.stream, "")
		}
		return answer, err
	case errors.As(err, &ineligible) && len(unfit) == 0:
		return c.nextInRank(ctx, view, r, hops, err)
	case err == nil && len(unfit) == 0:
		c.fits(r.stream)
	}
	return answer, err
}

// nextInRank asks those that come behind this host, in order, until one can hold the entity.
func (c *clustered) nextInRank(ctx context.Context, view *cluster.View, r routed, hops int, err error) (PeerAnswer, error) {
	if hops >= MaxPeerHops {
		return PeerAnswer{}, err
	}
	reasons, unfit := err, []events.HostID{c.self}
	for _, id := range view.Ranked(r.stream) {
		if id == c.self {
			continue
		}
		answer, err := c.ask(ctx, view.Members[id], r, hops, unfit)
		var ineligible *IneligibleError
		switch {
		case err == nil:
			c.setHolder(r.stream, id)
			c.noteUnfit(r.stream, id, reasons)
			return answer, nil
		case !errors.As(err, &ineligible):
			return answer, err
		}
		unfit, reasons = append(unfit, id), fmt.Errorf("%w; %w", reasons, err)
	}
	c.noteUnfit(r.stream, "", reasons)
	return PeerAnswer{}, reasons
}

// peerCall is a call under way to another host.
type peerCall struct {
	to     events.HostID
	cancel context.CancelFunc
}

// ask asks another host. It is given up when the view drops that host.
func (c *clustered) ask(ctx context.Context, to cluster.Member, r routed, hops int, unfit []events.HostID) (PeerAnswer, error) {
	call, err := r.call()
	if err != nil {
		return PeerAnswer{}, err
	}
	call.Hops, call.Unfit = hops, unfit
	c.count.forwarded.Add(1)
	return c.sendWithin(ctx, tryTime, to, call)
}

func (c *clustered) send(ctx context.Context, to cluster.Member, call PeerCall) (answer PeerAnswer, err error) {
	return c.sendWithin(ctx, 0, to, call)
}

// sendWithin sends a call, whose answer is waited for no longer than some time; 0: as long as ctx says.
func (c *clustered) sendWithin(ctx context.Context, within time.Duration, to cluster.Member, call PeerCall) (answer PeerAnswer, err error) {
	ctx, span := c.traced(ctx, to.ID, &call)
	defer func() { ended(span, err) }()
	var sent context.Context
	var cancel context.CancelFunc
	if within > 0 {
		sent, cancel = context.WithTimeout(ctx, within)
	} else {
		sent, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	under := &peerCall{to.ID, cancel}
	c.mu.Lock()
	newest := c.views[len(c.views)-1]
	if _, member := newest.Members[to.ID]; !member && newest.Epoch >= c.Member.View().Epoch {
		c.mu.Unlock()
		return PeerAnswer{}, &silentError{to.ID, "it is no member any more"}
	}
	c.calls[under] = struct{}{}
	c.mu.Unlock()
	call.Epoch = c.Member.View().Epoch
	answer, err = c.Peers.Call(sent, to, call)
	c.mu.Lock()
	delete(c.calls, under)
	c.mu.Unlock()
	switch {
	case ctx.Err() != nil && err != nil:
		return PeerAnswer{}, ctx.Err()
	case err != nil:
		return PeerAnswer{}, &silentError{to.ID, err.Error()}
	}
	c.heard(to.ID, answer.Settled)
	if answer.Epoch > call.Epoch {
		c.catchUp(sent, answer.Epoch)
	}
	if answer.Error == nil {
		return answer, nil
	}
	err = answer.Error.Err()
	if errors.Is(err, ErrNotMember) && !c.member() {
		return PeerAnswer{}, fmt.Errorf("host %s is no member of the cluster any more, ask another host: %w", c.self, storage.ErrClosed) // it ends, or starts itself anew
	}
	return PeerAnswer{}, err
}

// member reports whether this host is one.
func (c *clustered) member() bool {
	_, member := c.Member.View().Members[c.self]
	return member
}

func streamOf(call *PeerCall) events.Stream {
	switch {
	case call.Do != nil:
		return call.Do.Stream
	case call.Advise != nil:
		return events.HomeostasisStream(call.Advise.Tenant)
	case call.Own != nil:
		return call.Own.Stream
	case call.Take != nil && len(call.Take.Streams) > 0:
		return call.Take.Streams[0]
	case call.Keep != nil:
		return call.Keep.Stream
	case call.Runs != nil:
		return events.AgentStream(call.Runs.Agent)
	}
	return ""
}

// catchUp reads the view up to an epoch that another host knows.
func (c *clustered) catchUp(ctx context.Context, epoch events.Revision) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	if _, err := c.Member.CatchUp(ctx, epoch); err != nil && ctx.Err() == nil {
		c.host.log.Warn("read the cluster's stream", "epoch", epoch, "error", err)
	}
	c.look()
}

// ServePeer answers another host's call. The caller's identity was proved by whoever took the call from the network.
func (h *Host) ServePeer(ctx context.Context, from events.HostID, call PeerCall) PeerAnswer {
	c := h.cluster
	if c == nil || h.closing.Load() {
		return PeerAnswer{Error: newPeerError(storage.ErrClosed)}
	}
	answer, err := c.serve(ctx, from, call)
	if err != nil {
		answer = PeerAnswer{Error: newPeerError(err)}
	}
	answer.Epoch, answer.Settled = c.Member.View().Epoch, h.Settled()
	return answer
}

func (c *clustered) serve(ctx context.Context, from events.HostID, call PeerCall) (PeerAnswer, error) {
	if err := call.check(); err != nil {
		return PeerAnswer{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	view := c.Member.View()
	if call.Epoch > view.Epoch {
		c.catchUp(ctx, call.Epoch)
		view = c.Member.View()
	}
	if _, member := view.Members[from]; !member {
		return PeerAnswer{}, fmt.Errorf("host %s asks, but is no member of the cluster (any more): %w", from, ErrNotMember)
	}
	switch {
	case call.Do != nil:
		return c.serveDo(ctx, view, call)
	case call.Advise != nil:
		return c.serveRouted(ctx, view, call, c.advise(call.Advise))
	case call.Own != nil:
		return c.yield(ctx, call.Own.Stream)
	case call.Take != nil:
		return PeerAnswer{}, c.take(call)
	case call.Runs != nil:
		return c.runs(call.Runs)
	case call.Standing != nil:
		says := c.standing(ctx, call.Standing.Stream)
		return PeerAnswer{Standing: &says}, nil
	case call.Project != nil:
		return c.projectHere(ctx, call.Project)
	}
	return PeerAnswer{}, c.keep(ctx, call.Keep)
}

// serveDo decides a command for another host.
func (c *clustered) serveDo(ctx context.Context, view *cluster.View, call PeerCall) (PeerAnswer, error) {
	command, err := call.Do.command()
	if err != nil {
		return PeerAnswer{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	order := &instruction{
		command: command, origin: Origin{Actor: call.Do.Actor, Traceparent: call.Do.Traceparent}, causation: call.Do.Causation, entry: call.Do.Entry,
	}
	here := c.doHere(call.Do.Stream, order)
	switch fork, forking := command.(sagas.Fork); {
	case fromEntity(command):
		here = c.instruct(call.Do.Stream, order)
	case forking:
		parent, err := c.host.State(ctx, fork.Parent, fork.At)
		if err != nil {
			return PeerAnswer{}, err
		}
		order.base = parent.Agent
	}
	return c.serveRouted(ctx, view, call, routed{stream: call.Do.Stream, here: here})
}

// serveRouted does here what another host asks for; and if the entity is not here though both have the same view, it asks the entity's host for it.
func (c *clustered) serveRouted(ctx context.Context, view *cluster.View, call PeerCall, r routed) (PeerAnswer, error) {
	hops := call.Hops + 1
	c.count.served.Add(1)
	r.call = func() (PeerCall, error) { return call, nil }
	if len(call.Unfit) > 0 && !c.stands(view, r.stream, call.Unfit) {
		return PeerAnswer{}, &MovedError{Stream: r.stream, To: c.owner(r.stream)}
	}
	answer, err := c.carry(ctx, view, r, hops, call.Unfit)
	var moved *MovedError
	owner, ok := view.Owner(r.stream)
	if errors.As(err, &moved) && ok && owner != c.self && call.Epoch == view.Epoch && moved.To == owner && hops < MaxPeerHops {
		return c.ask(ctx, view.Members[owner], r, hops, nil)
	}
	return answer, err
}

// stands reports whether all hosts that come before this one in rank have said that they cannot hold an entity.
func (c *clustered) stands(view *cluster.View, stream events.Stream, unfit []events.HostID) bool {
	for _, id := range view.Ranked(stream) {
		if id == c.self {
			return true
		}
		if !slices.Contains(unfit, id) {
			return false
		}
	}
	return false
}

// instruct has an entity of this host decide what another entity sends it, and waits.
func (c *clustered) instruct(stream events.Stream, order *instruction) func(context.Context, []events.HostID) (PeerAnswer, error) {
	return func(ctx context.Context, unfit []events.HostID) (PeerAnswer, error) {
		registry, id, err := c.host.address(stream)
		if err != nil {
			return PeerAnswer{}, err
		}
		done := make(chan outcome, 1)
		c.host.system.Root.Send(registry, deliver{id: id, unfit: unfit, message: &instruction{
			command: order.command, origin: order.origin, causation: order.causation, done: func(o outcome) { done <- o },
		}})
		o, err := await(ctx, c.host, stream, done)
		if err != nil {
			return PeerAnswer{}, err
		}
		if o.err != nil {
			return PeerAnswer{}, o.err
		}
		decided, err := newPeerOutcome(o)
		return PeerAnswer{Outcome: decided}, err
	}
}

// await waits for what an entity of this host answers.
func await[T any](ctx context.Context, h *Host, stream events.Stream, done <-chan T) (answer T, err error) {
	select {
	case answer = <-done:
		return answer, nil
	case <-ctx.Done():
		return answer, fmt.Errorf("wait for %s to decide: %w", stream, ctx.Err())
	case <-h.running.Done():
		return answer, storage.ErrClosed
	}
}

// advise asks a tenant's homeostasis.
func (c *clustered) advise(q *PeerAdvise) routed {
	stream := events.HomeostasisStream(q.Tenant)
	return routed{
		stream: stream,
		call:   func() (PeerCall, error) { return PeerCall{Advise: q}, nil },
		here: func(ctx context.Context, unfit []events.HostID) (PeerAnswer, error) {
			done := make(chan PeerAnswer, 1)
			refused := make(chan error, 1)
			c.host.system.Root.Send(c.host.homeostasis, deliver{
				id: string(q.Tenant), unfit: unfit, refused: func(err error) { refused <- err },
				message: look[sagas.Homeostasis]{func(h sagas.Homeostasis) {
					mode, because := h.Advise(q.Vector, q.Mode)
					done <- PeerAnswer{Advice: &PeerAdvice{Mode: mode, Because: because}}
				}},
			})
			select {
			case answer := <-done:
				return answer, nil
			case err := <-refused:
				return PeerAnswer{}, err
			case <-ctx.Done():
				return PeerAnswer{}, ctx.Err()
			case <-c.host.running.Done():
				return PeerAnswer{}, storage.ErrClosed
			}
		},
	}
}

// askAdvice asks a tenant's homeostasis on another host.
func (c *clustered) askAdvice(ctx context.Context, r sagas.AskAdvice, answer func(sagas.Command, events.Ref, *pendingAppend)) {
	ctx, cancel := context.WithTimeout(ctx, c.host.limits.Advice)
	defer cancel()
	given, err := c.route(ctx, c.advise(&PeerAdvise{Tenant: r.Tenant, Vector: r.Vector, Mode: r.Mode}))
	if err != nil || given.Advice == nil {
		return // the turn goes on without, when the time is over
	}
	answer(sagas.RecordAdvice{Meta: meta(r.ID), Request: r.ID, Mode: given.Advice.Mode, Because: given.Advice.Because}, events.Ref(r.ID), nil)
}

// instructElsewhere has an entity of another host decide a command, and calls done with its answer.
func (c *clustered) instructElsewhere(stream events.Stream, in *instruction) {
	c.host.run(func() {
		answer, err := c.route(c.host.running, routed{
			stream: stream,
			call: func() (PeerCall, error) {
				command, err := NewPeerCommand(in.command)
				return PeerCall{Do: &PeerDo{Stream: stream, Command: command, Actor: in.origin.Actor, Traceparent: in.origin.Traceparent, Causation: in.causation}}, err
			},
			here: c.instruct(stream, in),
		})
		switch {
		case err != nil:
			in.done(outcome{err: err})
		case answer.Outcome == nil:
			in.done(outcome{err: fmt.Errorf("command to %s: the host that decided it said nothing of the outcome", stream)})
		default:
			in.done(answer.Outcome.outcome())
		}
	})
}
