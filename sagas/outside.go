package sagas

import (
	"strings"

	"example.com/life/events"
)

// What comes from outside is made fit for history before it is recorded: a fact must read back from the store exactly as it was
// applied, else the fold that lives and the fold that is replayed differ.

// valid replaces what is no UTF-8, which JSON cannot hold.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

func validText(t events.Text) events.Text {
	return events.Text{Inline: valid(t.Inline), Blob: t.Blob, Masked: t.Masked}
}

func validExtra(t *events.Text) *events.Text {
	if t == nil {
		return nil
	}
	text := validText(*t)
	return &text
}

func validTree(t *events.Tree) *events.Tree {
	if t == nil {
		return nil
	}
	tree := *t
	tree.Missing = valid(t.Missing)
	return &tree
}

// mostCounted bounds every number that is counted or added to a time, so that no sum of them can overflow: a billion dollars, and
// 35 years.
const mostCounted = 1 << 50

// plausible keeps a provider's mistake from giving tokens back, or from running past what can be counted.
func plausible(u events.Usage) events.Usage {
	return events.Usage{
		Input:  min(max(u.Input, 0), mostCounted),
		Output: min(max(u.Output, 0), mostCounted),
		Cached: min(max(u.Cached, 0), mostCounted),

		Estimated: u.Estimated,
	}
}
