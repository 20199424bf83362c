package embedded_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// numbered is event n of a test: its id is made of the stream's name and the number.
func numbered(stream events.Stream, n int) events.Envelope {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", stream, n))
	return events.Envelope{ID: id, Kind: "test.numbered", Version: 1, Time: events.Micros(n), Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// sequence takes apart a sequence of appends: "0em1 1e0" are event 0 at an expected revision of -1 (em1) and event 1 at one of 0;
// "any", "exists" are the other expectations, and "S0em1 1em1E" is one append of two events.
func sequence(t *testing.T, stream events.Stream, text string) (expected []storage.Expected, batches [][]events.Envelope) {
	t.Helper()
	inside := false
	for word := range strings.FieldsSeq(text) {
		rest, begins := strings.CutPrefix(word, "S")
		rest, ends := strings.CutSuffix(rest, "E")
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]storage.Expected{"any": storage.ExpectAny, "exists": storage.ExpectExists, "em1": storage.ExpectNoStream}[rest[digits:]]
		if number, ok := strings.CutPrefix(rest[digits:], "e"); ok && at == 0 {
			revision, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("%s: %v", word, err)
			}
			at = storage.Expected(revision)
		}
		if inside {
			batches[len(batches)-1] = append(batches[len(batches)-1], numbered(stream, n))
		} else {
			expected, batches = append(expected, at), append(batches, []events.Envelope{numbered(stream, n)})
		}
		inside = (inside || begins) && !ends
	}
	return expected, batches
}

func play(t *testing.T, store *embedded.Store, stream events.Stream, text string) (appended storage.Appended, err error) {
	t.Helper()
	expected, batches := sequence(t, stream, text)
	for i := range batches {
		if appended, err = store.Append(t.Context(), stream, expected[i], batches[i]); err != nil {
			return appended, err
		}
	}
	return appended, nil
}

// The matrix of expectations and repetitions, line by line.
func TestExpectationsAndRepetitions(t *testing.T) {
	const six = "0em1 1e0 2e1 3e2 4e3 5e4"
	const two = "S0em1 1em1E"
	rows := []struct {
		before, then string
		last         events.Revision // of what is answered
		count        int             // of the stream's events after it
		conflict     bool
	}{
		{six, "0em1", 0, 6, false},
		{six, "0any", 0, 6, false},
		{six, "0exists", 0, 6, false},
		{six, "0e5", 6, 7, false},
		{six, "0e6", 0, 6, true},
		{six, "0e4", 0, 6, true},
		{six, "1e0", 1, 6, false},
		{six, "3e2", 3, 6, false},
		{six, "S1e0 2e0 3e0E", 3, 6, false},
		{six, "S4e3 5e3 6e3E", 0, 6, true},
		{six, "S1e0 3e0E", 0, 6, true},
		{six, "S5any 0anyE", 0, 6, false},
		{six, "S0any 9anyE", 0, 6, true},
		{six, "S9any 0anyE", 7, 8, false},
		{six, "6exists", 6, 7, false},
		{"", "0exists", 0, 0, true},
		{"", "0e0", 0, 0, true},
		{"", "S0any 1anyE", 1, 2, false},
		{"0em1", "0e0", 1, 2, false},
		{"0em1", "0any", 0, 1, false},
		{"0em1", "0em1", 0, 1, false},
		{"0em1 1e0", "1e0", 1, 2, false},
		{"0em1 1e0", "1any", 1, 2, false},
		{"0em1 1any", "1any", 1, 2, false},
		{"0any 1any", "1any", 1, 2, false},
		{two, "S0em1E", 0, 2, false},
		{two, "S0anyE", 0, 2, false},
		{two, "S1e0E", 1, 2, false},
		{two, "S1anyE", 1, 2, false},
		{two, "S0em1 1em1 2em1E", 0, 2, true},
		{two, "S0any 1any 2anyE", 0, 2, true},
		{"S0em1 1em1 2em1E", "S0em1 1em1E", 1, 3, false},
		{"S0em1 1em1 2em1E", "S1e0 2e0E", 2, 3, false},
		{"S0em1 1em1 2em1E", "S1any 2anyE", 2, 3, false},
		// Of an id that a stream has twice the first place counts, unless the expectation names another.
		{"S0any 0anyE", "S0any 0anyE", 0, 2, false},
		{"S0em1 0em1E", "S0em1 0em1E", 1, 2, false},
		{"0em1 0e0 1e1", "0any", 0, 3, false},
		{"0em1 0e0 1e1", "0exists", 0, 3, false},
		{"0em1 0e0 1e1", "0e0", 1, 3, false},
		{"0em1 0e0 1e1", "S0any 1anyE", 2, 3, false},
		{"0em1 0e0 1e1", "0e1", 0, 3, true},
	}
	store := open(t, embedded.Config{Dir: t.TempDir()})
	for i, row := range rows {
		t.Run(row.before+" then "+row.then, func(t *testing.T) {
			stream := events.Stream(fmt.Sprint("golden-", i))
			if _, err := play(t, store, stream, row.before); err != nil {
				t.Fatal(err)
			}
			appended, err := play(t, store, stream, row.then)
			conflict := &storage.ConflictError{}
			if errors.As(err, &conflict) != row.conflict || err != nil && !row.conflict {
				t.Fatalf("the answer is %+v, %v", appended, err)
			}
			if !row.conflict && appended.Last != row.last {
				t.Errorf("the last revision is %d, want %d", appended.Last, row.last)
			}
			page, err := store.Read(t.Context(), stream, 0, storage.Forward, storage.Limit{})
			if err != nil || len(page.Events) != row.count {
				t.Errorf("%d events, %v; want %d", len(page.Events), err, row.count)
			}
			if row.conflict && conflict.Actual != events.Revision(row.count-1) {
				t.Errorf("the conflict is %v", conflict)
			}
		})
	}
}

// revisions reads a stream forward and lists what is there.
func revisions(t *testing.T, store *embedded.Store, stream events.Stream) string {
	t.Helper()
	page, err := store.Read(t.Context(), stream, 0, storage.Forward, storage.Limit{})
	back, backErr := store.Read(t.Context(), stream, math.MaxInt64, storage.Backward, storage.Limit{})
	if errors.Is(err, storage.ErrDeleted) && errors.Is(backErr, storage.ErrDeleted) {
		return "ended"
	}
	if err != nil || backErr != nil || page.Last != back.Last || !page.End || !back.End || len(page.Events) != len(back.Events) {
		t.Fatalf("read %s: forward %+v, %v; backward %+v, %v", stream, page, err, back, backErr)
	}
	text := ""
	for i := range page.Events {
		text += fmt.Sprint(page.Events[i].Revision, " ")
		if e := back.Events[len(back.Events)-1-i]; e.Revision != page.Events[i].Revision || e.ID != page.Events[i].ID {
			t.Fatalf("backward there is %s", e.Ref())
		}
	}
	return text + fmt.Sprintf("of %d", page.Last)
}

func describe(t *testing.T, store *embedded.Store, stream events.Stream, metadata string) {
	t.Helper()
	e := events.Envelope{ID: uuid.New(), Kind: "$metadata", Version: 1, Foreign: &events.Foreign{}, Data: json.RawMessage(metadata)}
	if _, err := store.Append(t.Context(), "$$"+stream, storage.ExpectAny, []events.Envelope{e}); err != nil {
		t.Fatal(err)
	}
}

// TestRepeatedAfterReopen publishes again, after the store was closed and opened, what was published before, and between, alone and in batches: it is stored once, and
// another stream's events of the same ids are another matter.
func TestRepeatedAfterReopen(t *testing.T) {
	rows := map[string]string{
		"0any 1any reopen 0any 1any 2any":           "0 1 0 1 2 | 0 1 2 of 2 | none",
		"0em1 reopen 0any 1any reopen 1any 0any":    "0 0 1 1 0 | 0 1 of 1 | none",
		"0any S1any 2anyE reopen S1any 2anyE 2any":  "0 2 2 2 | 0 1 2 of 2 | none",
		"0any 1any reopen S1any 2anyE":              "0 1 conflict1 | 0 1 of 1 | none",
		"0any reopen 1any 1any 0exists 2exists":     "0 1 1 0 2 | 0 1 2 of 2 | none",
		"0any 1any delany reopen 0any 2any":         "0 1 $0 0 2 | 2 of 2 | 2",
		"0any endany reopen 0any":                   "0 end ended | ended | ended",
		"0any reopen reopen 0any reopen 0any 1any ": "0 0 0 1 | 0 1 of 1 | none",
	}
	config := embedded.Config{Dir: t.TempDir()}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, store) }()
	i := 0
	for row, want := range rows {
		i++
		stream, answers := events.Stream(fmt.Sprint("again-", i)), ""
		for _, step := range steps(row) {
			if step == "reopen" {
				mustClose(t, store)
				if store, err = embedded.Open(config); err != nil {
					t.Fatal(err)
				}
				continue
			}
			answers += take(t, store, stream, step) + " "
		}
		if got := answers + "| " + revisions(t, store, stream) + " | " + described(t, store, stream); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", row, got, want)
		}
	}
}

// TestRepeatedFarBack publishes again what stands at the end of a long stream, and at its beginning: that is too far back to be recognised, and is stored again.
func TestRepeatedFarBack(t *testing.T) {
	const many, far = 5000, 4096
	config := embedded.Config{Dir: t.TempDir()}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < many; n += 100 {
		batch := make([]events.Envelope, 100)
		for i := range batch {
			batch[i] = numbered("long", n+i)
		}
		if _, err := store.Append(t.Context(), "long", storage.ExpectAny, batch); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, store)
	if store, err = embedded.Open(config); err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, store) }()
	for n, want := range map[int]events.Revision{many - 1: many - 1, many - far: many - far, 0: many} {
		appended, err := store.Append(t.Context(), "long", storage.ExpectAny, []events.Envelope{numbered("long", n)})
		if err != nil || appended.Last != want {
			t.Errorf("event %d again: it is at %d, %v; want %d", n, appended.Last, err, want)
		}
	}
}

func mustClose(t *testing.T, store *embedded.Store) {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// What deleting and ending do to a stream, and what may follow, as EventStoreDB 24.10 does it. "del…" deletes, "end…" ends, "nothing…"
// appends nothing, "meta{…}" writes metadata, and "reopen" closes and opens the store, after which nothing is remembered but what is
// stored. A conflict is followed by the revision that it names.
func TestDeletedStreams(t *testing.T) {
	rows := []struct {
		steps string
		want  string // answers, then the stream and its metadata
	}{
		{"delany", "conflict-1 | of -1 | none"},
		{"delem1", "conflict-1 | of -1 | none"},
		{"delexists", "conflict-1 | of -1 | none"},
		{"0em1 1e0 dele0", "0 1 conflict1 | 0 1 of 1 | none"},
		{"0em1 1e0 dele1", "0 1 $0 | of -1 | deleted"},
		{"0em1 1e0 delany", "0 1 $0 | of -1 | deleted"},
		{"0em1 delexists delany", "0 $0 $1 | of -1 | deleted"},
		{"0em1 delany delexists", "0 $0 deleted | of -1 | deleted"},
		{"0em1 1e0 delany delem1", "0 1 $0 $1 | of -1 | deleted"},
		{"0em1 1e0 delany dele0", "0 1 $0 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany dele1 dele7", "0 1 $0 $1 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany 2em1", "0 1 $0 2 | 2 of 2 | 2"},
		{"0em1 1e0 delany reopen 2em1", "0 1 $0 2 | 2 of 2 | 2"},
		{"0em1 1e0 delany 2any 3e2", "0 1 $0 2 3 | 2 3 of 3 | 2"},
		{"0em1 1e0 delany 2e1", "0 1 $0 2 | 2 of 2 | 2"},
		{"0em1 1e0 delany 2e0", "0 1 $0 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany 2e7 reopen 2e7", "0 1 $0 conflict1 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany 2exists", "0 1 $0 deleted | of -1 | deleted"},
		{"0em1 1e0 delany reopen 2exists", "0 1 $0 deleted | of -1 | deleted"},
		{"0em1 1e0 delany 1e0 0any", "0 1 $0 1 0 | of -1 | deleted"},
		{"0em1 1e0 delany 2em1 3em1", "0 1 $0 2 conflict2 | 2 of 2 | 2"},
		{"0em1 1e0 delany 0em1", "0 1 $0 0 | of -1 | deleted"},
		{"0em1 1e0 delany S2em1 3em1 4em1E", "0 1 $0 4 | 2 3 4 of 4 | 2"},
		{"0em1 1e0 delany S0em1 3em1 4em1E", "0 1 $0 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany S0any 3anyE", "0 1 $0 conflict1 | of -1 | deleted"},
		{"nothingany nothingem1", "-1 -1 | of -1 | none"},
		{"nothingexists nothinge0", "conflict-1 conflict-1 | of -1 | none"},
		{"0em1 1e0 nothingany nothinge1 nothingexists", "0 1 1 1 1 | 0 1 of 1 | none"},
		{"0em1 1e0 nothingem1 nothinge0 nothinge2", "0 1 conflict1 conflict1 conflict1 | 0 1 of 1 | none"},
		{"0em1 1e0 delany nothingany", "0 1 $0 1 | of 1 | 2"},
		{"0em1 1e0 delany nothinge1", "0 1 $0 1 | of 1 | 2"},
		{"0em1 1e0 delany reopen nothinge1 2e1", "0 1 $0 1 2 | 2 of 2 | 2"},
		{"0em1 1e0 delany nothingem1", "0 1 $0 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany nothinge0", "0 1 $0 conflict1 | of -1 | deleted"},
		{"0em1 1e0 delany nothingexists", "0 1 $0 deleted | of -1 | deleted"},
		{`0em1 meta{"$tb":9223372036854775807,"keep":[1]} nothingany`, "0 0 0 | of 0 | 1"},
		{`meta{} delany nothingem1 0em1`, "0 $1 -1 0 | 0 of 0 | 0"},
		{`meta{} nothingexists nothingem1 nothinge0`, "0 -1 -1 conflict-1 | of -1 | 0"},
		{`0em1 meta{"$tb":1} nothingany nothingem1`, "0 0 0 conflict0 | of 0 | 1"},
		{`0em1 meta{"$maxCount":2,"x":[1]} delany 1em1`, "0 0 $1 1 | 1 of 1 | 1"},
		{`0em1 delany meta{"$maxCount":2}`, "0 $0 1 | of 0 | 1 2"},
		{`0em1 delany meta{"$maxCount":2} 1e0 2e1 3e2`, "0 $0 1 1 2 3 | 2 3 of 3 | 1 2"},
		{`0em1 delany meta{} 1exists`, "0 $0 1 1 | 1 of 1 | 1"},
		{`0em1 delany meta{bad`, "0 $0 1 | 0 of 0 | 0"},
		{`0em1 meta{"$tb":9223372036854775807,"keep":"<"} 1any`, "0 0 1 | 1 of 1 | 1"},
		{`0em1 meta{"$tb":9223372036854775807}} 1any`, "0 0 1 | 1 of 1 | 1"},
		{`meta{"$tb":3} 0exists 1e0 2e1 3e2`, "0 0 1 2 3 | 3 of 3 | 3"},
		{`meta{} delany 0em1`, "0 $1 0 | 0 of 0 | 0"},
		{"endany", "end | ended | ended"},
		{"endem1 0em1", "end ended | ended | ended"},
		{"0em1 1e0 ende1 2any", "0 1 end ended | ended | ended"},
		{"0em1 1e0 ende1 reopen 2any", "0 1 end ended | ended | ended"},
		{"0em1 ende3", "0 conflict0 | 0 of 0 | none"},
		{"0em1 delany endany 0em1", "0 $0 end ended | ended | ended"},
		{"0em1 delany endem1", "0 $0 end | ended | ended"},
		{"0em1 delany ende3 endexists ende0", "0 $0 conflict0 deleted end | ended | ended"},
		{"0em1 endany delany", "0 end ended | ended | ended"},
		{"0em1 endany endany", "0 end ended | ended | ended"},
		{"0em1 endany 0em1", "0 end ended | ended | ended"},
		{"0em1 endany nothingany nothingexists", "0 end ended ended | ended | ended"},
		// Behind a tombstone metadata are still written, and count for nothing.
		{`0em1 meta{"$maxCount":1} endany meta{"$maxCount":12}`, "0 0 end 1 | ended | ended"},
		{`0em1 endany meta{"$tb":9223372036854775807} 1any meta{"a":1}`, "0 end 0 ended 1 | ended | ended"},
		{`0em1 delany endany meta{"a":1} reopen meta{"aa":1} 1any`, "0 $0 end 1 2 ended | ended | ended"},
	}
	config := embedded.Config{Dir: t.TempDir()}
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, row := range rows {
		t.Run(row.steps, func(t *testing.T) {
			stream := events.Stream(fmt.Sprint("doomed-", i))
			answers := ""
			for _, step := range steps(row.steps) {
				if step == "reopen" {
					if err := store.Close(); err != nil {
						t.Fatal(err)
					}
					if store, err = embedded.Open(config); err != nil {
						t.Fatal(err)
					}
					continue
				}
				answers += take(t, store, stream, step) + " "
			}
			got := answers + "| " + revisions(t, store, stream) + " | " + described(t, store, stream)
			if got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
	mustCheck(t, store, 100)
}

// The longest name has its metadata as well as any: it can be bounded, deleted, brought back and ended.
func TestLongestName(t *testing.T) {
	store := open(t, embedded.Config{Dir: t.TempDir()})
	longest := events.Stream(strings.Repeat("ñ", 512))
	if _, err := play(t, store, longest, "0em1 1e0"); err != nil {
		t.Fatal(err)
	}
	describe(t, store, longest, `{"$maxCount":1}`)
	if got := revisions(t, store, longest) + " " + revisions(t, store, "$$"+longest); got != "1 of 1 0 of 0" {
		t.Errorf("bounded: %s", got)
	}
	for _, step := range []string{"delany", "2e1", "endany"} {
		take(t, store, longest, step)
	}
	if got := revisions(t, store, longest); got != "ended" {
		t.Errorf("ended: %s", got)
	}
	for _, name := range []events.Stream{longest + "x", "$$" + longest + "x"} {
		if _, err := play(t, store, name, "0any"); !errors.Is(err, storage.ErrInvalidAppend) {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
	mustCheck(t, store, 7)
}

// steps splits at spaces outside batches.
func steps(sequence string) (all []string) {
	inside := false
	for word := range strings.FieldsSeq(sequence) {
		if inside {
			all[len(all)-1] += " " + word
		} else {
			all = append(all, word)
		}
		inside = (inside || word[0] == 'S') && !strings.HasSuffix(word, "E")
	}
	return all
}

// take does one step and says how it went.
func take(t *testing.T, store *embedded.Store, stream events.Stream, step string) string {
	t.Helper()
	var appended storage.Appended
	var err error
	name := ""
	switch {
	case strings.HasPrefix(step, "del"):
		expected, _ := sequence(t, stream, "0"+step[3:])
		appended, err = store.Delete(t.Context(), stream, expected[0])
		name = "$"
	case strings.HasPrefix(step, "end"):
		expected, _ := sequence(t, stream, "0"+step[3:])
		appended, err = store.Tombstone(t.Context(), stream, expected[0])
	case strings.HasPrefix(step, "nothing"):
		expected, _ := sequence(t, stream, "0"+step[7:])
		appended, err = store.Append(t.Context(), stream, expected[0], nil)
		if err == nil && appended.First != appended.Last {
			t.Fatalf("%s: %+v", step, appended)
		}
	case strings.HasPrefix(step, "meta"):
		e := numbered("$$"+stream, len(step))
		e.Data, e.Foreign = json.RawMessage(step[4:]), &events.Foreign{}
		appended, err = store.Append(t.Context(), "$$"+stream, storage.ExpectAny, []events.Envelope{e})
	default:
		appended, err = play(t, store, stream, step)
	}
	conflict := &storage.ConflictError{}
	switch {
	case errors.As(err, &conflict) && errors.Is(err, embedded.ErrSoftDeleted):
		if conflict.Actual != events.NoRevision || errors.Is(err, storage.ErrDeleted) {
			t.Errorf("%s: %v", step, err)
		}
		return "deleted"
	case errors.As(err, &conflict):
		return fmt.Sprint("conflict", conflict.Actual)
	case errors.Is(err, storage.ErrDeleted):
		return "ended"
	case err != nil:
		t.Fatalf("%s: %v", step, err)
	case appended.Last == math.MaxInt64:
		return "end"
	}
	return name + fmt.Sprint(appended.Last)
}

// described says what the stream's metadata are.
func described(t *testing.T, store *embedded.Store, stream events.Stream) string {
	t.Helper()
	page, err := store.Read(t.Context(), "$$"+stream, 0, storage.Forward, storage.Limit{})
	m, metaErr := store.Metadata(t.Context(), stream)
	if errors.Is(err, storage.ErrDeleted) {
		if metaErr != nil || m.Revision != events.NoRevision || m.Deleted() || m.MaxCount != 0 {
			t.Errorf("the metadata of a stream that was ended are %+v, %v", m, metaErr)
		}
		return "ended"
	}
	if err != nil || metaErr != nil || m.Revision != page.Last || len(page.Events) > 1 {
		t.Fatalf("the metadata are %+v, %v; the stream has %+v, %v", m, metaErr, page, err)
	}
	switch {
	case m.Revision == events.NoRevision:
		return "none"
	case m.Deleted():
		return "deleted"
	case m.MaxCount > 0:
		return fmt.Sprint(m.TruncateBefore, m.MaxCount)
	}
	return fmt.Sprint(int64(m.TruncateBefore))
}
