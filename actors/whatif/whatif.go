// Package whatif runs recorded turns again with a change: each is forked at its start with the changed settings, receives what people sent the
// agent in it, runs to its end, and is compared with the original. The parents are not touched. A what-if with the same id continues with the
// forks that it created before, because the command id of each fork is derived from the ids of the what-if and the turn.
package whatif

import (
	"context"
	"fmt"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// Host is what a what-if needs of a host.
type Host interface {
	Agents(ctx context.Context, filter projections.AgentFilter) ([]projections.AgentSummary, error)
	State(ctx context.Context, agent events.AgentID, at events.Revision) (history.AgentState, error)
	Resolve(ctx context.Context, agent events.AgentID, moment events.Moment) (history.Stretch, error)
	History(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error)
	Fork(ctx context.Context, order actors.ForkOrder, origin actors.Origin) (actors.Forked, error)
	Watch(ctx context.Context, agent events.AgentID, after events.Revision) (actors.Feed, error)
	Compare(ctx context.Context, order history.CompareOrder, progress func(read int64)) (history.Comparison, error)
	Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error)
}

// Config says which turns are run again, with what change, and within which bounds. ID, Agents, Tape, Parallel and Patience are required.
type Config struct {
	ID     string        // in the names of the forks; at most MaxID bytes of an agent's name
	Origin actors.Origin // of the commands

	Agents   []string                                        // whose turns: patterns as of path.Match
	From, To events.Moment                                   // turns that began then or later, and had ended by then; the zero Moment: any
	Where    func(event *events.Envelope) (is bool, _ error) // turns with an event of which this is true; nil: any
	Turns    int                                             // at most the latest of each agent; 0: all

	Set         []string // see actors.ForkOrder
	Tape        events.TapeMode
	NoWorkspace bool // forks have none

	Budget   events.Money  // that all turns together may cost; 0: no limit
	Parallel int           // turns at the same time
	Patience time.Duration // how long one turn may take, before it counts as waiting
	Discard  bool          // forks are retired when they have been compared
}

// WhatIf is one what-if.
type WhatIf struct {
	Config
	host   Host
	budget runs.WhatIfBudget
}

// New returns a what-if over the turns of a host's agents.
func New(host Host, c Config) *WhatIf {
	return &WhatIf{Config: c, host: host, budget: runs.WhatIfBudget{Limit: c.Budget}}
}

const (
	prefix = "what-if-" // of all forks' names

	// MaxID is how long the id of a what-if may be.
	MaxID = 12

	maxForkName = 59 // a fork's own wallet has its name with five letters more
)

// forkName names the fork of a turn. What does not fit is replaced by a digest, so that no two turns share a name.
func (w *WhatIf) forkName(turn events.TurnID) events.AgentID {
	name := fmt.Sprintf("%s%s-%s-%d", prefix, w.ID, turn.Agent(), turn.Number())
	if len(name) > maxForkName {
		name = fmt.Sprintf("%s-%s", name[:maxForkName-9], events.HashBytes([]byte(name))[:8])
	}
	return events.AgentID(name)
}

// order is how a turn is forked.
func (w *WhatIf) order(turn *runs.RecordedTurn) actors.ForkOrder {
	workspace := ""
	if w.NoWorkspace {
		workspace = actors.NoWorkspace
	}
	return actors.ForkOrder{
		Workspace: workspace,
		ID:        events.CommandID(prefix + w.ID + "-" + events.HashBytes([]byte(turn.Turn))[:16]), Parent: turn.Turn.Agent(), At: turn.At,
		Name: w.forkName(turn.Turn), Set: w.Set, Tape: w.Tape, Turns: 1,
	}
}

// meta identifies a command that follows from the order of a fork.
func meta(order *actors.ForkOrder, what string) sagas.Meta {
	return sagas.Meta{ID: order.ID + events.CommandID("-"+what), At: storage.Now()}
}
