package responses

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// Bounds of one reply.
const (
	maxItems = 1000
	maxParts = 10_000
)

// reply puts the events of a reply together. What an item says when it is done wins over its pieces, and the final response is a check: it
// gives only what did not come before. It forgives what endpoints do: no sequence numbers, no indexes, one index for all, ids that change
// from event to event, items that are never announced or never said to be done, events twice, and the whole response in place of a stream.
type reply struct {
	question *actors.ModelRequest
	delta    func(actors.Delta)
	calling  endpoint.ShownCalls

	begun  bool // something of the model has come
	ended  bool // the model has said why it stopped
	ending endpoint.Ending
	model  string
	told   told
	items  []*item // in the order of the reply
	parts  int
	seen   sequence
	err    error // it cannot be used
	broken []byte
	said   *endpoint.Said // an error within it
}

func newReply(question actors.ModelRequest, delta func(actors.Delta)) *reply {
	if delta == nil {
		delta = func(actors.Delta) {}
	}
	return &reply{question: &question, delta: delta, calling: endpoint.NewShownCalls(delta)}
}

// sequence finds events that come twice. It is used only while the numbers tell events apart.
type sequence struct {
	seed  maphash.Seed
	known map[int64]uint64
	off   bool // two events had the same number
}

// repeated reports whether the same event came before.
func (s *sequence) repeated(number int64, data []byte) bool {
	if s.off {
		return false
	}
	if s.known == nil {
		s.seed, s.known = maphash.MakeSeed(), map[int64]uint64{}
	}
	sum := maphash.Bytes(s.seed, data)
	before, has := s.known[number]
	if has && before != sum {
		s.off, s.known = true, nil
		return false
	}
	s.known[number] = sum
	return has
}

// Take takes one event of the stream. false: there is nothing more to take.
func (r *reply) Take(f endpoint.Frame) bool {
	name := strings.ToLower(f.Name)
	switch {
	case len(f.Data) == 0:
		return true
	case string(f.Data) == "[DONE]" || string(f.Data) == `"[DONE]"`:
		return false
	case f.Heartbeat():
		return true
	case f.Data[0] == '[':
		var several []json.RawMessage
		if json.Unmarshal(f.Data, &several) == nil {
			for _, one := range several {
				if len(one) > 0 && one[0] == '{' && !r.takeObject(one, "") {
					return false
				}
			}
			return true
		}
	case f.Data[0] == '{' && json.Valid(f.Data):
		return r.takeObject(f.Data, name)
	case name == "error":
		r.said = &endpoint.Said{Message: strings.ToValidUTF8(string(f.Data), "\uFFFD")}
		return false
	}
	if !f.Last { // else the stream was cut within it
		r.broken = bytes.Clone(f.Data)
	}
	return false
}

func (r *reply) takeObject(data []byte, name string) bool {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		r.broken = bytes.Clone(data)
		return false
	}
	if number, numbered := e.Sequence.number(); numbered && r.seen.repeated(number, data) {
		return true
	}
	kind := e.Type.text()
	if kind == "" && e.Object == "" {
		kind = name
	}
	switch {
	case e.whole():
		r.finish("", field(data))
	case strings.HasPrefix(kind, "response."):
		r.takeEvent(strings.TrimPrefix(kind, "response."), &e, data)
	case strings.HasPrefix(e.Object.text(), "chat.completion") || e.Choices != "":
		r.err = errors.New("the endpoint answers with chat completions: name it by a provider of that dialect (openai/…, or dialect: chat)")
	default:
		problem, failed := endpoint.ErrorIn(data)
		if failed || kind == "error" {
			r.said = &problem
		} // else it is of a kind that is not known, such as one that keeps the connection alive
	}
	return r.err == nil && r.said == nil && !r.ended
}

func (r *reply) takeEvent(kind string, e *event, data []byte) {
	switch kind {
	case "created", "in_progress", "queued":
		r.header(e.Response)
	case "completed", "incomplete", "failed", "cancelled", "canceled", "done":
		response := e.Response
		if !response.opens('{') { // its fields stand in the event
			response = field(data)
		}
		r.finish(kind, response)
	case "error":
		problem, _ := endpoint.ErrorIn(data)
		r.said = &problem
	case "output_item.added":
		r.announce(e)
	case "output_item.done":
		r.done(e)
	default:
		r.takePiece(kind, e)
	}
}

// pieces are the events that hold a piece of an item, or one of its parts whole.
//
//nolint:gochecknoglobals // an explicit list, never written to
var pieces = map[string]struct {
	item string
	part partKind
}{
	"output_text":             {typeMessage, partText},
	"refusal":                 {typeMessage, partRefusal},
	"reasoning_summary_text":  {typeReasoning, partSummary},
	"reasoning_summary":       {typeReasoning, partSummary},
	"reasoning_text":          {typeReasoning, partThought},
	"reasoning":               {typeReasoning, partThought},
	"function_call_arguments": {typeCall, partArguments},
	"custom_tool_call_input":  {typeCustom, partArguments},
}

// takePiece takes a piece of an item. Events of other kinds say nothing that the item does not say when it is done.
func (r *reply) takePiece(kind string, e *event) {
	name, what, _ := strings.Cut(kind, ".")
	of, known := pieces[name]
	if !known || what != "delta" && what != "done" {
		return
	}
	it := r.itemOf(e, of.item)
	if it == nil || it.done {
		return
	}
	number, _ := e.Content.number()
	if of.part == partSummary {
		number, _ = e.Summary.number()
	}
	p := r.partOf(it, of.part, number)
	if p == nil {
		return
	}
	r.begun = true
	if what == "done" {
		p.whole, p.hasWhole = e.Text.text()+e.Refusal.text()+written(e.Arguments)+e.Input.text(), true
		return
	}
	text := p.split.Next(written(e.Delta), string(e.Delta))
	sequence, numbered := e.Sequence.number()
	if !numbered || r.seen.off {
		sequence = -1
	}
	it.mute = !p.add(sequence, text) || it.mute
	r.show(it, p, text)
}

func (r *reply) partOf(it *item, kind partKind, number int64) *part {
	before := len(it.parts)
	p := it.part(kind, number)
	if r.parts += len(it.parts) - before; r.parts > maxParts {
		r.err = fmt.Errorf("the reply has more than %d parts", maxParts)
		return nil
	}
	return p
}

// show passes a piece on, if it goes on with what was passed on before.
func (r *reply) show(it *item, p *part, text string) {
	switch {
	case text == "" || it.mute:
		return
	case it.shown.Len() == 0:
		it.as = p.kind
	case it.kind == typeReasoning && it.as != p.kind:
		return // what was thought and its summary are not mixed
	}
	if slices.ContainsFunc(it.parts, func(other *part) bool {
		return other.number > p.number && other.size > 0 && (other.kind == p.kind || it.kind == typeMessage)
	}) {
		it.mute = true
		return
	}
	if it.kind == typeReasoning && it.shown.Len() > 0 && p.size == len(text) {
		text = paragraph + text
	}
	r.pass(it, text)
}

func (r *reply) pass(it *item, text string) {
	offset := it.shown.Len()
	if it.shown.WriteString(text); it.calls() {
		r.showCall(it)
		return
	}
	r.delta(actors.Delta{Block: slices.Index(r.items, it), Kind: it.block(), Offset: offset, Text: text})
}

// showRest passes on what an item has and was not passed on.
func (r *reply) showRest(it *item) {
	if it.block() == events.BlockItem {
		return
	}
	rest, goesOn := strings.CutPrefix(it.text(), it.shown.String())
	if it.mute = it.mute || !goesOn; it.mute {
		if it.calls() {
			r.showCall(it) // the next ones do not wait for it
		}
		return
	}
	if rest != "" || it.calls() {
		r.pass(it, rest)
	}
}

// showCall passes on what came of a call.
func (r *reply) showCall(it *item) {
	if it.calling == nil {
		it.calling = r.calling.Begin(func() int { return slices.Index(r.items, it) })
	}
	it.calling.Tool, it.calling.Arguments = it.tool, it.shown.String()
	it.calling.Torn = it.mute || it.cut() || r.ended && !it.done && r.ending.Stop == events.StopLength
	it.calling.Whole = it.done || r.ended
	r.calling.Pass()
}

// itemOf finds the item that a piece belongs to, or makes it: some are not announced.
func (r *reply) itemOf(e *event, kind string) *item {
	id := e.ItemID.text()
	index, numbered := e.Index.number()
	for _, it := range slices.Backward(r.items) {
		if id != "" && it.id == id && it.kind == kind {
			return it
		}
	}
	for _, it := range slices.Backward(r.items) { // some give an item another id in each event
		if it.kind == kind && (!it.done || id == "") && (numbered && it.index == index || !numbered && id == "" && !it.done) {
			return it
		}
	}
	return r.add(&item{kind: kind, id: id}, e.Index)
}

// add adds an item where its number belongs. nil: there are too many.
func (r *reply) add(it *item, numbered field) *item {
	if len(r.items) == maxItems {
		r.err = fmt.Errorf("the reply has more than %d items", maxItems)
		return nil
	}
	if it.calls() && r.countCalls() == endpoint.MaxCalls {
		r.err = fmt.Errorf("the reply makes more than %d calls", endpoint.MaxCalls)
		return nil
	}
	index, has := numbered.number()
	if !has && len(r.items) > 0 {
		index = r.items[len(r.items)-1].index + 1
	}
	it.index = index
	at := len(r.items)
	for at > 0 && r.items[at-1].index > index {
		at--
	}
	r.items = slices.Insert(r.items, at, it)
	r.begun = true
	return it
}

func (r *reply) countCalls() int {
	n := 0
	for _, it := range r.items {
		if it.calls() {
			n++
		}
	}
	return n
}

// announce takes an item that begins.
func (r *reply) announce(e *event) {
	var said itemJSON
	if !e.Item.opens('{') || json.Unmarshal([]byte(e.Item), &said) != nil {
		return
	}
	kind, id := said.Type.text(), said.ID.text()
	index, numbered := e.Index.number()
	for _, it := range r.items {
		same := id != "" && it.id == id || !it.announced && !it.done && numbered && it.index == index
		if same && it.kind == kind {
			it.announced = true
			it.describe(&said)
			return
		}
	}
	it := &item{kind: kind, announced: true}
	it.describe(&said)
	if it = r.add(it, e.Index); it == nil || !it.calls() {
		return
	}
	if arguments := written(said.Arguments); arguments != "" && arguments != "{}" { // some give them at once, and no pieces
		r.partOf(it, partArguments, 0).whole = arguments
	}
}

// done takes an item that is whole.
func (r *reply) done(e *event) {
	var said itemJSON
	if !e.Item.opens('{') || json.Unmarshal([]byte(e.Item), &said) != nil {
		return
	}
	it := r.openItem(e, &said)
	if it == nil {
		if r.repeats(&said, string(e.Item)) {
			return
		}
		if it = r.add(&item{kind: said.Type.text()}, e.Index); it == nil {
			return
		}
	}
	r.close(it, &said, string(e.Item))
}

func (r *reply) close(it *item, said *itemJSON, raw string) {
	it.finish(said, raw)
	r.showRest(it)
}

// openItem finds the item that is done now.
func (r *reply) openItem(e *event, said *itemJSON) *item {
	kind, id := said.Type.text(), said.ID.text()
	index, numbered := e.Index.number()
	for _, it := range r.items {
		if id != "" && it.id == id && !it.done {
			return it
		}
	}
	for _, it := range r.items {
		if !it.done && it.kind == kind && (numbered && it.index == index || !numbered && (id == "" || it.id == "")) {
			return it
		}
	}
	return nil
}

// repeats reports whether an item was done before.
func (r *reply) repeats(said *itemJSON, raw string) bool {
	id := said.ID.text()
	return slices.ContainsFunc(r.items, func(it *item) bool { return it.done && (id != "" && it.id == id || it.raw == raw) })
}
