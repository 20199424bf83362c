package history_test

import (
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestWalletAt: a wallet as of a time has what was credited by then, and before it was opened what it was opened with.
func TestWalletAt(t *testing.T) {
	memory := actorstest.NewMemory()
	for at, event := range []events.Event{
		events.WalletOpened{Wallet: "main", Credit: 100}, events.WalletCredited{Amount: 20}, events.WalletCredited{Amount: 3},
	} {
		data, version, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		e := events.Envelope{ID: uuid.New(), Kind: event.Kind(), Version: version, Time: events.Micros(10 * (at + 1)), Data: data}
		if _, err := memory.Append(t.Context(), events.WalletStream("main"), storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	past := reader(memory, nil)
	for at, want := range map[events.Micros]events.Money{0: 100, 10: 100, 19: 100, 20: 120, 29: 120, 30: 123, 1000: 123} {
		if wallet, opened, err := past.WalletAt(t.Context(), "main", at); err != nil || !opened || wallet.Balance != want {
			t.Errorf("at %d: %s, opened %t, %v; want %s", at, wallet.Balance, opened, err, want)
		}
	}
	if wallet, opened, err := past.WalletAt(t.Context(), "other", 30); err != nil || opened || wallet.Balance != 0 {
		t.Errorf("a wallet that was never opened: %+v, %t, %v", wallet, opened, err)
	}
}
