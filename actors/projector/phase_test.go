package projector

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/life/events"
	"example.com/life/projections"
)

// nothing is a fold that holds nothing, and fails as it is told to.
type nothing struct{ fails error }

func (n *nothing) Apply(*projections.Recorded) error   { return n.fails }
func (*nothing) Answer(projections.Query) (any, error) { return struct{}{}, nil }
func (*nothing) Save() ([]byte, error)                 { return []byte("{}"), nil }
func (*nothing) Restore([]byte) error                  { return nil }
func (n *nothing) after(at, through events.Position) *chunk { // a chunk of one event
	c := &chunk{after: at, events: []events.Envelope{{Stream: "wallet-a", Kind: "wallet.opened", Position: through}}, through: through, place: through}
	c.decode()
	return c
}

// TestPhases leads readings through their lives: what each step makes of the phase, and what it must not.
func TestPhases(t *testing.T) {
	poison := &projections.PoisonError{Problem: errors.New("no number")}
	for _, test := range []struct {
		name  string
		steps func(r *reading, fold *nothing)
		want  phase
		state State
	}{
		{"made", func(*reading, *nothing) {}, unread, StateBuilding},
		{"nothing was stored", func(r *reading, _ *nothing) { r.loaded(false) }, building, StateBuilding},
		{"a state was stored that had been at the end", func(r *reading, _ *nothing) { r.loaded(true) }, behind, StateCatchingUp},
		{"loaded twice", func(r *reading, _ *nothing) { r.loaded(false); r.loaded(true) }, building, StateBuilding},
		{"arrived", func(r *reading, _ *nothing) { r.loaded(false); r.arrive() }, live, StateLive},
		{"left behind by the tail", func(r *reading, fold *nothing) {
			r.loaded(false)
			r.arrive()
			r.feed(context.Background(), fold.after(5, 6))
		}, behind, StateCatchingUp},
		{"poison", func(r *reading, fold *nothing) {
			r.loaded(false)
			fold.fails = poison
			r.feed(context.Background(), fold.after(0, 1))
		}, stopped, StateStopped},
		{"half changed", func(r *reading, fold *nothing) {
			r.loaded(false)
			fold.fails = errors.New("no")
			r.feed(context.Background(), fold.after(0, 1))
		}, doubtful, StateStopped},
		{"doubt does not pass by a skip", func(r *reading, fold *nothing) {
			fold.fails = errors.New("no")
			r.feed(context.Background(), fold.after(0, 1))
			r.resume()
		}, doubtful, StateStopped},
		{"skipped while it was built", func(r *reading, fold *nothing) {
			r.loaded(false)
			fold.fails = poison
			r.feed(context.Background(), fold.after(0, 1))
			r.resume()
		}, building, StateBuilding},
		{"skipped after it came as near as it could", func(r *reading, fold *nothing) {
			r.loaded(false)
			fold.fails = poison
			r.feed(context.Background(), fold.after(0, 1))
			r.arrive()
			r.resume()
		}, behind, StateCatchingUp},
		{"dropped for good", func(r *reading, fold *nothing) {
			r.drop()
			r.loaded(true)
			r.arrive()
			r.fellBehind()
			fold.fails = poison
			r.feed(context.Background(), fold.after(0, 1))
			r.resume()
		}, dropped, StateCatchingUp},
	} {
		fold := &nothing{}
		spec := &projections.Spec{Name: "nothing", Kinds: []string{"wallet."}, New: func() projections.Fold { return fold }}
		r := newReading(spec, "", 0, &skips{})
		test.steps(r, fold)
		var status Status
		r.describe(&status, 1, 0)
		if got := fmt.Sprint(r.now()); r.phase != test.want || status.State != test.state {
			t.Errorf("%s: it is %s and shown as %s, want %s and %s", test.name, got, status.State, test.want, test.state)
		}
	}
}

// TestArrivesOnce: a reading is at the end of history for the first time once, also if it stopped before it.
func TestArrivesOnce(t *testing.T) {
	for _, stops := range []bool{false, true} {
		r := newReading(&projections.Spec{New: func() projections.Fold { return &nothing{} }}, "", 0, &skips{})
		r.loaded(false)
		if stops {
			r.stop(&Stopped{}, false)
		}
		if !r.arrive() || r.arrive() {
			t.Errorf("stopped is %v: it arrived for the first time never, or twice", stops)
		}
		if r.resume(); stops && r.arrive() {
			t.Error("it arrived for the first time again after the event was skipped")
		}
	}
}
