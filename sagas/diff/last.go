package diff

import (
	"reflect"
	"slices"
	"strings"

	"example.com/life/sagas"
)

// LastChanges finds, for each of some changes, the fact that made it last. It reads stretches of history, the latest first: what the
// latest stretch does not touch was changed before it. So finding what changed recently costs little, however far apart the states are.
type LastChanges struct {
	open  map[string]int // changes not yet found, by path
	found []*sagas.Fact  // by change
	agent sagas.Agent
	walk  *walk
	fact  *sagas.Fact
	seen  map[int]*sagas.Fact // in this stretch
}

// NewLastChanges looks for the facts behind changes.
func NewLastChanges(changes []Change) *LastChanges {
	l := &LastChanges{open: map[string]int{}, found: make([]*sagas.Fact, len(changes)), seen: map[int]*sagas.Fact{}}
	for i := range changes {
		l.open[changes[i].Path] = i
	}
	l.walk = newWalk(func(at path, before, after reflect.Value) { l.note(at.String(), before.IsValid() != after.IsValid()) })
	return l
}

// Begin begins a stretch with the state before it.
func (l *LastChanges) Begin(agent sagas.Agent) { l.agent = agent }

// Apply adds the next fact of the stretch. The saga that Begin was given is the search's from then on.
func (l *LastChanges) Apply(fact sagas.Fact) {
	before := l.agent
	before.Turn.Calls = slices.Clone(before.Turn.Calls) // the only memory that Apply changes in place
	l.agent = l.agent.Apply(fact)
	l.fact = &fact
	l.walk.agents(&before, &l.agent)
}

// End ends a stretch, and reports whether the stretch before it is needed.
func (l *LastChanges) End() (more bool) {
	for path, i := range l.open {
		if fact := l.seen[i]; fact != nil {
			l.found[i] = fact
			delete(l.open, path)
		}
	}
	clear(l.seen)
	return len(l.open) > 0
}

// Found returns the facts, in the order of the changes; nil for one that no stretch made.
func (l *LastChanges) Found() []*sagas.Fact { return l.found }

// note remembers the fact for a path that it changed and for what the path is part of; and, when it came or went, for its parts.
func (l *LastChanges) note(path string, whole bool) {
	for up := path; up != ""; up = up[:max(0, strings.LastIndexAny(up, ".["))] {
		if i, wanted := l.open[up]; wanted {
			l.seen[i] = l.fact
		}
	}
	if !whole {
		return
	}
	for part, i := range l.open {
		if rest, is := strings.CutPrefix(part, path); is && rest != "" && (rest[0] == '.' || rest[0] == '[') {
			l.seen[i] = l.fact
		}
	}
}
