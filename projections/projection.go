// Package projections holds the read models. A projection is a pure fold of all events of the store in the order of their
// positions: a rebuild from the beginning gives the same answer as live updates, byte for byte.
//
// The package is pure: no context, clock, randomness, goroutine, I/O or log. Decisions never read a projection. Readers of a stretch of
// history, which no catalogue lists, are in package runs below it.
//
// A projection is described by a [Spec], listed in [Catalog], and implemented by a [Fold]. Its runner passes it every event whose kind
// begins with one of Spec.Kinds, stores its saved state together with the position of that state, and returns its answers: the
// command line and the API need nothing more to offer a new one.
//
// To add one: write its file with its spec, fold and answers, its line in [Catalog], and a transcript in testdata. A fold reads
// [Recorded.Outline] unless it needs texts, keeps only what it needs, and documents its bounds where history has none.
package projections

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.com/life/events"
)

// Spec describes one projection: its name, what it folds and what it can be asked.
type Spec struct {
	Name        string      `json:"name"`
	Version     int         `json:"version"` // raised whenever the same events give another state; states of other versions are not restored
	Description string      `json:"about"`
	Kinds       []string    `json:"kinds"`               // beginnings of the kinds of events that it folds; it can do without all others
	Strangers   []string    `json:"strangers,omitempty"` // beginnings of streams in which it also folds what other programs wrote, of whatever kind
	Queries     []QuerySpec `json:"queries"`
	New         func() Fold `json:"-"` // the fold of an empty store
}

// Wants reports whether the projection folds an event.
func (s *Spec) Wants(e *events.Envelope) bool {
	begins := func(name string) func(string) bool {
		return func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	}
	return slices.ContainsFunc(s.Kinds, begins(string(e.Kind))) || e.Foreign != nil && slices.ContainsFunc(s.Strangers, begins(string(e.Stream)))
}

// Fold is the state of one projection. It belongs to one goroutine.
type Fold interface {
	// Apply folds the next event, each once and in the order of positions. Kinds it does not know change nothing. An event that it
	// needs and that cannot be read is a *PoisonError, and leaves the fold as it was.
	Apply(*Recorded) error
	// Answer answers a query that Spec.Check let through. The answer is a struct of its own, with JSON tags.
	Answer(Query) (any, error)
	// Save writes the state as JSON. Equal folds save equal bytes.
	Save() ([]byte, error)
	// Restore replaces the state with a saved one of the same version.
	Restore(state []byte) error
}

// Catalog lists every projection. It is the only list.
//
//nolint:gochecknoglobals // an explicit list, never written to
var Catalog = []Spec{
	balanceSpec(), spendingSpec(), modeSpec(), approvalsSpec(), waterfallSpec(), failuresSpec(), rosterSpec(), forksSpec(), knowledgeSpec(),
}

// Find returns the projection of a name; the error says what there is.
func Find(name string) (*Spec, error) {
	names := make([]string, len(Catalog))
	for i := range Catalog {
		if Catalog[i].Name == name {
			return &Catalog[i], nil
		}
		names[i] = Catalog[i].Name
	}
	return nil, fmt.Errorf("there is no projection %q; there are %s", events.Clip(name, 80), strings.Join(names, ", "))
}

// Recorded is a stored event, decoded at most once for all folds that need it. It belongs to one goroutine.
type Recorded struct {
	*events.Envelope
	whole   events.Event
	outline events.Event
	problem error
}

// Event decodes all of the event. An event that cannot be decoded is a *PoisonError; an unknown kind or version is an events.Unknown.
func (r *Recorded) Event() (events.Event, error) {
	if r.whole == nil && r.problem == nil {
		event, err := r.Envelope.Event()
		if err != nil {
			r.problem = &PoisonError{Event: r.Ref(), Position: r.Position, Kind: r.Kind, Problem: err}
		}
		r.whole = event
	}
	return r.whole, r.problem
}

// Outline decodes the event without what is large in it: texts, and the arguments of calls. That is several times faster than
// Event, and all that counting needs. What is left out is not looked at, so damage in it goes unnoticed here.
func (r *Recorded) Outline() (events.Event, error) {
	if r.outline == nil {
		if r.outline = r.Envelope.Outline(); r.outline == nil {
			whole, err := r.Event()
			if err != nil {
				return nil, err
			}
			r.outline = whole
		}
	}
	return r.outline, nil
}

// PoisonError says that an event cannot be read, so that a projection that needs it can go no further.
type PoisonError struct {
	Event    events.Ref
	Position events.Position
	Kind     events.Kind
	Problem  error // names the event
}

// Error says where it is and what is wrong with it.
func (p *PoisonError) Error() string {
	return fmt.Sprintf("cannot go beyond position %d: %v", p.Position, p.Problem)
}

// Unwrap returns what is wrong.
func (p *PoisonError) Unwrap() error { return p.Problem }

// Query asks a projection something.
type Query struct {
	Name       string            // empty: the projection's first query
	Parameters map[string]string // by name; a parameter that is not there has its standard value
}

// QuerySpec describes one query of a projection.
type QuerySpec struct {
	Name        string      `json:"name"`
	Description string      `json:"about"`
	Params      []Parameter `json:"takes,omitempty"`
	Answer      any         `json:"-"` // an empty answer: its type is what Fold.Answer returns for this query
	// Columns are those of an answer that is a table, in their order, where no Go type describes it: see NewTable.
	Columns []Column `json:"columns,omitempty"`
}

// Parameter is what a query can be asked with.
type Parameter struct {
	Name        string             `json:"name"` // never "query" or "at", which say what is asked and as of when
	Description string             `json:"about"`
	Required    bool               `json:"required,omitempty"`
	Check       func(string) error `json:"-"` // says what is wrong with a value; nil: nothing is
}

// Validate reports what is missing in the description of a projection, or makes no sense.
func (s *Spec) Validate() error {
	switch {
	case !plainName(s.Name):
		return fmt.Errorf("a projection is named %q, want letters a-z, digits, - and _", events.Clip(s.Name, 80))
	case s.Version < 1:
		return fmt.Errorf("projection %s has version %d, want 1 or more", s.Name, s.Version)
	case len(s.Kinds) == 0:
		return fmt.Errorf("projection %s folds no kind of event: name beginnings of kinds in Kinds", s.Name)
	case s.New == nil:
		return fmt.Errorf("projection %s has no New, which gives its fold of an empty store", s.Name)
	case len(s.Queries) == 0:
		return fmt.Errorf("projection %s has no query", s.Name)
	}
	seen := map[string]bool{}
	for i := range s.Queries {
		query := &s.Queries[i]
		if !plainName(query.Name) || seen[query.Name] {
			return fmt.Errorf("projection %s has a query named %q, want letters a-z, digits, - and _, each once", s.Name, events.Clip(query.Name, 80))
		}
		seen[query.Name] = true
		if err := query.validate(s.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *QuerySpec) validate(projection string) error {
	if len(s.Columns) == 0 && (s.Answer == nil || reflect.TypeOf(s.Answer).Kind() != reflect.Struct) {
		return fmt.Errorf("query %s of projection %s answers a %T: its Answer has to be an empty struct of the type that the fold answers with", s.Name, projection, s.Answer)
	}
	seen := map[string]bool{"query": true, "at": true, "min": true}
	for _, p := range s.Params {
		if !plainName(p.Name) || seen[p.Name] {
			return fmt.Errorf("query %s of projection %s takes %q: want a name of letters a-z, digits, - and _, once, and not query, at or min", s.Name, projection, events.Clip(p.Name, 80))
		}
		seen[p.Name] = true
	}
	return nil
}

// plainName reports whether a name can be typed and be part of a path.
func plainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// ErrQuery is wrapped by every error about a query that a projection cannot answer because of how it is asked.
var ErrQuery = errors.New("invalid query")

// ErrMissing is wrapped by the answer to a query about something that the projection does not know.
var ErrMissing = errors.New("not known")

// Check returns the query with its name, and its description, or an error that says what can be asked.
func (s *Spec) Check(q Query) (Query, *QuerySpec, error) {
	names := make([]string, len(s.Queries))
	for i := range s.Queries {
		found := &s.Queries[i]
		if names[i] = found.Name; q.Name == found.Name || q.Name == "" {
			q.Name = found.Name
			return q, found, found.check(s.Name, q.Parameters)
		}
	}
	return q, nil, fmt.Errorf("%w: projection %s has no query %q; there are %s", ErrQuery, s.Name, events.Clip(q.Name, 80), strings.Join(names, ", "))
}

func (s *QuerySpec) check(projection string, given map[string]string) error {
	names := make([]string, len(s.Params))
	for i, p := range s.Params {
		names[i] = p.Name
		value, there := given[p.Name]
		if !there && p.Required {
			return fmt.Errorf("%w: query %s of %s needs %s=…: %s", ErrQuery, s.Name, projection, p.Name, p.Description)
		}
		if !there || p.Check == nil {
			continue
		}
		if err := p.Check(value); err != nil {
			return fmt.Errorf("%w: parameter %s is %q: %w", ErrQuery, p.Name, events.Clip(value, 80), err)
		}
	}
	unknown := ""
	for name := range given {
		if !slices.Contains(names, name) && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	switch {
	case unknown == "":
		return nil
	case len(names) == 0:
		return fmt.Errorf("%w: query %s of %s takes no parameters, but there is %q", ErrQuery, s.Name, projection, events.Clip(unknown, 80))
	}
	return fmt.Errorf("%w: query %s of %s has no parameter %q; there are %s",
		ErrQuery, s.Name, projection, events.Clip(unknown, 80), strings.Join(names, ", "))
}

// matches reports whether a value is the one asked for; nothing asks for any.
func matches[T ~string](asked string, value T) bool { return asked == "" || asked == string(value) }

// entry returns a map's entry, which is made if it is not there.
func entry[K comparable, V any](entries map[K]*V, key K) *V {
	found := entries[key]
	if found == nil {
		found = new(V)
		entries[key] = found
	}
	return found
}

// restore reads a saved state into an empty one, and only then replaces the fold's.
func restore[F any](state []byte, fold, empty *F) error {
	if err := json.Unmarshal(state, empty); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	*fold = *empty
	return nil
}
