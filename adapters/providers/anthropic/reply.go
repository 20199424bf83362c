package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// maxBlocks bounds the blocks of one reply.
const maxBlocks = 1000

// reply puts the events of a stream together. It forgives what servers and gateways do: events and blocks of unknown kinds, no start or end of
// a block, the same index for every block, whole inputs at once, a whole message in place of a stream. It does not forgive what makes it
// uncertain what the model said: then there is no reply.
type reply struct {
	question *actors.ModelRequest
	delta    func(actors.Delta)
	calling  endpoint.ShownCalls

	started bool // message_start
	ended   bool // message_stop
	model   string
	stop    string // why the model stopped
	details json.RawMessage
	told    told
	blocks  []*block
	byIndex map[int64]*block // the last that began with an index
	latest  *block           // the one that began last; a text has its place among the blocks once it says something, or another one begins
	begun   int              // how many began
	calls   int
	err     error // it cannot be used: a *actors.ModelError
	broken  []byte
	said    *endpoint.Said // an error within it
}

func newReply(question *actors.ModelRequest, delta func(actors.Delta)) *reply {
	if delta == nil {
		delta = func(actors.Delta) {}
	}
	return &reply{question: question, delta: delta, byIndex: map[int64]*block{}, calling: endpoint.NewShownCalls(delta)}
}

// fail says that the reply cannot be used. It returns false, for take.
func (r *reply) fail(class events.ErrorClass, format string, args ...any) bool {
	r.err = &actors.ModelError{Class: class, Detail: fmt.Sprintf(format, args...)}
	return false
}

// Take takes one event of the stream. false: there is nothing more to take.
func (r *reply) Take(f endpoint.Frame) bool {
	if len(f.Data) == 0 || f.Heartbeat() {
		return true
	}
	var event fields
	if json.Unmarshal(f.Data, &event) != nil || event == nil {
		switch {
		case strings.EqualFold(f.Name, "error"):
			r.said = &endpoint.Said{Message: strings.ToValidUTF8(string(f.Data), "\uFFFD")}
		case string(f.Data) == "[DONE]": // of another protocol; what ends a reply here is message_stop
		case !f.Last: // else the stream was cut within it
			r.broken = bytes.Clone(f.Data)
		}
		return false
	}
	return r.takeEvent(cmp.Or(event.text("type"), strings.ToLower(f.Name)), event, f.Data)
}

func (r *reply) takeEvent(kind string, event fields, data []byte) bool {
	switch kind {
	case "message_start":
		return r.start(event.object("message"))
	case "content_block_start":
		return r.startBlock(event)
	case "content_block_delta":
		return r.addDelta(event)
	case "content_block_stop":
		if b := r.at(event); b != nil {
			r.close(b)
		}
		return true
	case "message_delta":
		r.addEnd(event.object("delta"))
		r.told.add(event.object("usage"))
		return true
	case "message_stop":
		r.ended = true
		return false
	case "message":
		return r.takeWhole(event)
	}
	if kind == "error" || !event.none("error") || kind == "" {
		return r.takeOdd(kind, event, data)
	}
	return true // ping, and whatever the protocol is given next
}

// takeOdd takes an error, or what is no event of this protocol.
func (r *reply) takeOdd(kind string, event fields, data []byte) bool {
	said, failed := endpoint.ErrorIn(data)
	switch {
	case failed || kind == "error":
		r.said = &said
		return false
	case event.list("content") != nil:
		return r.takeWhole(event)
	case event.list("choices") != nil:
		return r.fail(events.ErrorInvalid, "the endpoint answers with chat completions, not with Messages: ask it as openai/NAME, or with dialect chat")
	}
	return true
}

// start takes the beginning of a message. Gateways that try again within a stream begin twice: nothing is lost if nothing had come.
func (r *reply) start(message fields) bool {
	if r.started && len(r.blocks) > 0 {
		return r.fail(events.ErrorTruncated, "the stream began a second reply within the first one")
	}
	r.started = true
	r.model = cmp.Or(message.text("model"), r.model)
	r.told.add(message.object("usage"))
	return true
}

// addEnd takes why the model stopped.
func (r *reply) addEnd(delta fields) {
	r.stop = cmp.Or(strings.TrimSpace(delta.text("stop_reason")), r.stop)
	if !delta.none("stop_details") {
		r.details = delta["stop_details"]
	}
}

// takeWhole takes a message that is not streamed.
func (r *reply) takeWhole(message fields) bool {
	if !r.start(message) {
		return false
	}
	for i, content := range message.list("content") {
		if !r.startBlock(fields{"index": encode(i), "content_block": content}) {
			return false
		}
		if b := r.byIndex[int64(i)]; b != nil {
			r.close(b)
		}
	}
	r.addEnd(message)
	r.ended = true
	return false
}

// at is the block that an event is about: the one of its index, or the last one where it names none.
func (r *reply) at(event fields) *block {
	if index, ok := event.number("index"); ok {
		return r.byIndex[index]
	}
	return r.latest
}

func (r *reply) startBlock(event fields) bool {
	content := event.object("content_block")
	if content == nil {
		return r.fail(events.ErrorTruncated, "a block of the reply began without saying what it is")
	}
	index, ok := event.number("index")
	if !ok {
		index = int64(r.begun)
	}
	if before := r.byIndex[index]; before != nil && !before.closed {
		if before.is(events.BlockCall) && !before.whole() {
			return r.fail(events.ErrorTruncated, "block %d of the reply began again within its call of %s", index, before.fields.text("name"))
		}
		r.close(before)
	}
	return r.begin(index, content)
}

// close notes that a block is whole.
func (r *reply) close(b *block) {
	b.closed = true
	r.showCall(b)
}

// showCall passes on what came of a call.
func (r *reply) showCall(b *block) {
	if !b.is(events.BlockCall) {
		return
	}
	if b.shown == nil {
		b.shown = r.calling.Begin(func() int { return b.at })
	}
	b.shown.Tool, b.shown.Arguments, b.shown.Whole = b.fields.text("name"), b.text.String(), b.closed
	if b.closed {
		b.shown.Arguments = b.arguments() // some give them with the block's beginning
	}
	r.calling.Pass()
}

// begin begins a block.
func (r *reply) begin(index int64, content fields) bool {
	if r.begun++; r.begun > maxBlocks {
		return r.fail(events.ErrorInvalid, "the reply has more than %d blocks", maxBlocks)
	}
	if r.latest != nil && !r.latest.closed {
		r.place(r.latest)
	}
	b := newBlock(content)
	r.latest, r.byIndex[index] = b, b
	if b.is(events.BlockCall) {
		if r.calls++; r.calls > endpoint.MaxCalls {
			return r.fail(events.ErrorInvalid, "the reply makes more than %d calls", endpoint.MaxCalls)
		}
	}
	if !b.is(events.BlockText) {
		r.place(b)
	}
	r.showCall(b)
	if name := b.written(); name != "" && name != "input" {
		r.say(b, content.text(name), string(content[name]))
	}
	return true
}

// place gives a block its place among the reply's.
func (r *reply) place(b *block) {
	if b.at < 0 {
		b.at = len(r.blocks)
		r.blocks = append(r.blocks, b)
	}
}

// addDelta adds to a block. Some servers begin no block, or another one than they go on with: then what is said or thought begins one here.
func (r *reply) addDelta(event fields) bool {
	piece := event.object("delta")
	kind := piece.text("type")
	field, wants := deltaField(kind)
	b := r.at(event)
	if wants != "" && (b == nil || b.closed || !b.takes(wants)) {
		if wants == "tool_use" {
			return r.fail(events.ErrorTruncated, "the arguments of a call came that had not begun")
		}
		if b = r.openBlock(wants); b == nil {
			if !r.begin(-1, fields{"type": encode(wants)}) {
				return false
			}
			b = r.latest
		}
	}
	switch {
	case b == nil: // of a kind that is not known, and of no block
	case field != "" && kind != "signature_delta":
		r.say(b, piece.text(field), string(piece[field]))
	default:
		b.add(kind, piece)
	}
	return true
}

// deltaField is the field that holds what a piece of that kind adds, and the kind of block that it adds to.
func deltaField(kind string) (field, wants string) {
	switch kind {
	case "text_delta":
		return "text", "text"
	case "thinking_delta":
		return "thinking", "thinking"
	case "signature_delta":
		return "signature", "thinking"
	case "input_json_delta":
		return "partial_json", "tool_use"
	}
	return "", ""
}

// openBlock is the last block, if it is of that kind and open, though it began with another index.
func (r *reply) openBlock(kind string) *block {
	if r.latest != nil && !r.latest.closed && r.latest.takes(kind) {
		return r.latest
	}
	return nil
}

// say adds to the text of a block, and passes it on.
func (r *reply) say(b *block, text, raw string) { r.pass(b, b.split.Next(text, raw)) }

func (r *reply) pass(b *block, text string) {
	if text == "" {
		return
	}
	r.place(b)
	offset := b.text.Len()
	b.text.WriteString(text)
	switch {
	case b.is(events.BlockCall):
		r.showCall(b)
	case !b.is(events.BlockItem):
		r.delta(actors.Delta{Block: b.at, Kind: b.kind(), Offset: offset, Text: text})
	}
}

// flush gives what was held back.
func (r *reply) flush() {
	if r.latest != nil { // the only one that may have no place yet
		r.pass(r.latest, r.latest.split.Rest())
	}
	for _, b := range r.blocks {
		r.pass(b, b.split.Rest())
		if r.showCall(b); b.shown != nil && !b.closed {
			b.shown.Whole = b.whole() && r.ending().Stop != events.StopLength
			b.shown.Torn = !b.shown.Whole
			r.calling.Pass()
		}
	}
}

// Begun reports whether something of the model has come: a refusal before that is not charged.
func (r *reply) Begun() bool { return len(r.blocks) > 0 }

// Progress is what had come of a reply that was cut off.
func (r *reply) Progress() endpoint.Progress {
	p := endpoint.Progress{
		Begun: r.started || len(r.blocks) > 0, Ended: r.ended, Where: "before the reply", Broken: r.broken, Said: r.said, Err: r.err, Usage: r.usage(false),
		Input: r.told.input(), Output: r.told.output, Caching: r.told.caching,
	}
	switch {
	case r.stop != "":
		p.Where = "after the model stopped and before the reply's end (message_stop)"
	case len(r.blocks) > 0 && r.blocks[len(r.blocks)-1].is(events.BlockCall):
		p.Where = fmt.Sprintf("within call %d", r.calls)
	case len(r.blocks) > 0:
		p.Where = "within the reply"
	}
	return p
}
