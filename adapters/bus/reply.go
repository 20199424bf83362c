package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// The kinds of replies.
const (
	acceptedKind = "command.accepted" // the agent has stored its decision
	refusedKind  = "command.refused"  // the agent was asked and said no: sending the same again changes nothing
	poisonedKind = "command.poisoned" // nobody could be asked; an operator will try again or drop it
)

// Reply says what became of a command. Every command has one, and more than one when it was delivered more than once; their ids are
// equal then.
type Reply struct {
	Command events.CommandID `json:"command"`
	Type    string           `json:"type"`
	Receipt *actors.Receipt  `json:"receipt,omitempty"` // accepted
	Code    string           `json:"code,omitempty"`    // refused: a sagas.RefusalCode
	Detail  string           `json:"detail,omitempty"`  // why it was refused or poisoned
}

// reply publishes what became of a command, because of that command and in its trace. Equal outcomes have equal ids.
func reply(ctx context.Context, publisher message.Publisher, topic, kind string, command *message.Message, r Reply) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode reply to %s: %w", r.Command, err)
	}
	ref := refOf(command)
	m := message.NewMessageWithContext(ctx, kind+" "+ref, data)
	m.Metadata.Set(TypeKey, kind)
	m.Metadata.Set(CausationKey, ref)
	m.Metadata.Set(CorrelationKey, command.Metadata.Get(CorrelationKey))
	traceInto(ctx, m)
	return publisher.Publish(topic, m)
}

// refOf is the event that a received message is.
func refOf(m *message.Message) string {
	return m.Metadata.Get(StreamKey) + "@" + m.Metadata.Get(RevisionKey)
}

// commandOf is the id of the command that a message carries: the one that its metadata name, or the message's own.
func commandOf(m *message.Message) events.CommandID {
	if id := m.Metadata.Get(CommandKey); id != "" {
		return events.CommandID(id)
	}
	return events.CommandID(m.UUID)
}

// refusalOf is the reply to a command that was refused.
func refusalOf(m *message.Message, refusal *sagas.RefusalError) Reply {
	return Reply{Command: commandOf(m), Type: m.Metadata.Get(TypeKey), Code: string(refusal.Code), Detail: refusal.Detail}
}
