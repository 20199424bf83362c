package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// pruned is a store in which other programs have set limits on streams: their beginnings are not read any more.
type pruned struct {
	*actorstest.Memory
	mu    sync.Mutex
	first map[events.Stream]events.Revision // that is read; math.MaxInt64: the stream was deleted
}

func (p *pruned) prune(stream events.Stream, first events.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		p.first = map[events.Stream]events.Revision{}
	}
	p.first[stream] = first
}

func (p *pruned) from(stream events.Stream) events.Revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first[stream]
}

func (p *pruned) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if of, metadata := strings.CutPrefix(string(stream), "$$"); metadata {
		page := storage.Page{Last: events.NoRevision, End: true}
		if p.from(events.Stream(of)) == math.MaxInt64 {
			page.Last, page.Events = 0, []events.Envelope{{Stream: stream, Kind: "$metadata", Data: json.RawMessage(`{"$tb":9223372036854775807}`)}}
		}
		return page, nil
	}
	first := p.from(stream)
	if first == math.MaxInt64 {
		return storage.Page{Last: events.NoRevision, End: true}, nil
	}
	if direction == storage.Forward {
		from = max(from, first)
	}
	page, err := p.Memory.Read(ctx, stream, from, direction, limit)
	for len(page.Events) > 0 && page.Events[len(page.Events)-1].Revision < first {
		page.Events, page.End = page.Events[:len(page.Events)-1], true
	}
	return page, err
}

func (p *pruned) count(t *testing.T) int {
	t.Helper()
	page, err := p.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{Events: 4096})
	if err != nil || !page.End {
		t.Fatal(err, page.End)
	}
	return len(page.Events)
}

// entities makes one of each kind, with three events in each stream.
func entities(t *testing.T, host *actors.Host) {
	t.Helper()
	do(t, host, "demo", create("demo"))
	if _, err := host.Do(t.Context(), "wallet-purse", sagas.OpenWallet{Meta: meta("open"), Wallet: "purse", Credit: events.Dollar}, actors.Origin{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		for stream, command := range commands(fmt.Sprint("made", i)) {
			if _, err := host.Do(t.Context(), stream, command, actors.Origin{Actor: "test"}); err != nil {
				t.Fatalf("%s: %v", stream, err)
			}
		}
	}
}

// commands are one for each kind of entity that it accepts, and that one would accept that was begun again.
func commands(id string) map[events.Stream]sagas.Command {
	note := events.Note{ID: events.NoteID(id), Title: id, Text: events.Text{Inline: "text"}}
	return map[events.Stream]sagas.Command{
		"agent-demo":        say(id, "once more"),
		"wallet-purse":      sagas.Credit{Meta: meta(id), Amount: events.Dollar, By: "test"},
		"homeostasis-acme":  sagas.Adopt{Meta: meta(id), Rules: sagas.DefaultRules(), By: "test"},
		"knowledge-acme":    sagas.KeepNotes{Meta: meta(id), Write: []events.Note{note}, Author: events.NoteAuthor{By: "ann"}},
		"projections-local": sagas.AddProjection{Meta: meta(id), Source: events.Text{Inline: id}, By: "test"},
	}
}

// named declares a projection of a name that is its text.
func named(source []byte) (projections.Spec, error) {
	found, err := projections.Find(projections.RosterName)
	if err != nil {
		return projections.Spec{}, err
	}
	spec := *found
	spec.Name = string(source)
	return spec, nil
}

// TestBeginningGone: an entity whose stream has lost its beginning decides nothing from the rest, whatever its kind and with and without
// snapshots; it says what is gone, nothing is stored, and it goes on when the beginning is back.
func TestBeginningGone(t *testing.T) {
	for name, first := range map[string]events.Revision{"first event": 1, "all but the last": 2, "deleted": math.MaxInt64} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, snapshots %v", name, cached), func(t *testing.T) {
				store := &pruned{Memory: actorstest.NewMemory()}
				config := actors.Config{Journal: store, Models: oneModel{actorstest.FakeModel(twoRounds)}, Resting: true, Declare: named}
				if cached {
					config.Snapshots = store
				}
				host, err := actors.New(t.Context(), withBlobs(config))
				if err != nil {
					t.Fatal(err)
				}
				entities(t, host)
				if err := host.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := store.count(t)
				host = start(t, config)
				for stream, command := range commands("again") {
					store.prune(stream, first)
					_, err := host.Do(t.Context(), stream, command, actors.Origin{Actor: "test"})
					var unreadable *history.UnreadableError
					if !errors.As(err, &unreadable) || !strings.Contains(err.Error(), "of "+string(stream)) || !strings.Contains(err.Error(), "$$"+string(stream)) {
						t.Errorf("%s: %v", stream, err)
					}
				}
				if _, err := host.State(t.Context(), "demo", events.NoRevision); err == nil || !strings.Contains(err.Error(), "gone") {
					t.Errorf("state: %v", err)
				}
				if _, err := host.Wallet(t.Context(), "purse"); err == nil || !strings.Contains(err.Error(), "gone") {
					t.Errorf("wallet: %v", err)
				}
				if after := store.count(t); after != before {
					t.Errorf("%d events were stored", after-before)
				}
			})
		}
	}
}

// TestWalletGone: a turn whose wallet lost its beginning stops with the reason, and spends nothing.
func TestWalletGone(t *testing.T) {
	store := &pruned{Memory: actorstest.NewMemory()}
	config := actors.Config{Journal: store, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}}
	host := start(t, config)
	do(t, host, "demo", create("demo", "echo"))
	store.prune("wallet-main", math.MaxInt64)
	do(t, host, "demo", say("c1", "go"))
	seen := fmt.Sprint(until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "turn.ended" || e.Kind() == "turn.paused" }))
	if !strings.Contains(seen, "wallet-main are gone") || strings.Contains(seen, "hello") {
		t.Error(seen)
	}
}

// anotherProgram appends an event that Life did not write.
func anotherProgram(t *testing.T, journal storage.Journal, stream events.Stream, kind events.Kind, data string) {
	t.Helper()
	e := events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Time: storage.Now(), Data: json.RawMessage(data), Foreign: &events.Foreign{}}
	if _, err := journal.Append(t.Context(), stream, storage.ExpectAny, []events.Envelope{e}); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherProgramsEvent: whatever somebody else appends to an agent's stream, everything about the agent names it as what it is, and a
// fork of what was before it goes on.
func TestAnotherProgramsEvent(t *testing.T) {
	for kind, data := range map[events.Kind]string{
		"note": `{"x":1}`, "agent.retired": `{"reason":"done"}`, "message.received": `{"message":"m9","verb":"collect","text":"pay"}`, "turn.ended": `7`, "$>": `"0@other"`,
	} {
		t.Run(string(kind), func(t *testing.T) {
			memory := actorstest.NewMemory()
			config := actors.Config{Journal: memory, Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}}
			host, err := actors.New(t.Context(), withBlobs(config))
			if err != nil {
				t.Fatal(err)
			}
			do(t, host, "demo", create("demo", "echo"))
			do(t, host, "demo", say("c1", "go"))
			until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
			if err := host.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			page, err := memory.Read(t.Context(), "agent-demo", storage.Latest, storage.Backward, storage.Limit{Events: 1})
			if err != nil {
				t.Fatal(err)
			}
			last := page.Last
			anotherProgram(t, memory, "agent-demo", kind, data)
			host = start(t, config)
			named := fmt.Sprintf(`agent-demo@%d (%q) is not Life's`, last+1, kind)
			for name, command := range map[string]sagas.Command{"send": say("c2", "more"), "release": sagas.Release{Meta: meta("r"), By: "ann"}, "retire": sagas.Retire{Meta: meta("t")}} {
				_, err := host.Do(t.Context(), "agent-demo", command, actors.Origin{Actor: "test"})
				if err == nil || !strings.Contains(err.Error(), named) || !strings.Contains(err.Error(), fmt.Sprintf("life fork demo --at %d", last)) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := host.State(t.Context(), "demo", events.NoRevision); err == nil || !strings.Contains(err.Error(), named) {
				t.Errorf("state: %v", err)
			}
			list, err := host.Agents(t.Context(), projections.AgentFilter{Status: projections.StatusBroken})
			if err != nil || len(list) != 1 || !strings.Contains(list[0].Problem, fmt.Sprintf("agent-demo@%d", last+1)) {
				t.Errorf("agents: %v %+v", err, list)
			}
			if _, err := host.Fork(t.Context(), actors.ForkOrder{ID: "f", Parent: "demo", At: last, Name: "spare", Workspace: actors.NoWorkspace}, actors.Origin{Actor: "test"}); err != nil {
				t.Fatal(err)
			}
			seen := fmt.Sprint(until(t, watch(t, host, "spare"), func(e events.Event) bool { return e.Kind() == "fork.finished" }))
			if strings.Contains(seen, "left its parent") {
				t.Error(seen)
			}
			if receipt := do(t, host, "spare", say("c3", "go on")); receipt.Turn == "" {
				t.Errorf("%+v", receipt)
			}
		})
	}
}

func withBlobs(c actors.Config) actors.Config {
	c.Blobs, c.Masker, c.OpeningCredit = actorstest.NewBlobs(), actorstest.Unmasked{}, events.Dollar
	return c
}
