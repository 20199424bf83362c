package history_test

import (
	"cmp"
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas/world"
)

// ledger is a journal to read from, which holds whatever a test puts into it.
type ledger struct {
	storage.Journal
	all []events.Envelope
}

// worldly is a history that verifies.
func worldly(t testing.TB, c world.Config) *ledger {
	t.Helper()
	made, l := world.New(c), &ledger{}
	for {
		batch, err := made.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return l
		}
		l.all = append(l.all, batch...)
	}
}

func (l *ledger) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, _ storage.Filter, limit storage.Limit) (storage.Page, error) {
	if direction == storage.Backward {
		return storage.Page{Events: l.all[len(l.all)-1:]}, ctx.Err()
	}
	begin, _ := slices.BinarySearchFunc(l.all, from.Position+1, func(e events.Envelope, p events.Position) int { return cmp.Compare(e.Position, p) })
	end := min(begin+min(limit.Events, 100), len(l.all))
	page := storage.Page{Events: slices.Clone(l.all[begin:end]), Next: from, End: end == len(l.all)}
	if begin < end {
		page.Next = storage.After(l.all[end-1].Position)
	}
	return page, ctx.Err()
}

func (l *ledger) Read(ctx context.Context, stream events.Stream, from events.Revision, _ storage.Direction, limit storage.Limit) (storage.Page, error) {
	page := storage.Page{Last: events.NoRevision, End: true}
	for i := range l.all {
		if l.all[i].Stream != stream {
			continue
		}
		page.Last = l.all[i].Revision
		if page.Last < from {
			continue
		}
		if len(page.Events) < min(limit.Events, 50) {
			page.Events = append(page.Events, l.all[i])
		} else {
			page.End = false
		}
	}
	return page, ctx.Err()
}

// at is the index of the first event of a kind in a stream, from an index on.
func (l *ledger) at(t testing.TB, from int, stream events.Stream, kind events.Kind) int {
	t.Helper()
	for i := from; i < len(l.all); i++ {
		if l.all[i].Stream == stream && l.all[i].Kind == kind {
			return i
		}
	}
	t.Fatalf("%s has no %s", stream, kind)
	return 0
}

// chain gives a stream the revisions and digests that its events have: what is changed in it then shows in decisions alone.
func (l *ledger) chain(stream events.Stream) {
	digest, next := events.Digest{}, events.Revision(0)
	for i := range l.all {
		if e := &l.all[i]; e.Stream == stream {
			digest = digest.Next(e.Kind, e.Data)
			e.Revision, e.Digest = next, digest
			next++
		}
	}
}

// append adds an event to the end.
func (l *ledger) append(stream events.Stream, command events.CommandID, event events.Event) {
	data, version, _ := events.Encode(event)
	l.all = append(l.all, events.Envelope{
		ID: uuid.New(), Stream: stream, Position: l.all[len(l.all)-1].Position + 1, Kind: event.Kind(), Version: version, Time: l.all[len(l.all)-1].Time + 1,
		Command: command, Data: data,
	})
	l.chain(stream)
}

func verifying(journal storage.Journal, blobs storage.Blobs) *history.Reader {
	return history.New(history.Config{Build: "test", Journal: journal, Blobs: blobs})
}

// feedless lets a host run on a ledger: nobody is told of anything.
func (l *ledger) Subscribe(context.Context, storage.From) (storage.Subscription, error) {
	return silent{}, nil
}

type silent struct{}

func (silent) Next(ctx context.Context) (events.Envelope, error) {
	<-ctx.Done()
	return events.Envelope{}, ctx.Err()
}
func (silent) Close() error { return nil }

// TestVerifyInPasses: with little memory, whatever the number of workers, the same is found in more passes.
func TestVerifyInPasses(t *testing.T) {
	l := worldly(t, world.Config{Seed: 5, Agents: 40, Events: 3000})
	broken := l.at(t, 1000, "agent-agent-7", "turn.ended")
	l.all[broken].Data = []byte(`{"turn":"agent-7/1"}`)
	host := verifying(l, actorstest.NewBlobs())
	whole, err := host.Verify(t.Context(), "", nil)
	if err != nil || whole.Passes != 1 || whole.Events != int64(len(l.all)) || len(whole.Failures) != 1 {
		t.Fatalf("verified %d of %d events in %d passes with %d failures, %v", whole.Events, len(l.all), whole.Passes, len(whole.Failures), err)
	}
	for _, memory := range []int64{60_000, 150_000} {
		for _, workers := range []int{1, 3} {
			parts, err := host.VerifyWithin(t.Context(), memory, workers)
			if err != nil {
				t.Fatal(err)
			}
			if parts.Passes < 2 {
				t.Errorf("with %d bytes there was %d pass", memory, parts.Passes)
			}
			parts.Passes = whole.Passes
			same(t, whole, parts)
		}
	}
}

// TestVerifyOneByOne: streams verified alone are what all of them are together.
func TestVerifyOneByOne(t *testing.T) {
	l := worldly(t, world.Config{Seed: 6, Agents: 8, Events: 4000})
	host := verifying(l, actorstest.NewBlobs())
	whole, err := host.Verify(t.Context(), "", nil)
	if err != nil || len(whole.Failures) != 0 || whole.Events != int64(len(l.all)) || whole.Chained == 0 || whole.Build != "test" {
		t.Fatalf("verified %+v, %v", whole, err)
	}
	decisions, agents := int64(0), int64(0)
	for i := range l.all {
		id, ok := l.all[i].Stream.Agent()
		if !ok {
			continue
		}
		agents++
		if l.all[i].Revision > 0 {
			continue
		}
		told := int64(0)
		report, err := host.Verify(t.Context(), id, func(checked, total int64) { told = max(told, checked); _ = total })
		if err != nil || len(report.Failures) > 0 || told != report.Events || report.Streams != 1 {
			t.Errorf("%s: %+v, told of %d events, %v", id, report, told, err)
		}
		decisions += report.Decisions
		agents -= report.Events
	}
	if agents != 0 {
		t.Errorf("%d events were not verified with their agents", agents)
	}
	if decisions == 0 || decisions >= whole.Decisions {
		t.Errorf("%d decisions of agents, %d of all", decisions, whole.Decisions)
	}
}
