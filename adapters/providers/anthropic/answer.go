package anthropic

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// Answer gives the whole reply, once the model has said why it stopped.
func (r *reply) Answer() (actors.ModelResponse, error) {
	r.flush()
	failed := func(class events.ErrorClass, detail string) (actors.ModelResponse, error) {
		return actors.ModelResponse{}, &actors.ModelError{Class: class, Detail: detail, Usage: r.usage(true)}
	}
	end := r.ending()
	if end.Class != "" {
		return failed(end.Class, end.Why)
	}
	calls, err := r.toCalls(r.cut(end.Stop))
	if err != nil {
		return failed(events.ErrorTruncated, err.Error())
	}
	answer := actors.ModelResponse{Text: r.text(), Model: r.model, Usage: r.usage(true), Stop: end.Stop, Met: end.Met, Blocks: r.layout(end.Stop)}
	switch {
	case end.Stop == events.StopFiltered:
		if len(r.blocks) == 0 {
			answer.Usage = events.Usage{} // a refusal before any output is not charged
		}
		return answer, nil // a reply that was withdrawn calls nothing
	case len(calls) == 0 && end.Stop == events.StopEnd && r.stop == "tool_use":
		return failed(events.ErrorTruncated, "the endpoint said that the model called tools, and sent no call")
	}
	answer.Calls = calls
	switch {
	case len(calls) > 0 && end.Stop == events.StopEnd:
		answer.Stop = events.StopCalls
	case len(calls) == 0 && end.Stop != events.StopPaused:
		answer.Fault = endpoint.FaultOf(r.question, answer.Text, r.thoughts(), end.Stop)
	}
	return answer, nil
}

// ending is what the model's reason to stop means.
func (r *reply) ending() endpoint.Ending {
	switch r.stop {
	case "":
		return endpoint.Ending{Class: events.ErrorTruncated, Why: "the reply ended, and the model did not say why it stopped"}
	case "pause_turn":
		return endpoint.Ending{Stop: events.StopPaused}
	}
	return endpoint.EndingOf(r.stop)
}

// cut reports whether the reply was cut off within its last block. Some servers give another reason where the limit of tokens did it.
func (r *reply) cut(stop events.StopReason) bool {
	if stop == events.StopLength {
		return true
	}
	last := len(r.blocks) - 1
	return r.question.Reply > 0 && r.told.output >= r.question.Reply && last >= 0 && r.blocks[last].is(events.BlockCall) &&
		!endpoint.IsObject(r.blocks[last].arguments())
}

// toCalls gives the calls, each with an id of its own. Where the reply was cut off the last one is, whatever its arguments look like; and so is
// every one that is not whole.
func (r *reply) toCalls(cut bool) ([]events.ModelCall, error) {
	var calls []events.ModelCall
	taken := map[string]bool{}
	for i, b := range r.blocks {
		if !b.is(events.BlockCall) {
			continue
		}
		tool, id := b.fields.text("name"), b.fields.text("id")
		if tool == "" {
			return nil, fmt.Errorf("call %d of the reply names no tool", len(calls)+1)
		}
		if id == "" || taken[id] { // unique in the conversation, which only grows
			id = fmt.Sprintf("call-%d-%d", len(r.question.Messages), len(calls)+1)
		}
		taken[id] = true
		written := strings.ToValidUTF8(b.arguments(), "\uFFFD")
		calls = append(calls, events.ModelCall{
			ID: id, Tool: tool, Arguments: endpoint.Arguments(written),
			Cut: !b.whole() || cut && (i == len(r.blocks)-1 || !endpoint.IsObject(cmp.Or(strings.TrimSpace(written), "{}"))),
		})
	}
	return calls, nil
}

// text is all that was said.
func (r *reply) text() string { return r.all(events.BlockText) }

// thoughts are all that was thought, as far as it may be shown.
func (r *reply) thoughts() string { return r.all(events.BlockThinking) }

func (r *reply) all(kind events.BlockKind) string {
	var text strings.Builder
	for _, b := range r.blocks {
		if b.is(kind) {
			text.WriteString(b.text.String())
		}
	}
	return text.String()
}

// layout is the order of the reply's blocks, and the provider's own forms of them; nil for a text and the calls after it.
func (r *reply) layout(stop events.StopReason) []actors.Block {
	var blocks []actors.Block
	plain := true
	for i, b := range r.blocks {
		block := actors.Block{Kind: b.kind(), Raw: string(b.own())}
		switch block.Kind {
		case events.BlockText:
			block.Bytes = b.text.Len()
			if plain = plain && i == 0; block.Bytes == 0 {
				continue
			}
		case events.BlockThinking:
			block.Text = b.text.String()
			plain = false
		case events.BlockCall:
			if stop == events.StopFiltered { // kept, but no call any more
				own := maps.Clone(b.fields)
				own["input"] = endpoint.Arguments(b.arguments())
				block.Kind, block.Raw = events.BlockItem, string(encode(own))
				plain = false
			}
		case events.BlockItem:
			plain = false
		}
		plain = plain && block.Raw == ""
		blocks = append(blocks, block)
	}
	if plain {
		blocks = nil
	}
	if stop == events.StopFiltered {
		blocks = append(blocks, r.refusal())
	}
	return blocks
}

// refusalType is the type of the item that marks a refused reply.
const refusalType = "refusal"

// refusal is an item that says why the provider refused. A conversation is sent without the turn that ended so: it would be refused again.
func (r *reply) refusal() actors.Block {
	var details fields
	if read := (fields{"details": r.details}).object("details"); read != nil {
		details = read
	} else {
		details = fields{}
	}
	details["type"] = encode(refusalType)
	reason := details.text("category")
	if explanation := details.text("explanation"); explanation != "" {
		reason = strings.TrimPrefix(reason+": "+explanation, ": ")
	}
	return actors.Block{Kind: events.BlockItem, Text: reason, Raw: string(encode(details))}
}
