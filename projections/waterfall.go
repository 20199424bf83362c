package projections

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// waterfall knows what ran when in a turn: what was asked of models, tools, people, homeostasis and the wallet, as spans between an
// event that asks and the one that answers, in microseconds.
//
// Memory is bounded: the latest keptTurns turns of each agent are kept, with their first keptSpans spans; earlier turns are asked
// for as of an earlier position.
type waterfall struct {
	Agents map[events.AgentID]*lane `json:"agents"`
}

const (
	keptTurns = 8
	keptSpans = 256
)

// lane is one agent's.
type lane struct {
	Waiting []waitingMessage `json:"waiting,omitempty"` // in no turn yet
	Turns   []*TurnTrace     `json:"turns,omitempty"`   // the latest last
}

type waitingMessage struct {
	ID events.MessageID `json:"id"`
	At events.Micros    `json:"at,string"`
}

// TurnTrace is the fold of one turn.
type TurnTrace struct {
	Turn    events.TurnID  `json:"turn"`
	Asked   events.Micros  `json:"asked,string"` // when the first of its messages came
	Started events.Micros  `json:"started,string"`
	Seen    events.Micros  `json:"seen,string"`            // of the latest event while it ran
	Ended   events.Micros  `json:"ended,string,omitempty"` // 0: it runs
	Outcome events.Outcome `json:"outcome,omitempty"`
	Reason  events.Reason  `json:"reason,omitempty"`
	Usage   events.Usage   `json:"usage"`
	Cost    events.Money   `json:"cost,string"`
	Model   string         `json:"model,omitempty"`
	Spans   []span         `json:"spans,omitempty"`
	Dropped int            `json:"dropped,omitempty"`
	most    int            // spans that are kept; 0: keptSpans
}

// The names of what a span can be.
const (
	spanModel    = "model"
	spanTool     = "tool"
	spanApproval = "approval"
	spanQuestion = "question"
	spanPause    = "pause"
	spanAdvice   = "advice"
	spanMoney    = "money"
	spanNotes    = "notes"
	spanRetry    = "retry"
	spanSettle   = "settle"
	spanSummary  = "summary" // of the conversation, which a model writes
)

type span struct {
	What     string          `json:"what"`
	Name     string          `json:"name,omitempty"`
	Call     events.CallID   `json:"call,omitempty"`
	Revision events.Revision `json:"revision,string"` // of the event that began it
	Begun    events.Micros   `json:"begun,string"`
	Ended    events.Micros   `json:"ended,string,omitempty"` // 0: open
	Ran      events.Micros   `json:"ran,string,omitempty"`   // of models and tools, as whoever ran them measured; the rest is queueing
	Tokens   int64           `json:"tokens,string,omitempty"`
	Cost     events.Money    `json:"cost,string,omitempty"`
	Problem  string          `json:"problem,omitempty"`
}

func waterfallSpec() Spec {
	return Spec{
		Name: "waterfall", Version: 2, Description: "what ran when in a turn: of the latest " + strconv.Itoa(keptTurns) + " turns of each agent",
		Kinds: []string{"message.", "turn.", "model.", "tool.", "approval.", "question.", "advice.", "budget.", "knowledge.", "settlement.", "summary.", "conversation."},
		New:   func() Fold { return newWaterfall() },
		Queries: []QuerySpec{
			{Name: "turns", Description: "the turns that are known, the latest first, and where their time went", Params: []Parameter{ofAgent(), atMost(20)}, Answer: Turns{}},
			{Name: "turn", Description: "one turn, span by span", Params: []Parameter{{
				Name: "turn", Description: "which one, as demo/3", Required: true, Check: func(text string) error {
					if events.TurnID(text).Number() == 0 {
						return fmt.Errorf("want an agent and the number of its turn, such as demo/3")
					}
					return nil
				},
			}}, Answer: Turn{}},
		},
	}
}

func newWaterfall() *waterfall { return &waterfall{Agents: map[events.AgentID]*lane{}} }

// Apply implements [Fold].
func (w *waterfall) Apply(r *Recorded) error {
	agent, ok := r.Stream.Agent()
	if !ok {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	entry(w.Agents, agent).apply(r, event)
	return nil
}

func (l *lane) apply(r *Recorded, event events.Event) {
	switch e := event.(type) {
	case events.MessageReceived:
		l.Waiting = append(l.Waiting, waitingMessage{e.Message, r.Time})
	case events.MessageDelivered:
		l.take(e.Messages, r.Time)
	case events.TurnStarted:
		if len(l.Turns) == keptTurns {
			l.Turns = slices.Delete(l.Turns, 0, 1)
		}
		l.Turns = append(l.Turns, &TurnTrace{Turn: e.Turn, Asked: l.take(e.Messages, r.Time), Started: r.Time, Seen: r.Time})
	case events.SettlementRecorded: // of a turn that has ended, maybe before the present one
		for _, t := range slices.Backward(l.Turns) {
			if t.end(spanSettle, revisionOf(e.Request), r.Time) != nil {
				return
			}
		}
	default:
		if n := len(l.Turns); n > 0 {
			l.Turns[n-1].Apply(r, event)
		}
	}
}

// take forgets messages that are in a turn now, and returns when the first of them came.
func (l *lane) take(messages []events.MessageID, now events.Micros) events.Micros {
	first := now
	l.Waiting = slices.DeleteFunc(l.Waiting, func(m waitingMessage) bool {
		taken := slices.Contains(messages, m.ID)
		if taken {
			first = min(first, m.At)
		}
		return taken
	})
	return first
}

// Apply adds an event: one of the turn, or of what is paid for it when it has ended.
func (t *TurnTrace) Apply(r *Recorded, event events.Event) {
	if e, ok := event.(events.SettlementRequested); ok {
		t.begin(span{What: spanSettle, Name: string(e.Wallet), Revision: r.Revision, Begun: r.Time})
		return
	}
	if t.Ended != 0 {
		return
	}
	t.Seen = max(t.Seen, r.Time)
	t.applyAsking(r, event)
	t.applyAnswer(r, event)
	t.applyPerson(r, event)
}

// applyPerson ends what waited for a person who agreed or answered.
func (t *TurnTrace) applyPerson(r *Recorded, event events.Event) {
	switch e := event.(type) {
	case events.ApprovalGranted:
		t.endLast(spanApproval, e.Call, r.Time)
	case events.QuestionAnswered:
		t.endLast(spanQuestion, e.Call, r.Time)
	}
}

func (t *TurnTrace) applyAsking(r *Recorded, event events.Event) {
	begun := span{Revision: r.Revision, Begun: r.Time}
	switch e := event.(type) {
	case events.AdviceRequested:
		begun.What = spanAdvice
	case events.KnowledgeRequested:
		begun.What = spanNotes
	case events.BudgetRequested:
		begun.What, begun.Name = spanMoney, string(e.Wallet)
	case events.ModelRequested:
		if t.Model != e.Model {
			t.Model = e.Model
		}
		t.endLast(spanRetry, "", r.Time)
		begun.What, begun.Name = spanModel, t.Model // one string for all of the turn's
	case events.SummaryRequested:
		t.endLast(spanRetry, "", r.Time)
		begun.What, begun.Name = spanSummary, e.Model
	case events.ToolRequested:
		begun.What, begun.Name, begun.Call = spanTool, e.Tool, e.Call
	case events.ApprovalRequested:
		begun.What, begun.Name, begun.Call = spanApproval, e.Tool, e.Call
	case events.QuestionAsked:
		t.end(spanTool, revisionOf(e.Request), r.Time)
		if e.Expires == 0 { // nobody is there to answer
			return
		}
		begun.What, begun.Name, begun.Call = spanQuestion, e.Tool, e.Call
	case events.TurnPaused:
		begun.What, begun.Name = spanPause, string(e.Reason)
	default:
		return
	}
	t.begin(begun)
}

func (t *TurnTrace) applyAnswer(r *Recorded, event events.Event) {
	switch e := event.(type) {
	case events.AdviceGiven:
		t.end(spanAdvice, revisionOf(e.Request), r.Time)
	case events.AdviceMissed:
		t.fail(t.end(spanAdvice, revisionOf(e.Request), r.Time), "missed")
	case events.KnowledgeRecalled:
		t.end(spanNotes, revisionOf(e.Request), r.Time)
	case events.KnowledgeMissed:
		t.fail(t.end(spanNotes, revisionOf(e.Request), r.Time), "missed")
	case events.BudgetGranted:
		t.end(spanMoney, revisionOf(e.Request), r.Time)
	case events.BudgetRefused:
		t.fail(t.end(spanMoney, revisionOf(e.Request), r.Time), "refused")
	case events.ModelReplied:
		if s := t.end(spanModel, revisionOf(e.Request), r.Time); s != nil {
			s.Ran, s.Tokens, s.Cost = e.Duration, e.Usage.Total(), e.Cost
		}
	case events.ConversationCompacted:
		if s := t.end(spanSummary, revisionOf(e.Request), r.Time); s != nil {
			s.Ran, s.Tokens, s.Cost = e.Duration, e.Usage.Total(), e.Cost
			if e.How != events.Summarised {
				s.Problem = "unusable"
			}
		}
	case events.ModelFailed:
		s := cmp.Or(t.end(spanModel, revisionOf(e.Request), r.Time), t.end(spanSummary, revisionOf(e.Request), r.Time))
		if t.fail(s, string(e.Class)); s != nil {
			s.Tokens, s.Cost = e.Usage.Total(), e.Cost
		}
		if e.RetryAt > 0 {
			t.begin(span{What: spanRetry, Name: string(e.Class), Revision: r.Revision, Begun: r.Time})
		}
	case events.ToolReturned:
		if s := t.end(spanTool, revisionOf(e.Request), r.Time); s != nil {
			if s.Ran = e.Duration; e.Failed {
				s.Problem = "failed"
			}
		}
	case events.ToolLost:
		t.fail(t.end(spanTool, revisionOf(e.Request), r.Time), "lost")
	case events.ApprovalDenied:
		if e.Call == "" {
			t.fail(t.endLast(spanPause, "", r.Time), "denied")
			return
		}
		t.fail(cmp.Or(t.endLast(spanApproval, e.Call, r.Time), t.endLast(spanQuestion, e.Call, r.Time)), "denied")
	case events.ApprovalExpired:
		t.fail(cmp.Or(t.endLast(spanApproval, e.Call, r.Time), t.endLast(spanQuestion, e.Call, r.Time)), "expired")
	case events.TurnResumed:
		t.endLast(spanPause, "", r.Time)
	case events.TurnEnded:
		t.Ended, t.Outcome, t.Reason, t.Usage, t.Cost = max(r.Time, t.Started), e.Outcome, e.Reason, e.Usage, e.Cost
		for i := range t.Spans {
			if s := &t.Spans[i]; s.Ended == 0 {
				s.Ended, s.Problem = max(r.Time, s.Begun), "abandoned"
			}
		}
	}
}

func (t *TurnTrace) begin(s span) {
	if len(t.Spans) == cmp.Or(t.most, keptSpans) {
		t.Dropped++
		return
	}
	if t.Spans == nil {
		t.Spans = make([]span, 0, 8)
	}
	t.Spans = append(t.Spans, s)
}

// end ends the open span that began at a revision, and returns it; nil when it is not kept.
func (t *TurnTrace) end(what string, revision events.Revision, at events.Micros) *span {
	return t.endWhere(at, func(s *span) bool { return s.What == what && s.Revision == revision })
}

// endLast ends the latest open span of its kind, of a call where there is one.
func (t *TurnTrace) endLast(what string, call events.CallID, at events.Micros) *span {
	return t.endWhere(at, func(s *span) bool { return s.What == what && s.Call == call })
}

func (t *TurnTrace) endWhere(at events.Micros, wanted func(*span) bool) *span {
	for i := len(t.Spans) - 1; i >= 0; i-- {
		if s := &t.Spans[i]; s.Ended == 0 && wanted(s) {
			s.Ended = max(at, s.Begun) // in old histories a clock may have gone back
			return s
		}
	}
	return nil
}

func (t *TurnTrace) fail(s *span, problem string) {
	if s != nil {
		s.Problem = problem
	}
}

// Shift moves what happened before a turn was forked by the time that passed since, and ends what was open then.
func (t *TurnTrace) Shift(passed, now events.Micros) {
	t.Asked += passed
	t.Started += passed
	for i := range t.Spans {
		s := &t.Spans[i]
		s.Begun += passed
		if s.Ended == 0 {
			s.Ended, s.Problem = now, "forked"
		} else {
			s.Ended += passed
		}
	}
}

// revisionOf returns the revision of the event that recorded a request; NoRevision when the id is malformed.
func revisionOf(id events.RequestID) events.Revision {
	revision, err := strconv.ParseInt(string(id[strings.LastIndexByte(string(id), '@')+1:]), 10, 64)
	if err != nil {
		return events.NoRevision
	}
	return events.Revision(revision)
}

// Save implements [Fold].
func (w *waterfall) Save() ([]byte, error) { return json.Marshal(w) }

// Restore implements [Fold].
func (w *waterfall) Restore(state []byte) error { return restore(state, w, newWaterfall()) }
