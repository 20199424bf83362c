package projections_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/events"
	"example.com/life/projections"
)

// manyNotes writes notes of about 120 words with a vocabulary like that of a language: few words everywhere, most of them rare. Each
// links to three others, most of them near it, and some notes are linked to by many.
func manyNotes(t interface{ Fatal(...any) }, count int) *teller {
	h := newTeller(t)
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 8, 60_000)
	for i := range count {
		var text strings.Builder
		for range 120 {
			fmt.Fprintf(&text, "w%dord ", zipf.Uint64())
		}
		note := events.Note{
			ID: events.NoteID(fmt.Sprintf("area%d/note%d", i%100, i)), Title: fmt.Sprintf("Note %d about w%dord", i, zipf.Uint64()),
			Tags: []string{fmt.Sprintf("tag%d", zipf.Uint64()%50)}, Text: events.Text{Inline: text.String()},
		}
		for _, target := range []int{i - 1 - random.IntN(50), random.IntN(count), random.IntN(100)} {
			note.Links = append(note.Links, events.NoteLink{Target: fmt.Sprintf("note%d", max(target, 0)), Relation: []string{"", "supports", "part_of"}[i%3]})
		}
		h.record(events.KnowledgeStream("local"), events.NoteWritten{Note: note, Author: events.NoteAuthor{By: "ada"}, Replaces: events.NoRevision})
	}
	return h
}

// BenchmarkKnowledge measures a graph of 100,000 notes.
func BenchmarkKnowledge(b *testing.B) {
	const count = 100_000
	h := manyNotes(b, count)
	spec := knowledgeSpec(b)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, begun := heap(), time.Now()
	fold := spec.New()
	apply(b, spec, fold, h.all)
	b.Logf("%d notes folded in %v", count, time.Since(begun))
	b.Logf("heap %d MB", (heap()-before)>>20)
	begun = time.Now()
	state, err := fold.Save()
	b.Logf("saved %d MB in %v, %v", len(state)>>20, time.Since(begun), err)
	begun = time.Now()
	err = spec.New().Restore(state)
	b.Logf("restored in %v, %v", time.Since(begun), err)
	random := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(random, 1.1, 8, 60_000)
	measure := func(name string, ask func() projections.Query) {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				q := ask()
				begun := time.Now()
				if _, err := fold.Answer(q); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(begun))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(times[len(times)-1].Microseconds()), "max-µs")
		})
	}
	measure("search", func() projections.Query {
		text := fmt.Sprintf("w%dord w%dord w%dord w%dord", zipf.Uint64(), zipf.Uint64(), zipf.Uint64(), zipf.Uint64())
		return projections.Query{Name: "search", Parameters: map[string]string{"text": text}}
	})
	measure("traverse", func() projections.Query {
		return projections.Query{Name: "traverse", Parameters: map[string]string{"note": fmt.Sprintf("note%d", random.IntN(count)), "depth": "3", "limit": "1000"}}
	})
	measure("lint", func() projections.Query { return projections.Query{Name: "lint"} })
	b.Run("update", func(b *testing.B) {
		i := 0
		for b.Loop() {
			e := h.all[random.IntN(count)]
			e.Position += events.Position(i)
			if err := fold.Apply(&projections.Recorded{Envelope: &e}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}
