package declared

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"

	"example.com/life/events"
	"example.com/life/projections"
)

// vocabulary is what expressions about events of some kinds can name: what every event has, and the fields of those kinds. A field
// that only some of the kinds have is 0, "", false or an empty list in events of the others.
type vocabulary struct {
	kinds  map[events.Kind]map[string]*leaf
	common map[string]envelopeField
	types  types.Map         // by name, for expr
	refuse map[string]string // names that cannot be used, and why
}

// vocabularyOf makes the vocabulary of kinds of the catalogue; none are all.
func vocabularyOf(kinds []events.Kind) *vocabulary {
	v := &vocabulary{
		kinds: map[events.Kind]map[string]*leaf{}, common: map[string]envelopeField{}, types: types.Map{}, refuse: map[string]string{},
	}
	for _, field := range envelopeFields() {
		v.common[field.name] = field
		v.types[field.name] = types.TypeOf(field.zero)
	}
	for i := range events.Catalog {
		kind := events.Catalog[i].Kind
		if len(kinds) > 0 && !slices.Contains(kinds, kind) {
			continue
		}
		v.kinds[kind] = leavesOf(reflect.TypeOf(events.Catalog[i].Zero))
	}
	first := map[string]events.Kind{} // the first kind with a field of a name
	for _, kind := range slices.Sorted(maps.Keys(v.kinds)) {
		for name, l := range v.kinds[kind] {
			v.include(kind, name, l, first)
		}
	}
	return v
}

// include adds a field of a kind; two kinds must agree about what it is.
func (v *vocabulary) include(kind events.Kind, name string, l *leaf, first map[string]events.Kind) {
	if _, is := v.common[name]; is {
		if l.shape != shapeOf(reflect.TypeOf(v.common[name].zero)) {
			delete(v.kinds[kind], name) // it is what every event has: that has the name
		}
		return
	}
	if l.shape == unusable {
		v.refuse[name] = fmt.Sprintf("%s of %s cannot be used: expressions know whole numbers, texts, true and false, and lists of those", name, kind)
		return
	}
	other, there := first[name]
	if !there {
		first[name] = kind
		v.types[name] = l.typ
		return
	}
	if already := v.types[name]; !already.Equal(l.typ) || !l.typ.Equal(already) {
		v.refuse[name] = fmt.Sprintf("%s is %s in %s and %s in %s: only one of them can be asked for it", name, v.kinds[other][name].shape, other, l.shape, kind)
	}
}

// reader reads what expressions use of an event.
type reader struct {
	of      *vocabulary
	used    []string
	byKind  map[events.Kind]*reading
	foreign *reading // of kinds that are not in the vocabulary
	lenient bool     // an event in a version that this build does not know has no fields, where else it is an error
}

// reading is what is read of events of one kind.
type reading struct {
	payload bool // anything but the envelope
	whole   bool // what an outline leaves out
	steps   []step
}

type step struct {
	name   string
	common func(*events.Envelope) any
	leaf   *leaf
	zero   any
}

// reads returns a reader of the names that expressions use; those of something else are left out.
func (v *vocabulary) reads(used []string) *reader {
	r := &reader{of: v, byKind: map[events.Kind]*reading{}}
	for _, name := range used {
		if _, is := v.types[name]; is && !slices.Contains(r.used, name) {
			r.used = append(r.used, name)
		}
	}
	slices.Sort(r.used)
	for kind := range v.kinds {
		r.byKind[kind] = r.plan(kind)
	}
	r.foreign = r.plan("")
	return r
}

func (r *reader) plan(kind events.Kind) *reading {
	plan, omitted := &reading{}, projections.Omitted(kind)
	for _, name := range r.used {
		l := r.of.kinds[kind][name]
		common, is := r.of.common[name]
		step := step{name: name, leaf: l, common: common.read}
		switch {
		case l != nil:
			plan.payload = true
			plan.whole = plan.whole || slices.ContainsFunc(omitted, func(o string) bool { return o == name || strings.HasPrefix(o, name+".") })
			step.zero = l.zero
		case !is:
			step.zero = r.zero(name)
		}
		plan.steps = append(plan.steps, step)
	}
	return plan
}

// zero is what a field is in an event of a kind that does not have it.
func (r *reader) zero(name string) any {
	for _, leaves := range r.of.kinds {
		if l := leaves[name]; l != nil {
			return l.zero
		}
	}
	return nil
}

// read puts what is used of an event where expressions find it. Of a kind that is not in the vocabulary it reads the envelope.
func (r *reader) read(e *projections.Recorded, into map[string]any) error {
	plan := r.byKind[e.Kind]
	if plan == nil {
		plan = r.foreign
	}
	var event reflect.Value
	if plan.payload {
		decoded, err := plan.decode(e)
		if err != nil {
			return err
		}
		if _, unknown := decoded.(events.Unknown); unknown {
			if !r.lenient {
				return poison(e, fmt.Errorf("event %s is %s in version %d, which this build does not know", e.Ref(), e.Kind, e.Version))
			}
			plan = r.foreign
		}
		event = reflect.ValueOf(decoded)
	}
	for i := range plan.steps {
		s := &plan.steps[i]
		value, err := s.value(e, event)
		if err != nil {
			return poison(e, fmt.Errorf("read %s of event %s: %w", s.name, e.Ref(), err))
		}
		into[s.name] = value
	}
	return nil
}

// value is the field, else what the envelope says, else zero.
func (s *step) value(e *projections.Recorded, event reflect.Value) (any, error) {
	if s.common != nil {
		if value := s.common(e.Envelope); s.leaf == nil || value != "" {
			return value, nil
		}
	}
	if s.leaf == nil {
		return s.zero, nil
	}
	return s.leaf.from(event)
}

// decode reads no more of the event than is used.
func (p *reading) decode(e *projections.Recorded) (events.Event, error) {
	if p.whole {
		return e.Event()
	}
	return e.Outline()
}

// poison says that a projection can go no further than the event before this one.
func poison(e *projections.Recorded, problem error) error {
	return &projections.PoisonError{Event: e.Ref(), Position: e.Position, Kind: e.Kind, Problem: problem}
}
