package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// maxParts is how often thinking and text may alternate in a reply before their order is no longer kept.
const maxParts = 64

// layout is the order in which thinking and text stream in.
type layout struct {
	delta func(actors.Delta)
	parts []layoutPart
	shown actors.Delta // the block that streams in, and how much of it was passed on
	begun int          // blocks that streamed in
}

type layoutPart struct {
	kind    events.BlockKind
	bytes   int
	thought strings.Builder
}

// add takes a piece, and passes it on.
func (l *layout) add(kind events.BlockKind, text string) {
	if text == "" {
		return
	}
	at := len(l.parts) - 1
	if at < 0 || l.parts[at].kind != kind {
		if at++; at >= maxParts {
			at = maxParts - 2 // the latest of its kind
		} else {
			l.parts = append(l.parts, layoutPart{kind: kind})
		}
	}
	part := &l.parts[at]
	if l.begun == 0 || l.shown.Kind != kind {
		l.shown = actors.Delta{Block: l.next(), Kind: kind}
	}
	l.shown.Text = text
	l.delta(l.shown)
	l.shown.Offset += len(text)
	part.bytes += len(text)
	if kind == events.BlockThinking {
		part.thought.WriteString(text)
	}
}

// next is the number of a block that begins to stream in.
func (l *layout) next() int {
	l.begun++
	return l.begun - 1
}

// call is the number of a call that begins to stream in.
func (l *layout) call() int {
	l.shown = actors.Delta{Kind: events.BlockCall}
	return l.next()
}

// thought is all that was thought.
func (l *layout) thought() string {
	var all strings.Builder
	for i := range l.parts {
		all.WriteString(l.parts[i].thought.String())
	}
	return all.String()
}

// blocks is the reply's layout: what was thought and said, and what the endpoint wants back besides. The raw form of thinking is the list of
// the fields that it came in: its text is kept once.
func (l *layout) blocks(fields extras, overlay map[string]any) []actors.Block {
	var names []string
	if thought := l.thought(); thought != "" {
		for _, name := range reasoningFields {
			if fields.text(name) == thought {
				names = append(names, name)
				delete(overlay, name)
			}
		}
	} else if len(overlay) == 0 {
		return nil
	}
	raw := ""
	if len(names) > 0 {
		raw = string(encode(names))
	}
	var blocks []actors.Block
	for i := range l.parts {
		switch part := &l.parts[i]; part.kind {
		case events.BlockText:
			blocks = append(blocks, actors.Block{Kind: part.kind, Bytes: part.bytes})
		default:
			blocks = append(blocks, actors.Block{Kind: part.kind, Text: part.thought.String(), Raw: raw})
		}
	}
	if len(overlay) > 0 {
		blocks = append(blocks, actors.Block{Kind: events.BlockItem, Raw: string(encode(overlay))})
	}
	return blocks
}

// keptFields are the fields that the endpoint gets back with a message. Items are objects that are laid over it.
func keptFields(message *sagas.Message) (map[string]json.RawMessage, error) {
	kept, thoughts := map[string]json.RawMessage{}, map[string]string{}
	for i := range message.Blocks {
		block := &message.Blocks[i]
		if block.Raw == nil {
			continue
		}
		var fields map[string]json.RawMessage
		var names []string
		switch {
		case block.Kind == events.BlockItem:
			if err := json.Unmarshal([]byte(block.Raw.Inline), &fields); err != nil {
				return nil, fmt.Errorf("what its provider wants back is not a JSON object: %w", err)
			}
			for name, value := range fields {
				kept[name] = value
			}
		case block.Kind == events.BlockThinking && block.Text != nil && json.Unmarshal([]byte(block.Raw.Inline), &names) == nil:
			for _, name := range names {
				thoughts[name] += block.Text.Inline
			}
		}
	}
	for name, thought := range thoughts {
		if slices.Contains(reasoningFields, name) {
			kept[name] = encode(thought)
		}
	}
	return kept, nil
}

// hasKept reports whether something of the endpoint's own is sent back.
func hasKept(question *actors.ModelRequest) bool {
	return slices.ContainsFunc(question.Messages, func(m sagas.Message) bool {
		return slices.ContainsFunc(m.Blocks, func(b events.Block) bool { return b.Raw != nil })
	})
}
