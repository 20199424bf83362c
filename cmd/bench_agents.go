package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/events"
)

// agentsMeasured is what many agents cost.
type agentsMeasured struct {
	Agents        int     `json:"agents"`
	CreatedPerSec float64 `json:"created_per_s"`
	PerIdleAgent  float64 `json:"bytes_per_idle_agent"` // heap and stacks, once it has left memory
	LiveAgents    int     `json:"live_agents"`
	PerLiveAgent  float64 `json:"bytes_per_live_agent"` // of an agent in memory that has done a turn
}

// liveAgents is how many agents are kept in memory to measure what one takes.
const liveAgents = 1000

// idleAfter is how soon an agent leaves memory while its memory is measured.
const idleAfter = 200 * time.Millisecond

func benchAgentsCommand(a *app) *cobra.Command {
	store, asJSON, progress := "", false, false
	cmd := &cobra.Command{
		Use:     "agents N",
		Short:   "Measure the memory of many agents, idle and active",
		Long:    "Create N agents, let them be passivated, and measure the memory that each idle agent takes, and that each active one takes.",
		Example: "  life bench agents 100000 --json",
		Args:    takes(1, 1, "a number of agents"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 || n > 10_000_000 {
				return usage("the number of agents is %q: it must be from 1 to 10000000", args[0])
			}
			m := agentsMeasured{Agents: n, LiveAgents: min(n, liveAgents)}
			ctx := cmd.Context()
			shown := a.newMeter(progress)
			defer shown.done()
			if err := m.idle(ctx, store, shown); err != nil {
				return err
			}
			if err := m.live(ctx, store); err != nil {
				return err
			}
			shown.done()
			if asJSON {
				return a.printJSON(m)
			}
			fmt.Fprintf(a.out, "%d agents created, %.0f/s\n"+
				"%.0f bytes for each idle agent\n"+
				"%.0f bytes for each of %d active agents\n",
				m.Agents, m.CreatedPerSec, m.PerIdleAgent, m.PerLiveAgent, m.LiveAgents)
			return nil
		},
	}
	cmd.Flags().StringVar(&store, "dir", "", "directory for the store, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

// idle makes the agents, lets them leave memory and measures what stays.
func (m *agentsMeasured) idle(ctx context.Context, store string, shown *meter) (err error) {
	r, err := tempRig(ctx, store, idleAfter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.discard(ctx)) }()
	before := heap()
	begun := time.Now()
	if err := r.many(ctx, m.Agents, shown, func(id events.AgentID) error { return r.agent(ctx, id) }); err != nil {
		return err
	}
	m.CreatedPerSec = float64(m.Agents) / time.Since(begun).Seconds()
	// Each leaves after idleAfter and up to a quarter more.
	after, err := settledHeap(ctx, 4*idleAfter)
	m.PerIdleAgent = (float64(after) - float64(before)) / float64(m.Agents)
	return err
}

// settledHeap waits until the heap has stopped shrinking.
func settledHeap(ctx context.Context, pause time.Duration) (uint64, error) {
	least := heap()
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
		now := heap()
		if now >= least-least/100 {
			return min(now, least), nil
		}
		least = now
	}
}

// live keeps agents in memory, each after a turn, and measures what they take.
func (m *agentsMeasured) live(ctx context.Context, store string) (err error) {
	r, err := tempRig(ctx, store, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.discard(ctx)) }()
	before := heap()
	err = r.many(ctx, m.LiveAgents, &meter{}, func(id events.AgentID) error {
		if err := r.agent(ctx, id); err != nil {
			return err
		}
		turns := 0
		return r.turns(ctx, id, func() bool { turns++; return turns == 1 }, func(time.Duration) {})
	})
	m.PerLiveAgent = (float64(heap()) - float64(before)) / float64(m.LiveAgents)
	return err
}

func tempRig(ctx context.Context, store string, idle time.Duration) (*rig, error) {
	dir, err := benchDir(store)
	if err != nil {
		return nil, err
	}
	return newRig(ctx, dir, idle)
}

// many does something for n agents, many at a time.
func (r *rig) many(ctx context.Context, n int, shown *meter, do func(events.AgentID) error) error {
	var (
		workers sync.WaitGroup
		next    atomic.Int64
		once    sync.Once
		failed  error
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range min(n, 64) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				if err := do(events.AgentID("a" + strconv.FormatInt(i, 10))); err != nil {
					once.Do(func() { failed = err })
					stop()
				}
				if i%1000 == 0 {
					shown.show("%d of %d agents created", i, n)
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(failed, ctx.Err())
}
