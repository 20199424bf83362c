package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// scribe returns a tool that writes the file and text of its arguments into the workspace; during, if given, is called before it does.
func scribe(during func(path string)) actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "write", Description: "writes", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskMedium},
		Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			var arguments struct{ Path, Text string }
			if err := json.Unmarshal(use.Arguments, &arguments); err != nil {
				return actors.ToolResult{}, err
			}
			if during != nil {
				during(arguments.Path)
			}
			return actors.ToolResult{Text: "written"}, os.WriteFile(filepath.Join(use.Workspace, arguments.Path), []byte(arguments.Text), 0o644)
		},
	}
}

// writing is a model that has each message's calls made, one round for each line of it.
func writing(rounds map[string][][]events.ModelCall) actors.Model {
	return actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
		message, answered := "", 0
		for _, m := range q.Messages {
			switch {
			case m.Role == sagas.RoleUser:
				message, answered = m.Text.Inline, 0
			case m.Role == sagas.RoleAssistant && len(m.Calls) > 0:
				answered++
			}
		}
		if calls := rounds[message]; answered < len(calls) {
			return actors.ModelResponse{Calls: calls[answered], Stop: events.StopCalls}, nil
		}
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
	})
}

func call(tool, path, text string) events.ModelCall {
	arguments, _ := json.Marshal(map[string]string{"path": path, "text": text})
	return events.ModelCall{ID: path + text, Tool: tool, Arguments: arguments}
}

// worker makes an agent with a workspace.
func worker(t *testing.T, host *actors.Host, dir string, tools ...string) {
	t.Helper()
	made := create("demo", tools...)
	made.Config.Workspace = dir
	do(t, host, "demo", made)
}

// turnOf sends a message, waits for the end of its turn and returns what its calls returned.
func turnOf(t *testing.T, host *actors.Host, text string) []events.ToolReturned {
	t.Helper()
	feed := watch(t, host, "demo")
	turn, within, returned := do(t, host, "demo", say(text, text)).Turn, false, []events.ToolReturned{}
	until(t, feed, func(e events.Event) bool {
		switch e := e.(type) {
		case events.TurnStarted:
			within = e.Turn == turn
		case events.ToolReturned:
			if within {
				returned = append(returned, e)
			}
		case events.TurnEnded:
			return e.Turn == turn
		}
		return false
	})
	return returned
}

// holds checks what the workspace of the agent was as of a revision, as it is restored.
func holds(t *testing.T, host *actors.Host, at events.Revision, source history.TreeSource, want map[string]string) history.RestoredWorkspace {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	restored, err := host.RestoreWorkspace(t.Context(), "demo", at, dir)
	if err != nil {
		t.Fatalf("restore as of %d: %v", at, err)
	}
	got := map[string]string{}
	for path, content := range actorstest.Look(t, dir) {
		got[path] = content[11:]
	}
	if !reflect.DeepEqual(got, want) || restored.Source != source {
		t.Errorf("as of %d, from %s: %v, want %v from %s (%s)", at, restored.Source, got, want, source, restored.Note)
	}
	return restored
}

// revisionOf finds the first event of a kind at or after a revision.
func revisionOf(t *testing.T, host *actors.Host, kind events.Kind, from events.Revision) events.Revision {
	t.Helper()
	page, err := host.History(t.Context(), events.AgentStream("demo"), from, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Events {
		if page.Events[i].Kind == kind {
			return page.Events[i].Revision
		}
	}
	t.Fatalf("there is no %s from revision %d on", kind, from)
	return 0
}

// TestWorkspaceIsRecorded follows a workspace through three turns, with somebody else who edits it in between, and restores it as of every
// moment that matters.
func TestWorkspaceIsRecorded(t *testing.T) {
	dir, files := t.TempDir(), actorstest.NewWorkspaces()
	actorstest.Write(t, dir, "given", "from the beginning")
	memory := actorstest.NewMemory()
	config := actors.Config{
		Journal: memory, Snapshots: memory, Files: files, Tools: []actors.Tool{scribe(nil), echo()},
		Models: oneModel{writing(map[string][][]events.ModelCall{
			"one":   {{call("write", "a", "1")}, {call("write", "a", "2")}},
			"two":   {{call("echo", "", "")}},
			"three": {{call("write", "b", "3")}},
		})},
	}
	host := start(t, config)
	worker(t, host, dir, "write", "echo")
	before := files.Captured
	first := turnOf(t, host, "one")
	switch {
	case len(first) != 2 || first[0].Before == nil || first[0].Tree == nil || first[1].Tree == nil:
		t.Fatalf("the first turn returned %+v", first)
	case first[1].Before != nil:
		t.Errorf("nobody touched the workspace between two calls, and %+v was found", first[1].Before)
	case files.Captured != before+4:
		t.Errorf("two calls were recorded %d times", files.Captured-before)
	}
	if second := turnOf(t, host, "two"); second[0].Before != nil || second[0].Tree != nil || files.Captured != before+4 {
		t.Errorf("a call that changes nothing is recorded: %+v", second)
	}
	two := revisionOf(t, host, "turn.ended", revisionOf(t, host, "turn.ended", 0)+1)
	actorstest.Write(t, dir, "a", "edited")
	third := turnOf(t, host, "three")
	if third[0].Before == nil || third[0].Before.Same(first[1].Tree) {
		t.Errorf("an edit between two turns was not seen: %+v", third)
	}
	for _, host := range []*actors.Host{host, start(t, config)} {
		begun, returned := revisionOf(t, host, "turn.started", 0), revisionOf(t, host, "tool.returned", 0)
		given := map[string]string{"given": "from the beginning"}
		holds(t, host, 0, history.FromNext, given)
		holds(t, host, begun, history.FromNext, given)
		holds(t, host, returned-1, history.FromNext, given)
		holds(t, host, returned, history.FromCall, map[string]string{"given": "from the beginning", "a": "1"})
		holds(t, host, two, history.FromCall, map[string]string{"given": "from the beginning", "a": "2"})
		begun = revisionOf(t, host, "turn.started", two)
		holds(t, host, begun-1, history.FromCall, map[string]string{"given": "from the beginning", "a": "2"})
		last := holds(t, host, begun, history.FromNext, map[string]string{"given": "from the beginning", "a": "edited"})
		if last.Note == "" || last.Event != events.NewRef(events.AgentStream("demo"), revisionOf(t, host, "tool.returned", begun)) {
			t.Errorf("%+v does not say where it is from", last)
		}
		holds(t, host, events.NoRevision, history.FromCall, map[string]string{"given": "from the beginning", "a": "edited", "b": "3"})
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// TestCallsSideBySide has the calls of one round run at the same time. None takes what the others do for somebody else's work, and the
// last one to return has recorded everything.
func TestCallsSideBySide(t *testing.T) {
	dir, names := t.TempDir(), []string{"a", "b", "c", "d"}
	together := sync.WaitGroup{}
	together.Add(len(names))
	var calls []events.ModelCall
	want := map[string]string{}
	for _, name := range names {
		calls = append(calls, call("write", name, name))
		want[name] = name
	}
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Files: actorstest.NewWorkspaces(),
		Tools:  []actors.Tool{scribe(func(string) { together.Done(); together.Wait() })},
		Models: oneModel{writing(map[string][][]events.ModelCall{"go": {calls}})},
	})
	worker(t, host, dir, "write")
	for i, returned := range turnOf(t, host, "go") {
		if returned.Tree == nil || (returned.Before != nil) != (i == 0) || i == 0 && returned.Before.Files != 0 {
			t.Errorf("call %s, the %d. to return, found %+v and left %+v", returned.Call, i+1, returned.Before, returned.Tree)
		}
	}
	holds(t, host, 0, history.FromNext, map[string]string{})
	holds(t, host, events.NoRevision, history.FromCall, want)
}

// TestCallsOneAfterAnother has the calls of one round wait for each other's place: the second finds what the first did, which is not in history yet
// when it is sent.
func TestCallsOneAfterAnother(t *testing.T) {
	dir := t.TempDir()
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Files: actorstest.NewWorkspaces(), Tools: []actors.Tool{scribe(nil)},
		Models: oneModel{writing(map[string][][]events.ModelCall{"go": {{call("write", "a", "a"), call("write", "b", "b"), call("write", "c", "c")}}})},
	}.Within(actors.Limits{ToolCalls: 1}))
	worker(t, host, dir, "write")
	for i, returned := range turnOf(t, host, "go") {
		if (returned.Before != nil) != (i == 0) || returned.Tree == nil || returned.Tree.Files != i+1 {
			t.Errorf("call %d found %+v and left %+v", i, returned.Before, returned.Tree)
		}
	}
}

// TestCutOff cancels a turn while its call changes files. Nothing of the call is in history, and the next call finds what it did.
func TestCutOff(t *testing.T) {
	dir, begun, release := t.TempDir(), make(chan struct{}), make(chan struct{})
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Files: actorstest.NewWorkspaces(),
		Tools: []actors.Tool{scribe(func(path string) {
			if path == "half" {
				close(begun)
				<-release
			}
		})},
		Models: oneModel{writing(map[string][][]events.ModelCall{"cut": {{call("write", "half", "done")}}, "next": {{call("write", "whole", "done")}}})},
	})
	worker(t, host, dir, "write")
	do(t, host, "demo", say("cut", "cut"))
	<-begun
	do(t, host, "demo", sagas.Cancel{Meta: meta("cancel")})
	close(release)
	for deadline := time.After(10 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the call never wrote")
		case <-time.After(time.Millisecond):
		}
	}
	returned := turnOf(t, host, "next")
	if len(returned) != 1 || returned[0].Before == nil || returned[0].Before.Files != 1 {
		t.Errorf("the next call returned %+v", returned)
	}
}

// unable is a store of workspaces that fails.
type unable struct{ storage.Workspaces }

func (unable) Capture(context.Context, string) (events.Tree, error) {
	return events.Tree{}, errors.New("the disk is on fire")
}

// TestUnrecorded: a workspace that cannot be recorded does not stop a call; history says why, and so does whoever is asked to restore it.
func TestUnrecorded(t *testing.T) {
	host := start(t, actors.Config{
		Journal: actorstest.NewMemory(), Files: unable{actorstest.NewWorkspaces()}, Tools: []actors.Tool{scribe(nil)},
		Models: oneModel{writing(map[string][][]events.ModelCall{"go": {{call("write", "a", "a")}}})},
	})
	worker(t, host, t.TempDir(), "write")
	returned := turnOf(t, host, "go")
	if returned[0].Failed || returned[0].Tree == nil || returned[0].Tree.Missing != "the disk is on fire" || returned[0].Tree.Manifest != nil {
		t.Errorf("%+v", returned)
	}
	var refused *sagas.RefusalError
	_, err := host.RestoreWorkspace(t.Context(), "demo", events.NoRevision, filepath.Join(t.TempDir(), "copy"))
	if !errors.As(err, &refused) || refused.Code != sagas.RefusedState {
		t.Errorf("restored: %v", err)
	}
}

// TestNothingRecorded: an agent whose calls only read has its present workspace, and one without a workspace or a host that records
// nothing refuse.
func TestNothingRecorded(t *testing.T) {
	dir, memory := t.TempDir(), actorstest.NewMemory()
	actorstest.Write(t, dir, "f", "text")
	host := start(t, actors.Config{Journal: memory, Files: actorstest.NewWorkspaces(), Tools: []actors.Tool{echo()}, Models: oneModel{writing(nil)}})
	worker(t, host, dir, "echo")
	turnOf(t, host, "go")
	for _, at := range []events.Revision{0, events.NoRevision} {
		if restored := holds(t, host, at, history.FromPresent, map[string]string{"f": "text"}); restored.Note == "" {
			t.Error("it does not say that this is the present workspace")
		}
	}
	idle := create("idle", "echo")
	idle.ID = "create-idle"
	do(t, host, "idle", idle)
	without := start(t, actors.Config{Journal: memory, Tools: []actors.Tool{echo()}, Models: oneModel{writing(nil)}})
	for _, test := range []struct {
		host  *actors.Host
		agent events.AgentID
	}{{host, "idle"}, {without, "demo"}, {host, "nobody"}} {
		var refused *sagas.RefusalError
		if state, err := test.host.Workspace(t.Context(), test.agent, events.NoRevision); !errors.As(err, &refused) {
			t.Errorf("the workspace of %s: %+v, %v", test.agent, state, err)
		}
	}
}

// TestCallsThatRecordedNothing: a host that records nothing in between is not passed over in silence.
func TestCallsThatRecordedNothing(t *testing.T) {
	dir, memory := t.TempDir(), actorstest.NewMemory()
	config := actors.Config{
		Journal: memory, Files: actorstest.NewWorkspaces(), Tools: []actors.Tool{scribe(nil)},
		Models: oneModel{writing(map[string][][]events.ModelCall{"one": {{call("write", "a", "1")}}, "two": {{call("write", "a", "2")}}})},
	}
	host := start(t, config)
	worker(t, host, dir, "write")
	turnOf(t, host, "one")
	without := config
	without.Files = nil
	turnOf(t, start(t, without), "two")
	looking := config
	looking.Resting = true
	restored := holds(t, start(t, looking), events.NoRevision, history.FromCall, map[string]string{"a": "1"})
	if restored.Note != "calls since, which may have changed files, were lost or recorded nothing: 1" {
		t.Errorf("the note says %q", restored.Note)
	}
}
