package sagas_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// TestWalletAnyOrder gives a wallet commands in any order. No money appears or disappears, a
// reservation has one answer while its turn runs, and a turn is settled once. People are warned when half and when four fifths of a credit are spent:
// once each, and at no other time.
func TestWalletAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(sagas.NewWallet)
		books := books{answers: map[events.RequestID]string{}, settled: map[events.TurnID]bool{}}
		steps := rapid.IntRange(1, 80).Draw(t, "steps")
		snapAt := rapid.IntRange(0, steps).Draw(t, "snapshot at")
		for step := range steps {
			if step == snapAt {
				h.snap(t)
			}
			command := anyWalletCommand(t)
			decided, err := h.decide(t, command)
			var duplicate *sagas.DuplicateError
			switch {
			case err == nil:
				books.enter(t, decided)
			case errors.As(err, &duplicate) && duplicate.Event != nil:
				books.compare(t, duplicate.Event)
			}
			books.check(t, h.saga)
		}
		h.replay(t)
	})
}

func anyWalletCommand(t *rapid.T) sagas.Command {
	meta := sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", rapid.IntRange(0, 20).Draw(t, "command"))), At: start}
	number := rapid.IntRange(1, 5).Draw(t, "turn")
	request := events.RequestID(fmt.Sprintf("agent-a@%d%d", number, rapid.IntRange(0, 5).Draw(t, "request"))) // one turn's, as an agent's are
	turn := events.NewTurnID("a", number)
	amount := events.Money(rapid.SampledFrom([]int64{0, 1, 500, 1000, -1, 1 << 62, 1<<63 - 1}).Draw(t, "amount"))
	return rapid.SampledFrom([]sagas.Command{
		sagas.OpenWallet{Meta: meta, Wallet: "purse", Credit: amount},
		sagas.Credit{Meta: meta, Amount: amount},
		sagas.Reserve{Meta: meta, Request: request, Turn: turn, Amount: amount},
		sagas.Reserve{Meta: meta, Request: request, Turn: turn, Amount: amount % 2000},
		sagas.Settle{Meta: meta, Request: request, Turn: turn, Spent: amount % 2000},
		sagas.Tick{Meta: meta},
	}).Draw(t, "command")
}

// books keeps a wallet's accounts a second time, in the plainest way.
type books struct {
	credits, spent events.Money
	answers        map[events.RequestID]string
	settled        map[events.TurnID]bool
	budget         events.Money // what there was after the latest credit
	warned         int
}

func (b *books) enter(t failer, decided []events.Event) {
	t.Helper()
	for _, event := range decided {
		switch e := event.(type) {
		case events.WalletOpened:
			b.credits += e.Credit
			b.budget = e.Credit
		case events.WalletCredited:
			b.credits += e.Amount
			b.budget, b.warned = b.credits-b.spent, 0
		case events.FundsReserved:
			b.answers[e.Request] = encodeAll(t, decided)
		case events.FundsSettled:
			b.spent += e.Spent
			if b.settled[e.Turn] {
				t.Fatalf("turn %s was settled before", e.Turn)
			}
			b.settled[e.Turn] = true
		case events.WalletWarned:
			if e.Percent <= b.warned || e.Of != b.budget || e.Spent != b.budget-(b.credits-b.spent) {
				t.Fatalf("%s after a warning at %d %%: %s are left of %s", e, b.warned, b.credits-b.spent, b.budget)
			}
			b.warned = e.Percent
		}
	}
	left, share := b.credits-b.spent, 0
	switch {
	case b.budget < 10:
	case left <= b.budget/5:
		share = 80
	case left <= b.budget/2:
		share = 50
	}
	if share != b.warned {
		t.Fatalf("%s are left of %s, and the latest warning was at %d %%", left, b.budget, b.warned)
	}
}

func (b *books) compare(t failer, again events.Event) {
	t.Helper()
	if settled, ok := again.(events.FundsSettled); ok {
		if b.spent == 0 && settled.Spent > 0 && len(b.settled) == 0 {
			t.Fatalf("%s, but no turn was", settled)
		}
		return // a later turn of the agent may have been settled in its place
	}
	text := encodeAll(t, []events.Event{again})
	for _, known := range b.answers {
		if known == text {
			return
		}
	}
	t.Fatalf("the second answer to a request was never the first: %s", text)
}

func (b *books) check(t failer, w sagas.Wallet) {
	t.Helper()
	held := events.Money(0)
	for _, hold := range w.Holds {
		held += hold.Amount
	}
	if w.Balance != b.credits-b.spent {
		t.Fatalf("balance %s, want %s credited less %s spent", w.Balance, b.credits, b.spent)
	}
	if w.Held != held || held < 0 {
		t.Fatalf("held %s, want the sum of what is set aside for turns, %s", w.Held, held)
	}
}

// TestWalletRemembers is about retries that come late: however many turns were settled since, none is settled twice, and what the
// wallet keeps for it does not grow with them.
func TestWalletRemembers(t *testing.T) {
	w := sagas.NewWallet()
	apply := func(event events.Event) {
		w = w.Apply(sagas.Fact{Event: event, Revision: w.Revision + 1, Time: start, Command: "~host"})
	}
	apply(events.WalletOpened{Wallet: "purse", Credit: 1 << 40})
	const turns = 40_000
	for i := range turns {
		turn := events.NewTurnID("a", i+1)
		apply(events.FundsReserved{Request: events.RequestID(turn + "@r"), Turn: turn, Amount: 2})
		apply(events.FundsSettled{Request: events.RequestID(turn + "@s"), Turn: turn, Spent: 1, Released: 1})
	}
	if len(w.Accounts) != 1 || len(w.Holds) != 0 || len(w.Accepted) != 0 {
		t.Errorf("after %d turns of one agent the wallet keeps %+v", turns, w)
	}
	for _, number := range []int{1, turns / 2, turns} {
		turn := events.NewTurnID("a", number)
		_, err := w.Decide(sagas.Settle{Request: events.RequestID(turn + "@s"), Turn: turn, Spent: 1})
		var duplicate *sagas.DuplicateError
		if !errors.As(err, &duplicate) || duplicate.Event == nil {
			t.Errorf("the settlement of turn %d sent again gives %v, want an answer and no event", number, err)
		}
		decided, err := w.Decide(sagas.Reserve{Request: events.RequestID(turn + "@r"), Turn: turn, Amount: 2})
		if err != nil || len(decided) != 1 || decided[0].Kind() != "funds.refused" {
			t.Errorf("a reservation for turn %d after its settlement: %v, %v", number, decided, err)
		}
	}
	if w.Balance != 1<<40-turns || w.Held != 0 {
		t.Errorf("balance %s, held %s", w.Balance, w.Held)
	}
}
