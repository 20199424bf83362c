package actorstest

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"example.com/life/events"
	"example.com/life/projections"
)

// Declare reads the text of a projection for tests: "tally VERSION", which counts events by kind, and "fails KIND" or "panics KIND" after
// it, where it does.
func Declare(source []byte) (projections.Spec, error) {
	words := strings.Fields(string(source))
	if len(words) < 2 || words[0] != "tally" {
		return projections.Spec{}, errors.New(`want "tally VERSION"`)
	}
	version, err := strconv.Atoi(words[1])
	if err != nil {
		return projections.Spec{}, err
	}
	about := strings.Join(words[2:], " ")
	return projections.Spec{
		Name: "tally", Version: version, Description: about, Kinds: []string{"turn.", "wallet."},
		New:     func() projections.Fold { return &tally{about: about, Counts: map[events.Kind]int{}} },
		Queries: []projections.QuerySpec{{Name: "counts", Description: "events by kind", Answer: Tallies{}}},
	}, nil
}

// fails reports whether a declared projection cannot fold a kind.
func fails(spec *projections.Spec, kind events.Kind) bool {
	return spec.Name == "tally" && strings.HasSuffix(spec.Description, " "+string(kind))
}

// Tallies answers the query "counts" of a declared projection.
type Tallies struct {
	Counts map[events.Kind]int `json:"counts"`
}

type tally struct {
	about  string
	Counts map[events.Kind]int `json:"counts"`
}

// Apply implements projections.Fold. Where it fails it has changed something already.
func (f *tally) Apply(r *projections.Recorded) error {
	f.Counts[r.Kind]++
	how, kind, _ := strings.Cut(f.about, " ")
	if kind != string(r.Kind) {
		return nil
	}
	if how == "panics" {
		panic("it was told to")
	}
	return errors.New("it was told to")
}

// Answer implements projections.Fold.
func (f *tally) Answer(projections.Query) (any, error) {
	counts := map[events.Kind]int{}
	for kind, n := range f.Counts {
		counts[kind] = n
	}
	return Tallies{counts}, nil
}

// Save implements projections.Fold.
func (f *tally) Save() ([]byte, error) { return json.Marshal(f) }

// Restore implements projections.Fold.
func (f *tally) Restore(state []byte) error {
	return json.Unmarshal(state, f)
}
