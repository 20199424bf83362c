package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/events"
)

// turnsMeasured is what was measured at one concurrency.
type turnsMeasured struct {
	Concurrency   int     `json:"concurrency"`
	Turns         int     `json:"turns"`
	Seconds       float64 `json:"seconds"`
	TurnsPerSec   float64 `json:"turns_per_s"`
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	Max           float64 `json:"max_ms"`
	AllocsPerTurn float64 `json:"allocs_per_turn"`
	HeapPerTurn   float64 `json:"heap_bytes_per_turn"`       // allocated, not kept
	BytesPerTurn  float64 `json:"bytes_per_turn,omitempty"`  // on disk, snapshots included, once the log is in tables; of an embedded store
	EventsPerTurn float64 `json:"events_per_turn,omitempty"` // of the agent, its wallet and everything else; of an embedded store
}

type turnsFlags struct {
	concurrency []int
	turns       int
	duration    time.Duration
	warmUp      time.Duration
	dir         string
	cpuProfile  string
	asJSON      bool
}

func benchTurnsCommand(a *app) *cobra.Command {
	var f turnsFlags
	cmd := &cobra.Command{
		Use:   "turns",
		Short: "Measure turns: throughput, latency and cost",
		Long: "Measure turns of two rounds with one tool call: a scripted model, a tool in this process, the embedded store with fsync, a\n" +
			"wallet that pays. Each worker has its own agent and sends the next message when its turn has ended. Each concurrency\n" +
			"gets a new store in a temporary directory, which is removed afterwards. With --store, measure turns on that EventStoreDB\n" +
			"instead: the new agents and the new wallet stay in it, other agents are not touched, and projections are not kept up to date.",
		Example: "  life bench turns --json\n  life bench turns --concurrency 64 --duration 10s --dir /mnt/fast\n  life bench turns --store esdb://db.example:2113",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.turns < 0 || f.duration <= 0 || f.warmUp < 0 || len(f.concurrency) == 0 || slices.Min(f.concurrency) < 1 || slices.Max(f.concurrency) > 10_000 {
				return usage("--concurrency must be from 1 to 10000, and --turns and --duration positive")
			}
			if !a.place().Embedded() && f.dir != "" {
				return usage("--dir applies only to stores that the benchmark creates itself")
			}
			for i, concurrency := range f.concurrency {
				measured, err := a.measureTurns(cmd.Context(), concurrency, &f)
				if err != nil {
					return err
				}
				if err := a.printTurns(measured, i == 0, f.asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntSliceVar(&f.concurrency, "concurrency", []int{1, 8, 64}, "numbers of concurrent workers")
	cmd.Flags().IntVar(&f.turns, "turns", 0, "number of turns to measure (default: as many as fit the duration)")
	cmd.Flags().DurationVar(&f.duration, "duration", 5*time.Second, "longest time to measure")
	cmd.Flags().DurationVar(&f.warmUp, "warm-up", time.Second, "how long to run before measuring")
	cmd.Flags().StringVar(&f.cpuProfile, "cpu-profile", "", "file for a CPU profile of the measurement, for go tool pprof; with several concurrencies, of the last one")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for the store, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

func (a *app) printTurns(m turnsMeasured, first, asJSON bool) error {
	if asJSON {
		return a.printJSON(m)
	}
	if first {
		fmt.Fprintln(a.out, "workers   turns/s    p50 ms    p99 ms  allocs/turn  bytes/turn")
	}
	bytes := "-"
	if m.BytesPerTurn > 0 {
		bytes = fmt.Sprintf("%.0f", m.BytesPerTurn)
	}
	fmt.Fprintf(a.out, "%7d %9.0f %9.3f %9.3f %12.0f %11s\n", m.Concurrency, m.TurnsPerSec, m.P50, m.P99, m.AllocsPerTurn, bytes)
	return nil
}

func (a *app) measureTurns(ctx context.Context, concurrency int, f *turnsFlags) (m turnsMeasured, err error) {
	at := a.place()
	if at.Data, err = benchDir(f.dir); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at.Data)) }()
	r, err := newRigAt(ctx, at, -1)
	if err != nil {
		return m, err
	}
	m, total, err := r.measure(ctx, concurrency, f)
	if !at.Embedded() { // how much it has on disk is not seen from here
		return m, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	stats, statsErr := r.Store.Stats(ctx)
	if err = errors.Join(err, statsErr, r.Close(context.WithoutCancel(ctx))); err != nil {
		return m, err
	}
	bytes, err := storedBytes(ctx, at.Data)
	m.BytesPerTurn, m.EventsPerTurn = float64(bytes)/float64(total), float64(stats.Events)/float64(total)
	return m, err
}

// measure warms up and then measures. total counts the turns of both.
func (r *rig) measure(ctx context.Context, concurrency int, f *turnsFlags) (m turnsMeasured, total int64, err error) {
	agents := make([]events.AgentID, concurrency)
	for i := range agents {
		agents[i] = events.AgentID(r.prefix + strconv.Itoa(i))
		if err := r.agent(ctx, agents[i]); err != nil {
			return m, 0, err
		}
	}
	warm, err := r.load(ctx, agents, 0, f.warmUp)
	if err != nil {
		return m, 0, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	profiled, err := profile(f.cpuProfile)
	if err != nil {
		return m, 0, err
	}
	times, err := r.load(ctx, agents, f.turns, f.duration)
	seconds := time.Since(begun).Seconds()
	runtime.ReadMemStats(&after)
	if err = errors.Join(err, profiled()); err != nil || len(times) == 0 {
		return m, 0, cmp.Or(err, errors.New("no turn was measured: set a longer --duration"))
	}
	slices.Sort(times)
	n := float64(len(times))
	m = turnsMeasured{
		Concurrency: concurrency, Turns: len(times), Seconds: seconds, TurnsPerSec: n / seconds,
		P50: quantile(times, 0.50), P99: quantile(times, 0.99), Max: quantile(times, 1),
		AllocsPerTurn: float64(after.Mallocs-before.Mallocs) / n, HeapPerTurn: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}
	return m, int64(len(warm) + len(times)), nil
}

// profile writes a CPU profile to a file, if one is named, until the function that it returns is called.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("write CPU profile: %w", err), file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// load has every agent do turns, until most were begun (0: no limit) or the time is over. It returns how long each took.
func (r *rig) load(ctx context.Context, agents []events.AgentID, most int, during time.Duration) ([]time.Duration, error) {
	var (
		workers  sync.WaitGroup
		began    atomic.Int64
		times    = make([][]time.Duration, len(agents))
		failures = make([]error, len(agents))
		until    = time.Now().Add(during)
	)
	more := func() bool {
		return time.Now().Before(until) && ctx.Err() == nil && (began.Add(1) <= int64(most) || most == 0)
	}
	for i, agent := range agents {
		workers.Go(func() {
			failures[i] = r.turns(ctx, agent, more, func(d time.Duration) { times[i] = append(times[i], d) })
		})
	}
	workers.Wait()
	return slices.Concat(times...), errors.Join(append(failures, ctx.Err())...)
}

// quantile is in milliseconds; times are sorted.
func quantile(times []time.Duration, q float64) float64 {
	return float64(times[int(q*float64(len(times)-1))].Nanoseconds()) / 1e6
}
