package world_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// told is a whole history.
func told(t *testing.T, c world.Config) []events.Envelope {
	t.Helper()
	made := world.New(c)
	var all []events.Envelope
	for {
		batch, err := made.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		all = append(all, batch...)
	}
}

// TestWorldIsDetermined makes one history twice, and another with another seed.
func TestWorldIsDetermined(t *testing.T) {
	encode := func(seed uint64) []byte {
		encoded, err := json.Marshal(told(t, world.Config{Seed: seed, Agents: 4, Events: 1000}))
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	one := encode(1)
	if !bytes.Equal(one, encode(1)) {
		t.Error("the same seed gave two histories")
	}
	if bytes.Equal(one, encode(2)) {
		t.Error("two seeds gave the same history")
	}
}

// TestWorldIsSound holds a history to what a store and a host promise: revisions and positions without a gap, times that rise, chains
// of digests. Everything happens in it, but that nobody forks agents or declares projections.
func TestWorldIsSound(t *testing.T) {
	all := told(t, world.Config{Seed: 7, Agents: 30, Events: 60_000})
	if n := len(all); n < 60_000 || n > 62_000 {
		t.Errorf("%d events were made, want 60000 and a few", n)
	}
	type end struct {
		revision events.Revision
		digest   events.Digest
	}
	ends, kinds, ids := map[events.Stream]end{}, map[events.Kind]int{}, map[events.EventID]bool{}
	at := events.Micros(0)
	for i := range all {
		e := &all[i]
		last, known := ends[e.Stream]
		if !known {
			last.revision = events.NoRevision
		}
		if e.Position != events.Position(i+1) || e.Revision != last.revision+1 || e.Time < at {
			t.Fatalf("event %d is %s at position %d and time %d, after revision %d and time %d", i, e.Ref(), e.Position, e.Time, last.revision, at)
		}
		if want := last.digest.Next(e.Kind, e.Data); e.Digest != want {
			t.Fatalf("%s has digest %s, want %s", e.Ref(), e.Digest, want)
		}
		if ids[e.ID] || e.Command == "" || e.Correlation == "" || e.Actor == "" {
			t.Fatalf("%s lacks something that envelopes have, or its id was used before: %+v", e.Ref(), e)
		}
		ids[e.ID], ends[e.Stream], at = true, end{e.Revision, e.Digest}, e.Time
		kinds[e.Kind]++
	}
	for _, spec := range events.Catalog {
		if family := spec.Kind.Family(); kinds[spec.Kind] == 0 && spec.Kind != (events.AgentForked{}).Kind() && !slices.Contains([]string{"fork", "projection", "host", "placement", "permission", "undo", "question"}, family) { // the world has one host, and agents without a permission mode, files or ask_user
			t.Errorf("no %s happened", spec.Kind)
		}
	}
}

// TestWorldCanBeFolded gives every agent's history to its saga and looks at what became of them.
func TestWorldCanBeFolded(t *testing.T) {
	agents := map[events.Stream]sagas.Agent{}
	for _, e := range told(t, world.Config{Seed: 3, Agents: 10, Events: 10_000}) {
		if _, ok := e.Stream.Agent(); !ok {
			continue
		}
		fact, err := sagas.FactOf(&e)
		if err != nil {
			t.Fatal(err)
		}
		saga, known := agents[e.Stream]
		if !known {
			saga = sagas.NewAgent()
		}
		agents[e.Stream] = saga.Apply(fact)
	}
	turns := make([]int, 0, len(agents))
	for stream, agent := range agents {
		if agent.Turns == 0 || agent.ID == "" {
			t.Errorf("%s did nothing", stream)
		}
		turns = append(turns, agent.Turns)
	}
	if len(turns) != 10 || slices.Min(turns)*2 > slices.Max(turns)*3 {
		t.Errorf("turns of the agents are %v, want ten that differ", turns)
	}
}
