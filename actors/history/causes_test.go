package history_test

import (
	"errors"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// each visits a deed and all that it led to, or that led to it.
func each(d *runs.TraceNode, visit func(*runs.TraceNode)) {
	visit(d)
	for _, next := range append(append([]*runs.TraceNode{}, d.Effects...), d.Causes...) {
		each(next, visit)
	}
}

// TestEffects follows the first message of every turn of a world: all events of the turn follow from it, those of the wallet and the
// claims among them, each once.
func TestEffects(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 31, Agents: 3, Events: 2500})
	host := reader(memory, memory)
	turns, meanwhile, others := 0, 0, map[string]int{}
	for agent, recorded := range streams {
		inTurn := map[string][]events.Ref{}
		for i := range recorded {
			inTurn[recorded[i].Correlation] = append(inTurn[recorded[i].Correlation], recorded[i].Ref())
		}
		for i := range recorded {
			if recorded[i].Kind != (events.TurnStarted{}).Kind() {
				continue
			}
			deed, err := host.Effects(t.Context(), recorded[i].Ref(), nil)
			if err != nil {
				t.Fatal(err)
			}
			told := map[events.Ref]int{}
			each(deed, func(d *runs.TraceNode) {
				told[d.Ref]++
				for _, with := range d.With {
					told[with.Ref]++
				}
			})
			for _, ref := range inTurn[recorded[i].Correlation] {
				if told[ref] == 0 {
					if because := toldCause(t, host, ref, told); because != "" {
						t.Fatalf("turn %s of %s: %s is not told, although %s led to it", recorded[i].Correlation, agent, ref, because)
					}
					meanwhile++ // a person did it, not the turn
					continue
				}
				if told[ref] != 1 {
					t.Fatalf("turn %s of %s: %s is told %d times", recorded[i].Correlation, agent, ref, told[ref])
				}
			}
			for ref := range told {
				stream, _, err := ref.Split()
				if err != nil {
					t.Fatal(err)
				}
				category, _ := stream.Split()
				others[category]++
			}
			turns++
		}
	}
	if turns < 50 || others["wallet"] < turns || others["effect"] == 0 || meanwhile > others["agent"]/10 {
		t.Errorf("%d turns, events by stream: %v; %d events of the agents had other causes", turns, others, meanwhile)
	}
}

// toldCause is an event among those told that led to another one.
func toldCause(t *testing.T, host *history.Reader, ref events.Ref, told map[events.Ref]int) events.Ref {
	t.Helper()
	deed, err := host.Causes(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := events.Ref("")
	each(deed, func(d *runs.TraceNode) {
		if d != deed && told[d.Ref] > 0 {
			found = d.Ref
		}
	})
	return found
}

// TestCauses follows every event of a world back. Each chain ends with a command from outside, or with what the host did by itself, and
// each step was later than the one that led to it.
func TestCauses(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 32, Agents: 2, Events: 500})
	host := reader(memory, memory)
	for _, recorded := range streams {
		for i := range recorded {
			deed, err := host.Causes(t.Context(), recorded[i].Ref(), nil)
			if err != nil {
				t.Fatal(err)
			}
			ends := 0
			each(deed, func(d *runs.TraceNode) {
				for _, cause := range d.Causes {
					if cause.Time > d.Time {
						t.Errorf("%s led to %s, which was before it", cause.Ref, d.Ref)
					}
				}
				if d.Outside {
					ends++
				}
				if len(d.Causes) == 0 && !d.Outside && d.Command[0] != '~' {
					t.Errorf("%s ends the chain of %s without a reason: %s", d.Ref, recorded[i].Ref(), d.More)
				}
			})
			if ends == 0 {
				t.Errorf("nothing from outside led to %s", recorded[i].Ref())
			}
		}
	}
}

// TestCausesRefuse asks about events that are not there.
func TestCausesRefuse(t *testing.T) {
	memory := actorstest.NewMemory()
	configuredOften(t, memory, "model", 3)
	host := reader(memory, memory)
	for _, ask := range []func(ref events.Ref) (*runs.TraceNode, error){
		func(ref events.Ref) (*runs.TraceNode, error) { return host.Causes(t.Context(), ref, nil) },
		func(ref events.Ref) (*runs.TraceNode, error) { return host.Effects(t.Context(), ref, nil) },
	} {
		for ref, code := range map[events.Ref]sagas.RefusalCode{
			"agent-demo@3": sagas.RefusedMissing, "agent-nobody@0": sagas.RefusedMissing, "demo": sagas.RefusedInvalid,
		} {
			var refusal *sagas.RefusalError
			if _, err := ask(ref); !errors.As(err, &refusal) || refusal.Code != code {
				t.Errorf("%s: %v, want %s", ref, err, code)
			}
		}
		if deed, err := ask("agent-demo@2"); err != nil || deed.Kind != "agent.configured" || len(deed.Causes)+len(deed.Effects) > 0 {
			t.Errorf("%+v, %v", deed, err)
		}
	}
}
