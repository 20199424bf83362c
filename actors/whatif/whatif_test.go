package whatif

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// madeUp is a host whose forks end at once. What became of a fork follows from the number of its turn.
type madeUp struct {
	Host

	mu             sync.Mutex
	running, most  int
	forked         []events.AgentID
	retired        []events.Stream
	cancelled      []events.TurnID
	goesOn         bool   // forks start another turn than theirs
	afterFirst     func() // when the first fork was made
	waits, refuses int    // the numbers of turns that wait, and that cannot be forked
}

func (h *madeUp) Fork(_ context.Context, order actors.ForkOrder, _ actors.Origin) (actors.Forked, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if order.At == events.Revision(h.refuses) {
		return actors.Forked{}, errors.New("it cannot be forked")
	}
	h.forked = append(h.forked, order.Name)
	h.running++
	h.most = max(h.most, h.running)
	if h.afterFirst != nil && len(h.forked) == 1 {
		h.afterFirst()
	}
	return actors.Forked{Agent: order.Name}, nil
}

// ended is the feed of a fork that has followed its parent, or of one that never will.
type ended bool

func (f ended) Next(ctx context.Context) (actors.Item, error) {
	if !f {
		<-ctx.Done()
		return actors.Item{}, ctx.Err()
	}
	return actors.Item{Event: &events.Envelope{Kind: events.ForkFinished{}.Kind()}}, nil
}

func (ended) Close() error { return nil }

func (h *madeUp) isWaiting(fork events.AgentID) bool {
	return strings.HasSuffix(string(fork), fmt.Sprintf("-%d", h.waits))
}

func (h *madeUp) Watch(_ context.Context, fork events.AgentID, _ events.Revision) (actors.Feed, error) {
	if h.goesOn {
		return &goingOn{agent: fork, numbers: []int{1, 2}}, nil
	}
	return ended(!h.isWaiting(fork)), nil
}

// goingOn is the feed of a fork that starts turns before it has followed its parent.
type goingOn struct {
	agent   events.AgentID
	numbers []int
}

func (f *goingOn) Next(ctx context.Context) (actors.Item, error) {
	if len(f.numbers) == 0 {
		return ended(true).Next(ctx)
	}
	data, version, err := events.Encode(events.TurnStarted{Turn: events.NewTurnID(f.agent, f.numbers[0])})
	f.numbers = f.numbers[1:]
	return actors.Item{Event: &events.Envelope{Kind: events.TurnStarted{}.Kind(), Version: version, Data: data}}, err
}

func (*goingOn) Close() error { return nil }

func (h *madeUp) State(_ context.Context, fork events.AgentID, _ events.Revision) (history.AgentState, error) {
	h.mu.Lock()
	h.running--
	h.mu.Unlock()
	agent := sagas.Agent{ID: fork, Fork: sagas.Lineage{Tape: events.TapeLive}}
	if h.isWaiting(fork) {
		agent.Turn = sagas.Turn{ID: events.NewTurnID(fork, h.waits), Number: h.waits, Calls: []sagas.Call{{ID: "1.1", Tool: "bash", Stage: sagas.CallWaiting}}}
	}
	return history.AgentState{Agent: agent}, nil
}

func (h *madeUp) Compare(_ context.Context, order history.CompareOrder, _ func(int64)) (history.Comparison, error) {
	a := &runs.TurnBrief{Turn: events.NewTurnID(order.A, order.Turn.Number()), Outcome: events.Done}
	b := &runs.TurnBrief{Turn: order.Turn, Outcome: events.Done, Totals: runs.RunTotals{Cost: 30}}
	return history.Comparison{
		Pairs: []runs.TurnPair{{A: a, B: b, Same: runs.SameAll, Turns: 1}},
		Turn:  &runs.TurnComparison{B: &runs.RunTurn{Rounds: []runs.RunRound{{Round: 1, Cost: 10}, {Round: 2, Cost: 20}}}},
	}, nil
}

func (h *madeUp) Do(_ context.Context, stream events.Stream, command sagas.Command, _ actors.Origin) (actors.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if cancel, is := command.(sagas.Cancel); is {
		h.cancelled = append(h.cancelled, cancel.Turn)
		return actors.Receipt{}, &sagas.RefusalError{Code: sagas.RefusedState, Detail: "it has ended"}
	}
	h.retired = append(h.retired, stream)
	return actors.Receipt{}, nil
}

func recordedTurns(count int, cost events.Money) []runs.RecordedTurn {
	turns := make([]runs.RecordedTurn, count)
	for i := range turns {
		turns[i] = runs.RecordedTurn{Turn: events.NewTurnID("ada", i+1), At: events.Revision(i + 1), Cost: cost}
	}
	return turns
}

func newTest(host Host, c Config) *WhatIf {
	c.ID, c.Agents = "x1", []string{"*"}
	c.Parallel, c.Patience = cmp.Or(c.Parallel, 3), cmp.Or(c.Patience, time.Minute)
	return New(host, c)
}

func quiet(int, time.Duration) {}

func states(results []runs.WhatIfTurn) string {
	var all []string
	for i := range results {
		all = append(all, string(results[i].State))
	}
	return strings.Join(all, " ")
}

// TestRuns: turns run side by side, as many as may; what failed, and what waits, is said and stops no other.
func TestRuns(t *testing.T) {
	host := &madeUp{waits: 5, refuses: 2}
	w := newTest(host, Config{Patience: 20 * time.Millisecond, Discard: true})
	results := w.Run(t.Context(), recordedTurns(9, 1), quiet)
	if got := states(results); got != "compared failed compared compared waits compared compared compared compared" {
		t.Errorf("the turns: %s", got)
	}
	if host.most > 3 || len(host.forked) != 8 || len(host.retired) != 7 {
		t.Errorf("%d at once, %d forked, %d retired", host.most, len(host.forked), len(host.retired))
	}
	if waits := results[4].Problem; waits != "call 1.1 of bash is waiting for approval: life approve what-if-x1-ada-5 shows it and approves it" {
		t.Errorf("it waits: %s", waits)
	}
	if results[0].Live != 30 || results[0].Fork != "what-if-x1-ada-1" || results[1].Problem != "it cannot be forked" {
		t.Errorf("%+v\n%+v", results[0], results[1])
	}
}

// TestBudget: when the money is spent no further turn runs, and they are reported.
func TestBudget(t *testing.T) {
	host := &madeUp{}
	w := newTest(host, Config{Budget: 100, Parallel: 1})
	results := w.Run(t.Context(), recordedTurns(6, 15), quiet)
	if got := states(results); got != "compared compared compared not_run not_run not_run" { // 30 each, of 100
		t.Errorf("the turns: %s", got)
	}
	if results[5].Problem != "the budget is spent" || len(host.forked) != 3 {
		t.Errorf("%+v, %d forked", results[5], len(host.forked))
	}
}

// TestCancels: a turn that a fork starts after the one to compare is cancelled, and one that has ended already is no trouble.
func TestCancels(t *testing.T) {
	host := &madeUp{goesOn: true}
	w := newTest(host, Config{})
	got := states(w.Run(t.Context(), recordedTurns(1, 1), quiet))
	if got != "compared" || len(host.cancelled) != 1 || host.cancelled[0] != "what-if-x1-ada-1/2" {
		t.Errorf("%s, cancelled %v", got, host.cancelled)
	}
}

// TestInterrupted: what runs ends, and what has not begun is not run.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	host := &madeUp{afterFirst: stop}
	w := newTest(host, Config{Parallel: 1})
	if got := states(w.Run(ctx, recordedTurns(4, 1), quiet)); got != "compared not_run not_run not_run" {
		t.Errorf("the turns: %s", got)
	}
}

// TestNames: forks are named after their turns, no two alike, and so that their wallets can be named after them.
func TestNames(t *testing.T) {
	w := newTest(nil, Config{})
	seen := map[events.AgentID]bool{}
	long := strings.Repeat("a", 63)
	for _, turn := range []events.TurnID{"ada/1", "ada/11", "ada-1/1", events.TurnID(long + "b/1"), events.TurnID(long + "c/1"), events.TurnID(long + "c/2")} {
		name := w.forkName(turn)
		if seen[name] || name.Validate() != nil || events.WalletID("fork-"+name).Validate() != nil || !strings.HasPrefix(string(name), "what-if-x1-a") {
			t.Errorf("the fork of %s is named %s", turn, name)
		}
		seen[name] = true
	}
	if w.forkName("ada/1") != "what-if-x1-ada-1" {
		t.Errorf("the fork of ada/1 is named %s", w.forkName("ada/1"))
	}
}
