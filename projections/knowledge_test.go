package projections_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections"
)

// drawNote writes or removes one of a few notes, of a few words and with links among themselves.
func drawNote(t *rapid.T) events.Event {
	id := rapid.SampledFrom([]events.NoteID{"a", "b", "dir/c", "d"})
	note := id.Draw(t, "note")
	if rapid.IntRange(0, 4).Draw(t, "removed") == 0 {
		return events.NoteRemoved{Note: note, Reason: "old"}
	}
	words := rapid.SampledFrom([]string{"heat", "heated", "shield", "cork", "the", "orbit", "über"})
	written := events.NoteWritten{
		Note: events.Note{
			ID: note, Title: rapid.SampledFrom([]string{"A", "Heat shield", "c", "Über uns"}).Draw(t, "title"),
			Text: events.Text{Inline: strings.Join(rapid.SliceOfN(words, 0, 12).Draw(t, "words"), " ")},
			Tags: rapid.SliceOfNDistinct(words, 0, 2, rapid.ID[string]).Draw(t, "tags"),
		},
		Author: events.NoteAuthor{By: "ada"}, Replaces: events.NoRevision,
	}
	for range rapid.IntRange(0, 3).Draw(t, "links") {
		written.Links = append(written.Links, events.NoteLink{
			Relation: rapid.SampledFrom([]string{"", "supports", "contradicts"}).Draw(t, "relation"),
			Target:   rapid.SampledFrom([]string{"a", "C", "heat shield", "nobody", "dir/c"}).Draw(t, "target"), Exclusive: rapid.Bool().Draw(t, "exclusive"),
		})
	}
	return written
}

// tell folds what a teller told.
func tell(t testing.TB, h *teller) projections.Fold {
	spec := knowledgeSpec(t)
	fold := spec.New()
	apply(t, spec, fold, h.all)
	return fold
}

func knowledgeSpec(t testing.TB) *projections.Spec {
	spec, err := projections.Find("knowledge")
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// answerText asks a projection and gives the answer as text.
func answerText(t interface{ Fatal(...any) }, fold projections.Fold, query string, parameters map[string]string) string {
	answer, err := fold.Answer(projections.Query{Name: query, Parameters: parameters})
	if err != nil {
		t.Fatal(query, parameters, err)
	}
	return fmt.Sprintf("%+v", answer)
}

// TestIncrementalIsFromScratch: after thousands of new versions, so that the index was written anew several times, notes are found
// with the same scores as in a graph that only ever had their last versions, and the state is as large as that.
func TestIncrementalIsFromScratch(t *testing.T) {
	long, short := newTeller(t), newTeller(t)
	last := map[events.NoteID]events.NoteWritten{}
	for i := range 5_000 {
		id := events.NoteID(fmt.Sprintf("n%d", i*i%17))
		last[id] = events.NoteWritten{Note: events.Note{
			ID: id, Title: fmt.Sprintf("Title %d", i%13), Tags: []string{fmt.Sprintf("tag%d", i%3)},
			Text:  events.Text{Inline: fmt.Sprintf("number%d says word%d and word%d, heated by all", i, i%7, i%11)},
			Links: []events.NoteLink{{Target: fmt.Sprintf("n%d", i%17)}, {Target: fmt.Sprintf("title %d", i%19)}},
		}}
		long.record(events.KnowledgeStream("local"), last[id])
	}
	for i := range 17 {
		if written, there := last[events.NoteID(fmt.Sprintf("n%d", i))]; there {
			short.record(events.KnowledgeStream("local"), written)
		}
	}
	incremental, scratch := tell(t, long), tell(t, short)
	for _, text := range []string{"word3", "heat", "title", "number4999 word2", "Title 4", "tag1"} {
		q := projections.Query{Name: "search", Parameters: map[string]string{"text": text, "limit": "50"}}
		one, err := incremental.Answer(q)
		other, problem := scratch.Answer(q)
		if err != nil || problem != nil {
			t.Fatal(err, problem)
		}
		got, want := scores(one.(projections.FoundNotes)), scores(other.(projections.FoundNotes))
		if got != want || got == "" {
			t.Errorf("%s finds\n%swant\n%s", text, got, want)
		}
	}
	for _, size := range []string{"size"} {
		if got, want := answerText(t, incremental, size, nil), answerText(t, scratch, size, nil); got != want {
			t.Errorf("the graph is %s, want %s", got, want)
		}
	}
}

func scores(found projections.FoundNotes) string {
	var out strings.Builder
	for _, n := range found.Notes {
		fmt.Fprintf(&out, "%s %v = %v + %v + %v\n", n.Note, n.Score, n.BM25, n.Boost, n.Proximity)
	}
	return out.String()
}

// TestTopIsSorted: the best notes are those that sorting all of them would put first, with any limit.
func TestTopIsSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newTeller(t)
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			h.record(events.KnowledgeStream("local"), drawNote(t))
		}
		spec, err := projections.Find("knowledge")
		if err != nil {
			t.Fatal(err)
		}
		fold := spec.New()
		for i := range h.all {
			if err := fold.Apply(&projections.Recorded{Envelope: &h.all[i]}); err != nil {
				t.Fatal(err)
			}
		}
		ask := func(limit int) []projections.FoundNote {
			answer, err := fold.Answer(projections.Query{Name: "search", Parameters: map[string]string{"text": "heat shield cork", "limit": fmt.Sprint(limit)}})
			if err != nil {
				t.Fatal(err)
			}
			return answer.(projections.FoundNotes).Notes
		}
		all := ask(1000)
		for limit := range len(all) {
			for i, n := range ask(limit + 1) {
				if n.Note != all[i].Note || n.Score != all[i].Score {
					t.Fatalf("the best %d are %v, want them to begin %v", limit+1, ask(limit+1), all)
				}
			}
		}
		for i := 1; i < len(all); i++ {
			if before := all[i-1]; before.Score < all[i].Score {
				t.Fatalf("%v comes before %v", before, all[i])
			}
		}
	})
}

// FuzzKnowledgeState: what is no state is refused and leaves the graph as it was; what is restored can be asked and saved again.
func FuzzKnowledgeState(f *testing.F) {
	h := newTeller(f)
	h.record(events.KnowledgeStream("local"), events.NoteWritten{Note: events.Note{ID: "a", Title: "A", Text: events.Text{Inline: "heat shield"}, Links: []events.NoteLink{{Target: "b"}}}})
	h.record(events.KnowledgeStream("local"), events.NoteRemoved{Note: "b", Reason: "old"})
	state, err := tell(f, h).Save()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add([]byte(`{"latest":1,"tenants":[{"tenant":"local","stems":["a"],"notes":[{"i":"a","t":"a","v":[{"r":1}],"w":"AAEAAQ=="}]}]}`))
	f.Add([]byte(`{"latest":1,"tenants":[{"tenant":"local","stems":["a","a"],"notes":[{"i":"a","t":"a","v":[{"r":1}],"w":"gICAgICAgICAAQ=="}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fold := tell(t, h)
		if err := fold.Restore(data); err != nil {
			if after, err := fold.Save(); err != nil || !bytes.Equal(after, state) {
				t.Fatalf("a state that was refused changed the graph: %s, %v", after, err)
			}
			return
		}
		answerText(t, fold, "search", map[string]string{"text": "heat a shield"})
		answerText(t, fold, "lint", nil)
		saved, err := fold.Save()
		if err != nil {
			t.Fatal(err)
		}
		again := knowledgeSpec(t).New()
		if err := again.Restore(saved); err != nil {
			t.Fatalf("a state that was restored and saved cannot be restored: %v", err)
		}
	})
}
