package embedded_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// A stream whose events lie far apart reads as any other, in both directions, however pages are bounded and however many read at
// the same time.
func TestScatteredStreams(t *testing.T) {
	const streams, rounds = 12, 700
	store := open(t, embedded.Config{Dir: t.TempDir(), Memory: 256 << 10})
	want := make([][]byte, rounds)
	for round := range rounds {
		batch := make([]events.Envelope, 0, streams)
		for w := range streams {
			e := numbered(events.Stream(fmt.Sprint("far-", w)), round)
			e.Stream, e.Revision, e.Position = events.Stream(fmt.Sprint("far-", w)), events.Revision(round), events.Position(round*streams+w+1)
			if round%200 == 199 { // some are larger than a page
				e.Data = fmt.Appendf(nil, `{"pad":%q}`, bytes.Repeat([]byte{'x'}, 40<<10))
			}
			want[round] = e.Data
			batch = append(batch, e)
		}
		if err := store.Import(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	var readers sync.WaitGroup
	for w := range streams {
		readers.Go(func() {
			stream := events.Stream(fmt.Sprint("far-", w))
			for _, limit := range []storage.Limit{{}, {Events: 1 + rand.IntN(300)}, {Events: 400, Bytes: 1 << 10}, {Bytes: 100}} {
				for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
					if err := scattered(t, store, stream, direction, limit, want); err != nil {
						t.Errorf("%s, direction %d, %+v: %v", stream, direction, limit, err)
					}
				}
			}
		})
	}
	readers.Wait()
}

// scattered reads a stream to its end and compares it.
func scattered(t *testing.T, store *embedded.Store, stream events.Stream, direction storage.Direction, limit storage.Limit, want [][]byte) error {
	next, step := events.Revision(0), events.Revision(1)
	if direction == storage.Backward {
		next, step = events.Revision(len(want)-1), -1
	}
	for {
		page, err := store.Read(t.Context(), stream, next, direction, limit)
		if err != nil {
			return err
		}
		size := 0
		for i, e := range page.Events {
			if e.Revision != next || !bytes.Equal(e.Data, want[next]) {
				return fmt.Errorf("got %s with %d bytes, want revision %d", e.Ref(), len(e.Data), next)
			}
			if size += len(e.Data); i > 0 && size > limit.Bounded().Bytes || i >= limit.Bounded().Events {
				return fmt.Errorf("a page of %d events has %d bytes", len(page.Events), size)
			}
			next += step
		}
		if page.End {
			if done := next == -1 || next == events.Revision(len(want)); !done {
				return fmt.Errorf("the end is said to be at %d", next)
			}
			return nil
		}
		if len(page.Events) == 0 {
			return fmt.Errorf("an empty page at %d is not the end", next)
		}
	}
}
