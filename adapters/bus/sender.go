package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/events"
)

// Sender publishes commands to a tenant's agents.
type Sender struct{ bus *cqrs.CommandBus }

// NewSender returns a sender over any publisher that reaches the topics of this package.
func NewSender(publisher message.Publisher, tenant events.TenantID) (*Sender, error) {
	if publisher == nil {
		return nil, errors.New("configure sender: a publisher is required")
	}
	if err := tenant.Validate(); err != nil {
		return nil, fmt.Errorf("configure sender: %w", err)
	}
	sending, err := cqrs.NewCommandBusWithConfig(publisher, cqrs.CommandBusConfig{
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return CommandTopic(tenant), nil },
		Marshaler:            commandJSON{},
	})
	if err != nil {
		return nil, fmt.Errorf("configure sender: %w", err)
	}
	return &Sender{sending}, nil
}

// Send publishes a command and returns its id once it is stored: then it will be carried out or its refusal will be published, both
// under that id. An empty id is given one; a command that is sent again with the same id happens once, and another command under that id is
// another message, which its agent answers: a store would take it for the first one, and drop it, if the id were the message's. origin says
// where it comes from; without a trace it is ctx's.
func (s *Sender) Send(ctx context.Context, id events.CommandID, origin actors.Origin, command Command) (events.CommandID, error) {
	if id == "" {
		id = events.CommandID(uuid.NewString())
	}
	if err := id.Validate(); err != nil {
		return "", malformed("%v", err)
	}
	if err := command.check(); err != nil {
		return "", err
	}
	err := s.bus.SendWithModifiedMessage(ctx, command, func(m *message.Message) error {
		m.UUID = messageID(id, m)
		m.Metadata.Set(CommandKey, string(id))
		m.Metadata.Set(CorrelationKey, string(id))
		if origin.Actor != "" {
			m.Metadata.Set(ActorKey, origin.Actor)
		}
		if origin.Traceparent != "" {
			m.Metadata.Set(TraceKey, origin.Traceparent)
		}
		traceInto(ctx, m)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("send %s: %w", commandJSON{}.Name(command), err)
	}
	return id, nil
}

// messageID is the id of the message of a command: the same for the same command under the same id.
func messageID(id events.CommandID, m *message.Message) string {
	content := events.HashBytes([]byte(m.Metadata.Get(TypeKey) + "\x00" + string(m.Payload)))
	return uuid.NewSHA1(namespace(), []byte(string(id)+"\x00"+content)).String()
}
