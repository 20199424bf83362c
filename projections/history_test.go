package projections_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/life/events"
	"example.com/life/projections"
)

// teller writes a history that could have been: agents whose turns ask, are answered, fail, wait for people and are paid for.
type teller struct {
	t         interface{ Fatal(...any) }
	all       []events.Envelope
	revisions map[events.Stream]events.Revision
	now       events.Micros
}

func newTeller(t interface{ Fatal(...any) }) *teller {
	return &teller{t: t, revisions: map[events.Stream]events.Revision{}, now: 1_767_225_600 * events.Second} // 2026-01-01
}

// record appends an event, and returns the id of the request that it is.
func (h *teller) record(stream events.Stream, event events.Event) events.RequestID {
	data, version, err := events.Encode(event)
	if err != nil {
		h.t.Fatal(err)
	}
	revision := h.revisions[stream]
	h.revisions[stream]++
	h.now += 1500
	h.all = append(h.all, events.Envelope{
		Stream: stream, Revision: revision, Position: events.Position(10*len(h.all) + 10), Kind: event.Kind(), Version: version, Time: h.now, Data: data,
	})
	return events.RequestID(events.NewRef(stream, revision))
}

// open opens a wallet and creates agents that pay from it.
func (h *teller) open(wallet events.WalletID, agents ...events.AgentID) {
	h.record(events.WalletStream(wallet), events.WalletOpened{Wallet: wallet, Credit: 10 * events.Dollar})
	for _, agent := range agents {
		h.record(events.AgentStream(agent), events.AgentCreated{Agent: agent, Config: events.AgentConfig{Model: "scripted/tour", Wallet: wallet}})
	}
}

// turn tells a turn of rounds that each make one call, of which some go wrong as trouble says.
func (h *teller) turn(agent events.AgentID, wallet events.WalletID, number, rounds, trouble int) {
	stream, purse, turn := events.AgentStream(agent), events.WalletStream(wallet), events.NewTurnID(agent, number)
	text := events.Text{Inline: strings.Repeat(`It looked at the file "a.go" and said what it saw. `, 8)}
	message := events.MessageID(fmt.Sprintf("m%d", number))
	h.record(stream, events.MessageReceived{Message: message, Verb: events.Collect, From: "ada", Text: text})
	h.record(stream, events.TurnStarted{Turn: turn, Messages: []events.MessageID{message}})
	advice := h.record(stream, events.AdviceRequested{Turn: turn})
	budget := h.record(stream, events.BudgetRequested{Turn: turn, Wallet: wallet, Amount: 500_000})
	h.record(stream, events.AdviceGiven{Request: advice, Mode: []events.OperatingMode{events.ModeExecute, events.ModeVerify}[number%2], Because: []string{"default"}})
	h.record(purse, events.FundsReserved{Request: budget, Turn: turn, Amount: 500_000})
	h.record(stream, events.BudgetGranted{Request: budget, Amount: 500_000})
	cost := events.Money(0)
	for round := range rounds {
		cost += h.round(stream, turn, round+1, trouble, round+1 < rounds)
	}
	h.record(stream, events.TurnEnded{Turn: turn, Outcome: events.Done, Rounds: rounds, ToolCalls: rounds - 1, Cost: cost})
	settle := h.record(stream, events.SettlementRequested{Turn: turn, Wallet: wallet, Spent: cost})
	h.record(purse, events.FundsSettled{Request: settle, Turn: turn, Spent: cost, Released: 500_000 - cost})
	h.record(stream, events.SettlementRecorded{Request: settle, Released: 500_000 - cost})
}

func (h *teller) round(stream events.Stream, turn events.TurnID, round, trouble int, calls bool) events.Money {
	text := events.Text{Inline: strings.Repeat("What was found, line by line, with nothing left out.\n", 10)}
	model := h.record(stream, events.ModelRequested{Turn: turn, Round: round, Attempt: 1, Model: "openai/gpt-4o-mini"})
	if trouble%5 == 1 {
		h.record(stream, events.ModelFailed{Request: model, Class: events.ErrorOverloaded, Detail: "busy", RetryAt: h.now + events.Second})
		model = h.record(stream, events.ModelRequested{Turn: turn, Round: round, Attempt: 2, Model: "openai/gpt-4o-mini"})
	}
	h.now += 900_000
	cost := events.Money(1234 + 200_000*(trouble%4))
	reply := events.ModelReplied{
		Request: model, Text: text, Stop: events.StopEnd, Usage: events.Usage{Input: 1200, Output: 80}, Cost: cost, Priced: trouble%3 != 0, Duration: 899_000,
	}
	if !calls {
		h.record(stream, reply)
		return cost
	}
	arguments := json.RawMessage(`{"path":"docs/architecture.md"}`)
	reply.Stop, reply.Calls = events.StopCalls, []events.ModelCall{{ID: "call_1", Tool: "read_file", Arguments: arguments}}
	h.record(stream, reply)
	call := events.NewCallID(round, 1)
	if trouble%7 == 2 {
		h.record(stream, events.ApprovalRequested{Turn: turn, Call: call, Tool: "read_file", Reason: "policy", Expires: h.now + events.Minute})
		h.now += 5 * events.Second
		h.record(stream, events.ApprovalGranted{Call: call, By: "ada"})
	}
	request := h.record(stream, events.ToolRequested{Turn: turn, Call: call, Tool: "read_file", Arguments: arguments})
	h.now += 3000
	if trouble%11 == 3 {
		h.record(stream, events.ToolLost{Request: request, Call: call})
	} else {
		h.record(stream, events.ToolReturned{Request: request, Call: call, Text: text, Failed: trouble%5 == 2, Duration: 2000})
	}
	return cost
}

// apply folds events, those of the kinds that the projection needs.
func apply(t testing.TB, spec *projections.Spec, fold projections.Fold, all []events.Envelope) {
	for i := range all {
		if needs(spec, all[i].Kind) {
			if err := fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func needs(spec *projections.Spec, kind events.Kind) bool {
	for _, prefix := range spec.Kinds {
		if strings.HasPrefix(string(kind), prefix) {
			return true
		}
	}
	return false
}
