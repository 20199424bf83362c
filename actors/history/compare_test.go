package history_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// telling writes agents' histories.
type telling struct {
	t       *testing.T
	journal storage.Journal
	count   map[events.Stream]int
	turns   map[string]int
	running map[string]string // that runs, by agent
}

func (w *telling) add(agent string, kind events.Kind, data string) string {
	stream := events.AgentStream(events.AgentID(agent))
	e := events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Correlation: w.running[agent], Time: events.Micros(w.count[stream]) * events.Millisecond, Data: []byte(data)}
	if _, err := w.journal.Append(w.t.Context(), stream, storage.ExpectAny, []events.Envelope{e}); err != nil {
		w.t.Fatal(err)
	}
	w.count[stream]++
	return fmt.Sprintf("%s@%d", stream, w.count[stream]-1)
}

// begin writes a turn up to its first request; its messages are numbered by it.
func (w *telling) begin(agent, text string) (turn, request string) {
	w.turns[agent]++
	n := w.turns[agent]
	turn = fmt.Sprintf("%s/%d", agent, n)
	w.add(agent, "message.received", fmt.Sprintf(`{"message":"m%d","verb":"collect","text":%q}`, n, text))
	w.running[agent] = turn
	w.add(agent, "turn.started", fmt.Sprintf(`{"turn":%q,"messages":["m%d"]}`, turn, n))
	return turn, w.ask(agent, turn, 1)
}

func (w *telling) ask(agent, turn string, round int) string {
	context := events.Digest{}.Next("x", []byte(turn))
	return w.add(agent, "model.requested", fmt.Sprintf(`{"turn":%q,"round":%d,"attempt":1,"model":"fake/one","context":%q}`, turn, round, context))
}

func (w *telling) reply(agent, request, rest string) {
	w.add(agent, "model.replied", fmt.Sprintf(`{"request":%q,%s,"usage":{"input":"7","output":"5"},"cost":"11","priced":true,"duration_us":"1"}`, request, rest))
}

func (w *telling) end(agent, turn string) {
	w.add(agent, "turn.ended", fmt.Sprintf(`{"turn":%q,"outcome":"done","rounds":1,"tool_calls":0,"usage":{"input":"7","output":"5"},"cost":"11"}`, turn))
	delete(w.running, agent)
}

// turn writes a turn of one round.
func (w *telling) turn(agent, text, reply string) {
	turn, request := w.begin(agent, text)
	w.reply(agent, request, fmt.Sprintf(`"text":%q,"stop":"end"`, reply))
	w.end(agent, turn)
}

func (w *telling) create(agents ...string) {
	for _, agent := range agents {
		w.add(agent, "agent.created", fmt.Sprintf(`{"agent":%q,"config":{"model":"fake/one","wallet":"main","tenant":"local","limits":{},"policy":{}}}`, agent))
	}
}

// fork writes the first event of a fork, whose turns go on from those of the parent.
func (w *telling) fork(agent, parent string, at, turns int) {
	w.add(agent, "agent.forked", fmt.Sprintf(`{"agent":%q,"parent":%q,"at":"%d","config":{"model":"fake/one","prompt":"other","wallet":"main","tenant":"local","limits":{},"policy":{}}}`,
		agent, parent, at))
	w.turns[agent] = turns
}

// tellTo returns a reader and a way to write history.
func tellTo(t *testing.T) (*history.Reader, *telling) {
	journal := actorstest.NewMemory()
	return reader(journal, nil), newTelling(t, journal)
}

func newTelling(t *testing.T, journal storage.Journal) *telling {
	return &telling{t: t, journal: journal, count: map[events.Stream]int{}, turns: map[string]int{}, running: map[string]string{}}
}

// sames is the sameness of all pairs.
func sames(c *history.Comparison) string {
	var all []string
	for _, p := range c.Pairs {
		all = append(all, fmt.Sprintf("%s×%d", p.Same, p.Turns))
	}
	return strings.Join(all, " ")
}

// TestCompare: two agents that nothing connects, over many pages.
func TestCompare(t *testing.T) {
	host, w := tellTo(t)
	w.create("a", "b")
	for i := range 1500 {
		text := fmt.Sprintf("message %d", i)
		w.turn("a", text, "reply "+text)
		if i == 1000 {
			w.turn("b", text, "another\nreply")
		} else {
			w.turn("b", text, "reply "+text)
		}
	}
	told := int64(0)
	c, err := host.Compare(t.Context(), history.CompareOrder{A: "a", B: "b"}, func(read int64) { told = read })
	if err != nil {
		t.Fatal(err)
	}
	if c.Equal || c.Shared != nil || sames(&c)[:len("equal×1000 differ×1 asked×1")] != "equal×1000 differ×1 asked×1" || told < 14_000 {
		t.Errorf("equal %v, shared %v, told %d, %.200s", c.Equal, c.Shared, told, sames(&c))
	}
	if len(c.Pairs) != 501 || c.A.Totals.Turns != 1500 || c.B.Totals.Cost != 1500*11 || c.A.Revision != 7500 || c.B.Events != 7501 {
		t.Errorf("%d pairs, %+v, %+v", len(c.Pairs), c.A, c.B)
	}
	if d := c.First; d == nil || d.What != runs.AspectReply || d.TextA != "reply message 1000" || d.TextB != "another\nreply" || d.Cut {
		t.Errorf("first difference: %+v", d)
	}
	if c.Turn == nil || c.Turn.A.Turn != "a/1001" || len(c.Turn.Rounds) != 1 || len(c.Turn.Rounds[0].Differs) != 1 {
		t.Errorf("first turn that differs: %+v", c.Turn)
	}
	c, err = host.Compare(t.Context(), history.CompareOrder{A: "b", B: "a", Turn: "a/3", Pairs: 2}, nil)
	if err != nil || len(c.Pairs) != 2 || c.More != 499 || c.Turn == nil || c.Turn.First != nil || c.Turn.A.Turn != "b/3" {
		t.Errorf("the other way round: %v, %d pairs and %d more, %+v", err, len(c.Pairs), c.More, c.Turn)
	}
}

// TestCompareForks: what a fork has from its parent is not read, wherever it was forked.
func TestCompareForks(t *testing.T) {
	host, w := tellTo(t)
	w.create("a")
	for i := range 100 {
		w.turn("a", fmt.Sprint("message ", i), "yes")
	}
	w.fork("b", "a", 450, 90) // between two turns
	w.fork("c", "a", 448, 90) // within a turn, before the reply
	w.add("c", "model.replied", `{"request":"agent-a@448","text":"no","stop":"end","usage":{"input":"7","output":"5"},"cost":"11","priced":true,"duration_us":"1"}`)
	w.end("c", "a/90")
	w.fork("d", "c", 2, 90) // a fork of a fork, after its turn
	for i := 90; i < 100; i++ {
		w.turn("b", fmt.Sprint("message ", i), "yes")
		w.turn("d", fmt.Sprint("message ", i), "yes")
	}
	for _, test := range []struct {
		a, b   events.AgentID
		shared history.SharedHistory
		read   int64 // of a's side
		sames  string
		first  runs.Aspect
	}{
		{"a", "b", history.SharedHistory{Agent: "a", Revision: 450, Turns: 90}, 50, strings.TrimSpace(strings.Repeat("asked×1 ", 10)), runs.AspectRequest},
		{"a", "c", history.SharedHistory{Agent: "a", Revision: 448, Turns: 89}, 54, "differ×1" + strings.Repeat(" only_a×1", 10), runs.AspectReply},
		{"b", "c", history.SharedHistory{Agent: "a", Revision: 448, Turns: 89}, 55, "differ×1" + strings.Repeat(" only_a×1", 10), runs.AspectReply},
		{"c", "d", history.SharedHistory{Agent: "c", Revision: 2, Turns: 90}, 0, strings.TrimSpace(strings.Repeat("only_b×1 ", 10)), runs.AspectTurn},
		{"b", "d", history.SharedHistory{Agent: "a", Revision: 448, Turns: 89}, 55, "differ×1" + strings.Repeat(" asked×1", 10), runs.AspectReply},
	} {
		c, err := host.Compare(t.Context(), history.CompareOrder{A: test.a, B: test.b}, nil)
		if err != nil {
			t.Errorf("%s and %s: %v", test.a, test.b, err)
			continue
		}
		if c.Shared == nil || *c.Shared != test.shared || c.A.Events != test.read || sames(&c) != test.sames || c.First == nil || c.First.What != test.first {
			t.Errorf("%s and %s share %+v, %d events read, %s, first %+v", test.a, test.b, c.Shared, c.A.Events, sames(&c), c.First)
		}
	}
}

// TestCompareFewTurns: no more is read than what is compared.
func TestCompareFewTurns(t *testing.T) {
	host, w := tellTo(t)
	w.create("a")
	for i := range 100 {
		w.turn("a", fmt.Sprint("message ", i), "yes")
	}
	w.fork("b", "a", 48, 9)
	w.turn("b", "message 9", "no")
	w.turn("b", "message 10", "yes")
	c, err := host.Compare(t.Context(), history.CompareOrder{A: "a", B: "b", Turns: 1}, nil)
	if err != nil || c.A.Totals.Turns != 1 || c.A.Events > 10 || sames(&c) != "differ×1" || c.Turn.A.Turn != "a/10" || c.Turn.B.Turn != "b/10" {
		t.Errorf("%v, %+v, %s", err, c.A, sames(&c))
	}
}

// TestCompareRunning: a turn that runs is compared as far as it has come.
func TestCompareRunning(t *testing.T) {
	host, w := tellTo(t)
	w.create("a", "b")
	for _, agent := range []string{"a", "b"} {
		turn, request := w.begin(agent, "look")
		w.reply(agent, request, `"text":"I look.","calls":[{"id":"1","tool":"echo","arguments":{"n":1}}],"stop":"calls"`)
		call := w.add(agent, "tool.requested", fmt.Sprintf(`{"turn":%q,"call":"1.1","tool":"echo","arguments":{"n":1}}`, turn))
		if agent == "b" {
			w.add(agent, "tool.returned", fmt.Sprintf(`{"request":%q,"call":"1.1","text":"one","duration_us":"5"}`, call))
		}
	}
	c, err := host.Compare(t.Context(), history.CompareOrder{A: "a", B: "b"}, nil)
	if err != nil || c.Equal || c.First == nil || c.First.What != runs.AspectResult || c.First.A.Value != "open" || c.First.TextB != "one" {
		t.Errorf("%v, %+v", err, c.First)
	}
	if c.A.Totals.Outcomes.Running != 1 || c.A.Totals.Usage.Input != 7 {
		t.Errorf("%+v", c.A.Totals)
	}
}

// TestCompareLargeTexts: texts that are blobs are read, as much of them as is shown.
func TestCompareLargeTexts(t *testing.T) {
	journal, blobs := actorstest.NewMemory(), actorstest.NewBlobs()
	host := history.New(history.Config{Journal: journal, Blobs: blobs})
	w := newTelling(t, journal)
	w.create("a", "b")
	for _, agent := range []string{"a", "b"} {
		text := strings.Repeat("line\n", 20_000) + agent
		ref, err := blobs.Put(t.Context(), "text/plain", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		turn, request := w.begin(agent, "write much")
		w.reply(agent, request, fmt.Sprintf(`"text":"line…","blob":{"hash":%q,"size":"%d","media":"text/plain"},"stop":"end"`, ref.Hash, ref.Size))
		w.end(agent, turn)
	}
	c, err := host.Compare(t.Context(), history.CompareOrder{A: "a", B: "b"}, nil)
	if err != nil || c.First == nil || !c.First.Cut || len(c.First.TextA) != 64<<10 || c.First.A.Text.Size != 100_001 {
		t.Errorf("%v, %+v", err, c.First)
	}
}

// TestCompareRefuses: what cannot be compared is refused, and damage is named.
func TestCompareRefuses(t *testing.T) {
	host, w := tellTo(t)
	w.create("a", "b", "c")
	w.turn("a", "one", "1")
	w.add("b", "turn.started", `{"turn":7}`)
	w.fork("orphan", "nobody", 3, 0)
	for _, test := range []struct {
		order history.CompareOrder
		want  string
	}{
		{history.CompareOrder{A: "a", B: "a"}, "one agent"},
		{history.CompareOrder{A: "a", B: "nobody"}, "there is no agent nobody"},
		{history.CompareOrder{A: "A!", B: "a"}, "may hold"},
		{history.CompareOrder{A: "a", B: "orphan"}, "there is no agent nobody"},
		{history.CompareOrder{A: "a", B: "c", Turn: "a/9"}, "turn a/9"},
	} {
		_, err := host.Compare(t.Context(), test.order, nil)
		var refusal *sagas.RefusalError
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want a refusal that says %q", test.order, err, test.want)
		}
	}
	if _, err := host.Compare(t.Context(), history.CompareOrder{A: "a", B: "b"}, nil); err == nil || !strings.Contains(err.Error(), "agent-b@1") {
		t.Errorf("a damaged event: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Compare(ctx, history.CompareOrder{A: "a", B: "c"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}
