package groups

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func wantRefusal(t testing.TB, err error, kind Kind) {
	t.Helper()
	var refusal *RefusalError
	if !errors.As(err, &refusal) || refusal.Kind != kind || refusal.Error() == "" {
		t.Errorf("the answer is %v, want a refusal of kind %d", err, kind)
	}
}

// TestWhileAGroupIsChanged has consumers come, and messages replayed, in the midst of a change: it is as if they came after it.
func TestWhileAGroupIsChanged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world, key Key) error
		gone   bool
	}{
		"updated": {change: func(w *world, key Key) error { return w.groups.Update(w.t.Context(), key, testSettings(), "test") }},
		"restarted": {change: func(w *world, _ Key) error {
			return w.groups.Restart(w.t.Context())
		}},
		"deleted": {change: func(w *world, key Key) error { return w.groups.Delete(w.t.Context(), key, "test") }, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key := Key{"s", "g"}
			settings := testSettings()
			settings.MinCheckpoint, settings.MaxCheckpoint = 100, 100 // the last word is the first checkpoint
			w.create(key, settings)
			w.append("s", 3)
			m := w.join(key, 10)
			m.Nack(Park, "aside", w.next(m).id())
			m.Ack(w.next(m).id())
			w.until(key, "one is parked", func(r Report) bool { return r.Parked == 1 })
			begun, end := make(chan struct{}), make(chan struct{})
			w.store.fail(func(stream events.Stream, do func() (storage.Appended, error)) (storage.Appended, error) {
				if stream == key.checkpointStream() {
					close(begun)
					<-end
					w.store.appends.Store(nil)
				}
				return do()
			})
			changed := make(chan error, 1)
			go func() { changed <- test.change(w, key) }()
			<-begun
			if _, err := m.Next(w.within()); err == nil {
				t.Error("the consumer goes on")
			} else {
				wantRefusal(t, err, Dropped)
			}
			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := w.groups.Join(impatient, key, Consumer{Buffer: 1}); !errors.Is(err, context.Canceled) {
				t.Errorf("a consumer who is gone gets %v", err)
			}
			joined, replayed := make(chan error, 1), make(chan error, 1)
			var again *Member
			go func() {
				var err error
				again, err = w.groups.Join(w.within(), key, Consumer{Buffer: 10})
				joined <- err
			}()
			go func() { replayed <- w.groups.ReplayParked(w.within(), key, math.MaxInt64) }()
			if _, err := w.groups.Report(t.Context(), key); err != nil {
				t.Errorf("in the midst it tells %v", err)
			}
			close(end)
			if err := errors.Join(<-changed); err != nil {
				t.Fatal(err)
			}
			if test.gone {
				wantRefusal(t, <-joined, Missing)
				wantRefusal(t, <-replayed, Missing)
				return
			}
			if err := errors.Join(<-joined, <-replayed); err != nil {
				t.Fatal(err)
			}
			got := map[events.Revision]bool{}
			for range 2 {
				d := w.next(again)
				got[d.Event.Revision] = true
				again.Ack(d.id())
			}
			if !got[0] || !got[2] {
				t.Errorf("delivered are %v, want the replayed event 0 and event 2", got)
			}
		})
	}
}

// TestRestartThatCannotRead leaves everything as it is.
func TestRestartThatCannotRead(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 1)
	m := w.join(key, 1)
	w.store.reads.Store(1)
	if err := w.groups.Restart(t.Context()); !errors.Is(err, errRead) {
		t.Fatalf("the answer is %v, want %v", err, errRead)
	}
	w.expect(m, 0)
	other := Key{"t", "g"}
	w.create(other, testSettings()) // writes down all groups
	w.crash()
	for _, key := range []Key{key, other} {
		w.join(key, 1)
	}
}

// TestBrokenSettings has groups whose settings cannot be read: the others are served, and these are kept until they are updated or deleted.
func TestBrokenSettings(t *testing.T) {
	w := newWorld(t)
	good, strategy, form, filter := Key{"s", "good"}, Key{"s", "strategy"}, Key{"s", "form"}, Key{All, "filter"}
	for _, key := range []Key{good, strategy, form} {
		w.create(key, testSettings())
	}
	w.append("s", 2)
	m := w.join(strategy, 10)
	m.Ack(w.next(m).id())
	m.Nack(Park, "aside", w.next(m).id())
	w.until(strategy, "it has come to its end", func(r Report) bool { return r.LastCheckpoint == "1" && r.Parked == 1 })
	entry := func(key Key, more string) string {
		return fmt.Sprintf(`{"stream":%q,"group":%q,"startPosition":"0","historyBufferSize":20,"readBatchSize":10,"maxCheckPointCount":1%s}`, key.Stream, key.Group, more)
	}
	config := `{"version":"2","entries":[` + strings.Join([]string{
		entry(good, `,"namedConsumerStrategy":"RoundRobin"`), entry(strategy, `,"namedConsumerStrategy":"Whoever"`), entry(form, `,"maxRetryCount":"many"`),
		entry(filter, `,"namedConsumerStrategy":"RoundRobin","filter":{"expression":"("}`), `7`, `{"group":null}`,
	}, ",") + `]}`
	w.write(configStream, note(configKind, []byte(config), nil, storage.Now()))
	w.crash()
	for _, broken := range []string{`group=s::strategy`, `group=s::form`, `group=$all::filter`, `group=::`} {
		if !strings.Contains(w.log.String(), broken) {
			t.Errorf("nothing is said of %s: %s", broken, w.log)
		}
	}
	w.join(good, 1).Close()
	for _, key := range []Key{strategy, form, filter} {
		_, err := w.groups.Join(t.Context(), key, Consumer{Buffer: 1})
		wantRefusal(t, err, Failed)
		_, err = w.groups.Report(t.Context(), key)
		wantRefusal(t, err, Failed)
		wantRefusal(t, w.groups.Create(t.Context(), key, testSettings(), "test"), Exists)
	}
	wantRefusal(t, w.groups.Update(t.Context(), filter, testSettings(), "test"), Failed) // without its filter it would get everything

	w.create(Key{"t", "new"}, testSettings()) // writes down all groups
	if err := w.groups.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.groups.Join(t.Context(), form, Consumer{Buffer: 1})
	wantRefusal(t, err, Failed) // it is still there
	if err := w.groups.Update(t.Context(), strategy, testSettings(), "test"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{form, filter} {
		if err := w.groups.Delete(t.Context(), key, "test"); err != nil {
			t.Fatal(err)
		}
	}
	w.crash()
	w.until(strategy, "it is where it was", func(r Report) bool { return r.LastCheckpoint == "1" && r.Parked == 1 })
	for _, key := range []Key{form, filter} {
		_, err := w.groups.Join(t.Context(), key, Consumer{Buffer: 1})
		wantRefusal(t, err, Missing)
	}
	page, err := w.store.Read(t.Context(), configStream, math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
	if err != nil || !strings.Contains(string(page.Events[0].Data), `7,{"group":null}`) {
		t.Errorf("what is no group at all is not kept: %s, %v", page.Events[0].Data, err)
	}
}

// TestUnreadableSettings has events among the settings that nobody can read: those before them count.
func TestUnreadableSettings(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	for range 40 {
		w.write(configStream, note("somebody's", []byte(`[1]`), nil, storage.Now()))
	}
	w.crash()
	w.join(key, 1).Close()
	w.create(Key{"s", "other"}, testSettings())
	w.crash()
	w.join(key, 1).Close()
	if !strings.Contains(w.log.String(), "those before them count") {
		t.Errorf("nothing is said of it: %s", w.log)
	}

	w = newWorld(t)
	w.write(configStream, note("somebody's", []byte(`[1]`), nil, storage.Now()))
	w.crash()
	w.create(key, testSettings())
	w.crash()
	w.join(key, 1).Close()

	if _, err := w.store.Tombstone(t.Context(), configStream, storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	w.crash()
	_, err := w.groups.Join(t.Context(), key, Consumer{Buffer: 1})
	wantRefusal(t, err, Missing)
	if err := w.groups.Create(t.Context(), key, testSettings(), "test"); !errors.Is(err, storage.ErrDeleted) {
		t.Errorf("a group is made, and the answer is %v", err)
	}
}

// A group is refused for its strategy or its start even when it exists, as EventStoreDB does; for everything else it exists first.
func TestOrderOfRefusals(t *testing.T) {
	w := newWorld(t)
	key := Key{All, "g"}
	w.create(key, testSettings())
	for want, change := range map[Kind]func(*Settings){
		Failed: func(s *Settings) { s.Strategy, s.Start.At = "Whoever", 1<<40 },
		Exists: func(s *Settings) { s.ReadBatch = 20 },
	} {
		settings := testSettings()
		change(&settings)
		wantRefusal(t, w.groups.Create(t.Context(), key, settings, "test"), want)
		wantRefusal(t, w.groups.Update(t.Context(), key, settings, "test"), Failed)
		wantRefusal(t, w.groups.Update(t.Context(), Key{All, "none"}, settings, "test"), Missing)
	}
}
