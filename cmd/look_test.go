package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

// life runs a command line in this process, on a data directory of the test's own.
func life(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = start(Config{}, args, &o, &e)
	return status, o.String(), e.String()
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := life(t, args...)
	if status != 0 {
		t.Fatalf("life %s: status %d\n%s%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

func tour(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_DATA", filepath.Join(dir, "data"))
	useTestStore(t)
	must(t, "sample", filepath.Join(dir, "ws"))
	must(t, "run", "--agent", "demo", "--workspace", filepath.Join(dir, "ws"), "--model", "scripted/tour", "Take the tour")
}

func decodeLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var one T
		if err := decoder.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// TestLookingBack: life state --at N is the fold of the first N+1 events, for every N, and looking stores nothing.
func TestLookingBack(t *testing.T) {
	tour(t)
	printed := must(t, "history", "demo", "--json")
	recorded := decodeLines[events.Envelope](t, printed)
	agent := sagas.NewAgent()
	for n := range recorded {
		fact, err := sagas.FactOf(&recorded[n])
		if err != nil {
			t.Fatal(err)
		}
		agent = agent.Apply(fact)
		want := history.AgentState{
			Agent: agent, Vector: agent.Vector(), Ready: []events.RequestID{}, Revision: events.Revision(n), Digest: recorded[n].Digest,
		}
		for _, request := range agent.Ready() {
			if id := request.RequestID(); id != "" {
				want.Ready = append(want.Ready, id)
			}
		}
		var expected bytes.Buffer
		if err := (&app{out: &expected}).printJSON(api.NewState(want)); err != nil {
			t.Fatal(err)
		}
		if got := must(t, "state", "demo", "--json", "--at", fmt.Sprint(n)); got != expected.String() {
			t.Fatalf("at %d:\n%s\nwant\n%s", n, got, &expected)
		}
	}
	if status, _, errs := life(t, "state", "demo", "--at", fmt.Sprint(len(recorded))); status != exitError || !strings.Contains(errs, "ends at revision") {
		t.Errorf("after the end: status %d, %s", status, errs)
	}
	if again := must(t, "history", "demo", "--json"); again != printed {
		t.Error("looking changed the history")
	}
}

// TestVerifyNamesADivergence: history that says what this build does not decide, or whose chain is broken, is named.
func TestVerifyNamesADivergence(t *testing.T) {
	tour(t)
	recorded := decodeLines[events.Envelope](t, must(t, "history", "demo", "--json"))
	last := recorded[len(recorded)-1]
	a := &app{log: slog.New(slog.DiscardHandler)}
	var err error
	if a.config, err = resolve(os.Getenv, flagsOf(nil)); err != nil {
		t.Fatal(err)
	}
	store, err := a.config.place().Open(t.Context(), a.log)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(event events.Event, before events.Digest) events.Envelope {
		text, version, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		return events.Envelope{
			ID: uuid.New(), Kind: event.Kind(), Version: version, Time: last.Time + 1, Command: "forged", Data: text, Digest: before.Next(event.Kind(), text),
		}
	}
	for stream, digest := range map[events.Stream]events.Digest{events.AgentStream("demo"): last.Digest, "effect-other": {1}} {
		event := forged(events.TurnEnded{Turn: "demo/9", Outcome: events.Done}, digest)
		if _, err := store.Append(t.Context(), stream, storage.ExpectAny, []events.Envelope{event}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	status, out, errs := life(t, "verify", "--all")
	if status != exitError || !strings.Contains(out, fmt.Sprintf("agent-demo@%d: ", len(recorded))) ||
		!strings.Contains(out, "effect-other@0: digest: the digest does not fit") || !strings.Contains(errs, "differ in 2 places") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if status, out, _ := life(t, "verify", "demo", "--json"); status != exitError || !strings.Contains(out, `"failures":[{"stream":"agent-demo"`) {
		t.Errorf("status %d\n%s", status, out)
	}
}
