package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

const (
	benchKind    = events.Kind("bench.measured")
	benchReaders = 16
	livePause    = 2 * time.Millisecond // between appends whose delivery is measured
)

// benchWriter appends to a stream of its own.
type benchWriter struct {
	stream events.Stream
	last   events.Revision
	digest events.Digest
	text   string
}

func newBenchWriter() *benchWriter {
	id := uuid.NewString()
	return &benchWriter{stream: events.Stream("bench-" + id), last: events.NoRevision, text: strings.Repeat(id, 7)}
}

// batch makes the next events, with 256 bytes of data each and the metadata of an event of a turn.
func (w *benchWriter) batch(count int) []events.Envelope {
	batch := make([]events.Envelope, count)
	for i := range batch {
		w.last++
		data := json.RawMessage(fmt.Sprintf(`{"number":"%010d","text":"%.223s"}`, w.last, w.text))
		w.digest = w.digest.Next(benchKind, data)
		batch[i] = events.Envelope{
			ID: uuid.New(), Kind: benchKind, Version: 1, Time: storage.Now(), Actor: "bench", Command: events.CommandID(w.stream) + "-1",
			Correlation: "bench/1", Causation: events.NewRef(w.stream, 0), Digest: w.digest, Data: data,
		}
	}
	return batch
}

func (w *benchWriter) append(ctx context.Context, to storage.Journal, count int) error {
	expected := storage.ExpectRevision(w.last)
	_, err := to.Append(ctx, w.stream, expected, w.batch(count))
	return err
}

// seedStore fills a store, as fast as it goes.
func seedStore(ctx context.Context, to storage.Journal, count int64, shown *meter) error {
	const size, writers = 100, 64
	var next atomic.Int64
	return atOnce(writers, func(int) error {
		w := newBenchWriter()
		for begun := next.Add(size); begun-size < count; begun = next.Add(size) {
			if err := w.append(ctx, to, int(min(size, count-begun+size))); err != nil {
				return err
			}
			shown.show("%d of %d events stored before", min(begun, count), count)
			if w.last > 10_000 {
				w = newBenchWriter()
			}
		}
		return nil
	})
}

// atOnce does something n times at once.
func atOnce(n int, do func(i int) error) error {
	var workers sync.WaitGroup
	failures := make([]error, n)
	for i := range n {
		workers.Go(func() { failures[i] = do(i) })
	}
	workers.Wait()
	return errors.Join(failures...)
}

// measureStore measures everything that can be measured from outside.
func measureStore(ctx context.Context, store storage.Journal, f *benchStoreFlags, shown *meter) (m storeMeasured, err error) {
	var streams []*benchWriter
	start, err := stores.LastPosition(ctx, store)
	if err != nil {
		return m, err
	}
	for _, writers := range f.writers {
		shown.show("appends by %d writers", writers)
		measured, written, err := measureAppends(ctx, store, writers, f.duration)
		if err != nil {
			return m, err
		}
		m.Appends, streams = append(m.Appends, measured), append(streams, written...)
	}
	shown.show("reads")
	if m.Reads, err = measureReads(ctx, store, streams, f.duration); err != nil {
		return m, err
	}
	if m.StreamPage, err = measureStreams(ctx, store, streams, f.duration); err != nil {
		return m, err
	}
	if m.AllPage, err = measureAll(ctx, store, start, f.duration); err != nil {
		return m, err
	}
	shown.show("live delivery")
	m.LiveP50, m.LiveP99, err = measureLive(ctx, store, f.duration)
	return m, err
}

func measureAppends(ctx context.Context, store storage.Journal, writers int, during time.Duration) (m appendsMeasured, written []*benchWriter, err error) {
	times := make([][]time.Duration, writers)
	for range writers {
		written = append(written, newBenchWriter())
	}
	begun := time.Now()
	err = atOnce(writers, func(i int) error {
		for now := time.Now(); now.Sub(begun) < during; {
			if err := written[i].append(ctx, store, 1); err != nil {
				return err
			}
			after := time.Now()
			times[i] = append(times[i], after.Sub(now))
			now = after
		}
		return nil
	})
	took := time.Since(begun).Seconds()
	all := slices.Concat(times...)
	if err != nil || len(all) == 0 {
		return m, nil, errors.Join(err, ctx.Err())
	}
	slices.Sort(all)
	return appendsMeasured{Writers: writers, PerSec: float64(len(all)) / took, P50: quantile(all, 0.5), P99: quantile(all, 0.99)}, written, nil
}

func measureReads(ctx context.Context, store storage.Journal, streams []*benchWriter, during time.Duration) (perSec float64, err error) {
	var count atomic.Int64
	begun := time.Now()
	err = atOnce(benchReaders, func(int) error {
		for time.Since(begun) < during {
			of := streams[rand.IntN(len(streams))]                                                                                             //nolint:gosec // which one does not matter
			page, err := store.Read(ctx, of.stream, events.Revision(rand.Int64N(int64(of.last)+1)), storage.Forward, storage.Limit{Events: 1}) //nolint:gosec // nor which event
			if err != nil {
				return err
			}
			count.Add(int64(len(page.Events)))
		}
		return nil
	})
	return float64(count.Load()) / time.Since(begun).Seconds(), err
}

// pages is how pages are read when many events are wanted.
func pages() storage.Limit { return storage.Limit{Events: 4096, Bytes: 4 << 20} }

// measureStreams reads the streams from their beginnings, the longest ones first, whose events lie far apart in the store.
func measureStreams(ctx context.Context, store storage.Journal, streams []*benchWriter, during time.Duration) (perSec float64, err error) {
	longest := slices.SortedFunc(slices.Values(streams), func(a, b *benchWriter) int { return int(b.last - a.last) })
	count, begun := 0, time.Now()
	for i := 0; time.Since(begun) < during; i = (i + 1) % len(longest) {
		for next := events.Revision(0); next <= longest[i].last && time.Since(begun) < during; {
			page, err := store.Read(ctx, longest[i].stream, next, storage.Forward, pages())
			if err != nil {
				return 0, err
			}
			count, next = count+len(page.Events), next+events.Revision(len(page.Events))
		}
	}
	return float64(count) / time.Since(begun).Seconds(), nil
}

func measureAll(ctx context.Context, store storage.Journal, from events.Position, during time.Duration) (perSec float64, err error) {
	count, begun := 0, time.Now()
	for next := storage.After(from); time.Since(begun) < during; {
		page, err := store.ReadAll(ctx, next, storage.Forward, storage.Filter{}, pages())
		if err != nil {
			return 0, err
		}
		count, next = count+len(page.Events), page.Next
		if page.End {
			next = storage.After(from)
		}
	}
	return float64(count) / time.Since(begun).Seconds(), nil
}

// measureLive appends now and then, and takes the time until a subscriber to everything has each event.
func measureLive(ctx context.Context, store storage.Journal, during time.Duration) (p50, p99 float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end, err := stores.LastPosition(ctx, store)
	if err != nil {
		return 0, 0, err
	}
	feed, err := store.Subscribe(ctx, storage.From{Position: end, Filter: storage.Filter{Kinds: []string{string(benchKind)}}})
	if err != nil {
		return 0, 0, err
	}
	var (
		w     = newBenchWriter()
		begun = make(chan time.Time, 1<<16)
		times []time.Duration
		wrote = make(chan error, 1)
	)
	go func() {
		defer close(begun)
		pace := time.NewTicker(livePause)
		defer pace.Stop()
		for until := time.Now().Add(during); time.Now().Before(until); <-pace.C {
			begun <- time.Now()
			if err := w.append(ctx, store, 1); err != nil {
				wrote <- err
				cancel() // what is waited for does not come
				return
			}
		}
		wrote <- nil
	}()
	for at := range begun {
		if err := nextOf(ctx, feed, w.stream); err != nil {
			select {
			case cause := <-wrote:
				err = errors.Join(cause, err)
			default:
			}
			return 0, 0, errors.Join(err, feed.Close())
		}
		times = append(times, time.Since(at))
	}
	if err := errors.Join(<-wrote, feed.Close()); err != nil || len(times) == 0 {
		return 0, 0, errors.Join(err, errors.New("no delivery was measured: set a longer --duration"))
	}
	slices.Sort(times)
	return quantile(times, 0.5), quantile(times, 0.99), nil
}

// nextOf waits for the next event of a stream; somebody else may use the store too.
func nextOf(ctx context.Context, feed storage.Subscription, stream events.Stream) error {
	for {
		e, err := feed.Next(ctx)
		if err != nil {
			return fmt.Errorf("wait for an event of %s: %w", stream, err)
		}
		if e.Stream == stream {
			return nil
		}
	}
}
