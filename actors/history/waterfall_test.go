package history_test

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas/world"
)

// TestWaterfall asks for turns of any age of the agents of a world. Each is as the projection tells it that folds all of history up
// to the event with which the turn was settled.
func TestWaterfall(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 9, Agents: 4, Events: 5000})
	host := reader(memory, memory)
	compared := 0
	for agent, recorded := range streams {
		for n, until := range turnEnds(t, recorded) {
			turn := events.NewTurnID(agent, n)
			got, err := host.Waterfall(t.Context(), turn)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := projections.Find("waterfall")
			if err != nil {
				t.Fatal(err)
			}
			fold := spec.New()
			for i := range recorded[:until+1] {
				if err := fold.Apply(&projections.Recorded{Envelope: &recorded[i]}); err != nil {
					t.Fatal(err)
				}
			}
			want, err := fold.Answer(projections.Query{Name: "turn", Parameters: map[string]string{"turn": string(turn)}})
			if err != nil {
				t.Fatal(err)
			}
			x, errX := json.Marshal(got)
			y, errY := json.Marshal(want)
			if errX != nil || errY != nil || string(x) != string(y) {
				t.Fatalf("%s:\n%s\nwant\n%s", turn, x, y)
			}
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("%d turns are too few to prove anything", compared)
	}
	for turn, want := range map[events.TurnID]string{"agent-0": "is no turn", "agent-0/99999": "has no turn 99999", "nobody/1": "there is no agent nobody"} {
		if _, err := host.Waterfall(t.Context(), turn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", turn, err, want)
		}
	}
}

// turnEnds finds the event that settled each turn; or the last of the history, for the latest turn.
func turnEnds(t *testing.T, recorded []events.Envelope) map[int]int {
	t.Helper()
	ends, requests, latest := map[int]int{}, map[events.RequestID]int{}, 0
	for i := range recorded {
		event, err := recorded[i].Event()
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case events.TurnStarted:
			latest = e.Turn.Number()
		case events.SettlementRequested:
			requests[events.RequestID(recorded[i].Ref())] = e.Turn.Number()
		case events.SettlementRecorded:
			ends[requests[e.Request]] = i
		}
	}
	if latest > 0 {
		if _, settled := ends[latest]; !settled {
			ends[latest] = len(recorded) - 1
		}
	}
	return ends
}
