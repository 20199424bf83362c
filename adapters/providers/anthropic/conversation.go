package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/packages/param"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
	"example.com/life/sagas"
)

// What stands in a conversation in place of what the vendor refuses, or of what is not there.
const (
	emptyResult   = "(no output)"
	missingResult = "(the result is not known)"
	beginsHere    = "[What came before is left out here.]"
	goOn          = "Go on."
)

type content = sdk.ContentBlockParamUnion

// conversation writes messages as the vendor takes them: the user begins, roles alternate, each call has an id of its own and is answered in
// the message right after, before anything else is said, and no text is empty.
type conversation struct {
	way    way
	own    bool // the endpoint is the vendor's: it refuses thinking that it has not signed
	sent   []sdk.MessageParam
	ids    map[string]bool
	called map[string]bool // names of tools

	calls []openCall // of the last message of the assistant
	texts []content  // what the user said since
}

// openCall is a call that waits for its result.
type openCall struct {
	id     string // in the conversation
	sent   string // in the request
	result *content
}

// paramMessages writes the messages, and gives the names of the tools that they call.
func paramMessages(question *actors.ModelRequest, way way, own bool) ([]sdk.MessageParam, []string, error) {
	c := &conversation{way: way, own: own, ids: map[string]bool{}, called: map[string]bool{}}
	messages := withoutRefused(question.Messages)
	for i := range messages {
		m := &messages[i]
		switch m.Role {
		case sagas.RoleUser, sagas.RoleContext: // what nobody said says so itself
			c.say(m.Text.Inline)
		case sagas.RoleTool:
			c.answer(m)
		case sagas.RoleAssistant:
			c.reply(m)
		default:
			return nil, nil, fmt.Errorf("message %d: role %q is unknown", i, m.Role)
		}
	}
	c.flush()
	if len(c.sent) == 0 {
		return nil, nil, errors.New("the conversation is empty")
	}
	// Only a reply that its provider paused is the last one. A text is not gone on with: that is refused.
	if last := c.sent[len(c.sent)-1].OfAssistant; last != nil && last.Content[len(last.Content)-1].OfText != nil {
		c.say(goOn)
		c.flush()
	}
	return c.sent, slices.Sorted(maps.Keys(c.called)), nil
}

// withoutRefused leaves out each turn that the provider refused, from what the user said on, and says so in its place. It applies to the
// model that refused alone: for others, the mark is not in the messages.
func withoutRefused(messages []sagas.Message) []sagas.Message {
	kept := make([]sagas.Message, 0, len(messages))
	for i := range messages {
		reason, refused := refusedFor(&messages[i])
		if !refused {
			kept = append(kept, messages[i])
			continue
		}
		begins := func(role sagas.Role) bool { return role == sagas.RoleUser || role == sagas.RoleContext }
		for len(kept) > 0 && !begins(kept[len(kept)-1].Role) {
			kept = kept[:len(kept)-1]
		}
		for len(kept) > 0 && begins(kept[len(kept)-1].Role) {
			kept = kept[:len(kept)-1]
		}
		note := "[A message and the work on it are left out here: the provider refused to go on with them."
		if reason != "" {
			note += " Its reason: " + reason + "."
		}
		kept = append(kept, sagas.Message{Role: sagas.RoleContext, Text: events.Text{Inline: note + "]"}})
	}
	return kept
}

// refusedFor reports whether a message is a reply that was refused, and the category.
func refusedFor(m *sagas.Message) (category string, refused bool) {
	for i := range m.Blocks {
		if raw := rawOf(&m.Blocks[i]); raw.text("type") == refusalType {
			return raw.text("category"), true
		}
	}
	return "", false
}

// rawOf is the provider's own form of a block; nil if there is none.
func rawOf(b *events.Block) fields {
	var raw fields
	if b.Raw == nil || json.Unmarshal([]byte(b.Raw.Inline), &raw) != nil {
		return nil
	}
	return raw
}

func (c *conversation) say(text string) {
	if strings.TrimSpace(text) != "" {
		c.texts = append(c.texts, sdk.NewTextBlock(text))
	}
}

// answer takes the result of a call. One whose call is not in the conversation is said in words.
func (c *conversation) answer(m *sagas.Message) {
	text := m.Text.Inline
	if strings.TrimSpace(text) == "" {
		text = emptyResult
	}
	for i := range c.calls {
		call := &c.calls[i]
		if call.result == nil && call.id == m.CallID {
			result := sdk.NewToolResultBlock(call.sent, text, m.Failed)
			call.result = &result
			return
		}
	}
	c.say(fmt.Sprintf("[Result of %s:]\n%s", m.Tool, text))
}

// flush sends what answers the last message of the assistant: the results of its calls, then what the user said.
func (c *conversation) flush() {
	var user []content
	for _, call := range c.calls {
		if call.result == nil {
			missing := sdk.NewToolResultBlock(call.sent, missingResult, true)
			call.result = &missing
		}
		user = append(user, *call.result)
	}
	user = append(user, c.texts...)
	c.calls, c.texts = nil, nil
	if len(user) > 0 {
		c.sent = append(c.sent, sdk.NewUserMessage(user...))
	}
}

// reply takes a message of the assistant. One that says nothing is left out.
func (c *conversation) reply(m *sagas.Message) {
	blocks, calls := c.blocks(m)
	if len(blocks) == 0 {
		return
	}
	c.flush()
	if len(c.sent) == 0 {
		c.sent = append(c.sent, sdk.NewUserMessage(sdk.NewTextBlock(beginsHere)))
	}
	if last := c.sent[len(c.sent)-1].OfAssistant; last != nil { // it was paused, and goes on
		last.Content = append(last.Content, blocks...)
	} else {
		c.sent = append(c.sent, sdk.NewAssistantMessage(blocks...))
	}
	c.calls = calls
}

// blocks are those of a message of the assistant, in the order in which the model gave them.
func (c *conversation) blocks(m *sagas.Message) (blocks []content, calls []openCall) {
	text, left := m.Text.Inline, m.Calls
	say := func(part string, raw fields) {
		switch {
		case strings.TrimSpace(part) == "":
		case raw.text("type") == "text" && raw.text("text") == part && !c.way.plain:
			blocks = append(blocks, param.Override[content](raw))
		default:
			blocks = append(blocks, sdk.NewTextBlock(part))
		}
	}
	call := func(raw fields) {
		block, open := c.call(&left[0], raw)
		blocks, calls, left = append(blocks, block), append(calls, open), left[1:]
	}
	for i := range m.Blocks {
		b := &m.Blocks[i]
		raw := rawOf(b)
		switch b.Kind {
		case events.BlockText:
			n := min(max(b.Bytes, 0), len(text))
			say(text[:n], raw)
			text = text[n:]
		case events.BlockCall:
			if len(left) > 0 {
				call(raw)
			}
		case events.BlockThinking, events.BlockItem:
			if c.wanted(raw) {
				blocks = append(blocks, param.Override[content](json.RawMessage(b.Raw.Inline)))
			}
		}
	}
	say(text, nil)
	for len(left) > 0 {
		call(nil)
	}
	return blocks[:len(blocks)-trailingThoughts(m, blocks)], calls
}

// wanted reports whether the endpoint takes a block back. The vendor's own wants all that it signed.
func (c *conversation) wanted(raw fields) bool {
	kind := raw.text("type")
	if kind == "" || c.way.plain {
		return false
	}
	return kind != "thinking" || !c.own || raw.text("signature") != ""
}

// trailingThoughts is how many blocks at the end of a message are thoughts: of a reply that was cut off within them, or gave no answer. The
// vendor takes none as the last one.
func trailingThoughts(m *sagas.Message, blocks []content) int {
	n := 0
	for n < len(blocks) {
		over, is := blocks[len(blocks)-1-n].Overrides()
		raw, ok := over.(json.RawMessage)
		var kind fields
		if !is || !ok || json.Unmarshal(raw, &kind) != nil || !strings.HasSuffix(kind.text("type"), "thinking") {
			break
		}
		n++
	}
	return n
}

// call writes a call. Its id may come from another provider, and be none that this one takes.
func (c *conversation) call(call *events.ModelCall, raw fields) (content, openCall) {
	id := word(call.ID)
	for n := 2; c.ids[id]; n++ {
		id = fmt.Sprintf("%s_%d", word(call.ID), n)
	}
	c.ids[id] = true
	name := word(call.Tool)
	c.called[name] = true
	block := sdk.ToolUseBlockParam{ID: id, Name: name, Input: json.RawMessage(endpoint.SentArguments(call.Arguments))}
	if raw.text("type") == "tool_use" && !c.way.plain {
		extra := map[string]any{}
		for field, value := range raw {
			if field != "type" && field == word(field) { // the vendor's package takes others for paths into the block
				extra[field] = value
			}
		}
		block.SetExtraFields(extra)
	}
	return content{OfToolUse: &block}, openCall{id: call.ID, sent: id}
}

// word makes a text such as the vendor takes for ids and names of tools.
func word(text string) string {
	const most = 64
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, text)
	if text == "" {
		return "_"
	}
	return text[:min(len(text), most)]
}
