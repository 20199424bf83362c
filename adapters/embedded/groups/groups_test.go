package groups

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// The clock of expressions goes on for a second after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// faulty is a store with faults.
type faulty struct {
	spreadStore
	appends atomic.Pointer[fault]
	hangs   atomic.Int32 // subscriptions whose Next waits for ever
	reads   atomic.Int32 // reads that fail
	broken  atomic.Bool  // subscriptions fail
	from    atomic.Int64 // where the last subscription to everything began
}

var errRead = errors.New("the disk cannot be read")

func (f *faulty) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if f.reads.Add(-1) >= 0 {
		return storage.Page{}, errRead
	}
	return f.spreadStore.Read(ctx, stream, from, direction, limit)
}

// fault is what happens to an append; do carries it out.
type fault func(stream events.Stream, do func() (storage.Appended, error)) (storage.Appended, error)

func (f *faulty) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	do := func() (storage.Appended, error) { return f.spreadStore.Append(ctx, stream, expected, batch) }
	if happens := f.appends.Load(); happens != nil {
		return (*happens)(stream, do)
	}
	return do()
}

func (f *faulty) fail(appends fault) { f.appends.Store(&appends) }

func (f *faulty) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if f.broken.Load() {
		return nil, errRead
	}
	if f.hangs.Add(-1) >= 0 {
		return hanging{}, nil
	}
	if from.Stream == "" {
		f.from.Store(int64(from.Position))
	}
	return f.spreadStore.Subscribe(ctx, from)
}

type hanging struct{}

func (hanging) Next(ctx context.Context) (events.Envelope, error) {
	<-ctx.Done()
	return events.Envelope{}, ctx.Err()
}

func (hanging) Close() error { return nil }

// text is a log that can be read while it is written.
type text struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// world is groups over a store.
type world struct {
	t      *testing.T
	store  *faulty
	groups *Groups
	log    *text
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: &faulty{spreadStore: spreadStore{store}}, log: &text{}}
	w.open()
	t.Cleanup(func() {
		w.groups.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	config := Config{Store: w.store, Log: slog.New(slog.NewTextHandler(w.log, nil)), Tick: 5 * time.Millisecond, Patience: 100 * time.Millisecond, Spread: spread}
	if w.groups, err = Open(w.t.Context(), config); err != nil {
		w.t.Fatal(err)
	}
}

func testSettings() Settings {
	return Settings{
		MessageTimeout: time.Minute, MaxRetries: 3, HistoryBuffer: 20, ReadBatch: 10,
		MinCheckpoint: 1, MaxCheckpoint: 10, Strategy: RoundRobin,
	}
}

func (w *world) create(key Key, settings Settings) {
	w.t.Helper()
	if err := w.groups.Create(w.t.Context(), key, settings, "test"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) join(key Key, buffer int) *Member {
	w.t.Helper()
	m, err := w.groups.Join(w.t.Context(), key, Consumer{Buffer: buffer})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// append writes events that say which they are.
func (w *world) append(stream events.Stream, count int) {
	w.t.Helper()
	batch := make([]events.Envelope, count)
	for i := range batch {
		batch[i] = note("test", []byte(`{}`), nil, storage.Now())
	}
	w.write(stream, batch...)
}

func (w *world) write(stream events.Stream, batch ...events.Envelope) events.Position {
	w.t.Helper()
	appended, err := w.store.spreadStore.Append(w.t.Context(), stream, storage.ExpectAny, batch)
	if err != nil {
		w.t.Fatal(err)
	}
	return appended.Position
}

func (w *world) within() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) next(m *Member) Delivery {
	w.t.Helper()
	d, err := m.Next(w.within())
	if err != nil {
		w.t.Fatalf("%v: %s", err, w.log)
	}
	return d
}

func (d Delivery) id() events.EventID {
	if d.Link != nil {
		return d.Link.ID
	}
	return d.Event.ID
}

// expect takes events of a stream in order, and acknowledges them.
func (w *world) expect(m *Member, revisions ...events.Revision) {
	w.t.Helper()
	for _, want := range revisions {
		d := w.next(m)
		if d.Event == nil || d.Event.Revision != want {
			w.t.Fatalf("delivered is %+v, want event %d", d.Event, want)
		}
		m.Ack(d.id())
	}
}

func (w *world) until(key Key, what string, is func(Report) bool) Report {
	w.t.Helper()
	ctx := w.within()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		report, err := w.groups.Report(ctx, key)
		if err != nil {
			w.t.Fatal(err)
		}
		if is(report) {
			return report
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: not so: %+v\n%s", what, report, w.log)
		}
	}
}

func (w *world) parked(key Key) []string {
	w.t.Helper()
	page, err := w.store.Read(w.t.Context(), key.parkedStream(), 0, storage.Forward, storage.Limit{})
	if err != nil {
		w.t.Fatal(err)
	}
	var targets []string
	for i := range page.Events {
		data, err := page.Events[i].Bytes()
		if err != nil {
			w.t.Fatal(err)
		}
		targets = append(targets, string(data))
	}
	return targets
}

func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.store.hangs.Store(1)
	w.create(key, testSettings())
	m := w.join(key, 10)
	w.append("s", 3)
	w.expect(m, 0, 1, 2) // though the reader hangs
	for _, line := range []string{"a consumer group stalled", "group=s::g", "a consumer group moves again"} {
		report := w.until(key, line, func(Report) bool { return strings.Contains(w.log.String(), line) })
		if report.Stalls != 1 {
			t.Errorf("%d stalls are reported, want 1", report.Stalls)
		}
	}
}

// A group that owes nothing is left alone: without consumers, without events, or with consumers that are full.
func TestWatchdogKnowsPatience(t *testing.T) {
	w := newWorld(t)
	alone, idle, full := Key{"s", "alone"}, Key{"t", "idle"}, Key{"s", "full"}
	for _, key := range []Key{alone, idle, full} {
		w.create(key, testSettings())
	}
	w.append("s", 100)
	w.join(idle, 1)
	w.next(w.join(full, 1))
	w.until(full, "its buffer is full", func(r Report) bool { return r.Buffered == 20 && r.InFlight == 1 && r.Status == "Behind" })
	began := time.Now()
	w.until(idle, "some time has passed", func(r Report) bool { return time.Since(began) > 300*time.Millisecond })
	for _, key := range []Key{alone, idle, full} {
		if r := w.until(key, "", func(Report) bool { return true }); r.Stalls != 0 {
			t.Errorf("%s is said to have stalled %d times:\n%s", key, r.Stalls, w.log)
		}
	}
}

// A full disk holds up checkpoints and parked messages, and no delivery.
func TestDeliveriesGoOnWhenNothingCanBeWritten(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 200)
	var full atomic.Bool
	full.Store(true)
	w.store.fail(func(stream events.Stream, do func() (storage.Appended, error)) (storage.Appended, error) {
		if full.Load() {
			return storage.Appended{}, fmt.Errorf("append to %s: %w", stream, storage.ErrFull)
		}
		return do()
	})
	m := w.join(key, 5)
	for i := range 200 {
		d := w.next(m)
		if d.Event.Revision != events.Revision(i) {
			t.Fatalf("event %d comes after event %d", d.Event.Revision, i-1)
		}
		if i%10 == 0 {
			m.Nack(Park, "no", d.id())
		} else {
			m.Ack(d.id())
		}
	}
	w.until(key, "the trouble is reported", func(r Report) bool {
		return r.Parking == 20 && strings.Contains(r.Status, storage.ErrFull.Error()) && len(r.Troubles) == 1 && r.Parked == 0 && r.LastCheckpoint == ""
	})
	full.Store(false)
	report := w.until(key, "all is written", func(r Report) bool { return r.Parked == 20 && r.LastCheckpoint == "199" })
	if report.Status != "Live" || len(report.Troubles) > 0 || report.Stalls > 0 {
		t.Errorf("afterwards it is %+v", report)
	}
}

// The answer to a write of parked messages may be lost though it was carried out, and others may write to the stream.
func TestParkedOnceThoughAnswersAreLost(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 6)
	lost := 0
	w.store.fail(func(stream events.Stream, do func() (storage.Appended, error)) (storage.Appended, error) {
		appended, err := do()
		if stream == key.parkedStream() && lost < 2 {
			if lost++; lost == 2 {
				w.append(key.parkedStream(), 1) // by somebody else
			}
			return storage.Appended{}, errors.New("the answer is lost")
		}
		return appended, err
	})
	m := w.join(key, 10)
	for range 6 {
		m.Nack(Park, "no", w.next(m).id())
	}
	w.until(key, "all are parked", func(r Report) bool { return r.Parking == 0 && r.Undone == 0 })
	targets := w.parked(key)
	targets = slices.DeleteFunc(targets, func(target string) bool { return target == "{}" })
	slices.Sort(targets)
	if want := []string{"0@s", "1@s", "2@s", "3@s", "4@s", "5@s"}; !slices.Equal(targets, want) {
		t.Errorf("parked are %v, want %v", targets, want)
	}
}

// crash ends the groups so that nothing more is written, and opens them again.
func (w *world) crash() {
	w.t.Helper()
	w.store.fail(func(events.Stream, func() (storage.Appended, error)) (storage.Appended, error) {
		return storage.Appended{}, storage.ErrClosed
	})
	w.groups.Close()
	w.store.appends.Store(nil)
	w.open()
}

func TestCrash(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 6)
	m := w.join(key, 10)
	stuck := w.next(m) // event 0 holds the checkpoint
	m.Nack(Park, "no", w.next(m).id(), w.next(m).id())
	w.until(key, "two are parked", func(r Report) bool { return r.Parked == 2 })
	w.crash()
	if _, err := m.Next(w.within()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("the consumer of closed groups is told: %v", err)
	}
	m.Ack(stuck.id()) // too late: nobody hears it
	m = w.join(key, 10)
	w.expect(m, 0, 3, 4, 5) // what was parked is not delivered, and not parked again
	w.until(key, "all is done", func(r Report) bool { return r.LastCheckpoint == "5" && r.Parked == 2 && r.Undone == 0 })

	if err := w.groups.ReplayParked(t.Context(), key, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	w.expect(m, 1)
	w.next(m) // event 2: not answered
	w.until(key, "both are being replayed", func(r Report) bool { return r.Parked == 0 })
	w.crash()
	w.until(key, "what was being replayed is parked still", func(r Report) bool { return r.Parked >= 1 })
	if targets := w.parked(key); !slices.Contains(targets, "2@s") {
		t.Errorf("parked are %v: event 2 is lost", targets)
	}
	if err := w.groups.ReplayParked(t.Context(), key, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	m = w.join(key, 10)
	for d := w.next(m); ; d = w.next(m) {
		if m.Ack(d.id()); d.Event.Revision == 2 {
			break
		}
	}
	w.until(key, "nothing is parked", func(r Report) bool { return r.Parked == 0 && r.Undone == 0 && len(w.parked(key)) == 0 })
}

// TestTwins delivers events whose id is outstanding, as EventStoreDB does: one answer of the id is for all of them, and they alone are not
// delivered again.
func TestTwins(t *testing.T) {
	streams := []events.Stream{"twins-a", "twins-b", "twins-c"}
	for name, answer := range map[string]func(m *Member, id events.EventID){
		"acknowledged": func(m *Member, id events.EventID) { m.Ack(id) },
		"skipped":      func(m *Member, id events.EventID) { m.Nack(Skip, "", id) },
		"stopped":      func(m *Member, id events.EventID) { m.Nack(Stop, "", id) },
		"parked":       func(m *Member, id events.EventID) { m.Nack(Park, "", id) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key := Key{All, "g"}
			settings := testSettings()
			settings.Filter = &Filter{Prefixes: []string{"twins-"}}
			w.create(key, settings)
			one, other := w.join(key, 2), w.join(key, 2)
			twin := note("test", []byte(`{}`), nil, storage.Now())
			var last place
			for _, stream := range streams {
				appended, err := w.store.Append(t.Context(), stream, storage.ExpectAny, []events.Envelope{twin})
				if err != nil {
					t.Fatal(err)
				}
				last = place(appended.Position)
			}
			for i, m := range []*Member{one, other, one} { // in turn
				if d := w.next(m); d.Event.Stream != streams[i] {
					t.Fatalf("delivered is an event of %s, want %s", d.Event.Stream, streams[i])
				}
			}
			w.until(key, "one id is outstanding, held by two", func(r Report) bool {
				return r.Outstanding == 1 && r.InFlight == 2 && r.Consumers[0].Free == 0 && r.Consumers[0].InFlight == 1 && r.Items == 3
			})
			one.Nack(Retry, "once more", twin.ID)
			again, _ := w.first(one, other)
			if again.Event.Stream != streams[0] || again.Retries != 1 {
				t.Fatalf("delivered again is an event of %s, for the %d. time", again.Event.Stream, again.Retries+1)
			}
			answer(one, twin.ID)
			answer(other, twin.ID) // one of them holds it
			w.until(key, "all of them are done", func(r Report) bool {
				saved, _ := parsePlace(r.LastCheckpoint) // it may have moved past notes of the group too
				return r.Undone == 0 && r.Outstanding == 0 && r.Consumers[0].Free == 2 && r.Consumers[1].Free == 2 && saved >= last
			})
		})
	}
}

// first takes the next event of whichever consumer has one.
func (w *world) first(members ...*Member) (Delivery, *Member) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.within())
	defer cancel()
	type taken struct {
		delivery Delivery
		by       *Member
	}
	all := make(chan taken, len(members))
	var waiting sync.WaitGroup
	for _, m := range members {
		waiting.Go(func() {
			if d, err := m.Next(ctx); err == nil {
				all <- taken{d, m}
			}
			cancel()
		})
	}
	waiting.Wait()
	if len(all) != 1 {
		w.t.Fatalf("%d consumers have an event, want 1", len(all))
	}
	first := <-all
	return first.delivery, first.by
}

func TestPinnedByCorrelation(t *testing.T) {
	w := newWorld(t)
	key := Key{All, "g"}
	settings := testSettings()
	settings.Strategy, settings.HistoryBuffer = PinnedByCorrelation, 500
	settings.Filter = &Filter{Expression: "^s[0-9]$"}
	w.create(key, settings)
	members := []*Member{w.join(key, 200), w.join(key, 200), w.join(key, 200)}
	for i := range 120 {
		e := note("test", []byte(`{}`), nil, storage.Now())
		e.SetMetadata(fmt.Appendf(nil, `{"$correlationId":"c%d"}`, i%20))
		if _, err := w.store.Append(t.Context(), events.Stream(fmt.Sprint("s", i%7)), storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	report := w.until(key, "all are delivered", func(r Report) bool { return r.InFlight == 120 })
	owners := map[string]int{}
	for i, m := range members {
		for range report.Consumers[i].InFlight {
			d := w.next(m)
			if owner, known := owners[d.Event.Correlation]; known && owner != i {
				t.Fatalf("correlation %s goes to consumers %d and %d", d.Event.Correlation, owner, i)
			}
			owners[d.Event.Correlation] = i
		}
		if report.Consumers[i].InFlight == 0 {
			t.Errorf("consumer %d has nothing", i)
		}
	}
}

// A group outlives its stream, and what is deleted of its own.
func TestDeletedStreams(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 2)
	m := w.join(key, 10)
	w.expect(m, 0)
	if _, err := w.store.Tombstone(t.Context(), "s", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Tombstone(t.Context(), key.checkpointStream(), storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	w.until(key, "it lives", func(r Report) bool { return r.Status != "NotReady" })
	w.crash()
	report := w.until(key, "it lives again", func(r Report) bool { return r.Status != "NotReady" })
	if report.Stalls > 0 {
		t.Errorf("it is %+v", report)
	}
	if err := w.groups.Delete(t.Context(), key, "test"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	refused := func(err error, kind Kind) {
		t.Helper()
		wantRefusal(t, err, kind)
	}
	for _, change := range []func(*Settings){
		func(s *Settings) { s.Strategy = "Whoever" }, func(s *Settings) { s.ReadBatch = 20 }, func(s *Settings) { s.ReadBatch = -1 },
		func(s *Settings) { s.LiveBuffer = -1 }, func(s *Settings) { s.Start.At = -2 }, func(s *Settings) { s.MessageTimeout = -1 },
		func(s *Settings) { s.MaxConsumers = -1 }, func(s *Settings) { s.Filter = &Filter{Prefixes: []string{"a"}} },
	} {
		settings := testSettings()
		change(&settings)
		refused(w.groups.Create(t.Context(), key, settings, "test"), Failed)
	}
	for _, filter := range []*Filter{{}, {Expression: "("}, {Expression: strings.Repeat("a", filter.MaxExpression+1)}} {
		settings := testSettings()
		settings.Filter = filter
		refused(w.groups.Create(t.Context(), Key{All, "g"}, settings, "test"), Failed)
	}
	settings := testSettings()
	settings.MaxConsumers = 1
	w.create(key, settings)
	refused(w.groups.Create(t.Context(), key, settings, "test"), Exists)
	_, err := w.groups.Join(t.Context(), key, Consumer{})
	refused(err, Failed)
	m := w.join(key, 1)
	_, err = w.groups.Join(t.Context(), key, Consumer{Buffer: 1})
	refused(err, Full)
	if err := w.groups.Update(t.Context(), key, settings, "test"); err != nil {
		t.Fatal(err)
	}
	_, err = m.Next(w.within())
	refused(err, Dropped)
	m.Close()
	w.groups.Close()
	if err := w.groups.Create(t.Context(), key, settings, "test"); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("closed groups answer %v", err)
	}
}

// Whatever stands in the streams that groups read of themselves, which anybody with the rights can write to, is read or refused.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"version":"2","entries":[{"stream":"s","group":"g","startFrom":-1,"historyBufferSize":500,"readBatchSize":20,` +
		`"maxCheckPointCount":10,"namedConsumerStrategy":"RoundRobin","end":7}]}`))
	f.Add([]byte(`{"entries":[{"stream":"$all","group":"g","startPosition":"C:3/P:3","filter":{"expression":"("}}]}`))
	f.Add([]byte(`{"added":"2024-01-01T00:00:00Z","reason":"r","subscriptionEventNumber":5}`))
	f.Add([]byte(`C:18446744073709551615/P:-1`))
	f.Fuzz(func(t *testing.T, data []byte) {
		stored := settingsLog{config: &Config{Spread: 128}}
		for _, old := range []bool{false, true} {
			if stored.parse(data, old) != nil {
				break
			}
			for key, e := range stored.all {
				raw := newStoredEntry(e)
				if again, err := raw.read(1); err != nil || !reflect.DeepEqual(again, e) || again.key != key {
					t.Errorf("%+v is read back as %+v: %v", e, again, err)
				}
			}
		}
		if at, ok := parsePlace(string(data)); ok && at < nowhere {
			t.Errorf("a place is %d", at)
		}
		if from, ok := parseStart(string(data)); ok && (from.At < -1 || from.Prepare > from.At) {
			t.Errorf("a start is %+v", from)
		}
	})
}

// TestCallsThatEnded changes groups for callers who are gone: all of it happens, or nothing.
func TestCallsThatEnded(t *testing.T) {
	w := newWorld(t)
	key := Key{Stream: "a", Group: "b::c"}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.groups.Create(gone, key, testSettings(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := w.groups.Restart(gone); err != nil {
		t.Fatal(err)
	}
	w.join(key, 1<<30).Close()
	var refusal *RefusalError
	if err := w.groups.Create(t.Context(), Key{Stream: "a::b", Group: "c"}, testSettings(), "test"); !errors.As(err, &refusal) || refusal.Kind != Exists {
		t.Errorf("a group whose notes would be in the same streams: %v", err)
	}
}

// TestWeight has a consumer whose transport takes nothing, and events of a mebibyte.
func TestWeight(t *testing.T) {
	m := newMachine(testSettings(), 0)
	slow := &consumer{buffer: 1 << 30, wake: make(chan struct{}, 1)}
	m.join(slow)
	for i := range 200 {
		m.take(place(i+1), &events.Envelope{ID: uuid.New(), Data: make([]byte, 1<<20)}, nil)
	}
	if slow.weight > maxWeight+2<<20 || slow.held == 0 || slow.held == 200 {
		t.Errorf("it holds %d messages of %d bytes", slow.held, slow.weight)
	}
	m.leave(slow)
	if slow.weight != 0 || slow.held != 0 {
		t.Errorf("it left and holds %d messages of %d bytes", slow.held, slow.weight)
	}
}

// A group whose feeder fails again and again says so. It is not read again for that: its consumers would get again what they hold.
func TestWatchdogKnowsTrouble(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 1)
	m := w.join(key, 10)
	held := w.next(m)
	w.store.broken.Store(true)
	w.groups.Close()
	w.open()
	m = w.join(key, 10)
	w.until(key, "it is in trouble", func(r Report) bool { return strings.Contains(r.Status, errRead.Error()) })
	began := time.Now()
	w.until(key, "some time has passed", func(Report) bool { return time.Since(began) > 400*time.Millisecond })
	w.store.broken.Store(false)
	if d := w.next(m); d.id() != held.id() {
		t.Errorf("delivered is %+v", d)
	}
	if r := w.until(key, "it is out of trouble", func(r Report) bool { return r.Status == "Live" }); r.Stalls != 0 {
		t.Errorf("it is said to have stalled %d times", r.Stalls)
	}
}
