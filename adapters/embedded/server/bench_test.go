package server_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// Two cores, client and server in this process, fsync on, one run while the machine was nearly idle: 12,000 appends/s at 16 writers,
// 17,900 at 64, 22,900 at 256; 142,000 events/s read from a stream and 135,000 from $all; delivery after 0.5 ms, 2.0 ms at the 99th
// percentile. With other work on the same cores it is half of that or less (6,500 to 9,400 appends/s at 64, 49,000 to 113,000 events/s,
// 4 to 11 ms): compare only runs on a quiet machine.

// payload has about the size of an event of a turn.
var payload = fmt.Sprintf(`{"text":%q}`, make([]byte, 40))

// BenchmarkAppend appends single events through the official client, each writer to a stream of its own, with fsync on. Client and
// server share the process and its cores.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			client := serve(b).client(b)
			b.ResetTimer()
			var working sync.WaitGroup
			for w := range writers {
				working.Go(func() {
					for i := w; i < b.N; i += writers {
						if _, err := client.AppendToStream(b.Context(), fmt.Sprintf("bench-%d", w), esdb.AppendToStreamOptions{}, event("measured", payload)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			working.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// filled is a client of a server whose stream "full" holds n events.
func filled(b *testing.B, n int) *esdb.Client {
	client := serve(b).client(b)
	for left := n; left > 0; left -= 500 {
		batch := eventsOf(min(left, 500))
		for i := range batch {
			batch[i].Data = []byte(payload)
		}
		appendTo(b, client, "full", batch...)
	}
	return client
}

// BenchmarkReadPages reads a stream, and everything, in pages of 1000 events.
func BenchmarkReadPages(b *testing.B) {
	const total, page = 20_000, 1000
	client := filled(b, total)
	b.Run("stream", func(b *testing.B) {
		for i := range b.N {
			from := uint64(i * page % total)
			if read, err := readStream(b, client, "full", esdb.ReadStreamOptions{From: esdb.StreamRevision{Value: from}}, page); err != nil || len(read) != page {
				b.Fatalf("read %d events: %v", len(read), err)
			}
		}
		b.ReportMetric(float64(b.N*page)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("all", func(b *testing.B) {
		from := esdb.Position{}
		for i := range b.N {
			if i%(total/page-1) == 0 { // the next page could be the end
				from = esdb.Position{}
			}
			read, err := readAll(b, client, esdb.ReadAllOptions{From: from}, page)
			if err != nil || len(read) != page {
				b.Fatalf("read %d events: %v", len(read), err)
			}
			from = read[page-1].OriginalEvent().Position
		}
		b.ReportMetric(float64(b.N*page)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkDelivery measures from the call of an append to the event's arrival at a subscription to its stream, at 500 appends a second.
func BenchmarkDelivery(b *testing.B) {
	client := serve(b).client(b)
	feed, err := client.SubscribeToStream(b.Context(), "live", esdb.SubscribeToStreamOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer feed.Close()
	arrived := make(chan time.Time, 16)
	go func() {
		for {
			switch got := feed.Recv(); {
			case got.SubscriptionDropped != nil:
				return
			case got.EventAppeared != nil:
				arrived <- time.Now()
			}
		}
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	var took []time.Duration
	b.ResetTimer()
	for range b.N {
		<-ticker.C
		begun := time.Now()
		appendTo(b, client, "live", event("measured", payload))
		took = append(took, (<-arrived).Sub(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
