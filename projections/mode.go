package projections

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"example.com/life/events"
)

// mode knows how agents work, over time: their operating mode, which homeostasis advises, and their economic mode, which follows
// from how long their wallet lasts.
//
// The economic mode is that of the wallet in the agent's configuration. It compares the wallet's balance (what is held for running
// turns included) with what a month costs: thirty times the mean of the days, in UTC, since the wallet first paid for something, at
// most the latest burnDays of them, the current one included.
//
//	sovereign   two months or more, or nothing was ever spent
//	conserving  one month or more
//	hustle      less than a month
//	hibernate   nothing is left
//
// The names are those of the system that Life grew out of; the thresholds are a decision of Life's own, as no written source gives
// any: a month is the period people budget in, and twice that leaves one to react. So that a wallet near a threshold does not go to
// and fro, a better mode than the present one needs a tenth more; hibernate is left by any credit that brings the balance above
// zero. The mode is judged when the wallet is credited or settles, never by time alone.
//
// Nothing is decided from it. The latest keptChanges changes of each agent and each wallet are kept; what was before them is asked
// for as of an earlier position.
type mode struct {
	Agents  map[events.AgentID]*agentMode   `json:"agents"`
	Wallets map[events.WalletID]*walletMode `json:"wallets"`
}

const (
	keptChanges = 1000
	burnDays    = 7
	monthDays   = 30
)

// EconomicMode says how long a wallet lasts.
type EconomicMode string

// The economic modes, from the best.
const (
	Sovereign  EconomicMode = "sovereign"
	Conserving EconomicMode = "conserving"
	Hustle     EconomicMode = "hustle"
	Hibernate  EconomicMode = "hibernate"
)

type agentMode struct {
	Operating []operatingChange `json:"operating,omitempty"`
	Wallets   []walletChange    `json:"wallets,omitempty"`
}

type operatingChange struct {
	Position events.Position      `json:"position,string"`
	Time     events.Micros        `json:"time,string"`
	Mode     events.OperatingMode `json:"mode"`
	Because  []string             `json:"because,omitempty"`
}

type walletChange struct {
	Time   events.Micros   `json:"time,string"`
	Wallet events.WalletID `json:"wallet"`
}

type walletMode struct {
	Balance events.Money         `json:"balance,string"`
	Month   events.Money         `json:"month,string"` // what a month costs
	Pays    bool                 `json:"pays,omitempty"`
	First   Day                  `json:"first"`           // the day on which it first paid
	Spent   map[Day]events.Money `json:"spent,omitempty"` // the latest burnDays
	Changes []EconomicChange     `json:"changes,omitempty"`
}

func modeSpec() Spec {
	return Spec{
		Name: "mode", Version: 1, Kinds: []string{"agent.created", "agent.forked", "agent.configured", "advice.given", "advice.missed", "wallet.", "funds.settled"},
		Description: "operating mode and economic mode of agents, over time", New: func() Fold { return newMode() },
		Queries: []QuerySpec{
			{Name: "agents", Description: "the modes of each agent, now or as of a moment", Params: []Parameter{ofAgent(), atTime()}, Answer: AgentModes{}},
			{Name: "changes", Description: "when modes changed, and why", Params: []Parameter{ofAgent(), ofWallet()}, Answer: ModeChanges{}},
		},
	}
}

func newMode() *mode {
	return &mode{Agents: map[events.AgentID]*agentMode{}, Wallets: map[events.WalletID]*walletMode{}}
}

// Apply implements [Fold].
func (m *mode) Apply(r *Recorded) error {
	category, id := r.Stream.Split()
	if category != events.AgentCategory && category != events.WalletCategory {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case events.AgentCreated:
		m.configured(id, r.Time, e.Config.Wallet)
	case events.AgentForked:
		m.configured(id, r.Time, e.Config.Wallet)
	case events.AgentConfigured:
		m.configured(id, r.Time, e.Config.Wallet)
	case events.AdviceGiven:
		entry(m.Agents, events.AgentID(id)).operates(operatingChange{r.Position, r.Time, e.Mode, e.Because})
	case events.AdviceMissed:
		entry(m.Agents, events.AgentID(id)).operates(operatingChange{r.Position, r.Time, e.Mode, nil})
	case events.WalletOpened:
		entry(m.Wallets, events.WalletID(id)).pay(r, -e.Credit, 0)
	case events.WalletCredited:
		entry(m.Wallets, events.WalletID(id)).pay(r, -e.Amount, 0)
	case events.FundsSettled:
		entry(m.Wallets, events.WalletID(id)).pay(r, e.Spent, e.Spent)
	}
	return nil
}

func (m *mode) configured(agent string, at events.Micros, wallet events.WalletID) {
	a := entry(m.Agents, events.AgentID(agent))
	if n := len(a.Wallets); n == 0 || a.Wallets[n-1].Wallet != wallet {
		a.Wallets = latest(append(a.Wallets, walletChange{at, wallet}))
	}
}

func (a *agentMode) operates(change operatingChange) {
	if n := len(a.Operating); n == 0 || a.Operating[n-1].Mode != change.Mode {
		a.Operating = latest(append(a.Operating, change))
	}
}

// latest forgets the earliest changes, some at a time.
func latest[C any](changes []C) []C {
	if len(changes) <= keptChanges {
		return changes
	}
	return slices.Clone(changes[keptChanges/10:])
}

// pay changes the balance and judges the mode. spent counts towards what a month costs.
func (w *walletMode) pay(r *Recorded, amount, spent events.Money) {
	w.Balance -= amount
	today := DayOf(r.Time)
	if spent > 0 {
		if !w.Pays {
			w.Pays, w.First = true, today
		}
		if w.Spent == nil {
			w.Spent = map[Day]events.Money{}
		}
		w.Spent[today] += spent
	}
	w.Month = w.month(today)
	before := EconomicMode("")
	if n := len(w.Changes); n > 0 {
		before = w.Changes[n-1].Mode
	}
	if now := judge(w.Balance, w.Month, before); now != before {
		w.Changes = latest(append(w.Changes, EconomicChange{r.Position, r.Time, now, w.Balance, w.Month}))
	}
}

// month is what thirty days like the latest cost. Days too early to count are forgotten.
func (w *walletMode) month(today Day) events.Money {
	if !w.Pays {
		return 0
	}
	earliest, sum := max(w.First, today-burnDays+1), events.Money(0)
	for day, amount := range w.Spent {
		if day < earliest {
			delete(w.Spent, day)
			continue
		}
		sum += amount
	}
	return sum / events.Money(max(1, min(burnDays, today-earliest+1))) * monthDays
}

// judge says which mode a balance allows. before is the mode so far: a better one needs a tenth more.
func judge(balance, month events.Money, before EconomicMode) EconomicMode {
	months := func(n events.Money, mode EconomicMode, worse ...EconomicMode) bool {
		need := n * month
		if slices.Contains(worse, before) {
			need += need / 10
		}
		return balance >= need
	}
	switch {
	case balance <= 0:
		return Hibernate
	case months(2, Sovereign, Conserving, Hustle):
		return Sovereign
	case months(1, Conserving, Hustle):
		return Conserving
	}
	return Hustle
}

// AgentModes answers the query "agents" of mode.
type AgentModes struct {
	Agents []AgentModeRow `json:"agents"`
}

// AgentModeRow is how an agent works. What is empty was not known yet.
type AgentModeRow struct {
	Agent    events.AgentID       `json:"agent"`
	Mode     events.OperatingMode `json:"mode,omitempty"`
	Since    events.Micros        `json:"since,string,omitempty"`
	Because  string               `json:"because,omitempty"` // names of the rules that led to it
	Wallet   events.WalletID      `json:"wallet,omitempty"`
	Economic EconomicMode         `json:"economic,omitempty"`
	Changed  events.Micros        `json:"changed,string,omitempty"` // since when the economic mode is that
	Balance  events.Money         `json:"balance,string"`           // of the wallet: now, or when the mode of the moment asked for began
	Month    events.Money         `json:"month,string"`             // what a month costs, likewise
}

// ModeChanges answers the query "changes" of mode, in the order of positions.
type ModeChanges struct {
	Operating []OperatingChangeRow `json:"operating"`
	Economic  []EconomicChangeRow  `json:"economic"`
}

// OperatingChangeRow is a change of an agent's operating mode.
type OperatingChangeRow struct {
	Agent    events.AgentID       `json:"agent"`
	Position events.Position      `json:"position,string"`
	Time     events.Micros        `json:"time,string"`
	Mode     events.OperatingMode `json:"mode"`
	Because  string               `json:"because,omitempty"`
}

// EconomicChange is a change of a wallet's economic mode.
type EconomicChange struct {
	Position events.Position `json:"position,string"`
	Time     events.Micros   `json:"time,string"`
	Mode     EconomicMode    `json:"mode"`
	Balance  events.Money    `json:"balance,string"`
	Month    events.Money    `json:"month,string"` // what a month costs
}

// EconomicChangeRow is such a change with its wallet.
type EconomicChangeRow struct {
	Wallet events.WalletID `json:"wallet"`
	EconomicChange
}

// endOfTime is as of when a query asks that names no moment.
const endOfTime events.Micros = 1<<63 - 1

// Answer implements [Fold].
func (m *mode) Answer(q Query) (any, error) {
	if q.Name == "changes" {
		return m.changes(q), nil
	}
	at := endOfTime
	if text := q.Parameters["time"]; text != "" {
		moment, err := parseTime(text)
		if err != nil {
			return nil, err
		}
		at = moment
	}
	answer := AgentModes{Agents: []AgentModeRow{}}
	for _, id := range slices.Sorted(maps.Keys(m.Agents)) {
		if !matches(q.Parameters["agent"], id) {
			continue
		}
		agent, row := m.Agents[id], AgentModeRow{Agent: id}
		if c := asOf(agent.Operating, at, func(c *operatingChange) events.Micros { return c.Time }); c != nil {
			row.Mode, row.Since, row.Because = c.Mode, c.Time, strings.Join(c.Because, ", ")
		}
		if c := asOf(agent.Wallets, at, func(c *walletChange) events.Micros { return c.Time }); c != nil {
			row.Wallet = c.Wallet
		}
		if wallet := m.Wallets[row.Wallet]; wallet != nil {
			if c := asOf(wallet.Changes, at, func(c *EconomicChange) events.Micros { return c.Time }); c != nil {
				row.Economic, row.Changed, row.Balance, row.Month = c.Mode, c.Time, c.Balance, c.Month
			}
			if at == endOfTime {
				row.Balance, row.Month = wallet.Balance, wallet.Month
			}
		}
		answer.Agents = append(answer.Agents, row)
	}
	return answer, nil
}

// asOf returns the latest change that is not after a moment, or nil.
func asOf[C any](changes []C, at events.Micros, when func(*C) events.Micros) *C {
	for i := len(changes) - 1; i >= 0; i-- {
		if when(&changes[i]) <= at {
			return &changes[i]
		}
	}
	return nil
}

func (m *mode) changes(q Query) ModeChanges {
	answer := ModeChanges{Operating: []OperatingChangeRow{}, Economic: []EconomicChangeRow{}}
	agent, wallet := q.Parameters["agent"], q.Parameters["wallet"]
	for id, a := range m.Agents {
		for _, c := range a.Operating {
			if matches(agent, id) && (wallet == "" || agent != "") {
				answer.Operating = append(answer.Operating, OperatingChangeRow{id, c.Position, c.Time, c.Mode, strings.Join(c.Because, ", ")})
			}
		}
	}
	for id, w := range m.Wallets {
		for _, c := range w.Changes {
			if matches(wallet, id) && (agent == "" || wallet != "" || m.uses(events.AgentID(agent), id)) {
				answer.Economic = append(answer.Economic, EconomicChangeRow{id, c})
			}
		}
	}
	slices.SortFunc(answer.Operating, func(a, b OperatingChangeRow) int { return cmp.Compare(a.Position, b.Position) })
	slices.SortFunc(answer.Economic, func(a, b EconomicChangeRow) int { return cmp.Compare(a.Position, b.Position) })
	return answer
}

func (m *mode) uses(agent events.AgentID, wallet events.WalletID) bool {
	a := m.Agents[agent]
	return a != nil && slices.ContainsFunc(a.Wallets, func(c walletChange) bool { return c.Wallet == wallet })
}

// Save implements [Fold].
func (m *mode) Save() ([]byte, error) { return json.Marshal(m) }

// Restore implements [Fold].
func (m *mode) Restore(state []byte) error { return restore(state, m, newMode()) }
