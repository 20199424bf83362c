package sagas

import (
	"slices"
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

// validBlocks is a reply's layout without what its provider got wrong: more text or calls than there are, or a kind that nobody knows. What
// no block names comes after them, so nothing of the reply is lost.
func validBlocks(c *RecordReply, calls int) []events.Block {
	var blocks []events.Block
	text := validText(c.Text).Size()
	for _, b := range c.Blocks {
		block := events.Block{Kind: b.Kind}
		switch b.Kind {
		case events.BlockText:
			if b.Bytes <= 0 || int64(b.Bytes) > text {
				continue
			}
			block.Bytes, text = b.Bytes, text-int64(b.Bytes)
		case events.BlockCall:
			if calls == 0 {
				continue
			}
			calls--
		case events.BlockThinking, events.BlockItem:
			block.Text = validOrNone(b.Text)
		default:
			continue
		}
		block.Raw = validOrNone(b.Raw)
		blocks = append(blocks, block)
	}
	return blocks
}

func validOrNone(t *events.Text) *events.Text {
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

		CacheWrite:     min(max(u.CacheWrite, 0), mostCounted),
		CacheWriteLong: min(max(u.CacheWriteLong, 0), mostCounted),
		Reasoning:      min(max(u.Reasoning, 0), mostCounted),
	}
}

func validFinding(f events.Finding) events.Finding {
	f.Why, f.Rule, f.Reason, f.Key, f.Sandbox = valid(f.Why), valid(f.Rule), valid(f.Reason), valid(f.Key), valid(f.Sandbox)
	f.Commands = slices.Clone(f.Commands)
	for i := range f.Commands {
		c := &f.Commands[i]
		c.Text, c.Rule, c.Why = valid(c.Text), valid(c.Rule), valid(c.Why)
	}
	return f
}

// maxFaults is how many replies in a row may be no answer; then the turn fails.
const maxFaults = 3

// faultDetail says in a turn's end what was wrong with the last reply.
func faultDetail(fault events.Fault) string {
	switch fault {
	case events.FaultEmpty:
		return "its reply had neither text nor calls"
	case events.FaultCall:
		return "it wrote its tool calls as text; does the endpoint parse this model's calls?"
	}
	return "its reply was unusable: " + valid(string(fault))
}

// faultHint is what the model is told of a reply that is no answer. It is part of recorded conversations: another wording is another
// conversation.
func faultHint(fault events.Fault) string {
	switch fault {
	case events.FaultEmpty:
		return "[The last reply was empty: it had neither a text nor a tool call. Go on with the task, or say what came of it.]"
	case events.FaultCall:
		return "[The last reply holds a tool call written as text. Nothing was run. Make the call again as a tool call of the API, " +
			"with complete arguments; if no call is needed, answer in plain words.]"
	}
	return "[The last reply could not be used. Answer again.]"
}
