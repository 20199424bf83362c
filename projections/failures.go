package projections

import (
	"cmp"
	"encoding/json"
	"slices"

	"example.com/life/events"
)

// failures counts what went wrong, by agent and day: loops that models were warned of, failures of models by class and of tools by
// tool, lost and refused calls, refused money, missed advice, expired approvals, quarantines, and turns that did not end as they
// should, by reason. The latest keptFailures are kept as they were.
type failures struct {
	Counts table[counted]            `json:"counts"`
	Latest []Failure                 `json:"latest"`
	Calls  map[events.AgentID][]call `json:"calls,omitempty"` // that run, to know the tools of those that fail
}

const keptFailures = 200

// The names of what goes wrong.
const (
	failedLoop       = "loop"
	failedModel      = "model"
	failedTool       = "tool"
	failedLost       = "lost"
	failedRefused    = "refused"
	failedMoney      = "money"
	failedAdvice     = "advice"
	failedApproval   = "approval"
	failedQuarantine = "quarantine"
	failedTurn       = "turn"
)

type counted struct {
	Count int64 `json:"count,string"`
}

type call struct {
	ID   events.CallID `json:"id"`
	Tool string        `json:"tool"`
}

// Failure is one thing that went wrong.
type Failure struct {
	Time     events.Micros   `json:"time,string"`
	Agent    events.AgentID  `json:"agent"`
	Failure  string          `json:"failure"`          // what failed: loop, model, tool, lost, refused, money, advice, approval, quarantine, turn
	Detail   string          `json:"detail,omitempty"` // how: the tool, the class of a model's failure, the reason of a turn's end
	Revision events.Revision `json:"revision,string"`
	Position events.Position `json:"position,string"`
}

// FailureCounts answers the query "count" of failures.
type FailureCounts struct {
	Rows  []FailureCount `json:"rows"`
	Total int64          `json:"total,string"`
}

// FailureCount is how often something went wrong, under one value of each column asked for.
type FailureCount struct {
	Day     *Day           `json:"day,omitempty"`
	Agent   events.AgentID `json:"agent,omitempty"`
	Failure string         `json:"failure,omitempty"`
	Detail  string         `json:"detail,omitempty"`
	Count   int64          `json:"count,string"`
}

// LatestFailures answers the query "latest" of failures, the latest first.
type LatestFailures struct {
	Failures []Failure `json:"failures"`
}

func failuresSpec() Spec {
	return Spec{
		Name: "failures", Version: 1, Description: "loops, failures, lost calls and quarantines by day and agent", New: func() Fold { return newFailures() },
		Kinds: []string{
			"loop.", "model.failed", "tool.", "budget.refused", "advice.missed", "approval.expired", "agent.quarantined", "turn.ended",
		},
		Queries: []QuerySpec{
			{
				Name: "count", Description: "how often what went wrong, by failure if not asked otherwise", Answer: FailureCounts{},
				Params: []Parameter{groupedBy("day", "agent", "failure", "detail"), fromDay(), toDay(), ofAgent(), ofName("failure", "only this failure, such as tool")},
			},
			{
				Name: "latest", Description: "the latest failures, the last first", Answer: LatestFailures{},
				Params: []Parameter{ofAgent(), ofName("failure", "only this failure, such as tool"), atMost(20)},
			},
		},
	}
}

func newFailures() *failures {
	return &failures{Counts: table[counted]{}, Latest: []Failure{}, Calls: map[events.AgentID][]call{}}
}

// Apply implements [Fold].
func (f *failures) Apply(r *Recorded) error {
	agent, ok := r.Stream.Agent()
	if !ok {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case events.ToolRequested:
		f.ended(agent, e.Call) // it may have asked a question
		f.Calls[agent] = append(f.Calls[agent], call{e.Call, e.Tool})
	case events.ToolReturned:
		if tool := f.ended(agent, e.Call); e.Failed {
			f.failed(r, agent, failedTool, tool)
		}
	case events.ToolLost:
		f.failed(r, agent, failedLost, f.ended(agent, e.Call))
	case events.TurnEnded:
		delete(f.Calls, agent)
		if e.Outcome == events.Stopped || e.Outcome == events.Failed {
			f.failed(r, agent, failedTurn, string(e.Reason))
		}
	default:
		if what, detail := failureOf(event); what != "" {
			f.failed(r, agent, what, detail)
		}
	}
	return nil
}

// failureOf says what an event that stands for itself says about failure.
func failureOf(event events.Event) (what, detail string) {
	switch e := event.(type) {
	case events.LoopWarned:
		return failedLoop, e.Tool
	case events.ModelFailed:
		return failedModel, string(e.Class)
	case events.ToolRefused:
		return failedRefused, e.Tool
	case events.BudgetRefused:
		return failedMoney, ""
	case events.AdviceMissed:
		return failedAdvice, ""
	case events.ApprovalExpired:
		return failedApproval, ""
	case events.AgentQuarantined:
		return failedQuarantine, ""
	}
	return "", ""
}

// ended forgets a call that runs no more, and returns its tool.
func (f *failures) ended(agent events.AgentID, id events.CallID) string {
	running := f.Calls[agent]
	for i, c := range running {
		if c.ID == id {
			if running = slices.Delete(running, i, i+1); len(running) == 0 {
				delete(f.Calls, agent)
			} else {
				f.Calls[agent] = running
			}
			return c.Tool
		}
	}
	return ""
}

func (f *failures) failed(r *Recorded, agent events.AgentID, what, detail string) {
	f.Counts.row(column{Day: DayOf(r.Time), Agent: agent, Name: what, Detail: detail}).Count++
	if len(f.Latest) == keptFailures {
		f.Latest = slices.Delete(f.Latest, 0, 1)
	}
	f.Latest = append(f.Latest, Failure{r.Time, agent, what, detail, r.Revision, r.Position})
}

// Answer implements [Fold].
func (f *failures) Answer(q Query) (any, error) {
	if q.Name == "latest" {
		answer := LatestFailures{Failures: []Failure{}}
		for _, failure := range slices.Backward(f.Latest) {
			if len(answer.Failures) < q.limit(20) && matches(q.Parameters["agent"], failure.Agent) && matches(q.Parameters["failure"], failure.Failure) {
				answer.Failures = append(answer.Failures, failure)
			}
		}
		return answer, nil
	}
	answer := FailureCounts{Rows: []FailureCount{}}
	grouped := group(f.Counts, q, "failure", func(sum, more *counted) { sum.Count += more.Count })
	for _, row := range grouped.rows() {
		count := grouped[row].Count
		answer.Rows = append(answer.Rows, FailureCount{row.day(q, "failure"), row.Agent, row.Name, row.Detail, count})
		answer.Total += count
	}
	slices.SortStableFunc(answer.Rows, func(a, b FailureCount) int { return cmp.Compare(b.Count, a.Count) })
	return answer, nil
}

// Save implements [Fold].
func (f *failures) Save() ([]byte, error) { return json.Marshal(f) }

// Restore implements [Fold].
func (f *failures) Restore(state []byte) error { return restore(state, f, newFailures()) }
