package actors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// undoing is a host whose agent wrote a file in each of two turns, in a workspace that held one before.
func undoing(t *testing.T, memory *actorstest.Memory) (actors.Config, sagas.Create) {
	t.Helper()
	dir := t.TempDir()
	actorstest.Write(t, dir, "kept.txt", "as it was")
	made := create("demo", "write")
	made.Config.Workspace = dir
	return actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), OpeningCredit: events.Dollar, Masker: actorstest.Unmasked{}, Files: actorstest.NewWorkspaces(),
		Tools: []actors.Tool{scribe(nil)},
		Models: oneModel{writing(map[string][][]events.ModelCall{
			"one": {{call("write", "kept.txt", "changed")}}, "two": {{call("write", "new.txt", "made")}}, "three": {},
		})},
	}, made
}

// TestUndoCrash lets the store die at each append of an undo, in every way. The next host ends it: the files are as they were, once, a message that came meanwhile
// starts its turn after it, and every decision is decided alike.
func TestUndoCrash(t *testing.T) {
	for _, how := range []death{unstored, untold, inBetween} {
		for n := 1; n <= 4; n++ {
			t.Run(fmt.Sprintf("append %d, %s", n, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { undoCrash(t, n, how) })
			})
		}
	}
}

func undoCrash(t *testing.T, n int, how death) {
	memory := actorstest.NewMemory()
	config, made := undoing(t, memory)
	undo, order := sagas.Undo{Meta: meta("undo"), To: 0, By: "ann"}, actors.Origin{Actor: "test"}
	dieDoing(t, memory, config, n, how, func(first *actors.Host) {
		do(t, first, "demo", made)
		feed := watch(t, first, "demo")
		for _, text := range []string{"one", "two"} {
			do(t, first, "demo", say(text, text))
			until(t, feed, func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
		}
	}, func(first *actors.Host) {
		if _, err := first.Do(t.Context(), events.AgentStream("demo"), undo, order); err == nil {
			_, _ = first.Do(t.Context(), events.AgentStream("demo"), say("three", "three"), order) // sent again below
		}
	})
	host := start(t, config)
	do(t, host, "demo", undo) // accepted once
	do(t, host, "demo", say("three", "three"))
	feed := watch(t, host, "demo")
	ended, turns := 0, 0
	until(t, feed, func(e events.Event) bool {
		switch e := e.(type) {
		case events.UndoEnded:
			if ended++; e.Failed() || turns != 2 {
				t.Errorf("after %d turns: %s", turns, e)
			}
		case events.TurnStarted:
			turns++
		}
		return turns == 3
	})
	kept, err := os.ReadFile(filepath.Join(made.Config.Workspace, "kept.txt"))
	if _, gone := os.Stat(filepath.Join(made.Config.Workspace, "new.txt")); err != nil || string(kept) != "as it was" || gone == nil || ended != 1 {
		t.Errorf("%d undos ended, kept.txt is %q, new.txt: %v", ended, kept, gone)
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}
