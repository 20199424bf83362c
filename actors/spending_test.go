package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// faulty is a store that is away for minutes, refuses, stores without saying so, and to which others write, as a seed has it.
type faulty struct {
	*actorstest.Memory

	mu      sync.Mutex
	random  *rand.Rand
	away    time.Time // until then
	meddled int
}

// newFaulty returns one that is sound after a time.
func newFaulty(t *testing.T, seed uint64, until time.Time) *faulty {
	f := &faulty{Memory: actorstest.NewMemory(), random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // choices of a test
	f.Fail(func(stream events.Stream, batch []events.Envelope) error {
		if fromMeddler(batch) {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		now := time.Now()
		switch {
		case now.After(until):
			return nil
		case now.Before(f.away):
			return errAway
		}
		switch f.random.IntN(12) {
		case 0:
			f.away = now.Add(time.Duration(f.random.IntN(120)) * time.Second)
			return errAway
		case 1:
			return storage.ErrFull
		case 2:
			if f.meddled++; stream == "agent-demo" && f.meddled < 4 && batch[0].Kind != "agent.created" && batch[0].Kind != "message.received" { // the turn keeps its configuration
				meddle(t, f.Memory)
			}
		}
		return nil
	})
	f.FailAfter(func(_ events.Stream, batch []events.Envelope) error {
		if fromMeddler(batch) {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if time.Now().Before(until) && f.random.IntN(10) == 0 {
			return errors.New("the answer was lost")
		}
		return nil
	})
	return f
}

// fromMeddler reports an append of somebody else.
func fromMeddler(batch []events.Envelope) bool {
	return strings.HasPrefix(string(batch[0].Command), "meddle")
}

// TestSpendingOnFaultyStore runs turns on stores that fail in all their ways. As long as the host lives, what models were paid is what history says, to the
// cent; it stays within the turn's money and one call; no call runs twice; and the reasons in history are those of what happened.
func TestSpendingOnFaultyStore(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { spendOnFaultyStore(t, seed) })
		})
	}
}

func spendOnFaultyStore(t *testing.T, seed uint64) {
	const price, limit = 300_000, 1_000_000 // of a call, and of the turn
	memory := newFaulty(t, seed, time.Now().Add(20*time.Minute))
	var paid, ran atomic.Int64
	model := actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
		select {
		case <-ctx.Done():
			return actors.ModelResponse{}, ctx.Err()
		case <-time.After(time.Duration(1+seed%20) * time.Second):
		}
		n := paid.Add(1)
		return actors.ModelResponse{
			Calls: []events.ModelCall{{ID: "1", Tool: "pay", Arguments: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}}, Stop: events.StopCalls,
		}, nil
	})
	tool := actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "pay", Description: "pays", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskHigh},
		Does: func(context.Context, actors.ToolUse) (actors.ToolResult, error) {
			<-time.After(time.Duration(seed%30) * time.Second)
			ran.Add(1)
			return actors.ToolResult{Text: "paid"}, nil
		},
	}
	var journal storage.Journal = memory.Memory
	if seed%2 == 1 {
		journal = waitedFor{memory.Memory}
	}
	host := start(t, actors.Config{
		Journal: journal, Snapshots: memory.Memory, Models: oneModel{model}, Tools: []actors.Tool{tool}, Prices: priced{price}, OpeningCredit: 10 * events.Dollar,
	})
	made := create("demo", "pay")
	made.Config.Limits.Money, made.Config.Limits.Time, made.Config.Policy.OnLimit = limit, 10*60*events.Minute, events.LimitEnd
	insist(t, host, "agent-demo", made)
	insist(t, host, "agent-demo", say("c1", "go"))
	<-time.After(2 * time.Hour)
	synctest.Wait()
	seen := until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	for _, event := range seen {
		switch e := event.(type) {
		case events.ToolLost, events.ModelFailed, events.ApprovalRequested:
			t.Errorf("history says: %s", e)
		case events.TurnEnded:
			if e.Cost != events.Money(paid.Load())*price || e.Cost > limit+price || e.Reason != events.ReasonMoney {
				t.Errorf("%d replies were paid: %s", paid.Load(), e)
			}
			if int64(e.ToolCalls) != ran.Load() {
				t.Errorf("%d calls ran: %s", ran.Load(), e)
			}
		}
	}
	if wallet, err := host.Wallet(t.Context(), sagas.DefaultWallet); err != nil || wallet.Held != 0 || wallet.Balance != 10*events.Dollar-events.Money(paid.Load())*price {
		t.Errorf("%d replies were paid: %v %+v", paid.Load(), err, wallet)
	}
	verified(t, host)
}

// insist sends a command until it is accepted.
func insist(t *testing.T, host *actors.Host, stream events.Stream, command sagas.Command) {
	t.Helper()
	for {
		_, err := host.Do(t.Context(), stream, command, actors.Origin{Actor: "test"})
		var refused *sagas.RefusalError
		if err == nil || strings.Contains(err.Error(), "exists already") {
			return
		}
		if errors.As(err, &refused) {
			t.Fatal(err)
		}
		<-time.After(time.Second)
	}
}
