package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/bus"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

// carryOut has the host carry out the commands on the bus, for the tenants of the setting commands, until the returned function is
// called. EventStoreDB's own consumer groups have one host at a time take them, in a cluster their owner; the embedded store has one host.
func (a *app) carryOut(ctx context.Context, host *stores.Local) (stop func() error, err error) {
	groups, shared := host.Journal.(bus.Groups)
	if !shared {
		if groups, err = bus.NewLocalGroups(bus.FeedConfig{Journal: host.Journal, Log: a.log}); err != nil {
			return nil, err
		}
	}
	var ingresses []*bus.Ingress
	for _, tenant := range a.config.tenants {
		c := bus.IngressConfig{Commands: host, Journal: host.Journal, Groups: groups, Tenant: tenant, Log: a.log}
		if member := host.Member(); member != nil {
			c.Member = member
		}
		in, err := bus.NewIngress(c)
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

// The ways of a message to its agent.
const (
	viaHost = "host" // which answers when it is stored in the agent's history
	viaBus  = "bus"  // where it waits for a host
)

// checkVia checks the flag --via.
func checkVia(via string) (throughBus bool, err error) {
	if via != viaHost && via != viaBus {
		return false, usage("--via is %q, want %s or %s", via, viaHost, viaBus)
	}
	return via == viaBus, nil
}

// replyLook is how often the stream of replies is looked at.
const replyLook = 100 * time.Millisecond

// sendOnBus publishes a message on the bus, as any program may, and prints the command's id; with --wait also what became of it.
func (f *waitFlags) sendOnBus(a *app, cmd *cobra.Command, agent events.AgentID, message sagas.Send) error {
	ctx := cmd.Context()
	return a.with(ctx, func(host reached) error {
		if host.here && f.wait {
			return usage("no life serve is running on this store, so there would be no reply: start one, or leave out --wait")
		}
		command := bus.Command{Stream: events.AgentStream(agent), Command: message}
		kind, data, err := command.Encode()
		if err != nil {
			return err
		}
		replies := events.Stream(bus.ReplyTopic(sagas.DefaultTenant))
		before, err := host.History(ctx, replies, 1<<62, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			return err
		}
		id := newMeta(f.id).ID
		if err := host.Publish(ctx, sagas.DefaultTenant, api.BusCommand{ID: id, Type: kind, Data: data}, origin()); err != nil {
			return err
		}
		if !f.wait {
			return a.printPublished(id, host.here, f.show.asJSON)
		}
		from := before.Last + 1
		if f.id != "" {
			from = 0 // it may have been sent and answered before
		}
		answer, err := awaitReply(ctx, host, replies, from, func(answer bus.Reply, published events.Ref) (bool, error) {
			if answer.Command != id || from > 0 {
				return answer.Command == id, nil
			}
			return isAnswerTo(ctx, host, published, command)
		})
		if err != nil {
			return err
		}
		return a.printReply(answer, f.show.asJSON)
	})
}

func (a *app) printPublished(id events.CommandID, here, asJSON bool) error {
	topic := bus.CommandTopic(sagas.DefaultTenant)
	if asJSON {
		return a.printJSON(map[string]string{"command": string(id), "topic": topic})
	}
	fmt.Fprintf(a.out, "published: command %s in %s\n", id, topic)
	if here {
		fmt.Fprintln(a.errs, "it is executed when life serve runs")
	}
	return nil
}

// isAnswerTo reports whether the event that was answered is a command: another one may have been sent under the same id.
func isAnswerTo(ctx context.Context, host api.Host, published events.Ref, command bus.Command) (bool, error) {
	stream, revision, err := published.Split()
	if err != nil {
		return false, fmt.Errorf("find the command that was answered: %w", err)
	}
	page, err := host.History(ctx, stream, revision, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return false, err
	}
	sent, err := bus.Decode(string(page.Events[0].Kind), page.Events[0].Data)
	return err == nil && reflect.DeepEqual(sent, command), nil
}

// awaitReply waits for the outcome of a command, among the replies from a revision on.
func awaitReply(
	ctx context.Context, host api.Host, replies events.Stream, from events.Revision, wanted func(bus.Reply, events.Ref) (bool, error),
) (bus.Reply, error) {
	for {
		page, err := host.History(ctx, replies, from, storage.Forward, storage.Limit{})
		if err != nil {
			return bus.Reply{}, err
		}
		for i := range page.Events {
			from = page.Events[i].Revision + 1
			var answer bus.Reply
			if json.Unmarshal(page.Events[i].Data, &answer) != nil {
				continue
			}
			if found, err := wanted(answer, page.Events[i].Causation); found || err != nil {
				return answer, err
			}
		}
		if !page.End {
			continue
		}
		select {
		case <-ctx.Done():
			return bus.Reply{}, fmt.Errorf("wait for the outcome of the command: %w", ctx.Err())
		case <-time.After(replyLook):
		}
	}
}

// printReply prints an outcome as the host's own answer is printed; what was not accepted is an error.
func (a *app) printReply(answer bus.Reply, asJSON bool) error {
	switch {
	case asJSON:
		if err := a.printJSON(answer); err != nil || answer.Receipt != nil {
			return err
		}
	case answer.Receipt != nil:
		return a.printReceipt(*answer.Receipt, false)
	}
	if answer.Code == "" {
		return &exit{exitError, coded("poisoned", "the command is poisoned: %s; life commands poisoned list shows it", answer.Detail)}
	}
	return &exit{exitError, coded(answer.Code, "refused: %s", answer.Detail)}
}
