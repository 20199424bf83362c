package sagas

import (
	"fmt"

	"example.com/life/events"
)

// Commands about the files of an agent's workspace.
type (
	// Undo has the files of the workspace restored as they were after a revision. Between turns, for a turn works with the files.
	Undo struct {
		Meta
		To    events.Revision `json:"to,string"`
		Force bool            `json:"force,omitempty"` // also files that somebody else changed since they were recorded
		By    string          `json:"by,omitempty"`
		Tree  events.Tree     `json:"-"` // the host finds it in history
	}
	// RecordUndo is the response to AskUndo.
	RecordUndo struct {
		Meta
		Ended events.UndoEnded
	}
)

// AskUndo asks for the files of a workspace as they were. To do it twice is to do it once.
type AskUndo struct {
	Outstanding `json:"request"`
	Workspace   string          `json:"workspace"`
	To          events.Revision `json:"to,string"`
	Tree        events.Tree     `json:"tree"`
	Recorded    *events.Tree    `json:"-"` // when the files were last recorded; nil: never
	Force       bool            `json:"force,omitempty"`
}

// undo asks for the files as they were, and for nothing while a turn runs.
func (d *decision) undo(c Undo) error {
	a := &d.agent
	switch {
	case a.Turn.ID != "":
		return refuse(RefusedState, "agent %s works on turn %s with the files: wait until it has ended, or life cancel %s", a.ID, a.Turn.ID, a.ID)
	case a.Undo != nil:
		return refuse(RefusedState, "the files of agent %s are being restored already", a.ID)
	case a.Config.Workspace == "":
		return refuse(RefusedState, "agent %s has no workspace, so it has no files", a.ID)
	case c.Tree.Manifest == nil:
		return refuse(RefusedState, "the files of agent %s as of revision %d were not recorded: %s", a.ID, c.To, c.Tree.Missing)
	}
	d.record(events.UndoRequested{To: c.To, Tree: *validTree(&c.Tree), Force: c.Force, By: valid(c.By)})
	return nil
}

// recordUndo records what became of it, and messages that came meanwhile start a turn.
func (d *decision) recordUndo(c RecordUndo) error {
	if d.agent.Undo == nil || c.Ended.Request != d.agent.Undo.ID {
		return ErrStale
	}
	e := c.Ended
	e.To, e.Detail = d.agent.Undo.To, valid(e.Detail)
	e.Written, e.Removed, e.Others, e.Left = validPaths(e.Written), validPaths(e.Removed), validPaths(e.Others), validPaths(e.Left)
	e.Before, e.Tree = validTree(e.Before), validTree(e.Tree)
	d.record(e)
	d.next()
	return nil
}

// validPaths are at most as many paths as an event holds.
func validPaths(paths []string) []string {
	var kept []string
	for _, path := range paths[:min(len(paths), events.UndoPaths)] {
		kept = append(kept, valid(path))
	}
	return kept
}

// applyUndo folds what happens to the files between turns.
func (a *Agent) applyUndo(fact Fact) {
	switch e := fact.Event.(type) {
	case events.UndoRequested:
		a.Undo = &AskUndo{Outstanding: a.outstanding(fact), Workspace: a.Config.Workspace, To: e.To, Tree: e.Tree, Force: e.Force}
	case events.UndoEnded:
		if e.Tree != nil && a.Undo != nil {
			a.Files = &Files{Workspace: a.Undo.Workspace, Tree: *e.Tree, Event: events.Ref(a.outstanding(fact).ID)}
		}
		a.Undo = nil
		if !e.Failed() {
			a.Undone = undone(&e)
		}
	}
}

// askUndo completes the request with what is known now.
func (a *Agent) askUndo() AskUndo {
	ask := *a.Undo
	ask.Recorded = a.recorded(ask.Workspace)
	return ask
}

// tellUndone has the turn begin with what it has to know of files that were restored.
func (a *Agent) tellUndone() {
	if a.Undone != "" {
		a.say(Message{Role: RoleContext, Text: events.Text{Inline: a.Undone}})
		a.Undone = ""
	}
}

// undone tells the model, with the next turn, that the files are not as it left them.
func undone(e *events.UndoEnded) string {
	const most = 20
	paths := append(append([]string(nil), e.Written...), e.Removed...)
	if len(paths) == 0 {
		return ""
	}
	text := fmt.Sprintf("[The files of the workspace were restored as they were earlier, after revision %d of your history. These are not as you left them:", e.To)
	for _, path := range paths[:min(len(paths), most)] {
		text += "\n- " + events.Clip(path, 200)
	}
	if more := len(paths) + e.More - most; more > 0 {
		text += fmt.Sprintf("\n- and %d more", more)
	}
	return text + "\nRead a file before you rely on what it held.]"
}
