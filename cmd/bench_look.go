package cmd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/projections"
)

// lookMeasured is how long looking at random moments took, in milliseconds.
type lookMeasured struct {
	Looks  int        `json:"looks"` // of each round
	Agents int        `json:"agents"`
	First  lookedTime `json:"first"` // where nobody had looked, perhaps
	Then   lookedTime `json:"then"`  // at other moments of the same histories
}

type lookedTime struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

type benchLookFlags struct {
	agent  string
	looks  int
	seed   uint64
	asJSON bool
}

func benchLookCommand(a *app) *cobra.Command {
	var f benchLookFlags
	cmd := &cobra.Command{
		Use:   "look",
		Short: "Measure how long it takes to inspect past states",
		Long: "Inspect random agents of a data directory at random moments of their histories, as life state --at does, and measure how long it\n" +
			"takes: in a first round, and in a second round at other moments, when snapshots exist along the way. If life serve runs, it is\n" +
			"queried over HTTP.",
		Example: "  life bench seed --agents 1000 --events 2000000 --dir seeded\n  life bench look --data seeded --looks 2000",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.looks < 1 {
				return usage("--looks is %d: it must be positive", f.looks)
			}
			if err := stores.Openable(a.place()); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				m, err := a.benchLook(cmd.Context(), host, &f)
				if err != nil {
					return err
				}
				if f.asJSON {
					return a.printJSON(m)
				}
				fmt.Fprintf(a.out, "%d inspections of %d agents: first round p50 %.2f ms, p99 %.2f ms, max %.2f ms; second round p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
					m.Looks, m.Agents, m.First.P50, m.First.P99, m.First.Max, m.Then.P50, m.Then.P99, m.Then.Max)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&f.agent, "agent", "", "inspect only this agent")
	cmd.Flags().IntVar(&f.looks, "looks", 1000, "inspections per round")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the random moments")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

func (a *app) benchLook(ctx context.Context, host reached, f *benchLookFlags) (m lookMeasured, err error) {
	list, err := host.Agents(ctx, projections.AgentFilter{Agent: events.AgentID(f.agent)})
	if err != nil {
		return m, err
	}
	if len(list) == 0 {
		return m, coded("not_found", "there is no such agent")
	}
	shown := a.newMeter(false)
	defer shown.done()
	m.Looks, m.Agents = f.looks, len(list)
	random := rand.New(rand.NewPCG(f.seed, 0)) //nolint:gosec // which moments is no secret
	round := func() (lookedTime, error) {
		times := make([]time.Duration, 0, f.looks)
		for len(times) < f.looks {
			agent := &list[random.IntN(len(list))]
			at := events.Revision(random.Int64N(int64(agent.Revision) + 1))
			begun := time.Now()
			if _, err := host.State(ctx, agent.ID, at); err != nil {
				return lookedTime{}, err
			}
			times = append(times, time.Since(begun))
			shown.show("%d looks", len(times))
		}
		slices.Sort(times)
		return lookedTime{quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1)}, nil
	}
	if m.First, err = round(); err != nil {
		return m, err
	}
	m.Then, err = round()
	return m, err
}
