package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// copied is a journal with the same events in the same order, behind others, so that their positions differ. Groups begin anew there.
func copied(t *testing.T, from storage.Journal, before int) *actorstest.Memory {
	t.Helper()
	to := actorstest.NewMemory()
	publish(t, to, fmt.Sprint("another-", before), 0, before)
	page, err := from.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{Events: 4096})
	if err != nil || !page.End {
		t.Fatal(err)
	}
	for i := range page.Events {
		e := page.Events[i]
		if _, err := to.Append(t.Context(), e.Stream, storage.ExpectRevision(e.Revision-1), []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// moved has the bench go on in a copy of its store. What the groups there know is left out, as behind the EventStoreDB protocol.
func (b *bench) moved(before int) {
	b.t.Helper()
	b.journal = copied(b.t, b.journal, before)
	groups, err := NewLocalGroups(FeedConfig{Journal: actorstest.NewMemory()})
	if err != nil {
		b.t.Fatal(err)
	}
	groups.config.Journal = without{b.journal, "checkpoint-"}
	b.groups = groups
}

// without hides what older streams with a prefix hold.
type without struct {
	storage.Journal
	prefix string
}

func (w without) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if strings.HasPrefix(string(stream), w.prefix) {
		return storage.Page{Last: events.NoRevision, End: true}, nil
	}
	return w.Journal.Read(ctx, stream, from, direction, limit)
}

// TestAnsweredCommandsOfAMovedStore: in a copy, where the group begins with the first command, those that have a reply are not carried out
// again, whatever the reply was; those that have none are.
func TestAnsweredCommandsOfAMovedStore(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.host.answer = func(_ int, d done) (actors.Receipt, error) {
			if _, cancel := d.command.(sagas.Cancel); cancel {
				return actors.Receipt{}, &sagas.RefusalError{Code: sagas.RefusedState, Detail: "no turn runs"}
			}
			return actors.Receipt{Stream: d.stream}, nil
		}
		stop := b.run()
		b.send("c-0", Command{"agent-demo", sagas.Cancel{By: "me"}})
		b.send("c-1", say("one"))
		b.raw("Reboot", `{}`)
		b.send("c-3", Command{"agent-demo", sagas.Cancel{By: "me"}})
		synctest.Wait()
		stop()
		b.send("c-4", say("four")) // nobody has answered it
		replies, poisoned := b.replies(), len(b.list())
		b.moved(3)
		b.host.done, b.host.answer = nil, nil // everything would be accepted now
		stop = b.run()
		b.send("c-5", say("five"))
		synctest.Wait()
		stop()
		b.same("commands", b.host.texts(), []string{"four", "five"})
		if len(b.host.done) != 2 || len(b.list()) != poisoned {
			t.Errorf("the host got %+v; %d are poisoned", b.host.done, len(b.list()))
		}
		if now := b.replies(); !slices.Equal(now[:4], replies) || len(now) != 6 {
			t.Errorf("replies: %q", now)
		}
		b.moved(5)
		b.host.done = nil
		b.run()()
		if len(b.host.done) != 0 || len(b.replies()) != 6 {
			t.Errorf("moved once more, the host got %+v", b.host.done)
		}
	})
}

// TestAnsweredAmongMany: many commands are looked up, in order, again, and out of order, with replies that are missing, repeated or no replies.
func TestAnsweredAmongMany(t *testing.T) {
	journal := actorstest.NewMemory()
	record := func(kind events.Kind, cause string) {
		e := recordOf(kind, []byte(`{}`))
		metadata, err := json.Marshal(map[string]string{"$causationId": cause})
		if err != nil {
			t.Fatal(err)
		}
		e.SetMetadata(metadata)
		if _, err := journal.Append(t.Context(), "reply-local", storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(revision int) bool { return revision%7 != 3 || revision%100 == 0 }
	const count = 2000
	for i := range count {
		if answers(i) {
			record(refusedKind, fmt.Sprint("command-local@", i))
		}
		if i%100 == 0 {
			record(acceptedKind, fmt.Sprint("command-local@", i))
			record(acceptedKind, fmt.Sprint("command-acme@", i+3))
			record("shop.answered", fmt.Sprint("command-local@", i+3))
			record(refusedKind, "nonsense")
		}
	}
	a := newAnswered(journal, "local", 1)
	check := func(revision int, want bool) {
		t.Helper()
		if got, err := a.has(t.Context(), events.Revision(revision), events.Revision(revision)); err != nil || got != want {
			t.Fatalf("%d: %v %v, want %v", revision, got, err, want)
		}
	}
	for i := range count {
		check(i, answers(i))
	}
	check(count-1, answers(count-1))
	check(count, false)
	record(poisonedKind, fmt.Sprint("command-local@", count))
	check(count, true) // delivered again
	record(acceptedKind, fmt.Sprint("command-local@", count+2))
	check(count+2, true) // another member had the one before
	if len(a.done) > 1 {
		t.Errorf("%d stretches of answered commands are remembered", len(a.done))
	}
}

// TestForwardingInACopy: what was not forwarded before is forwarded in a copy, whose positions differ; and a forwarder whose last event is not
// there says so at once.
func TestForwardingInACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		b := &broker{}
		config := ForwardConfig{Name: "out", Journal: journal, Publisher: b, Streams: []string{"agent-"}, Topic: func(*events.Envelope) string { return "x" }}
		publish(t, journal, "agent-a", 0, 4)
		forward(t, config)
		for _, before := range []int{0, 1, 400} {
			to := copied(t, journal, before)
			publish(t, to, "agent-a", 4, 6)
			config.Journal, b.got = to, nil
			forward(t, config)
			if want := []string{"x 4", "x 5"}; !slices.Equal(b.got, want) {
				t.Errorf("behind %d others: forwarded %q, want %q", before, b.got, want)
			}
		}
		checkpoints, err := journal.Read(t.Context(), "checkpoint-forward-out", 0, storage.Forward, storage.Limit{})
		if err != nil || len(checkpoints.Events) == 0 {
			t.Fatal(err)
		}
		for name, rows := range map[string]struct {
			events int
			stored string
		}{
			"an earlier backup":              {2, string(checkpoints.Events[0].Data)},
			"an older build's, far behind":   {9, `{"revision":"8","position":"9000"}`},
			"an older build's, of later":     {9, `{"revision":"0","position":"12"}`},
			"another event at that position": {9, `{"stream":"agent-b","revision":"2","position":"3"}`},
		} {
			to := actorstest.NewMemory()
			publish(t, to, "agent-a", 0, rows.events)
			if _, err := to.Append(t.Context(), "checkpoint-forward-out", storage.ExpectAny, []events.Envelope{recordOf(checkpointKind, []byte(rows.stored))}); err != nil {
				t.Fatal(err)
			}
			publish(t, to, "agent-c", 0, 9)
			config.Journal, b.got = to, nil
			var lost *LostError
			if err := Forward(t.Context(), config); !errors.As(err, &lost) || len(b.got) > 0 {
				t.Errorf("%s: %v, forwarded %q", name, err, b.got)
			}
			s, err := NewSubscriber(SubscriberConfig{Groups: mustFanOut(t, to), Name: "forward-out", Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := to.Append(t.Context(), "checkpoint-forward-out:category-agent", storage.ExpectAny, []events.Envelope{recordOf(checkpointKind, []byte(rows.stored))}); err != nil {
				t.Fatal(err)
			}
			messages, err := s.Subscribe(t.Context(), "category-agent")
			if err != nil {
				t.Fatal(err)
			}
			if m, open := <-messages; open && name != "an older build's, of later" {
				t.Errorf("%s: a subscriber got %s", name, m.Payload)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func mustFanOut(t *testing.T, journal storage.Journal) *FanOut {
	t.Helper()
	out, err := NewFanOut(FeedConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
