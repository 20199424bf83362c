package groups

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/link"
	"example.com/life/events"
)

// old makes a group's own event as builds before spread positions wrote it.
func old(kind events.Kind, data, metadata string) events.Envelope {
	e := note(kind, []byte(data), nil, storage.Now())
	if e.Version = 1; metadata != "" {
		e.Foreign.Metadata = []byte(metadata)
	}
	return e
}

func oldLink(target, metadata string) events.Envelope {
	e := old(link.Kind, string(link.Data(target)), metadata)
	e.Foreign.ContentType, e.Foreign.Base64 = "application/octet-stream", true
	return e
}

// oldEntry is a group in the settings as those builds wrote it.
func oldEntry(key Key, startFrom int64, startPosition string, end int64) string {
	return fmt.Sprintf(`{"stream":%q,"group":%q,"messageTimeout":60000,"startFrom":%d,"startPosition":%q,"liveBufferSize":0,"historyBufferSize":500,"readBatchSize":10,`+
		`"maxRetryCount":3,"checkPointAfter":0,"minCheckPointCount":1,"maxCheckPointCount":10,"namedConsumerStrategy":"RoundRobin","filter":{"prefixes":["s"]},"end":%d}`,
		key.Stream, key.Group, startFrom, startPosition, end)
}

// TestNotesOfOlderBuilds opens a directory whose groups note positions as the directory counts them: nothing is lost and nothing delivered
// again.
func TestNotesOfOlderBuilds(t *testing.T) {
	w := newWorld(t)
	w.groups.Close()
	w.append("t", 1)
	w.append("s", 6) // at 2 to 7 in the directory
	acked, from, between, end, whole := Key{All, "acked"}, Key{All, "from"}, Key{All, "between"}, Key{All, "end"}, Key{"s", "stream"}
	if at := w.write("s", note("test", []byte(`{}`), nil, storage.Now())); at != 8*spread { // at 8, revision 6
		t.Fatalf("the events are not where this test has them: the last is at %d", at)
	}
	w.write(configStream, old(configKind, `{"version":"2","entries":[`+strings.Join([]string{
		oldEntry(acked, 0, "C:0/P:0", 1), oldEntry(from, 5, "C:5/P:5", 7), oldEntry(between, 3, "C:3/P:3", 7), oldEntry(end, -1, "C:-1/P:-1", 7),
		strings.Replace(oldEntry(whole, 0, "0", 6), `"filter":{"prefixes":["s"]},`, "", 1),
	}, ",")+`]}`, ""))
	w.write(acked.checkpointStream(), old(checkpointKind, `"C:1/P:1"`, ""), old(checkpointKind, `"C:3/P:3"`, ""))
	w.write(acked.parkedStream(),
		oldLink("3@s", `{"added":"2026-01-01T00:00:00Z","reason":"r","subscriptionPosition":"C:5/P:5"}`),
		oldLink("3@s", `{"added":"2026-01-01T00:00:00Z","reason":"replayed and parked again"}`))
	w.write(whole.checkpointStream(), old(checkpointKind, `"2"`, ""))
	w.write(whole.parkedStream(),
		oldLink("4@s", `{"added":"2026-01-01T00:00:00Z","reason":"r","subscriptionEventNumber":4}`),
		oldLink("1@s", `{"added":"2026-01-01T00:00:00Z","reason":"as EventStoreDB numbers what was replayed","subscriptionEventNumber":5}`))
	w.open()
	for key, want := range map[Key]struct {
		start     string
		revisions []events.Revision
	}{
		acked:   {"C:0/P:0", []events.Revision{2, 4, 5, 6}}, // 3 is parked
		from:    {fmt.Sprintf("C:%d/P:%d", 5*spread, 5*spread), []events.Revision{3, 4, 5, 6}},
		between: {fmt.Sprintf("C:%d/P:%d", 3*spread, 3*spread), []events.Revision{1, 2, 3, 4, 5, 6}},
		end:     {"C:-1/P:-1", []events.Revision{6}},
		whole:   {"0", []events.Revision{3, 5, 6}}, // 4 is parked
	} {
		t.Run(key.Group, func(t *testing.T) {
			w := *w
			w.t = t
			m := w.join(key, 10)
			w.expect(m, want.revisions...)
			report := w.until(key, "all is done", func(r Report) bool {
				return r.Undone == 0 && r.LastCheckpoint != "" && !strings.Contains(r.LastCheckpoint, "C:3/")
			})
			if report.StartFrom != want.start || len(report.Troubles) > 0 {
				t.Errorf("it tells %+v, want that it starts from %s", report, want.start)
			}
			m.Close()
		})
	}
	// What is written now is read as it stands, with what is left of the old notes beside it.
	w.create(Key{"t", "new"}, testSettings())
	w.crash()
	w.append("s", 1)
	for key, parked := range map[Key]int64{acked: 2, from: 0, between: 0, end: 0, whole: 2} {
		m := w.join(key, 10)
		w.expect(m, 7)
		m.Close()
		if r := w.until(key, "it has what it had parked", func(r Report) bool { return r.Parked == parked && r.Undone == 0 }); len(r.Troubles) > 0 {
			t.Errorf("%s is in trouble: %v", key, r.Troubles)
		}
	}
}

// TestPlaceOfAnotherStore has a checkpoint that names no event. That is said, with what to do, and when it is done the group goes on.
func TestPlaceOfAnotherStore(t *testing.T) {
	for name, checkpoint := range map[string]string{"between events": `"C:130/P:130"`, "beyond the last": `"C:128000/P:128000"`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key := Key{All, "g"}
			settings := testSettings()
			settings.Filter = &Filter{Prefixes: []string{"s"}}
			w.create(key, settings)
			w.append("s", 3)
			w.write(key.checkpointStream(), note(checkpointKind, []byte(checkpoint), nil, storage.Now()))
			w.crash()
			w.until(key, "it says what to do", func(r Report) bool {
				return strings.Contains(r.Status, "delete "+string(key.checkpointStream())+" and update the group")
			})
			if _, err := w.store.Delete(t.Context(), key.checkpointStream(), storage.ExpectAny); err != nil {
				t.Fatal(err)
			}
			if err := w.groups.Update(t.Context(), key, settings, "test"); err != nil {
				t.Fatal(err)
			}
			w.expect(w.join(key, 10), 0, 1, 2)
		})
	}
}

// TestBeginsAtAPosition begins groups at every position there can be, with an event and without.
func TestBeginsAtAPosition(t *testing.T) {
	w := newWorld(t)
	settings := testSettings()
	settings.Filter = &Filter{Prefixes: []string{"s"}}
	w.append("t", 1)
	w.append("s", 3) // at 2 to 4
	for position, want := range map[int64]events.Revision{
		0: 0, 1: 0, spread: 0, spread + 1: 0, 2 * spread: 0, 2*spread + 1: 1, 3 * spread: 1, 3*spread + 50: 2, 4 * spread: 2,
	} {
		settings.Start = Start{At: position}
		key := Key{All, fmt.Sprint(position)}
		w.create(key, settings)
		m := w.join(key, 1)
		if d := w.next(m); d.Event.Revision != want {
			t.Errorf("from %d it begins with event %d, want %d", position, d.Event.Revision, want)
		}
		m.Close()
	}
	w.crash() // they begin there again, as they have no checkpoint
	m := w.join(Key{All, fmt.Sprint(2*spread + 1)}, 10)
	w.expect(m, 1, 2)
	settings.Start = Start{At: 1 << 40}
	wantRefusal(t, w.groups.Create(t.Context(), Key{All, "beyond"}, settings, "test"), Failed)
}

// TestManyParkedBehindOneThatIsHeld restarts a group whose oldest message is not answered, while thousands behind it are parked.
func TestManyParkedBehindOneThatIsHeld(t *testing.T) {
	for _, stream := range []events.Stream{"s", All} {
		t.Run(string(stream), func(t *testing.T) {
			const many = 2000
			w := newWorld(t)
			key := Key{stream, "g"}
			settings := testSettings()
			if settings.HistoryBuffer = 2 * many; stream == All {
				settings.Filter = &Filter{Prefixes: []string{"s"}}
			}
			w.create(key, settings)
			w.append("before", 10)
			w.append("s", 1+many/2)
			w.append("s", many-many/2+1)
			m := w.join(key, maxBuffer)
			w.next(m) // event 0 holds the checkpoint
			var ids []events.EventID
			for range many {
				ids = append(ids, w.next(m).id())
				if len(ids) == maxBuffer-1 {
					m.Nack(Park, "aside", ids...)
					ids = nil
				}
			}
			m.Nack(Park, "aside", ids...)
			w.until(key, "they are parked", func(r Report) bool { return r.Parked == many })
			w.crash()
			m = w.join(key, 10)
			w.expect(m, 0, many+1)
			w.until(key, "nothing is parked twice", func(r Report) bool { return r.Undone == 0 && r.Parked == many && r.LastCheckpoint != "" })
		})
	}
}

// TestOnlyWhatIsParkedSinceIsRead stops looking through the parked stream where the checkpoint is.
func TestOnlyWhatIsParkedSinceIsRead(t *testing.T) {
	w := newWorld(t)
	key := Key{"s", "g"}
	w.create(key, testSettings())
	w.append("s", 3000)
	m := w.join(key, maxBuffer)
	for range 2999 {
		m.Nack(Park, "aside", w.next(m).id())
	}
	w.until(key, "they are done", func(r Report) bool { return r.Parked == 2999 && r.LastCheckpoint == "2998" })
	w.crash()
	before := w.store.reads.Load()
	w.until(key, "it has begun", func(r Report) bool { return r.Status != "NotReady" })
	if reads := before - w.store.reads.Load(); reads > 50 {
		t.Errorf("%d reads to begin", reads)
	}
	w.expect(w.join(key, 1), 2999)
}

// TestFilterThatMatchesNothing follows a store that is written to, at a thousand events a second. Its checkpoint moves on, is seldom written,
// and a restart reads little again.
func TestFilterThatMatchesNothing(t *testing.T) {
	m := newMachine(Settings{Strategy: RoundRobin, HistoryBuffer: 20, MinCheckpoint: 10, MaxCheckpoint: 1000, CheckpointAfter: 2 * time.Second}, 0)
	m.begin(nowhere, nowhere, nil, 0)
	writes, seconds := 0, 60
	for at := range place(1000 * seconds) {
		m.tick(events.Micros(at) * events.Millisecond)
		if m.pass(at, false); m.due(false) {
			writes++
			m.wasSaved(m.checkpoint(), m.finished, m.passed)
		}
	}
	if behind := m.read - m.saved; writes > seconds/5 || writes == 0 || behind > 6000 {
		t.Errorf("%d checkpoints in %d s, %d events behind", writes, seconds, behind)
	}
	writes = 0 // a long history, which is read much faster
	for at := m.read; at < 2_000_000; at++ {
		m.tick(m.now + 5)
		if m.pass(at, false); m.due(false) {
			writes++
			m.wasSaved(m.checkpoint(), m.finished, m.passed)
		}
	}
	if writes > 10 {
		t.Errorf("%d checkpoints in 10 s", writes)
	}

	w := newWorld(t)
	key, settings := Key{All, "g"}, testSettings()
	settings.Filter, settings.MinCheckpoint, settings.MaxCheckpoint, settings.CheckpointAfter = &Filter{Prefixes: []string{"nothing"}}, 10, 1000, time.Hour
	w.create(key, settings)
	for range 30 {
		w.append("s", 1000)
	}
	w.until(key, "it has read everything", func(r Report) bool { return r.Status == "Live" })
	count := func() int {
		page, err := w.store.Read(t.Context(), key.checkpointStream(), math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		return int(page.Last) + 1
	}
	if written := count(); written > 3 {
		t.Errorf("%d checkpoints were written", written)
	}
	w.groups.Close()
	if written := count(); written < 1 || written > 4 {
		t.Errorf("%d checkpoints were written", written)
	}
	w.open()
	w.until(key, "it has read everything again", func(r Report) bool { return r.Status == "Live" })
	if from := w.store.from.Load() / spread; from < 30_000 {
		t.Errorf("it reads again from %d of 30000 events", from)
	}
	// Notes of groups alone are no reason to write: two groups would keep each other busy.
	written := count()
	for range 5 {
		w.groups.Close()
		w.open()
		w.until(key, "it has begun", func(r Report) bool { return r.Status == "Live" })
	}
	if count() != written {
		t.Errorf("%d checkpoints were written though nothing happened", count()-written)
	}
}

// A parked link says nothing on the wire of where its message was; the group finds it again all the same.
func TestParkedFrom(t *testing.T) {
	w := newWorld(t)
	w.append("s", 5)
	stream, all := Key{"s", "g"}, Key{All, "g"}
	parked := func(target, metadata string, causation events.Ref) events.Envelope {
		e := oldLink(target, metadata)
		if causation != "" {
			e.Version, e.Causation = noteVersion, causation
		}
		return e
	}
	for name, test := range map[string]struct {
		key  Key
		link events.Envelope
		want place
	}{
		"of a stream":              {stream, parked("3@s", `{"subscriptionEventNumber":3}`, "s@3"), 3},
		"first of a stream":        {stream, parked("0@s", `{}`, "s@0"), 0},
		"replayed":                 {stream, parked("3@s", `{"subscriptionEventNumber":3}`, "$persistentsubscription-s::g-parked@3"), nowhere},
		"of everything":            {all, parked("3@s", `{"subscriptionEventNumber":3}`, "$all@640"), 640},
		"old, of a stream":         {stream, parked("3@s", `{"subscriptionEventNumber":3}`, ""), 3},
		"old, of another event":    {stream, parked("2@s", `{"subscriptionEventNumber":3}`, ""), nowhere},
		"old, of no event":         {stream, parked("9@s", `{"subscriptionEventNumber":9}`, ""), nowhere},
		"old, without a number":    {stream, parked("0@s", `{}`, ""), nowhere},
		"old, negative":            {stream, parked("0@s", `{"subscriptionEventNumber":-1}`, ""), nowhere},
		"old, of everything":       {all, parked("3@s", `{"subscriptionPosition":"C:5/P:5"}`, ""), 5 * spread},
		"old, beyond everything":   {all, parked("3@s", `{"subscriptionPosition":"C:9223372036854775807/P:0"}`, ""), nowhere},
		"EventStoreDB's, of all":   {all, parked("3@s", `{"subscriptionEventNumber":3}`, ""), nowhere},
		"no metadata":              {stream, parked("3@s", ``, ""), nowhere},
		"metadata that are no map": {stream, parked("3@s", `[]`, ""), nowhere},
	} {
		t.Run(name, func(t *testing.T) {
			r := &runner{key: test.key, config: &w.groups.config}
			at, err := (&writer{runner: r}).parkedFrom(t.Context(), &test.link)
			if err != nil || at != test.want {
				t.Errorf("it was at %d, %v, want %d", at, err, test.want)
			}
		})
	}
	// With links resolved, the number is the link's and the target what it leads to.
	w.write("links", oldLink("1@s", ""), oldLink("4@s", ""))
	r := &runner{key: Key{"links", "g"}, config: &w.groups.config, entry: entry{settings: Settings{ResolveLinks: true}}}
	last := parked("4@s", `{"subscriptionEventNumber":1}`, "")
	if at, err := (&writer{runner: r}).parkedFrom(t.Context(), &last); err != nil || at != 1 {
		t.Errorf("it was at %d, %v, want 1", at, err)
	}
}

// What a group writes now tells nothing but what EventStoreDB's does, and is marked all the same.
func TestNotesAreMarked(t *testing.T) {
	w := newWorld(t)
	key := Key{All, "g"}
	settings := testSettings()
	settings.Filter = &Filter{Prefixes: []string{"s"}}
	w.create(key, settings)
	w.append("s", 2)
	m := w.join(key, 10)
	m.Ack(w.next(m).id())
	m.Nack(Park, "aside", w.next(m).id())
	w.until(key, "both are done", func(r Report) bool { return r.Undone == 0 && r.Parked == 1 && r.LastCheckpoint != "" })
	for _, stream := range []events.Stream{configStream, key.checkpointStream(), key.parkedStream()} {
		page, err := w.store.Read(t.Context(), stream, math.MaxInt64, storage.Backward, storage.Limit{Events: 1})
		if err != nil || len(page.Events) != 1 {
			t.Fatal(err)
		}
		e := page.Events[0]
		if e.Version != noteVersion || e.Foreign == nil || slices.Contains([]events.Stream{configStream, key.checkpointStream()}, stream) && e.Metadata() != nil {
			t.Errorf("%s is marked with version %d, and has the metadata %s", e.Ref(), e.Version, e.Metadata())
		}
		copied := events.Envelope{ID: uuid.New()} // through the protocol, which carries metadata alone
		copied.SetMetadata(e.Metadata())
		if w.groups.config.spread(&e) != 1 || w.groups.config.spread(&copied) != spread {
			t.Errorf("%s or its copy is read as what it is not", e.Ref())
		}
	}
}
