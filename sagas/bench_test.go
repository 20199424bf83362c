package sagas_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
)

// BenchmarkTurn is what the pure part of a turn of two rounds and one call costs: deciding, encoding and chaining each event,
// applying it, and looking up what is outstanding. The agent lives on, as a host's does.
func BenchmarkTurn(b *testing.B) {
	l := &liveAgent{b: b, agent: sagas.NewAgent()}
	l.do(sagas.Create{Meta: sagas.Meta{ID: "create", At: start}, Agent: "a", Config: testConfig()})
	l.bytes, l.events = 0, 0
	turns := 0
	b.ReportAllocs()
	for b.Loop() {
		l.turn()
		turns++
	}
	b.ReportMetric(float64(l.bytes)/float64(turns), "stored-B/op")
	b.ReportMetric(float64(l.events)/float64(turns), "events/op")
}

// liveAgent does what an actor does, without a store.
type liveAgent struct {
	b      *testing.B
	agent  sagas.Agent
	digest events.Digest
	ready  []sagas.Request
	bytes  int
	events int
}

func (l *liveAgent) do(command sagas.Command) {
	decided, err := l.agent.Decide(command)
	if err != nil {
		l.b.Fatalf("%T: %v", command, err)
	}
	meta := command.Metadata()
	for _, event := range decided {
		data, _, err := events.Encode(event)
		if err != nil {
			l.b.Fatal(err)
		}
		l.digest = l.digest.Next(event.Kind(), data)
		l.bytes += len(data)
		l.agent = l.agent.Apply(sagas.Fact{Event: event, Revision: l.agent.Revision + 1, Time: meta.At, Command: meta.ID})
	}
	l.events += len(decided)
	l.ready = l.agent.Ready()
}

func (l *liveAgent) turn() {
	meta := sagas.Meta{ID: "~host", At: start}
	t := &l.agent.Turn
	l.do(sagas.Send{
		Meta: sagas.Meta{ID: events.CommandID("m" + strconv.Itoa(l.agent.Turns)), At: start}, Verb: events.Collect,
		Text: events.Text{Inline: "What is in the workspace?"},
	})
	l.do(sagas.RecordAdvice{Meta: meta, Request: t.Advice, Mode: events.ModeExecute})
	l.do(sagas.RecordReservation{Meta: meta, Request: t.Budget, Amount: t.Requested})
	l.do(sagas.RecordReply{
		Meta: meta, Request: t.Model, Text: events.Text{Inline: "I look."}, Stop: events.StopCalls, Priced: true, Cost: 1200,
		Calls: []events.ModelCall{{ID: "call_1", Tool: "read", Arguments: json.RawMessage(`{"path": "README.md"}`)}},
		Usage: events.Usage{Input: 800, Output: 30},
	})
	l.do(sagas.RecordResult{Meta: meta, Request: t.Calls[0].Request, Call: "1.1", Text: events.Text{Inline: "# Sample\n\nA sample workspace."}})
	l.do(sagas.RecordReply{
		Meta: meta, Request: t.Model, Text: events.Text{Inline: "A README."}, Stop: events.StopEnd, Priced: true, Cost: 1300,
		Usage: events.Usage{Input: 850, Output: 10},
	})
	l.do(sagas.RecordSettlement{Meta: meta, Request: l.agent.Settling[0].ID, Released: 97_500})
}
