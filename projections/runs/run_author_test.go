package runs_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
)

// author writes the history of one agent from lines that say what happened:
//
//	config KEY=VALUE…       model, prompt, tools, wallet
//	message TEXT            comes in
//	start                   a turn, with the messages that wait
//	deliver                 the messages that wait, to the running turn
//	mode MODE               is advised
//	ask                     the model, for the next round
//	again                   for the same round, after a failure or a restart
//	failed CLASS            so did the model
//	reply TEXT              of the model
//	reply TEXT; TOOL JSON; …  with calls
//	sent CALL, approval CALL, granted CALL, denied CALL, expired CALL, lost CALL
//	returned CALL TEXT, failing CALL TEXT, refused CALL REASON
//	fork                    from here on it is a fork, a day later
//	pause REASON, resume, end OUTCOME REASON
type author struct {
	t       interface{ Fatal(...any) }
	all     []events.Envelope
	now     events.Micros
	agent   events.AgentID
	salt    string // in everything that is an identity
	config  events.AgentConfig
	created bool
	waiting []events.MessageID
	said    int
	turns   int
	round   int
	tries   int
	asked   events.RequestID
	calls   map[events.CallID]events.ModelCall
	sent    map[events.CallID]events.RequestID
}

func newAuthor(t interface{ Fatal(...any) }, agent events.AgentID, salt string) *author {
	return &author{
		t: t, agent: agent, salt: salt, now: 1_767_225_600 * events.Second, // 2026-01-01
		config: events.AgentConfig{Model: "scripted/tour", Wallet: events.WalletID("w" + salt), Tools: []events.ToolGrant{{Name: "read_file"}, {Name: "bash"}}},
	}
}

func (a *author) add(event events.Event) events.RequestID {
	data, version, err := events.Encode(event)
	if err != nil {
		a.t.Fatal(err)
	}
	stream, revision := events.AgentStream(a.agent), events.Revision(len(a.all))
	a.now += 1500
	a.all = append(a.all, events.Envelope{
		Stream: stream, Revision: revision, Position: events.Position(10*len(a.all) + 10), Kind: event.Kind(), Version: version, Time: a.now, Data: data,
	})
	return events.RequestID(events.NewRef(stream, revision))
}

func (a *author) turn() events.TurnID { return events.NewTurnID(a.agent, a.turns) }

// write tells lines.
func (a *author) write(lines ...string) *author {
	if !a.created {
		a.created = true
		a.add(events.AgentCreated{Agent: a.agent, Config: a.config})
	}
	for _, line := range lines {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !a.told(verb, rest) && !a.called(verb, rest) {
			a.t.Fatal("nothing is called " + line)
		}
	}
	return a
}

func (a *author) told(verb, rest string) bool {
	switch verb {
	case "config":
		a.configure(rest)
	case "message":
		a.said++
		id := events.MessageID("m" + strconv.Itoa(a.said))
		a.waiting = append(a.waiting, id)
		a.add(events.MessageReceived{Message: id, Verb: events.Collect, From: a.salt, Text: events.Text{Inline: rest}})
	case "start":
		a.turns, a.round = a.turns+1, 0
		a.add(events.TurnStarted{Turn: a.turn(), Messages: a.waiting})
		a.waiting = nil
	case "deliver":
		a.add(events.MessageDelivered{Turn: a.turn(), Messages: a.waiting})
		a.waiting = nil
	case "fork":
		at := a.now
		a.now += 86_400 * events.Second
		a.add(events.AgentForked{Agent: a.agent, Parent: "parent", Time: at, Config: a.config})
	case "mode":
		a.add(events.AdviceGiven{Request: a.add(events.AdviceRequested{Turn: a.turn()}), Mode: events.OperatingMode(rest)})
	case "ask":
		a.round, a.tries = a.round+1, 1
		a.ask()
	case "again":
		a.tries++
		a.ask()
	case "failed":
		a.add(events.ModelFailed{Request: a.asked, Class: events.ErrorClass(rest), Detail: "busy " + a.salt, RetryAt: a.now + 1})
	case "reply":
		a.reply(rest)
	case "pause":
		a.add(events.TurnPaused{Turn: a.turn(), Reason: events.Reason(rest)})
	case "resume":
		a.add(events.TurnResumed{Turn: a.turn(), By: a.salt})
	case "end":
		outcome, reason, _ := strings.Cut(rest, " ")
		a.add(events.TurnEnded{Turn: a.turn(), Outcome: events.Outcome(outcome), Reason: events.Reason(reason), Rounds: a.round})
	default:
		return false
	}
	return true
}

func (a *author) configure(rest string) {
	for pair := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "model":
			a.config.Model = value
		case "prompt":
			a.config.Prompt = value
		case "wallet":
			a.config.Wallet = events.WalletID(value)
		case "tools":
			a.config.Tools = nil
			for name := range strings.SplitSeq(value, ",") {
				a.config.Tools = append(a.config.Tools, events.ToolGrant{Name: name})
			}
		}
	}
	a.add(events.AgentConfigured{Config: a.config})
}

func (a *author) ask() {
	context := events.Digest{}.Next("context", fmt.Appendf(nil, "%s %d %d", a.salt, a.turns, a.round))
	a.asked = a.add(events.ModelRequested{Turn: a.turn(), Round: a.round, Attempt: a.tries, Model: a.config.Model, Context: context})
}

func (a *author) reply(rest string) {
	a.now += 40_000
	parts := strings.Split(rest, "; ")
	reply := events.ModelReplied{
		Request: a.asked, Text: events.Text{Inline: parts[0]}, Stop: events.StopEnd, Usage: events.Usage{Input: 100, Output: int64(len(rest))},
		Cost: events.Money(10 * len(rest)), Priced: true, Duration: 30_000,
	}
	a.calls, a.sent = map[events.CallID]events.ModelCall{}, map[events.CallID]events.RequestID{}
	for i, text := range parts[1:] {
		tool, arguments, _ := strings.Cut(text, " ")
		call := events.ModelCall{ID: a.salt + strconv.Itoa(i), Tool: tool, Arguments: json.RawMessage(arguments)}
		a.calls[events.NewCallID(a.round, i+1)] = call
		reply.Calls, reply.Stop = append(reply.Calls, call), events.StopCalls
	}
	a.add(reply)
}

// called tells what becomes of calls.
func (a *author) called(verb, rest string) bool {
	name, text, _ := strings.Cut(rest, " ")
	id := events.CallID(name)
	call := a.calls[id]
	switch verb {
	case "approval":
		a.add(events.ApprovalRequested{Turn: a.turn(), Call: id, Tool: call.Tool, Digest: "d", Reason: "policy", Expires: a.now + events.Minute})
	case "granted":
		a.add(events.ApprovalGranted{Call: id, Digest: "d", By: a.salt})
	case "denied":
		a.add(events.ApprovalDenied{Call: id, By: a.salt, Reason: text})
	case "expired":
		a.add(events.ApprovalExpired{Call: id})
	case "sent":
		a.sent[id] = a.add(events.ToolRequested{Turn: a.turn(), Call: id, Tool: call.Tool, Arguments: call.Arguments})
	case "returned", "failing":
		a.now += 2000
		a.add(events.ToolReturned{Request: a.sent[id], Call: id, Text: events.Text{Inline: text}, Failed: verb == "failing", Duration: 1500})
	case "refused":
		a.add(events.ToolRefused{Call: id, Tool: call.Tool, Reason: text})
	case "lost":
		a.add(events.ToolLost{Request: a.sent[id], Call: id, Detail: a.salt})
	default:
		return false
	}
	return true
}

// run folds what was told so far into turns, the running one included.
func (a *author) run() []*runs.RunTurn {
	fold := runs.NewRunFold()
	var turns []*runs.RunTurn
	for i := range a.all {
		if err := fold.Apply(&projections.Recorded{Envelope: &a.all[i]}); err != nil {
			a.t.Fatal(err)
		}
		turns = append(turns, fold.Turns()...)
	}
	if running := fold.Running(); running != nil {
		turns = append(turns, running)
	}
	return turns
}

func sketches(turns []*runs.RunTurn) []runs.RunSketch {
	all := make([]runs.RunSketch, len(turns))
	for i, t := range turns {
		all[i] = t.Sketch()
	}
	return all
}
