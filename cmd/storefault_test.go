package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// The outage kills life store serve again and again under writers and subscribers. LIFE_KILLS says how often; without it, as often
// as fits outageTime, at most outageKills times. LIFE_SEED repeats its choices.
const (
	outageKills   = 50
	outageTime    = 8 * time.Second
	outageWriters = 64
	outageEnd     = time.Minute // for what waits when the last server runs
)

// outage drives a store server while it is killed, and remembers what was acknowledged.
type outage struct {
	t       *testing.T
	data    string
	listen  string
	random  *rand.Rand
	journal stores.Journal
	server  *bench.Child

	stop    chan struct{} // closed: writers finish the append they are at
	acked   [outageWriters][]events.EventID
	last    atomic.Uint64 // the greatest position that was acknowledged
	retried atomic.Int64
	longest atomic.Int64 // nanoseconds that an append took
}

// TestStoreKilledAtRandom: kill -9 of life store serve at random moments under 64 writers loses no event that was acknowledged,
// stores none twice, and keeps the order of each stream; and subscribers who keep their position get each event once and in order.
func TestStoreKilledAtRandom(t *testing.T) {
	o := newOutage(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all, one := &subscriber{t: t}, &subscriber{t: t, from: storage.From{Stream: outageStream(0), Revision: events.NoRevision}}
	var working, following sync.WaitGroup
	for _, f := range []*subscriber{all, one} {
		following.Go(func() { f.follow(ctx, o.journal) })
	}
	begun := time.Now()
	for i := range outageWriters {
		working.Go(func() { o.write(i) })
	}
	kills := o.killAgainAndAgain()
	close(o.stop)
	working.Wait()
	took := time.Since(begun)
	count := 0
	for _, ids := range o.acked {
		count += len(ids)
	}
	t.Logf("%d kills in %.1f s: %d events acknowledged (%.0f a second), %d appends sent again by their writers, the longest took %v",
		kills, took.Seconds(), count, float64(count)/took.Seconds(), o.retried.Load(), time.Duration(o.longest.Load()).Round(time.Millisecond))
	o.await(all, events.Position(o.last.Load()))
	o.await(one, o.positionOf(outageStream(0)))
	cancel()
	following.Wait()
	t.Logf("everything: %d events delivered in %d subscriptions; one stream: %d in %d", all.count(), all.opened, one.count(), one.opened)
	o.check(all.byStream, outageWriters)
	o.check(one.byStream, 1)
	o.checkStore()
}

func outageStream(i int) events.Stream { return events.Stream("outage-" + strconv.Itoa(i)) }

func newOutage(t *testing.T) *outage {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LIFE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LIFE_SEED=%d", seed)
	o := &outage{t: t, data: t.TempDir(), stop: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // choices of a test
	o.listen = freePort(t, o.random)
	o.start()
	t.Cleanup(func() { _ = o.server.Kill() })
	var err error
	if o.journal, err = (stores.Location{Address: o.server.Address}).Open(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// freePort finds an address that stays free while the server is down: the system gives ports of this range to nobody by itself.
func freePort(t *testing.T, random *rand.Rand) string {
	t.Helper()
	for range 100 {
		address := "127.0.0.1:" + strconv.Itoa(15_000+random.IntN(15_000))
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("there is no free port")
	return ""
}

func (o *outage) start() {
	o.t.Helper()
	var err error
	if o.server, err = startStoreServerHere(o.data, o.listen); err != nil {
		o.t.Fatal(err)
	}
}

// killAgainAndAgain returns how often, with a server that runs.
func (o *outage) killAgainAndAgain() (kills int) {
	most, until := outageKills, time.Now().Add(outageTime)
	if text := os.Getenv("LIFE_KILLS"); text != "" {
		var err error
		if most, err = strconv.Atoi(text); err != nil {
			o.t.Fatal(err)
		}
		until = time.Now().Add(24 * time.Hour)
	}
	for ; kills < most && time.Now().Before(until); kills++ {
		wait(o.t.Context(), time.Duration(o.random.IntN(250))*time.Millisecond)
		if err := o.server.Kill(); err != nil {
			o.t.Fatal(err)
		}
		o.start()
	}
	return kills
}

// write appends to a stream of its own until told to stop, one to three events at a time, every fourth writer without saying at
// which revision. An append whose outcome is unknown is sent again, as it was.
func (o *outage) write(i int) {
	digest := events.Digest{}
	for {
		select {
		case <-o.stop:
			return
		default:
		}
		batch := make([]events.Envelope, 1+len(o.acked[i])%3)
		for n := range batch {
			data := fmt.Appendf(nil, `{"writer":%d,"number":%d}`, i, len(o.acked[i])+n)
			digest = digest.Next(benchKind, data)
			batch[n] = events.Envelope{ID: uuid.New(), Kind: benchKind, Version: 1, Time: storage.Now(), Digest: digest, Data: data}
		}
		expected := storage.ExpectRevision(events.Revision(len(o.acked[i])) - 1)
		if i%4 == 0 {
			expected = storage.ExpectAny
		}
		if !o.append(i, expected, batch) {
			return
		}
	}
}

func (o *outage) append(i int, expected storage.Expected, batch []events.Envelope) bool {
	begun := time.Now()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), outageEnd)
		done, err := o.journal.Append(ctx, outageStream(i), expected, batch)
		cancel()
		conflict := new(storage.ConflictError)
		switch {
		case errors.As(err, &conflict):
			o.t.Errorf("writer %d: %v", i, err)
			return false
		case err != nil && time.Since(begun) > outageEnd:
			o.t.Errorf("writer %d: no answer for %v: %v", i, outageEnd, err)
			return false
		case err != nil:
			o.retried.Add(1)
			continue
		case done.Last != events.Revision(len(o.acked[i])+len(batch)-1):
			o.t.Errorf("writer %d: appended up to revision %d, want %d", i, done.Last, len(o.acked[i])+len(batch)-1)
			return false
		}
		for n := range batch {
			o.acked[i] = append(o.acked[i], batch[n].ID)
		}
		atLeast(&o.longest, int64(time.Since(begun)))
		for now := o.last.Load(); now < uint64(done.Position) && !o.last.CompareAndSwap(now, uint64(done.Position)); now = o.last.Load() {
		}
		return true
	}
}

func atLeast(value *atomic.Int64, n int64) {
	for now := value.Load(); now < n && !value.CompareAndSwap(now, n); now = value.Load() {
	}
}

func (o *outage) positionOf(stream events.Stream) events.Position {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), outageEnd)
	defer cancel()
	page, err := o.journal.Read(ctx, stream, 1<<62, storage.Backward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		o.t.Fatalf("read the end of %s: %d events, %v", stream, len(page.Events), err)
	}
	return page.Events[0].Position
}

// await waits until a subscriber has what was acknowledged last.
func (o *outage) await(f *subscriber, last events.Position) {
	o.t.Helper()
	for deadline := time.Now().Add(outageEnd); events.Position(f.position.Load()) < last; wait(o.t.Context(), 5*time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("a subscriber is at position %d, and does not come to %d", f.position.Load(), last)
		}
	}
}

// check compares what streams hold with what was acknowledged.
func (o *outage) check(got map[events.Stream][]events.EventID, streams int) {
	o.t.Helper()
	if len(got) != streams {
		o.t.Errorf("there are %d streams, want %d", len(got), streams)
	}
	for i := range streams {
		if ids := got[outageStream(i)]; !slices.Equal(ids, o.acked[i]) {
			o.t.Errorf("%s holds %d events, %d were acknowledged, or their order differs", outageStream(i), len(ids), len(o.acked[i]))
		}
	}
}

// checkStore stops the server and looks into the directory itself.
func (o *outage) checkStore() {
	o.t.Helper()
	if err := o.server.Stop(); err != nil {
		o.t.Error(err)
	}
	at := stores.Location{Data: o.data}
	store, err := at.Open(o.t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		o.t.Fatal(err)
	}
	stored := map[events.Stream][]events.EventID{}
	err = stores.Everything(o.t.Context(), store, 1, func(e *events.Envelope) error {
		if e.Kind == benchKind {
			stored[e.Stream] = append(stored[e.Stream], e.ID)
		}
		return nil
	})
	if err := errors.Join(err, store.Close()); err != nil {
		o.t.Fatal(err)
	}
	o.check(stored, outageWriters)
	life, err := exec.LookPath("life")
	if err != nil {
		o.t.Fatal(err)
	}
	cmd := exec.CommandContext(o.t.Context(), life, "store", "check", "--data", o.data, "--store", stores.InData)
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Errorf("store check: %v\n%s", err, out)
	}
}

// subscriber is a subscriber that keeps its position, as one does that stores it with what it makes of the events.
type subscriber struct {
	t        *testing.T
	from     storage.From
	position atomic.Uint64 // of the last event
	byStream map[events.Stream][]events.EventID
	opened   int
}

func (f *subscriber) count() (n int) {
	for _, ids := range f.byStream {
		n += len(ids)
	}
	return n
}

// follow subscribes after its position, again whenever the subscription ends, and now and then of itself.
func (f *subscriber) follow(ctx context.Context, journal storage.Journal) {
	f.byStream = map[events.Stream][]events.EventID{}
	for ctx.Err() == nil {
		feed, err := journal.Subscribe(ctx, f.from)
		if err != nil {
			continue // the store is away for longer than the journal waits
		}
		f.opened++
		for n := 0; n < 5000 && err == nil; n++ {
			var e events.Envelope
			if e, err = feed.Next(ctx); err == nil {
				f.take(&e)
			}
		}
		if err := feed.Close(); err != nil {
			f.t.Error(err)
		}
	}
}

func (f *subscriber) take(e *events.Envelope) {
	if uint64(e.Position) <= f.position.Load() {
		f.t.Errorf("%s at position %d came after position %d", e.Ref(), e.Position, f.position.Load())
	}
	f.byStream[e.Stream] = append(f.byStream[e.Stream], e.ID)
	if f.from.Stream != "" {
		f.from.Revision = e.Revision
	} else {
		f.from.Position = e.Position
	}
	f.position.Store(uint64(e.Position))
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
