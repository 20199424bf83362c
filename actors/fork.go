package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// ForkOrder says which fork is wanted. Id and Parent are required.
type ForkOrder struct {
	ID     events.CommandID // ordering again with the same id gives the same fork
	Parent events.AgentID
	At     events.Revision // the end of the decision that this revision belongs to; NoRevision: the latest
	Name   events.AgentID  // of the fork; empty: follows from the parent's name and ID
	Set    []string        // KEY=VALUE; see SettingKeys
	Edit   string          // another text for the message that begins the turn from which the fork goes on
	Tape   events.TapeMode // empty: TapeFirst
	Turns  int             // how many of the parent's later turns it is given the messages and answers of; 0: all; NoTurns: none
	Wallet events.WalletID // an existing wallet that pays; empty: one of the fork's own, which holds nothing real
	Budget events.Money    // of its own wallet, at most what the parent's had available; 0: all of that
	// Workspace is a directory, or NoWorkspace; empty: a copy of the parent's as of the revision.
	Workspace string
}

// NoTurns and NoWorkspace leave out what a fork has otherwise.
const (
	NoTurns     = -1
	NoWorkspace = "none"
)

// Forked says which fork was made.
type Forked struct {
	Receipt
	Agent     events.AgentID  `json:"agent"`
	Parent    events.AgentID  `json:"parent"`
	At        events.Revision `json:"at,string"`
	Wallet    events.WalletID `json:"wallet"`
	Workspace string          `json:"workspace,omitempty"`
}

// Fork makes an agent that goes on from another's history, and lets it go. It has followed its parent to the end, and rests, when fork.finished
// is stored. The errors are those of Do.
//
// If we die before the wallet is opened, nothing is there but a directory that nobody uses; after that, a wallet besides, or rules. The
// same order with the same id finds them. Once agent.forked is stored the fork exists, and a host that starts goes on with it.
func (h *Host) Fork(ctx context.Context, order ForkOrder, origin Origin) (Forked, error) {
	order.Tape = cmp.Or(order.Tape, events.TapeFirst)
	if err := checkID(order.ID); err != nil {
		return Forked{}, err
	}
	if err := order.Parent.Validate(); err != nil {
		return Forked{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	if order.Name = cmp.Or(order.Name, forkName(order.Parent, order.ID)); order.Name.Validate() != nil {
		return Forked{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: order.Name.Validate().Error()}
	}
	if made, found, err := h.forkedBefore(ctx, &order); err != nil || found {
		return made, err
	}
	f := forking{host: h, order: order, origin: origin}
	for _, step := range []func(context.Context) error{f.findPoint, f.findEdit, f.findInputs, f.configure, f.prepare} {
		if err := step(ctx); err != nil {
			return Forked{}, err
		}
	}
	receipt, err := h.do(ctx, events.AgentStream(order.Name), &instruction{command: f.command, origin: origin, base: f.parent.Agent})
	if err != nil {
		return Forked{}, err
	}
	return Forked{receipt, order.Name, order.Parent, f.command.At, f.command.Config.Wallet, f.command.Config.Workspace}, nil
}

// forkName is the name of a fork that was given none.
func forkName(parent events.AgentID, id events.CommandID) events.AgentID {
	const most = 64 - 7
	return parent[:min(len(parent), most)] + "-" + events.AgentID(events.HashBytes([]byte(id))[:6])
}

// forkedBefore finds the fork that the same order made already.
func (h *Host) forkedBefore(ctx context.Context, order *ForkOrder) (Forked, bool, error) {
	state, err := h.State(ctx, order.Name, events.NoRevision)
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing {
		return Forked{}, false, nil
	}
	if err != nil {
		return Forked{}, false, err
	}
	page, err := h.journal.Read(ctx, events.AgentStream(order.Name), 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return Forked{}, false, fmt.Errorf("read the beginning of agent %s: %w", order.Name, err)
	}
	if page.Events[0].Command != order.ID || state.Agent.Fork.Parent != order.Parent {
		return Forked{}, false, &sagas.RefusalError{Code: sagas.RefusedExists, Detail: "agent " + string(order.Name) + " exists already: choose another name"}
	}
	receipt, err := h.known(ctx, events.AgentStream(order.Name), order.ID, 0)
	config := &state.Agent.Config
	return Forked{receipt, order.Name, order.Parent, state.Agent.Fork.At, config.Wallet, config.Workspace}, true, err
}

// forking is one order under way.
type forking struct {
	host    *Host
	order   ForkOrder
	origin  Origin
	parent  history.AgentState // as of where it is forked
	rules   []events.Rule
	command sagas.Fork
}

// findPoint folds the parent as of the end of the decision at which it is forked.
func (f *forking) findPoint(ctx context.Context) error {
	latest, err := f.host.State(ctx, f.order.Parent, f.order.At)
	if err != nil {
		return err
	}
	return f.foldAt(ctx, latest.Revision)
}

func (f *forking) foldAt(ctx context.Context, at events.Revision) error {
	stream := events.AgentStream(f.order.Parent)
	page, err := f.host.journal.Read(ctx, stream, at, storage.Forward, storage.Limit{Events: maxDecision})
	if err != nil || len(page.Events) == 0 {
		return fmt.Errorf("read agent %s at revision %d: %w", f.order.Parent, at, err)
	}
	end := 0
	for end+1 < len(page.Events) && page.Events[end+1].Command == page.Events[0].Command {
		end++
	}
	if f.parent, err = f.host.State(ctx, f.order.Parent, page.Events[end].Revision); err != nil {
		return err
	}
	f.command.At, f.command.Digest, f.command.Time = f.parent.Revision, f.parent.Digest, page.Events[end].Time
	f.command.Until = page.Last
	return nil
}

// maxDecision is more than one decision holds.
const maxDecision = 1024

// configure lays what is set over the parent's configuration.
func (f *forking) configure(ctx context.Context) error {
	set, err := override(f.parent.Agent.Config, f.order.Set)
	if err != nil {
		return err
	}
	f.rules = set.rules
	if f.rules != nil {
		set.config.Tenant = sagas.OwnTenant(f.order.Name)
	}
	set.config.Wallet = f.order.Wallet
	if f.command.Paper = f.order.Wallet == ""; f.command.Paper {
		set.config.Wallet = sagas.OwnWallet(f.order.Name)
	}
	if err := errors.Join(set.config.Wallet.Validate(), set.config.Tenant.Validate()); err != nil {
		return refusedSetting("%v: choose a shorter name for the fork, or name a wallet", err)
	}
	if !f.command.Paper {
		if _, err := f.host.Wallet(ctx, f.order.Wallet); err != nil {
			return err
		}
	}
	switch f.order.Workspace {
	case NoWorkspace:
		set.config.Workspace = ""
	case "":
		if set.config.Workspace == "" {
			break
		}
		if f.host.workspaces == nil || f.host.forks == "" {
			return refusedSetting("agent %s has the workspace %s, of which this host makes no copies: name a directory, or none",
				f.order.Parent, set.config.Workspace)
		}
		set.config.Workspace = f.host.forkWorkspace(f.order.Name)
	default:
		set.config.Workspace = f.order.Workspace
	}
	if *set.config, err = f.complete(ctx, *set.config); err != nil {
		return err
	}
	if err := sagas.ValidateConfig(*set.config); err != nil {
		return err // before anything is made
	}
	f.command.Meta = sagas.Meta{ID: f.order.ID, At: storage.Now()}
	f.command.Agent, f.command.Parent, f.command.Tape, f.command.Config = f.order.Name, f.order.Parent, f.order.Tape, *set.config
	f.command.Set = set.parts
	return nil
}

// complete checks what was set. What the fork has from its parent stands: on the tape it needs neither the model nor the tools here.
func (f *forking) complete(ctx context.Context, c events.AgentConfig) (events.AgentConfig, error) {
	parent := &f.parent.Agent.Config
	if c.Model != parent.Model || f.order.Tape == events.TapeLive {
		if err := f.host.checkModel(&c); err != nil {
			return c, err
		}
	}
	if slices.ContainsFunc(f.order.Set, func(set string) bool { return strings.HasPrefix(set, "secrets=") }) {
		if err := f.host.checkSecrets(&c); err != nil {
			return c, err
		}
	}
	if slices.ContainsFunc(f.order.Set, func(set string) bool { return strings.HasPrefix(set, "mcp=") }) {
		if err := f.host.completeServers(ctx, &c); err != nil {
			return c, err
		}
	}
	if slices.ContainsFunc(f.order.Set, func(set string) bool { return strings.HasPrefix(set, "tools=") || strings.HasPrefix(set, "policy") }) {
		return f.host.completeTools(c)
	}
	return c, nil
}

// prepare makes what the fork needs of its own. Whatever is made is found again by the same order.
func (f *forking) prepare(ctx context.Context) error {
	if err := f.copyWorkspace(ctx); err != nil {
		return fmt.Errorf("copy the workspace for fork %s: %w", f.order.Name, err)
	}
	if f.command.Paper {
		credit, err := f.credit(ctx)
		if err != nil {
			return err
		}
		open := sagas.OpenWallet{Meta: f.partMeta("wallet"), Wallet: f.command.Config.Wallet, Credit: credit}
		if _, err := f.host.Do(ctx, events.WalletStream(open.Wallet), open, f.origin); err != nil {
			return fmt.Errorf("open the wallet of fork %s: %w", f.order.Name, err)
		}
	}
	if f.rules != nil {
		if err := f.ownTenant(ctx); err != nil {
			return err
		}
		adopt := sagas.Adopt{Meta: f.partMeta("rules"), Rules: f.rules, By: f.origin.Actor}
		if _, err := f.host.Do(ctx, events.HomeostasisStream(f.command.Config.Tenant), adopt, f.origin); err != nil {
			return fmt.Errorf("adopt the rules of fork %s: %w", f.order.Name, err)
		}
	}
	return nil
}

// ownTenant refuses a tenant that somebody has rules for already.
func (f *forking) ownTenant(ctx context.Context) error {
	stream := events.HomeostasisStream(f.command.Config.Tenant)
	page, err := f.host.journal.Read(ctx, stream, 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	if len(page.Events) > 0 && page.Events[0].Command != f.partMeta("rules").ID {
		return &sagas.RefusalError{Code: sagas.RefusedExists, Detail: "tenant " + string(f.command.Config.Tenant) + " has rules already: choose another name for the fork"}
	}
	return nil
}

// partMeta identifies one command of several that an order leads to.
func (f *forking) partMeta(part string) sagas.Meta {
	return sagas.Meta{ID: events.CommandID("fork-" + part + "-" + events.HashBytes([]byte(f.order.ID))[:32]), At: storage.Now()}
}

// credit is what the fork's own wallet opens with: what the parent's had available where it is forked, what is set aside for the turn
// that runs included.
func (f *forking) credit(ctx context.Context) (events.Money, error) {
	wallet, opened, err := f.host.WalletAt(ctx, f.parent.Agent.Config.Wallet, f.command.Time)
	if err != nil {
		return 0, err
	}
	if !opened && f.parent.Agent.Config.Wallet == sagas.DefaultWallet {
		wallet.Balance = f.host.credit // with which it would open
	}
	available := max(wallet.Available()+wallet.Holds[f.parent.Agent.Turn.ID].Amount, 0)
	if f.order.Budget > available {
		return 0, refusedSetting("wallet %s had %s available there: a budget of %s is more", f.parent.Agent.Config.Wallet, available, f.order.Budget)
	}
	if f.order.Budget > 0 {
		available = f.order.Budget
	}
	return available, nil
}

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
