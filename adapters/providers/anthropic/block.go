package anthropic

import (
	"encoding/json"
	"maps"
	"strings"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// block is a block in the making.
type block struct {
	at     int    // its place in the reply; -1: none yet
	fields fields // as it began, and what was added that is no text
	text   strings.Builder
	split  endpoint.Joiner
	closed bool
	shown  *endpoint.ShownCall // of a call
}

func newBlock(content fields) *block { return &block{at: -1, fields: maps.Clone(content)} }

// kind is what the block is here.
func (b *block) kind() events.BlockKind {
	switch b.fields.text("type") {
	case "text":
		return events.BlockText
	case "thinking":
		return events.BlockThinking
	case "tool_use":
		return events.BlockCall
	}
	return events.BlockItem
}

func (b *block) is(kind events.BlockKind) bool { return b.kind() == kind }

// written is the field that the block's text is written to; empty for blocks that have none.
func (b *block) written() string {
	switch kind := b.fields.text("type"); {
	case kind == "text" || kind == "thinking":
		return kind
	case strings.HasSuffix(kind, "tool_use"):
		return "input"
	}
	return ""
}

// takes reports whether pieces for a kind of block belong here.
func (b *block) takes(kind string) bool {
	if kind == "tool_use" {
		return b.written() == "input"
	}
	return b.written() == kind
}

// add adds a piece that is no text: a signature, a citation, or one of a kind that is not known, whose texts go on with those of the block and
// whose other values take their place.
func (b *block) add(kind string, piece fields) {
	if kind == "citations_delta" {
		b.fields["citations"] = encode(append(b.fields.list("citations"), piece["citation"]))
		return
	}
	for name, value := range piece {
		before, more := b.fields.text(name), piece.text(name)
		switch {
		case name == "type" || string(value) == "null":
		case more == "" || before == more: // no text, or the same once more
			if string(value) != `""` {
				b.fields[name] = value
			}
		default:
			b.fields[name] = encode(before + more)
		}
	}
}

// arguments are those of a call, as the model wrote them. Some servers send them whole, with the block's beginning.
func (b *block) arguments() string {
	if written := b.text.String(); strings.TrimSpace(written) != "" {
		return written
	}
	if input := b.fields["input"]; len(input) > 0 && string(input) != "null" {
		if text := b.fields.text("input"); text != "" {
			return text
		}
		return string(input)
	}
	return ""
}

// whole reports whether all of a call has come: the endpoint said so, or its arguments cannot go on.
func (b *block) whole() bool {
	return b.closed || endpoint.IsObject(b.text.String()) || b.text.Len() == 0 && len(b.fields.object("input")) > 0
}

// own is the provider's form of the block, if it wants one back that differs from what is made of its text; else nil. What was cut off is
// wanted back by nobody.
func (b *block) own() json.RawMessage {
	own := maps.Clone(b.fields)
	switch kind := b.fields.text("type"); kind {
	case "text":
		if len(own.list("citations")) == 0 {
			return nil
		}
		own["text"] = encode(b.text.String())
	case "thinking":
		if !b.closed && own.text("signature") == "" {
			return nil
		}
		own["thinking"] = encode(b.text.String())
		if own.none("signature") {
			own["signature"] = encode("")
		}
	case "tool_use":
		if caller := own.object("caller"); caller.text("type") == "direct" {
			delete(own, "caller") // as all are, unless they say otherwise
		}
		for _, name := range []string{"type", "id", "name", "input"} {
			delete(own, name)
		}
		if len(own) == 0 {
			return nil
		}
		own["type"] = encode(kind)
	default:
		if written := b.text.String(); json.Valid([]byte(written)) {
			own["input"] = json.RawMessage(written)
		}
	}
	return encode(own)
}
