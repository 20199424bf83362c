package projector_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// gated is a fold that takes an event only when it may.
type gated struct {
	may   <-chan struct{}
	asked chan<- struct{} // hears of each event
	count int
}

func (g *gated) Apply(*projections.Recorded) error {
	g.asked <- struct{}{}
	<-g.may
	g.count++
	return nil
}

func (g *gated) Answer(projections.Query) (any, error) { return map[string]int{"count": g.count}, nil }
func (g *gated) Save() ([]byte, error)                 { return json.Marshal(g.count) }
func (g *gated) Restore(state []byte) error            { return json.Unmarshal(state, &g.count) }

// declaring is Declare, for which "gated" declares such a fold.
func declaring(may <-chan struct{}, asked chan<- struct{}) func([]byte) (projections.Spec, error) {
	return func(source []byte) (projections.Spec, error) {
		if string(source) != "gated" {
			return actorstest.Declare(source)
		}
		spec, err := actorstest.Declare([]byte("tally 1"))
		spec.Name, spec.Kinds = "gated", []string{"wallet."}
		spec.New = func() projections.Fold { return &gated{may: may, asked: asked} }
		return spec, err
	}
}

// TestSlowProjection: while a declared projection takes for ever for one event, of history or of what is appended, the others go on, the list
// and its own status answer, and it is removed; the host ends as soon as that event is folded, whatever comes after it.
func TestSlowProjection(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprint("live ", live), func(t *testing.T) {
			memory, may, asked := actorstest.NewMemory(), make(chan struct{}), make(chan struct{}, 10_000)
			host := start(t, projector.Config{Journal: memory, Snapshots: memory, Declare: declaring(may, asked)})
			t.Cleanup(func() { close(may) }) // before the host is closed, which waits for the event
			put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
			if live {
				go func() { may <- struct{}{} }() // that first event
			}
			host.must(sagas.AddProjection{Meta: meta("a"), Source: events.Text{Inline: "gated"}})
			host.must(sagas.AddProjection{Meta: meta("b"), Source: events.Text{Inline: "tally 1"}})
			if <-asked; live {
				ask(t, host, projector.Question{Projection: "gated"}, func(a projector.Answer, err error) bool { return err == nil && string(a.Answer) == `{"count":1}` })
				credits(t, memory, 1)
				<-asked
			}
			last := credits(t, memory, 5000) // more than its lane holds
			for _, name := range []string{"balance", "tally"} {
				answer, err := host.Query(t.Context(), projector.Question{Projection: name, Min: last}, nil)
				if err != nil || answer.Position < last {
					t.Errorf("%s answers %s at %d, %v", name, answer.Answer, answer.Position, err)
				}
			}
			if _, err := host.Projections(t.Context()); err != nil {
				t.Error(err)
			}
			status, err := host.Projection(t.Context(), "gated")
			if err != nil || status.Position >= last || status.Stopped != nil {
				t.Errorf("%+v, %v", status, err)
			}
			host.must(sagas.RemoveProjection{Meta: meta("c"), Name: "gated", Reason: "it takes for ever"})
			if _, err := host.Projection(t.Context(), "gated"); err == nil {
				t.Error("it is still there")
			}
		})
	}
}

// TestSlowProjectionArrives: one that was too slow for what is appended reads the store again, and has every event once.
func TestSlowProjectionArrives(t *testing.T) {
	memory, may, asked := actorstest.NewMemory(), make(chan struct{}), make(chan struct{}, 10_000)
	host := start(t, projector.Config{Journal: memory, Snapshots: memory, Declare: declaring(may, asked)})
	host.must(sagas.AddProjection{Meta: meta("a"), Source: events.Text{Inline: "gated"}})
	ask(t, host, projector.Question{Projection: "gated"}, func(_ projector.Answer, err error) bool { return err == nil })
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	<-asked
	last := credits(t, memory, 5000)
	if _, err := host.Query(t.Context(), projector.Question{Projection: "balance", Min: last}, nil); err != nil {
		t.Error(err)
	}
	close(may)
	answer, err := host.Query(t.Context(), projector.Question{Projection: "gated", Min: last}, nil)
	if err != nil || string(answer.Answer) != `{"count":5001}` {
		t.Errorf("%s, %v", answer.Answer, err)
	}
}

// TestSlowProjectionEnds: a host that closes waits for the event that is being folded, and for no other; the next start goes on after it.
func TestSlowProjectionEnds(t *testing.T) {
	memory, may, asked := actorstest.NewMemory(), make(chan struct{}), make(chan struct{}, 10_000)
	put(t, memory, "wallet-main", "open", "wallet.opened", `{"wallet":"main","credit":"1"}`)
	last := credits(t, memory, 100)
	host := start(t, projector.Config{Journal: memory, Snapshots: memory, Declare: declaring(may, asked)})
	host.must(sagas.AddProjection{Meta: meta("a"), Source: events.Text{Inline: "gated"}})
	<-asked
	closed := make(chan struct{})
	go func() {
		host.Close()
		close(closed)
	}()
	ask(t, host, projector.Question{Projection: "gated"}, func(_ projector.Answer, err error) bool { return errors.Is(err, storage.ErrClosed) })
	for ended := false; !ended; {
		select {
		case <-closed:
			ended = true
		case may <- struct{}{}:
		}
	}
	if folded := len(asked) + 1; folded > 2 {
		t.Errorf("%d events were folded while the host closed", folded)
	}
	close(may)
	again := start(t, projector.Config{Journal: memory, Snapshots: memory, Declare: declaring(may, asked)})
	answer, err := again.Query(t.Context(), projector.Question{Projection: "gated", Min: last}, nil)
	if err != nil || string(answer.Answer) != `{"count":101}` {
		t.Errorf("%s, %v", answer.Answer, err)
	}
}
