package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// PoisonedEventKey names, in the metadata of a poisoned command, the event that it was.
const PoisonedEventKey = "event_poisoned"

// Kinds that record what became of poisoned commands, in their stream.
const (
	retriedKind = "poison.retried"
	droppedKind = "poison.dropped"
)

// settled is the data of both.
type settled struct {
	Entry  events.Revision `json:"entry,string"`
	By     string          `json:"by,omitempty"`
	Reason string          `json:"reason,omitempty"` // of dropping
}

// PoisonedCommand is a command that could not be carried out, and that nobody has tried again or dropped since.
type PoisonedCommand struct {
	Entry       events.Revision  `json:"entry,string"` // its number: the revision in the poison stream
	Command     events.CommandID `json:"command"`
	Type        string           `json:"type"`
	Event       events.Ref       `json:"event"` // where it was published
	Reason      string           `json:"reason"`
	At          events.Micros    `json:"at,string"` // when it was poisoned
	Actor       string           `json:"actor,omitempty"`
	Correlation string           `json:"correlation,omitempty"`
	Payload     []byte           `json:"payload"` // as it was published

	message *message.Message
}

// Poisoned looks after the poisoned commands of one tenant. What is poisoned at the moment is a fold of the poison stream alone.
type Poisoned struct {
	journal   storage.Journal
	publisher *Publisher
	tenant    events.TenantID
}

// NewPoisoned returns the poisoned commands of a tenant.
func NewPoisoned(journal storage.Journal, tenant events.TenantID) (*Poisoned, error) {
	if err := tenant.Validate(); err != nil {
		return nil, err
	}
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		return nil, err
	}
	return &Poisoned{journal, publisher, tenant}, nil
}

func (p *Poisoned) stream() events.Stream { return events.Stream(PoisonTopic(p.tenant)) }

// List returns the poisoned commands, the oldest first.
func (p *Poisoned) List(ctx context.Context) ([]PoisonedCommand, error) {
	open := map[events.Revision]PoisonedCommand{}
	seen := map[events.EventID]bool{}
	for from := events.Revision(0); ; {
		page, err := p.journal.Read(ctx, p.stream(), from, storage.Forward, storage.Limit{})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p.stream(), err)
		}
		for i := range page.Events {
			e := &page.Events[i]
			from = e.Revision + 1
			if !fold(open, e) || seen[e.ID] { // delivered again after the store forgot it
				continue
			}
			seen[e.ID] = true
			open[e.Revision] = poisonedOf(e)
		}
		if page.End {
			break
		}
	}
	list := make([]PoisonedCommand, 0, len(open))
	for _, c := range open {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b PoisonedCommand) int { return cmp.Compare(a.Entry, b.Entry) })
	return list, nil
}

// fold takes out what an event settles; it reports whether the event is a poisoned command instead. A command may have any type, so
// what tells it from a record is that it says why it is here.
func fold(open map[events.Revision]PoisonedCommand, e *events.Envelope) (poisoned bool) {
	if metadataOf(e.Metadata())[middleware.ReasonForPoisonedKey] != "" {
		return true
	}
	var s settled
	if (e.Kind == retriedKind || e.Kind == droppedKind) && json.Unmarshal(e.Data, &s) == nil {
		delete(open, s.Entry)
	}
	return false
}

func poisonedOf(e *events.Envelope) PoisonedCommand {
	m := messageOf(e)
	return PoisonedCommand{
		Entry: e.Revision, Command: commandOf(m), Type: m.Metadata.Get(TypeKey), Event: events.Ref(m.Metadata.Get(PoisonedEventKey)),
		Reason: m.Metadata.Get(middleware.ReasonForPoisonedKey), At: e.Time, Actor: m.Metadata.Get(ActorKey),
		Correlation: m.Metadata.Get(CorrelationKey), Payload: m.Payload, message: m,
	}
}

// find returns one that is poisoned at the moment.
func (p *Poisoned) find(ctx context.Context, entry events.Revision) (PoisonedCommand, error) {
	list, err := p.List(ctx)
	if err != nil {
		return PoisonedCommand{}, err
	}
	i := slices.IndexFunc(list, func(c PoisonedCommand) bool { return c.Entry == entry })
	if i < 0 {
		return PoisonedCommand{}, &sagas.RefusalError{
			Code: sagas.RefusedMissing, Detail: fmt.Sprintf("there is no poisoned command %d: it may have been retried or dropped", entry),
		}
	}
	return list[i], nil
}

// Retry publishes a poisoned command again, under the same command id, and records that. If the process dies in between, it is
// poisoned still; retrying it then publishes nothing new, as far back as the store remembers, and the agent knows the id after that.
func (p *Poisoned) Retry(ctx context.Context, entry events.Revision, by string) error {
	found, err := p.find(ctx, entry)
	if err != nil {
		return err
	}
	m := found.message.Copy()
	m.SetContext(ctx)
	m.UUID = fmt.Sprintf("retry of %s", events.NewRef(p.stream(), entry)) // the message's own id is in the stream already
	m.Metadata.Set(CommandKey, string(found.Command))
	for key := range m.Metadata {
		if strings.HasSuffix(key, "_poisoned") {
			delete(m.Metadata, key)
		}
	}
	if err := p.publisher.Publish(CommandTopic(p.tenant), m); err != nil {
		return err
	}
	return p.settle(ctx, retriedKind, settled{Entry: entry, By: by})
}

// Drop records that a poisoned command will never be carried out, and why.
func (p *Poisoned) Drop(ctx context.Context, entry events.Revision, by, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "a command is dropped for a reason: say which"}
	}
	if _, err := p.find(ctx, entry); err != nil {
		return err
	}
	return p.settle(ctx, droppedKind, settled{Entry: entry, By: by, Reason: reason})
}

func (p *Poisoned) settle(ctx context.Context, kind events.Kind, s settled) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if _, err = appendAgain(ctx, p.journal, p.stream(), []events.Envelope{recordOf(kind, data)}); err != nil {
		return fmt.Errorf("record what became of poisoned command %d: %w", s.Entry, err)
	}
	return nil
}
