package responses

import (
	"encoding/json"
	"slices"
	"strings"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// The types of items that are understood. Others are kept as they are.
const (
	typeMessage   = "message"
	typeReasoning = "reasoning"
	typeCall      = "function_call"
	typeCustom    = "custom_tool_call" // a call whose input is a text
)

// item is one item of a reply in the making.
type item struct {
	kind      string // its type; of one that was not announced, what its pieces are
	index     int64  // as the endpoint numbers it
	id        string
	callID    string
	tool      string
	status    string
	announced bool
	done      bool   // it came whole
	raw       string // as it came when it was done
	parts     []*part

	calling *endpoint.ShownCall // of a call

	shown strings.Builder // what was passed on of it
	as    partKind        // what is passed on
	mute  bool            // no more: it came out of order, or was taken back
}

// partKind is what a part of an item is.
type partKind int

const (
	partText partKind = iota
	partRefusal
	partSummary // of reasoning
	partThought // the reasoning itself
	partArguments
)

// part is one numbered part of an item.
type part struct {
	kind     partKind
	number   int64
	pieces   []piece // in the order of their numbers
	size     int     // of all pieces
	split    endpoint.Joiner
	whole    string // as the endpoint gave it when the part was done, or when it was announced
	hasWhole bool   // it was done
}

// piece is a piece of a part.
type piece struct {
	sequence int64
	text     string
}

// add adds a piece, and reports whether it came in order. sequence is -1 where events are not numbered.
func (p *part) add(sequence int64, text string) (inOrder bool) {
	if text == "" {
		return true
	}
	at := len(p.pieces)
	for sequence >= 0 && at > 0 && p.pieces[at-1].sequence > sequence {
		at--
	}
	if sequence < 0 && at > 0 {
		sequence = p.pieces[at-1].sequence
	}
	inOrder = at == len(p.pieces)
	p.pieces = slices.Insert(p.pieces, at, piece{sequence, text})
	p.size += len(text)
	return inOrder
}

func (p *part) text() string {
	if p.whole != "" && p.hasWhole || p.size == 0 {
		return p.whole
	}
	var text strings.Builder
	for i := range p.pieces {
		text.WriteString(p.pieces[i].text)
	}
	return text.String()
}

// itemJSON is an item as it is announced and as it is when it is done.
type itemJSON struct {
	Type      field `json:"type"`
	ID        field `json:"id"`
	Status    field `json:"status"`
	CallID    field `json:"call_id"`
	Name      field `json:"name"`
	Arguments field `json:"arguments"`
	Input     field `json:"input"`
	Content   field `json:"content"`
	Summary   field `json:"summary"`
}

// contentJSON is a part of an item's content.
type contentJSON struct {
	Type    field `json:"type"`
	Text    field `json:"text"`
	Refusal field `json:"refusal"`
}

// describe takes what an item says of itself.
func (it *item) describe(said *itemJSON) {
	set := func(into *string, value string) {
		if value != "" {
			*into = value
		}
	}
	set(&it.kind, said.Type.text())
	set(&it.id, said.ID.text())
	set(&it.callID, said.CallID.text())
	set(&it.tool, said.Name.text())
	set(&it.status, said.Status.text())
}

// finish takes an item that came whole: what it says wins over its pieces, but where it says nothing.
func (it *item) finish(said *itemJSON, raw string) {
	it.describe(said)
	it.done, it.raw = true, raw
	var parts []*part
	add := func(kind partKind, text string) {
		parts = append(parts, &part{kind: kind, number: int64(len(parts)), whole: text, hasWhole: true})
	}
	for _, one := range contents(said.Content) {
		switch kind := one.Type.text(); {
		case it.kind == typeReasoning:
			add(partThought, one.Text.text())
		case kind == "refusal" || kind == "" && one.Refusal.opens('"'):
			add(partRefusal, one.Refusal.text())
		default:
			add(partText, one.Text.text())
		}
	}
	for _, one := range contents(said.Summary) {
		add(partSummary, one.Text.text())
	}
	if arguments := written(said.Arguments) + said.Input.text(); it.calls() && arguments != "" {
		add(partArguments, arguments)
	}
	if slices.ContainsFunc(parts, func(p *part) bool { return p.whole != "" }) {
		it.parts = parts
	}
}

// contents are the parts of a content; some send a text in their place.
func contents(raw field) []contentJSON {
	if raw.opens('"') {
		return []contentJSON{{Text: raw}}
	}
	var list []contentJSON
	for _, one := range raw.list() {
		var content contentJSON
		if json.Unmarshal(one, &content) == nil {
			list = append(list, content)
		}
	}
	return list
}

// written are arguments as the model wrote them; some send the object itself instead of a text that holds it.
func written(arguments field) string {
	if arguments.opens('{') {
		return string(arguments)
	}
	return arguments.text()
}

// part finds a part, or makes it.
func (it *item) part(kind partKind, number int64) *part {
	for _, p := range it.parts {
		if p.kind == kind && p.number == number {
			return p
		}
	}
	p := &part{kind: kind, number: number}
	at := len(it.parts)
	for at > 0 && it.parts[at-1].number > number {
		at--
	}
	it.parts = slices.Insert(it.parts, at, p)
	return p
}

func (it *item) calls() bool { return it.kind == typeCall || it.kind == typeCustom }

// hasWhole reports whether what was written of a call came whole, although the call was not said to be done.
func (it *item) hasWhole() bool {
	return slices.ContainsFunc(it.parts, func(p *part) bool { return p.kind == partArguments && p.hasWhole })
}

// text is what was said in an item, or what may be shown of what was thought: its summary, else itself.
func (it *item) text() string {
	if it.kind != typeReasoning {
		return it.joined("", partText, partRefusal, partArguments)
	}
	if it.shown.Len() > 0 && it.as == partThought {
		return it.joined(paragraph, partThought)
	}
	if summary := it.joined(paragraph, partSummary); summary != "" {
		return summary
	}
	return it.joined(paragraph, partThought)
}

// paragraph stands between the parts of what was thought.
const paragraph = "\n\n"

func (it *item) joined(between string, kinds ...partKind) string {
	var text strings.Builder
	for _, p := range it.parts {
		if one := p.text(); slices.Contains(kinds, p.kind) && one != "" {
			if text.Len() > 0 {
				text.WriteString(between)
			}
			text.WriteString(one)
		}
	}
	return strings.ToValidUTF8(text.String(), "\uFFFD")
}

// refused reports whether a message refuses.
func (it *item) refused() bool {
	return it.kind == typeMessage && slices.ContainsFunc(it.parts, func(p *part) bool { return p.kind == partRefusal && p.text() != "" })
}

// cut reports whether the item was cut off, as far as it says.
func (it *item) cut() bool {
	return it.status == "incomplete" || it.status == "in_progress" && it.done
}

// block is what kind of block the item is.
func (it *item) block() events.BlockKind {
	switch {
	case it.kind == typeMessage:
		return events.BlockText
	case it.kind == typeReasoning:
		return events.BlockThinking
	case it.calls():
		return events.BlockCall
	}
	return events.BlockItem
}

// kept is what the endpoint wants back of an item. Reasoning and unknown items are kept as they came; of what is written anew, its own
// fields are, without what the reply holds.
func (it *item) kept() string {
	if it.raw == "" {
		return ""
	}
	switch it.block() {
	case events.BlockThinking, events.BlockItem:
		return strings.ToValidUTF8(it.raw, "\uFFFD")
	case events.BlockText, events.BlockCall:
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(strings.ToValidUTF8(it.raw, "\uFFFD")), &fields) != nil {
		return ""
	}
	own := []string{"type", "role", "status", "content", "call_id", "name", "arguments", "input"}
	for name, value := range fields {
		if string(value) == "null" || slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) }) { // as encoding/json reads them
			delete(fields, name)
		}
	}
	if len(fields) == 0 || it.kind == typeCustom {
		return ""
	}
	kept, err := events.PlainJSON(fields)
	if err != nil {
		return ""
	}
	return string(kept)
}
