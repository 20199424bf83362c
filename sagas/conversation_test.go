package sagas

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
)

// TestWindow: what is sent to the model is the newest part of the conversation that fits, and can stand alone.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, size := anyConversation(t), rapid.Int64Range(1, 1500).Draw(t, "size")
		kept, dropped := c.window(size)
		if len(kept)+dropped != len(c.Messages) {
			t.Fatalf("%d kept and %d dropped of %d", len(kept), dropped, len(c.Messages))
		}
		if c.Bytes <= size && dropped > 0 {
			t.Fatalf("%d messages are dropped although all fit", dropped)
		}
		if len(c.Messages) == 0 {
			return
		}
		if len(kept) == 0 || kept[0].Role == RoleTool {
			t.Fatalf("the window is empty or begins with a tool's message: %v", roles(kept))
		}
		newest := kept
		if !sameMessage(kept[0], c.Messages[dropped]) {
			newest = kept[1:] // the user's message of a turn that is larger than the window is pinned
			if kept[0].Role != RoleUser || slices.Contains(roles(newest), RoleUser) {
				t.Fatalf("an older message is kept than the user's latest: %v", roles(kept))
			}
		}
		for i := range newest {
			if !sameMessage(newest[i], c.Messages[len(c.Messages)-len(newest)+i]) {
				t.Fatalf("message %d of the window is not among the newest of the conversation", i)
			}
		}
		rounds := len(slices.DeleteFunc(roles(kept), func(r Role) bool { return r != RoleAssistant }))
		if bytesOf(kept) > size && rounds > 1 {
			t.Fatalf("the window has %d bytes in %d rounds, and room for %d: %v", bytesOf(kept), rounds, size, roles(kept))
		}
	})
}

// TestForget: forgetting changes nothing but what is kept. The digest is of all there ever was.
func TestForget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, size := anyConversation(t), rapid.Int64Range(1, 1500).Draw(t, "size")
		f := c.forget(size)
		if f.Chain != c.Chain {
			t.Fatalf("the digest changed")
		}
		if f.Dropped+len(f.Messages) != c.Dropped+len(c.Messages) {
			t.Fatalf("%d dropped and %d kept of %d", f.Dropped, len(f.Messages), len(c.Messages))
		}
		if f.Bytes != bytesOf(f.Messages) {
			t.Fatalf("%d bytes are counted, there are %d", f.Bytes, bytesOf(f.Messages))
		}
		m := Message{Role: RoleUser, Text: events.Text{Inline: "next"}}
		if f.add(m).Chain != c.add(m).Chain {
			t.Fatalf("the digest depends on what was forgotten")
		}
	})
}

// TestChain: no two messages have the same digest because of where one field ends and the next begins.
func TestChain(t *testing.T) {
	call := func(id, tool, arguments string) events.ModelCall {
		return events.ModelCall{ID: id, Tool: tool, Arguments: []byte(arguments)}
	}
	messages := []Message{
		{Role: RoleUser, Text: events.Text{Inline: "ab"}},
		{Role: RoleAssistant, Text: events.Text{Inline: "ab"}},
		{Role: RoleTool, Text: events.Text{Inline: "ab"}},
		{Role: RoleTool, Text: events.Text{Inline: "a"}, CallID: "b"},
		{Role: RoleTool, Text: events.Text{Inline: "a"}, Tool: "b"},
		{Role: RoleTool, Text: events.Text{Inline: "ab"}, Failed: true},
		{Role: RoleTool, Text: events.Text{Inline: "ab", Blob: &events.BlobRef{Hash: "00"}}},
		{Role: RoleAssistant, Text: events.Text{Inline: "ab"}, Calls: []events.ModelCall{call("x", "y", "{}")}},
		{Role: RoleAssistant, Text: events.Text{Inline: "ab"}, Calls: []events.ModelCall{call("xy", "", "{}")}},
		{Role: RoleAssistant, Text: events.Text{Inline: "ab"}, Calls: []events.ModelCall{call("x", "y", "{}"), call("", "", "")}},
	}
	seen := map[events.Digest]int{}
	for i := range messages {
		digest := Conversation{}.add(messages[i]).Chain
		if other, ok := seen[digest]; ok {
			t.Errorf("messages %d and %d have the same digest", other, i)
		}
		seen[digest] = i
	}
}

// anyConversation is turns of a user's message and rounds, a few of them large.
func anyConversation(t *rapid.T) Conversation {
	var c Conversation
	text := func() events.Text {
		length := rapid.SampledFrom([]int{0, 10, 40, 40, 100, 900}).Draw(t, "length")
		return events.Text{Inline: strings.Repeat("x", length) + string(rune('a'+len(c.Messages)%26))}
	}
	for range rapid.IntRange(0, 4).Draw(t, "turns") {
		c = c.add(Message{Role: RoleUser, Text: text()})
		for range rapid.IntRange(0, 5).Draw(t, "rounds") {
			m := Message{Role: RoleAssistant, Text: text()}
			for range rapid.IntRange(0, 3).Draw(t, "calls") {
				m.Calls = append(m.Calls, events.ModelCall{ID: "x", Tool: "read", Arguments: []byte(`{}`)})
			}
			c = c.add(m)
			for range m.Calls {
				c = c.add(Message{Role: RoleTool, CallID: "x", Tool: "read", Text: text()})
			}
		}
	}
	return c
}

func sameMessage(a, b Message) bool {
	return a.Role == b.Role && reflect.DeepEqual(a.Text, b.Text) && a.CallID == b.CallID && len(a.Calls) == len(b.Calls)
}

func bytesOf(messages []Message) int64 {
	size := int64(0)
	for i := range messages {
		size += messageSize(&messages[i])
	}
	return size
}

func roles(messages []Message) []Role {
	all := make([]Role, len(messages))
	for i := range messages {
		all[i] = messages[i].Role
	}
	return all
}
