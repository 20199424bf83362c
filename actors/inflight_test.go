package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// priced gives every reply a price.
type priced struct{ cost events.Money }

func (p priced) Cost(string, events.Usage) (events.Money, bool) { return p.cost, true }

// outage is a store that can be taken away and given back, and a host on it with a tool and a model that count what they do.
type outage struct {
	memory *actorstest.Memory
	away   atomic.Bool
	asked  atomic.Int64 // models
	runs   atomic.Int64 // of the tool
	during func()       // while the tool runs; nil: nothing
	asking func()       // while the model is asked; nil: nothing
	config actors.Config
}

var errAway = errors.New("the store is away")

func newOutage() *outage {
	o := &outage{memory: actorstest.NewMemory()}
	o.memory.Fail(func(events.Stream, []events.Envelope) error {
		if o.away.Load() {
			return errAway
		}
		return nil
	})
	tool := actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "pay", Description: "pays", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskHigh},
		Does: func(context.Context, actors.ToolUse) (actors.ToolResult, error) {
			o.runs.Add(1)
			if o.during != nil {
				o.during()
			}
			return actors.ToolResult{Text: "paid"}, nil
		},
	}
	model := actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
		o.asked.Add(1)
		if o.asking != nil {
			o.asking()
		}
		if q.Messages[len(q.Messages)-1].Role == sagas.RoleTool {
			return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
		}
		return actors.ModelResponse{Calls: []events.ModelCall{{ID: "1", Tool: "pay", Arguments: json.RawMessage(`{"to":"ann"}`)}}, Stop: events.StopCalls}, nil
	})
	o.config = actors.Config{
		Journal: o.memory, Snapshots: o.memory, Blobs: actorstest.NewBlobs(), Models: oneModel{model}, Tools: []actors.Tool{tool},
		Prices: priced{events.Dollar / 100}, OpeningCredit: events.Dollar,
	}
	return o
}

// done waits for the end of the turn and checks that everything was done once, and that history says no more than that.
func (o *outage) done(t *testing.T, host *actors.Host) {
	t.Helper()
	seen := until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	for _, event := range seen {
		switch e := event.(type) {
		case events.ToolLost, events.ModelFailed, events.ApprovalRequested:
			t.Errorf("history says: %s", e)
		case events.TurnEnded:
			if e.Outcome != events.Done || e.Cost != events.Dollar/50 {
				t.Error(e)
			}
		}
	}
	if o.asked.Load() != 2 || o.runs.Load() != 1 {
		t.Errorf("the model was asked %d times and the tool ran %d times, want 2 and 1", o.asked.Load(), o.runs.Load())
	}
	if left, err := host.Unstored(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("still waiting: %v", left)
	}
	verified(t, host)
}

// TestOutage takes the store away for ten minutes: while a tool runs that ends meanwhile, or later; while the model replies; and for longer than a call waits to be
// claimed. Whatever ended is kept, nothing is cut off, run, asked or paid twice.
func TestOutage(t *testing.T) {
	const away, soon, late = 10 * time.Minute, time.Minute, 15 * time.Minute
	first := func(of *atomic.Int64, then func()) func() {
		return func() {
			if of.Load() == 1 {
				then()
			}
		}
	}
	for name, set := range map[string]func(o *outage, leave func()){
		"a call ends meanwhile":          func(o *outage, leave func()) { o.during = func() { leave(); <-time.After(soon) } },
		"a call ends later":              func(o *outage, leave func()) { o.during = func() { leave(); <-time.After(late) } },
		"the first reply ends meanwhile": func(o *outage, leave func()) { o.asking = first(&o.asked, func() { leave(); <-time.After(soon) }) },
		"the first reply ends later": func(o *outage, leave func()) {
			o.asking = first(&o.asked, func() { leave(); <-time.After(9*time.Minute + 59*time.Second) })
		},
		"the call waits for its claim": func(o *outage, leave func()) {
			o.memory.Fail(func(stream events.Stream, _ []events.Envelope) error {
				if strings.HasPrefix(string(stream), "effect-") && o.runs.Load() == 0 && !o.away.Load() {
					if o.asked.Add(100) < 200 { // once
						leave()
					}
					o.asked.Add(-100)
				}
				if o.away.Load() {
					return errAway
				}
				return nil
			})
		},
	} {
		for _, inLine := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, in line %t", name, inLine), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOutage()
					if !inLine {
						o.config.Journal = waitedFor{o.memory}
					}
					var left atomic.Bool
					set(o, func() {
						if !left.Swap(true) {
							o.away.Store(true)
							time.AfterFunc(away, func() { o.away.Store(false) })
						}
					})
					host := start(t, o.config.Within(actors.Limits{Tool: time.Hour}))
					do(t, host, "demo", create("demo", "pay"))
					do(t, host, "demo", say("c1", "go"))
					<-time.After(away - time.Second)
					if !left.Load() {
						t.Fatal("the store was never away")
					}
					waiting, err := host.Unstored(t.Context(), "demo")
					if err != nil {
						t.Fatal(err)
					}
					if len(waiting) == 1 {
						if !strings.Contains(waiting[0].Reason, "away") || !strings.Contains(waiting[0].String(), "wait") && !strings.Contains(waiting[0].String(), "kept") {
							t.Errorf("why it waits: %v", waiting[0])
						}
					} else if !strings.HasSuffix(name, "later") {
						t.Errorf("%d answers wait: %v", len(waiting), waiting)
					}
					<-time.After(late)
					o.done(t, host)
				})
			})
		}
	}
}

// TestOutageOfMany has more answers wait than memory is meant for: they wait in the blob store.
func TestOutageOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage()
		blobs := &countedBlobs{Blobs: actorstest.NewBlobs()}
		o.config.Blobs = blobs
		o.during = func() {
			o.away.Store(true)
			<-time.After(time.Second)
			time.AfterFunc(5*time.Minute, func() { o.away.Store(false) })
		}
		host := start(t, o.config.Within(actors.Limits{Answers: 1}))
		do(t, host, "demo", create("demo", "pay"))
		do(t, host, "demo", say("c1", "go"))
		<-time.After(20 * time.Minute)
		o.done(t, host)
		if blobs.puts.Load() == 0 {
			t.Error("nothing went to the blob store")
		}
	})
}

type countedBlobs struct {
	storage.Blobs
	puts atomic.Int64
}

func (c *countedBlobs) Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error) {
	c.puts.Add(1)
	return c.Blobs.Put(ctx, media, content)
}

// TestTakenOver has somebody else write to an agent's stream while its call runs: the call goes on, and its result is recorded after what
// the other one wrote.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage()
		o.during = func() {
			config := create("demo", "pay").Config
			config.Wallet, config.Tenant = sagas.DefaultWallet, sagas.DefaultTenant
			write(t, o.memory, "agent-demo", events.AgentConfigured{Config: config})
			<-time.After(time.Minute)
		}
		host := start(t, o.config)
		do(t, host, "demo", create("demo", "pay"))
		do(t, host, "demo", say("c1", "go"))
		<-time.After(5 * time.Minute)
		do(t, host, "demo", sagas.Configure{Meta: meta("c2"), Config: create("demo", "pay").Config})
		o.done(t, host)
	})
}

// write appends an event to a stream as another writer would.
func write(t *testing.T, journal storage.Journal, stream events.Stream, event events.Event) {
	t.Helper()
	page, err := journal.Read(t.Context(), stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		t.Fatal(err)
	}
	data, version, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	last := page.Events[0]
	_, err = journal.Append(t.Context(), stream, storage.ExpectRevision(last.Revision), []events.Envelope{{
		ID: uuid.New(), Kind: event.Kind(), Version: version, Time: storage.Now(), Actor: "another", Command: "another", Correlation: "another",
		Digest: last.Digest.Next(event.Kind(), data), Data: data,
	}})
	if err != nil {
		t.Fatal(err)
	}
}
