package world

import (
	"encoding/json"
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// script is what a model has in mind for a turn.
type script struct {
	turn   events.TurnID
	rounds int
	loops  bool // it makes the same call again and again
}

// dispatch does what a request asks for, which takes its time.
func (a *agent) dispatch(request sagas.Request) {
	r := &a.world.random
	switch ask := request.(type) {
	case sagas.AskAdvice:
		a.advise(ask)
	case sagas.AskKnowledge:
		a.inform(ask)
	case sagas.AskReserve:
		a.later(r.time(100, 3000), func() { a.reserve(ask) })
	case sagas.AskSettle:
		a.later(r.time(100, 3000), func() { a.settle(ask) })
	case sagas.AskModel:
		a.askModel(ask)
	case sagas.AskTool:
		a.runTool(ask)
	}
}

// answer gives the agent an answer to a request after a while.
func (a *agent) answer(wait events.Micros, request events.RequestID, causation events.Ref, command func(sagas.Meta) sagas.Command) {
	a.later(wait, func() {
		a.decide(command(a.world.inside(string(request))), origin{actor: host, causation: causation})
	})
}

func (a *agent) advise(ask sagas.AskAdvice) {
	r := &a.world.random
	if r.oneIn(200) {
		a.answer(250*events.Millisecond, ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
			return sagas.AdviceTimeout{Meta: meta, Request: ask.ID, Detail: "no advice within 250ms"}
		})
		return
	}
	mode, because := a.world.tenants[ask.Tenant].saga.Advise(ask.Vector, ask.Mode)
	a.answer(r.time(50, 2000), ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
		return sagas.RecordAdvice{Meta: meta, Request: ask.ID, Mode: mode, Because: because}
	})
}

func (a *agent) reserve(ask sagas.AskReserve) {
	p := a.world.walletOf(ask.Wallet)
	a.world.commands++
	meta := a.world.inside(fmt.Sprintf("%s#%d", ask.ID, a.world.commands)) // a refused request may be judged again: that is another decision
	decided := p.decide(sagas.Reserve{Meta: meta, Request: ask.ID, Turn: ask.Turn, Amount: ask.Amount}, origin{actor: host, causation: events.Ref(ask.ID)})
	because := events.NewRef(p.stream, p.last)
	a.answer(a.world.random.time(50, 1000), ask.ID, because, func(meta sagas.Meta) sagas.Command {
		switch e := decided.(type) {
		case events.FundsReserved:
			return sagas.RecordReservation{Meta: meta, Request: ask.ID, Amount: e.Amount}
		case events.FundsRefused:
			p.refill()
			return sagas.ReservationRefused{Meta: meta, Request: ask.ID, Available: e.Available, Reason: e.Reason}
		}
		return sagas.ReservationRefused{Meta: meta, Request: ask.ID, Reason: "the wallet does not answer"}
	})
}

func (a *agent) settle(ask sagas.AskSettle) {
	p := a.world.walletOf(ask.Wallet)
	meta := a.world.inside(string(ask.ID))
	decided := p.decide(sagas.Settle{Meta: meta, Request: ask.ID, Turn: ask.Turn, Spent: ask.Spent}, origin{actor: host, causation: events.Ref(ask.ID)})
	settled, _ := decided.(events.FundsSettled) //nolint:errcheck // a wallet settles whatever it is asked to
	a.answer(a.world.random.time(50, 1000), ask.ID, events.NewRef(p.stream, p.last), func(meta sagas.Meta) sagas.Command {
		return sagas.RecordSettlement{Meta: meta, Request: ask.ID, Released: settled.Released}
	})
}

func (a *agent) askModel(ask sagas.AskModel) {
	r := &a.world.random
	if a.script.turn != ask.Turn {
		a.script = script{turn: ask.Turn, rounds: 1 + min(r.below(6), r.below(6)), loops: r.oneIn(120)}
		if a.script.loops {
			a.script.rounds = r.between(4, 6)
		}
		a.disturb(ask.Turn)
	}
	took := r.time(600*events.Millisecond, 30*events.Second)
	a.answer(took, ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
		if r.oneIn(30) {
			return a.failure(meta, &ask)
		}
		if ask.Summary {
			return a.summary(meta, &ask, took)
		}
		return a.reply(meta, &ask, took)
	})
}

// disturb has a person, now and then, write while a turn runs, or stop it.
func (a *agent) disturb(turn events.TurnID) {
	r := &a.world.random
	if r.oneIn(12) {
		verb := pick(r, []events.Verb{events.Steer, events.Steer, events.Interrupt, events.Collect, events.Followup})
		a.world.outside(r.time(events.Second, events.Minute), func() {
			meta, from := a.world.person(pick(r, people))
			a.decide(sagas.Send{Meta: meta, Verb: verb, From: from.actor, Text: r.text()}, from)
		})
	}
	if r.oneIn(40) {
		a.world.outside(r.time(events.Second, 2*events.Minute), func() {
			meta, from := a.world.person(pick(r, people))
			a.decide(sagas.Cancel{Meta: meta, Turn: turn, By: from.actor}, from)
		})
	}
}

func (a *agent) failure(meta sagas.Meta, ask *sagas.AskModel) sagas.Command {
	r := &a.world.random
	c := sagas.ReplyFailed{Meta: meta, Request: ask.ID, Class: events.ErrorOverloaded, Detail: "503 Service Unavailable"}
	switch r.below(24) {
	case 0:
		c.Class, c.Detail = events.ErrorContext, "the conversation is too long for the model"
	case 1:
		c.Class, c.Detail = events.ErrorRefused, "the provider refused: policy"
	case 2, 3, 4, 5, 6, 7:
		c.Class, c.Detail, c.RetryAfter = events.ErrorRateLimited, "429 Too Many Requests", r.time(events.Second, 20*events.Second)
	case 8, 9, 10:
		c.Class, c.Detail = events.ErrorTimeout, "no answer within 10m0s"
	case 11, 12:
		c.Class, c.Detail = events.ErrorTruncated, "the stream ended before the reply did"
	}
	return c
}

// summary is what a model writes about the messages that are to be left out; now and then it is too long, or none.
func (a *agent) summary(meta sagas.Meta, ask *sagas.AskModel, took events.Micros) sagas.Command {
	r := &a.world.random
	shown := len(ask.Messages[0].Text.Inline)
	c := sagas.RecordReply{
		Meta: meta, Request: ask.ID, Stop: events.StopEnd, Usage: events.Usage{Input: int64(shown / 4), Output: 200}, Cost: 400, Priced: true, Duration: took,
		Text: r.text(),
	}
	if r.oneIn(10) {
		c.Text = events.Text{}
	}
	return c
}

// reply calls tools in every round but the last.
func (a *agent) reply(meta sagas.Meta, ask *sagas.AskModel, took events.Micros) sagas.Command {
	r := &a.world.random
	c := sagas.RecordReply{Meta: meta, Request: ask.ID, Text: r.text(), Stop: events.StopEnd, Duration: took}
	if ask.Round < a.script.rounds {
		c.Stop = events.StopCalls
		c.Calls = a.calls(ask.Round)
		if r.oneIn(2) {
			c.Text = events.Text{}
		}
	} else if r.oneIn(80) {
		if c.Stop = pick(r, []events.StopReason{events.StopLength, events.StopLength, events.StopFiltered}); c.Stop == events.StopLength {
			c.Met = pick(r, []events.Bound{"", events.BoundWindow, events.BoundEndpoint})
		}
	}
	c.Usage = events.Usage{Input: 400 + int64(len(ask.Messages)*r.between(40, 70)), Output: int64(r.between(30, 400))}
	if r.oneIn(2) {
		c.Usage.Cached = c.Usage.Input / 2
	}
	for _, m := range models {
		if m.name == ask.Model && m.output > 0 {
			c.Cost, c.Priced = events.Money((c.Usage.Input*m.input+c.Usage.Output*m.output)/1000), true
		}
	}
	if r.oneIn(4) {
		c.Model = "gpt-4o-mini-2024-07-18"
	}
	return c
}

func (a *agent) calls(round int) []events.ModelCall {
	r := &a.world.random
	if a.script.loops {
		return []events.ModelCall{{ID: fmt.Sprintf("call_%d", round), Tool: "list_dir", Arguments: json.RawMessage(`{"path":"."}`)}}
	}
	calls := make([]events.ModelCall, 1+min(r.below(3), r.below(3)))
	for i := range calls {
		calls[i] = r.call(fmt.Sprintf("call_%08x", r.next()>>32))
	}
	return calls
}

// call is one that makes sense, or, now and then, one that does not.
func (r *random) call(id string) events.ModelCall {
	tool, arguments := pick(r, tools).Name, map[string]any{"path": pick(r, files)}
	switch tool {
	case "bash":
		if r.oneIn(2) {
			tool = "read_file" // commands are rarer than the rest
			break
		}
		arguments = map[string]any{"command": pick(r, commands)}
	case "grep":
		arguments["pattern"] = pick(r, words)
	case "write_file":
		arguments["content"] = r.text().Inline
	case "edit_file":
		arguments["old"], arguments["new"] = pick(r, words), r.text().Inline
	case "read_file":
		arguments["lines"] = r.between(10, 500)
	}
	encoded, _ := json.Marshal(arguments) //nolint:errcheck,errchkjson // strings and numbers always encode
	switch {
	case r.oneIn(150):
		tool = "browse"
	case r.oneIn(400):
		encoded = encoded[:len(encoded)-2]
	}
	return events.ModelCall{ID: id, Tool: tool, Arguments: encoded}
}

// runTool runs a call. One that cannot be repeated is claimed first, and is lost when it was begun before.
func (a *agent) runTool(ask sagas.AskTool) {
	w := a.world
	r := &w.random
	if !ask.Repeatable {
		if a.claimed[ask.ID] {
			a.answer(r.time(100, 2000), ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
				return sagas.RecordLoss{Meta: meta, Request: ask.ID, Call: ask.Call, Detail: "the host that ran it stopped"}
			})
			return
		}
		a.claimed[ask.ID] = true
		claim := newChain(events.EffectStream(ask.ID))
		w.record(&claim, w.inside(string(ask.ID)), []events.Event{events.EffectClaimed{Request: ask.ID, Tool: ask.Tool, Host: host}},
			origin{actor: host, correlation: string(ask.Turn), causation: events.Ref(ask.ID)})
	}
	took := r.time(500, 40*events.Millisecond)
	if ask.Tool == "bash" {
		took = r.time(20*events.Millisecond, 40*events.Second)
		if r.oneIn(50) { // it brings the host down
			w.outside(took/2, w.stopHost)
		}
	}
	text, failed := r.text(), r.oneIn(14)
	if failed {
		text.Inline = "error: " + text.Inline
	}
	if a.script.loops && a.script.rounds != 5 { // what it finds stays the same; with five rounds it polls
		text, failed = events.Text{Inline: "[the directory is empty]"}, false
	}
	a.answer(took+r.time(100, 2000), ask.ID, events.Ref(ask.ID), func(meta sagas.Meta) sagas.Command {
		return sagas.RecordResult{Meta: meta, Request: ask.ID, Call: ask.Call, Text: text, Failed: failed, Duration: took}
	})
}
