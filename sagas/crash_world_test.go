package sagas_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// world stands for everything around an agent: it answers each request, the same way whenever it is asked, and it outlives the
// host. Wallet and homeostasis are the real sagas.
type world struct {
	t           failer
	scenario    *scenario
	at          events.Micros
	agent       *history[sagas.Agent]
	wallet      *history[sagas.Wallet]
	homeostasis sagas.Homeostasis
	claimed     map[events.RequestID]bool
	runs        map[string]int // of calls that cannot be repeated, by turn and call
	next        int            // step of the scenario
	last        sagas.Command  // the latest from outside
	crash       crashPlan
	crashes     int
}

// scenario is a script for the model and for people.
type scenario struct {
	name   string
	config func(*events.AgentConfig)
	credit events.Money
	// model replies in a round of a turn, having failed so often in it; nil: it never answers.
	model func(turn, round, failures int) sagas.Command
	steps []step
}

// step is what people do once something is so.
type step struct {
	when func(a *sagas.Agent) bool
	do   func(w *world)
}

// crashPlan says after which appends the host dies, and whether it got as far as the effects of what it had sent.
type crashPlan struct {
	after   func(appends int) bool
	effects bool
}

func newWorld(t failer, s *scenario, plan crashPlan) *world {
	w := &world{
		t: t, scenario: s, at: start, agent: newHistory(sagas.NewAgent), wallet: newHistory(sagas.NewWallet),
		homeostasis: sagas.NewHomeostasis(), claimed: map[events.RequestID]bool{}, runs: map[string]int{}, crash: plan,
	}
	if _, err := w.wallet.decide(t, sagas.OpenWallet{Meta: w.inside(), Wallet: "purse", Credit: s.credit}); err != nil {
		t.Fatalf("open the wallet: %v", err)
	}
	config := testConfig()
	config.Knowledge = events.KnowledgeConfig{Tokens: 100}
	if s.config != nil {
		s.config(&config)
	}
	w.outside(sagas.Create{Meta: w.person("create"), Agent: "a", Config: config})
	return w
}

func (w *world) inside() sagas.Meta { return sagas.Meta{ID: "~host", At: w.at} }

func (w *world) person(id string) sagas.Meta { return sagas.Meta{ID: events.CommandID(id), At: w.at} }

// run lets everything happen until nothing is left to do.
func (w *world) run() {
	for range 10_000 {
		if !w.act() {
			return
		}
		w.at += events.Millisecond
	}
	w.t.Fatalf("%s does not come to an end", w.scenario.name)
}

// act does one thing: the scenario's next step, an answer, a person's decision, a timer.
func (w *world) act() bool {
	a := &w.agent.saga
	if w.next < len(w.scenario.steps) && w.scenario.steps[w.next].when(a) {
		w.next++
		w.scenario.steps[w.next-1].do(w)
		return true
	}
	timer := events.Micros(0)
	for _, request := range a.Ready() {
		if wake, ok := request.(sagas.Wake); ok {
			timer = wake.At
		} else if answer := w.effect(request); answer != nil {
			w.decide(answer)
			return true
		}
	}
	if command := w.decision(a); command != nil {
		w.outside(command)
		return true
	}
	if timer != 0 {
		w.at = max(w.at, timer)
		w.decide(sagas.Tick{Meta: w.inside()})
	}
	return timer != 0
}

// decide has the agent decide; the host may die right after the append.
func (w *world) decide(command sagas.Command) {
	w.t.Helper()
	if _, err := w.agent.decide(w.t, command); err != nil {
		w.t.Fatalf("%T: %v", command, err)
	}
	if _, recovered := command.(sagas.Recover); !recovered && w.crash.after != nil && w.crash.after(len(w.agent.ends)) {
		w.die()
	}
}

// outside is a command whose sender remembers it until it knows that it was accepted.
func (w *world) outside(command sagas.Command) {
	w.last = command
	w.decide(command)
}

// die loses all but history and the world. Answers that were under way are lost.
func (w *world) die() {
	w.crashes++
	if w.crash.effects {
		for _, request := range w.agent.saga.Ready() {
			w.effect(request)
		}
	}
	w.agent.saga, w.wallet.saga = w.agent.replay(w.t), w.wallet.replay(w.t)
	var duplicate *sagas.DuplicateError
	if _, err := w.agent.saga.Decide(w.last); !errors.As(err, &duplicate) {
		w.t.Fatalf("%T sent again after a crash gives %v, want a duplicate", w.last, err)
	}
	if w.agent.saga.Turn.Model != "" {
		w.decide(sagas.Recover{Meta: w.inside()})
	}
}

// effect does what a request asks for, and gives the answer; nil when none will ever come.
func (w *world) effect(request sagas.Request) sagas.Command {
	switch r := request.(type) {
	case sagas.AskAdvice:
		mode, because := w.homeostasis.Advise(r.Vector, r.Mode)
		return sagas.RecordAdvice{Meta: w.inside(), Request: r.ID, Mode: mode, Because: because}
	case sagas.AskKnowledge:
		return sagas.RecordRecall{Meta: w.inside(), Request: r.ID, Notes: recalled("prices Prices: Of " + r.Text), Position: 7}
	case sagas.AskReserve:
		answer := w.bank(sagas.Reserve{Meta: w.inside(), Request: r.ID, Turn: r.Turn, Amount: r.Amount})
		if granted, ok := answer.(events.FundsReserved); ok {
			return sagas.RecordReservation{Meta: w.inside(), Request: r.ID, Amount: granted.Amount}
		}
		refused, _ := answer.(events.FundsRefused)
		return sagas.ReservationRefused{Meta: w.inside(), Request: r.ID, Available: refused.Available, Reason: refused.Reason}
	case sagas.AskSettle:
		settled, _ := w.bank(sagas.Settle{Meta: w.inside(), Request: r.ID, Turn: r.Turn, Spent: r.Spent}).(events.FundsSettled)
		return sagas.RecordSettlement{Meta: w.inside(), Request: r.ID, Released: settled.Released}
	case sagas.AskUndo:
		return sagas.RecordUndo{Meta: w.inside(), Ended: events.UndoEnded{Request: r.ID, Written: []string{"a"}, Tree: &r.Tree}}
	case sagas.AskModel:
		return w.model(r)
	case sagas.AskTool:
		return w.tool(r)
	case sagas.Wake:
		return nil
	}
	w.t.Fatalf("no effect for %T", request)
	return nil
}

// bank is the wallet's actor: what was answered before is answered again.
func (w *world) bank(command sagas.Command) events.Event {
	decided, err := w.wallet.decide(w.t, command)
	var duplicate *sagas.DuplicateError
	if errors.As(err, &duplicate) {
		return duplicate.Event
	}
	if err != nil {
		w.t.Fatalf("%T: %v", command, err)
	}
	return decided[0]
}

// summaryRound stands for a request for a summary, which is in no round.
const summaryRound = -1

func (w *world) model(r sagas.AskModel) sagas.Command {
	turn, failures := w.agent.saga.Turn.Number, 0
	for _, fact := range w.agent.facts {
		switch fact.Event.(type) {
		case events.TurnStarted, events.ModelReplied, events.ConversationCompacted:
			failures = 0
		case events.ModelFailed:
			failures++
		}
	}
	checkConversation(w.t, r.Messages)
	if r.Summary {
		r.Round = summaryRound
	}
	switch c := w.scenario.model(turn, r.Round, failures).(type) {
	case sagas.RecordReply:
		c.Meta, c.Request = w.inside(), r.ID
		return c
	case sagas.ReplyFailed:
		c.Meta, c.Request = w.inside(), r.ID
		return c
	}
	return nil
}

// tool runs a call. One that cannot be repeated is claimed first, and not run when the claim is taken.
func (w *world) tool(r sagas.AskTool) sagas.Command {
	if !r.Repeatable {
		if w.claimed[r.ID] {
			return sagas.RecordLoss{Meta: w.inside(), Request: r.ID, Call: r.Call, Detail: "claimed by a host that stopped"}
		}
		w.claimed[r.ID] = true
		w.runs[string(r.Turn)+" "+string(r.Call)]++
	}
	return sagas.RecordResult{
		Meta: w.inside(), Request: r.ID, Call: r.Call, Text: events.Text{Inline: r.Tool + " did " + string(r.Arguments)},
		Tree: &events.Tree{Manifest: &events.BlobRef{Hash: events.HashBytes(r.Arguments), Size: 7}, Files: 1},
	}
}

// decision is what a person decides: calls that wait are approved, but not those whose effect may have happened already.
func (w *world) decision(a *sagas.Agent) sagas.Command {
	for _, call := range a.Turn.Calls {
		if call.Stage != sagas.CallWaiting {
			continue
		}
		meta := w.person(fmt.Sprintf("decide-%s-%s-%v", a.Turn.ID, call.ID, call.Lost))
		if call.Lost {
			return sagas.Deny{Meta: meta, Call: call.ID, By: "ann"}
		}
		approve := sagas.Approve{Meta: meta, Call: call.ID, Digest: call.Digest, By: "ann"}
		switch {
		case call.Found != nil && call.Found.Key != "":
			approve.Scope = events.ScopeSession
		case call.Found != nil:
			approve.Arguments = json.RawMessage(`{"edited":true}`)
		}
		return approve
	}
	if a.Turn.Paused != "" {
		return sagas.Approve{Meta: w.person(fmt.Sprintf("resume-%d", a.Revision)), By: "ann"}
	}
	return nil
}

func says(text string) sagas.Command {
	return sagas.RecordReply{
		Text: events.Text{Inline: text}, Stop: events.StopEnd, Usage: events.Usage{Input: 100, Output: 10}, Cost: 30_000, Priced: true,
	}
}

// calls are tools, one call each, told apart by round and place.
func calls(round int, tools ...string) sagas.Command {
	c := sagas.RecordReply{Stop: events.StopCalls, Usage: events.Usage{Input: 100, Output: 10}, Cost: 30_000, Priced: true}
	for i, tool := range tools {
		c.Calls = append(c.Calls, events.ModelCall{
			ID: fmt.Sprintf("call_%d", i), Tool: tool, Arguments: json.RawMessage(fmt.Sprintf(`{"round": %d, "place": %d}`, round, i)),
		})
	}
	return c
}
