package projections

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"example.com/life/events"
)

// AgentList answers the query "agents" of roster.
type AgentList struct {
	Agents []AgentSummary `json:"agents"`
}

// RosterName is the projection that lists the agents; a host finds those with work to do by it.
const RosterName = "roster"

func rosterSpec() Spec {
	return Spec{
		Name: RosterName, Version: 4, Description: "every agent and what it is doing", Kinds: RosterKinds(),
		Strangers: []string{events.AgentCategory + "-"}, New: func() Fold { return newRoster() },
		Queries: []QuerySpec{{
			Name: "agents", Description: "agents by name; one whose history cannot be read says so", Params: rosterParameters(), Answer: AgentList{},
		}},
	}
}

// roster knows every agent and what it is doing. An event that cannot be read does not stop it: it is its agent's problem, and whoever
// looks for an agent has to find all others.
type roster struct {
	Position events.Position                  `json:"position"` // of the latest event applied
	Agents   map[events.AgentID]*AgentSummary `json:"agents"`
	index    *rosterIndex
}

func newRoster() *roster {
	return &roster{Agents: map[events.AgentID]*AgentSummary{}, index: newRosterIndex(nil)}
}

// Apply implements [Fold].
func (r *roster) Apply(recorded *Recorded) error {
	if recorded.Position <= r.Position {
		return nil // delivered again
	}
	r.Position = recorded.Position
	id, ok := recorded.Stream.Agent()
	if !ok {
		return nil
	}
	agent := r.Agents[id]
	if agent == nil {
		agent = &AgentSummary{ID: id, Created: recorded.Time}
		r.Agents[id] = agent
		r.index.add(agent)
	}
	was := keysOf(agent)
	agent.Revision, agent.Updated = recorded.Revision, recorded.Time
	switch event, err := recorded.Outline(); {
	case recorded.Foreign != nil: // the agent's fold goes no further, and neither does what is known of it
		agent.Problem = cmp.Or(agent.Problem, fmt.Sprintf("event %s (%q) was written by another program", recorded.Ref(), events.Clip(string(recorded.Kind), 80)))
	case err != nil:
		agent.Problem = cmp.Or(agent.Problem, errors.Unwrap(err).Error()) // it names the event
	default:
		agent.apply(event)
		agent.asked(event)
	}
	r.index.move(agent, was)
	return nil
}

// Answer implements [Fold].
func (r *roster) Answer(q Query) (any, error) { return AgentList{r.index.find(q)}, nil }

// Save implements [Fold].
func (r *roster) Save() ([]byte, error) { return json.Marshal(r) }

// Restore implements [Fold].
func (r *roster) Restore(state []byte) error {
	if err := restore(state, r, newRoster()); err != nil {
		return err
	}
	r.index = newRosterIndex(r.Agents)
	return nil
}

// RosterKinds are the beginnings of the kinds of events that a roster folds; it can do without all others.
func RosterKinds() []string {
	return []string{"agent.", "fork.", "message.", "turn.", "approval.", "question.", "tool.refused", "tool.requested", "settlement.", "advice.given", "model.replied", "model.failed", "conversation.compacted"}
}

// AgentSummary is what the roster knows of an agent.
type AgentSummary struct {
	ID          events.AgentID       `json:"id"`
	Parent      events.AgentID       `json:"parent,omitempty"`
	Model       string               `json:"model"`
	Mode        events.OperatingMode `json:"mode,omitempty"`
	Following   bool                 `json:"following,omitempty"` // a fork that still follows its parent
	Turn        events.TurnID        `json:"turn,omitempty"`      // the one that runs
	Paused      events.Reason        `json:"paused,omitempty"`    // why it waits for a person
	Approvals   []events.CallID      `json:"approvals,omitempty"`
	Waiting     int                  `json:"waiting"` // messages in no turn yet
	Turns       int                  `json:"turns"`   // ended
	Outcome     events.Outcome       `json:"outcome,omitempty"`
	Usage       events.Usage         `json:"usage"`
	Cost        events.Money         `json:"cost,string"`
	Unsettled   int                  `json:"unsettled,omitempty"` // turns whose cost the wallet has not settled yet
	Retired     bool                 `json:"retired,omitempty"`
	Quarantined string               `json:"quarantined,omitempty"`
	Problem     string               `json:"problem,omitempty"` // an event of its history that cannot be read
	Revision    events.Revision      `json:"revision,string"`   // of the latest event the roster looked at
	Created     events.Micros        `json:"created,string"`
	Updated     events.Micros        `json:"updated,string"`
}

// Open reports whether the agent has work that goes on by itself.
func (a *AgentSummary) Open() bool {
	return a.Unsettled > 0 || (a.Turn != "" || a.Following && !a.Retired) && a.Quarantined == ""
}

func (a *AgentSummary) apply(event events.Event) {
	switch e := event.(type) {
	case events.AgentCreated:
		a.Model = e.Config.Model
	case events.AgentForked:
		a.Model, a.Parent, a.Following = e.Config.Model, e.Parent, true
	case events.ForkFinished:
		a.Following = false
	case events.AgentConfigured:
		a.Model = e.Config.Model
	case events.AgentRetired:
		a.Retired = true
	case events.AgentQuarantined:
		a.Quarantined = e.Reason
	case events.AgentReleased:
		a.Quarantined = ""
	case events.MessageReceived:
		a.Waiting++
	case events.MessageDelivered:
		a.take(e.Messages)
	case events.TurnStarted:
		a.Turn = e.Turn
		a.take(e.Messages)
	case events.TurnPaused:
		a.Turn, a.Paused = e.Turn, e.Reason
	case events.TurnResumed:
		a.Turn, a.Paused = e.Turn, ""
	case events.TurnEnded:
		a.Turn, a.Paused, a.Approvals = "", "", nil
		a.Turns++
		a.Outcome = e.Outcome
		a.Cost += e.Cost
	case events.ConversationCompacted:
		a.Usage = a.Usage.Plus(e.Usage)
	case events.ModelReplied:
		a.Usage = a.Usage.Plus(e.Usage)
	case events.ModelFailed:
		a.Usage = a.Usage.Plus(e.Usage)
	case events.AdviceGiven:
		a.Mode = e.Mode
	case events.ApprovalRequested:
		a.Turn, a.Approvals = e.Turn, append(a.Approvals, e.Call)
	case events.ToolRequested:
		a.Turn = e.Turn // a fork's may have begun in its parent
		a.answered(e.Call)
	case events.ToolRefused:
		a.answered(e.Call)
	case events.SettlementRequested:
		a.Unsettled++
	case events.SettlementRecorded:
		a.Unsettled--
	}
}

// asked notes a question, unless nobody is there to answer it.
func (a *AgentSummary) asked(event events.Event) {
	if e, is := event.(events.QuestionAsked); is && e.Expires != 0 {
		a.Turn, a.Approvals = e.Turn, append(a.Approvals, e.Call)
	}
}

// take counts messages that are in a turn now. Those that a fork has from its parent were not counted.
func (a *AgentSummary) take(messages []events.MessageID) {
	a.Waiting = max(0, a.Waiting-len(messages))
}

func (a *AgentSummary) answered(call events.CallID) {
	a.Approvals = slices.DeleteFunc(a.Approvals, func(id events.CallID) bool { return id == call })
	if len(a.Approvals) == 0 {
		a.Approvals = nil // as a restored roster has it
	}
}
