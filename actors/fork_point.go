package actors

import (
	"context"
	"fmt"
	"sort"

	"example.com/life/actors/history"
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
	text, err := f.host.spill(ctx, f.order.Edit)
	if err != nil {
		return err
	}
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
		return found != events.NoRevision, nil
	}
	from, direction := f.command.At, storage.Backward
	if turn == "" {
		from, direction = f.command.At+1, storage.Forward
	}
	if err := f.host.scan(ctx, events.AgentStream(f.order.Parent), from, direction, look); err != nil {
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
	return f.host.scan(ctx, events.AgentStream(f.order.Parent), f.command.At+1, storage.Forward, func(e *events.Envelope) (bool, error) {
		if e.Kind == (events.TurnEnded{}).Kind() {
			left--
		}
		if left == 0 {
			f.command.Inputs = e.Revision
		}
		return left == 0, nil
	})
}

// scan reads a stream event by event until it has seen enough.
func (h *Host) scan(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, enough func(*events.Envelope) (bool, error)) error {
	for from >= 0 {
		page, err := h.journal.Read(ctx, stream, from, direction, storage.Limit{})
		if err != nil {
			return fmt.Errorf("read %s from revision %d: %w", stream, from, err)
		}
		for i := range page.Events {
			if done, err := enough(&page.Events[i]); err != nil || done {
				return err
			}
		}
		if page.End || len(page.Events) == 0 {
			return nil
		}
		from = page.Events[len(page.Events)-1].Revision + 1
		if direction == storage.Backward {
			from -= 2
		}
	}
	return nil
}

// walletAt folds a wallet as of a time; before it was opened, as it was opened.
func (h *Host) walletAt(ctx context.Context, id events.WalletID, at events.Micros) (sagas.Wallet, error) {
	stream := events.WalletStream(id)
	page, err := h.journal.Read(ctx, stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return sagas.Wallet{}, fmt.Errorf("read %s: %w", stream, err)
	}
	if len(page.Events) == 0 && id == sagas.DefaultWallet {
		return sagas.Wallet{Balance: h.credit}, nil
	}
	later := sort.Search(int(page.Last+1), func(revision int) bool {
		if revision == 0 || err != nil {
			return false
		}
		page, err = h.journal.Read(ctx, stream, events.Revision(revision), storage.Forward, storage.Limit{Events: 1})
		return err == nil && len(page.Events) == 1 && page.Events[0].Time > at
	})
	if err != nil {
		return sagas.Wallet{}, fmt.Errorf("find %s as of a time: %w", stream, err)
	}
	wallet, _, err := history.FoldStream(ctx, h.Reader, history.WalletFold(), stream, events.Revision(later-1))
	return wallet, err
}
