package actors_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// TestReadYourWrites demands the position of a receipt, again and again.
func TestReadYourWrites(t *testing.T) {
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{Journal: memory, Snapshots: memory, Models: noModels{}})
	wallet := events.WalletStream("purse")
	last := events.Position(0)
	for i := range 100 {
		var command sagas.Command = sagas.Credit{Meta: meta(fmt.Sprint("c", i)), Amount: 1}
		if i == 0 {
			command = sagas.OpenWallet{Meta: meta("c0"), Wallet: "purse", Credit: 1}
		}
		receipt, err := host.Do(t.Context(), wallet, command, actors.Origin{})
		if err != nil || receipt.Position <= last {
			t.Fatalf("%+v, %v", receipt, err)
		}
		last = receipt.Position
		again, err := host.Do(t.Context(), wallet, command, actors.Origin{})
		if err != nil || !again.Duplicate || again.Position != last {
			t.Fatalf("sent again: %+v, %v", again, err)
		}
		query := projections.Query{Parameters: map[string]string{"wallet": "purse"}}
		answer, err := host.Query(t.Context(), projector.Question{Projection: "balance", Query: query, Min: last}, nil)
		if want := fmt.Sprintf(`"balance":"%d"`, i+1); err != nil || !strings.Contains(string(answer.Answer), want) {
			t.Fatalf("%s, %v, want %s", answer.Answer, err, want)
		}
	}
}
