package sagas

import (
	"encoding/binary"
	"slices"

	"example.com/life/events"
)

// Message is one entry of the conversation that a model is asked to continue. The fold of an agent's events builds it.
type Message struct {
	Role   Role               `json:"role"`
	Text   events.Text        `json:"text"`             // a blob's text is filled in by the shell before the model is asked
	Calls  []events.ModelCall `json:"calls,omitempty"`  // of an assistant's message
	Blocks []events.Block     `json:"blocks,omitempty"` // of an assistant's message: its layout; see events.ModelReplied
	Model  string             `json:"model,omitempty"`  // that said it, where there are Blocks: it, and no other, gets their raw forms back

	Turn  int `json:"in_turn,omitempty"`  // with which it came in, and the turn's round
	Round int `json:"in_round,omitempty"` //

	// Of a tool's message: which call it answers.
	CallID string `json:"call_id,omitempty"` // the provider's own id
	Tool   string `json:"tool,omitempty"`
	Failed bool   `json:"failed,omitempty"`
}

// Role says who speaks.
type Role string

// The roles. The system prompt is not a message: it stands beside the conversation.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
	RoleContext   Role = "context" // what the host adds of its own accord, such as recalled notes; the model is told that nobody said it
)

// Conversation is what the model is asked to continue: the newest messages, and a digest of all there ever were.
type Conversation struct {
	Messages []Message     `json:"messages,omitempty"`
	Dropped  int           `json:"dropped,omitempty"` // older messages that are no longer kept
	Summary  *Summary      `json:"summary,omitempty"` // what stands for those of them that were compacted
	Blobs    bool          `json:"blobs,omitempty"`   // whether the text of some message is, or was, in a blob
	Bytes    int64         `json:"bytes,omitempty"`   // size of Messages
	Chain    events.Digest `json:"chain"`

	headed []Message // the summary's message and Messages, in one list that both share; nil: none was made since the fold was restored
}

// add appends a message.
func (c Conversation) add(m Message) Conversation {
	if c.grow(1); c.Summary == nil {
		c.Messages = append(c.Messages, m)
	} else {
		c.headed = append(c.headed, m)
		c.Messages = c.headed[1:]
	}
	c.Bytes += messageSize(&m)
	c.Blobs = c.Blobs || m.Text.Blob != nil || m.Blocks != nil || // what another model wants back is left out where texts are read
		slices.ContainsFunc(m.Calls, func(call events.ModelCall) bool { return call.Blob != nil })
	c.Chain = chainMessage(c.Chain, &m)
	return c
}

// grow makes room for messages, half as many more as there are: messages are large, and append alone would copy all of them twice as often.
func (c *Conversation) grow(n int) {
	list := c.sent()
	if cap(list)-len(list) < n {
		list = slices.Grow(list, max(n, len(list)/2))
	}
	if c.Messages = list; c.Summary != nil {
		c.headed, c.Messages = list, list[1:]
	}
}

// sent is what a model is sent of the conversation where all of it fits: the summary's message, if there is one, and the messages.
func (c *Conversation) sent() []Message {
	switch {
	case c.Summary == nil:
		return c.Messages
	case c.headed == nil:
		return append([]Message{c.Summary.message()}, c.Messages...)
	}
	return c.headed
}

// forget drops the oldest turns of a conversation that has outgrown the window, and a quarter of the window more: so the beginning of
// what is sent stays the same for many turns, which providers' caches reward. What is kept is not moved: the next append that
// outgrows the memory leaves the dropped messages behind.
func (c Conversation) forget(size int64) Conversation {
	if c.Bytes <= size {
		return c
	}
	kept, dropped := c.window(size - size/4)
	if dropped == 0 {
		return c
	}
	for i := range dropped {
		c.Bytes -= messageSize(&c.Messages[i])
	}
	c.Bytes += messageSize(&kept[0]) - messageSize(&c.Messages[dropped]) // another one where the user's message is pinned
	c.Messages, c.headed = kept, nil
	c.Dropped += dropped
	return c
}

// window returns the newest messages that fit size, and how many older ones are left out. It cuts between turns where it can;
// within a turn it keeps the user's message and the newest rounds, at least one. A tool's message never stands without its call.
func (c Conversation) window(size int64) (kept []Message, dropped int) {
	if c.Bytes <= size {
		return c.Messages, 0
	}
	rest := c.newest(size)
	if user := slices.IndexFunc(c.Messages[rest:], func(m Message) bool { return m.Role == RoleUser }); user >= 0 {
		return c.Messages[rest+user:], rest + user
	}
	user := len(c.Messages) - 1
	for user >= 0 && c.Messages[user].Role != RoleUser {
		user--
	}
	if user >= 0 {
		rest = c.newest(size - messageSize(&c.Messages[user]))
	}
	rest = c.round(rest) // if the last one does not fit it is sent all the same, and the provider decides
	if user < 0 || user >= rest {
		return c.Messages[rest:], rest
	}
	kept = append([]Message{c.Messages[user]}, c.Messages[rest:]...)
	return kept, len(c.Messages) - len(kept)
}

// round is the first place from one on at which a tool's message does not stand without its call; the beginning of the last round where there is none.
func (c Conversation) round(from int) int {
	for from < len(c.Messages) && c.Messages[from].Role == RoleTool {
		from++
	}
	if from == len(c.Messages) {
		for from--; from > 0 && c.Messages[from].Role == RoleTool; from-- {
		}
	}
	return max(from, 0)
}

// newest is where the newest messages begin that fit size. It counts what is too much, from the oldest on: forget keeps that small.
func (c Conversation) newest(size int64) int {
	first := 0
	for left := c.Bytes; left > size && first < len(c.Messages); first++ {
		left -= messageSize(&c.Messages[first])
	}
	return first
}

// messageSize estimates what a message costs to send, in bytes.
func messageSize(m *Message) int64 {
	size := 16 + m.Text.Size()
	for i := range m.Blocks {
		if b := &m.Blocks[i]; b.Raw != nil && b.Text != nil {
			size += max(b.Raw.Size(), b.Text.Size()) // the one holds the other
		} else if b.Raw != nil {
			size += b.Raw.Size()
		}
	}
	for i := range m.Calls {
		size += int64(16 + len(m.Calls[i].Tool) + len(m.Calls[i].Arguments))
		if blob := m.Calls[i].Blob; blob != nil {
			size += blob.Size - int64(len(m.Calls[i].Arguments))
		}
	}
	return size
}

// chainMessage extends the digest of a conversation. Lengths are written before contents, so that no two conversations
// give the same bytes.
func chainMessage(chain events.Digest, m *Message) events.Digest {
	b := make([]byte, 0, 256)
	b = appendField(b, m.Text.Identity())
	b = appendField(b, m.CallID)
	b = appendField(b, m.Tool)
	if m.Failed {
		b = append(b, 1)
	}
	for i := range m.Calls {
		b = appendField(b, m.Calls[i].ID)
		b = appendField(b, m.Calls[i].Tool)
		if blob := m.Calls[i].Blob; blob != nil {
			b = appendField(b, blob.Hash)
			continue
		}
		b = appendField(b, string(m.Calls[i].Arguments))
	}
	return chain.Next(events.Kind(m.Role), appendBlocks(b, m))
}

// appendBlocks adds a reply's layout. One item alone is written as what it was before replies had blocks.
func appendBlocks(b []byte, m *Message) []byte {
	switch {
	case len(m.Blocks) == 0:
		return b
	case len(m.Blocks) == 1 && m.Blocks[0].Kind == events.BlockItem && m.Blocks[0].Raw != nil:
		b = appendField(b, m.Model)
		return appendField(b, m.Blocks[0].Raw.Identity())
	}
	b = binary.AppendUvarint(b, uint64(len(m.Blocks)))
	b = appendField(b, m.Model)
	for i := range m.Blocks {
		block := &m.Blocks[i]
		b = appendField(b, string(block.Kind))
		b = binary.AppendUvarint(b, uint64(block.Bytes))
		for _, text := range []*events.Text{block.Text, block.Raw} {
			if text == nil {
				b = append(b, 0)
				continue
			}
			b = append(b, 1)
			b = appendField(b, text.Identity())
		}
	}
	return b
}

func appendField(b []byte, field string) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}
