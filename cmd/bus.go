package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/life/adapters/bus"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// carryOut has the host carry out the commands on the bus, for the tenants of the setting commands, until the returned function is
// called. EventStoreDB's own consumer groups share them among all hosts; the embedded store has one host.
func (a *app) carryOut(ctx context.Context, host *stores.Local) (stop func() error, err error) {
	groups, shared := host.Journal.(bus.Groups)
	if !shared {
		if groups, err = bus.NewLocalGroups(bus.FeedConfig{Journal: host.Journal, Log: a.log}); err != nil {
			return nil, err
		}
	}
	var ingresses []*bus.Ingress
	for _, tenant := range a.config.tenants {
		in, err := bus.NewIngress(bus.IngressConfig{Commands: host, Journal: host.Journal, Groups: groups, Tenant: tenant, Log: a.log})
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
