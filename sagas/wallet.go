package sagas

import (
	"fmt"
	"slices"

	"example.com/life/events"
)

// Wallet is the fold of one wallet's stream. Money is set aside for a turn before its models are called, and what was spent is
// settled when the turn ends: Balance always equals all credits less all that was settled, and Held what is set aside.
type Wallet struct {
	ID       events.WalletID            `json:"id,omitempty"` // empty: not opened
	Revision events.Revision            `json:"revision"`
	Balance  events.Money               `json:"balance"`
	Held     events.Money               `json:"held,omitempty"`
	Holds    map[events.TurnID]Hold     `json:"holds,omitempty"`    // turns with money set aside
	Accounts map[events.AgentID]Account `json:"accounts,omitempty"` // agents whose turns were settled
	Accepted []Accepted                 `json:"accepted,omitempty"` // the latest commands from outside
	Budget   events.Money               `json:"budget,omitempty"`   // the balance after the latest credit
	Warned   int                        `json:"warned,omitempty"`   // the highest warning since then, in percent of Budget
}

// Hold is what is set aside for a turn, in all and by each request.
type Hold struct {
	Amount  events.Money       `json:"amount"`
	IDs     []events.RequestID `json:"requests"`
	Amounts []events.Money     `json:"amounts"`
}

// Account knows which of an agent's turns are settled: those up to Turn that have no hold. Turns run one after another, so a late
// request of an earlier one is recognised for ever, at the cost of one number for each agent.
type Account struct {
	Turn int                 `json:"turn"`
	Last events.FundsSettled `json:"last"`
}

// NewWallet returns a wallet to which nothing has happened.
func NewWallet() Wallet { return Wallet{Revision: events.NoRevision} }

// Available is what can still be set aside.
func (w Wallet) Available() events.Money { return w.Balance - w.Held }

// Decide implements [Saga].
func (w Wallet) Decide(command Command) ([]events.Event, error) {
	if open, ok := command.(OpenWallet); ok {
		return w.open(open)
	}
	if w.ID == "" {
		return nil, refuse(RefusedMissing, "the wallet does not exist: open it first")
	}
	switch c := command.(type) {
	case Credit:
		return w.credit(c)
	case Reserve:
		return w.reserve(c)
	case Settle:
		return w.settle(c)
	}
	return nil, refuse(RefusedInvalid, "a wallet cannot decide %T", command)
}

func (w *Wallet) open(c OpenWallet) ([]events.Event, error) {
	if err := known(w.Accepted, c); err != nil {
		return nil, err
	}
	if w.ID != "" {
		return nil, refuse(RefusedExists, "wallet %s exists already", w.ID)
	}
	if err := c.Wallet.Validate(); err != nil {
		return nil, refuse(RefusedInvalid, "%v", err)
	}
	if c.Credit < 0 {
		return nil, refuse(RefusedInvalid, "a wallet cannot be opened with %s", c.Credit)
	}
	return []events.Event{events.WalletOpened{Wallet: c.Wallet, Credit: c.Credit}}, nil
}

func (w *Wallet) credit(c Credit) ([]events.Event, error) {
	if err := known(w.Accepted, c); err != nil {
		return nil, err
	}
	if c.Amount <= 0 {
		return nil, refuse(RefusedInvalid, "a credit of %s is not more than nothing", c.Amount)
	}
	if w.Balance > 0 && c.Amount > 1<<62-w.Balance {
		return nil, refuse(RefusedInvalid, "a credit of %s is more than a wallet can hold", c.Amount)
	}
	return []events.Event{events.WalletCredited{Amount: c.Amount, By: c.By, Memo: c.Memo}}, nil
}

// reserve sets money aside, or refuses. A request that was granted has the same answer for as long as its turn runs; one that was
// refused is judged anew, for its turn has heard no answer yet.
func (w *Wallet) reserve(c Reserve) ([]events.Event, error) {
	hold, open := w.Holds[c.Turn]
	if i := slices.Index(hold.IDs, c.Request); i >= 0 {
		return nil, &DuplicateError{Event: events.FundsReserved{Request: c.Request, Turn: c.Turn, Amount: hold.Amounts[i]}}
	}
	if c.Amount <= 0 || c.Turn.Number() == 0 {
		return nil, refuse(RefusedInvalid, "a reservation of %s for turn %q makes no sense", c.Amount, c.Turn)
	}
	refused := func(reason string) ([]events.Event, error) {
		return []events.Event{events.FundsRefused{
			Request: c.Request, Turn: c.Turn, Amount: c.Amount, Available: w.Available(), Reason: reason,
		}}, nil
	}
	if !open && w.settled(c.Turn) {
		return refused("the turn is settled already")
	}
	if c.Amount > w.Available() {
		return refused(fmt.Sprintf("wallet %s has %s available, %s was asked for: credit it", w.ID, w.Available(), c.Amount))
	}
	return []events.Event{events.FundsReserved{Request: c.Request, Turn: c.Turn, Amount: c.Amount}}, nil
}

// settle takes what was spent and releases the rest. A turn without a reservation settles too: it asked, and was cancelled.
func (w *Wallet) settle(c Settle) ([]events.Event, error) {
	if c.Spent < 0 || c.Turn.Number() == 0 {
		return nil, refuse(RefusedInvalid, "turn %q cannot have spent %s", c.Turn, c.Spent)
	}
	hold, open := w.Holds[c.Turn]
	if !open && w.settled(c.Turn) {
		if last := w.Accounts[c.Turn.Agent()].Last; last.Request == c.Request {
			return nil, &DuplicateError{Event: last}
		}
		return nil, &DuplicateError{Event: events.FundsSettled{Request: c.Request, Turn: c.Turn, Spent: c.Spent}}
	}
	decided := []events.Event{events.FundsSettled{Request: c.Request, Turn: c.Turn, Spent: c.Spent, Released: hold.Amount - c.Spent}}
	spent := w.Budget - w.Balance + c.Spent
	if percent := reached(int64(spent), int64(w.Budget)); percent > w.Warned && !c.Unwarned {
		available := w.Available() + hold.Amount - c.Spent
		decided = append(decided, events.WalletWarned{Percent: percent, Spent: spent, Of: w.Budget, Available: available})
	}
	return decided, nil
}

// settled reports whether a turn without a hold was settled: it, or a later turn of its agent, was.
func (w *Wallet) settled(turn events.TurnID) bool {
	return turn.Number() <= w.Accounts[turn.Agent()].Turn
}

// Apply implements [Saga].
func (w Wallet) Apply(fact Fact) Wallet {
	w.Revision = fact.Revision
	w.Accepted = accept(w.Accepted, fact)
	switch e := fact.Event.(type) {
	case events.WalletOpened:
		w.ID, w.Balance, w.Budget = e.Wallet, e.Credit, e.Credit
	case events.WalletCredited:
		w.Balance += e.Amount
		w.Budget, w.Warned = w.Balance, 0
	case events.WalletWarned:
		w.Warned = e.Percent
	case events.FundsReserved:
		w.Held += e.Amount
		hold := w.Holds[e.Turn]
		w.Holds = put(w.Holds, e.Turn, Hold{
			Amount: hold.Amount + e.Amount, IDs: append(hold.IDs, e.Request), Amounts: append(hold.Amounts, e.Amount),
		})
	case events.FundsSettled:
		w.Held -= w.Holds[e.Turn].Amount
		w.Balance -= e.Spent
		delete(w.Holds, e.Turn)
		agent := e.Turn.Agent()
		w.Accounts = put(w.Accounts, agent, Account{Turn: max(w.Accounts[agent].Turn, e.Turn.Number()), Last: e})
	}
	return w
}

// put sets an entry of a map that may be nil: empty maps are left out of snapshots.
func put[K comparable, V any](entries map[K]V, key K, value V) map[K]V {
	if entries == nil {
		entries = map[K]V{}
	}
	entries[key] = value
	return entries
}

// Ready implements [Saga]: a wallet asks nothing of anyone.
func (w Wallet) Ready() []Request { return nil }

// Recall implements [Saga].
func (w Wallet) Recall(facts []Fact) (Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	meta := Meta{ID: facts[0].Command, At: facts[0].Time}
	switch e := facts[0].Event.(type) {
	case events.WalletOpened:
		return OpenWallet{Meta: meta, Wallet: e.Wallet, Credit: e.Credit}, nil
	case events.WalletCredited:
		return Credit{Meta: meta, Amount: e.Amount, By: e.By, Memo: e.Memo}, nil
	case events.FundsReserved:
		return Reserve{Meta: meta, Request: e.Request, Turn: e.Turn, Amount: e.Amount}, nil
	case events.FundsRefused:
		return Reserve{Meta: meta, Request: e.Request, Turn: e.Turn, Amount: e.Amount}, nil
	case events.FundsSettled:
		return Settle{Meta: meta, Request: e.Request, Turn: e.Turn, Spent: e.Spent, Unwarned: !warned(facts)}, nil
	}
	return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
}
