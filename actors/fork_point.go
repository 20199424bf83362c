package actors

import (
	"context"
	"path/filepath"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// findEdit finds the message that gets another text, and goes back to before it.
func (f *forking) findEdit(ctx context.Context) error {
	if f.order.Edit == "" {
		return nil
	}
	revision, err := f.editable(ctx)
	if err != nil {
		return err
	}
	edit, hits := f.host.masker.Mask(f.parent.Agent.Config.Masking, f.order.Edit)
	text, err := f.host.spill(ctx, edit)
	if err != nil {
		return err
	}
	text.Masked = hits
	if revision <= f.command.At {
		if err := f.foldAt(ctx, revision-1); err != nil {
			return err
		}
	}
	f.command.Edit = &events.MessageEdit{Revision: revision, Text: text}
	return nil
}

// editable is the revision of the message that begins the turn from which the fork goes on: the one that runs, or else the next.
func (f *forking) editable(ctx context.Context) (events.Revision, error) {
	turn, message := f.parent.Agent.Turn.ID, events.MessageID("")
	found := events.NoRevision
	look := func(envelope *events.Envelope) (bool, error) {
		event, err := envelope.Event()
		if err != nil {
			return false, err
		}
		switch e := event.(type) {
		case events.TurnStarted:
			if e.Turn == turn && len(e.Messages) > 0 {
				message = e.Messages[0]
			}
		case events.MessageReceived:
			if turn == "" || e.Message == message {
				found = envelope.Revision
			}
		}
		return found == events.NoRevision, nil
	}
	from, direction := f.command.At, storage.Backward
	if turn == "" {
		from, direction = f.command.At+1, storage.Forward
	}
	if err := f.host.Scan(ctx, events.AgentStream(f.order.Parent), from, direction, look); err != nil {
		return found, err
	}
	if found == events.NoRevision && turn != "" {
		return found, refusedSetting("the message that begins turn %s came before %s was forked: edit it in a fork of %s", turn, f.order.Parent, f.parent.Agent.Parent)
	}
	if found == events.NoRevision {
		return found, refusedSetting("agent %s received no message after revision %d: there is none to edit", f.order.Parent, f.command.At)
	}
	return found, nil
}

// findInputs finds how far the fork is given what the parent was sent.
func (f *forking) findInputs(ctx context.Context) error {
	f.command.Inputs = f.command.Until
	if f.order.Turns < 0 {
		f.command.Inputs = f.command.At
	}
	if f.order.Turns <= 0 {
		return nil
	}
	left := f.order.Turns
	return f.host.Scan(ctx, events.AgentStream(f.order.Parent), f.command.At+1, storage.Forward, func(e *events.Envelope) (bool, error) {
		if e.Kind == (events.TurnEnded{}).Kind() {
			left--
		}
		if left == 0 {
			f.command.Inputs = e.Revision
		}
		return left > 0, nil
	})
}

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
