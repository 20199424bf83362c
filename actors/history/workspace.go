package history

import (
	"context"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TreeSource says where what is known of a workspace as of a revision comes from.
type TreeSource string

// The sources of a tree.
const (
	FromCall    TreeSource = "call"    // recorded after a call, at or before the revision
	FromNext    TreeSource = "next"    // recorded before the next call of the agent
	FromPresent TreeSource = "present" // the workspace as it is now: no call of the agent ever recorded it
)

// WorkspaceState is an agent's workspace as of a revision of its history.
type WorkspaceState struct {
	Agent     events.AgentID  `json:"agent"`
	Revision  events.Revision `json:"revision,string"`
	Workspace string          `json:"workspace"` // the directory that was recorded
	Source    TreeSource      `json:"source"`
	Event     events.Ref      `json:"event,omitempty"` // that recorded it
	Tree      events.Tree     `json:"tree"`
	Note      string          `json:"note,omitempty"` // what to know about it, in a sentence
}

// RestoredWorkspace says what RestoreWorkspace made, and from what.
type RestoredWorkspace struct {
	WorkspaceState
	Dir      string           `json:"dir"`
	Restored storage.Restored `json:"restored"`
}

// ListedWorkspace is a workspace as of a revision, with its files by path; none when they were not recorded.
type ListedWorkspace struct {
	WorkspaceState
	Files []storage.File `json:"files"`
}

// ListWorkspace lists the files of an agent's workspace as of a revision, as Workspace finds it.
func (r *Reader) ListWorkspace(ctx context.Context, agent events.AgentID, at events.Revision) (ListedWorkspace, error) {
	state, err := r.Workspace(ctx, agent, at)
	listed := ListedWorkspace{WorkspaceState: state, Files: []storage.File{}}
	if err == nil && state.Tree.Manifest != nil {
		listed.Files, err = r.files.List(ctx, state.Tree)
	}
	for i := range listed.Files {
		if f := &listed.Files[i]; !utf8.ValidString(f.Path) {
			f.Raw = []byte(f.Path)
		}
	}
	return listed, err
}

// OpenWorkspaceFile opens a regular file of an agent's workspace as of a revision. Reading it to its end verifies it.
func (r *Reader) OpenWorkspaceFile(ctx context.Context, agent events.AgentID, at events.Revision, path string) (io.ReadCloser, error) {
	listed, err := r.ListWorkspace(ctx, agent, at)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(listed.Files, func(f storage.File) bool { return f.Path == path })
	switch {
	case i < 0:
		return nil, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf("the workspace of %s has no file %q as of revision %d", agent, events.Clip(path, 60), listed.Revision)}
	case listed.Files[i].Kind != storage.RegularFile:
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("%q is no regular file but: %s", events.Clip(path, 60), listed.Files[i].Kind)}
	}
	file, err := r.blobs.Open(ctx, events.BlobRef{Hash: listed.Files[i].Hash, Size: listed.Files[i].Size})
	if err != nil {
		return nil, fmt.Errorf("open %q of the workspace of %s: %w", path, agent, err)
	}
	return file, nil
}

// RestoreWorkspace makes the directory dir, which must not exist or be empty, with the files of an agent's workspace as of a revision
// (NoRevision: the latest). It refuses when they were not recorded because the workspace was beyond the limits, and says so;
// single files that are missing are in the answer. The agent's own workspace is not touched.
func (r *Reader) RestoreWorkspace(ctx context.Context, agent events.AgentID, at events.Revision, dir string) (RestoredWorkspace, error) {
	state, err := r.Workspace(ctx, agent, at)
	if err != nil {
		return RestoredWorkspace{}, err
	}
	if state.Tree.Manifest == nil {
		return RestoredWorkspace{}, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf(
			"the files of %s as of revision %d cannot be restored: %s; what is below the limits is recorded from the next call on",
			agent, state.Revision, state.Tree.Missing)}
	}
	restored, err := r.files.Restore(ctx, state.Tree, dir)
	if err != nil {
		return RestoredWorkspace{}, err
	}
	return RestoredWorkspace{WorkspaceState: state, Dir: dir, Restored: restored}, nil
}

// Workspace finds what is known of an agent's workspace as of a revision (NoRevision: the latest): what was recorded last at or
// before it; or what the next call found, if its turn had begun by then, since it was not as it had been left; or, of a fork that has recorded nothing yet,
// its parent's at the fork. If no call ever recorded anything, the workspace as it is now is recorded and meant.
func (r *Reader) Workspace(ctx context.Context, agent events.AgentID, at events.Revision) (WorkspaceState, error) {
	if r.files == nil {
		return WorkspaceState{}, &sagas.RefusalError{Code: sagas.RefusedState, Detail: "this host records no files of workspaces (setting record)"}
	}
	state, err := r.State(ctx, agent, at)
	if err != nil {
		return WorkspaceState{}, err
	}
	found, err := r.recordedWorkspace(ctx, &state)
	if err != nil || found.Source != "" {
		return found, err
	}
	if found.Workspace == "" {
		return found, &sagas.RefusalError{Code: sagas.RefusedState, Detail: fmt.Sprintf("agent %s has no workspace, so it has no files", agent)}
	}
	found.Source, found.Note = FromPresent, "no call of "+string(agent)+" recorded its files: this is the workspace as it is now"
	found.Tree, err = r.files.Capture(ctx, found.Workspace)
	return found, err
}

// recordedWorkspace looks for what was recorded, in an agent's history and in those of whom it was forked from. Its Source is empty
// when there is nothing.
func (r *Reader) recordedWorkspace(ctx context.Context, state *AgentState) (WorkspaceState, error) {
	agent := &state.Agent
	found := WorkspaceState{Agent: agent.ID, Revision: state.Revision, Workspace: workspaceOf(agent)}
	next, err := r.nextRecord(ctx, agent, state.Revision)
	if err != nil {
		return found, err
	}
	last := agent.Files
	if last != nil && last.Workspace != found.Workspace {
		last = nil // the agent was given another workspace since, or it is a fork's parent's
	}
	switch {
	case next.call.Before != nil && next.begun && (last == nil || last.Turn != agent.Turn.ID || next.asked <= state.Revision):
		found.Source, found.Tree, found.Event = FromNext, *next.call.Before, next.ref
		found.Note = "somebody else changed the workspace before " + next.by
		if last == nil {
			found.Note = "this is what " + next.by + " found, the first that recorded it"
		}
	case last != nil:
		found.Source, found.Tree, found.Event = FromCall, last.Tree, last.Event
		if last.Since > 0 {
			found.Note = fmt.Sprintf("calls since, which may have changed files, were lost or recorded nothing: %d", last.Since)
		}
	case agent.Fork.Parent != "":
		return r.parentWorkspace(ctx, found, &agent.Fork)
	case next.call.Before != nil:
		found.Source, found.Tree, found.Event = FromNext, *next.call.Before, next.ref
		found.Note = "this is what " + next.by + " of a later turn found, the first that recorded it"
	case next.call.Tree != nil:
		found.Source, found.Tree, found.Event = FromNext, *next.call.Tree, next.ref
		found.Note = "this is what " + next.by + " left: what it found was not recorded"
	}
	return found, nil
}

// workspaceOf is the directory in which an agent's calls run.
func workspaceOf(agent *sagas.Agent) string {
	if agent.Turn.ID != "" {
		return agent.Turn.Config.Workspace
	}
	return agent.Config.Workspace
}

// parentWorkspace is the workspace of a fork's parent as of the fork.
func (r *Reader) parentWorkspace(ctx context.Context, fork WorkspaceState, from *sagas.Lineage) (WorkspaceState, error) {
	state, err := r.State(ctx, from.Parent, from.At)
	if err != nil {
		return fork, fmt.Errorf("look at the parent of %s: %w", fork.Agent, err)
	}
	found, err := r.recordedWorkspace(ctx, &state)
	if err != nil || found.Source == "" {
		return fork, err // as it is now: nobody's calls changed the fork's own copy
	}
	fork.Source, fork.Tree, fork.Event = found.Source, found.Tree, found.Event
	fork.Note = fmt.Sprintf("%s has recorded nothing of its own: these are the files of %s as of revision %d", fork.Agent, found.Agent, found.Revision)
	return fork, nil
}

// nextRecord is the first call after a revision that recorded files.
type nextRecord struct {
	by    string              // that recorded: call 3.1, or the undo
	call  events.ToolReturned // its trees; empty: there is none
	ref   events.Ref
	asked events.Revision // of the event that sent it
	begun bool            // its turn had begun by the revision
}

// nextRecord looks for the first call after a revision that recorded the same workspace. When a record before the revision is known, only the
// rest of the turn matters.
func (r *Reader) nextRecord(ctx context.Context, agent *sagas.Agent, after events.Revision) (nextRecord, error) {
	stream := events.AgentStream(agent.ID)
	next, moved := nextRecord{begun: agent.Turn.ID != ""}, false
	err := r.Scan(ctx, stream, after+1, storage.Forward, func(e *events.Envelope) (bool, error) {
		event, err := ofInterest(e)
		if err != nil {
			return false, err
		}
		switch event := event.(type) {
		case events.AgentConfigured:
			moved = moved || event.Config.Workspace != workspaceOf(agent)
		case events.TurnStarted:
			next.begun = false
			return !moved && agent.Files == nil, nil
		case events.ToolReturned:
			if event.Tree == nil {
				break
			}
			next.by, next.call, next.ref = "call "+string(event.Call), event, e.Ref()
			_, next.asked, err = events.Ref(event.Request).Split()
			return false, err
		case events.UndoEnded:
			if event.Tree == nil {
				break
			}
			next.by, next.call, next.ref = "the undo", events.ToolReturned{Before: event.Before, Tree: event.Tree}, e.Ref()
			_, next.asked, err = events.Ref(event.Request).Split()
			return false, err
		}
		return true, nil
	})
	if err != nil {
		return next, fmt.Errorf("look for what was recorded after %s@%d: %w", stream, after, err)
	}
	return next, nil
}

// ofInterest decodes what nextRecord looks at, and nothing else.
func ofInterest(e *events.Envelope) (events.Event, error) {
	switch e.Kind {
	case events.AgentConfigured{}.Kind(), events.TurnStarted{}.Kind(), events.ToolReturned{}.Kind(), events.UndoEnded{}.Kind():
		return e.Event()
	}
	return nil, nil //nolint:nilnil // not of interest
}
