package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	known "example.com/life/adapters/providers/models"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/secrets"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

func benchCommand(a *app) *cobra.Command {
	return group("bench", "Benchmark this machine", "  life bench turns --json\n  life bench agents 100000\n  life bench store",
		benchTurnsCommand(a), benchStoreCommand(a), benchLookCommand(a), storeless(aboutOwn, benchAgentsCommand(a)),
		storeless(aboutOwn, benchActivationCommand(a)), storeless(aboutOwn, benchKnowledgeCommand(a)), storeless(aboutOwn, benchSeedCommand(a)), storeless(aboutOwn, benchSandboxCommand(a)),
		storeless(aboutOwn, benchClusterCommand(a)))
}

// rig is a host in a directory of its own, with the scripted model and nothing else.
type rig struct {
	dir    string
	conf   actors.Config
	prefix string          // of the names of agents
	wallet events.WalletID // that pays for their turns
	*stores.Local
}

// benchDir is a new directory below the one that was named, or in the usual place for temporary files.
func benchDir(under string) (string, error) {
	if under != "" {
		var err error
		if under, err = filepath.Abs(under); err != nil {
			return "", err
		}
		if err := os.MkdirAll(under, 0o700); err != nil {
			return "", fmt.Errorf("create the benchmark's directory: %w", err)
		}
	}
	return os.MkdirTemp(under, "life-bench-")
}

// newRig starts a host with a new store in a directory.
func newRig(ctx context.Context, dir string, idle time.Duration) (*rig, error) {
	return newRigAt(ctx, stores.Location{Data: dir}, idle)
}

// newRigAt starts a host on a place. A store at an address may be somebody's: what else is in it is left alone, and what the benchmark
// stores has names of its own.
func newRigAt(ctx context.Context, at stores.Location, idle time.Duration) (*rig, error) {
	models, err := providers.New(providers.Config{})
	if err != nil {
		return nil, err
	}
	prices, err := known.Load("", "")
	if err != nil {
		return nil, err
	}
	masker, err := secrets.New([]secrets.Known{{Name: "BENCH", Value: uuid.NewString()}}) // as a host has that knows a key
	if err != nil {
		return nil, err
	}
	conf := actors.Config{Models: models, Prices: prices, Masker: masker, Idle: idle, OpeningCredit: benchCredit, Resting: !at.Embedded()}
	l, err := stores.OpenHost(ctx, at, conf)
	if err != nil {
		return nil, err
	}
	r := &rig{dir: at.Data, conf: conf, prefix: "bench-", Local: l}
	if at.Embedded() {
		return r, nil
	}
	r.prefix += uuid.NewString()[:8] + "-"
	r.wallet = events.WalletID(r.prefix + "wallet")
	open := sagas.OpenWallet{Meta: newMeta(""), Wallet: r.wallet, Credit: benchCredit}
	if _, err := r.Do(ctx, events.WalletStream(r.wallet), open, actors.Origin{Actor: "bench"}); err != nil {
		return nil, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

// benchCredit pays for as many turns as a benchmark does.
const benchCredit = 1_000_000 * events.Dollar

// discard closes the rig and removes what it stored.
func (r *rig) discard(ctx context.Context) error {
	return errors.Join(r.Close(context.WithoutCancel(ctx)), os.RemoveAll(r.dir))
}

// agent makes an agent that does the benchmark's turn: two rounds, one call of echo.
func (r *rig) agent(ctx context.Context, id events.AgentID) error {
	_, err := r.Do(ctx, events.AgentStream(id), sagas.Create{
		Meta: newMeta(""), Agent: id,
		Config: events.AgentConfig{Model: "scripted/bench", Tools: grants("echo"), Wallet: r.wallet},
	}, actors.Origin{Actor: "bench"})
	return err
}

// turns sends messages to an agent, each when the turn before has ended, until more says no. It hands each turn's time to took.
func (r *rig) turns(ctx context.Context, id events.AgentID, more func() bool, took func(time.Duration)) error {
	stream, ended := events.AgentStream(id), events.TurnEnded{}.Kind()
	page, err := r.History(ctx, stream, 1<<62, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return err
	}
	feed, err := r.Watch(ctx, id, page.Last) // the ends of earlier turns are not waited for again
	if err != nil {
		return err
	}
	defer feed.Close()
	for more() {
		begun := time.Now()
		send := sagas.Send{Meta: newMeta(""), Verb: events.Collect, Text: events.Text{Inline: "Call the tool once, then say that you are done."}}
		if _, err := r.Do(ctx, stream, send, actors.Origin{Actor: "bench"}); err != nil {
			return err
		}
		for item := (actors.Item{}); item.Event == nil || item.Event.Kind != ended; {
			if item, err = feed.Next(ctx); err != nil {
				return err
			}
		}
		took(time.Since(begun))
	}
	return nil
}

// storedBytes is what a store has on disk once its log has been turned into tables: opening it again does that.
func storedBytes(ctx context.Context, data string) (bytes uint64, err error) {
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(data, stores.StoreName)})
	if err != nil {
		return 0, err
	}
	stats, err := store.Stats(ctx)
	return stats.Bytes, errors.Join(err, store.Close())
}

// heap is how much memory is in use by what can be reached.
func heap() (bytes uint64) {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// sandboxMeasured is how long it takes to run a program that does nothing.
type sandboxMeasured struct {
	Level    string   `json:"level"`
	Runs     int      `json:"runs"`
	P50      float64  `json:"p50_ms"`
	P95      float64  `json:"p95_ms"`
	PlainP50 float64  `json:"plain_p50_ms"`           // without a sandbox, as any program starts another
	BwrapP50 *float64 `json:"bwrap_p50_ms,omitempty"` // in bubblewrap, where it is installed
}

func benchSandboxCommand(a *app) *cobra.Command {
	runs, asJSON := 0, false
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Measure how long a command takes to start in the sandbox",
		Long: "Run a program that does nothing: in the sandbox, without one, and in bubblewrap where it is installed, in turn. The difference is what the\n" +
			"sandbox costs each command of an agent.",
		Example: "  life bench sandbox\n  life bench sandbox --runs 50 --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if runs < 1 || runs > 100_000 {
				return usage("--runs must be from 1 to 100000")
			}
			m, err := a.measureSandbox(cmd.Context(), runs)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(m)
			}
			fmt.Fprintf(a.out, "level %s: p50 %.2f ms, p95 %.2f ms; without a sandbox p50 %.2f ms", m.Level, m.P50, m.P95, m.PlainP50)
			if m.BwrapP50 != nil {
				fmt.Fprintf(a.out, "; in bubblewrap p50 %.2f ms", *m.BwrapP50)
			}
			fmt.Fprintln(a.out)
			return nil
		},
	}
	cmd.Flags().IntVar(&runs, "runs", 200, "how often each is run")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// measureSandbox runs the ways in turn, so that what else the machine does meets them alike.
func (a *app) measureSandbox(ctx context.Context, runs int) (m sandboxMeasured, err error) {
	const nothing = "/bin/true"
	dir, err := benchDir("")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	commands, err := sandbox.New(a.config.sandbox)
	if err != nil {
		return m, err
	}
	defer commands.Close()
	confined := sandbox.Command{Path: nothing, Workspace: filepath.Join(dir, "workspace"), Home: filepath.Join(dir, "home"), Temp: filepath.Join(dir, "tmp")}
	if err := os.Mkdir(confined.Workspace, 0o700); err != nil {
		return m, err
	}
	ways := []func() error{
		func() error { _, err := commands.Run(ctx, confined); return err },
		func() error { return exec.CommandContext(ctx, nothing).Run() },
	}
	if bwrap, err := exec.LookPath("bwrap"); err == nil {
		ways = append(ways, func() error {
			return exec.CommandContext(ctx, bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", dir, dir, nothing).Run()
		})
	}
	took := make([][]float64, len(ways))
	for range runs {
		for i, way := range ways {
			begun := time.Now()
			if err := way(); err != nil {
				return m, err
			}
			took[i] = append(took[i], time.Since(begun).Seconds()*1000)
		}
	}
	for _, all := range took {
		slices.Sort(all)
	}
	m = sandboxMeasured{Level: commands.Probe(ctx).Level.String(), Runs: runs, P50: took[0][runs/2], P95: took[0][runs*95/100], PlainP50: took[1][runs/2]}
	if len(took) > 2 {
		m.BwrapP50 = &took[2][runs/2]
	}
	return m, nil
}

func benchClusterCommand(a *app) *cobra.Command {
	dir, quick, asJSON, progress := "", false, false, false
	c := bench.ClusterConfig{}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Measure three hosts on one store: faults, hand-over, forwarding",
		Long: "Start life store serve and three life serve --cluster on this machine, and measure what happens to their agents when a host is killed, stopped\n" +
			"for a while, or drained; what it costs to send a command to another host; and what an idle cluster does. Everything is in a temporary\n" +
			"directory, which is removed afterwards. Each run has a new cluster; the result is the median run, the worst one where its name says so, and\n" +
			"the sum of what is counted. docs/cluster.md explains the fields. --quick measures all of it in a minute, with less certainty.",
		Example: "  life bench cluster --json\n  life bench cluster --quick",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if quick {
				c = quicker(cmd, c)
			}
			if c.Runs < 1 || c.Agents < 3 || c.Agents > 10_000 || c.Pause <= 0 || c.Fence < time.Second || c.Rates <= 0 || c.Idle <= 0 || c.Events < 1 {
				return usage("--runs and --events must be at least 1, --agents from 3 to 10000, --fence at least 1s, and --pause, --rates and --idle positive")
			}
			shown := a.newMeter(progress)
			defer shown.done()
			if c.Dir, err = benchDir(dir); err != nil {
				return err
			}
			c.Say = shown.show
			m, err := bench.Cluster(cmd.Context(), c)
			if err = errors.Join(err, os.RemoveAll(c.Dir)); err != nil {
				return err
			}
			shown.done()
			if asJSON {
				return a.printJSON(m)
			}
			return a.printClusterMeasured(&m)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&c.Runs, "runs", 5, "number of runs")
	flags.IntVar(&c.Agents, "agents", 300, "number of agents, over the three hosts")
	flags.DurationVar(&c.Pause, "pause", 5*time.Second, "how long a host is stopped")
	flags.DurationVar(&c.Fence, "fence", 5*time.Second, "the cluster's fencing delay")
	flags.DurationVar(&c.Rates, "rates", 2*time.Second, "how long each rate is measured")
	flags.DurationVar(&c.Idle, "idle", time.Minute, "how long the idle cluster is watched")
	flags.IntVar(&c.Events, "events", 100_000, "length of the history with which an agent is activated elsewhere")
	flags.BoolVar(&quick, "quick", false, "one run with less of everything that no other flag says")
	flags.StringVar(&dir, "dir", "", "directory for everything, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &asJSON)
	progressFlag(cmd, &progress)
	return cmd
}

// quicker is less of everything that was not asked for.
func quicker(cmd *cobra.Command, c bench.ClusterConfig) bench.ClusterConfig {
	flags := cmd.Flags()
	for name, less := range map[string]func(){
		"runs": func() { c.Runs = 1 }, "agents": func() { c.Agents = 60 }, "rates": func() { c.Rates = 500 * time.Millisecond },
		"idle": func() { c.Idle = 3 * time.Second }, "events": func() { c.Events = 2000 },
	} {
		if !flags.Changed(name) {
			less()
		}
	}
	return c
}

func (a *app) printClusterMeasured(m *bench.ClusterMeasured) error {
	w := table(a.out)
	fmt.Fprintf(w, "%d runs, %d agents on three hosts\n", m.Runs, m.Agents)
	fmt.Fprintf(w, "a host is killed: the last of its agents answers elsewhere\tmedian %.0f ms, worst %.0f ms\n", m.KillP50, m.KillWorst)
	fmt.Fprintf(w, "a host is stopped: the same\tmedian %.0f ms, worst %.0f ms\n", m.PauseP50, m.PauseWorst)
	fmt.Fprintf(w, "effects around that\t%d, %d of them lost and had again, %d stale\n", m.Effects, m.Again, m.Stale)
	fmt.Fprintf(w, "a host is drained: first command to each of its agents\tp50 %.1f ms, p99 %.1f ms\n", m.HandoverP50, m.HandoverP99)
	fmt.Fprintf(w, "commands to agents of other hosts meanwhile\tp99 %.1f ms\n", m.OthersP99)
	fmt.Fprintf(w, "commands refused\t%d\n", m.Refused)
	if m.Refusal != "" {
		fmt.Fprintf(w, "the first of them\t%s\n", m.Refusal)
	}
	fmt.Fprintf(w, "a command at another host\t%.2f ms more; %.0f/s by 64 callers, %.0f µs of the processors each\n", m.ForwardAdded, m.ForwardedPerSec, m.ForwardedCPU)
	fmt.Fprintf(w, "a call from one host to another\t%.0f/s by 64 callers, %.0f µs of the processors each\n", m.AskedPerSec, m.AskedCPU)
	fmt.Fprintf(w, "take-overs with a shared wallet\t%d\n", m.TakeOvers)
	fmt.Fprintf(w, "commands on the bus\t%.0f/s\n", m.BusPerSec)
	fmt.Fprintf(w, "stored by the idle cluster\t%d events in %.0f s\n", m.IdleEvents, m.IdleSeconds)
	fmt.Fprintf(w, "an agent of %d events, elsewhere\t%.1f ms from a snapshot, %.1f ms without\n", m.LongEvents, m.With, m.Without)
	return w.Flush()
}
