package projector_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

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
	first := start(t, projector.Config{Journal: memory, Snapshots: memory, Projections: []projections.Spec{versioned(1)}})
	ask(t, first, projector.Question{Projection: "mine", Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	first.Close()
	open := make(chan struct{})
	second := keeping(t, &slowStart{Journal: memory, open: open}, memory, versioned(2))
	var behind *projector.BehindError
	if answer, err := second.Query(t.Context(), projector.Question{Projection: "mine"}, nil); !errors.As(err, &behind) || !strings.Contains(err.Error(), "is being built: it is at position 0 of 192105") {
		t.Errorf("before it is built: %+v, %v", answer, err)
	}
	if s := standing(t, second, "mine"); s.State != projector.StateBuilding || s.Head != last {
		t.Errorf("%+v", s)
	}
	close(open)
	answer := ask(t, second, projector.Question{Projection: "mine", Min: last}, func(_ projector.Answer, err error) bool { return err == nil })
	if answer.Version != 2 || answer.Events != 3001 {
		t.Errorf("%+v", answer)
	}
}

// slowStart is a journal whose reads of wallets from the beginning wait.
type slowStart struct {
	storage.Journal
	open chan struct{}
}

func (s *slowStart) ReadAll(ctx context.Context, from storage.Place, d storage.Direction, f storage.Filter, l storage.Limit) (storage.Page, error) {
	if d == storage.Forward && from == storage.Start() && slices.Contains(f.Kinds, "wallet.") {
		select {
		case <-s.open:
		case <-ctx.Done():
			return storage.Page{}, ctx.Err()
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
	added := one.must(sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1"}, By: "ann"})
	question := projector.Question{Projection: "tally", Min: added}
	is := func(version int) func(projector.Answer, error) bool {
		return func(a projector.Answer, err error) bool {
			return err == nil && a.Version == version && string(a.Answer) == `{"counts":{"wallet.opened":1}}`
		}
	}
	for _, host := range []*keeper{one, two} {
		ask(t, host, question, is(1))
	}
	resting := start(t, projector.Config{Journal: memory, Declare: actorstest.Declare, Resting: true})
	ask(t, resting, question, is(1))
	two.must(sagas.AddProjection{Meta: meta("again"), Source: events.Text{Inline: "tally 2"}})
	for _, host := range []*keeper{one, two, resting} {
		ask(t, host, question, is(2))
	}
	_, err := one.do(sagas.AddProjection{Meta: meta("odd"), Source: events.Text{Inline: "count"}})
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid || !strings.Contains(refusal.Detail, "want") {
		t.Errorf("a text that makes no sense: %v", err)
	}
	newer := start(t, projector.Config{
		Journal: memory, Resting: true,
		Declare: func([]byte) (projections.Spec, error) { return projections.Spec{}, errors.New("line 1: no longer") },
	})
	if s := standing(t, newer, "tally"); s.State != projector.StateBroken || s.Problem != "line 1: no longer" || s.Declared == nil {
		t.Errorf("%+v", s)
	}
	if _, err := newer.Query(t.Context(), question, nil); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedState {
		t.Errorf("ask what is broken: %v", err)
	}
	if _, err := newer.Query(t.Context(), projector.Question{Projection: "balance"}, nil); err != nil {
		t.Errorf("ask another: %v", err)
	}
	one.must(sagas.RemoveProjection{Meta: meta("remove"), Name: "tally", By: "ann"})
	for _, host := range []*keeper{one, two, resting} {
		ask(t, host, projector.Question{Projection: "tally"}, func(_ projector.Answer, err error) bool {
			return errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing
		})
	}
	_, err = projector.New(t.Context(), projector.Config{
		Journal: memory, Projections: []projections.Spec{versioned(1), versioned(2)},
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
		host.must(sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1 " + how + " wallet.credited"}})
		ask(t, host, projector.Question{Projection: "tally"}, func(a projector.Answer, err error) bool { return err == nil && a.Events == 1 })
		bad := credits(t, memory, 1)
		answer := ask(t, host, projector.Question{Projection: "tally"}, func(a projector.Answer, err error) bool { return err == nil && a.Stopped != nil })
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
	host := start(t, projector.Config{Journal: counted, Snapshots: saved, Resting: true})
	if n := counted.read.Load(); n != 0 {
		t.Errorf("%d events were read before anything was asked", n)
	}
	if answer, err := host.Query(t.Context(), projector.Question{Projection: "balance"}, nil); err != nil || answer.Events != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
	if n := counted.read.Load(); n != 1 {
		t.Errorf("%d events were read for one that was needed", n)
	}
	host.Close()
	if n := saved.count.Load(); n != 0 {
		t.Errorf("%d states were stored", n)
	}
}

type savesCounted struct {
	storage.Snapshots
	count atomic.Int64
}

func (s *savesCounted) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	s.count.Add(1)
	return s.Snapshots.Save(ctx, fold, stream, snapshot)
}
