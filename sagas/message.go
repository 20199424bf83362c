package sagas

import "example.com/life/events"

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
