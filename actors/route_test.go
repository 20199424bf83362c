package actors_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// TestRoute asks the candidates of a route one after the other, and goes on with the route as a later host has it. The history verifies on
// a host that has no routes.
func TestRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, blobs := actorstest.NewMemory(), actorstest.NewBlobs()
		var asked []string
		models := oneModel{actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
			asked = append(asked, q.Model)
			switch q.Model {
			case "busy/a":
				return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorOverloaded, Detail: "503"}
			case "locked/b":
				return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorAuth, Detail: "401"}
			}
			return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: events.Usage{Input: 1, Output: 1}}, nil
		})}
		route := func(models ...string) map[string][]events.Candidate {
			var candidates []events.Candidate
			for _, model := range models {
				candidates = append(candidates, events.Candidate{Model: model})
			}
			return map[string][]events.Candidate{"fast": candidates}
		}
		turn := func(routes map[string][]events.Candidate, id string) {
			host, err := actors.New(t.Context(), actors.Config{
				Journal: memory, Blobs: blobs, Models: models, Routes: routes, OpeningCredit: events.Dollar, Masker: actorstest.Unmasked{},
			})
			if err != nil {
				t.Fatal(err)
			}
			if id == "first" {
				command := create("a")
				command.Config.Model = "route/fast"
				do(t, host, "a", command)
			}
			feed, err := host.Watch(t.Context(), "a", mustTip(t, host))
			if err != nil {
				t.Fatal(err)
			}
			do(t, host, "a", say(id, "Work."))
			until(t, feed, ended)
			if err := feed.Close(); err != nil {
				t.Error(err)
			}
			verified(t, host)
			if err := host.Close(t.Context()); err != nil {
				t.Error(err)
			}
			<-time.After(time.Second) // protoactor notes messages to stopped actors in a goroutine that ends a moment later
		}
		turn(route("busy/a", "locked/b", "good/c", "spare/d"), "first")
		if want := []string{"busy/a", "busy/a", "locked/b", "good/c"}; !slices.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		asked = nil
		turn(route("spare/d"), "second")
		turn(nil, "third") // a route that is not configured any more stays as it was
		if want := []string{"spare/d", "spare/d"}; !slices.Equal(asked, want) {
			t.Errorf("after the route had changed %v were asked, want %v", asked, want)
		}
		host := start(t, actors.Config{Journal: memory, Blobs: blobs, Models: models, Routes: route("spare/d")})
		for model, says := range map[string]string{"route/slow": `there is no route "slow"; the routes of the configuration file are: fast`} {
			command := create("b")
			command.Config.Model = model
			if _, err := host.Do(t.Context(), events.AgentStream("b"), command, actors.Origin{}); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %s", model, err, says)
			}
		}
	})
}

// mustTip is the latest revision of agent a.
func mustTip(t *testing.T, host *actors.Host) events.Revision {
	t.Helper()
	state, err := host.State(t.Context(), "a", events.NoRevision)
	if err != nil {
		t.Fatal(err)
	}
	return state.Revision
}
