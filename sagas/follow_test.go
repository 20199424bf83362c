package sagas_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// TestFollowEqual forks any history anywhere and lets the fork follow with unchanged settings, its host dying in between: nothing is asked that
// the tape does not answer, and what the fork records is what its parent recorded, event by event, in the same order.
func TestFollowEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &anyOrder{history: newHistory(sagas.NewAgent), at: start, plain: true}
		for r.agent().ID == "" {
			r.do(t, sagas.Create{Meta: r.outside(), Agent: "a", Config: anyConfig(t)})
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			r.at += events.Micros(rapid.SampledFrom([]int64{0, 1, 1e6, 60e6, 3600e6}).Draw(t, "time"))
			r.step(t)
		}
		f := newFollowing(t, r, rapid.SampledFrom([]events.TapeMode{events.TapeFirst, events.TapeOffline}).Draw(t, "tape"))
		f.run(t)
		f.equal(t)
	})
}

// following is a fork that follows its parent, and what answers it besides the tape.
type following struct {
	*history[sagas.Agent]
	parent   *history[sagas.Agent]
	at       int // decisions of the parent that the fork begins after
	next     int // decision
	behind   sagas.Agent
	step     *sagas.Step
	held     []sagas.Command
	answered map[events.RequestID]bool
	clock    events.Micros
}

func newFollowing(t *rapid.T, r *anyOrder, tape events.TapeMode, change ...func(*events.AgentConfig)) *following {
	parent := r.history
	f := &following{parent: parent, clock: r.at + 1e12}
	f.at = rapid.IntRange(1, len(parent.ends)).Draw(t, "fork after")
	f.history = newHistory(func() sagas.Agent { return f.parentAt(t, f.at) })
	config := f.saga.Config
	config.Wallet = "fork-f"
	for _, set := range change {
		set(&config)
	}
	facts := parent.facts[:parent.ends[f.at-1]]
	last := events.Revision(len(parent.facts) - 1)
	_, err := f.decide(t, sagas.Fork{
		Meta: sagas.Meta{ID: "fork", At: f.clock}, Agent: "f", Parent: "a", At: f.saga.Revision, Time: facts[len(facts)-1].Time,
		Until: last, Inputs: last, Tape: tape, Paper: true, Config: config,
	})
	if err != nil {
		t.Fatalf("fork: %v", err)
	}
	f.awake(t)
	return f
}

// parentAt is the parent's fold after some of its decisions.
func (f *following) parentAt(t failer, decisions int) sagas.Agent {
	saga := f.parent.begin()
	for _, fact := range f.parent.facts[:f.parent.ends[decisions-1]] {
		saga = saga.Apply(fact)
	}
	return restore(t, saga)
}

// awake is what a host does when the fork comes to life: everything but history is gone.
func (f *following) awake(t *rapid.T) {
	f.next = f.at
	for f.next < len(f.parent.ends) && events.Revision(f.parent.ends[f.next]-1) <= f.saga.Fork.Done {
		f.next++
	}
	f.behind, f.step, f.held, f.answered = f.parentAt(t, f.next), nil, nil, map[events.RequestID]bool{}
}

// run follows until the fork has finished.
func (f *following) run(t *rapid.T) {
	for moves := 0; f.saga.Fork.OnTape(); moves++ {
		if moves > 2000 {
			t.Fatalf("the fork does not come to an end: it has followed to %d of %d, next is %+v, ready is %+v", f.saga.Fork.Done, f.saga.Fork.Until, f.step, f.saga.Ready())
		}
		if rapid.IntRange(0, 12).Draw(t, "die") == 0 {
			f.saga = f.replay(t)
			f.awake(t)
		}
		f.others(t)
		if f.step == nil && f.next < len(f.parent.ends) {
			step, err := f.behind.NextStep(slices.Clone(f.parent.facts[f.parent.ends[f.next-1]:f.parent.ends[f.next]]))
			if err != nil {
				t.Fatalf("read the parent's next step: %v", err)
			}
			f.step = &step
		}
		f.clock++
		f.move(t, f.saga.Follow(sagas.Followed{Parent: &f.behind, Step: f.step, Held: f.held, At: f.clock}))
	}
}

func (f *following) move(t *rapid.T, move sagas.Move) {
	switch move.Kind {
	case sagas.MoveHear:
		f.held = slices.Delete(slices.Clone(f.held), move.Heard, move.Heard+1)
	case sagas.MovePass, sagas.MoveDecide, sagas.MoveLeave, sagas.MoveFinish:
	case sagas.MoveWait:
		if len(f.saga.Ready()) == 0 {
			t.Fatalf("the fork waits for nothing; the next step is %+v", f.step)
		}
		return
	}
	if move.Command != nil {
		if _, err := f.decide(t, move.Command); err != nil && f.step != nil {
			if skip := sagas.Skipped(f.step, err, f.clock); skip != nil {
				t.Fatalf("the fork refuses %T: %v", move.Command, err)
			}
		}
	}
	if move.Kind == sagas.MovePass || move.Over {
		f.behind, f.step, f.next = f.behind.Pass(f.step), nil, f.next+1
	}
}

// others answer what the tape does not: homeostasis says something else than the parent's, and something else is known.
func (f *following) others(t *rapid.T) {
	for _, request := range f.saga.Ready() {
		if f.answered[request.RequestID()] || rapid.Bool().Draw(t, "later") {
			continue
		}
		meta := sagas.Meta{ID: "~other", At: f.clock}
		var answer sagas.Command
		switch q := request.(type) {
		case sagas.AskAdvice:
			answer = sagas.RecordAdvice{Meta: meta, Request: q.ID, Mode: events.ModeVerify}
		case sagas.AskKnowledge:
			answer = sagas.RecordRecall{Meta: meta, Request: q.ID, Notes: []events.RecalledNote{{Note: "new", Text: "known since"}}}
		default:
			continue
		}
		f.answered[request.RequestID()] = true
		f.held = append(f.held, answer)
	}
}

// equal compares what the fork recorded with what its parent recorded. Where the parent's recording ends with something outstanding, the
// fork says so, and nothing else.
func (f *following) equal(t *rapid.T) {
	mine := f.told(f.facts[f.ends[0]:], "f")
	theirs := f.told(f.parent.facts[f.parent.ends[f.at-1]:], "a")
	if d := f.saga.Fork.Diverged; d != nil && d.Detail != "the recording ends here" {
		t.Fatalf("the fork left the tape: %+v\n%s", d, cmp.Diff(theirs, mine))
	}
	if f.saga.Fork.Live != 0 || f.saga.Fork.Skipped != 0 {
		t.Fatalf("%d live calls, %d skipped", f.saga.Fork.Live, f.saga.Fork.Skipped)
	}
	if len(mine) > len(theirs) {
		mine = mine[:len(theirs)] // the fork goes on where its parent had not come yet
	}
	if diff := cmp.Diff(theirs, mine); diff != "" {
		t.Fatalf("another history:\n%s", diff)
	}
}

// told is a history without identities and times, and without what only a fork records.
func (f *following) told(facts []sagas.Fact, agent string) []string {
	lines := []string{}
	for _, fact := range facts {
		if _, retired := fact.Event.(events.AgentRetired); retired || fact.Kind().Family() == "fork" || f.ofParent(fact, agent) {
			continue // a fork is not retired with its parent
		}
		data, _, err := events.Encode(fact.Event)
		var fields map[string]any
		if err != nil || json.Unmarshal(data, &fields) != nil {
			continue
		}
		for _, name := range []string{"request", "expires", "retry_at", "wallet", "config", "released", "amount", "attempt"} {
			delete(fields, name)
		}
		text, err := json.Marshal(fields)
		if err != nil {
			continue
		}
		lines = append(lines, string(fact.Kind())+" "+strings.ReplaceAll(string(text), `"`+agent+"/", `"/`))
	}
	return lines
}

// ofParent reports the settlement of a turn that ended before the fork, which is the parent's business.
func (f *following) ofParent(fact sagas.Fact, agent string) bool {
	settled, ok := fact.Event.(events.SettlementRecorded)
	if !ok || agent != "a" {
		return false
	}
	_, revision, err := events.Ref(settled.Request).Split()
	return err == nil && revision <= f.saga.Fork.At
}

// TestFollowDiverges: a fork with another prompt is answered by the tape up to its first request to a model, and leaves it there and
// nowhere before; one that asks nothing more does not leave it.
func TestFollowDiverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &anyOrder{history: newHistory(sagas.NewAgent), at: start, plain: true}
		for r.agent().ID == "" {
			r.do(t, sagas.Create{Meta: r.outside(), Agent: "a", Config: anyConfig(t)})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r.at += events.Micros(rapid.SampledFrom([]int64{0, 1, 1e6, 60e6}).Draw(t, "time"))
			r.step(t)
		}
		f := newFollowing(t, r, events.TapeOffline, func(c *events.AgentConfig) { c.Prompt += "Be brief." })
		f.run(t)
		asked, first := 0, events.ModelRequested{}
		summarising := false // the model that summarises has a prompt of its own, and is asked the same
		for _, fact := range f.facts {
			switch e := fact.Event.(type) {
			case events.SummaryRequested:
				summarising = true
			case events.ModelRequested:
				summarising = false
				if asked++; asked == 1 {
					first = e
				}
			case events.ConversationCompacted:
				summarising = false
			case events.ModelReplied, events.ModelFailed:
				if !summarising {
					t.Fatalf("the tape answered another question: %s", e)
				}
			}
		}
		d := f.saga.Fork.Diverged
		switch {
		case d == nil && asked > 0:
			t.Fatalf("the fork asked its model %d times and did not leave the tape", asked)
		case d != nil && asked > 0 && d.Detail != "the recording ends here" && (d.Turn != first.Turn || d.Round != first.Round):
			t.Fatalf("the fork left the tape in turn %s, round %d, and asked first in turn %s, round %d", d.Turn, d.Round, first.Turn, first.Round)
		case asked > 1:
			t.Fatalf("the fork asked its model %d times", asked)
		}
	})
}
