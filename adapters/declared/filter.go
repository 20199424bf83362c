package declared

import (
	"errors"
	"fmt"

	"example.com/life/events"
	"example.com/life/events/pattern"
	"example.com/life/projections"
)

// Filter reports whether an event is one of those that an expression chooses. It belongs to one goroutine.
//
// It fails where the event cannot be read, or the expression cannot be computed of it, as when it divides by zero.
type Filter func(*events.Envelope) (bool, error)

// CompileFilter makes a filter of an expression that is true or false of an event, such as
//
//	kind == "tool.returned" and failed
//	agent == "demo" and cost > 10000
//	any(calls, .tool == "bash") or text contains "error"
//
// It can name what every event has (kind, ref, stream, revision, position, time, agent, turn, wallet, actor, command, correlation,
// causation, version) and the fields of all kinds of events.Catalog, by their names in JSON, those of structs after a dot. A field
// that only some kinds have is 0, "", false or an empty list in events of the others, and so are all fields of an event whose kind
// or version this build does not know. The error about a name that is in no kind, or about types that do not fit, says where in the
// expression it is and what may have been meant.
//
// Events are decoded no further than the expression needs, and those that the envelope alone decides not at all.
func CompileFilter(expression string) (Filter, error) {
	words := vocabularyOf(nil)
	scope := newScope("any kind of event", words.types, words.refuse)
	scope.states = pattern.MaxSteps // many may be asked for at once
	compiled, err := compile(expression, scope)
	if err != nil {
		return nil, err
	}
	if compiled.shape != truth {
		return nil, &mistake{text: fmt.Sprintf("a filter is true or false of each event, this is %s", compiled.shape)}
	}
	r, m := words.reads(compiled.used), newMachine()
	r.lenient = true
	return func(e *events.Envelope) (bool, error) {
		err := r.read(&projections.Recorded{Envelope: e}, m.names)
		var poisoned *projections.PoisonError
		if errors.As(err, &poisoned) { // here it ends nothing but this one answer
			return false, fmt.Errorf("filter: %w", poisoned.Problem)
		}
		m.meter.begin("the event", maxSteps)
		result, err := m.run(compiled)
		if err != nil {
			return false, fmt.Errorf("filter event %s: %w", e.Ref(), err)
		}
		chosen, _ := result.(bool) //nolint:errcheck // run checked its type
		return chosen, nil
	}, nil
}
