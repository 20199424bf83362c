package projections

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"example.com/life/events"
)

// approvals is the inbox of whoever answers: the calls that wait for approval, the turns that are paused and the agents in
// quarantine. It also counts how people answered, and how long they took.
type approvals struct {
	Agents map[events.AgentID]*asking `json:"agents"`
}

type asking struct {
	Calls       []WaitingCall     `json:"calls,omitempty"`
	Paused      *PausedTurn       `json:"paused,omitempty"`
	Quarantined *QuarantinedAgent `json:"quarantined,omitempty"`
	Answers     answers           `json:"answers"`
}

type answers struct {
	Granted int           `json:"granted"`
	Denied  int           `json:"denied"`
	Expired int           `json:"expired"`
	Waited  events.Micros `json:"waited_us,string"` // for all of these together
}

// Inbox answers the query "waiting" of approvals: everything that waits for a person, the longest first.
type Inbox struct {
	Approvals   []WaitingCall      `json:"approvals"`
	Paused      []PausedTurn       `json:"paused"`
	Quarantined []QuarantinedAgent `json:"quarantined"`
}

// WaitingCall is a call that a person has to approve or deny, or a question to answer.
type WaitingCall struct {
	Agent   events.AgentID  `json:"agent"`
	Turn    events.TurnID   `json:"turn"`
	Call    events.CallID   `json:"call"`
	Tool    string          `json:"tool"`
	Digest  string          `json:"digest"` // of tool and arguments: what exactly is approved
	Reason  string          `json:"reason"`
	Since   events.Micros   `json:"since,string"`
	Expires events.Micros   `json:"expires,string"` // when it counts as denied
	Event   events.Revision `json:"revision,string"`
	// Arguments are what a person decides on: canonical JSON, whole or its beginning. LeftOut is how many bytes there are besides:
	// GET /v1/agents/{agent}/arguments has them all. An event of version 1 has none: then the agent's state does.
	Arguments string `json:"arguments"`
	LeftOut   int    `json:"left_out,omitempty"`
	// Question is what the call asks; empty: it needs approval. Options are answers to choose from.
	Question string   `json:"question,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// askedBytes is how much of a call's arguments is kept.
const askedBytes = 32 << 10

// PausedTurn is a turn that a person has to let go on.
type PausedTurn struct {
	Agent  events.AgentID `json:"agent"`
	Turn   events.TurnID  `json:"turn"`
	Reason events.Reason  `json:"reason"`
	Detail string         `json:"detail,omitempty"`
	Since  events.Micros  `json:"since,string"`
}

// QuarantinedAgent is an agent that a person has to release.
type QuarantinedAgent struct {
	Agent  events.AgentID `json:"agent"`
	Reason string         `json:"reason"`
	Since  events.Micros  `json:"since,string"`
}

// Answered answers the query "answered" of approvals.
type Answered struct {
	Agents []AnsweredRow `json:"agents"`
	Total  answers       `json:"total"`
}

// AnsweredRow is how the approvals of one agent were answered.
type AnsweredRow struct {
	Agent events.AgentID `json:"agent"`
	answers
}

func approvalsSpec() Spec {
	return Spec{
		Name: "approvals", Version: 2, // 2: arguments
		Description: "what waits for a person",
		Kinds:       []string{"approval.", "question.", "turn.paused", "turn.resumed", "turn.ended", "agent.quarantined", "agent.released"},
		New:         func() Fold { return newApprovals() },
		Queries: []QuerySpec{
			{Name: "waiting", Description: "calls, paused turns and quarantined agents that wait, the longest first", Params: []Parameter{ofAgent()}, Answer: Inbox{}},
			{Name: "answered", Description: "how approvals were answered, and how long they waited", Params: []Parameter{ofAgent()}, Answer: Answered{}},
		},
	}
}

func newApprovals() *approvals { return &approvals{Agents: map[events.AgentID]*asking{}} }

// Apply implements [Fold].
func (f *approvals) Apply(r *Recorded) error {
	agent, ok := r.Stream.Agent()
	if !ok {
		return nil
	}
	if r.Kind == "turn.ended" && f.Agents[agent] == nil {
		return nil // most turns ask nobody
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case events.ApprovalRequested:
		a := entry(f.Agents, agent)
		call := WaitingCall{
			Agent: agent, Turn: e.Turn, Call: e.Call, Tool: e.Tool, Arguments: events.Cut(string(e.Arguments), askedBytes),
			Digest: e.Digest, Reason: e.Reason, Since: r.Time, Expires: e.Expires, Event: r.Revision,
		}
		call.LeftOut = len(e.Arguments) - len(call.Arguments)
		if e.Blob != nil { // they are a preview
			call.LeftOut = max(int(e.Blob.Size)-len(call.Arguments), 1)
		}
		a.Calls = append(a.Calls, call)
	case events.QuestionAsked:
		if e.Expires != 0 { // else nobody is there to answer
			a := entry(f.Agents, agent)
			a.Calls = append(a.Calls, WaitingCall{
				Agent: agent, Turn: e.Turn, Call: e.Call, Tool: e.Tool, Digest: e.Digest, Reason: "it asks a question", Since: r.Time, Expires: e.Expires,
				Event: r.Revision, Question: e.Text, Options: e.Options,
			})
		}
	case events.TurnPaused:
		entry(f.Agents, agent).Paused = &PausedTurn{agent, e.Turn, e.Reason, e.Detail, r.Time}
	case events.AgentQuarantined:
		entry(f.Agents, agent).Quarantined = &QuarantinedAgent{agent, e.Reason, r.Time}
	default:
		if a := f.Agents[agent]; a != nil {
			a.apply(event, r.Time)
		}
	}
	return nil
}

// apply folds what ends waiting.
func (a *asking) apply(event events.Event, at events.Micros) {
	switch e := event.(type) {
	case events.ApprovalGranted:
		a.Answers.Granted += a.answer(e.Call, at)
	case events.QuestionAnswered:
		a.Answers.Granted += a.answer(e.Call, at)
	case events.ApprovalDenied:
		if e.Call == "" {
			a.Paused = nil
			return
		}
		a.Answers.Denied += a.answer(e.Call, at)
	case events.ApprovalExpired:
		a.Answers.Expired += a.answer(e.Call, at)
	case events.TurnResumed:
		a.Paused = nil
	case events.TurnEnded:
		a.Paused, a.Calls = nil, nil
	case events.AgentReleased:
		a.Quarantined = nil
	}
}

// answer takes a call off the list, and returns how many there were.
func (a *asking) answer(call events.CallID, at events.Micros) int {
	for i := range a.Calls {
		if a.Calls[i].Call == call {
			a.Answers.Waited += max(0, at-a.Calls[i].Since)
			a.Calls = slices.Delete(a.Calls, i, i+1)
			return 1
		}
	}
	return 0
}

// Answer implements [Fold].
func (f *approvals) Answer(q Query) (any, error) {
	inbox := Inbox{Approvals: []WaitingCall{}, Paused: []PausedTurn{}, Quarantined: []QuarantinedAgent{}}
	answered := Answered{Agents: []AnsweredRow{}}
	for _, id := range slices.Sorted(maps.Keys(f.Agents)) {
		a := f.Agents[id]
		if !matches(q.Parameters["agent"], id) {
			continue
		}
		inbox.Approvals = append(inbox.Approvals, a.Calls...)
		if a.Paused != nil {
			inbox.Paused = append(inbox.Paused, *a.Paused)
		}
		if a.Quarantined != nil {
			inbox.Quarantined = append(inbox.Quarantined, *a.Quarantined)
		}
		if a.Answers != (answers{}) {
			answered.Agents = append(answered.Agents, AnsweredRow{id, a.Answers})
			answered.Total.Granted += a.Answers.Granted
			answered.Total.Denied += a.Answers.Denied
			answered.Total.Expired += a.Answers.Expired
			answered.Total.Waited += a.Answers.Waited
		}
	}
	if q.Name == "answered" {
		return answered, nil
	}
	slices.SortStableFunc(inbox.Approvals, func(a, b WaitingCall) int { return cmp.Compare(a.Since, b.Since) })
	slices.SortStableFunc(inbox.Paused, func(a, b PausedTurn) int { return cmp.Compare(a.Since, b.Since) })
	slices.SortStableFunc(inbox.Quarantined, func(a, b QuarantinedAgent) int { return cmp.Compare(a.Since, b.Since) })
	return inbox, nil
}

// Save implements [Fold].
func (f *approvals) Save() ([]byte, error) { return json.Marshal(f) }

// Restore implements [Fold].
func (f *approvals) Restore(state []byte) error { return restore(state, f, newApprovals()) }
