package events

import (
	"cmp"
	"fmt"
)

// WalletOpened is the first event of a wallet.
type WalletOpened struct {
	Wallet WalletID `json:"wallet"`
	Credit Money    `json:"credit,string"` // what it starts with
}

// WalletCredited adds money to a wallet.
type WalletCredited struct {
	Amount Money  `json:"amount,string"`
	By     string `json:"by,omitempty"`
	Memo   string `json:"memo,omitempty"`
}

// FundsReserved sets an amount aside for a turn; it is not available to others until settled.
type FundsReserved struct {
	Request RequestID `json:"request"`
	Turn    TurnID    `json:"turn"`
	Amount  Money     `json:"amount,string"`
}

// FundsRefused records that an amount could not be set aside.
type FundsRefused struct {
	Request   RequestID `json:"request"`
	Turn      TurnID    `json:"turn"`
	Amount    Money     `json:"amount,string"`
	Available Money     `json:"available,string"`
	Reason    string    `json:"reason"`
}

// FundsSettled ends all reservations of a turn: what was spent is gone, the rest is available again.
type FundsSettled struct {
	Request  RequestID `json:"request"`
	Turn     TurnID    `json:"turn"`
	Spent    Money     `json:"spent,string"`
	Released Money     `json:"released,string"` // negative when more was spent than reserved
}

// WalletWarned warns people that 50 or 80 % of what a wallet held after its latest credit is spent.
type WalletWarned struct {
	Percent   int   `json:"percent"` // 50 or 80, and 80 alone where one settlement reaches both
	Spent     Money `json:"spent,string"`
	Of        Money `json:"of,string"`
	Available Money `json:"available,string"` // what can still be reserved
}

// BudgetRequested records, in the agent's stream, that the turn asks its wallet for a reservation.
type BudgetRequested struct {
	Turn   TurnID   `json:"turn"`
	Wallet WalletID `json:"wallet"`
	Amount Money    `json:"amount,string"`
}

// BudgetGranted records that the wallet set the amount aside.
type BudgetGranted struct {
	Request RequestID `json:"request"`
	Amount  Money     `json:"amount,string"`
}

// BudgetRefused records that the wallet refused: without a reservation no model is called.
type BudgetRefused struct {
	Request   RequestID `json:"request"`
	Available Money     `json:"available,string"`
	Reason    string    `json:"reason"`
}

// BudgetWarned warns people that a turn has used 50 or 80 % of one of its limits. The model is not told.
type BudgetWarned struct {
	Turn    TurnID `json:"turn"`
	Limit   Reason `json:"limit"`       // the reason for which the turn stops when all of it is used
	Percent int    `json:"percent"`     // 50 or 80, and 80 alone where one reply reaches both
	Used    int64  `json:"used,string"` // tokens, micro-dollars, rounds or calls
	Of      int64  `json:"of,string"`
}

// SettlementRequested records that the turn's cost is final and its wallet is to settle.
type SettlementRequested struct {
	Turn   TurnID   `json:"turn"`
	Wallet WalletID `json:"wallet"`
	Spent  Money    `json:"spent,string"`
}

// SettlementRecorded records that the wallet settled.
type SettlementRecorded struct {
	Request  RequestID `json:"request"`
	Released Money     `json:"released,string"`
}

// Kind returns the permanent name.
func (WalletOpened) Kind() Kind        { return "wallet.opened" }
func (WalletCredited) Kind() Kind      { return "wallet.credited" }
func (FundsReserved) Kind() Kind       { return "funds.reserved" }
func (FundsRefused) Kind() Kind        { return "funds.refused" }
func (FundsSettled) Kind() Kind        { return "funds.settled" }
func (WalletWarned) Kind() Kind        { return "wallet.warned" }
func (BudgetRequested) Kind() Kind     { return "budget.requested" }
func (BudgetGranted) Kind() Kind       { return "budget.granted" }
func (BudgetRefused) Kind() Kind       { return "budget.refused" }
func (BudgetWarned) Kind() Kind        { return "budget.warned" }
func (SettlementRequested) Kind() Kind { return "settlement.requested" }
func (SettlementRecorded) Kind() Kind  { return "settlement.recorded" }

func (e WalletOpened) String() string {
	return sentence("wallet %s was opened with %s", e.Wallet, e.Credit)
}

func (e WalletCredited) String() string {
	return sentence("%s was credited%s%s", e.Amount, by(e.By), because(e.Memo))
}

func (e FundsReserved) String() string {
	return sentence("%s was reserved for turn %s", e.Amount, e.Turn)
}

func (e FundsRefused) String() string {
	return sentence("a reservation of %s for turn %s was refused, %s is available%s", e.Amount, e.Turn, e.Available, because(e.Reason))
}

func (e FundsSettled) String() string {
	return sentence("turn %s was settled: %s spent, %s released", e.Turn, e.Spent, e.Released)
}

func (e WalletWarned) String() string {
	return sentence("budget warning at %d %%: %s of the wallet's %s are spent, %s is available", e.Percent, e.Spent, e.Of, e.Available)
}

func (e BudgetRequested) String() string {
	return sentence("wallet %s was asked to reserve %s for turn %s", e.Wallet, e.Amount, e.Turn)
}

func (e BudgetGranted) String() string { return sentence("the wallet reserved %s", e.Amount) }

func (e BudgetRefused) String() string {
	return sentence("the wallet refused, %s is available%s", e.Available, because(e.Reason))
}

func (e BudgetWarned) String() string {
	return sentence("budget warning at %d %%: turn %s has used %s", e.Percent, e.Turn, e.share())
}

// share says how much of how much is used, in the limit's unit.
func (e BudgetWarned) share() string {
	if e.Limit == ReasonMoney {
		return fmt.Sprintf("%s of %s", Money(e.Used), Money(e.Of))
	}
	unit := map[Reason]string{ReasonTokens: "tokens", ReasonRounds: "rounds", ReasonToolCalls: "tool calls"}[e.Limit]
	return fmt.Sprintf("%d of %d %s", e.Used, e.Of, cmp.Or(unit, string(e.Limit)))
}

func (e SettlementRequested) String() string {
	return sentence("wallet %s was asked to settle %s for turn %s", e.Wallet, e.Spent, e.Turn)
}

func (e SettlementRecorded) String() string {
	return sentence("the wallet settled and released %s", e.Released)
}
