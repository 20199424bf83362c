package responses

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
	"example.com/life/sagas"
)

// entry is one item of a past reply.
type entry struct {
	kind events.BlockKind
	raw  string
	text string
	call *events.ModelCall
}

// entriesOf lists the items of a past reply in the order in which the model gave them. What no block names comes last: the text, then the
// calls. A text that says nothing is none.
func entriesOf(message *sagas.Message) []entry {
	var entries []entry
	text, calls := message.Text.Inline, message.Calls
	add := func(e entry) {
		if e.kind != events.BlockText || strings.TrimSpace(e.text) != "" {
			entries = append(entries, e)
		}
	}
	for i := range message.Blocks {
		b := &message.Blocks[i]
		e := entry{kind: b.Kind}
		if b.Raw != nil {
			e.raw = b.Raw.Inline
		}
		switch b.Kind {
		case events.BlockText:
			n := min(max(b.Bytes, 0), len(text))
			e.text, text = text[:n], text[n:]
		case events.BlockCall:
			if len(calls) == 0 {
				continue
			}
			e.call, calls = &calls[0], calls[1:]
		case events.BlockThinking, events.BlockItem:
		}
		add(e)
	}
	add(entry{kind: events.BlockText, text: text})
	for i := range calls {
		add(entry{kind: events.BlockCall, call: &calls[i]})
	}
	return entries
}

// replied writes a past reply. Reasoning goes back only before what it led to, and only if the endpoint can read it: without, the items after
// it go back without their ids, by which the endpoint would miss it.
func replied(message *sagas.Message, way way, own bool) ([]inputItem, error) {
	entries := entriesOf(message)
	plain := way.noItems || way.noItemsAgain
	led := false // to something
	for i, e := range slices.Backward(entries) {
		send := true
		switch e.kind {
		case events.BlockThinking:
			send = !plain && led && sendable(e.raw, own)
			plain = plain || !send
		case events.BlockItem:
			send = !plain && answered(e.raw)
			led = led || send
		case events.BlockText, events.BlockCall:
			led = true
		}
		if !send {
			entries = slices.Delete(entries, i, i+1)
		}
	}
	var items []inputItem
	for _, e := range callsLast(entries) {
		var item inputItem
		var err error
		switch e.kind {
		case events.BlockThinking, events.BlockItem:
			if plain {
				continue
			}
			item.raw = []byte(e.raw)
		case events.BlockText:
			item.raw, err = saidItem(e, plain)
		case events.BlockCall:
			item.call = callID(e.call.ID)
			item.raw, err = callItem(e, plain)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// callsLast puts what a reply held behind a call before its calls, so that the output of a call can follow it and the last item that the
// model is sent is no word of its own. Reasoning stays directly before what it led to: OpenAI refuses it elsewhere.
func callsLast(entries []entry) []entry {
	var others, calls []entry
	begins := 0
	for i, e := range entries {
		switch e.kind {
		case events.BlockThinking:
			continue
		case events.BlockCall:
			calls = append(calls, entries[begins:i+1]...)
		case events.BlockText, events.BlockItem:
			others = append(others, entries[begins:i+1]...)
		}
		begins = i + 1
	}
	return append(others, calls...)
}

// answered reports whether an item of a kind that is not known can go back: it is whole, and no call that would want an answer.
func answered(raw string) bool {
	var holds map[string]json.RawMessage
	if json.Unmarshal([]byte(raw), &holds) != nil {
		return false
	}
	_, wants := holds["call_id"]
	return !wants && field(holds["type"]).text() != "" && !strings.HasSuffix(field(holds["type"]).text(), "_approval_request")
}

// saidItem writes a text of a past reply. What has an id is written as it was said, the rest as what is said to it.
func saidItem(e entry, plain bool) ([]byte, error) {
	fields, err := kept(e.raw, plain)
	if err != nil {
		return nil, err
	}
	fields["type"], fields["role"], fields["content"] = typeMessage, "assistant", e.text
	if fields["id"] != nil {
		fields["status"] = "completed"
		fields["content"] = []outputText{{Type: "output_text", Text: e.text, Annotations: []struct{}{}}}
	}
	return events.PlainJSON(fields)
}

// callItem writes a call of a past reply.
func callItem(e entry, plain bool) ([]byte, error) {
	fields, err := kept(e.raw, plain)
	if err != nil {
		return nil, err
	}
	arguments := endpoint.SentArguments(e.call.Arguments)
	fields["type"], fields["call_id"], fields["name"], fields["arguments"] = typeCall, callID(e.call.ID), e.call.Tool, arguments
	if fields["id"] != nil {
		fields["status"] = "completed"
	}
	return events.PlainJSON(fields)
}

// callID is the id of a call as OpenAI takes it. That of another provider may be longer.
func callID(id string) string {
	const most = 64
	if len(id) > most {
		return endpoint.ShortID(id, most/2)
	}
	return id
}

// kept are the fields of an item that are not written anew. plain: none, for the endpoint refused them or another model gave them.
func kept(raw string, plain bool) (map[string]any, error) {
	fields := map[string]any{}
	if raw == "" || plain {
		return fields, nil
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw), &own); err != nil {
		return nil, fmt.Errorf("what its provider wants back is not a JSON object: %w", err)
	}
	for name, value := range own {
		fields[name] = value
	}
	return fields, nil
}
