package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/bus"
	"example.com/life/events"
)

// commandBus is the bus over a journal, as the API serves it and as verbs use it on stores in this process.
type commandBus struct{ journal storage.Journal }

var _ api.Bus = commandBus{}

// Publish implements api.Bus.
func (b commandBus) Publish(ctx context.Context, tenant events.TenantID, c api.BusCommand, origin actors.Origin) error {
	command, err := bus.Decode(c.Type, c.Data)
	if err != nil {
		return err
	}
	publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: b.journal})
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
func (b commandBus) Poisoned(ctx context.Context, tenant events.TenantID) ([]api.PoisonedCommand, error) {
	poisoned, err := bus.NewPoisoned(b.journal, tenant)
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
func (b commandBus) Retry(ctx context.Context, tenant events.TenantID, entry events.Revision, by string) error {
	poisoned, err := bus.NewPoisoned(b.journal, tenant)
	if err != nil {
		return err
	}
	return poisoned.Retry(ctx, entry, by)
}

// Drop implements api.Bus.
func (b commandBus) Drop(ctx context.Context, tenant events.TenantID, entry events.Revision, by, reason string) error {
	poisoned, err := bus.NewPoisoned(b.journal, tenant)
	if err != nil {
		return err
	}
	return poisoned.Drop(ctx, entry, by, reason)
}

// carryOut has the host carry out the commands on the bus, for the tenants of the setting commands, until the returned function is
// called. EventStoreDB's own consumer groups share them among all hosts; the embedded store has one host.
func (a *app) carryOut(ctx context.Context, host *local) (stop func() error, err error) {
	groups, shared := host.journal.(bus.Groups)
	if !shared {
		if groups, err = bus.NewLocalGroups(bus.FeedConfig{Journal: host.journal, Log: a.log}); err != nil {
			return nil, err
		}
	}
	var ingresses []*bus.Ingress
	for _, tenant := range a.config.tenants {
		in, err := bus.NewIngress(bus.IngressConfig{Commands: host, Journal: host.journal, Groups: groups, Tenant: tenant, Log: a.log})
		if err != nil {
			return nil, err
		}
		ingresses = append(ingresses, in)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	failed := make([]error, len(ingresses))
	for i, in := range ingresses {
		running.Go(func() {
			if err := in.Run(ctx); !errors.Is(err, context.Canceled) {
				failed[i] = err
			}
		})
	}
	return func() error {
		cancel()
		running.Wait()
		return errors.Join(failed...)
	}, nil
}

// readTenants reads the setting commands.
func (c *config) readTenants() error {
	setting := c.find("commands")
	if setting.value == "none" {
		return nil
	}
	for name := range strings.SplitSeq(setting.value, ",") {
		tenant := events.TenantID(strings.TrimSpace(name))
		if err := tenant.Validate(); err != nil {
			return setting.wrong(fmt.Sprintf("must be none or a comma-separated list of tenants: %v", err))
		}
		if !slices.Contains(c.tenants, tenant) {
			c.tenants = append(c.tenants, tenant)
		}
	}
	return nil
}
