package responses

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// responseJSON is the response as its events hold it.
type responseJSON struct {
	Status     field           `json:"status"`
	Incomplete json.RawMessage `json:"incomplete_details"`
	Error      field           `json:"error"`
	Model      field           `json:"model"`
	Usage      field           `json:"usage"`
	Output     field           `json:"output"`
}

// header takes what a response says of itself while it is being made.
func (r *reply) header(raw field) responseJSON {
	var said responseJSON
	if !raw.opens('{') || json.Unmarshal([]byte(raw), &said) != nil {
		return responseJSON{}
	}
	if model := said.Model.text(); model != "" {
		r.model = model
	}
	r.told.add(string(said.Usage))
	return said
}

// finish takes the response when it is over. kind is that of the event; empty: the whole response came in place of a stream.
func (r *reply) finish(kind string, raw field) {
	said := r.header(raw)
	status := strings.ToLower(said.Status.text())
	if status == "" || kind == "failed" || kind == "incomplete" || kind == "completed" && (status == "in_progress" || status == "queued") {
		status = kind
	}
	if kind == "" && status == "" {
		status = "completed"
	}
	if said.Error.opens('{') || said.Error.opens('"') {
		status = "failed"
	}
	switch status {
	case "completed", "done":
		r.ending = endpoint.Ending{Stop: events.StopEnd}
	case "incomplete":
		r.ending = r.incomplete(said.Incomplete)
	case "failed":
		r.said = &endpoint.Said{Message: "the provider failed and does not say why"}
		if problem, failed := endpoint.ErrorIn([]byte(`{"error":` + string(said.Error) + `}`)); said.Error != "" && failed {
			r.said = &problem
		}
		return
	case "cancelled", "canceled":
		r.ending = endpoint.Ending{Class: events.ErrorOverloaded, Why: "the provider cancelled the reply"}
	default:
		r.ending = endpoint.Ending{Class: events.ErrorTruncated, Why: "the endpoint answered with a response that is not finished (status " + events.Clip(status, 80) + ")"}
	}
	r.ended = true
	r.compare(said.Output.list())
}

// incomplete is why a response stopped early.
func (r *reply) incomplete(details json.RawMessage) endpoint.Ending {
	var said struct {
		Reason field `json:"reason"`
	}
	_ = json.Unmarshal(details, &said) //nolint:errcheck // then there is no reason
	reason := said.Reason.text()
	if reason == "" && r.question.Reply > 0 && r.told.output >= r.question.Reply {
		reason = "max_output_tokens"
	}
	if reason == "" {
		return endpoint.Ending{Class: events.ErrorTruncated, Why: "the endpoint ended the reply before it was complete and does not say why"}
	}
	ending := endpoint.EndingOf(reason)
	if ending.Stop == events.StopEnd { // it is not complete, whatever the reason is called
		ending = endpoint.Ending{Class: events.ErrorTruncated, Why: "the endpoint ended the reply before it was complete (" + events.Clip(reason, 80) + ")"}
	}
	return ending
}

// compare holds what came to the output of the final response. Items that did not come, or not whole, are taken from it. A call that it
// has otherwise makes the reply unusable.
func (r *reply) compare(output []json.RawMessage) {
	came := slices.Clone(r.items)
	for i, raw := range output {
		var said itemJSON
		if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &said) != nil {
			continue
		}
		at := match(came, &said)
		if at < 0 {
			index := field(fmt.Sprint(i))
			if it := r.add(&item{kind: said.Type.text()}, index); it != nil {
				r.close(it, &said, string(raw))
			}
			continue
		}
		it := came[at]
		came = slices.Delete(came, at, at+1)
		if !it.done {
			r.close(it, &said, string(raw))
			continue
		}
		if final := written(said.Arguments) + said.Input.text(); it.calls() && it.kind == said.Type.text() && final != "" && final != it.text() {
			r.ending = endpoint.Ending{Class: events.ErrorTruncated, Why: "the arguments of a call of " + events.Clip(it.tool, 80) + " differ between the stream and the final response"}
		}
	}
}

// match finds the item of the stream that the output means: by its ids, else the first of its type.
func match(came []*item, said *itemJSON) int {
	kind, id, call := said.Type.text(), said.ID.text(), said.CallID.text()
	at := slices.IndexFunc(came, func(it *item) bool {
		return id != "" && it.id == id || call != "" && it.callID == call && it.kind == kind
	})
	if at < 0 {
		at = slices.IndexFunc(came, func(it *item) bool { return it.kind == kind && (call == "" || it.callID == "") })
	}
	return at
}

// Answer gives the whole reply, once the model has said why it stopped.
func (r *reply) Answer() (actors.ModelResponse, error) {
	for _, it := range r.items {
		for _, p := range it.parts {
			p.add(-1, p.split.Rest())
		}
		r.showRest(it)
	}
	usage := r.usage()
	failed := func(class events.ErrorClass, detail string) (actors.ModelResponse, error) {
		return actors.ModelResponse{}, &actors.ModelError{Class: class, Detail: detail, Usage: usage}
	}
	if r.ending.Class != "" {
		return failed(r.ending.Class, r.ending.Why)
	}
	answer := actors.ModelResponse{Model: r.model, Usage: usage}
	var text strings.Builder
	for i, it := range r.items {
		block := actors.Block{Kind: it.block(), Raw: it.kept()}
		switch block.Kind {
		case events.BlockText:
			text.WriteString(it.text())
			block.Bytes = len(it.text())
		case events.BlockThinking:
			block.Text = it.text()
		case events.BlockCall:
			if it.tool == "" {
				return failed(events.ErrorTruncated, fmt.Sprintf("call %d of the reply names no tool", len(answer.Calls)+1))
			}
			call := r.call(it, i == len(r.items)-1, answer.Calls)
			if call.Cut || call.ID != it.callID { // its item is not what goes into the conversation
				block.Raw = ""
			}
			answer.Calls = append(answer.Calls, call)
		case events.BlockItem:
		}
		answer.Blocks = append(answer.Blocks, block)
	}
	answer.Text, answer.Stop, answer.Met = text.String(), r.stop(len(answer.Calls)), r.ending.Met
	if plain(answer.Blocks) {
		answer.Blocks = nil
	}
	if len(answer.Calls) == 0 && answer.Stop != events.StopFiltered {
		answer.Fault = endpoint.FaultOf(r.question, answer.Text, r.thoughts(), answer.Stop)
	}
	return answer, nil
}

// plain reports whether a layout says nothing: the text, and then the calls.
func plain(blocks []actors.Block) bool {
	for i, b := range blocks {
		if b.Raw != "" || b.Kind != events.BlockText && b.Kind != events.BlockCall ||
			b.Kind == events.BlockText && i > 0 && (b.Bytes > 0 && blocks[i-1].Kind == events.BlockCall || blocks[i-1].Kind == events.BlockText) {
			return false
		}
	}
	return true
}

// call gives a call, with an id of its own.
func (r *reply) call(it *item, last bool, before []events.ModelCall) events.ModelCall {
	id := it.callID
	taken := func(id string) bool {
		return id == "" || slices.ContainsFunc(before, func(call events.ModelCall) bool { return call.ID == id })
	}
	if taken(id) {
		id = it.id
	}
	if taken(id) { // unique in the conversation, which only grows
		id = fmt.Sprintf("call-%d-%d", len(r.question.Messages), len(before)+1)
	}
	arguments := it.text()
	// Without a word that it is whole it may have lost a piece in the middle, however it looks.
	cut := it.cut() || !it.done && !it.hasWhole() || r.ending.Stop == events.StopLength && (last || !it.done || !endpoint.IsObject(arguments))
	return events.ModelCall{ID: id, Tool: it.tool, Arguments: endpoint.Arguments(arguments), Cut: cut}
}

func (r *reply) stop(calls int) events.StopReason {
	switch {
	case r.ending.Stop == events.StopLength, r.ending.Stop == events.StopFiltered:
		return r.ending.Stop
	case slices.ContainsFunc(r.items, (*item).refused):
		return events.StopFiltered
	case calls > 0:
		return events.StopCalls
	}
	return events.StopEnd
}

func (r *reply) thoughts() string {
	var thoughts strings.Builder
	for _, it := range r.items {
		if it.block() == events.BlockThinking {
			thoughts.WriteString(it.joined("", partSummary, partThought))
		}
	}
	return thoughts.String()
}

// usage is what was told, or estimated: reasoning counts as said.
func (r *reply) usage() events.Usage {
	conversation, fixed := endpoint.Sizes(r.question)
	said := int64(0)
	for _, it := range r.items {
		said += int64(len(it.tool))
		for _, p := range it.parts {
			said += int64(len(p.text()))
		}
		if it.calls() {
			said += endpoint.PerMessage
		}
	}
	return r.told.usage(conversation+fixed, said)
}

// Begun reports whether something of the model has come, or was counted.
func (r *reply) Begun() bool { return r.begun || r.told.input > 0 }

// Progress is what had come of a reply that was cut off.
func (r *reply) Progress() endpoint.Progress {
	p := endpoint.Progress{
		Begun: r.Begun(), Ended: r.ended, Where: "before the reply", Broken: r.broken, Said: r.said, Err: r.err, Usage: r.usage(),
		Input: r.told.input, Output: r.told.output, Caching: r.told.caching,
	}
	switch calls := r.countCalls(); {
	case calls > 0:
		p.Where = fmt.Sprintf("within call %d", calls)
	case r.begun:
		p.Where = "within the reply"
	}
	return p
}
