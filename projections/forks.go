package projections

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"example.com/life/events"
)

// forks knows which agent was forked from which, and what became of each.
type forks struct {
	Agents map[events.AgentID]*ForkNode `json:"agents"`
}

// ForkTree answers the query "tree" of forks: the tree that an agent belongs to, each fork after its parent.
type ForkTree struct {
	Nodes []ForkNode `json:"nodes"`
}

// ForkNode is one agent of a tree.
type ForkNode struct {
	Agent    events.AgentID       `json:"agent"`
	Parent   events.AgentID       `json:"parent,omitempty"`
	Depth    int                  `json:"depth"`     // below the tree's root
	At       events.Revision      `json:"at,string"` // of the parent
	Tape     events.TapeMode      `json:"tape,omitempty"`
	Changed  []string             `json:"changed,omitempty"`
	Edited   bool                 `json:"edited,omitempty"` // a message was given another text
	Diverged *events.ForkDiverged `json:"diverged,omitempty"`
	Finished bool                 `json:"finished,omitempty"` // it has followed its parent to the end
	Taped    int                  `json:"taped,omitempty"`    // calls that the recording answered
	Live     int                  `json:"live,omitempty"`     // that were made while it followed
	Turns    int                  `json:"turns"`              // that ended in its own history
	Outcome  events.Outcome       `json:"outcome,omitempty"`  // of the latest
	Reason   events.Reason        `json:"reason,omitempty"`
	Cost     events.Money         `json:"cost,string"` // of the replies that its own history asked models for
	Created  events.Micros        `json:"created,string"`
}

func forksSpec() Spec {
	return Spec{
		Name: "forks", Version: 1, Description: "which agent was forked from which, and what became of it", New: func() Fold { return newForks() },
		Kinds: []string{"agent.created", "agent.forked", "fork.", "turn.ended", "model.replied", "conversation.compacted"},
		Queries: []QuerySpec{{
			Name: "tree", Description: "the tree of forks that an agent belongs to; without an agent, all trees that have forks", Params: []Parameter{ofAgent()}, Answer: ForkTree{},
		}},
	}
}

func newForks() *forks { return &forks{Agents: map[events.AgentID]*ForkNode{}} }

// Apply implements [Fold].
func (f *forks) Apply(r *Recorded) error {
	id, ok := r.Stream.Agent()
	if !ok {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	node := entry(f.Agents, id)
	if node.Agent == "" {
		node.Agent, node.Created = id, r.Time
	}
	node.apply(event)
	return nil
}

func (n *ForkNode) apply(event events.Event) {
	switch e := event.(type) {
	case events.AgentForked:
		n.Parent, n.At, n.Tape, n.Changed, n.Edited = e.Parent, e.At, e.Tape, e.Changed, e.Edit != nil
	case events.ForkDiverged:
		n.Diverged = &e
	case events.ForkFinished:
		n.Finished, n.Taped, n.Live = true, e.Taped, e.Live
	case events.TurnEnded:
		n.Turns++
		n.Outcome, n.Reason = e.Outcome, e.Reason
	case events.ModelReplied:
		n.pay(e.Cost)
	case events.ConversationCompacted:
		n.pay(e.Cost)
	}
}

// pay counts what a model cost that the parent's recording did not answer for.
func (n *ForkNode) pay(cost events.Money) {
	onTape := n.Parent != "" && n.Tape != events.TapeLive && n.Diverged == nil && !n.Finished
	if !onTape {
		n.Cost += cost
	}
}

// Answer implements [Fold].
func (f *forks) Answer(q Query) (any, error) {
	children := map[events.AgentID][]*ForkNode{}
	for _, node := range f.Agents {
		if node.Parent != "" {
			children[node.Parent] = append(children[node.Parent], node)
		}
	}
	answer := ForkTree{Nodes: []ForkNode{}}
	if agent := events.AgentID(q.Parameters["agent"]); agent != "" {
		if f.Agents[agent] == nil {
			return nil, fmt.Errorf("%w: there is no agent %q", ErrMissing, events.Clip(string(agent), 80))
		}
		answer.add(f, f.root(agent), 0, children)
		return answer, nil
	}
	var roots []events.AgentID
	for id, node := range f.Agents {
		if node.Parent == "" && len(children[id]) > 0 {
			roots = append(roots, id)
		}
	}
	slices.Sort(roots)
	for _, root := range roots {
		answer.add(f, root, 0, children)
	}
	return answer, nil
}

// root is the agent from which all of a tree were forked. Who it was forked from itself may not be known.
func (f *forks) root(agent events.AgentID) events.AgentID {
	for range len(f.Agents) {
		parent := f.Agents[agent].Parent
		if parent == "" || f.Agents[parent] == nil {
			break
		}
		agent = parent
	}
	return agent
}

// add lists an agent and all that were forked from it, in the order of the revisions.
func (t *ForkTree) add(f *forks, agent events.AgentID, depth int, children map[events.AgentID][]*ForkNode) {
	if depth > len(f.Agents) { // a history that names an agent as its own parent
		return
	}
	node := *f.Agents[agent]
	node.Depth = depth
	t.Nodes = append(t.Nodes, node)
	below := children[agent]
	slices.SortFunc(below, func(a, b *ForkNode) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Agent, b.Agent)) })
	for _, child := range below {
		t.add(f, child.Agent, depth+1, children)
	}
}

// Save implements [Fold].
func (f *forks) Save() ([]byte, error) { return json.Marshal(f) }

// Restore implements [Fold].
func (f *forks) Restore(state []byte) error { return restore(state, f, newForks()) }
