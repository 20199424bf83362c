package sagas_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
)

// BenchmarkTurn is what the pure part of a turn of two rounds and one call costs: deciding, with each event applied, encoding
// and chaining the events, and looking up what is outstanding. The agent lives on, as a host's does.
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

// BenchmarkTurnOfMany is a turn of an agent whose conversation has outgrown its window many times. What a turn costs must not grow with the window: a window
// of eight times as many messages is compacted an eighth as often.
func BenchmarkTurnOfMany(b *testing.B) {
	for _, window := range []int64{8_000, 64_000, 512_000} {
		b.Run(strconv.FormatInt(window, 10), func(b *testing.B) {
			l := &liveAgent{b: b, agent: sagas.NewAgent()}
			config := testConfig()
			config.Compaction.Mode, config.Limits.ContextTokens = events.CompactSummarise, window
			l.do(sagas.Create{Meta: sagas.Meta{ID: "create", At: start}, Agent: "a", Config: config})
			for l.agent.Conversation.Summary == nil {
				l.turn()
			}
			b.ReportAllocs()
			for b.Loop() {
				l.turn()
			}
		})
	}
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
	meta := command.Metadata()
	decided, err := l.agent.Advance(command, meta.At)
	if err != nil {
		l.b.Fatalf("%T: %v", command, err)
	}
	for _, event := range decided {
		data, _, err := events.Encode(event)
		if err != nil {
			l.b.Fatal(err)
		}
		l.digest = l.digest.Next(event.Kind(), data)
		l.bytes += len(data)
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
	l.reply(sagas.RecordReply{
		Text: events.Text{Inline: "I look."}, Stop: events.StopCalls, Cost: 1200,
		Calls: []events.ModelCall{{ID: "call_1", Tool: "read", Arguments: json.RawMessage(`{"path": "README.md"}`)}},
		Usage: events.Usage{Input: 800, Output: 30},
	})
	l.do(sagas.RecordResult{Meta: meta, Request: t.Calls[0].Request, Call: "1.1", Text: events.Text{Inline: "# Sample\n\nA sample workspace."}})
	l.reply(sagas.RecordReply{Text: events.Text{Inline: "A README."}, Stop: events.StopEnd, Cost: 1300, Usage: events.Usage{Input: 850, Output: 10}})
	l.do(sagas.RecordSettlement{Meta: meta, Request: l.agent.Settling[0].ID, Released: 97_500})
}

// reply answers the model's request; before it, the one for a summary, if there is one.
func (l *liveAgent) reply(c sagas.RecordReply) {
	t := &l.agent.Turn
	if t.Compaction != nil {
		summary := events.Text{Inline: "There is a README, which was read."}
		l.do(sagas.RecordReply{Meta: sagas.Meta{ID: "~host", At: start}, Request: t.Model, Text: summary, Stop: events.StopEnd, Priced: true})
	}
	c.Meta, c.Request, c.Priced = sagas.Meta{ID: "~host", At: start}, t.Model, true
	l.do(c)
}
