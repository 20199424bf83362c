package eventstoretest

import (
	"fmt"
	"regexp"
	"strings"
)

// filter chooses events of $all by their streams or by their types. Expressions are Go's, which the ones of Life mean the same by.
type filter struct {
	kinds    bool
	prefixes []string
	regex    *regexp.Regexp
	window   int // events looked at in one page
	interval int // events looked at between two checkpoints
}

const standardWindow = 32

// expression is how both services say what a filter looks for.
type expression interface {
	GetRegex() string
	GetPrefix() []string
}

// newFilter makes a filter; window 0 stands for the standard one.
func newFilter(kinds bool, e expression, window, multiplier uint32) (*filter, error) {
	f := &filter{kinds: kinds, prefixes: e.GetPrefix(), window: int(window)}
	if f.window == 0 {
		f.window = standardWindow
	}
	f.interval = f.window * int(multiplier)
	if e.GetRegex() != "" {
		compiled, err := regexp.Compile(e.GetRegex())
		if err != nil {
			return nil, fmt.Errorf("the filter's expression: %w", err)
		}
		f.regex = compiled
	}
	return f, nil
}

// chooses reports whether a reader of everything is shown a record; without a filter all that readers of everything are shown.
func (f *filter) chooses(r *record) bool {
	if !r.inAll() || f == nil {
		return r.inAll()
	}
	name := r.stream
	if f.kinds {
		name = r.kind
	}
	if f.regex != nil { // prefixes beside it count for nothing
		return f.regex.MatchString(name)
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
