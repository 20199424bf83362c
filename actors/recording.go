package actors

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

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
	tool, known := h.toolbox[r.Tool]
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
