package actors

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// agent is the behavior of an agent: it sends what Ready says is outstanding, cancels what is no longer, and turns answers into
// commands. Nothing is sent before the event that records it is stored; and whatever is outstanding when the host dies is in
// Ready when it comes back, so sending is all there is to recovery.
type agent struct {
	actorShell[sagas.Agent]
	running   map[events.RequestID]underway // requests that were sent
	wakeAt    events.Micros
	waker     *time.Timer
	rang      bool       // the waker went off, and has not been set since
	recording *recording // of the workspace, in the latest round that has calls
	follow    *following // of a fork that follows its parent; else nil
	noted     *noted     // as it was last said
	cut       bool       // a model's reply, because the agent was to leave
}

// underway is what works on a request that was sent.
type underway interface {
	abandon() // nobody waits for the answer any more, or it is stored
	leave()   // the activation that waits stops; the request may be outstanding
}

// asked is a request that is sent again when the agent comes back; it ends with the activation.
type asked context.CancelFunc

func (a asked) abandon() { a() }
func (a asked) leave()   { a() }

// late says that no advice came in time.
type late struct{ request events.RequestID }

// woke says that the agent's clock went off.
type woke struct{}

// again asks for a request to be sent once more, as its wallet could not answer.
type again struct{ request events.RequestID }

// loaded sends what was outstanding when the agent was last alive, unless this host works on it still, or has the answer. A model call that
// was cut off is recorded as another attempt.
func (a *agent) loaded() {
	a.note()
	model := a.saga.Turn.Model // before the answers that are there are decided
	a.host.inflight.takeOver(a)
	if model != "" && a.running[model] == nil && a.saga.Quarantined == "" && !a.saga.Fork.OnTape() { // the tape was asked by nobody
		a.command(a.saga.Recovery(a.meta("recovered")), "")
		return // its events are stored before anything is sent
	}
	a.renew()
	a.sync()
	a.pump()
}

// renew has an agent whose route, skills or MCP servers are no longer what its configuration recorded go on with them as they are now. If we die before that
// is recorded, the next activation finds the same.
func (a *agent) renew() {
	if a.saga.ID == "" || a.saga.Quarantined != "" || a.saga.Retired || a.saga.Fork.Following() {
		return
	}
	config, source := a.saga.Config, ""
	if route, err := a.host.route(config.Model); err == nil && !reflect.DeepEqual(route, config.Route) { // one that this host does not have stays as it was recorded
		config.Route, source = route, "route"
	}
	if found := a.host.findSkills(&config); a.host.skills != nil && !slices.Equal(found, config.Skills.Found) {
		config.Skills.Found, source = found, "skills"
	}
	if granted, problems, known := a.knownServers(&config); known {
		if tools := withServers(config.Tools, granted); !slices.Equal(tools, config.Tools) || !slices.Equal(problems, config.MCP.Problems) {
			config.Tools, config.MCP.Problems, source = tools, problems, "servers"
		}
	}
	if source != "" {
		a.command(sagas.Configure{Meta: a.meta(source), Config: config}, "")
	}
}

// knownServers is what the agent's MCP servers offer, as far as they were heard.
func (a *agent) knownServers(c *events.AgentConfig) (granted []events.ToolGrant, problems []events.ServerProblem, known bool) {
	if len(c.MCP.Servers) == 0 || a.host.servers == nil {
		return nil, nil, false
	}
	granted, problems, known = a.host.servers.Known(c.MCP.Servers, c.Workspace)
	a.host.maskServers(c.Masking, granted, problems)
	return granted, problems, known
}

// begun asks for advice and for money, as soon as the requests are in line to be stored: what comes of them stays in this process and its
// journal, where it goes to disk behind the requests or not at all. If we die meanwhile, history says that they were asked for, or
// nothing. Models and tools act on the world outside, and wait until everything is stored. A fork that follows its parent takes one step at a
// time.
func (a *agent) begun() {
	t := &a.saga.Turn
	if t.Advice == "" && t.Budget == "" || len(a.flying) == 0 || a.saga.Fork.Following() || a.host.closing.Load() || a.leaving {
		return
	}
	for _, request := range a.saga.Ready() {
		switch r := request.(type) {
		case sagas.AskAdvice, sagas.AskReserve:
			if a.elsewhere(r) { // another host is asked when the request is stored
				continue
			}
			if id := request.RequestID(); a.running[id] == nil {
				a.running[id] = a.dispatch(request)
			}
		}
	}
}

// noted is what the host knows of an agent in memory before the agent is sent something. Nobody writes to it.
type noted struct {
	masking   events.MaskingLevel
	servers   []string // of MCP that it asks; none while it follows a parent
	workspace string
}

// note says it, where it is not what was said.
func (a *agent) note() {
	config, servers := &a.saga.Config, []string(nil)
	if !a.saga.Fork.Following() {
		servers = config.MCP.Servers
	}
	if n := a.noted; n != nil && n.masking == config.Masking && n.workspace == config.Workspace && slices.Equal(n.servers, servers) {
		return
	}
	a.noted = &noted{masking: config.Masking, servers: servers, workspace: config.Workspace}
	a.host.inMemory.Store(a.handle.id, a.noted)
}

// stored acts on what is outstanding now.
func (a *agent) stored() {
	a.note()
	a.sync()
	a.pump()
}

// busy reports whether anything is outstanding: sent, or waited for by the clock.
func (a *agent) busy() bool {
	return len(a.running) > 0 || a.wakeAt != 0 || a.saga.Fork.Following() && !a.saga.Retired
}

// stop lets go of what is under way. Nothing is lost: it is outstanding still when the agent comes back, and what models and tools do goes on
// meanwhile, unless the host closes.
func (a *agent) stop() {
	a.host.inMemory.Delete(a.handle.id)
	gone := a.host.cluster != nil && !a.host.cluster.mine(a.stream)
	for _, sent := range a.running {
		if e, is := sent.(*errand); gone && (!is || !a.host.unrepeatable(e.about.Tool)) {
			sent.abandon() // another host goes on with it; of a call that cannot be repeated it asks for the result
			continue
		}
		sent.leave()
	}
	clear(a.running)
	if a.waker != nil {
		a.waker.Stop()
	}
}

func (a *agent) receive(message any) {
	switch m := message.(type) {
	case late:
		if a.saga.Fork.OnTape() {
			return // the tape has the advice, or waits for it: its time is the parent's
		}
		a.command(sagas.AdviceTimeout{Meta: a.meta("late"), Request: m.request, Detail: "no advice within " + a.host.limits.Advice.String()}, events.Ref(m.request))
	case woke:
		a.rang = true
		if len(a.flying) == 0 { // else what is being stored may be what it rang for; sync sets the clock anew
			tick := sagas.Tick{Meta: a.meta("woke")}
			a.cutOff(tick)
			a.command(tick, "")
		}
		a.sync()
	case again:
		delete(a.running, m.request)
		a.sync()
	default:
		a.receiveDeferred(m)
	}
}

// sync compares what is outstanding with what was sent: new requests are sent, abandoned ones are cancelled. It is called only
// when everything decided is stored, or lingers.
func (a *agent) sync() {
	if len(a.flying) > 0 {
		return
	}
	ready := a.saga.Ready()
	for id, sent := range a.running {
		if !a.saga.Awaits(id) {
			sent.abandon() // answered, or abandoned: this reaches a running model call and a running process tree
			delete(a.running, id)
		}
	}
	if a.host.closing.Load() || a.leaving {
		return // what is not sent now is sent after the restart, or by the next host
	}
	for _, request := range ready {
		id := request.RequestID()
		if id == "" {
			continue
		}
		if _, sent := a.running[id]; !sent && !a.onTape(request) {
			a.running[id] = a.dispatch(request)
		}
	}
	if a.rang {
		a.rang, a.wakeAt = false, 0
	}
	a.setClock(ready)
}

// dispatch sends one request to the actor that can answer it.
func (a *agent) dispatch(request sagas.Request) underway {
	switch r := request.(type) {
	case sagas.AskAdvice:
		return a.askAdvice(r)
	case sagas.AskKnowledge:
		return a.askKnowledge(r)
	case sagas.AskReserve:
		return a.askReserve(r)
	case sagas.AskSettle:
		return a.askSettle(r)
	case sagas.AskUndo:
		return a.askUndo(r)
	case sagas.AskModel:
		e := a.host.inflight.begin(a, Unstored{Request: r.ID, Turn: r.Turn, Model: r.Model})
		a.host.system.Root.Send(a.host.provider, ask[sagas.AskModel]{e, a.handle.id, r, nil})
		return e
	case sagas.AskTool:
		e := a.host.inflight.begin(a, Unstored{Request: r.ID, Turn: r.Turn, Call: r.Call, Tool: r.Tool})
		a.host.system.Root.Send(a.host.tools, ask[sagas.AskTool]{e, a.handle.id, r, a.recordingOf(r)})
		return e
	}
	return asked(func() {})
}

// askAdvice asks homeostasis. The answer is a pure function of the rules, so asking again after a crash costs nothing.
func (a *agent) askAdvice(r sagas.AskAdvice) asked {
	deadline := time.AfterFunc(a.host.limits.Advice, func() { a.send(late{r.ID}) })
	answer := a.earlyAnswer()
	if a.elsewhere(r) {
		ctx, cancel := context.WithCancel(a.host.running)
		a.host.run(func() { a.host.cluster.askAdvice(ctx, r, answer) })
		return func() { deadline.Stop(); cancel() }
	}
	a.host.system.Root.Send(a.host.homeostasis, deliver{id: string(r.Tenant), message: look[sagas.Homeostasis]{func(h sagas.Homeostasis) {
		mode, because := h.Advise(r.Vector, r.Mode)
		answer(sagas.RecordAdvice{Meta: meta(r.ID), Request: r.ID, Mode: mode, Because: because}, events.Ref(r.ID), nil)
	}}})
	return func() { deadline.Stop() }
}

// askReserve asks the wallet, until it decides. It fails closed: without its decision no model is called.
func (a *agent) askReserve(r sagas.AskReserve) asked {
	answer := a.earlyAnswer()
	asking := meta(r.ID)
	asking.ID += events.CommandID("#" + uuid.NewString()) // a refused request may be judged again: that is another decision
	order := &instruction{command: sagas.Reserve{Meta: asking, Request: r.ID, Turn: r.Turn, Amount: r.Amount}}
	if n := len(a.flying); n > 0 && !a.elsewhere(r) {
		order.early, order.needs = true, []*pendingAppend{&a.flying[n-1].append}
	}
	a.instructWallet(r.Wallet, order, r.ID, func(o outcome) {
		at := events.NewRef(events.WalletStream(r.Wallet), o.revision)
		var refused *sagas.RefusalError
		switch e := walletAnswer(o).(type) {
		case events.FundsReserved:
			answer(sagas.RecordReservation{Meta: meta(r.ID), Request: r.ID, Amount: e.Amount}, at, o.after)
		case events.FundsRefused:
			answer(sagas.ReservationRefused{Meta: meta(r.ID), Request: r.ID, Available: e.Available, Reason: e.Reason}, at, o.after)
		default:
			var unreadable *history.UnreadableError
			switch {
			case errors.As(o.err, &refused): // there is no such wallet
				answer(sagas.ReservationRefused{Meta: meta(r.ID), Request: r.ID, Reason: refused.Detail}, events.Ref(r.ID), o.after)
				return
			case errors.As(o.err, &unreadable):
				answer(sagas.ReservationRefused{Meta: meta(r.ID), Request: r.ID, Reason: unreadable.Error()}, events.Ref(r.ID), o.after)
				return
			}
			a.askAgain(r.ID, o.err)
		}
	})
	return func() {}
}

// askSettle tells the wallet what a turn cost, until the wallet has it: money is never left aside.
func (a *agent) askSettle(r sagas.AskSettle) asked {
	answer := a.answer()
	order := &instruction{command: sagas.Settle{Meta: meta(r.ID), Request: r.ID, Turn: r.Turn, Spent: r.Spent}}
	a.instructWallet(r.Wallet, order, r.ID, func(o outcome) {
		for _, event := range o.events {
			if e, ok := event.(events.WalletWarned); ok {
				a.host.log.Warn("budget warning", "wallet", r.Wallet, "percent", e.Percent, "spent", e.Spent, "of", e.Of, "available", e.Available)
			}
		}
		if e, ok := walletAnswer(o).(events.FundsSettled); ok {
			answer(sagas.RecordSettlement{Meta: meta(r.ID), Request: r.ID, Released: e.Released}, events.NewRef(events.WalletStream(r.Wallet), o.revision))
			return
		}
		a.askAgain(r.ID, o.err)
	})
	return func() {}
}

// walletAgain is how long an agent waits before it asks a wallet again that could not answer: another writer took it over, or the
// store was in trouble. The wallet knows a request that it has answered.
const (
	walletAgain = 200 * time.Millisecond
	walletOpens = time.Minute
)

// askAgain sends a request once more in a while. It may be called from any goroutine.
func (a *agent) askAgain(request events.RequestID, err error) {
	if closed(err) {
		return // the host is closing: asked again after the restart
	}
	send, wait := a.send, walletAgain
	var refused *sagas.RefusalError
	if errors.As(err, &refused) { // there is no such wallet: until somebody opens it
		wait = walletOpens
	}
	time.AfterFunc(wait, func() { send(again{request}) })
}

func (a *agent) instructWallet(wallet events.WalletID, in *instruction, request events.RequestID, done func(outcome)) {
	in.origin, in.causation, in.done = a.host.origin, events.Ref(request), done
	if n, stream := a.host.cluster, events.WalletStream(wallet); n != nil && !n.mine(stream) {
		n.instructElsewhere(stream, in)
		return
	}
	a.host.system.Root.Send(a.host.wallets, deliver{id: string(wallet), message: in})
}

// elsewhere reports whether who is asked lives on another host.
func (a *agent) elsewhere(request sagas.Request) bool {
	n := a.host.cluster
	if n == nil {
		return false
	}
	switch r := request.(type) {
	case sagas.AskAdvice:
		return !n.mine(events.HomeostasisStream(r.Tenant))
	case sagas.AskReserve:
		return !n.mine(events.WalletStream(r.Wallet))
	}
	return false
}

// walletAnswer is the event with which a wallet answered, now or when it was first asked; nil if it did not.
func walletAnswer(o outcome) events.Event {
	var known *sagas.DuplicateError
	switch {
	case errors.As(o.err, &known):
		return known.Event
	case o.err == nil && len(o.events) > 0:
		return o.events[0]
	}
	return nil
}

// answer returns the function with which whoever works on a request answers it, from any goroutine. Late and repeated answers
// reach a saga that waits for them no more, and are dropped there.
func (a *agent) answer() func(sagas.Command, events.Ref) {
	answer := a.earlyAnswer()
	return func(command sagas.Command, causation events.Ref) { answer(command, causation, nil) }
}

// earlyAnswer is answer for those who are asked before the request is stored. They say on which append their answer rests.
func (a *agent) earlyAnswer() func(sagas.Command, events.Ref, *pendingAppend) {
	send, origin, taped, early := a.send, a.host.origin, a.saga.Fork.OnTape(), len(a.flying) > 0
	return func(command sagas.Command, causation events.Ref, after *pendingAppend) {
		in := &instruction{command: command, origin: origin, causation: causation, early: early}
		if after != nil {
			in.needs = []*pendingAppend{after}
		}
		if taped {
			send(deferred{in}) // in the parent's order
			return
		}
		send(own{in})
	}
}

// command has the agent decide something that comes from itself.
func (a *agent) command(command sagas.Command, causation events.Ref) {
	a.instruct(&instruction{command: command, origin: a.host.origin, causation: causation})
}

// meta identifies a command of the agent's own: what happened, and after which revision.
func (a *agent) meta(what string) sagas.Meta {
	return sagas.Meta{
		ID: events.CommandID(sagas.InternalPrefix + what + "@" + strconv.FormatInt(int64(a.tip.Revision), 10)),
		At: storage.Now(),
	}
}

// meta identifies the answer to a request.
func meta(request events.RequestID) sagas.Meta {
	return sagas.Meta{ID: events.CommandID(sagas.InternalPrefix + string(request)), At: storage.Now()}
}

// setClock sets the one timer to the earliest time at which something is due.
func (a *agent) setClock(ready []sagas.Request) {
	at := events.Micros(0)
	for _, request := range ready {
		if wake, ok := request.(sagas.Wake); ok {
			at = wake.At
		}
	}
	if at == a.wakeAt {
		return
	}
	a.wakeAt = at
	if at == 0 {
		a.waker.Stop() // a time was set before, so there is a timer
		return
	}
	a.lookAtClock()
	wait := time.Duration(at-a.clock.now(a.tip.Time)) * time.Microsecond
	if a.waker == nil {
		a.waker = time.AfterFunc(wait, func() { a.send(woke{}) })
		return
	}
	a.waker.Reset(wait)
}

// closed reports whether an error says that the host is closing.
func closed(err error) bool {
	return errors.Is(err, storage.ErrClosed) || errors.Is(err, context.Canceled)
}
