package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// activationMeasured is how long an agent takes to come to life.
type activationMeasured struct {
	Events   int64   `json:"events,string"`
	With     float64 `json:"with_snapshot_ms"`
	Without  float64 `json:"without_snapshot_ms"`
	Snapshot int     `json:"snapshot_bytes"`
}

func benchActivationCommand(a *app) *cobra.Command {
	store, count, asJSON, progress := "", 100_000, false, false
	cmd := &cobra.Command{
		Use:   "activation",
		Short: "Measure how long it takes to activate an agent with a long history",
		Long: "Give an agent a history of --events events by running turns, and measure how long it takes to activate: from a snapshot, and\n" +
			"from its whole history. The times are medians of five runs.",
		Example: "  life bench activation --events 100000 --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 {
				return usage("--events is %d: it must be positive", count)
			}
			shown := a.newMeter(progress)
			defer shown.done()
			m, err := measureActivation(cmd.Context(), store, int64(count), shown)
			shown.done()
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(m)
			}
			fmt.Fprintf(a.out, "%d events: %.2f ms from a snapshot of %d bytes, %.2f ms without\n", m.Events, m.With, m.Snapshot, m.Without)
			return nil
		},
	}
	cmd.Flags().IntVar(&count, "events", count, "length of the history")
	cmd.Flags().StringVar(&store, "dir", "", "directory for the store, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

const longAgent events.AgentID = "long"

func measureActivation(ctx context.Context, dir string, count int64, shown *meter) (m activationMeasured, err error) {
	r, err := tempRig(ctx, dir, -1)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, r.discard(ctx)) }()
	if err := r.agent(ctx, longAgent); err != nil {
		return m, err
	}
	stream := events.AgentStream(longAgent)
	for m.Events < count {
		turns := 0
		more := func() bool { turns++; return turns <= 100 && ctx.Err() == nil }
		if err := r.turns(ctx, longAgent, more, func(time.Duration) {}); err != nil {
			return m, err
		}
		page, err := r.History(ctx, stream, 1<<62, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			return m, errors.Join(err, ctx.Err())
		}
		m.Events = int64(page.Last) + 1
		shown.show("%d of %d events stored", m.Events, count)
	}
	if m.With, err = r.activate(ctx, r.Store); err != nil {
		return m, err
	}
	snapshot, _, err := r.Store.Load(ctx, history.AgentFold().Name, stream, 1<<62)
	if err != nil {
		return m, err
	}
	m.Snapshot = len(snapshot.State)
	m.Without, err = r.activate(ctx, forgetful{})
	return m, err
}

// activate has the agent come to life in a new host, some times, and returns the median time in milliseconds.
func (r *rig) activate(ctx context.Context, snapshots storage.Snapshots) (float64, error) {
	var times []time.Duration
	for range 5 {
		if err := r.Host.Close(context.WithoutCancel(ctx)); err != nil {
			return 0, err
		}
		conf := r.conf
		conf.Journal, conf.Blobs, conf.Snapshots, conf.Resting = r.Store, r.Blobs, snapshots, true
		host, err := actors.New(ctx, conf)
		if err != nil {
			return 0, err
		}
		r.Host = host
		begun := time.Now()
		// There is nothing to cancel, and finding that out takes the agent's whole state.
		_, err = host.Do(ctx, events.AgentStream(longAgent), sagas.Cancel{Meta: newMeta("")}, actors.Origin{Actor: "bench"})
		var refusal *sagas.RefusalError
		if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedState {
			return 0, fmt.Errorf("the agent did not become idle: %w", err)
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return quantile(times, 0.5), nil
}

// forgetful keeps no snapshots.
type forgetful struct{}

func (forgetful) Load(context.Context, string, events.Stream, events.Revision) (storage.Snapshot, bool, error) {
	return storage.Snapshot{}, false, nil
}

func (forgetful) Save(context.Context, string, events.Stream, storage.Snapshot) error { return nil }

func (forgetful) Drop(context.Context, string, events.Stream, events.Revision) error { return nil }
