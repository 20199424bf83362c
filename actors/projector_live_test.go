package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// keeping starts a host that keeps projections, with the declared ones of tests.
func keeping(t *testing.T, journal actors.Journal, snapshots actors.Snapshots, more ...projections.Spec) *actors.Host {
	t.Helper()
	return start(t, actors.Config{Journal: journal, Snapshots: snapshots, Models: noModels{}, Projections: more, Declare: actorstest.Declare})
}

// put stores events of one decision.
func put(t *testing.T, journal actors.Journal, stream events.Stream, command events.CommandID, kind events.Kind, data ...string) events.Position {
	t.Helper()
	batch := make([]events.Envelope, len(data))
	for i := range data {
		batch[i] = events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Command: command, Data: []byte(data[i])}
	}
	appended, err := journal.Append(t.Context(), stream, actors.ExpectAny, batch)
	if err != nil {
		t.Fatal(err)
	}
	return appended.Position
}

// ask asks until the answer is as wanted.
func ask(t *testing.T, host *actors.Host, question actors.Ask, wanted func(actors.Projected, error) bool) actors.Projected {
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

func standing(t *testing.T, host *actors.Host, name string) actors.Projection {
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
	return actors.Projection{}
}

func catalogued(t *testing.T, host *actors.Host, command sagas.Command) actors.Receipt {
	t.Helper()
	receipt, err := host.Do(t.Context(), events.ProjectionsStream(actors.DefaultTenant), command, actors.Origin{Actor: "test"})
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
				answer, err := host.Query(ctx, actors.Ask{Projection: "tally"}, nil)
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
	answer, err := host.Query(t.Context(), actors.Ask{Projection: "tally", Min: last}, nil)
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
		answer, err := host.Query(t.Context(), actors.Ask{Projection: "balance", Query: query, Min: last}, nil)
		if want := fmt.Sprintf(`"balance":"%d"`, i+1); err != nil || !strings.Contains(string(answer.Answer), want) {
			t.Fatalf("%s, %v, want %s", answer.Answer, err, want)
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := host.Query(soon, actors.Ask{Projection: "balance", Min: last + 100}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a position that is not there: %v", err)
	}
	poison := put(t, memory, "wallet-side", "", "wallet.credited", `{"amount":1}`)
	var behind *actors.Behind
	if _, err := host.Query(t.Context(), actors.Ask{Projection: "balance", Min: poison}, nil); !errors.As(err, &behind) || !strings.Contains(behind.Reason, "stopped before position") {
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
	question := actors.Ask{Projection: "balance"}
	stopped := ask(t, host, question, func(a actors.Projected, err error) bool { return err == nil && a.Stopped != nil })
	if stopped.Position != bad-1 || stopped.Events != 1 || stopped.Stopped.Event != "wallet-main@1" || !strings.Contains(stopped.Stopped.Problem, "decode event") {
		t.Errorf("%+v, %+v", stopped, stopped.Stopped)
	}
	if s := standing(t, host, "balance"); s.State != actors.ProjectionStopped || s.Behind == 0 {
		t.Errorf("%+v", s)
	}
	ask(t, host, actors.Ask{Projection: "roster", Min: last}, func(a actors.Projected, err error) bool { return err == nil && a.Stopped == nil })
	steps, err := host.Step(t.Context(), "balance", 0, 5)
	if err != nil || len(steps) != 1 || steps[0].Position != bad || steps[0].Problem == "" {
		t.Errorf("%+v, %v", steps, err)
	}
	steps, err = host.Step(t.Context(), "balance", 1, 5)
	if err != nil || len(steps) != 2 || len(steps[0].Changes) != 1 || steps[0].Changes[0].Path != "wallets.main" {
		t.Errorf("from the beginning: %+v, %v", steps, err)
	}
	var refusal *sagas.Refusal
	_, err = host.Do(t.Context(), events.ProjectionsStream(actors.DefaultTenant), sagas.SkipEvent{Meta: meta("s0"), Name: "balance", Position: bad, By: "ann"}, actors.Origin{})
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
		t.Errorf("without a reason: %v", err)
	}
	catalogued(t, host, sagas.SkipEvent{Meta: meta("s1"), Name: "balance", Position: bad, Reason: "no number", By: "ann"})
	went := func(a actors.Projected, err error) bool {
		return err == nil && a.Stopped == nil && a.Events == 2 && strings.Contains(string(a.Answer), `"balance":"12"`)
	}
	ask(t, host, actors.Ask{Projection: "balance", Min: last}, went)
	if _, err := host.Rebuild(t.Context(), []string{"balance"}, nil); err != nil {
		t.Fatal(err)
	}
	ask(t, host, actors.Ask{Projection: "balance", Min: last}, went)
	ask(t, host, actors.Ask{Projection: "balance", At: last}, went)
	if s := standing(t, host, "balance"); len(s.Skipped) != 1 || s.Skipped[0].Reason != "no number" || s.Skipped[0].Event != "wallet-main@1" {
		t.Errorf("%+v", s.Skipped)
	}
	other := keeping(t, memory, nil)
	ask(t, other, actors.Ask{Projection: "balance", Min: last}, went)
}

// gate is a journal whose reads of everything wait, from a position on, until it is opened.
type gate struct {
	actors.Journal
	from events.Position
	open chan struct{}
	read atomic.Int64 // events, forward
}

func (g *gate) ReadAll(ctx context.Context, from events.Position, d actors.Direction, f actors.Filter, l actors.Limit) (actors.Page, error) {
	if d == actors.Forward && from >= g.from && g.from > 0 {
		select {
		case <-g.open:
		case <-ctx.Done():
			return actors.Page{}, ctx.Err()
		}
	}
	page, err := g.Journal.ReadAll(ctx, from, d, f, l)
	if d == actors.Forward {
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
	ask(t, first, actors.Ask{Projection: "balance", Min: last}, func(_ actors.Projected, err error) bool { return err == nil })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	closed := &gate{Journal: memory}
	second, err := actors.New(t.Context(), actors.Config{Journal: closed, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: noModels{}})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, second, actors.Ask{Projection: "balance", Min: last}, func(_ actors.Projected, err error) bool { return err == nil })
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
	answer, err := third.Query(t.Context(), actors.Ask{Projection: "balance"}, nil)
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
	answer = ask(t, second, actors.Ask{Projection: "balance", Min: last}, func(_ actors.Projected, err error) bool { return err == nil })
	if answer.Events != 9021 || !strings.Contains(string(answer.Answer), `"balance":"9021"`) {
		t.Errorf("after the new one took over: %+v", answer)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// versioned is a projection of a build, in a version.
func versioned(version int) projections.Spec {
	spec, err := actorstest.Declare(fmt.Appendf(nil, "tally %d", version))
	if err != nil {
		panic(err)
	}
	spec.Name = "mine"
	return spec
}

// TestVersionRaised: a build with a higher version does not read the old state: it is built, and says so until it is.
func TestVersionRaised(t *testing.T) {
	memory := actorstest.NewMemory()
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	last := credits(t, memory, 3000)
	first, err := actors.New(t.Context(), actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: noModels{}, Projections: []projections.Spec{versioned(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, first, actors.Ask{Projection: "mine", Min: last}, func(_ actors.Projected, err error) bool { return err == nil })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	second := keeping(t, &slowStart{Journal: memory, open: open}, memory, versioned(2))
	var behind *actors.Behind
	if answer, err := second.Query(t.Context(), actors.Ask{Projection: "mine"}, nil); !errors.As(err, &behind) || !strings.Contains(err.Error(), "is being built: it is at position 0 of 3001") {
		t.Errorf("before it is built: %+v, %v", answer, err)
	}
	if s := standing(t, second, "mine"); s.State != actors.ProjectionBuilding || s.Head != last {
		t.Errorf("%+v", s)
	}
	close(open)
	answer := ask(t, second, actors.Ask{Projection: "mine", Min: last}, func(_ actors.Projected, err error) bool { return err == nil })
	if answer.Version != 2 || answer.Events != 3001 {
		t.Errorf("%+v", answer)
	}
}

// slowStart is a journal whose reads of wallets from the beginning wait.
type slowStart struct {
	actors.Journal
	open chan struct{}
}

func (s *slowStart) ReadAll(ctx context.Context, from events.Position, d actors.Direction, f actors.Filter, l actors.Limit) (actors.Page, error) {
	if d == actors.Forward && from == 1 && slices.Contains(f.Kinds, "wallet.") {
		select {
		case <-s.open:
		case <-ctx.Done():
			return actors.Page{}, ctx.Err()
		}
	}
	return s.Journal.ReadAll(ctx, from, d, f, l)
}

// TestDeclared: what is added on one host is on every host, also after a start; another text is built beside the one that answers; a text
// that cannot be used any more is shown with the reason and stops nothing; what is removed is gone.
func TestDeclared(t *testing.T) {
	memory := actorstest.NewMemory()
	one, two := keeping(t, memory, memory), keeping(t, memory, nil)
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	added := catalogued(t, one, sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1"}, By: "ann"})
	question := actors.Ask{Projection: "tally", Min: added.Position}
	is := func(version int) func(actors.Projected, error) bool {
		return func(a actors.Projected, err error) bool {
			return err == nil && a.Version == version && string(a.Answer) == `{"counts":{"wallet.opened":1}}`
		}
	}
	for _, host := range []*actors.Host{one, two} {
		ask(t, host, question, is(1))
	}
	resting := start(t, actors.Config{Journal: memory, Models: noModels{}, Declare: actorstest.Declare, Resting: true})
	ask(t, resting, question, is(1))
	catalogued(t, two, sagas.AddProjection{Meta: meta("again"), Source: events.Text{Inline: "tally 2"}})
	for _, host := range []*actors.Host{one, two, resting} {
		ask(t, host, question, is(2))
	}
	_, err := one.Do(t.Context(), events.ProjectionsStream(actors.DefaultTenant), sagas.AddProjection{Meta: meta("odd"), Source: events.Text{Inline: "count"}}, actors.Origin{})
	var refusal *sagas.Refusal
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid || !strings.Contains(refusal.Detail, "want") {
		t.Errorf("a text that makes no sense: %v", err)
	}
	newer := start(t, actors.Config{
		Journal: memory, Models: noModels{}, Resting: true,
		Declare: func([]byte) (projections.Spec, error) { return projections.Spec{}, errors.New("line 1: no longer") },
	})
	if s := standing(t, newer, "tally"); s.State != actors.ProjectionBroken || s.Problem != "line 1: no longer" || s.Declared == nil {
		t.Errorf("%+v", s)
	}
	if _, err := newer.Query(t.Context(), question, nil); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedState {
		t.Errorf("ask what is broken: %v", err)
	}
	if _, err := newer.Query(t.Context(), actors.Ask{Projection: "balance"}, nil); err != nil {
		t.Errorf("ask another: %v", err)
	}
	catalogued(t, one, sagas.RemoveProjection{Meta: meta("remove"), Name: "tally", By: "ann"})
	for _, host := range []*actors.Host{one, two, resting} {
		ask(t, host, actors.Ask{Projection: "tally"}, func(_ actors.Projected, err error) bool {
			return errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing
		})
	}
	_, err = actors.New(t.Context(), actors.Config{
		Journal: memory, Blobs: actorstest.NewBlobs(), Models: noModels{}, Projections: []projections.Spec{versioned(1), versioned(2)},
	})
	if err == nil || !strings.Contains(err.Error(), "two projections are named mine") {
		t.Errorf("two of one name: %v", err)
	}
}

// TestDoubt: a fold that fails or panics may be half changed. It is put back to where it was before, and answers as of there.
func TestDoubt(t *testing.T) {
	for _, how := range []string{"fails", "panics"} {
		memory := actorstest.NewMemory()
		host := keeping(t, memory, memory)
		put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
		catalogued(t, host, sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1 " + how + " wallet.credited"}})
		ask(t, host, actors.Ask{Projection: "tally"}, func(a actors.Projected, err error) bool { return err == nil && a.Events == 1 })
		bad := credits(t, memory, 1)
		answer := ask(t, host, actors.Ask{Projection: "tally"}, func(a actors.Projected, err error) bool { return err == nil && a.Stopped != nil })
		if string(answer.Answer) != `{"counts":{"wallet.opened":1}}` || answer.Position != bad-1 || !strings.Contains(answer.Stopped.Problem, "it was told to") {
			t.Errorf("%s: %s, %+v, %+v", how, answer.Answer, answer, answer.Stopped)
		}
	}
}

// TestRestsUntilAsked: a host that only looks reads what it is asked for and nothing else, and stores no small states.
func TestRestsUntilAsked(t *testing.T) {
	memory := actorstest.NewMemory()
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	for i := range 50 {
		put(t, memory, "agent-a", events.CommandID(fmt.Sprint(i)), "message.received", `{"message":"m","verb":"collect"}`)
	}
	counted := &gate{Journal: memory}
	saved := &savesCounted{Snapshots: memory}
	host, err := actors.New(t.Context(), actors.Config{Journal: counted, Snapshots: saved, Blobs: actorstest.NewBlobs(), Models: noModels{}, Resting: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := counted.read.Load(); n != 0 {
		t.Errorf("%d events were read before anything was asked", n)
	}
	if answer, err := host.Query(t.Context(), actors.Ask{Projection: "balance"}, nil); err != nil || answer.Events != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
	if n := counted.read.Load(); n != 1 {
		t.Errorf("%d events were read for one that was needed", n)
	}
	if err := host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := saved.count.Load(); n != 0 {
		t.Errorf("%d states were stored", n)
	}
}

type savesCounted struct {
	actors.Snapshots
	count atomic.Int64
}

func (s *savesCounted) Save(ctx context.Context, fold string, stream events.Stream, snapshot actors.Snapshot) error {
	s.count.Add(1)
	return s.Snapshots.Save(ctx, fold, stream, snapshot)
}
