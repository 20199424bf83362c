package events

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
func (BudgetRequested) Kind() Kind     { return "budget.requested" }
func (BudgetGranted) Kind() Kind       { return "budget.granted" }
func (BudgetRefused) Kind() Kind       { return "budget.refused" }
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

func (e BudgetRequested) String() string {
	return sentence("wallet %s was asked to reserve %s for turn %s", e.Wallet, e.Amount, e.Turn)
}

func (e BudgetGranted) String() string { return sentence("the wallet reserved %s", e.Amount) }

func (e BudgetRefused) String() string {
	return sentence("the wallet refused, %s is available%s", e.Available, because(e.Reason))
}

func (e SettlementRequested) String() string {
	return sentence("wallet %s was asked to settle %s for turn %s", e.Wallet, e.Spent, e.Turn)
}

func (e SettlementRecorded) String() string {
	return sentence("the wallet settled and released %s", e.Released)
}
