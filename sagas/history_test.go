package sagas_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
	"example.com/life/sagas"
)

// history runs one saga as a host does, and holds it to the contract of [sagas.Saga] at every step: deciding changes nothing,
// refusing changes nothing, what was recorded reads back the same, and every decision can be recalled and decided again.
type history[S sagas.Saga[S]] struct {
	saga     S
	restored *S // the same saga as a snapshot remembers it, once one was taken
	begin    func() S
	facts    []sagas.Fact
	ends     []int // of each decision, in facts
}

func newHistory[S sagas.Saga[S]](begin func() S) *history[S] {
	return &history[S]{saga: begin(), begin: begin}
}

// failer is what *testing.T and *rapid.T share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// decide lets the saga decide, and records and applies what comes of it.
func (h *history[S]) decide(t failer, command sagas.Command) ([]events.Event, error) {
	t.Helper()
	before := snapshot(t, h.saga)
	decided, err := h.saga.Decide(command)
	if after := snapshot(t, h.saga); after != before {
		t.Fatalf("%T changed the saga while deciding:\n%s", command, cmp.Diff(before, after))
	}
	if h.restored != nil {
		again, errAgain := (*h.restored).Decide(command)
		if errText(err) != errText(errAgain) {
			t.Fatalf("%T: the saga says %v, restored from a snapshot it says %v", command, err, errAgain)
		}
		sameEvents(t, fmt.Sprintf("%T on the saga and on its snapshot", command), decided, again)
	}
	if err != nil {
		if decided != nil {
			t.Fatalf("%T gave an error and events: %v, %v", command, err, decided)
		}
		checkError(t, command, err)
		return nil, err
	}
	if len(decided) == 0 {
		t.Fatalf("%T decided nothing and gave no error", command)
	}
	facts := h.stored(t, decided, command.Metadata())
	h.recall(t, facts)
	advanced := h.advance(t, command, decided)
	for i, fact := range facts {
		live := fact
		live.Event = decided[i] // as decided, not as it reads back
		h.saga = h.saga.Apply(live)
		if h.restored != nil {
			next := (*h.restored).Apply(fact)
			h.restored = &next
		}
	}
	if applied := snapshot(t, h.saga); advanced != nil && *advanced != applied {
		t.Fatalf("%T leaves the saga otherwise than its events do:\n%s", command, cmp.Diff(applied, *advanced))
	}
	h.facts = append(h.facts, facts...)
	h.ends = append(h.ends, len(h.facts))
	if h.restored != nil {
		same(t, "the saga and its snapshot", h.saga, *h.restored)
	}
	return decided, nil
}

// advance has a copy of the saga decide and go on at once, as hosts do, and returns what it is then; nil if it is a saga that does not.
func (h *history[S]) advance(t failer, command sagas.Command, decided []events.Event) *string {
	t.Helper()
	before, saga := snapshot(t, h.saga), h.saga
	advancer, advances := any(&saga).(sagas.Advancer)
	if !advances {
		return nil
	}
	again, err := advancer.Advance(command, command.Metadata().At)
	if err != nil {
		t.Fatalf("%T is decided, and then refused: %v", command, err)
	}
	sameEvents(t, fmt.Sprintf("%T, decided and advanced", command), decided, again)
	if after := snapshot(t, h.saga); after != before {
		t.Fatalf("%T changed the copy from before:\n%s", command, cmp.Diff(before, after))
	}
	after := snapshot(t, saga)
	return &after
}

// stored encodes events as a store does and reads them back.
func (h *history[S]) stored(t failer, decided []events.Event, meta sagas.Meta) []sagas.Fact {
	t.Helper()
	facts := make([]sagas.Fact, len(decided))
	for i, event := range decided {
		data, version, err := events.Encode(event)
		if err != nil {
			t.Fatalf("%s cannot be stored: %v", event.Kind(), err)
		}
		envelope := events.Envelope{
			Stream: "agent-a", Revision: events.Revision(len(h.facts) + i), Kind: event.Kind(), Version: version,
			Time: meta.At, Command: meta.ID, Data: data,
		}
		if facts[i], err = sagas.FactOf(&envelope); err != nil {
			t.Fatalf("%s cannot be read back: %v", event.Kind(), err)
		}
	}
	return facts
}

// recall is what life verify does for one decision.
func (h *history[S]) recall(t failer, facts []sagas.Fact) {
	t.Helper()
	h.recallOf(t, facts)
	// A build before there were warnings of limits decided the same without them.
	if former := slices.DeleteFunc(slices.Clone(facts), func(f sagas.Fact) bool { return f.Kind() == "budget.warned" || f.Kind() == "wallet.warned" }); len(former) < len(facts) {
		h.recallOf(t, former)
	}
}

func (h *history[S]) recallOf(t failer, facts []sagas.Fact) {
	t.Helper()
	command, err := h.saga.Recall(facts)
	if err != nil {
		t.Fatalf("a decision that begins with %s cannot be recalled: %v", facts[0].Kind(), err)
	}
	again, err := h.saga.Decide(command)
	if err != nil {
		t.Fatalf("%T, recalled from %s, is not accepted: %v", command, facts[0].Kind(), err)
	}
	recorded := make([]events.Event, len(facts))
	for i := range facts {
		recorded[i] = facts[i].Event
	}
	sameEvents(t, fmt.Sprintf("%T and what it gives when recalled", command), recorded, again)
}

// replay folds the whole history anew, and compares it to the saga that lived through it.
func (h *history[S]) replay(t failer) S {
	t.Helper()
	replayed := h.begin()
	for _, fact := range h.facts {
		replayed = replayed.Apply(fact)
	}
	same(t, "the saga and its replayed history", h.saga, replayed)
	return replayed
}

// snap takes a snapshot, from which a second saga goes on beside the first.
func (h *history[S]) snap(t failer) {
	t.Helper()
	restored := restore(t, h.saga)
	same(t, "the saga and its snapshot", h.saga, restored)
	h.restored = &restored
}

func restore[S any](t failer, saga S) S {
	t.Helper()
	var restored S
	if err := json.Unmarshal([]byte(snapshot(t, saga)), &restored); err != nil {
		t.Fatalf("restore a snapshot: %v", err)
	}
	return restored
}

func snapshot(t failer, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("take a snapshot: %v", err)
	}
	return string(data)
}

func same[S sagas.Saga[S]](t failer, what string, a, b S) {
	t.Helper()
	if x, y := snapshot(t, a), snapshot(t, b); x != y {
		t.Fatalf("%s differ:\n%s", what, cmp.Diff(x, y))
	}
	if x, y := snapshot(t, a.Ready()), snapshot(t, b.Ready()); x != y {
		t.Fatalf("%s have different requests outstanding:\n%s", what, cmp.Diff(x, y))
	}
}

func sameEvents(t failer, what string, a, b []events.Event) {
	t.Helper()
	if x, y := encodeAll(t, a), encodeAll(t, b); x != y {
		t.Fatalf("%s differ:\n%s", what, cmp.Diff(x, y))
	}
}

func encodeAll(t failer, decided []events.Event) string {
	t.Helper()
	text := ""
	for _, event := range decided {
		data, _, err := events.Encode(event)
		if err != nil {
			t.Fatalf("%v", err)
		}
		text += string(event.Kind()) + " " + string(data) + "\n"
	}
	return text
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// checkError holds errors to the three that Decide may give.
func checkError(t failer, command sagas.Command, err error) {
	t.Helper()
	var duplicate *sagas.DuplicateError
	var refusal *sagas.RefusalError
	if !errors.Is(err, sagas.ErrStale) && !errors.As(err, &duplicate) && !errors.As(err, &refusal) {
		t.Fatalf("%T gave %v, want ErrStale, *Duplicate or *Refusal", command, err)
	}
}

var _ failer = (*testing.T)(nil)
