package declared

import (
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
)

// Problem is one thing that is wrong with a declaration.
type Problem struct {
	Line   int    // from 1
	Column int    // from 1
	Field  string // the path to it, such as fold.calls.then
	Text   string // what is wrong, and what to write instead
}

// Error says where it is and what is wrong.
func (p *Problem) Error() string {
	where := fmt.Sprintf("line %d", p.Line)
	if p.Column > 0 {
		where += fmt.Sprintf(", column %d", p.Column)
	}
	if p.Field != "" {
		where += ", " + p.Field
	}
	return where + ": " + p.Text
}

// Problems is everything that is wrong with a declaration, in the order of its lines.
type Problems []*Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	lines := make([]string, 0, len(p)+1)
	lines = append(lines, fmt.Sprintf("%d problems:", len(p)))
	for _, problem := range p {
		lines = append(lines, "  "+problem.Error())
	}
	return strings.Join(lines, "\n")
}

// add lists a problem, up to a limit.
func (p *Problems) add(at place, format string, args ...any) {
	if len(*p) < maxProblems {
		*p = append(*p, &Problem{Line: at.line, Column: at.column, Field: at.field, Text: fmt.Sprintf(format, args...)})
	}
}

// err returns the problems in the order of lines; nil if there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b *Problem) int { return a.Line - b.Line })
	return p
}

// place is where something stands in a declaration.
type place struct {
	line, column int
	field        string
}

// under is the place of something in it.
func (at place) under(field string) place {
	if at.field != "" {
		field = at.field + "." + field
	}
	at.field = field
	return at
}

// meant suggests the nearest of the names there are.
func meant(name string, names []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range slices.Sorted(slices.Values(names)) {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// thereAre lists names, unless they are too many to read.
func thereAre(names []string) string {
	if len(names) == 0 || len(names) > 24 {
		return ""
	}
	return "; there are " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// suggest says what was meant, or else what there is.
func suggest(name string, names []string) string {
	if near := meant(name, names); near != "" {
		return near
	}
	return thereAre(names)
}

// distance is how many letters must be put in, taken out, changed or swapped with the next to make one name of another.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	var earlier []int
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		earlier, before, row = before, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(before[j]+change, before[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], earlier[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// quote shortens what is quoted in a problem.
func quote(text string) string {
	return fmt.Sprintf("%q", events.Clip(text, 60))
}
