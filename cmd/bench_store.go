package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
)

// storeMeasured is what was measured of one store.
type storeMeasured struct {
	Store      string            `json:"store"`
	Seeded     int64             `json:"seeded_events"` // that were there before
	Appends    []appendsMeasured `json:"appends"`
	Reads      float64           `json:"reads_per_s"`              // of one event each, by 16 readers
	StreamPage float64           `json:"stream_page_events_per_s"` // one stream after the other, in pages, by one reader
	AllPage    float64           `json:"all_page_events_per_s"`    // everything, in pages, by one reader
	LiveP50    float64           `json:"live_p50_ms"`              // from before an append to its delivery to a subscriber
	LiveP99    float64           `json:"live_p99_ms"`
	Bytes      float64           `json:"disk_bytes_per_event,omitempty"` // once the log is in tables
	Stored     uint64            `json:"stored_events,omitempty"`        // in the end
	Open       float64           `json:"open_ms,omitempty"`              // to open it again; of a process, to start it after it was killed
}

// appendsMeasured is about appends of one event of 256 bytes, each writer to a stream of its own.
type appendsMeasured struct {
	Writers int     `json:"writers"`
	PerSec  float64 `json:"per_s"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

type benchStoreFlags struct {
	dir      string
	events   int64
	writers  []int
	duration time.Duration
	asJSON   bool
	progress bool
}

func benchStoreCommand(a *app) *cobra.Command {
	var f benchStoreFlags
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Measure a store: appends, reads, live delivery, size, and time to open",
		Long: "Measure the embedded store in process, and the same store through the EventStoreDB protocol, served by life store serve in its\n" +
			"own process. With --store, measure that EventStoreDB instead, and leave the events in it. Events have 256 bytes of data;\n" +
			"each append holds one event and is acknowledged once it is on disk. Each store is new, in a temporary directory that is\n" +
			"removed afterwards; --events fills it first.",
		Example: "  life bench store --json\n  life bench store --events 10000000 --duration 10s --dir /mnt/fast\n  life bench store --store esdb://db.example:2113",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.events < 0 || f.duration <= 0 || len(f.writers) == 0 || slices.Min(f.writers) < 1 || slices.Max(f.writers) > 10_000 {
				return usage("--writers must be from 1 to 10000, --duration positive and --events not negative")
			}
			return a.benchStores(cmd.Context(), &f)
		},
	}
	cmd.Flags().IntSliceVar(&f.writers, "writers", []int{1, 16, 64, 256}, "numbers of concurrent writers")
	cmd.Flags().DurationVar(&f.duration, "duration", 3*time.Second, "how long to measure each operation")
	cmd.Flags().Int64Var(&f.events, "events", 0, "number of events to store first")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for the store, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// benchStores measures the store of the setting, or the embedded one in process and through the protocol.
func (a *app) benchStores(ctx context.Context, f *benchStoreFlags) error {
	measures := []func(context.Context, *benchStoreFlags, *meter) (storeMeasured, error){a.benchEmbedded, a.benchProtocol}
	if at := a.place(); !at.Embedded() {
		measures = measures[:0:0]
		measures = append(measures, a.benchAddress)
	}
	for _, measure := range measures {
		shown := a.newMeter(f.progress)
		m, err := measure(ctx, f, shown)
		shown.done()
		if err == nil {
			err = a.printStoreMeasured(m, f.asJSON)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printStoreMeasured(m storeMeasured, asJSON bool) error {
	if asJSON {
		return a.printJSON(m)
	}
	fmt.Fprintf(a.out, "%s, %d events stored before\n", m.Store, m.Seeded)
	for _, each := range m.Appends {
		fmt.Fprintf(a.out, "  %8.0f appends/s by %d writers, p50 %.3f ms, p99 %.3f ms\n", each.PerSec, each.Writers, each.P50, each.P99)
	}
	fmt.Fprintf(a.out, "  %8.0f reads/s of one event\n  %8.0f events/s in pages of a stream\n  %8.0f events/s in pages of everything\n", m.Reads, m.StreamPage, m.AllPage)
	fmt.Fprintf(a.out, "  %8.3f ms p50 to a subscriber, p99 %.3f ms\n", m.LiveP50, m.LiveP99)
	if m.Stored > 0 {
		fmt.Fprintf(a.out, "  %8.0f bytes on disk for each of %d events\n  %8.0f ms until it is open again\n", m.Bytes, m.Stored, m.Open)
	}
	return nil
}

// benchEmbedded measures the embedded store in this process.
func (a *app) benchEmbedded(ctx context.Context, f *benchStoreFlags, shown *meter) (m storeMeasured, err error) {
	dir, err := benchDir(f.dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, stores.StoreName)})
	if err != nil {
		return m, err
	}
	if err = seedStore(ctx, store, f.events, shown); err == nil {
		m, err = measureStore(ctx, store, f, shown)
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return m, err
	}
	m.Store, m.Seeded = "embedded, in process", f.events
	return m, m.reopen(ctx, dir)
}

// reopen measures how long opening takes, and how much there is.
func (m *storeMeasured) reopen(ctx context.Context, dir string) error {
	begun := time.Now()
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, stores.StoreName)})
	if err != nil {
		return err
	}
	if m.Open == 0 {
		m.Open = float64(time.Since(begun).Microseconds()) / 1e3
	}
	stats, err := store.Stats(ctx)
	m.Stored = stats.Events
	m.Bytes = float64(stats.Bytes) / float64(max(stats.Events, 1))
	return errors.Join(err, store.Close())
}

// benchProtocol measures the embedded store in another process, through the protocol.
func (a *app) benchProtocol(ctx context.Context, f *benchStoreFlags, shown *meter) (m storeMeasured, err error) {
	dir, err := benchDir(f.dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if f.events > 0 {
		store, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, stores.StoreName)})
		if err != nil {
			return m, err
		}
		if err := errors.Join(seedStore(ctx, store, f.events, shown), store.Close()); err != nil {
			return m, err
		}
	}
	life, err := bench.Program()
	if err != nil {
		return m, err
	}
	child, err := bench.StartStore(ctx, life, dir, bench.AnyPort)
	if err != nil {
		return m, err
	}
	m, err = a.benchConnected(ctx, stores.Location{Address: child.Address}, f, shown)
	if err = errors.Join(err, child.Kill()); err != nil {
		return m, err
	}
	begun := time.Now()
	if child, err = bench.StartStore(ctx, life, dir, bench.AnyPort); err != nil {
		return m, err
	}
	m.Open = float64(time.Since(begun).Microseconds()) / 1e3
	if err := child.Stop(); err != nil {
		return m, err
	}
	m.Store, m.Seeded = "embedded, through the protocol", f.events
	return m, m.reopen(ctx, dir)
}

// benchAddress measures the EventStoreDB of the setting.
func (a *app) benchAddress(ctx context.Context, f *benchStoreFlags, shown *meter) (storeMeasured, error) {
	if f.events > 0 || f.dir != "" {
		return storeMeasured{}, usage("--events and --dir apply only to stores that the benchmark creates itself")
	}
	at := a.place()
	m, err := a.benchConnected(ctx, at, f, shown)
	m.Store = at.String()
	return m, err
}

func (a *app) benchConnected(ctx context.Context, at stores.Location, f *benchStoreFlags, shown *meter) (storeMeasured, error) {
	store, err := at.Open(ctx, a.log)
	if err != nil {
		return storeMeasured{}, err
	}
	m, err := measureStore(ctx, store, f, shown)
	return m, errors.Join(err, store.Close())
}
