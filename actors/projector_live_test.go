package actors_test

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

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// keeping starts a host that keeps projections, with the declared ones of tests.
func keeping(t *testing.T, journal storage.Journal, snapshots storage.Snapshots, more ...projections.Spec) *actors.Host {
	t.Helper()
	return start(t, actors.Config{Journal: journal, Snapshots: snapshots, Models: noModels{}, Projections: more, Declare: actorstest.Declare})
}

// put stores events of one decision.
func put(t *testing.T, journal storage.Journal, stream events.Stream, command events.CommandID, kind events.Kind, data ...string) events.Position {
	t.Helper()
	batch := make([]events.Envelope, len(data))
	for i := range data {
		batch[i] = events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Command: command, Data: []byte(data[i])}
	}
	appended, err := journal.Append(t.Context(), stream, storage.ExpectAny, batch)
	if err != nil {
		t.Fatal(err)
	}
	return appended.Position
}

// ask asks until the answer is as wanted.
func ask(t *testing.T, host *actors.Host, question projector.Question, wanted func(projector.Answer, error) bool) projector.Answer {
	t.Helper()
	for began := time.Now(); ; <-time.After(2 * time.Millisecond) {
		answer, err := host.Query(t.Context(), question, nil)
		if wanted(answer, err) {
			return answer
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%+v: %+v, %+v, %v", question, answer, answer.Stopped, err)
		}
	}
}

func standing(t *testing.T, host *actors.Host, name string) projector.Status {
	t.Helper()
	list, err := host.Projections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Name == name {
			return list[i]
		}
	}
	t.Fatalf("there is no projection %s", name)
	return projector.Status{}
}

func catalogued(t *testing.T, host *actors.Host, command sagas.Command) actors.Receipt {
	t.Helper()
	receipt, err := host.Do(t.Context(), events.ProjectionsStream(sagas.DefaultTenant), command, actors.Origin{Actor: "test"})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return receipt
}

// TestWholeDecisions asks while decisions of three events each are stored as fast as they can be: no answer has a part of one.
func TestWholeDecisions(t *testing.T) {
	memory := actorstest.NewMemory()
	host := keeping(t, memory, memory)
	catalogued(t, host, sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1"}})
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

// TestReadYourWrites demands the position of a receipt, again and again; a position that nothing has comes too late, clearly.
func TestReadYourWrites(t *testing.T) {
	memory := actorstest.NewMemory()
	host := keeping(t, memory, memory)
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
	var refusal *sagas.Refusal
	_, err = host.Do(t.Context(), events.ProjectionsStream(sagas.DefaultTenant), sagas.SkipEvent{Meta: meta("s0"), Name: "balance", Position: bad, By: "ann"}, actors.Origin{})
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
		t.Errorf("without a reason: %v", err)
	}
	catalogued(t, host, sagas.SkipEvent{Meta: meta("s1"), Name: "balance", Position: bad, Reason: "no number", By: "ann"})
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

// gate is a journal whose reads of everything wait, from a position on, until it is opened.
type gate struct {
	storage.Journal
	from events.Position
	open chan struct{}
	read atomic.Int64 // events, forward
}

func (g *gate) ReadAll(ctx context.Context, from storage.Place, d storage.Direction, f storage.Filter, l storage.Limit) (storage.Page, error) {
	if d == storage.Forward && from.Position >= g.from && g.from > 0 {
		select {
		case <-g.open:
		case <-ctx.Done():
			return storage.Page{}, ctx.Err()
		}
	}
	page, err := g.Journal.ReadAll(ctx, from, d, f, l)
	if d == storage.Forward {
		g.read.Add(int64(len(page.Events)))
	}
	return page, err
}

func credits(t *testing.T, memory *actorstest.Memory, n int) (last events.Position) {
	t.Helper()
	for i := range n {
		last = put(t, memory, "wallet-main", events.CommandID(fmt.Sprint("credit-", i)), "wallet.credited", `{"amount":"1"}`)
	}
	return last
}

// TestRebuildBesides: the old fold answers while another is built, goes on meanwhile, and is what is there after the host died in the
// middle; the new one takes over at once where the old one is.
func TestRebuildBesides(t *testing.T) {
	memory := actorstest.NewMemory()
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	last := credits(t, memory, 9000)
	first, err := actors.New(t.Context(), actors.Config{Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: noModels{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"balance", "mode"} { // both fold wallets: what is not read when a host closes is read by the next
		ask(t, first, projector.Question{Projection: name, Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	closed := &gate{Journal: memory}
	second, err := actors.New(t.Context(), actors.Config{Journal: closed, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: noModels{}})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, second, projector.Question{Projection: "balance", Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	if n := closed.read.Load(); n > 1000 {
		t.Errorf("a start from stored states read %d events", n)
	}
	blocked := &gate{Journal: memory, from: 4000, open: make(chan struct{})}
	third := start(t, actors.Config{Journal: blocked, Snapshots: memory, Models: noModels{}, Resting: true})
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
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
