package projections

import (
	"cmp"
	"encoding/json"

	"example.com/life/events"
)

// spending counts what models were asked for and what that cost, from the agents' own streams: as of each reply, where the wallet
// learns of it when the turn ends.
//
// A tool costs nothing by itself: what is counted as its cost is the price of the replies that call it, shared equally among the
// calls of each reply. What remains are the replies that call none, under the empty name.
type spending struct {
	Agents  map[events.AgentID]*spender `json:"agents"`
	Replies table[replied]              `json:"replies"`
	Tools   table[called]               `json:"tools"`
}

// spender is what an agent's next reply is counted under.
type spender struct {
	Wallet events.WalletID `json:"wallet,omitempty"`
	Model  string          `json:"model,omitempty"`
	Taped  bool            `json:"taped,omitempty"` // a fork whose replies are its parent's, which were paid for there
}

type replied struct {
	Replies  int64        `json:"replies,string"`
	Unpriced int64        `json:"unpriced,string"` // of them, whose model has no price
	Input    int64        `json:"input_tokens,string"`
	Output   int64        `json:"output_tokens,string"`
	Cached   int64        `json:"cached_tokens,string"`
	Cost     events.Money `json:"cost,string"`
}

func (r *replied) add(more *replied) {
	r.Replies += more.Replies
	r.Unpriced += more.Unpriced
	r.Input += more.Input
	r.Output += more.Output
	r.Cached += more.Cached
	r.Cost += more.Cost
}

type called struct {
	Calls int64        `json:"calls,string"`
	Cost  events.Money `json:"cost,string"` // of the replies that call it, shared among their calls
}

func (c *called) add(more *called) {
	c.Calls += more.Calls
	c.Cost += more.Cost
}

// Spending answers the query "spending".
type Spending struct {
	Rows  []SpendingRow `json:"rows"`
	Total replied       `json:"total"`
}

// SpendingRow is what was spent under one value of each column asked for.
type SpendingRow struct {
	Day    *Day            `json:"day,omitempty"`
	Agent  events.AgentID  `json:"agent,omitempty"`
	Wallet events.WalletID `json:"wallet,omitempty"`
	Model  string          `json:"model,omitempty"`
	replied
}

// ToolSpending answers the query "tools" of spending.
type ToolSpending struct {
	Rows  []ToolSpendingRow `json:"rows"`
	Total called            `json:"total"`
}

// ToolSpendingRow is what was spent on a tool; without a tool, on replies that call none.
type ToolSpendingRow struct {
	Day   *Day           `json:"day,omitempty"`
	Agent events.AgentID `json:"agent,omitempty"`
	Tool  string         `json:"tool,omitempty"`
	called
}

func spendingSpec() Spec {
	return Spec{
		Name: "spending", Version: 3, Kinds: []string{"budget.requested", "model.", "summary.requested", "conversation.compacted", "agent.forked", "fork."},
		Description: "tokens and money by day, agent, wallet, model and tool", New: func() Fold { return newSpending() },
		Queries: []QuerySpec{
			{
				Name: "spending", Description: "replies, tokens and cost, by model if not asked otherwise", Answer: Spending{},
				Params: []Parameter{groupedBy("day", "agent", "wallet", "model"), fromDay(), toDay(), ofAgent(), ofWallet(), ofName("model", "only this model")},
			},
			{
				Name: "tools", Description: "calls and what the replies that make them cost, by tool if not asked otherwise", Answer: ToolSpending{},
				Params: []Parameter{groupedBy("day", "agent", "tool"), fromDay(), toDay(), ofAgent(), ofName("tool", "only this tool")},
			},
		},
	}
}

func newSpending() *spending {
	return &spending{Agents: map[events.AgentID]*spender{}, Replies: table[replied]{}, Tools: table[called]{}}
}

// Apply implements [Fold].
func (s *spending) Apply(r *Recorded) error {
	agent, ok := r.Stream.Agent()
	if !ok {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case events.AgentForked:
		entry(s.Agents, agent).Taped = e.Tape != events.TapeLive
	case events.ForkDiverged, events.ForkFinished:
		entry(s.Agents, agent).Taped = false
	case events.BudgetRequested:
		entry(s.Agents, agent).Wallet = e.Wallet
	case events.ModelRequested:
		if by := entry(s.Agents, agent); by.Model != e.Model {
			by.Model = e.Model
		}
	case events.SummaryRequested:
		entry(s.Agents, agent).Model = e.Model
	case events.ConversationCompacted:
		if e.Request != "" {
			s.reply(agent, DayOf(r.Time), &events.ModelReplied{Model: e.Model, Usage: e.Usage, Cost: e.Cost, Priced: e.Priced})
		}
	case events.ModelReplied:
		s.reply(agent, DayOf(r.Time), &e)
	case events.ModelFailed:
		s.failure(agent, DayOf(r.Time), &e)
	}
	return nil
}

// failure counts what an attempt cost although no reply came of it.
func (s *spending) failure(agent events.AgentID, day Day, e *events.ModelFailed) {
	by := entry(s.Agents, agent)
	if by.Taped || e.Usage.Total() == 0 {
		return
	}
	unpriced := int64(0)
	if !e.Priced {
		unpriced = 1
	}
	row := s.Replies.row(column{Day: day, Agent: agent, Wallet: by.Wallet, Name: by.Model})
	row.add(&replied{0, unpriced, e.Usage.Input, e.Usage.Output, e.Usage.Cached, e.Cost})
	s.Tools.row(column{Day: day, Agent: agent}).add(&called{0, e.Cost})
}

func (s *spending) reply(agent events.AgentID, day Day, e *events.ModelReplied) {
	by := entry(s.Agents, agent)
	if by.Taped {
		return
	}
	row := s.Replies.row(column{Day: day, Agent: agent, Wallet: by.Wallet, Name: cmp.Or(by.Model, e.Model)})
	unpriced := int64(0)
	if !e.Priced {
		unpriced = 1
	}
	row.add(&replied{1, unpriced, e.Usage.Input, e.Usage.Output, e.Usage.Cached, e.Cost})
	if len(e.Calls) == 0 {
		s.Tools.row(column{Day: day, Agent: agent}).add(&called{0, e.Cost})
		return
	}
	share := e.Cost / events.Money(len(e.Calls))
	rest := e.Cost - share*events.Money(len(e.Calls)) // of the division, with the first call
	for _, call := range e.Calls {
		s.Tools.row(column{Day: day, Agent: agent, Name: call.Tool}).add(&called{1, share + rest})
		rest = 0
	}
}

// Answer implements [Fold].
func (s *spending) Answer(q Query) (any, error) {
	if q.Name == "tools" {
		answer := ToolSpending{Rows: []ToolSpendingRow{}}
		grouped := group(s.Tools, q, "tool", (*called).add)
		for _, row := range grouped.rows() {
			count := grouped[row]
			answer.Rows = append(answer.Rows, ToolSpendingRow{row.day(q, "tool"), row.Agent, row.Name, *count})
			answer.Total.add(count)
		}
		return answer, nil
	}
	answer := Spending{Rows: []SpendingRow{}}
	grouped := group(s.Replies, q, "model", (*replied).add)
	for _, row := range grouped.rows() {
		count := grouped[row]
		answer.Rows = append(answer.Rows, SpendingRow{row.day(q, "model"), row.Agent, row.Wallet, row.Name, *count})
		answer.Total.add(count)
	}
	return answer, nil
}

// Save implements [Fold].
func (s *spending) Save() ([]byte, error) { return json.Marshal(s) }

// Restore implements [Fold].
func (s *spending) Restore(state []byte) error { return restore(state, s, newSpending()) }
