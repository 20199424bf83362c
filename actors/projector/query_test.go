package projector_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// resting starts a projector that rests, and a way to write history.
func resting(t *testing.T) (*keeper, func(stream events.Stream, kind events.Kind, data string) events.Position) {
	t.Helper()
	journal := actorstest.NewMemory()
	host := start(t, projector.Config{Journal: journal, Resting: true})
	return host, func(stream events.Stream, kind events.Kind, data string) events.Position {
		return put(t, journal, stream, "", kind, data)
	}
}

// TestProject reads history over many pages, up to any position, and says how far it came.
func TestProject(t *testing.T) {
	host, write := resting(t)
	write("wallet-main", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	write("agent-a", "message.received", `{"message":"m1","verb":"collect"}`)
	positions := make([]events.Position, 10_000)
	for i := range positions {
		positions[i] = write("wallet-main", "wallet.credited", `{"amount":"1"}`)
	}
	query := projections.Query{Parameters: map[string]string{"wallet": "main"}}
	told := int64(0)
	answer, err := host.Query(t.Context(), projector.Question{Projection: "balance", Query: query}, func(folded int64) { told = folded })
	if err != nil || answer.Events != 10_001 || told == 0 || answer.Query != "wallets" || answer.Version != 1 ||
		answer.Position < positions[len(positions)-1] || !strings.Contains(string(answer.Answer), `"balance":"10001"`) {
		t.Errorf("%+v, %v, told %d", answer, err, told)
	}
	for _, i := range []int{0, 1, 4094, 4095, 4096, 9999} {
		answer, err = host.Query(t.Context(), projector.Question{Projection: "balance", Query: query, At: positions[i]}, nil)
		if want := fmt.Sprintf(`"balance":"%d"`, i+2); err != nil || answer.Position != positions[i] || !strings.Contains(string(answer.Answer), want) {
			t.Errorf("at %d: %+v, %v, want %s", positions[i], answer, err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Query(ended, projector.Question{Projection: "balance", Query: query}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}

// TestProjectRefuses: what cannot be asked, what is not there, and history that cannot be projected are refused with the reason.
func TestProjectRefuses(t *testing.T) {
	host, write := resting(t)
	write("wallet-main", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	poison := write("wallet-main", "wallet.credited", `{"amount":1}`)
	write("wallet-main", "wallet.credited", `{"amount":"1"}`)
	for _, test := range []struct {
		name, query string
		code        sagas.RefusalCode
		inDetail    string
	}{
		{"balances", "", sagas.RefusedMissing, "there are balance"},
		{"balance", "sum", sagas.RefusedInvalid, "there are wallets"},
	} {
		_, err := host.Query(t.Context(), projector.Question{Projection: test.name, Query: projections.Query{Name: test.query}}, nil)
		var refusal *sagas.RefusalError
		if !errors.As(err, &refusal) || refusal.Code != test.code || !strings.Contains(refusal.Detail, test.inDetail) {
			t.Errorf("%s %s: %v", test.name, test.query, err)
		}
	}
	if answer, err := host.Query(t.Context(), projector.Question{Projection: "balance", At: poison - 1}, nil); err != nil || answer.Events != 1 {
		t.Errorf("before the poison: %+v, %v", answer, err)
	}
	for _, at := range []events.Position{0, poison, poison + 1} {
		answer, err := host.Query(t.Context(), projector.Question{Projection: "balance", At: at}, nil)
		if err != nil || answer.Position != poison-1 || answer.Events != 1 || answer.Stopped == nil || answer.Stopped.Position != poison ||
			answer.Stopped.Event != "wallet-main@1" || !strings.Contains(answer.Stopped.Problem, "decode event wallet-main@1") {
			t.Errorf("at %d, with the poison in the way: %+v, %+v, %v", at, answer, answer.Stopped, err)
		}
	}
	turn := projections.Query{Name: "turn", Parameters: map[string]string{"turn": "a/1"}}
	var refusal *sagas.RefusalError
	if _, err := host.Query(t.Context(), projector.Question{Projection: "waterfall", Query: turn}, nil); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedMissing {
		t.Errorf("a turn that is not there: %v", err)
	}
}
