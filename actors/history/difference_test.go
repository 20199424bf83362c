package history_test

import (
	"errors"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TestDifference compares moments of a long history: what changed long before the later moment costs reading back to it, what
// changed lately does not.
func TestDifference(t *testing.T) {
	journal := &tallied{Memory: actorstest.NewMemory()}
	configuredOften(t, journal.Memory, "model", 12_000)
	host := reader(journal, journal.Memory)
	diff := func(from, to events.Revision) history.Difference {
		t.Helper()
		d, err := host.Difference(t.Context(), "demo", events.AtRevision(from), events.AtRevision(to), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := diff(100, 11_000)
	if len(d.Changes) != 1 || d.Events != 10_900 || d.From.Revision != 100 || d.To.Revision != 11_000 {
		t.Fatalf("%+v", d)
	}
	c := d.Changes[0]
	if c.Path != "config.model" || string(c.Before) != `"model/100"` || string(c.After) != `"model/11000"` ||
		c.Last.Ref != "agent-demo@11000" || c.Last.Kind != "agent.configured" || c.Last.Text != "the agent was configured with model model/11000" {
		t.Errorf("%+v", c)
	}
	before := journal.events.Load()
	if diff(100, 11_000); journal.events.Load()-before > 4000 {
		t.Errorf("%d events were read the second time", journal.events.Load()-before)
	}
	if d := diff(7, 7); len(d.Changes) != 0 || d.Changes == nil {
		t.Errorf("%+v", d)
	}
	_, err := host.Difference(t.Context(), "demo", events.AtRevision(9), events.AtRevision(8), nil)
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
		t.Errorf("the wrong way round: %v", err)
	}
}

// TestDifferenceFarBack finds a change that was made once, long ago.
func TestDifferenceFarBack(t *testing.T) {
	host, w := tellTo(t)
	w.create("demo")
	configured := w.add("demo", "agent.configured",
		`{"config":{"model":"fake/one","tools":[{"name":"echo"}],"wallet":"main","tenant":"local","limits":{},"policy":{}}}`)
	const turns = 120
	for range turns {
		w.turn("demo", "go", "done")
	}
	looked := int64(0)
	d, err := host.Difference(t.Context(), "demo", events.AtRevision(0), events.Moment{Form: events.MomentTurn, Turn: turns}, func(n int64) { looked = n })
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]events.Ref{}
	for _, c := range d.Changes {
		found[c.Path] = c.Last.Ref
	}
	if found["config.tools[echo]"] != events.Ref(configured) || found["last"] != events.NewRef("agent-demo", d.To.Revision) {
		t.Errorf("%v", found)
	}
	if d.Events < 500 || looked > d.Events {
		t.Errorf("%d events, %d looked at", d.Events, looked)
	}
}
