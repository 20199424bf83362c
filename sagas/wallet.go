package sagas

import (
	"fmt"
	"slices"

	"example.com/life/events"
)

// Wallet is the fold of one wallet's stream. Money is set aside for a turn before its models are called, and what was spent is
// settled when the turn ends: Balance always equals all credits less all that was settled, and Held what is set aside.
type Wallet struct {
	ID       events.WalletID              `json:"id,omitempty"`     // empty: not opened
	Opened   events.CommandID             `json:"opened,omitempty"` // the command that opened it
	Revision events.Revision              `json:"revision"`
	Balance  events.Money                 `json:"balance"`
	Held     events.Money                 `json:"held,omitempty"`
	Holds    map[events.TurnID]Hold       `json:"holds,omitempty"` // turns with money set aside
	Answers  map[events.RequestID]answer  `json:"answers,omitempty"`
	Order    []events.RequestID           `json:"order,omitempty"`  // of Answers, oldest first
	Closed   map[events.TurnID]struct{}   `json:"closed,omitempty"` // turns settled lately: nothing more is set aside for them
	Closings []events.TurnID              `json:"closings,omitempty"`
	Credits  map[events.CommandID]Credits `json:"credits,omitempty"` // commands from outside, by id
}

// Hold is what is set aside for a turn.
type Hold struct {
	Amount events.Money `json:"amount"`
}

// Credits remembers a command from outside, for recognising its retry.
type Credits struct {
	Revision events.Revision `json:"revision"`
	Amount   events.Money    `json:"amount"`
}

// answer remembers what a request was answered with, so that asking again gives the same answer.
type answer struct {
	Reserved *events.FundsReserved `json:"reserved,omitempty"`
	Refused  *events.FundsRefused  `json:"refused,omitempty"`
	Settled  *events.FundsSettled  `json:"settled,omitempty"`
}

func (a answer) event() events.Event {
	switch {
	case a.Reserved != nil:
		return *a.Reserved
	case a.Refused != nil:
		return *a.Refused
	}
	return *a.Settled
}

// answerWindow is how many of a wallet's latest answers, and of its latest settled turns, are remembered. Requests are sent again
// only by turns that have not heard the answer yet, so this bounds how many turns may be in that state at once.
const answerWindow = 8192

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
	if w.ID != "" && w.ID == c.Wallet && w.Opened == c.ID {
		return nil, &Duplicate{}
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
	if known, ok := w.Credits[c.ID]; ok {
		if known.Amount != c.Amount {
			return nil, refuse(RefusedReuse, "command id %q already credited %s: choose a new one for each command", c.ID, known.Amount)
		}
		return nil, &Duplicate{Revision: known.Revision}
	}
	if c.Amount <= 0 {
		return nil, refuse(RefusedInvalid, "a credit of %s is not more than nothing", c.Amount)
	}
	if w.Balance > 0 && c.Amount > 1<<62-w.Balance {
		return nil, refuse(RefusedInvalid, "a credit of %s is more than a wallet can hold", c.Amount)
	}
	return []events.Event{events.WalletCredited{Amount: c.Amount, By: c.By, Memo: c.Memo}}, nil
}

// reserve sets money aside, or refuses; both are recorded, so that the same request always has the same answer.
func (w *Wallet) reserve(c Reserve) ([]events.Event, error) {
	if known, ok := w.Answers[c.Request]; ok {
		return nil, &Duplicate{Event: known.event()}
	}
	if c.Amount <= 0 {
		return nil, refuse(RefusedInvalid, "a reservation of %s is not more than nothing", c.Amount)
	}
	refused := func(reason string) ([]events.Event, error) {
		return []events.Event{events.FundsRefused{
			Request: c.Request, Turn: c.Turn, Amount: c.Amount, Available: w.Available(), Reason: reason,
		}}, nil
	}
	if _, closed := w.Closed[c.Turn]; closed {
		return refused("the turn is settled already")
	}
	if c.Amount > w.Available() {
		return refused(fmt.Sprintf("wallet %s has %s available, %s was asked for: credit it", w.ID, w.Available(), c.Amount))
	}
	return []events.Event{events.FundsReserved{Request: c.Request, Turn: c.Turn, Amount: c.Amount}}, nil
}

// settle takes what was spent and releases the rest. A turn without a reservation settles too: it asked, and was cancelled.
func (w *Wallet) settle(c Settle) ([]events.Event, error) {
	if known, ok := w.Answers[c.Request]; ok {
		return nil, &Duplicate{Event: known.event()}
	}
	if c.Spent < 0 {
		return nil, refuse(RefusedInvalid, "turn %s cannot have spent %s", c.Turn, c.Spent)
	}
	return []events.Event{events.FundsSettled{
		Request: c.Request, Turn: c.Turn, Spent: c.Spent, Released: w.Holds[c.Turn].Amount - c.Spent,
	}}, nil
}

// Apply implements [Saga].
func (w Wallet) Apply(fact Fact) Wallet {
	w.Revision = fact.Revision
	switch e := fact.Event.(type) {
	case events.WalletOpened:
		w.ID, w.Balance, w.Opened = e.Wallet, e.Credit, fact.Command
	case events.WalletCredited:
		w.Balance += e.Amount
		w.Credits = put(w.Credits, fact.Command, Credits{Revision: fact.Revision, Amount: e.Amount})
	case events.FundsReserved:
		w.Held += e.Amount
		w.Holds = put(w.Holds, e.Turn, Hold{Amount: w.Holds[e.Turn].Amount + e.Amount})
		w.remember(e.Request, answer{Reserved: &e})
	case events.FundsRefused:
		w.remember(e.Request, answer{Refused: &e})
	case events.FundsSettled:
		w.Held -= w.Holds[e.Turn].Amount
		w.Balance -= e.Spent
		delete(w.Holds, e.Turn)
		w.Closed = put(w.Closed, e.Turn, struct{}{})
		w.Closings = append(w.Closings, e.Turn)
		if len(w.Closings) > 2*answerWindow {
			for _, turn := range w.Closings[:answerWindow] {
				delete(w.Closed, turn)
			}
			w.Closings = slices.Clone(w.Closings[answerWindow:])
		}
		w.remember(e.Request, answer{Settled: &e})
	}
	return w
}

// remember keeps an answer. It is only ever called on Apply's own copy.
func (w *Wallet) remember(request events.RequestID, given answer) {
	w.Answers = put(w.Answers, request, given)
	w.Order = append(w.Order, request)
	if len(w.Order) > 2*answerWindow {
		for _, old := range w.Order[:answerWindow] {
			delete(w.Answers, old)
		}
		w.Order = slices.Clone(w.Order[answerWindow:])
	}
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
		return Settle{Meta: meta, Request: e.Request, Turn: e.Turn, Spent: e.Spent}, nil
	}
	return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
}
