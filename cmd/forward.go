package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/storage"
	"example.com/life/adapters/bus"
	"example.com/life/adapters/bus/jetstream"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

func forwardCommand(a *app) *cobra.Command {
	var to string
	var streams, kinds []string
	progress := false
	cmd := &cobra.Command{
		Use:   "forward NAME",
		Short: "Publish events to NATS JetStream as they are stored, until interrupted",
		Long: "Publish events to NATS JetStream, in order and as they are stored, until interrupted. The position is stored under NAME:\n" +
			"run again, it continues from there, and what was published shortly before a crash is published once more, with the same\n" +
			"Nats-Msg-Id. The subject of an event is PREFIX.STREAM.KIND. While life serve runs, no other process can read its data\n" +
			"directory; an EventStoreDB (--store) can be shared. docs/bus.md describes forwarding.",
		Example: "  life forward audit --to nats://127.0.0.1:4222/life\n  life forward turns --to nats://127.0.0.1:4222/life --streams agent- --kinds turn.",
		Args:    takes(1, 1, "a name for the forwarding"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forward(cmd.Context(), bus.ForwardConfig{Name: args[0], Streams: streams, Kinds: kinds, Log: a.log}, to, progress)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "destination, as nats://HOST:PORT/PREFIX")
	cmd.Flags().StringSliceVar(&streams, "streams", nil, "only events of streams whose name begins with one of these")
	cmd.Flags().StringSliceVar(&kinds, "kinds", nil, "only events whose kind begins with one of these")
	progressFlag(cmd, &progress)
	return cmd
}

// forward forwards until ctx ends, which is how it is meant to end.
func (a *app) forward(ctx context.Context, c bus.ForwardConfig, to string, progress bool) (err error) {
	if to == "" {
		return usage("name the destination with --to nats://HOST:PORT/PREFIX")
	}
	at := a.place()
	at.Patience, at.Server = stores.Forever, true
	journal, err := whenFree(ctx, a, heldTime, func() (stores.Journal, error) { return at.Open(ctx, a.log) })
	if err != nil {
		var held *embedded.HeldError
		if errors.As(err, &held) {
			return fmt.Errorf("%w; only one process at a time can read a data directory: keep events in an EventStoreDB (--store) to forward them while life serve runs", err)
		}
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	target, err := jetstream.Open(to, a.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	m := a.newMeter(progress)
	defer m.done()
	forwarded := int64(0)
	c.Journal, c.Publisher, c.Topic = storage.Journal(journal), target, target.Subject
	c.Forwarded = func(count int64, e events.Ref) {
		forwarded = count
		m.show("%d events forwarded, the last %s", count, e)
	}
	fmt.Fprintf(a.errs, "life: forwarding %s as %s\n", at, c.Name)
	began := time.Now()
	if err := bus.Forward(ctx, c); ctx.Err() == nil {
		return err
	}
	m.done()
	fmt.Fprintf(a.errs, "life: %d events forwarded in %s; the next run continues from here\n", forwarded, time.Since(began).Round(time.Second))
	return nil
}
