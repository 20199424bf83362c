package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/respjson"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// reply puts the pieces of a reply together. It forgives what endpoints do: no usage, no index, no ids, no role, whole arguments at once,
// the same index for every call, "stop" where calls were made, a message in place of a delta, and parts in place of a text.
type reply struct {
	question *actors.ModelRequest
	layout   layout

	begun   bool // something of the model has come
	over    bool // the stream said that it is
	ended   bool // the model has said why it stopped
	ending  endpoint.Ending
	reason  string // as the endpoint gave it
	model   string
	told    told
	text    strings.Builder
	content endpoint.Joiner
	refusal endpoint.Joiner
	refused bool
	parts   []json.RawMessage // of a content that is a list
	thought strings.Builder   // in such parts
	tags    thinkTags
	muse    strings.Builder // between tags in the text
	extra   extras
	calls   []*callParts
	showing endpoint.ShownCalls
	foreign string // the beginning of an event that is none of this dialect
	err     error  // it cannot be used
	broken  []byte
	said    *endpoint.Said // an error within it
}

func newReply(question actors.ModelRequest, delta func(actors.Delta)) *reply {
	if delta == nil {
		delta = func(actors.Delta) {}
	}
	return &reply{question: &question, layout: layout{delta: delta}, showing: endpoint.NewShownCalls(delta)}
}

// Take takes one event of the stream. false: there is nothing more to take.
func (r *reply) Take(f endpoint.Frame) bool {
	name := strings.ToLower(f.Name)
	switch {
	case len(f.Data) == 0:
		return true
	case string(f.Data) == "[DONE]" || string(f.Data) == `"[DONE]"`:
		r.over = true
		return false
	case f.Heartbeat():
		return true
	case f.Data[0] == '[':
		var several []json.RawMessage
		if json.Unmarshal(f.Data, &several) == nil {
			for _, one := range several {
				if len(one) > 0 && one[0] == '{' && !r.takeObject(one, name) {
					return false
				}
			}
			return true
		}
	case f.Data[0] == '{' && json.Valid(f.Data):
		return r.takeObject(f.Data, name)
	case name == "error":
		r.said = &endpoint.Said{Message: strings.ToValidUTF8(string(f.Data), "�")}
		return false
	}
	if !f.Last { // else the stream was cut within it
		r.broken = bytes.Clone(f.Data)
	}
	return false
}

func (r *reply) takeObject(data []byte, name string) bool {
	if problem, failed := endpoint.ErrorIn(data); failed || name == "error" {
		r.said = &problem
		return false
	}
	var chunk openai.ChatCompletionChunk
	if err := json.Unmarshal(data, &chunk); err != nil {
		r.broken = bytes.Clone(data)
		return false
	}
	if chunk.Choices == nil && chunk.ID == "" && chunk.Object == "" && chunk.JSON.Usage.Raw() == "" && r.foreign == "" {
		r.foreign = events.Clip(strings.ToValidUTF8(string(data), "\uFFFD"), 200)
	}
	r.add(&chunk)
	return r.err == nil
}

func (r *reply) add(chunk *openai.ChatCompletionChunk) {
	if chunk.Model != "" {
		r.model = chunk.Model
	}
	r.told.add(chunk.JSON.Usage.Raw())
	r.told.add(chunk.JSON.ExtraFields["timings"].Raw())
	r.told.add(within(chunk.JSON.ExtraFields["x_groq"].Raw(), "usage"))
	for i := range chunk.Choices {
		choice := &chunk.Choices[i]
		if choice.Index != 0 {
			continue // one reply was asked for
		}
		r.told.add(choice.JSON.ExtraFields["usage"].Raw())
		r.addDelta(&choice.Delta)
		r.addMessage(choice)
		if reason := strings.TrimSpace(choice.FinishReason); reason != "" && reason != "null" {
			if end := endpoint.EndingOf(reason); !r.ended || end.Weight() > r.ending.Weight() {
				r.ending, r.reason = end, reason
			}
			r.ended = true
		}
	}
}

// addMessage takes what stands beside the delta: the whole message, as in a reply that is not streamed, unless its pieces have come.
func (r *reply) addMessage(choice *openai.ChatCompletionChunkChoice) {
	var message openai.ChatCompletionChunkChoiceDelta
	if raw := choice.JSON.ExtraFields["message"].Raw(); strings.HasPrefix(raw, "{") && json.Unmarshal([]byte(raw), &message) == nil {
		if r.text.Len() > 0 {
			message.JSON.Content, message.Content = choice.Delta.JSON.Refusal, "" // its pieces were the text
		}
		if len(r.calls) > 0 {
			message.ToolCalls = nil
		}
		if len(r.extra) > 0 {
			message.JSON.ExtraFields = nil
		}
		r.addDelta(&message)
	}
	if raw := choice.JSON.ExtraFields["text"].Raw(); strings.HasPrefix(raw, `"`) {
		said, _ := partsText(raw)
		r.say(r.content.Next(said, raw))
	}
}

func (r *reply) addDelta(delta *openai.ChatCompletionChunkChoiceDelta) {
	r.think(delta.JSON.ExtraFields)
	raw := delta.JSON.Content.Raw()
	if strings.HasPrefix(raw, "[") || strings.HasPrefix(raw, "{") {
		r.addParts(raw)
	} else if strings.HasPrefix(raw, `"`) {
		r.say(r.content.Next(delta.Content, raw))
	}
	if refusal := r.refusal.Next(delta.Refusal, delta.JSON.Refusal.Raw()); refusal != "" {
		r.refused = true
		r.say(refusal)
	}
	for i := range delta.ToolCalls {
		r.begun = true
		r.addCall(&delta.ToolCalls[i])
	}
	//nolint:staticcheck // deprecated, but some endpoints still send it
	if function := delta.FunctionCall; function.Name != "" || function.Arguments != "" { // the former way to call one
		piece := callPiece{}
		piece.Function.Name, piece.Function.Arguments = function.Name, function.Arguments
		r.begun = true
		r.addCall(&piece)
	}
	r.extra.addFields(delta.JSON.ExtraFields)
	r.begun = r.begun || len(r.extra) > 0
}

// addParts takes a content that is a list of parts. They are kept: what is thought in them is wanted back.
func (r *reply) addParts(raw string) {
	said, thought := partsText(raw)
	r.thought.WriteString(thought)
	r.layout.add(events.BlockThinking, thought)
	r.begun = r.begun || thought != ""
	var parts []json.RawMessage
	if json.Unmarshal([]byte(raw), &parts) != nil {
		parts = []json.RawMessage{json.RawMessage(raw)}
	}
	r.parts = append(r.parts, parts...)
	r.say(r.content.Bytes(said))
}

func (r *reply) say(text string) {
	if text == "" {
		return
	}
	r.begun = true
	r.tagged(r.tags.next(text))
}

// tagged takes what was thought and said in a text.
func (r *reply) tagged(thought, said string) {
	if thought != "" {
		r.muse.WriteString(thought)
		r.layout.add(events.BlockThinking, thought)
	}
	if said != "" {
		r.text.WriteString(said)
		r.layout.add(events.BlockText, said)
	}
}

// untag makes thinking of the beginning of a text that only ends it.
func (r *reply) untag() {
	if r.layout.thought() != "" || len(r.layout.parts) != 1 {
		return
	}
	thought, said, found := untagged(r.text.String())
	if !found {
		return
	}
	r.text.Reset()
	r.text.WriteString(said)
	r.muse.WriteString(thought)
	r.layout.parts = []layoutPart{{kind: events.BlockThinking, bytes: len(thought)}, {kind: events.BlockText, bytes: len(said)}}
	r.layout.parts[0].thought.WriteString(thought)
	if said == "" {
		r.layout.parts = r.layout.parts[:1]
	}
}

// think passes on what was thought. Some endpoints say it in two fields.
func (r *reply) think(fields map[string]respjson.Field) {
	for _, name := range reasoningFields {
		var text string
		if field, has := fields[name]; has && json.Unmarshal([]byte(field.Raw()), &text) == nil && text != "" {
			r.layout.add(events.BlockThinking, text)
			return
		}
	}
}

// within is a field of a JSON object.
func within(raw, name string) string {
	var fields map[string]json.RawMessage
	if raw == "" || json.Unmarshal([]byte(raw), &fields) != nil {
		return ""
	}
	return string(fields[name])
}

// Answer gives the whole reply, once the model has said why it stopped.
func (r *reply) Answer() (actors.ModelResponse, error) {
	r.say(r.content.Rest() + r.refusal.Rest())
	r.tagged(r.tags.rest())
	r.untag()
	usage := r.usage()
	failed := func(class events.ErrorClass, detail string) (actors.ModelResponse, error) {
		return actors.ModelResponse{}, &actors.ModelError{Class: class, Detail: detail, Usage: usage}
	}
	if r.ending.Class != "" {
		return failed(r.ending.Class, r.ending.Why)
	}
	for _, call := range r.calls {
		call.arguments.Write(call.split.Rest())
		r.show(call, true)
	}
	// Some say "stop" or "tool_calls" where the limit of tokens cut a call off.
	cut := r.ending.Stop == events.StopLength ||
		r.question.Reply > 0 && r.told.output >= r.question.Reply && len(r.calls) > 0 && !r.calls[len(r.calls)-1].whole()
	calls, err := r.toCalls(cut)
	if err != nil {
		return failed(events.ErrorTruncated, err.Error())
	}
	answer := actors.ModelResponse{Text: r.text.String(), Calls: calls, Model: r.model, Usage: usage, Stop: r.stop(), Met: r.ending.Met}
	answer.Blocks = r.layout.blocks(r.extra, r.overlay())
	if len(calls) == 0 && r.ending.Stop == events.StopEnd && endsWithCalls(r.reason) {
		return failed(events.ErrorTruncated, "the endpoint said that the model called tools, and sent no call")
	}
	if len(calls) == 0 && answer.Stop != events.StopFiltered {
		answer.Fault = endpoint.FaultOf(r.question, answer.Text, r.thoughts(), answer.Stop)
	}
	return answer, nil
}

func endsWithCalls(reason string) bool {
	word := strings.ToLower(reason)
	return strings.Contains(word, "tool") || strings.Contains(word, "function")
}

func (r *reply) thoughts() string {
	thoughts := r.thought.String() + r.muse.String()
	for _, name := range reasoningFields {
		thoughts += r.extra.text(name)
	}
	return thoughts
}

// usage is what was told, or estimated: reasoning counts as said.
func (r *reply) usage() events.Usage {
	conversation, fixed := endpoint.Sizes(r.question)
	said := int64(r.text.Len() + len(r.thoughts()))
	for _, call := range r.calls {
		said += int64(len(call.tool)+call.arguments.Len()) + endpoint.PerMessage
	}
	return r.told.usage(conversation+fixed, said)
}

func (r *reply) stop() events.StopReason {
	switch {
	case r.ending.Stop == events.StopLength, r.ending.Stop == events.StopFiltered:
		return r.ending.Stop
	case r.refused:
		return events.StopFiltered
	case len(r.calls) > 0:
		return events.StopCalls
	}
	return events.StopEnd
}

// overlay is what the endpoint wants back with this reply, in the shape of the message that holds it.
func (r *reply) overlay() map[string]any {
	overlay := map[string]any{}
	for name, value := range r.extra {
		overlay[name] = value
	}
	if r.thought.Len() > 0 {
		overlay["content"] = joinedParts(nil, r.parts)
	}
	calls, has := make([]extras, len(r.calls)), false
	for i, call := range r.calls {
		calls[i] = call.extra
		has = has || len(call.extra) > 0
	}
	if has {
		overlay["tool_calls"] = calls
	}
	return overlay
}

// Begun reports whether something of the model has come.
func (r *reply) Begun() bool { return r.begun }

// otherDialects are events of the other ones.
var otherDialects = regexp.MustCompile(`"type": ?"(?:response\.|message_start|content_block)`)

// unusable is why the reply cannot be used, whatever came of it. A stream whose events are all of another kind is none of this dialect, if it came to its end or is of
// one that is known; else the events may be those that keep a connection alive.
func (r *reply) unusable() error {
	if r.err != nil || r.begun || r.ended || r.foreign == "" || !r.over && !otherDialects.MatchString(r.foreign) {
		return r.err
	}
	return fmt.Errorf("the endpoint does not answer with chat completions, but so: %s; is its dialect another one (openai-responses/…, anthropic/…, or dialect: in the configuration)?", r.foreign)
}

// Progress is what had come of a reply that was cut off.
func (r *reply) Progress() endpoint.Progress {
	p := endpoint.Progress{
		Begun: r.begun, Ended: r.ended, Where: "before the reply", Broken: r.broken, Said: r.said, Err: r.unusable(), Usage: r.usage(),
		Input: r.told.input, Output: r.told.output + r.told.reasoned, Caching: r.told.caching,
	}
	switch {
	case len(r.calls) > 0:
		p.Where = fmt.Sprintf("within call %d", len(r.calls))
	case r.begun:
		p.Where = "within the reply"
	}
	return p
}
