package world

import (
	"fmt"
	"slices"
	"strconv"

	"example.com/life/events"
	"example.com/life/sagas"
)

// agent is one agent, what its host does for it, and the people who use it.
type agent struct {
	entity[sagas.Agent]
	world   *World
	id      events.AgentID
	pause   events.Micros // between messages, on average
	until   events.Micros // it is retired then; 0: never
	life    int           // of its host: what an earlier one was told is lost
	asked   map[events.RequestID]bool
	claimed map[events.RequestID]bool // effects that were begun
	judged  map[string]bool           // calls that a person thinks about
	minded  bool                      // a person thinks about the pause
	wakeAt  events.Micros
	script  script
}

// newAgent makes an agent that is created soon.
func (w *World) newAgent(number int) *agent {
	id := events.AgentID("agent-" + strconv.Itoa(number))
	turns := max(w.config.Events/eventsPerTurn/int64(w.config.Agents), 1)
	pause := max(w.config.Span/events.Micros(turns), events.Second)
	a := &agent{
		entity: entity[sagas.Agent]{chain: newChain(events.AgentStream(id)), saga: sagas.NewAgent()},
		world:  w, id: id, pause: pause/2 + w.random.time(0, pause),
		asked: map[events.RequestID]bool{}, claimed: map[events.RequestID]bool{}, judged: map[string]bool{},
	}
	if number > 0 && w.random.oneIn(15) {
		a.until = w.now + w.config.Span/2 + w.random.time(0, w.config.Span/2)
	}
	w.outside(w.random.time(0, min(w.config.Span/20, 5*pause)), func() {
		meta, from := w.person(pick(&w.random, people))
		a.decide(sagas.Create{Meta: meta, Agent: id, Config: w.newConfig(number)}, from)
		w.outside(w.random.time(events.Second, a.pause), a.write)
	})
	return a
}

// newConfig chooses how an agent is set up: most are plain, some have policies and limits that are met.
func (w *World) newConfig(number int) events.AgentConfig {
	r := &w.random
	c := events.AgentConfig{
		Model: pick(r, models).name, Prompt: "You are careful. " + pick(r, words) + ".", Workspace: "/srv/" + pick(r, people),
		Tools: tools, Wallet: events.WalletID("main"), Tenant: pick(r, tenants),
	}
	if number > 0 {
		c.Wallet = w.wallets[1+(number-1)/100].saga.ID
	}
	sometimes := func(n int, do func()) {
		if r.oneIn(n) {
			do()
		}
	}
	sometimes(4, func() { c.Policy.Ask = []string{"bash"} })
	sometimes(12, func() { c.Policy.Ask = append(c.Policy.Ask, "edit_file") })
	sometimes(20, func() { c.Policy.Deny = []string{"bash"} })
	sometimes(3, func() { c.Policy.OnLost = pick(r, []events.OnLost{events.LostAsk, events.LostTell, events.LostEnd}) })
	sometimes(3, func() { c.Policy.OnLimit = events.LimitEnd })
	sometimes(8, func() { c.Limits.Rounds = 4 })
	sometimes(8, func() { c.Limits.Tokens = 12_000 })
	sometimes(10, func() { c.Limits.Money = events.Dollar / 40 })
	sometimes(10, func() { c.Limits.Time = 2 * events.Minute })
	sometimes(12, func() { c.Limits.ToolCalls = 5 })
	sometimes(12, func() { c.Limits.Errors = 3 })
	sometimes(2, func() { c.Limits.ApprovalTime = 2 * hour })
	sometimes(2, func() { c.Limits.ContextTokens = 4_000 })
	sometimes(6, func() { c.Knowledge = events.KnowledgeConfig{Tokens: 200, Notes: 2} })
	sometimes(3, func() { c.Limits.Reserve = events.Dollar / 50 })
	switch number % 8 { // the others are of a build before there was any
	case 5:
		c.Compaction.Mode, c.Limits.ContextTokens = events.CompactSummarise, 4_000
	case 6:
		c.Compaction.Mode, c.Limits.ContextTokens = events.CompactDrop, 4_000
	}
	return c
}

// decide has the agent decide, and then does what there is to do.
func (a *agent) decide(command sagas.Command, from origin) {
	if running := a.saga.Turn.ID; running != "" {
		from.correlation = string(running)
	} else if from.correlation == "" {
		from.correlation = string(command.Metadata().ID)
	}
	if _, err := decide(a.world, &a.entity, command, from); err != nil {
		if unexpected(err) {
			a.world.fail(err)
		}
		return
	}
	a.attend()
}

// self is a command of the agent's own: what happened, and after which revision.
func (a *agent) self(what string) (sagas.Meta, origin) {
	return a.world.inside(what + "@" + strconv.FormatInt(int64(a.last), 10)), origin{actor: host}
}

// attend sends what is outstanding, and brings people what waits for them.
func (a *agent) attend() {
	if a.saga.Turn.ID == "" && len(a.saga.Settling) == 0 {
		clear(a.asked)
		clear(a.claimed)
		clear(a.judged)
	}
	for _, request := range a.saga.Ready() {
		if wake, ok := request.(sagas.Wake); ok {
			a.setClock(wake.At)
		} else if id := request.RequestID(); !a.asked[id] {
			a.asked[id] = true
			a.dispatch(request)
		}
	}
	for i := range a.saga.Turn.Calls {
		if call := &a.saga.Turn.Calls[i]; call.Stage == sagas.CallWaiting {
			a.consider(call)
		}
	}
	if a.saga.Turn.Paused != "" && !a.minded {
		a.minded = true
		a.world.outside(a.world.random.time(events.Minute, 3*hour), a.unpause)
	}
}

func (a *agent) setClock(at events.Micros) {
	if at == a.wakeAt {
		return
	}
	a.wakeAt = at
	a.later(max(at-a.world.now, 0), func() {
		if a.wakeAt == at {
			a.wakeAt = 0
		}
		meta, from := a.self("woke")
		a.decide(sagas.Tick{Meta: meta}, from)
	})
}

// later does something unless the host stops before.
func (a *agent) later(wait events.Micros, do func()) {
	life := a.life
	a.world.after(wait, func() {
		if a.life == life {
			do()
		}
	})
}

// write is a person with a message, or, once in a while, with something else.
func (a *agent) write() {
	w := a.world
	r := &w.random
	if a.saga.Retired {
		return
	}
	w.outside(w.awake(a.pause/4+r.time(0, 2*a.pause)), a.write)
	meta, from := w.person(pick(r, people))
	switch {
	case a.until != 0 && w.now >= a.until:
		a.decide(sagas.Retire{Meta: meta, Reason: "its work is done"}, from)
	case a.saga.Quarantined != "":
		a.decide(sagas.Release{Meta: meta, By: from.actor}, from)
	case r.oneIn(400):
		a.decide(sagas.Quarantine{Meta: w.inside("circuit@" + strconv.FormatInt(int64(a.last), 10)), Reason: "it failed again and again", Failures: 3}, origin{actor: host})
	case a.saga.Turns%60 == 59 && !a.saga.Compact && a.saga.Config.Compaction.Mode != "":
		a.decide(sagas.Compact{Meta: meta, By: from.actor}, from)
	case r.oneIn(100):
		config := a.saga.Config
		config.Prompt, config.Model = r.text().Inline, pick(r, models).name
		a.decide(sagas.Configure{Meta: meta, Config: config}, from)
	default:
		a.decide(sagas.Send{Meta: meta, Verb: pick(r, []events.Verb{events.Collect, events.Collect, events.Collect, events.Followup}), From: from.actor, Text: r.text()}, from)
	}
}

// awake moves most of what would happen at night to the next morning.
func (w *World) awake(wait events.Micros) events.Micros {
	switch clock := (w.now + wait) % day / hour; {
	case clock >= 6 && clock < 22, w.random.oneIn(5):
		return wait
	default:
		return wait + (30-clock)%24*hour
	}
}

// consider has a person decide about a call, or forget to.
func (a *agent) consider(call *sagas.Call) {
	r := &a.world.random
	id, digest, key := call.ID, call.Digest, fmt.Sprint(a.saga.Turn.ID, " ", call.ID, " ", call.Lost)
	if a.judged[key] {
		return
	}
	a.judged[key] = true
	if r.oneIn(9) {
		return // it will expire
	}
	wait := r.time(10*events.Second, 90*events.Minute)
	if r.oneIn(2) {
		wait = r.time(5*events.Second, 2*events.Minute)
	}
	deny, bound := r.oneIn(6), r.oneIn(2)
	a.world.outside(wait, func() {
		meta, from := a.world.person(pick(r, people))
		if deny {
			reason := ""
			if bound {
				reason = pick(r, words)
			}
			a.decide(sagas.Deny{Meta: meta, Call: id, By: from.actor, Reason: reason}, from)
			return
		}
		approve := sagas.Approve{Meta: meta, Call: id, By: from.actor}
		if bound {
			approve.Digest = digest
		}
		a.decide(approve, from)
	})
}

// unpause is a person who lets a paused turn go on, or not.
func (a *agent) unpause() {
	a.minded = false
	if a.saga.Turn.Paused == "" {
		return
	}
	r := &a.world.random
	meta, from := a.world.person(pick(r, people))
	if r.oneIn(4) {
		a.decide(sagas.Deny{Meta: meta, By: from.actor, Reason: "enough for today"}, from)
		return
	}
	a.decide(sagas.Approve{Meta: meta, By: from.actor}, from)
}

// stopHosts stops the host every few days, for no reason that history knows of.
func (w *World) stopHosts() {
	w.stopHost()
	w.outside(w.random.time(hour, 6*day), w.stopHosts)
}

// stopHost has the host stop and start again. What was under way is lost, but not what was stored.
func (w *World) stopHost() {
	for _, a := range w.agents {
		if a.saga.Turn.ID == "" && len(a.saga.Settling) == 0 {
			continue
		}
		a.life++
		a.wakeAt = 0
		clear(a.asked)
		w.after(w.random.time(events.Second, events.Minute), a.recover)
	}
}

// recover is what a host does with an agent that had work outstanding.
func (a *agent) recover() {
	if a.saga.Turn.Model != "" {
		meta, from := a.self("recovered")
		a.decide(sagas.Recover{Meta: meta}, from)
		return
	}
	a.attend()
}

// walletOf finds a wallet; every agent's was opened.
func (w *World) walletOf(id events.WalletID) *purse {
	return w.wallets[slices.IndexFunc(w.wallets, func(p *purse) bool { return p.saga.ID == id })]
}
