package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// recording keeps the records of a workspace during one round of an agent's turn, so that what the calls of the round change, one after another or
// side by side, is not taken for what somebody else changed.
//
// Calls of one round may run side by side in one workspace. What is recorded after a call is then everything that was there when
// it returned, also what the others had done by then; the last one to return has it all.
//
// Records are made before they are in history: contents and manifests are blobs when Capture returns, and the call's tool.returned
// refers to them. If we die in between, blobs are left that nothing refers to, and they do no harm. What the call did is then found by
// the next one that records, as something that it found.
type recording struct {
	round events.CallID // without the call's own number

	mu      sync.Mutex
	running int          // calls that may be changing files
	found   *events.Tree // before they began, for the first one that returns
	last    *events.Tree // recorded in this round; may be in history by now, or soon
}

// recordTime is how long a record may take.
const recordTime = 2 * time.Minute

// recordingOf returns the recording of the round that a call belongs to; nil when nothing is recorded around it. It runs in the agent's
// goroutine.
func (a *agent) recordingOf(r sagas.AskTool) *recording {
	if !a.host.records(r) {
		return nil
	}
	number, _, _ := strings.Cut(string(r.Call), ".")
	round := events.CallID(string(r.Turn) + "." + number)
	if a.recording == nil || a.recording.round != round {
		a.recording = &recording{round: round}
	}
	return a.recording
}

// records reports whether the files of a workspace are recorded around a call: its tool may change them.
func (h *Host) records(r sagas.AskTool) bool {
	if h.workspaces == nil || r.Workspace == "" {
		return false
	}
	tool, known := h.tool(r.Tool)
	return known && tool.Spec().Risk > events.RiskLow
}

// begin records the workspace as the call finds it, unless that is how history ends with it. While other calls of the round run there is nothing to
// tell theirs from what somebody else did.
func (r *recording) begin(ctx context.Context, h *Host, ask sagas.AskTool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running++
	if r.running > 1 {
		return
	}
	tree := h.capture(ctx, ask)
	if !tree.Same(ask.Recorded) && !tree.Same(r.last) {
		r.found, r.last = tree, tree
	}
}

// end records the workspace as the call leaves it, and has the call answered with the record before another one is made: so history has
// records in the order in which they were made, and the last one is the latest. The call's own time may be over; only when nobody waits for
// it any more is this cut off.
func (r *recording) end(call context.Context, h *Host, ask sagas.AskTool, answer func(before, after *events.Tree)) {
	ctx, cancel := context.WithCancel(h.running)
	defer cancel()
	defer context.AfterFunc(call, func() {
		if abandoned(call) {
			cancel()
		}
	})()
	r.mu.Lock()
	defer r.mu.Unlock()
	tree := h.capture(ctx, ask)
	answer(r.found, tree)
	r.found, r.last = nil, tree
}

// finish says that a call is over.
func (r *recording) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
}

// capture records a workspace. That it cannot be recorded does not stop the call; history says so.
func (h *Host) capture(ctx context.Context, ask sagas.AskTool) *events.Tree {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	tree, err := h.workspaces.Capture(ctx, ask.Workspace)
	switch {
	case err == nil:
		return &tree
	case errors.Is(err, context.DeadlineExceeded):
		return &events.Tree{Missing: "the workspace was not recorded within " + recordTime.String()}
	case !closed(err):
		h.log.Error("record workspace", "request", ask.ID, "workspace", ask.Workspace, "error", err)
	}
	return &events.Tree{Missing: err.Error()}
}

// undoTime is how long it may take to restore the files of a workspace.
const undoTime = 5 * time.Minute

// askUndo restores the files of the agent's workspace, and has history say what became of it. If we die in between, it is asked for once more, and finds
// those files restored that are.
func (a *agent) askUndo(r sagas.AskUndo) asked {
	ctx, cancel := context.WithTimeout(a.host.running, undoTime)
	answer, host, begun := a.answer(), a.host, time.Now()
	host.run(func() {
		ended, err := host.undo(ctx, &r)
		if abandoned(ctx) || closed(err) {
			return // the next host goes on with it
		}
		ended.Request, ended.Duration = r.ID, events.Micros(time.Since(begun).Microseconds())
		answer(sagas.RecordUndo{Meta: meta(r.ID), Ended: ended}, events.Ref(r.ID))
	})
	return asked(cancel)
}

// undo restores the files. What keeps it from that is said in the event.
func (h *Host) undo(ctx context.Context, r *sagas.AskUndo) (events.UndoEnded, error) {
	if h.workspaces == nil {
		return events.UndoEnded{Detail: "this host records no files of workspaces (setting record)"}, nil
	}
	done, err := h.workspaces.Revert(ctx, r.Workspace, storage.Reversion{To: r.Tree, Expected: r.Recorded, Force: r.Force})
	ended := events.UndoEnded{Written: done.Written, Removed: done.Removed, Others: done.Others}
	ended.More = max(len(done.Written)-events.UndoPaths, 0) + max(len(done.Removed)-events.UndoPaths, 0)
	for _, file := range done.Left {
		ended.Left = append(ended.Left, file.Path+": "+file.Why)
	}
	if done.Before.Manifest != nil && !done.Before.Same(r.Recorded) {
		ended.Before = &done.Before
	}
	if done.After.Manifest != nil {
		ended.Tree = &done.After
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		ended.Detail = "it took longer than " + undoTime.String() + ": the files may be partly restored, and to ask again goes on"
	case err != nil:
		ended.Detail = err.Error()
	case len(done.Others) > 0:
		ended.Detail = "somebody else changed " + strings.Join(done.Others[:min(len(done.Others), 3)], ", ") + " since: with force it is restored nonetheless, and what is there now stays in history"
	}
	return ended, err
}

// completeUndo finds the files that are asked for.
func (h *Host) completeUndo(ctx context.Context, stream events.Stream, c sagas.Undo) (sagas.Command, error) {
	_, id := stream.Split()
	agent := events.AgentID(id)
	found, err := h.Workspace(ctx, agent, c.To)
	if err != nil {
		return c, err
	}
	now, err := h.State(ctx, agent, events.NoRevision)
	switch {
	case err != nil:
		return c, err
	case c.To < 0 || c.To > now.Revision:
		return c, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("agent %s has no revision %d: its latest is %d", agent, c.To, now.Revision)}
	case found.Source == history.FromPresent:
		return c, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("no call of %s recorded its files, so there is nothing to undo", agent)}
	case found.Workspace != now.Agent.Config.Workspace:
		return c, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf(
			"as of revision %d agent %s worked in %s, and now in %s: life workspace restore %s --at %d --to DIR makes a copy of what it had there", c.To, agent, found.Workspace, now.Agent.Config.Workspace, agent, c.To)}
	}
	c.Tree = found.Tree
	return c, nil
}
