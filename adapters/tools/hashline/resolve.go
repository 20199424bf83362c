package hashline

import (
	"fmt"
	"slices"
)

// Conflict is an anchor that names no line of the file as it is.
type Conflict struct {
	Edit   int
	Anchor Anchor
	Why    string
	Near   int   // the line of the file now around which the place was; 0: there is none
	Where  []int // lines that have the tag now, at most three
}

// ConflictError says that a batch was made for another version of the file. Nothing of it was done.
type ConflictError struct{ Conflicts []Conflict }

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("edit_conflict: %d anchors name no line of the file as it is now", len(e.Conflicts))
}

// Move is an anchor that was found on another line.
type Move struct{ From, To int }

// Resolve finds the lines that the edits' anchors name: in the file now, which is the version that was shown, or was before. If before is nil, it is the version
// that was shown.
func Resolve(now, before *File, edits []Edit) (resolved []Edit, moves []Move, err error) {
	for i := range edits {
		if err := edits[i].check(i); err != nil {
			return nil, nil, err
		}
	}
	r := resolving{now: now, shown: before, named: map[int]bool{}}
	if before == nil {
		r.shown = now
	} else {
		r.mapped = mapLines(before, now)
	}
	for i := range edits {
		for n := edits[i].first(); n <= edits[i].last(); n++ {
			r.named[n] = true
		}
	}
	resolved = slices.Clone(edits)
	for i := range resolved {
		r.edit(i, &resolved[i])
	}
	if len(r.conflicts) > 0 {
		return nil, nil, &ConflictError{r.conflicts}
	}
	return resolved, r.moves, nil
}

func (e *Edit) first() int {
	if !e.named() {
		return 1
	}
	return e.At.Number
}

// last is the last line of a range; before the first if there is none.
func (e *Edit) last() int {
	switch {
	case !e.named():
		return 0
	case e.End != nil:
		return e.End.Number
	}
	return e.At.Number
}

// resolving is one resolution.
type resolving struct {
	now, shown *File
	mapped     []int        // the line now of each line shown, from 1; 0: it is gone. nil: they are the same
	named      map[int]bool // lines that edits name
	conflicts  []Conflict
	moves      []Move
}

func (r *resolving) edit(number int, e *Edit) {
	if !e.named() {
		return
	}
	anchors := []*Anchor{&e.At}
	if e.End != nil {
		end := *e.End
		e.End = &end
		anchors = append(anchors, e.End)
	}
	failed := len(r.conflicts)
	for _, a := range anchors {
		if why := r.shownAs(*a); why != "" {
			r.conflict(number, *a, why)
		}
	}
	if len(r.conflicts) > failed || r.mapped == nil {
		return
	}
	offset, why := r.relocate(e.first(), e.last())
	if why != "" {
		for _, a := range anchors {
			r.conflict(number, *a, why)
		}
		return
	}
	for _, a := range anchors {
		if offset != 0 {
			r.moves = append(r.moves, Move{a.Number, a.Number + offset})
		}
		a.Number += offset
	}
}

// shownAs says why an anchor is not one of the version that was shown.
func (r *resolving) shownAs(a Anchor) string {
	switch {
	case a.Number > r.shown.Len():
		return "out_of_range"
	case Tag(r.shown.Line(a.Number)) != a.Tag:
		return "changed"
	}
	return ""
}

// relocate says how far the lines of a range have moved. All of them must be there in a row, and so must be the nearest line on each side that no edit names: two
// equal lines are told apart by what is around them, or not at all.
func (r *resolving) relocate(first, last int) (offset int, why string) {
	if r.mapped[first] == 0 {
		return 0, "changed"
	}
	offset = r.mapped[first] - first
	for n := first; n <= last; n++ {
		if r.mapped[n] != n+offset {
			return 0, "changed"
		}
	}
	before, after := first-1, last+1
	for before > 0 && r.named[before] {
		before--
	}
	for after <= r.shown.Len() && r.named[after] {
		after++
	}
	moved := func(n int) bool { return r.mapped[n] == n+offset && r.mapped[n] > 0 }
	switch {
	case before > 0 && !moved(before),
		before == 0 && offset != 0 && after > r.shown.Len(),
		after <= r.shown.Len() && !moved(after):
		return 0, "moved_ambiguous"
	}
	return offset, ""
}

func (r *resolving) conflict(edit int, a Anchor, why string) {
	c := Conflict{Edit: edit, Anchor: a, Why: why, Near: min(a.Number, r.now.Len())}
	if r.mapped != nil {
		for n := min(a.Number, r.shown.Len()); n > 0; n-- {
			if r.mapped[n] > 0 {
				c.Near = min(r.mapped[n]+a.Number-n, r.now.Len())
				break
			}
		}
	}
	for n := 1; n <= r.now.Len() && len(c.Where) < 3; n++ {
		if n != a.Number && Tag(r.now.Line(n)) == a.Tag {
			c.Where = append(c.Where, n)
		}
	}
	r.conflicts = append(r.conflicts, c)
}
