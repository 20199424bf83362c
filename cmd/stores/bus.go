package stores

import (
	"context"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/bus"
	"example.com/life/events"
)

// Bus is the command bus over a journal, as the API serves it and as verbs use it on stores in this process.
type Bus struct {
	Journal storage.Journal
	Masker  actors.Masker // nil: nothing is masked
}

var _ api.Bus = Bus{}

// Publish implements api.Bus.
func (b Bus) Publish(ctx context.Context, tenant events.TenantID, c api.BusCommand, origin actors.Origin) error {
	if b.Masker != nil { // the command waits in a stream; whose it is says its host, which masks it again
		c.Data, _ = b.Masker.MaskJSON(events.MaskShapes, c.Data)
	}
	command, err := bus.Decode(c.Type, c.Data)
	if err != nil {
		return err
	}
	publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: b.Journal})
	if err != nil {
		return err
	}
	sender, err := bus.NewSender(publisher, tenant)
	if err != nil {
		return err
	}
	_, err = sender.Send(ctx, c.ID, origin, command)
	return err
}

// Poisoned implements api.Bus.
func (b Bus) Poisoned(ctx context.Context, tenant events.TenantID) ([]api.PoisonedCommand, error) {
	poisoned, err := bus.NewPoisoned(b.Journal, tenant)
	if err != nil {
		return nil, err
	}
	list, err := poisoned.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]api.PoisonedCommand, 0, len(list))
	for i := range list {
		c := &list[i]
		all = append(all, api.PoisonedCommand{
			Entry: c.Entry, Command: c.Command, Type: c.Type, Event: c.Event, Reason: c.Reason, At: c.At, Actor: c.Actor, Payload: c.Payload,
		})
	}
	return all, nil
}

// Retry implements api.Bus.
func (b Bus) Retry(ctx context.Context, tenant events.TenantID, entry events.Revision, by string) error {
	poisoned, err := bus.NewPoisoned(b.Journal, tenant)
	if err != nil {
		return err
	}
	return poisoned.Retry(ctx, entry, by)
}

// Drop implements api.Bus.
func (b Bus) Drop(ctx context.Context, tenant events.TenantID, entry events.Revision, by, reason string) error {
	poisoned, err := bus.NewPoisoned(b.Journal, tenant)
	if err != nil {
		return err
	}
	return poisoned.Drop(ctx, entry, by, reason)
}
