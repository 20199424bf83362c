package actors_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestRecordingCrash lets the store die at every append of a turn that writes files, before it stores and after it stored without saying so,
// and lets another host go on. Whatever was lost on the way, the workspace as of the end is what is there, as of the beginning what was
// there, and history verifies.
func TestRecordingCrash(t *testing.T) {
	for _, how := range []death{unstored, untold, inBetween} {
		for n := 1; n <= 14; n++ {
			t.Run(fmt.Sprintf("append %d, %s", n, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { recordingCrash(t, n, how) })
			})
		}
	}
}

func recordingCrash(t *testing.T, n int, how death) {
	dir, memory := t.TempDir(), actorstest.NewMemory()
	actorstest.Write(t, dir, "given", "g")
	config := actors.Config{
		Journal: memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, Files: actorstest.NewWorkspaces(), OpeningCredit: events.Dollar,
		Tools:  []actors.Tool{scribe(nil)},
		Models: oneModel{writing(map[string][][]events.ModelCall{"go": {{call("write", "a", "1"), call("write", "b", "1")}, {call("write", "a", "2")}}})},
	}
	first, err := actors.New(t.Context(), config.Within(actors.Limits{Append: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	made := create("demo", "write")
	made.Config.Workspace, made.Config.Policy.OnLost = dir, events.LostTell
	do(t, first, "demo", made)
	dead := dieAt(memory, n, how)
	_, sendErr := first.Do(t.Context(), events.AgentStream("demo"), say("go", "go"), actors.Origin{})
	select {
	case <-dead:
	case <-time.After(200 * time.Millisecond): // fewer appends than n: it ran to its end
	}
	memory.Fail(nil)
	memory.FailAfter(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	memory.FailAfter(nil)

	second := start(t, config)
	do(t, second, "demo", say("go", "go")) // accepted once
	until(t, watch(t, second, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	if report, err := second.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v (send said %v)", err, report.Failures, sendErr)
	}
	want := map[string]string{}
	for path, content := range actorstest.Look(t, dir) {
		want[path] = content[11:]
	}
	state, err := second.Workspace(t.Context(), "demo", events.NoRevision)
	if err != nil {
		t.Fatal(err)
	}
	if state.Source == history.FromPresent { // every call was lost, and nothing was recorded since
		return
	}
	if lost(t, second) == 0 { // the last word is a record, not a call of which nobody knows
		holds(t, second, events.NoRevision, history.FromCall, want)
		holds(t, second, 0, history.FromNext, map[string]string{"given": "g"})
	}
}

// lost counts the calls of which history knows only that they began.
func lost(t *testing.T, host *actors.Host) int {
	t.Helper()
	page, err := host.History(t.Context(), events.AgentStream("demo"), 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range page.Events {
		if page.Events[i].Kind == "tool.lost" {
			n++
		}
	}
	return n
}
