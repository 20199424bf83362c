package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// bare is the official client as it is: what the journal is compared with.
func bare(b *testing.B, address string) *esdb.Client {
	b.Helper()
	config, err := esdb.ParseConnectionString(plain(address))
	if err != nil {
		b.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	return client
}

// wide returns the data of an event as Life's are on average.
func wide() []byte { return []byte(`{"text":"` + strings.Repeat("x", 240) + `"}`) }

// BenchmarkAppend appends one event at a time, each writer to its own stream, durably.
func BenchmarkAppend(b *testing.B) {
	served := serve(b, server.Config{Store: store(b), Listen: "127.0.0.1:0", Insecure: true})
	journal, client := connect(b, eventstore.Config{Connection: plain(served.Addr())}), bare(b, served.Addr())
	ways := map[string]func(ctx context.Context, stream string) error{
		"journal": func(ctx context.Context, stream string) error {
			batch := happened("b", 1)
			batch[0].Data = wide()
			_, err := journal.Append(ctx, events.Stream(stream), storage.ExpectAny, batch)
			return err
		},
		"client": func(ctx context.Context, stream string) error {
			batch := happened("b", 1)
			data := esdb.EventData{EventID: uuid.New(), EventType: "test.happened", ContentType: esdb.ContentTypeJson, Data: wide(), Metadata: batch[0].Metadata()}
			_, err := client.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{}, data)
			return err
		},
	}
	for _, way := range []string{"client", "journal"} {
		for _, writers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", way, writers), func(b *testing.B) {
				var next atomic.Int64
				var wait sync.WaitGroup
				for w := range writers {
					wait.Go(func() {
						stream := fmt.Sprintf("%s-%d-%d", way, writers, w)
						for next.Add(1) <= int64(b.N) {
							if err := ways[way](b.Context(), stream); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wait.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkPages reads a stream of 20,000 events in pages.
func BenchmarkPages(b *testing.B) {
	const total, page = 20_000, 1000
	served := serve(b, server.Config{Store: store(b), Listen: "127.0.0.1:0", Insecure: true})
	journal, client := connect(b, eventstore.Config{Connection: plain(served.Addr())}), bare(b, served.Addr())
	for range total / 500 {
		batch := happened("b", 500)
		for i := range batch {
			batch[i].Data = wide()
		}
		if _, err := journal.Append(b.Context(), "pages", storage.ExpectAny, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("client", func(b *testing.B) {
		for range b.N {
			for from := uint64(0); from < total; from += page {
				stream, err := client.ReadStream(b.Context(), "pages", esdb.ReadStreamOptions{From: esdb.Revision(from)}, page)
				if err != nil {
					b.Fatal(err)
				}
				for _, err = stream.Recv(); err == nil; _, err = stream.Recv() {
				}
				if stream.Close(); !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N*total)/b.Elapsed().Seconds(), "events/s")
	})
	limit := storage.Limit{Events: page, Bytes: 16 << 20}
	b.Run("journal", func(b *testing.B) {
		for range b.N {
			for from := events.Revision(0); from < total; from += page {
				if got, err := journal.Read(b.Context(), "pages", from, storage.Forward, limit); err != nil || len(got.Events) != page {
					b.Fatal(len(got.Events), err)
				}
			}
		}
		b.ReportMetric(float64(b.N*total)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("everything", func(b *testing.B) {
		for range b.N {
			for from, end := storage.Start(), false; !end; {
				got, err := journal.ReadAll(b.Context(), from, storage.Forward, storage.Filter{}, limit)
				if err != nil {
					b.Fatal(err)
				}
				from, end = got.Next, got.End
			}
		}
		b.ReportMetric(float64(b.N*total)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("subscription", func(b *testing.B) {
		for range b.N {
			subscription, err := journal.Subscribe(b.Context(), storage.From{Stream: "pages", Revision: events.NoRevision})
			if err != nil {
				b.Fatal(err)
			}
			for range total {
				if _, err := subscription.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			subscription.Close()
		}
		b.ReportMetric(float64(b.N*total)/b.Elapsed().Seconds(), "events/s")
	})
}
