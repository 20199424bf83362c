package projections

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"example.com/life/events"
)

// balance keeps the books of all wallets by double entry: every movement takes an amount from one account and adds the same to
// another, so that all accounts together are zero at every position. A wallet has four kinds of accounts:
//
//	outside      what came in, negative: opening and later credits
//	available    what can be set aside
//	held         what is set aside for turns that run
//	spent/AGENT  what the turns of an agent cost
//
// A settlement moves what was spent from held to spent, and what was released from held to available; when a turn cost more than
// was set aside the release is negative, and the rest comes from what is available.
type balance struct {
	Wallets map[events.WalletID]*purse `json:"wallets"`
}

type purse struct {
	Outside      events.Money                    `json:"outside,string"`
	Available    events.Money                    `json:"available,string"`
	Held         events.Money                    `json:"held,string"`
	Spent        map[events.AgentID]events.Money `json:"spent"`
	Reservations int                             `json:"reservations"`
	Settlements  int                             `json:"settlements"`
	Refused      int                             `json:"refused"`
	Overspent    events.Money                    `json:"overspent,string"`
	Days         map[Day]*flow                   `json:"days"`
}

// flow is what moved on one day.
type flow struct {
	Credited events.Money `json:"credited,string"`
	Reserved events.Money `json:"reserved,string"`
	Released events.Money `json:"released,string"` // less what came back out of it, when more was spent than was set aside
	Spent    events.Money `json:"spent,string"`
	Balance  events.Money `json:"balance,string"` // at the end of the day: available and held
}

// WalletBalances answers the query "wallets" of balance.
type WalletBalances struct {
	Wallets []WalletBalance `json:"wallets"`
}

// WalletBalance is what a wallet holds, and how it came to.
type WalletBalance struct {
	Wallet       events.WalletID `json:"wallet"`
	Balance      events.Money    `json:"balance,string"` // available and held
	Available    events.Money    `json:"available,string"`
	Held         events.Money    `json:"held,string"`
	Credited     events.Money    `json:"credited,string"`
	Spent        events.Money    `json:"spent,string"`
	Overspent    events.Money    `json:"overspent,string"` // beyond what was set aside, of what was spent
	Reservations int             `json:"reservations"`
	Settlements  int             `json:"settlements"`
	Refused      int             `json:"refused"`
}

// Accounts answers the query "accounts" of balance.
type Accounts struct {
	Accounts []AccountBalance `json:"accounts"`
	Sum      events.Money     `json:"sum,string"` // of all that are listed: zero
}

// AccountBalance is one account of the books.
type AccountBalance struct {
	Wallet  events.WalletID `json:"wallet"`
	Account string          `json:"account"` // outside, available, held, or spent/AGENT
	Balance events.Money    `json:"balance,string"`
}

// WalletDays answers the query "days" of balance.
type WalletDays struct {
	Days []WalletDay `json:"days"`
}

// WalletDay is what moved in a wallet on one day, in UTC.
type WalletDay struct {
	Day    Day             `json:"day"`
	Wallet events.WalletID `json:"wallet"`
	flow
}

func balanceSpec() Spec {
	return Spec{
		Name: "balance", Version: 1, Kinds: []string{"wallet.", "funds."}, New: func() Fold { return newBalance() },
		Description: "what wallets hold, by double entry",
		Queries: []QuerySpec{
			{Name: "wallets", Description: "what each wallet holds", Params: []Parameter{ofWallet()}, Answer: WalletBalances{}},
			{Name: "accounts", Description: "every account of the books; they sum to zero", Params: []Parameter{ofWallet()}, Answer: Accounts{}},
			{Name: "days", Description: "what moved on each day, in UTC", Params: []Parameter{ofWallet(), fromDay(), toDay()}, Answer: WalletDays{}},
		},
	}
}

func newBalance() *balance { return &balance{Wallets: map[events.WalletID]*purse{}} }

// Apply implements [Fold].
func (b *balance) Apply(r *Recorded) error {
	category, id := r.Stream.Split()
	if category != events.WalletCategory {
		return nil
	}
	event, err := r.Outline()
	if err != nil {
		return err
	}
	switch event.(type) {
	case events.WalletOpened, events.WalletCredited, events.FundsReserved, events.FundsRefused, events.FundsSettled:
	default:
		return nil
	}
	p := entry(b.Wallets, events.WalletID(id))
	if p.Days == nil {
		p.Days, p.Spent = map[Day]*flow{}, map[events.AgentID]events.Money{}
	}
	p.apply(event, entry(p.Days, DayOf(r.Time)))
	return nil
}

func (p *purse) apply(event events.Event, day *flow) {
	switch e := event.(type) {
	case events.WalletOpened:
		p.credit(e.Credit, day)
	case events.WalletCredited:
		p.credit(e.Amount, day)
	case events.FundsReserved:
		move(&p.Available, &p.Held, e.Amount)
		p.Reservations++
		day.Reserved += e.Amount
	case events.FundsRefused:
		p.Refused++
	case events.FundsSettled:
		spent := p.Spent[e.Turn.Agent()]
		move(&p.Held, &spent, e.Spent)
		p.Spent[e.Turn.Agent()] = spent
		move(&p.Held, &p.Available, e.Released)
		p.Settlements++
		p.Overspent += max(0, -e.Released)
		day.Spent += e.Spent
		day.Released += e.Released
	}
	day.Balance = p.Available + p.Held
}

func (p *purse) credit(amount events.Money, day *flow) {
	move(&p.Outside, &p.Available, amount)
	day.Credited += amount
}

// move is the one way in which money moves: two legs, of opposite sign.
func move(from, to *events.Money, amount events.Money) {
	*from -= amount
	*to += amount
}

// Answer implements [Fold].
func (b *balance) Answer(q Query) (any, error) {
	switch q.Name {
	case "accounts":
		return b.accounts(q), nil
	case "days":
		return b.days(q), nil
	}
	answer := WalletBalances{Wallets: []WalletBalance{}}
	for _, id := range b.chosen(q) {
		p := b.Wallets[id]
		spent := events.Money(0)
		for _, amount := range p.Spent {
			spent += amount
		}
		answer.Wallets = append(answer.Wallets, WalletBalance{
			Wallet: id, Balance: p.Available + p.Held, Available: p.Available, Held: p.Held, Credited: -p.Outside, Spent: spent,
			Overspent: p.Overspent, Reservations: p.Reservations, Settlements: p.Settlements, Refused: p.Refused,
		})
	}
	return answer, nil
}

// chosen lists the wallets that a query is about.
func (b *balance) chosen(q Query) []events.WalletID {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b.Wallets)), func(id events.WalletID) bool {
		return !matches(q.Parameters["wallet"], id)
	})
}

func (b *balance) accounts(q Query) Accounts {
	answer := Accounts{Accounts: []AccountBalance{}}
	list := func(id events.WalletID, account string, amount events.Money) {
		answer.Accounts = append(answer.Accounts, AccountBalance{id, account, amount})
		answer.Sum += amount
	}
	for _, id := range b.chosen(q) {
		p := b.Wallets[id]
		list(id, "outside", p.Outside)
		list(id, "available", p.Available)
		list(id, "held", p.Held)
		for _, agent := range slices.Sorted(maps.Keys(p.Spent)) {
			list(id, "spent/"+string(agent), p.Spent[agent])
		}
	}
	return answer
}

func (b *balance) days(q Query) WalletDays {
	from, to := q.days()
	answer := WalletDays{Days: []WalletDay{}}
	for _, id := range b.chosen(q) {
		for day, moved := range b.Wallets[id].Days {
			if day >= from && day <= to {
				answer.Days = append(answer.Days, WalletDay{day, id, *moved})
			}
		}
	}
	slices.SortFunc(answer.Days, func(a, b WalletDay) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Wallet, b.Wallet)) })
	return answer
}

// Save implements [Fold].
func (b *balance) Save() ([]byte, error) { return json.Marshal(b) }

// Restore implements [Fold].
func (b *balance) Restore(state []byte) error { return restore(state, b, newBalance()) }
