package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas/world"
)

// seeded is what was generated.
type seeded struct {
	Events  int64               `json:"events,string"`
	Streams int                 `json:"streams"`
	Agents  int                 `json:"agents"`
	Bytes   uint64              `json:"bytes,string"` // on disk
	From    events.Micros       `json:"from,string"`  // time of the first event
	To      events.Micros       `json:"to,string"`    // and of the last
	Seconds float64             `json:"seconds"`
	Kinds   map[events.Kind]int `json:"kinds"`
}

type benchSeedFlags struct {
	dir      string
	agents   int
	events   int64
	seed     uint64
	asJSON   bool
	progress bool
}

func benchSeedCommand(a *app) *cobra.Command {
	var f benchSeedFlags
	cmd := &cobra.Command{
		Use:   "seed",
		Short: "Fill a data directory with a long generated history",
		Long: "Fill a new data directory with half a year of history of many agents: messages, turns of several rounds, parallel calls,\n" +
			"failures and retries, approvals that are granted, denied or expire, pauses, cancelled turns, hosts that stopped. Every\n" +
			"event is a decision of this build's sagas, so life verify accepts it; the behaviour of models, tools and people is generated,\n" +
			"and none of them is called. The same numbers always give the same history. It ends when all running turns have ended, shortly\n" +
			"after --events.",
		Example: "  life bench seed --agents 1000 --events 2000000 --dir seeded\n  life verify --all --data seeded",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.dir == "" || f.agents < 1 || f.agents > 10_000_000 || f.events < 1 {
				return usage("--dir must name the data directory to fill; --agents and --events must be at least 1")
			}
			m, err := a.benchSeed(cmd.Context(), &f)
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(m)
			}
			fmt.Fprintf(a.out, "%d events of %d agents in %d streams, %d bytes, from %s to %s, in %.1f s\n",
				m.Events, m.Agents, m.Streams, m.Bytes, clock(m.From), clock(m.To), m.Seconds)
			return nil
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "the data directory to fill; its store must be new")
	cmd.Flags().IntVar(&f.agents, "agents", 1000, "number of agents")
	cmd.Flags().Int64Var(&f.events, "events", 2_000_000, "approximate number of events")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the generated history")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// benchSeed generates on one goroutine and stores on another.
func (a *app) benchSeed(ctx context.Context, f *benchSeedFlags) (m seeded, err error) {
	begun := time.Now()
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(f.dir, stores.StoreName), Log: a.log})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if stats, err := store.Stats(ctx); err != nil || stats.Events > 0 {
		return m, errors.Join(err, coded("exists", "%s already holds %d events: name a new directory", f.dir, stats.Events))
	}
	shown := a.newMeter(f.progress)
	defer shown.done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	batches, failed := make(chan []events.Envelope, 2), make(chan error, 1)
	go func() {
		defer close(batches)
		failed <- generate(ctx, f, &m, batches)
	}()
	stored := int64(0)
	for batch := range batches {
		if err = store.Import(ctx, batch); err != nil {
			stop()
			break
		}
		stored += int64(len(batch))
		seconds := time.Since(begun).Seconds()
		shown.show("%d of %d events, %.0f%%, %.0f/s", stored, f.events, min(100, 100*float64(stored)/float64(f.events)), float64(stored)/seconds)
	}
	if err = errors.Join(err, <-failed); err != nil {
		return m, err
	}
	stats, err := store.Stats(ctx)
	m.Agents, m.Bytes, m.Seconds = f.agents, stats.Bytes, time.Since(begun).Seconds()
	return m, err
}

// generate hands out a history in batches that are stored whole.
func generate(ctx context.Context, f *benchSeedFlags, m *seeded, batches chan<- []events.Envelope) error {
	const size = 8000
	made := world.New(world.Config{Seed: f.seed, Agents: f.agents, Events: f.events})
	m.Kinds = map[events.Kind]int{}
	batch := make([]events.Envelope, 0, size+100)
	for {
		decided, err := made.Next()
		if err != nil {
			return err
		}
		for i := range decided {
			m.note(&decided[i])
		}
		batch = append(batch, decided...)
		if over := len(decided) == 0; !over && len(batch) < size {
			continue
		}
		select {
		case batches <- batch: // the store's from here on
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(decided) == 0 {
			return nil
		}
		batch = make([]events.Envelope, 0, size+100)
	}
}

func (m *seeded) note(e *events.Envelope) {
	if m.Events == 0 {
		m.From = e.Time
	}
	if e.Revision == 0 {
		m.Streams++
	}
	m.Events++
	m.To = e.Time
	m.Kinds[e.Kind]++
}
