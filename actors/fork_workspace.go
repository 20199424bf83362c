package actors

import (
	"context"
	"path/filepath"

	"example.com/life/events"
	"example.com/life/sagas"
)

// forkWorkspace is the directory of a fork's own workspace; empty when the host keeps none.
func (h *Host) forkWorkspace(fork events.AgentID) string {
	if h.forks == "" || h.workspaces == nil {
		return ""
	}
	return filepath.Join(h.forks, string(fork), "workspace")
}

// copyWorkspace makes the fork's own workspace: the parent's as of where it is forked. An order that is given again makes it again.
func (f *forking) copyWorkspace(ctx context.Context) error {
	if f.order.Workspace != "" || f.parent.Agent.Config.Workspace == "" {
		return nil
	}
	state, err := f.host.Workspace(ctx, f.order.Parent, f.command.At)
	if err != nil {
		return err
	}
	if state.Tree.Manifest == nil {
		return &sagas.RefusalError{Code: sagas.RefusedState, Detail: "the files of " + string(f.order.Parent) +
			" cannot be restored (" + state.Tree.Missing + "): name a directory, or none"}
	}
	_, err = f.host.workspaces.Replace(ctx, state.Tree, f.host.forkWorkspace(f.order.Name))
	return err
}
