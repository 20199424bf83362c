package actors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
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

// perToken prices the tokens of one model.
type perToken struct{ model string }

func (p perToken) Cost(model string, usage events.Usage) (cost events.Money, priced bool) {
	return events.Money(usage.Total()), model == p.model
}

// TestCutOffOnRoute: what came of a reply that was cut off is charged at the price of the candidate that gave it, and the candidate is not left for it. The
// next turn begins with the first candidate again.
func TestCutOffOnRoute(t *testing.T) {
	for name, cut := range map[string]sagas.Command{
		"cancelled":   sagas.Cancel{Meta: sagas.Meta{ID: "cut"}},
		"interrupted": sagas.Send{Meta: sagas.Meta{ID: "cut"}, Verb: events.Interrupt, Text: events.Text{Inline: "stop"}},
		"retired":     sagas.Retire{Meta: sagas.Meta{ID: "cut"}, Reason: "enough"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				models := oneModel{actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
					switch asked = append(asked, q.Model); len(asked) {
					case 1:
						return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorAuth, Detail: "401"}
					case 2:
						delta(actors.Delta{Kind: events.BlockText, Text: "It was a dark and stormy night."})
						<-ctx.Done()
						return actors.ModelResponse{}, ctx.Err()
					}
					return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
				})}
				host := start(t, actors.Config{
					Journal: actorstest.NewMemory(), Models: models, Prices: perToken{"slow/b"}, OpeningCredit: events.Dollar,
					Routes: map[string][]events.Candidate{"fast": {{Model: "locked/a"}, {Model: "slow/b"}}},
				})
				command := create("a")
				command.Config.Model = "route/fast"
				do(t, host, "a", command)
				feed := watch(t, host, "a")
				do(t, host, "a", say("first", "Tell me a story."))
				synctest.Wait()
				do(t, host, "a", cut)
				seen := until(t, feed, ended)
				failed := events.ModelFailed{}
				for _, event := range seen {
					if e, is := event.(events.ModelFailed); is {
						failed = e
					}
				}
				if failed.Class != events.ErrorCancelled || failed.Left || !failed.Priced || !failed.Usage.Estimated || failed.Cost != events.Money(failed.Usage.Total()) || failed.Cost < 8 {
					t.Errorf("the attempt ended with %+v", failed)
				}
				if name != "retired" {
					if name == "cancelled" {
						do(t, host, "a", say("second", "And now?"))
					}
					until(t, feed, ended)
					if want := []string{"locked/a", "slow/b", "locked/a"}; !slices.Equal(asked, want) {
						t.Errorf("asked %v, want %v", asked, want)
					}
				}
				verified(t, host)
			})
		})
	}
}

// TestCompactionOnRoute: the summary is asked of the candidate that the turn would ask, also after the first one was left, and a host that has no routes
// verifies all of it.
func TestCompactionOnRoute(t *testing.T) {
	for _, mode := range []events.CompactionMode{events.CompactSummarise, events.CompactDrop} {
		t.Run(string(mode), func(t *testing.T) {
			read := &reading{}
			models := oneModel{actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
				if q.Model == "locked/a" {
					return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorAuth, Detail: "401"}
				}
				return read.ask(ctx, q, delta)
			})}
			memory, blobs := actorstest.NewMemory(), actorstest.NewBlobs()
			config := actors.Config{
				Journal: memory, Blobs: blobs, Models: models, Tools: []actors.Tool{echo()}, OpeningCredit: events.Dollar,
				Routes: map[string][]events.Candidate{"fast": {{Model: "locked/a"}, {Model: "good/b"}}},
			}
			host := start(t, config)
			command := compacting(mode)
			command.Config.Model = "route/fast"
			do(t, host, "demo", command)
			feed := watch(t, host, "demo")
			do(t, host, "demo", say("c1", "go"))
			compacted := 0
			for _, event := range until(t, feed, ended) {
				switch e := event.(type) {
				case events.SummaryRequested:
					if e.Model != "good/b" {
						t.Error(e)
					}
				case events.ConversationCompacted:
					if compacted++; e.Because != "" {
						t.Error(e)
					}
				case events.TurnEnded:
					if e.Outcome != events.Done || e.Rounds != 6 {
						t.Error(e)
					}
				}
			}
			if compacted == 0 || (read.summaries.Load() > 0) != (mode == events.CompactSummarise) {
				t.Errorf("compacted %d times, %d summaries", compacted, read.summaries.Load())
			}
			config.Routes = nil
			verified(t, start(t, config))
		})
	}
}

// TestWindowOnRoute: what was learnt of the windows of a route's candidates counts in later turns, also of one that another vendor's took over from, so the
// conversation goes on by compaction and nothing is left out besides. It verifies where no route is known, the state before each compaction is whole,
// and forks go on from there.
func TestWindowOnRoute(t *testing.T) {
	asked, tooLong := map[string]int{}, map[string]int{}
	windows := map[string]int{"small/a": 2400, "other/b": 3600}
	models := oneModel{actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
		size := len(q.System)
		for i := range q.Messages {
			size += len(q.Messages[i].Text.Inline)
		}
		if size/4 > windows[q.Model] {
			tooLong[q.Model]++
			return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorContext, Detail: "the prompt is too long", Room: int64(windows[q.Model] - 50)}
		}
		usage := events.Usage{Input: int64(size / 4), Output: 5}
		if strings.Contains(q.System, "memory of an agent") {
			return actors.ModelResponse{Text: "Notes were written.", Stop: events.StopEnd, Usage: usage}, nil
		}
		if asked[q.Model]++; q.Model == "small/a" && asked[q.Model]%4 == 3 {
			return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorOverloaded, Detail: "529", RetryAfter: time.Minute}
		}
		return actors.ModelResponse{Text: "Noted.", Stop: events.StopEnd, Usage: usage}, nil
	})}
	config := actors.Config{
		Journal: actorstest.NewMemory(), Blobs: actorstest.NewBlobs(), Models: models, OpeningCredit: events.Dollar,
		Routes: map[string][]events.Candidate{"fast": {{Model: "small/a"}, {Model: "other/b"}}},
	}
	host := start(t, config)
	command := create("demo")
	command.Config.Model = "route/fast"
	do(t, host, "demo", command)
	feed := watch(t, host, "demo")
	compactions, messages := 0, 0
	for turn := range 24 {
		do(t, host, "demo", say(fmt.Sprint("c", turn), fmt.Sprintf("Note %d: %s", turn, strings.Repeat("it rains. ", 160))))
		for _, event := range until(t, feed, ended) {
			state, err := host.State(t.Context(), "demo", events.NoRevision)
			if err != nil {
				t.Fatal(err)
			}
			switch e := event.(type) {
			case events.ModelRequested:
				if e.Dropped > state.Agent.Conversation.Dropped || e.Shortened > 0 {
					t.Errorf("turn %d: %v", turn, e)
				}
			case events.ConversationCompacted:
				if compactions++; e.How != events.Summarised {
					t.Error(e)
				}
			case events.TurnEnded:
				if e.Outcome != events.Done {
					t.Error(e)
				}
			}
		}
	}
	if compactions < 3 || asked["small/a"] < 6 || asked["other/b"] < 3 || tooLong["small/a"] > 1 || tooLong["other/b"] > 1 {
		t.Errorf("compacted %d times, asked %v, of which too long were %v", compactions, asked, tooLong)
	}
	page, err := host.History(t.Context(), events.AgentStream("demo"), 0, storage.Forward, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Events {
		switch page.Events[i].Kind {
		case events.MessageReceived{}.Kind(), events.ModelReplied{}.Kind():
			messages++
		case events.ConversationCompacted{}.Kind():
			at := page.Events[i].Revision
			state, err := host.State(t.Context(), "demo", at-1)
			if c := state.Agent.Conversation; err != nil || len(c.Messages)+c.Dropped != messages {
				t.Errorf("before %d there are %d messages and %d earlier ones, want %d in all: %v", at, len(c.Messages), c.Dropped, messages, err)
			}
			name := events.AgentID(fmt.Sprint("fork", at))
			if _, err := host.Fork(t.Context(), actors.ForkOrder{ID: events.CommandID(name), Parent: "demo", Name: name, At: at - 1}, actors.Origin{}); err != nil {
				t.Fatal(err)
			}
			if state, err := awaitFork(t.Context(), host, name); err != nil || state.Agent.Last == nil || state.Agent.Last.Outcome != events.Done {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	config.Routes = nil
	verified(t, start(t, config))
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
