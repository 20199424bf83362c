package diff_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/diff"
	worlds "example.com/life/sagas/world"
)

// stateAt folds facts up to and including a revision.
func stateAt(facts []sagas.Fact, revision int) sagas.Agent {
	agent := sagas.NewAgent()
	for _, fact := range facts[:revision+1] {
		agent = agent.Apply(fact)
	}
	return agent
}

// difference compares two revisions, and looks for the facts in stretches that begin at the given revisions, the latest first.
func difference(facts []sagas.Fact, from, to int, begins []int) ([]diff.Change, []*sagas.Fact) {
	before, after := stateAt(facts, from), stateAt(facts, to)
	changes := diff.Between(&before, &after)
	last, end := diff.NewLastChanges(changes), to
	for _, begin := range begins {
		last.Begin(stateAt(facts, begin))
		for _, fact := range facts[begin+1 : end+1] {
			last.Apply(fact)
		}
		if end = begin; !last.End() {
			break
		}
	}
	return changes, last.Found()
}

// worldFacts are the histories of the agents of a world.
func worldFacts(t *testing.T, c worlds.Config) [][]sagas.Fact {
	t.Helper()
	made, streams, all := worlds.New(c), map[events.Stream]int{}, [][]sagas.Fact{}
	for {
		batch, err := made.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		if _, is := batch[0].Stream.Agent(); !is {
			continue
		}
		at, known := streams[batch[0].Stream]
		if !known {
			at = len(all)
			streams[batch[0].Stream], all = at, append(all, nil)
		}
		for i := range batch {
			fact, err := sagas.FactOf(&batch[i])
			if err != nil {
				t.Fatal(err)
			}
			all[at] = append(all[at], fact)
		}
	}
}

// TestBetween compares any two moments of the agents of a world. What is said to differ does; what is not, does not; and the
// fact behind each difference is the last that changed it, however the search is split into stretches.
func TestBetween(t *testing.T) {
	histories := worldFacts(t, worlds.Config{Seed: 11, Agents: 5, Events: 3000})
	rapid.Check(t, func(t *rapid.T) {
		facts := rapid.SampledFrom(histories).Draw(t, "history")
		from := rapid.IntRange(0, len(facts)-1).Draw(t, "from")
		to := min(len(facts)-1, from+rapid.IntRange(0, 150).Draw(t, "length"))
		begins := []int{from}
		for end := to; end > from && rapid.Bool().Draw(t, "split"); {
			end = rapid.IntRange(from, end-1).Draw(t, "begin")
			begins = append(begins, end)
		}
		slices.Sort(begins)
		begins = slices.Compact(begins)
		slices.Reverse(begins)
		changes, found := difference(facts, from, to, begins)
		slow := lastChanges(facts, from, to)
		for i, c := range changes {
			if string(c.Before) == string(c.After) {
				t.Errorf("%s is said to differ: %s", c.Path, c.After)
			}
			if c.Before != nil && !json.Valid(c.Before) || c.After != nil && !json.Valid(c.After) {
				t.Errorf("%s: %s, %s is no JSON", c.Path, c.Before, c.After)
			}
			if found[i] == nil {
				t.Errorf("%s: no fact was found", c.Path)
			} else if want := slow(c.Path); found[i].Revision != want {
				t.Errorf("%s: the last fact found is %d, want %d", c.Path, found[i].Revision, want)
			}
		}
		if before, after := stripped(t, stateAt(facts, from)), stripped(t, stateAt(facts, to)); before != after && len(changes) == 0 {
			t.Errorf("nothing is said to differ between\n%s\n%s", before, after)
		}
	})
}

// lastChanges finds when a path changed last by comparing, at every revision, states that share no memory.
func lastChanges(facts []sagas.Fact, from, to int) func(path string) events.Revision {
	changed := make([][]diff.Change, 0, to-from)
	for at := from; at < to; at++ {
		before, after := stateAt(facts, at), stateAt(facts, at+1)
		changed = append(changed, diff.Between(&before, &after))
	}
	return func(path string) events.Revision {
		for i, changes := range slices.Backward(changed) {
			for _, c := range changes {
				if c.Path == path || within(c.Path, path) || within(path, c.Path) {
					return facts[from+i+1].Revision
				}
			}
		}
		return events.NoRevision
	}
}

func within(part, whole string) bool {
	rest, is := strings.CutPrefix(part, whole)
	return is && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// stripped is a state without what every event changes.
func stripped(t *rapid.T, agent sagas.Agent) string {
	agent.Revision, agent.Accepted, agent.Conversation.Chain = 0, nil, events.Digest{}
	text, err := json.Marshal(agent)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// BenchmarkLastChanges follows a long conversation event by event: what it costs does not grow with it.
func BenchmarkLastChanges(b *testing.B) {
	t := &testing.T{}
	facts := worldFacts(t, worlds.Config{Seed: 11, Agents: 1, Events: 20_000})[0]
	before, after := stateAt(facts, 100), stateAt(facts, len(facts)-1)
	changes := diff.Between(&before, &after)
	b.ResetTimer()
	for range b.N {
		last := diff.NewLastChanges(changes)
		last.Begin(stateAt(facts, 100))
		for _, fact := range facts[101:] {
			last.Apply(fact)
		}
		last.End()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(facts)), "ns/event")
}
