package actorstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func contextWithin(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

func journalExpectations(t *testing.T, journal storage.Journal) {
	expectations := []storage.Expected{storage.ExpectNoStream, storage.ExpectAny, storage.ExpectExists, 0, 1, 2, 3, 7}
	for held := range 4 { // how many events the stream has
		last := events.Revision(held - 1)
		for _, expected := range expectations {
			stream := events.Stream(fmt.Sprintf("expect-%d-%d", held, expected))
			if held > 0 {
				mustAppend(t, journal, stream, storage.ExpectNoStream, batch("before", held))
			}
			holds := expected == storage.ExpectAny || expected == storage.ExpectExists && held > 0 || events.Revision(expected) == last
			added := batch("after", 2)
			if !holds {
				mustConflict(t, journal, stream, expected, added, last)
				if n := len(wholeStream(t, journal, stream)); n != held {
					t.Fatalf("%s after the refusal has %d events, want %d", stream, n, held)
				}
				continue
			}
			appended := mustAppend(t, journal, stream, expected, added)
			if appended.First != last+1 || appended.Last != last+2 {
				t.Fatalf("append to %s expecting %s: stored at %d to %d, want %d to %d",
					stream, expected, appended.First, appended.Last, last+1, last+2)
			}
			if n := len(wholeStream(t, journal, stream)); n != held+2 {
				t.Fatalf("%s has %d events, want %d", stream, n, held+2)
			}
		}
	}
}

func journalEmptyBatch(t *testing.T, journal storage.Journal) {
	mustConflict(t, journal, "empty-a", storage.ExpectExists, nil, events.NoRevision)
	mustConflict(t, journal, "empty-a", 0, nil, events.NoRevision)
	for _, expected := range []storage.Expected{storage.ExpectNoStream, storage.ExpectAny} {
		if got := mustAppend(t, journal, "empty-a", expected, nil); got.First != -1 || got.Last != -1 { // no position is promised
			t.Errorf("nothing appended to no stream: %+v, want revisions -1", got)
		}
	}
	mustAppend(t, journal, "empty-a", storage.ExpectNoStream, batch("only", 3))
	mustConflict(t, journal, "empty-a", storage.ExpectNoStream, nil, 2)
	mustConflict(t, journal, "empty-a", 1, nil, 2)
	mustConflict(t, journal, "empty-a", 3, nil, 2)
	for _, expected := range []storage.Expected{2, storage.ExpectExists, storage.ExpectAny} {
		if got := mustAppend(t, journal, "empty-a", expected, nil); got.First != 2 || got.Last != 2 {
			t.Errorf("nothing appended expecting %s: %+v, want revisions 2", expected, got)
		}
	}
	if n := len(everything(t, journal, storage.Filter{})); n != 3 {
		t.Errorf("the store has %d events, want 3", n)
	}
}

// odd makes envelopes whose fields are as different as writers may make them.
func odd() []events.Envelope {
	made := batch("odd", 9)
	made[1] = made[0] // everything as before, but for the id
	made[1].ID = uuid.New()
	made[2].Version, made[2].Time, made[2].Actor, made[2].Command = 1<<31, -1, "", ""
	made[3].Command = events.CommandID(uuid.NewString())
	made[3].Correlation = string(made[3].Command)
	made[3].Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	made[4].Command = events.CommandID(strings.ToUpper(uuid.NewString()))
	made[4].Causation = "agent-odd@7"
	made[4].Host, made[5].Host, made[6].Host = "books-1#17", "books-1#17", "books-2#9"
	made[4].Traceparent = "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	made[5].Causation = "wallet-other@123456789"
	made[5].Correlation = "odd/1"
	made[5].Traceparent = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	made[6].Causation = "agent-odd@007"
	made[6].Actor = "Ünïcode — " + strings.Repeat("x", 300)
	made[6].Traceparent = "not a trace"
	made[7].Causation = "@"
	made[7].Time = 1<<63 - 1
	made[7].Data = []byte(`{"big":"` + strings.Repeat("é", 1<<17) + `"}`)
	made[8].Time = -1 << 63
	made[8].Kind = "k"
	made[8].Data = []byte(`{}`)
	return made
}

func journalFidelity(t *testing.T, journal storage.Journal) {
	const stream = events.Stream("agent-odd")
	sent := odd()
	mustAppend(t, journal, stream, storage.ExpectNoStream, sent)
	for i := range sent {
		one := sent[i]
		one.ID = uuid.New()
		sent = append(sent, one)
		mustAppend(t, journal, stream, storage.ExpectRevision(events.Revision(len(sent)-2)), sent[len(sent)-1:])
	}
	got := wholeStream(t, journal, stream)
	sameEvents(t, "a stream and everything", got, everything(t, journal, storage.Filter{}))
	for i := range sent {
		sent[i].Stream, sent[i].Revision = stream, events.Revision(i)
		if i < len(got) {
			sent[i].Position = got[i].Position
		}
	}
	sameEvents(t, "what came back", got, sent)
}

func journalOwnership(t *testing.T, journal storage.Journal) {
	sent := batch("mine", 2)
	want := bytes.Clone(sent[0].Data)
	mustAppend(t, journal, "own-a", storage.ExpectNoStream, sent)
	for range 2 {
		for i := range sent {
			copy(sent[i].Data, "##########")
			sent[i].Data = append(sent[i].Data, "#####"...) // must not reach a neighbour's bytes
		}
		got := wholeStream(t, journal, "own-a")
		if !bytes.Equal(got[0].Data, want) {
			t.Fatalf("the stored data became %s, want %s", got[0].Data, want)
		}
		if !bytes.Contains(got[1].Data, []byte(`"index":1`)) {
			t.Fatalf("the second event's data became %s", got[1].Data)
		}
		sent = got
	}
}

func journalNumbers(t *testing.T, journal storage.Journal) {
	streams := []events.Stream{"numbers-a", "numbers-b", "numbers-c"}
	next := map[events.Stream]events.Revision{}
	position := events.Position(0)
	for i := range 30 {
		stream, size := streams[i%len(streams)], i%4+1
		appended := mustAppend(t, journal, stream, storage.ExpectRevision(next[stream]-1), batch("n", size))
		if appended.First != next[stream] || appended.Last != next[stream]+events.Revision(size)-1 {
			t.Fatalf("batch %d of %s is at %d to %d, want to begin at %d", i, stream, appended.First, appended.Last, next[stream])
		}
		if appended.Position <= position {
			t.Fatalf("batch %d has position %d after %d", i, appended.Position, position)
		}
		next[stream], position = appended.Last+1, appended.Position
		held := wholeStream(t, journal, stream)
		if last := held[len(held)-1]; last.Position != appended.Position || last.Revision != appended.Last {
			t.Fatalf("the last event of %s is at %d, position %d; the answer was %+v", stream, last.Revision, last.Position, appended)
		}
	}
	for _, stream := range streams {
		for i, e := range wholeStream(t, journal, stream) {
			if e.Revision != events.Revision(i) || e.Stream != stream {
				t.Fatalf("event %d of %s says %s", i, stream, e.Ref())
			}
		}
	}
	checkOrder(t, everything(t, journal, storage.Filter{}))
}

// checkOrder fails unless positions increase and each stream's revisions count from 0.
func checkOrder(t *testing.T, all []events.Envelope) {
	t.Helper()
	next := map[events.Stream]events.Revision{}
	position := events.Position(0)
	for _, e := range all {
		if e.Position <= position {
			t.Fatalf("position %d follows %d", e.Position, position)
		}
		if e.Revision != next[e.Stream] {
			t.Fatalf("%s follows revision %d", e.Ref(), next[e.Stream]-1)
		}
		position = e.Position
		next[e.Stream]++
	}
}

func journalMalformed(t *testing.T, journal storage.Journal) {
	noID, noKind := batch("x", 2), batch("x", 2)
	noID[1].ID = uuid.Nil
	noKind[1].Kind = ""
	tooLarge := batch("x", 2)
	tooLarge[1].Data = bytes.Repeat([]byte(" "), storage.MaxAppend)
	rows := []struct {
		name     string
		stream   events.Stream
		expected storage.Expected
		batch    []events.Envelope
		says     string
	}{
		{"no name", "", storage.ExpectAny, batch("x", 1), "name is empty"},
		{"NUL in the name", "bad-\x00", storage.ExpectAny, batch("x", 1), "NUL"},
		{"long name", events.Stream(strings.Repeat("x", 1025)), storage.ExpectAny, batch("x", 1), "1025 bytes"},
		{"long name behind $$", events.Stream("$$" + strings.Repeat("x", 1025)), storage.ExpectAny, batch("x", 1), "1025 bytes"},
		{"long name that begins with $", events.Stream("$" + strings.Repeat("x", 1024)), storage.ExpectAny, batch("x", 1), "1025 bytes"},
		{"unknown expectation", "bad-expect", -3, batch("x", 1), "expectation -3"},
		{"event without id", "bad-id", storage.ExpectAny, noID, "event 1"},
		{"event without kind", "bad-kind", storage.ExpectAny, noKind, "event 1"},
		{"too large", "bad-size", storage.ExpectAny, tooLarge, "16777216"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := journal.Append(t.Context(), row.stream, row.expected, row.batch)
			if !errors.Is(err, storage.ErrInvalidAppend) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("the error is %v, want an invalid append that says %q", err, row.says)
			}
		})
	}
	if _, err := journal.Read(t.Context(), "", 0, storage.Forward, storage.Limit{}); err == nil {
		t.Error("a stream without a name was read")
	}
	sameEvents(t, "what malformed appends stored", everything(t, journal, storage.Filter{}), nil)
}

func journalGreatest(t *testing.T, journal storage.Journal, greatest int) {
	const stream = events.Stream("great-a")
	sent := batch("x", 3)
	sent[1].Data = []byte(`"` + strings.Repeat(" ", greatest-storage.BatchSize(sent)+len(sent[1].Data)-2) + `"`)
	mustAppend(t, journal, stream, storage.ExpectNoStream, sent)
	mustAppend(t, journal, stream, 2, batch("small", 1))
	got := wholeStream(t, journal, stream)
	if len(got) != 4 || !bytes.Equal(got[1].Data, sent[1].Data) || !bytes.Equal(got[2].Data, sent[2].Data) {
		t.Fatalf("%d events came back, or other bytes", len(got))
	}
}

func journalEndedContext(t *testing.T, journal storage.Journal) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := journal.Append(ctx, "ended-a", storage.ExpectAny, batch("x", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("append: the error is %v, want %v", err, context.Canceled)
	}
	if _, err := journal.Read(ctx, "ended-a", 0, storage.Forward, storage.Limit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("read: the error is %v, want %v", err, context.Canceled)
	}
	if _, err := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("read everything: the error is %v, want %v", err, context.Canceled)
	}
}
