package actors_test

import (
	"context"
	"fmt"
	"strings"
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

// inLine is how many appends the first turn on a host begins before any of them is stored: the message with the request for money, the opening
// of the wallet, the reservation, and the request to the model. When the advice comes after the reservation it is one more.
const inLine = 4

// line is a host whose appends are held in line, by their journal, until the test lets them go.
type line struct {
	memory *actorstest.Memory
	config actors.Config
	asked  *atomic.Int64 // models
	gate   chan error    // takes one answer for each append
	said   chan error    // what the message was answered
	length int           // of the line
}

// newLine sends an agent a message and returns when the line is as long as it gets.
func newLine(t *testing.T) (*line, *actors.Host) {
	t.Helper()
	l := &line{memory: actorstest.NewMemory(), asked: new(atomic.Int64), gate: make(chan error), said: make(chan error, 1)}
	l.config = actors.Config{
		Journal: l.memory, Snapshots: l.memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: events.Dollar,
		Models: oneModel{actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
			l.asked.Add(1)
			return twoRounds(ctx, q, delta)
		})},
		Tools: []actors.Tool{echo()},
	}
	host, err := actors.New(t.Context(), l.config)
	if err != nil {
		t.Fatal(err)
	}
	do(t, host, "demo", create("demo", "echo"))
	l.memory.Fail(func(_ events.Stream, batch []events.Envelope) error {
		if batch[0].Kind == "agent.configured" { // of the other writer
			return nil
		}
		return <-l.gate
	})
	go func() {
		_, err := host.Do(t.Context(), "agent-demo", say("c1", "go"), actors.Origin{})
		l.said <- err
	}()
	synctest.Wait()
	if l.length = l.memory.InLine(); l.length < inLine || l.length > inLine+1 || l.asked.Load() != 0 {
		t.Errorf("%d appends are in line, want %d; %d models were asked", l.length, inLine, l.asked.Load())
	}
	return l, host
}

func (l *line) close(t *testing.T, host *actors.Host) {
	t.Helper()
	if err := host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// check holds what is stored to one turn, with one reservation and one settlement, in an order in which nothing rests on what came later.
func (l *line) check(t *testing.T, host *actors.Host) {
	t.Helper()
	until(t, watch(t, host, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
	page, err := l.memory.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for i := range page.Events {
		switch kind := page.Events[i].Kind; kind {
		case "message.received", "budget.requested", "funds.reserved", "budget.granted", "model.requested", "turn.ended", "funds.settled":
			kinds = append(kinds, string(kind))
		}
	}
	want := "message.received budget.requested funds.reserved budget.granted model.requested model.requested turn.ended funds.settled"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("stored were\n%s, want\n%s", got, want)
	}
	if wallet, err := host.Wallet(t.Context(), sagas.DefaultWallet); err != nil || wallet.Held != 0 || wallet.Balance != events.Dollar {
		t.Errorf("wallet: %v %+v", err, wallet)
	}
	verified(t, host)
}

// TestDeathInLine has a store die between any two of the appends that were begun one on the strength of another, and another host go on.
// Nobody outside is asked before all of them are stored.
func TestDeathInLine(t *testing.T) {
	for stored := range inLine + 2 {
		t.Run(fmt.Sprintf("%d stored", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, host := newLine(t)
				for n := range min(stored, l.length) {
					if l.asked.Load() != 0 {
						t.Errorf("a model was asked when %d of %d appends were stored", n, l.length)
					}
					l.gate <- nil
					synctest.Wait()
				}
				for l.memory.InLine() > 0 { // also what was begun since
					select {
					case l.gate <- storage.ErrClosed:
					default:
					}
					synctest.Wait()
				}
				l.memory.Fail(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
				l.close(t, host)
				l.memory.Fail(nil)
				if err := <-l.said; (err == nil) != (stored > 0) {
					t.Errorf("with %d appends stored, the message was answered: %v", stored, err)
				}
				second := start(t, l.config)
				do(t, second, "demo", say("c1", "go")) // accepted once
				until(t, watch(t, second, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" })
				if n := countStored(t, l.memory, "funds.reserved"); n != 1 {
					t.Errorf("%d reservations", n)
				}
				if n := countStored(t, l.memory, "message.received"); n != 1 {
					t.Errorf("%d messages", n)
				}
				verified(t, second)
			})
		})
	}
}

// countStored counts the events of a kind in the whole store.
func countStored(t *testing.T, memory *actorstest.Memory, kind events.Kind) int {
	t.Helper()
	page, err := memory.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{Kinds: []string{string(kind)}}, storage.Limit{Events: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Events)
}

// TestRefusedInLine has another writer take the agent over while its appends are in line. What rests on the refused one is refused with
// it, in the wallet too, and the turn runs once, on what history is now.
func TestRefusedInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, host := newLine(t)
		config := l.config
		config.Journal = waitedFor{l.memory}
		other := start(t, config)
		do(t, other, "demo", sagas.Configure{Meta: meta("other"), Config: create("demo", "echo").Config})
		l.memory.Fail(nil)
		close(l.gate)
		if err := <-l.said; err != nil {
			t.Errorf("the message: %v", err)
		}
		l.check(t, host)
		l.close(t, host)
	})
}

// TestTroubleInLine has the store refuse each append of the line once, for a reason that passes. All are stored in the end, in their order, and
// nobody has to begin anew.
func TestTroubleInLine(t *testing.T) {
	for failing := range inLine {
		t.Run(fmt.Sprint(failing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, host := newLine(t)
				began := time.Now()
				for n := range inLine {
					if n == failing {
						l.gate <- storage.ErrFull
						break
					}
					l.gate <- nil
				}
				l.memory.Fail(nil)
				close(l.gate)
				if err := <-l.said; err != nil {
					t.Errorf("the message: %v", err)
				}
				l.check(t, host)
				if took := time.Since(began); took > 150*time.Millisecond { // an entity that begins anew takes longer
					t.Errorf("it took %s", took)
				}
				l.close(t, host)
			})
		})
	}
}
