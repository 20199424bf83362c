package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

// follower watches an agent until the turn that it waits for has ended, or only a person can move it.
type follower struct {
	host     api.Host
	agent    events.AgentID
	feed     actors.Feed
	view     *view
	person   string
	message  events.MessageID // whose turn is awaited
	turn     events.TurnID    // that is awaited, once it is known
	since    events.Revision  // of what was done; before it nothing counts
	latest   events.Revision
	asking   bool         // somebody may have to act
	blocked  *sagas.Agent // somebody has to act, and nothing else goes on
	unopened bool         // its wallet does not exist
	ended    *events.TurnEnded
	heard    atomic.Bool // something, lately
	said     map[events.RequestID]bool
}

// await does something to an agent and follows what comes of it. The agent's state before decides what is new.
func (a *app) await(ctx context.Context, host api.Host, agent events.AgentID, v *view, act func() (actors.Receipt, error)) (result, error) {
	before, err := host.State(ctx, agent, events.NoRevision)
	if err != nil {
		return result{}, err
	}
	feed, err := host.Watch(ctx, agent, before.Revision)
	if err != nil {
		return result{}, fmt.Errorf("watch agent %s: %w", agent, err)
	}
	defer feed.Close()
	receipt, err := act()
	if err != nil {
		return result{}, err
	}
	if receipt.Duplicate && receipt.Revision <= before.Revision { // else it was sent twice by the client, as a host was silent
		return result{}, &repeated{receipt}
	}
	f := &follower{
		host: host, agent: agent, feed: feed, view: v, person: a.person(), message: receipt.Message, turn: receipt.Turn,
		since: receipt.Revision, latest: before.Revision, asking: waits(&before.Agent.Turn), said: map[events.RequestID]bool{},
	}
	if f.message == "" {
		f.turn = before.Agent.Turn.ID
	}
	return f.run(ctx)
}

// repeated says that a command was accepted before: nothing new comes of it.
type repeated struct{ receipt actors.Receipt }

func (r *repeated) Error() string {
	return fmt.Sprintf("this command was already accepted, at revision %d of %s: nothing new happens", r.receipt.Revision, r.receipt.Stream)
}

// waits reports whether only a person can move a turn.
func waits(t *sagas.Turn) bool {
	waiting := t.Paused != ""
	for i := range t.Calls {
		switch t.Calls[i].Stage {
		case sagas.CallWaiting:
			waiting = true
		case sagas.CallSent, sagas.CallNew:
			return false
		case sagas.CallAnswered:
		}
	}
	return waiting
}

// result is how a turn was left.
type result struct {
	Agent    events.AgentID  `json:"agent"`
	Turn     events.TurnID   `json:"turn,omitempty"`
	Outcome  events.Outcome  `json:"outcome,omitempty"` // empty: it goes on, or waits
	Reason   events.Reason   `json:"reason,omitempty"`
	Detail   string          `json:"detail,omitempty"`
	Waiting  []events.CallID `json:"waiting,omitempty"` // for a person
	Asked    []asked         `json:"asked,omitempty"`   // the same calls, with what a person decides on
	Paused   events.Reason   `json:"paused,omitempty"`
	Wallet   events.WalletID `json:"wallet,omitempty"` // that refused, when that is why it waits
	Rounds   int             `json:"rounds"`
	Calls    int             `json:"tool_calls"`
	Usage    events.Usage    `json:"usage"`
	Cost     events.Money    `json:"cost,string"`
	Unpriced bool            `json:"unpriced,omitempty"`
	Revision events.Revision `json:"revision,string"`
	unopened bool            // the wallet does not exist
}

// settleTime is how long the end of a turn waits for its wallet; the settlement itself is never lost.
const settleTime = 3 * time.Second

// run follows to the turn's end. The first interrupt cancels the turn, durably; the second one leaves at once.
func (f *follower) run(ctx context.Context) (result, error) {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	ctx, leave := context.WithCancel(context.WithoutCancel(ctx)) // the verb's own context ends at the first interrupt
	watched := make(chan struct{})
	defer func() {
		leave()
		<-watched
	}()
	go func() {
		defer close(watched)
		var both sync.WaitGroup
		both.Go(func() { f.onInterrupt(ctx, interrupts, leave) })
		both.Go(func() { f.onSilence(ctx) })
		both.Wait()
	}()
	for f.ended == nil && f.blocked == nil {
		item, err := f.feed.Next(ctx)
		if ctx.Err() != nil {
			f.view.finish()
			return f.result(), &exit{exitCancelled, fmt.Errorf("left before the turn of %s ended; life state %s shows its progress", f.agent, f.agent)}
		}
		if err != nil {
			return f.result(), fmt.Errorf("follow agent %s: %w", f.agent, err)
		}
		f.heard.Store(true)
		if err := f.item(ctx, item); err != nil {
			return f.result(), err
		}
	}
	f.view.finish()
	if f.ended != nil {
		f.settle(ctx)
	}
	return f.result(), nil
}

// onInterrupt has the turn cancelled, and leaves at the next interrupt, also while a store that is away keeps the first one waiting.
func (f *follower) onInterrupt(ctx context.Context, interrupts <-chan os.Signal, leave func()) {
	var cancelling sync.WaitGroup
	defer cancelling.Wait()
	for asked := false; ; asked = true {
		select {
		case <-ctx.Done():
			return
		case <-interrupts:
		}
		if asked {
			leave()
			return
		}
		f.view.note("cancelling the turn; interrupt again to exit at once")
		cancelling.Go(func() {
			_, err := f.host.Do(ctx, events.AgentStream(f.agent), sagas.Cancel{Meta: newMeta(""), By: f.person}, origin())
			if err != nil && ctx.Err() == nil {
				f.view.note("the turn could not be cancelled: " + err.Error())
			}
		})
	}
}

// How long nothing may be heard of a turn before the store is asked whether it is there, and how long that may take.
const (
	silenceTime = 3 * time.Second
	answerTime  = 3 * time.Second
)

// onSilence says when the store is away, and when it is back: a turn that nobody can store looks like one that thinks.
func (f *follower) onSilence(ctx context.Context) {
	tick := time.NewTicker(silenceTime)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.heard.Swap(false) {
			continue
		}
		err := f.ask(ctx)
		f.sayWaiting(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			f.view.note("the history of " + string(f.agent) + " cannot be read: " + err.Error() +
				"\n" +
				"  what runs goes on, and the turn continues by itself when it can be read again; interrupt twice to exit")
		case err == nil && away:
			f.view.note("the history of " + string(f.agent) + " can be read again")
		}
		away = err != nil
	}
}

// sayWaiting says once of each request that its answer waits to be stored, and why.
func (f *follower) sayWaiting(ctx context.Context) {
	waiting, err := f.host.Unstored(ctx, f.agent)
	if err != nil {
		return // the store's absence is said anyway
	}
	for _, w := range waiting {
		if key := w.Request + events.RequestID(strconv.FormatBool(w.Ended > 0)); !f.said[key] {
			f.said[key] = true
			f.view.note(w.String())
		}
	}
}

func (f *follower) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := f.host.History(ctx, events.AgentStream(f.agent), 0, storage.Forward, storage.Limit{Events: 1})
	return err
}

func (f *follower) item(ctx context.Context, item actors.Item) error {
	if item.Delta != nil {
		f.view.delta(item.Delta)
		return nil
	}
	event, err := item.Event.Event()
	if err != nil {
		return err
	}
	f.latest = item.Event.Revision
	f.fold(event)
	if err := f.view.event(item.Event, event); err != nil {
		return err
	}
	return f.considerWaiting(ctx)
}

// fold keeps track of the awaited turn.
func (f *follower) fold(event events.Event) {
	switch e := event.(type) {
	case events.TurnStarted:
		f.join(e.Turn, e.Messages)
	case events.MessageDelivered:
		f.join(e.Turn, e.Messages)
	case events.TurnEnded:
		if e.Turn == f.turn {
			f.ended = &e
		}
	case events.TurnPaused, events.ApprovalRequested, events.QuestionAsked:
		f.asking = true
	}
}

func (f *follower) join(turn events.TurnID, messages []events.MessageID) {
	if slices.Contains(messages, f.message) {
		f.turn = turn
	}
}

// considerWaiting finds out whether only a person can move the agent. One decision is many events, so its events alone do not tell:
// the agent's state does, when it is of the latest event.
func (f *follower) considerWaiting(ctx context.Context) error {
	if !f.asking || f.ended != nil || f.latest < f.since {
		return nil
	}
	state, err := f.host.State(ctx, f.agent, events.NoRevision)
	if err != nil {
		return err
	}
	if state.Revision == f.latest && waits(&state.Agent.Turn) {
		f.blocked = &state.Agent
		return f.findWallet(ctx)
	}
	return nil
}

// findWallet finds out whether the wallet that refused is there at all: another thing is to be typed then.
func (f *follower) findWallet(ctx context.Context) error {
	if f.blocked.Turn.Paused != events.ReasonReservation {
		return nil
	}
	page, err := f.host.History(ctx, events.WalletStream(f.blocked.Turn.Config.Wallet), 0, storage.Forward, storage.Limit{Events: 1})
	f.unopened = err == nil && page.Last == events.NoRevision
	return err
}

// settle waits until the wallet has what the turn cost, so that whoever looks next sees it.
func (f *follower) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	page, err := f.host.History(ctx, events.AgentStream(f.agent), f.latest+1, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 || page.Events[0].Kind != (events.SettlementRequested{}).Kind() {
		return // nothing was reserved
	}
	request := events.RequestID(page.Events[0].Ref())
	for {
		item, err := f.feed.Next(ctx)
		if err != nil {
			return
		}
		if item.Event == nil {
			continue
		}
		event, err := item.Event.Event()
		if err != nil || f.view.event(item.Event, event) != nil {
			return
		}
		f.latest = item.Event.Revision
		if settled, ok := event.(events.SettlementRecorded); ok && settled.Request == request {
			return
		}
	}
}

func (f *follower) result() result {
	r := result{Agent: f.agent, Turn: f.turn, Revision: f.latest}
	if f.blocked != nil {
		t := &f.blocked.Turn
		r.Turn, r.Paused, r.Asked = t.ID, t.Paused, waitingCalls(f.agent, t)
		for i := range r.Asked {
			r.Waiting = append(r.Waiting, r.Asked[i].Call)
		}
		if t.Paused == events.ReasonReservation {
			r.Wallet, r.unopened = t.Config.Wallet, f.unopened
		}
		r.Rounds, r.Calls, r.Usage, r.Cost, r.Unpriced = t.Round, t.ToolCalls, t.Usage, t.Cost, t.Unpriced
	}
	e := f.ended
	if e == nil {
		return r
	}
	r.Outcome, r.Reason, r.Detail = e.Outcome, e.Reason, e.Detail
	r.Rounds, r.Calls, r.Usage, r.Cost, r.Unpriced = e.Rounds, e.ToolCalls, e.Usage, e.Cost, e.Unpriced
	return r
}

// status is the exit status that says how the turn was left.
func (r *result) status() error {
	switch r.Outcome {
	case events.Done:
		return nil
	case events.Cancelled:
		return &exit{exitCancelled, nil}
	case events.Stopped:
		return &exit{exitStopped, nil}
	case events.Failed:
		return &exit{exitFailed, nil}
	}
	return &exit{exitWaiting, nil}
}
