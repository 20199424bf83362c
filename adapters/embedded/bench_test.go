package embedded_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// decision is what a turn stores at a time: a few events of a few hundred bytes, with everything filled in.
func decision(agent, number, size int) []events.Envelope {
	kinds := []events.Kind{"tool.returned", "model.requested", "turn.ended"}
	made := make([]events.Envelope, size)
	for i := range made {
		data := fmt.Appendf(nil, `{"turn":"a%d/%d","request":"agent-a%d@%d","text":"The file has %d lines; the third says %q.","usage":{"input":"%d","output":"%d"}}`,
			agent, number, agent, number*3, number, "what was asked", 1000+number, 50+i)
		made[i] = events.Envelope{
			ID: uuid.New(), Kind: kinds[i%len(kinds)], Version: 1, Time: events.Micros(1_760_000_000_000_000 + number*1000), Actor: "life",
			Command: events.CommandID(fmt.Sprintf("agent-a%d@%d", agent, number)), Correlation: fmt.Sprintf("a%d/%d", agent, number/8),
			Causation:   events.NewRef(events.Stream(fmt.Sprintf("agent-a%d", agent)), events.Revision(number)),
			Traceparent: fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64(), rand.Uint64()),
			Digest:      events.Digest{}.Next(kinds[i%len(kinds)], data), Data: data,
		}
	}
	return made
}

func openForBenchmark(b *testing.B) *embedded.Store {
	b.Helper()
	store, err := embedded.Open(embedded.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return store
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 3} {
		for _, writers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("events=%d/writers=%d", size, writers), func(b *testing.B) { benchmarkAppend(b, writers, size) })
		}
	}
}

func benchmarkAppend(b *testing.B, writers, size int) {
	store := openForBenchmark(b)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			stream, last := events.Stream(fmt.Sprintf("agent-a%d", w)), events.NoRevision
			batch := decision(w, 7, size)
			for left.Add(-1) >= 0 {
				appended, err := store.Append(b.Context(), stream, storage.ExpectRevision(last), batch)
				if err != nil {
					b.Error(err)
					return
				}
				last = appended.Last
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// fill stores n events, in decisions of size events by agents that take turns.
func fill(b *testing.B, store *embedded.Store, n, agents, size int) {
	b.Helper()
	var wait sync.WaitGroup
	for w := range agents {
		wait.Go(func() {
			stream := events.Stream(fmt.Sprintf("agent-a%d", w))
			for i := range n / agents / size {
				if _, err := store.Append(b.Context(), stream, storage.ExpectRevision(events.Revision(i*size-1)), decision(w, i, size)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkReadStream(b *testing.B) {
	for _, size := range []int{1, 3} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			store := openForBenchmark(b)
			fill(b, store, 200_000, 16, size)
			b.ReportAllocs()
			b.ResetTimer()
			read := 0
			for read < b.N {
				from := events.Revision(0)
				for end := false; !end && read < b.N; {
					page, err := store.Read(b.Context(), "agent-a7", from, storage.Forward, storage.Limit{})
					if err != nil {
						b.Fatal(err)
					}
					read, from, end = read+len(page.Events), from+events.Revision(len(page.Events)), page.End
				}
			}
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkReadAll(b *testing.B) {
	for _, size := range []int{1, 3} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			store := openForBenchmark(b)
			fill(b, store, 200_000, 16, size)
			b.ReportAllocs()
			b.ResetTimer()
			read := 0
			for read < b.N {
				from := storage.Start()
				for end := false; !end && read < b.N; {
					page, err := store.ReadAll(b.Context(), from, storage.Forward, storage.Filter{}, storage.Limit{})
					if err != nil {
						b.Fatal(err)
					}
					read, from, end = read+len(page.Events), page.Next, page.End
				}
			}
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkDisk reports what an event costs on disk beyond its data, once it has left the log.
func BenchmarkDisk(b *testing.B) {
	for _, size := range []int{1, 3} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			const n = 300_000
			for b.Loop() {
				config := embedded.Config{Dir: b.TempDir(), Memory: 8 << 20}
				store, err := embedded.Open(config)
				if err != nil {
					b.Fatal(err)
				}
				fill(b, store, n, 16, size)
				stats, err := store.Stats(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if err := store.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(stats.Bytes)/float64(stats.Events), "B/event")
			}
		})
	}
}
