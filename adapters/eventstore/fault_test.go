package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// happened makes n events as a writer fills them.
func happened(name string, n int) []events.Envelope {
	made := make([]events.Envelope, n)
	for i := range made {
		data := fmt.Appendf(nil, `{"name":%q,"index":%d}`, name, i)
		made[i] = events.Envelope{
			ID: uuid.New(), Kind: "test.happened", Version: 1, Time: 1_760_000_000_000_000, Actor: "test", Command: "c-1",
			Digest: events.Digest{}.Next("test.happened", data), Data: data,
		}
	}
	return made
}

// An outage of five minutes has about 150 rounds of looking for the store at the standard pace. Here it has as many, at another pace.
func TestOutage(t *testing.T) {
	t.Parallel()
	const rounds, callers, most = 150, 200, 150
	served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	between := newProxy(t, served.Addr())
	journal := connect(t, eventstore.Config{Connection: "esdb://" + between.address() + "?tls=false&discoveryInterval=1", MaxWaiting: most})
	between.leave()

	var refused, late atomic.Int64
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			within := time.Duration(i%5+1) * 100 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			began := time.Now()
			err := anyCall(ctx, journal, i)
			if time.Since(began) > within+2*time.Second {
				late.Add(1)
			}
			switch {
			case err == nil:
				t.Error("a call was answered while the store was away")
			case strings.Contains(err.Error(), "MaxWaiting"):
				refused.Add(1)
			case !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("the error is %v, want %v", err, context.DeadlineExceeded)
			case i%4 != 3 && !strings.Contains(err.Error(), "is away since"): // Consume returns the bare error
				t.Errorf("the error does not say that the store is away: %v", err)
			}
		})
	}
	patient := make(chan error, 1)
	wait.Wait()
	if late.Load() > 0 || refused.Load() > callers-most {
		t.Errorf("%d callers returned late; %d were refused, want at most %d", late.Load(), refused.Load(), callers-most)
	}
	go func() {
		_, err := journal.Append(t.Context(), "patient", storage.ExpectNoStream, happened("patient", 1))
		patient <- err
	}()
	for between.refused.Load() < rounds {
		select {
		case err := <-patient:
			t.Fatalf("an append returned while the store was away: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	between.back()
	if err := <-patient; err != nil {
		t.Fatalf("the append that waited for the store: %v", err)
	}
}

// A network on which nothing moves, and no connection is lost: callers return when their contexts end, and calls that wait go through
// when it moves again.
func TestStall(t *testing.T) {
	t.Parallel()
	served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	between := newProxy(t, served.Addr())
	journal := connect(t, eventstore.Config{Connection: plain(between.address())})
	release := between.hold()
	defer release()
	patient := make(chan error, 1)
	go func() {
		_, err := journal.Append(t.Context(), "patient", storage.ExpectNoStream, happened("patient", 1))
		patient <- err
	}()
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			began := time.Now()
			if err := anyCall(ctx, journal, i); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the error is %v, want %v", err, context.DeadlineExceeded)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("a caller with 200 ms returned after %s", took)
			}
		})
	}
	wait.Wait()
	release()
	if err := <-patient; err != nil {
		t.Errorf("the append that waited: %v", err)
	}
}

// anyCall calls the journal in one of its ways.
func anyCall(ctx context.Context, journal *eventstore.Journal, i int) error {
	stream := events.Stream(fmt.Sprintf("outage-%d", i))
	switch i % 4 {
	case 0:
		_, err := journal.Append(ctx, stream, storage.ExpectNoStream, happened("x", 1))
		return err
	case 1:
		_, err := journal.Read(ctx, stream, 0, storage.Forward, storage.Limit{})
		return err
	case 2:
		_, err := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
		return err
	}
	return journal.Consume(ctx, "outage", storage.From{Stream: stream}, func(context.Context, events.Envelope) error { return nil })
}

// Writers with and without expectations, and subscribers to a stream and to everything, on a network that cuts, delays and
// half-closes their connections, while the server is closed and opened again: what was acknowledged is there once and in order, and
// each subscriber gets it once and in order.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	const writers, rounds = 16, 20
	m := newMachine(t)
	between := newProxy(t, m.config.Listen)
	journal := connect(t, eventstore.Config{Connection: "esdb://" + between.address() + "?tls=false&discoveryInterval=2"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var reading, writing, breaking sync.WaitGroup
	feeds := map[string]*feed{
		"everything": {from: storage.From{}},
		"one stream": {from: storage.From{Stream: "writer-1", Revision: events.NoRevision}},
		"by kind":    {from: storage.From{Filter: storage.Filter{Kinds: []string{"test."}}}},
		"by stream":  {from: storage.From{Filter: storage.Filter{Streams: []string{"writer-"}}}},
	}
	for name, f := range feeds {
		reading.Go(func() { f.follow(ctx, t, name, journal) })
	}
	done := make(chan struct{})
	breaking.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		for i := 0; ; i++ {
			select {
			case <-done:
				between.delay.Store(0)
				return
			case <-time.After(time.Duration(20+random.IntN(40)) * time.Millisecond):
			}
			m.suffer(t, between, i, random)
		}
	})
	for w := range writers {
		writing.Go(func() { writeRounds(ctx, t, journal, w, rounds) })
	}
	writing.Wait()
	close(done)
	breaking.Wait()
	if _, err := journal.Append(ctx, "writer-1", storage.ExpectAny, lastOne()); err != nil {
		t.Fatalf("the last append: %v", err)
	}
	reading.Wait()
	checkFeeds(t, m.config.Store, feeds, writers*rounds*2+1)
}

// machine is a server and its store, which can be started again: what was in memory only, such as ids of events, is gone then.
type machine struct {
	dir    string
	config server.Config
	served *serving
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir(), config: server.Config{Listen: "127.0.0.1:0", Insecure: true}}
	m.start(t)
	t.Cleanup(func() { m.stop(t) })
	return m
}

func (m *machine) start(t *testing.T) {
	t.Helper()
	opened, err := embedded.Open(embedded.Config{Dir: m.dir})
	if err != nil {
		t.Errorf("open the store again: %v", err)
		return
	}
	m.config.Store = opened
	m.served = serve(t, m.config)
	m.config.Listen = m.served.Addr()
}

func (m *machine) stop(t *testing.T) {
	t.Helper()
	m.served.stop(t)
	if err := m.config.Store.Close(); err != nil {
		t.Errorf("close the store: %v", err)
	}
}

// suffer does one bad thing to the network; now and then it starts the machine again.
func (m *machine) suffer(t *testing.T, between *proxy, i int, random *rand.Rand) {
	switch {
	case i%8 == 7:
		between.cut() // in the middle of appends, which the store still finishes
		m.stop(t)
		m.start(t)
	case random.IntN(3) == 0:
		between.halve()
	case random.IntN(3) == 0:
		between.delay.Store(int64(random.IntN(3)) * int64(time.Millisecond))
	default:
		between.cut()
	}
}

// writeRounds appends two events at a time, expecting what the writer knows, or nothing.
func writeRounds(ctx context.Context, t *testing.T, journal *eventstore.Journal, w, rounds int) {
	stream := events.Stream(fmt.Sprintf("writer-%d", w))
	last := events.NoRevision
	for round := range rounds {
		expected := storage.ExpectRevision(last)
		if w%2 == 1 {
			expected = storage.ExpectAny
		}
		appended, err := journal.Append(ctx, stream, expected, happened(fmt.Sprint(round), 2))
		if err != nil {
			t.Errorf("writer %d, round %d: %v", w, round, err)
			return
		}
		if appended.First != last+1 || appended.Last != last+2 {
			t.Errorf("writer %d, round %d: stored at %d to %d, want %d to %d", w, round, appended.First, appended.Last, last+1, last+2)
			return
		}
		last = appended.Last
	}
}

func lastOne() []events.Envelope {
	made := happened("last", 1)
	made[0].Kind = "test.ended"
	return made
}

// feed is a subscriber and what it got.
type feed struct {
	from storage.From
	got  []events.Envelope
}

func (f *feed) follow(ctx context.Context, t *testing.T, name string, journal *eventstore.Journal) {
	subscription, err := journal.Subscribe(ctx, f.from)
	if err != nil {
		t.Errorf("subscribe to %s: %v", name, err)
		return
	}
	defer subscription.Close()
	for {
		e, err := subscription.Next(ctx)
		if err != nil {
			t.Errorf("%s, event %d: %v", name, len(f.got), err)
			return
		}
		if f.got = append(f.got, e); e.Kind == "test.ended" {
			return
		}
	}
}

// checkFeeds compares with what the store itself holds.
func checkFeeds(t *testing.T, kept storage.Journal, feeds map[string]*feed, want int) {
	t.Helper()
	page, err := kept.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{Events: 4096, Bytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) != want {
		t.Fatalf("the store has %d events, want %d", len(page.Events), want)
	}
	for name, f := range feeds {
		i, last := 0, events.Position(0) // of the store's own positions the wire knows nothing: they only have to rise
		for _, e := range page.Events {
			if f.from.Stream != "" && e.Stream != f.from.Stream {
				continue
			}
			if i >= len(f.got) || f.got[i].ID != e.ID || f.got[i].Position <= last {
				t.Fatalf("%s: event %d of %d is not %s", name, i, len(f.got), e.Ref())
			}
			last = f.got[i].Position
			i++
		}
		if i != len(f.got) {
			t.Errorf("%s gave %d events, want %d", name, len(f.got), i)
		}
	}
}
