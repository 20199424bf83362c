package projector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// TestWholeDecisions asks while decisions of three events each are stored as fast as they can be: no answer has a part of one.
func TestWholeDecisions(t *testing.T) {
	memory := actorstest.NewMemory()
	host := keeping(t, memory, memory)
	host.must(sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1"}})
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var asked atomic.Int64
	for range 2 {
		asking.Go(func() {
			for ctx.Err() == nil {
				answer, err := host.Query(ctx, projector.Question{Projection: "tally"}, nil)
				var counted actorstest.Tallies
				if err == nil {
					err = json.Unmarshal(answer.Answer, &counted)
				}
				if ctx.Err() == nil && (err != nil || counted.Counts["wallet.credited"]%3 != 0) {
					t.Errorf("%s, %v", answer.Answer, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	last := events.Position(0)
	for i := range 3000 {
		last = put(t, memory, events.Stream(fmt.Sprint("wallet-", i%7)), events.CommandID(fmt.Sprint(i)), "wallet.credited", `{"amount":"1"}`, `{"amount":"1"}`, `{"amount":"1"}`)
	}
	answer, err := host.Query(t.Context(), projector.Question{Projection: "tally", Min: last}, nil)
	if err != nil || string(answer.Answer) != `{"counts":{"wallet.credited":9000}}` || answer.Position < last {
		t.Errorf("%s at %d, %v", answer.Answer, answer.Position, err)
	}
	stop()
	asking.Wait()
	if asked.Load() == 0 {
		t.Error("nobody was answered meanwhile")
	}
}

// TestBehind: a position that is not there, or lies behind an event that cannot be folded, is an error that says so.
func TestBehind(t *testing.T) {
	memory := actorstest.NewMemory()
	host := keeping(t, memory, memory)
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	last := credits(t, memory, 10)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := host.Query(soon, projector.Question{Projection: "balance", Min: last + 100}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a position that is not there: %v", err)
	}
	poison := put(t, memory, "wallet-side", "", "wallet.credited", `{"amount":1}`)
	var behind *projector.BehindError
	if _, err := host.Query(t.Context(), projector.Question{Projection: "balance", Min: poison}, nil); !errors.As(err, &behind) || !strings.Contains(behind.Reason, "stopped before position") {
		t.Errorf("behind poison: %v", err)
	}
}

// TestPoison: what cannot be folded stops one projection there and no other; it is stepped through, skipped with a reason, and skipped
// again when all is built anew, here and by a host on the same store.
func TestPoison(t *testing.T) {
	memory := actorstest.NewMemory()
	host := keeping(t, memory, memory)
	put(t, memory, "wallet-main", "a", "wallet.opened", `{"wallet":"main","credit":"5"}`)
	bad := put(t, memory, "wallet-main", "b", "wallet.credited", `{"amount":7}`)
	last := put(t, memory, "wallet-main", "c", "wallet.credited", `{"amount":"7"}`)
	question := projector.Question{Projection: "balance"}
	stopped := ask(t, host, question, func(a projector.Answer, err error) bool { return err == nil && a.Stopped != nil })
	if stopped.Position != bad-1 || stopped.Events != 1 || stopped.Stopped.Event != "wallet-main@1" || !strings.Contains(stopped.Stopped.Problem, "decode event") {
		t.Errorf("%+v, %+v", stopped, stopped.Stopped)
	}
	if s := standing(t, host, "balance"); s.State != projector.StateStopped || s.Behind == 0 {
		t.Errorf("%+v", s)
	}
	ask(t, host, projector.Question{Projection: "roster", Min: last}, func(a projector.Answer, err error) bool { return err == nil && a.Stopped == nil })
	steps, err := host.Step(t.Context(), "balance", 0, 5)
	if err != nil || len(steps) != 1 || steps[0].Position != bad || steps[0].Problem == "" {
		t.Errorf("%+v, %v", steps, err)
	}
	steps, err = host.Step(t.Context(), "balance", 1, 5)
	if err != nil || len(steps) != 2 || len(steps[0].Changes) != 1 || steps[0].Changes[0].Path != "wallets.main" {
		t.Errorf("from the beginning: %+v, %v", steps, err)
	}
	var refusal *sagas.RefusalError
	_, err = host.do(sagas.SkipEvent{Meta: meta("s0"), Name: "balance", Position: bad, By: "ann"})
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
		t.Errorf("without a reason: %v", err)
	}
	for name, other := range map[string]events.Position{"balance": last, "roster": bad} {
		_, err := host.do(sagas.SkipEvent{Meta: meta("s0"), Name: name, Position: other, Reason: "r", By: "ann"})
		if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedState || strings.Contains(refusal.Detail, fmt.Sprint("stopped at position ", bad)) != (name == "balance") {
			t.Errorf("%s, position %d: %v", name, other, err)
		}
	}
	host.must(sagas.SkipEvent{Meta: meta("s1"), Name: "balance", Position: bad, Reason: "no number", By: "ann"})
	went := func(a projector.Answer, err error) bool {
		return err == nil && a.Stopped == nil && a.Events == 2 && strings.Contains(string(a.Answer), `"balance":"12"`)
	}
	ask(t, host, projector.Question{Projection: "balance", Min: last}, went)
	if _, err := host.Rebuild(t.Context(), []string{"balance"}, nil); err != nil {
		t.Fatal(err)
	}
	ask(t, host, projector.Question{Projection: "balance", Min: last}, went)
	ask(t, host, projector.Question{Projection: "balance", At: last}, went)
	if s := standing(t, host, "balance"); len(s.Skipped) != 1 || s.Skipped[0].Reason != "no number" || s.Skipped[0].Event != "wallet-main@1" {
		t.Errorf("%+v", s.Skipped)
	}
	other := keeping(t, memory, nil)
	ask(t, other, projector.Question{Projection: "balance", Min: last}, went)
}

// TestRebuildBesides: the old fold answers while another is built, goes on meanwhile, and is what is there after the host died in the
// middle; the new one takes over at once where the old one is.
func TestRebuildBesides(t *testing.T) {
	memory := actorstest.NewMemory()
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	last := credits(t, memory, 9000)
	first := start(t, projector.Config{Journal: memory, Snapshots: memory})
	for _, name := range []string{"balance", "mode"} { // both fold wallets: what is not read when a host closes is read by the next
		ask(t, first, projector.Question{Projection: name, Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	}
	first.Close()

	closed := &gate{Journal: memory}
	second := start(t, projector.Config{Journal: closed, Snapshots: memory})
	ask(t, second, projector.Question{Projection: "balance", Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	if n := closed.read.Load(); n > 1000 {
		t.Errorf("a start from stored states read %d events", n)
	}
	blocked := &gate{Journal: memory, from: 4000, open: make(chan struct{})}
	third := start(t, projector.Config{Journal: blocked, Snapshots: memory, Resting: true})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := third.Rebuild(ctx, []string{"balance"}, nil)
		ended <- err
	}()
	for blocked.read.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a rebuild that was given up: %v", err)
	}
	close(blocked.open)
	answer, err := third.Query(t.Context(), projector.Question{Projection: "balance"}, nil)
	if err != nil || answer.Events != 9001 || blocked.read.Load() > 6000 {
		t.Errorf("after it: %+v, %v, %d events read", answer, err, blocked.read.Load())
	}
	last = credits(t, memory, 10)
	report, err := second.Rebuild(t.Context(), nil, func(at, head events.Position) {
		if head < last || at > head {
			t.Errorf("progress says %d of %d", at, head)
		}
	})
	if err != nil || len(report.Projections) != len(projections.Catalog) || report.Projections[0].Events != 9011 || report.Events < 9011 {
		t.Errorf("%+v, %v", report, err)
	}
	last = credits(t, memory, 10)
	answer = ask(t, second, projector.Question{Projection: "balance", Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	if answer.Events != 9021 || !strings.Contains(string(answer.Answer), `"balance":"9021"`) {
		t.Errorf("after the new one took over: %+v", answer)
	}
	second.Close()
}
