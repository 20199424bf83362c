package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"example.com/life/events"
	"example.com/life/sagas"
)

// ClusterConfig says what is measured of a cluster, and for how long.
type ClusterConfig struct {
	Dir    string        // an empty directory, which it fills
	Runs   int           // each with a cluster of its own
	Agents int           // over three hosts
	Pause  time.Duration // for which a host is stopped
	Fence  time.Duration // the cluster's fencing delay
	Rates  time.Duration // for which commands are counted
	Idle   time.Duration // for which what an idle cluster stores is counted
	Events int           // of the long history
	Say    func(format string, args ...any)
}

// ClusterMeasured is what was measured of a cluster. Times of a fault are from the fault on; a command is measured until its answer, which says that what was
// decided is stored.
type ClusterMeasured struct {
	Runs   int `json:"runs"`
	Agents int `json:"agents"` // over three hosts

	KillP50    float64 `json:"kill_p50_ms"`   // of a killed host's agents the last answers elsewhere; the median run
	KillWorst  float64 `json:"kill_worst_ms"` // the worst run
	KillAgent  float64 `json:"kill_agent_p50_ms"`
	PauseP50   float64 `json:"pause_p50_ms"`
	PauseWorst float64 `json:"pause_worst_ms"`
	PauseAgent float64 `json:"pause_agent_p50_ms"`

	Effects int `json:"effects"`       // that ran around the stop
	Again   int `json:"effects_again"` // of these, those that were lost, and that the agent had again
	Stale   int `json:"stale_effects"`

	HandoverP50 float64 `json:"handover_p50_ms"` // the first command to each agent of a host that drains
	HandoverP99 float64 `json:"handover_p99_ms"`
	OthersP99   float64 `json:"others_p99_ms"` // commands to agents of hosts that nothing happened to, while it happened to another one
	Refused     int     `json:"refused"`       // commands, in all that was done
	Refusal     string  `json:"refusal,omitempty"`

	ForwardAdded    float64 `json:"forward_added_ms"` // by one hop, at the median
	ForwardedPerSec float64 `json:"forwarded_per_s"`  // of messages that the agents have taken already
	ForwardedCPU    float64 `json:"forwarded_cpu_us"` // of all hosts together, for each of these
	AskedPerSec     float64 `json:"asked_per_s"`      // calls to another host, which answers from memory
	AskedCPU        float64 `json:"asked_cpu_us"`
	TakeOvers       int     `json:"takeovers"`
	BusPerSec       float64 `json:"bus_per_s"`

	IdleSeconds float64 `json:"idle_s"`
	IdleEvents  int     `json:"idle_events"` // stored in that time

	LongEvents int     `json:"long_events"` // of an agent's history
	With       float64 `json:"activation_with_snapshot_ms"`
	Without    float64 `json:"activation_without_snapshot_ms"`
}

// run is what was measured in one run.
type run struct {
	kill, pause, handover, others []time.Duration
	effects, again, stale         int
	added, bus                    float64
	forwarded, asked              rated
	takeOvers                     int
}

const (
	sharedWallet = events.WalletID("bench-shared")
	spenders     = 12  // agents that share it
	spending     = 460 // messages to them
	busAgents    = 64
	busCommands  = 40 // to each
)

// Cluster measures three hosts on a store, all of them processes of their own.
func Cluster(ctx context.Context, c ClusterConfig) (m ClusterMeasured, err error) {
	life, err := Program()
	if err != nil {
		return m, err
	}
	m.Runs, m.Agents = c.Runs, c.Agents
	var (
		runs             []run
		refused          refusals
		with, without    []float64
		kills, pauses    []time.Duration // the last one of each run
		kill, pause      []time.Duration // all
		handover, others []time.Duration
	)
	for i := range c.Runs {
		r, err := c.run(ctx, life, i, &refused)
		if err != nil {
			return m, err
		}
		runs = append(runs, r)
		kills, pauses = append(kills, slices.Max(r.kill)), append(pauses, slices.Max(r.pause))
		kill, pause, handover, others = append(kill, r.kill...), append(pause, r.pause...), append(handover, r.handover...), append(others, r.others...)
		m.Effects, m.Again, m.Stale, m.TakeOvers = m.Effects+r.effects, m.Again+r.again, m.Stale+r.stale, m.TakeOvers+r.takeOvers
	}
	m.KillP50, m.KillWorst, m.KillAgent = quantile(kills, 0.5), quantile(kills, 1), quantile(kill, 0.5)
	m.PauseP50, m.PauseWorst, m.PauseAgent = quantile(pauses, 0.5), quantile(pauses, 1), quantile(pause, 0.5)
	m.HandoverP50, m.HandoverP99, m.OthersP99 = quantile(handover, 0.5), quantile(handover, 0.99), quantile(others, 0.99)
	m.ForwardAdded = median(runs, func(r run) float64 { return r.added })
	m.ForwardedPerSec = median(runs, func(r run) float64 { return r.forwarded.perSec })
	m.ForwardedCPU = median(runs, func(r run) float64 { return r.forwarded.cpu })
	m.AskedPerSec = median(runs, func(r run) float64 { return r.asked.perSec })
	m.AskedCPU = median(runs, func(r run) float64 { return r.asked.cpu })
	m.BusPerSec = median(runs, func(r run) float64 { return r.bus })
	if m.IdleEvents, with, without, err = c.calm(ctx, life, &refused); err != nil {
		return m, err
	}
	m.IdleSeconds, m.LongEvents = c.Idle.Seconds(), c.Events
	m.With, m.Without = median(with, same), median(without, same)
	m.Refused = int(refused.count.Load())
	if refused.first != nil {
		m.Refusal = refused.first.Error()
	}
	return m, nil
}

func same(f float64) float64 { return f }

// median is the one in the middle.
func median[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, one := range all {
		values = append(values, of(one))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// with has something done with a new cluster.
func (c *ClusterConfig) with(ctx context.Context, life, name string, use func(*hosts) error) error {
	dir := filepath.Join(c.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("create the benchmark's directory: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h, err := startHosts(ctx, dir, life, c.Fence, "bench-1", "bench-2", "bench-3")
	if err != nil {
		return err
	}
	return errors.Join(use(h), h.end(), os.RemoveAll(dir))
}

// run measures each fault and each rate once.
func (c *ClusterConfig) run(ctx context.Context, life string, number int, refused *refusals) (r run, err error) {
	say := func(what string) { c.Say("run %d of %d: %s", number+1, c.Runs, what) }
	err = c.with(ctx, life, "run-"+strconv.Itoa(number), func(h *hosts) error {
		say("agents are created")
		agents, acting, err := c.populate(ctx, h)
		if err != nil {
			return err
		}
		say("commands are forwarded")
		if r.added, err = h.measureAdded(ctx, agents[0], c.Rates); err != nil {
			return err
		}
		if r.forwarded, r.asked, err = h.measureForwarded(ctx, agents, c.Rates); err != nil {
			return err
		}
		say("agents share a wallet")
		if r.takeOvers, err = h.spend(ctx, refused); err != nil {
			return err
		}
		say("commands come on the bus")
		if r.bus, err = h.measureBus(ctx, agents[:min(len(agents), busAgents)], min(len(agents), busAgents)*busCommands); err != nil {
			return err
		}
		return c.faults(ctx, h, number, agents, acting, refused, &r, say)
	})
	return r, err
}

// faults has something happen to one host after the other.
func (c *ClusterConfig) faults(
	ctx context.Context, h *hosts, number int, agents, acting []events.AgentID, refused *refusals, r *run, say func(string),
) error {
	victim := func(i int) *host { return h.members[(number+i)%len(h.members)] }
	say("a host is killed")
	var others []time.Duration
	var err error
	if r.kill, others, err = h.measureKill(ctx, victim(0), agents, refused); err != nil {
		return fmt.Errorf("kill host %s: %w", victim(0).name, err)
	}
	r.others = append(r.others, others...)
	say("a host is stopped, and woken")
	p, err := h.measurePause(ctx, victim(1), agents, acting, c.Pause, refused)
	if err != nil {
		return fmt.Errorf("stop host %s: %w", victim(1).name, err)
	}
	r.pause, r.effects, r.again, r.stale, r.others = p.answered, p.effects, p.again, p.stale, append(r.others, p.others...)
	say("a host is drained")
	if r.handover, others, err = h.measureDrain(ctx, victim(2), agents, refused); err != nil {
		return fmt.Errorf("drain host %s: %w", victim(2).name, err)
	}
	r.others = append(r.others, others...)
	return nil
}

// agentConfig is that of an agent which a script plays.
func agentConfig(script string) events.AgentConfig {
	return events.AgentConfig{Model: "scripted/" + cmp.Or(script, "echo")}
}

// populate makes the agents: those that answer, and those that have effects.
func (c *ClusterConfig) populate(ctx context.Context, h *hosts) (agents, acting []events.AgentID, err error) {
	if err := os.WriteFile(filepath.Join(h.dir, scripts, "line.yaml"), []byte(lineScript), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write the benchmark's script: %w", err)
	}
	for i := range c.Agents {
		agents = append(agents, events.AgentID("bench-"+strconv.Itoa(i)))
	}
	for i := range min(effectCalls*4, c.Agents) { // some for each host
		agent := events.AgentID("bench-line-" + strconv.Itoa(i))
		if err := os.Mkdir(filepath.Join(h.dir, shared, string(agent)), 0o700); err != nil {
			return nil, nil, fmt.Errorf("create a workspace: %w", err)
		}
		acting = append(acting, agent)
	}
	if err := h.create(ctx, agents, func(events.AgentID) events.AgentConfig { return agentConfig("") }); err != nil {
		return nil, nil, err
	}
	return agents, acting, h.create(ctx, acting, func(agent events.AgentID) events.AgentConfig {
		config := agentConfig("line")
		config.Policy.OnLost = events.LostTell
		config.Tools, config.Workspace = []events.ToolGrant{{Name: "bash"}}, filepath.Join(h.dir, shared, string(agent))
		return config
	})
}

// spend has agents pay from one wallet.
func (h *hosts) spend(ctx context.Context, refused *refusals) (int, error) {
	open := sagas.OpenWallet{Meta: meta(), Wallet: sharedWallet, Credit: 1000 * events.Dollar}
	if _, err := h.members[0].client.Do(ctx, events.WalletStream(sharedWallet), open, origin()); err != nil {
		return 0, fmt.Errorf("open a wallet: %w", err)
	}
	var agents []events.AgentID
	for i := range spenders {
		agents = append(agents, events.AgentID("bench-spender-"+strconv.Itoa(i)))
	}
	if err := h.create(ctx, agents, func(events.AgentID) events.AgentConfig {
		config := agentConfig("")
		config.Wallet = sharedWallet
		return config
	}); err != nil {
		return 0, err
	}
	return h.measureTakeOvers(ctx, agents, spending, refused)
}

// calm measures what needs no other load: an idle cluster, and the activation of an agent with a long history.
func (c *ClusterConfig) calm(ctx context.Context, life string, refused *refusals) (idle int, with, without []float64, err error) {
	err = c.with(ctx, life, "calm", func(h *hosts) error {
		if _, _, err := c.populate(ctx, h); err != nil {
			return err
		}
		c.Say("an idle cluster, for %s", c.Idle)
		if idle, err = h.measureIdle(ctx, c.Idle); err != nil {
			return err
		}
		if err := h.grow(ctx, c.Events, refused, c.Say); err != nil {
			return err
		}
		for range c.Runs {
			for snapshot, all := range map[bool]*[]float64{true: &with, false: &without} {
				c.Say("an agent of %d events moves", c.Events)
				ms, err := h.measureActivation(ctx, snapshot)
				if err != nil {
					return err
				}
				*all = append(*all, ms)
			}
		}
		return nil
	})
	return idle, with, without, err
}
