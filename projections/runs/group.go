package runs

import (
	"cmp"
	"slices"

	"example.com/life/events"
	"example.com/life/projections"
)

// Group is a stretch of an agent's history as people remember it: a turn with what followed it until the next one began, or what came
// before the first turn. Groups follow on one another without a gap, and every event is in one: it stands behind the heading, behind
// one of the lines, or is counted among the others.
type Group struct {
	Turn     events.TurnID   `json:"turn,omitempty"` // empty: before the first turn
	First    events.Revision `json:"first,string"`
	Last     events.Revision `json:"last,string"`
	Started  events.Micros   `json:"started,string"`         // of the turn, or the time of the first event
	Ended    events.Micros   `json:"ended,string,omitempty"` // of the turn; 0: it runs
	Elapsed  events.Micros   `json:"elapsed_us,string"`      // of the turn, until its end or its latest event
	Outcome  events.Outcome  `json:"outcome,omitempty"`      //
	Reason   events.Reason   `json:"reason,omitempty"`       //
	Detail   string          `json:"detail,omitempty"`       //
	Messages []GroupMessage  `json:"messages"`               // that the turn began with
	Rounds   int             `json:"rounds"`                 // model calls
	Calls    int             `json:"calls"`                  // tool calls
	Tokens   int64           `json:"tokens,string"`          // in and out
	Cost     events.Money    `json:"micro_dollars,string"`   // of the priced replies
	Unpriced bool            `json:"unpriced,omitempty"`     // some reply had no price
	Events   int             `json:"events"`                 // all of them
	Heading  int             `json:"heading"`                // events that the heading tells: the turn's start and end
	Lines    []GroupLine     `json:"lines"`                  //
	Others   []GroupCount    `json:"others"`                 // events without a line, by kind
}

// openGroup is the group that is being told.
type openGroup struct {
	Group
	lines map[string]int              // of requests, rounds and calls, by what they are named
	asked map[string]string           // arguments of calls, by their names
	texts map[events.MessageID]string // of messages that no turn has taken in
}

// GroupMessage is a message that a turn began with. Its text is empty when it came before the history that was read.
type GroupMessage struct {
	ID   events.MessageID `json:"id"`
	Text string           `json:"text,omitempty"`
}

// GroupLine is a message, a round, a call, or an event that is told by itself.
type GroupLine struct {
	What     string          `json:"what"`               // message, round, call or event
	ID       string          `json:"id,omitempty"`       // m1, 2, 2.1; of an event its kind
	Name     string          `json:"name,omitempty"`     // the model, the tool, or who sent the message
	State    string          `json:"state,omitempty"`    // of a message its verb, of a round why it stopped or failed, of a call how it came out
	Text     string          `json:"text,omitempty"`     // the message, the reply, the arguments, or what the event says
	LeftOut  bool            `json:"left_out,omitempty"` // Text lacks some of the arguments that a person decides on
	Result   string          `json:"result,omitempty"`
	At       events.Micros   `json:"at,string"`
	Revision events.Revision `json:"revision,string"` // of its first event
	Events   int             `json:"events"`
	Attempts int             `json:"attempts,omitempty"` // at a round, when more than one
	Tokens   int64           `json:"tokens,string,omitempty"`
	Cost     events.Money    `json:"micro_dollars,string,omitempty"`
	Duration events.Micros   `json:"duration_us,string,omitempty"`
}

// The kinds of lines.
const (
	LineMessage = "message"
	LineRound   = "round"
	LineSummary = "summary" // of the conversation, which was compacted
	LineCall    = "call"
	LineEvent   = "event"
)

// GroupCount counts events of a kind.
type GroupCount struct {
	Kind  events.Kind `json:"kind"`
	Count int         `json:"count"`
}

// GroupFold tells an agent's history as groups. It is given the events in order, from any revision on.
type GroupFold struct {
	agent    events.AgentID
	group    *openGroup                  // the present one
	decision []*projections.Recorded     // the events of the latest decision
	waiting  map[events.MessageID]string // texts of messages that no turn has taken in
}

// NewGroupFold begins the groups of an agent.
func NewGroupFold(agent events.AgentID) *GroupFold {
	return &GroupFold{agent: agent, waiting: map[events.MessageID]string{}}
}

// Apply adds an event, and returns the group that it ended, if any: where a turn begins is known at the end of a decision. The
// events belong to the fold.
func (f *GroupFold) Apply(e *events.Envelope) *Group {
	var done *Group
	if n := len(f.decision); n > 0 && f.decision[n-1].Command != e.Command {
		done = f.flush()
	}
	f.decision = append(f.decision, &projections.Recorded{Envelope: e})
	return done
}

// End returns the groups that are not yet told: the last one, and one before it if the latest decision ended it.
func (f *GroupFold) End() []*Group {
	var all []*Group
	if done := f.flush(); done != nil {
		all = append(all, done)
	}
	if f.group != nil {
		all = append(all, f.group.finish())
	}
	f.group = nil
	return all
}

// flush gives the events of the latest decision to the groups they belong to.
func (f *GroupFold) flush() (done *Group) {
	begin := slices.IndexFunc(f.decision, func(r *projections.Recorded) bool { return r.Kind == events.TurnStarted{}.Kind() })
	for begin > 0 && f.decision[begin-1].Correlation == string(f.decision[begin-1].Command) { // outside of any turn: what began this one
		begin--
	}
	for i, r := range f.decision {
		if i == begin && f.group != nil {
			done, f.group = f.group.finish(), nil
		}
		if f.group == nil {
			f.group = &openGroup{
				Group: Group{First: r.Revision, Started: r.Time, Messages: []GroupMessage{}, Lines: []GroupLine{}, Others: []GroupCount{}},
				lines: map[string]int{}, asked: map[string]string{}, texts: f.waiting,
			}
		}
		f.group.add(r, f.agent)
	}
	f.decision = f.decision[:0]
	return done
}

// finish makes a group ready to be told.
func (g *openGroup) finish() *Group {
	slices.SortFunc(g.Others, func(a, b GroupCount) int { return cmp.Compare(a.Kind, b.Kind) })
	return &g.Group
}
