package cmd

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"example.com/life/events"
)

// noteWriter makes up notes: their words are as unequally common as those of a language, and links lead to what was written
// shortly before, to anything, and to a few notes that many link to.
type noteWriter struct {
	random *rand.Rand
	zipf   *rand.Zipf
	notes  int
}

const (
	noteWords      = 120
	noteVocabulary = 60_000
)

func newNoteWriter(seed uint64, notes int) *noteWriter {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // notes of a benchmark are no secret
	return &noteWriter{random: random, zipf: rand.NewZipf(random, 1.1, 8, noteVocabulary), notes: notes}
}

// word makes a word of a number: syllables, and an ending that the stemmer takes off.
func (w *noteWriter) word() string {
	const consonants, vowels = "bdfgklmnprstvz", "aeiou"
	number := w.zipf.Uint64()
	var word strings.Builder
	for rest := number + 70; rest > 0; rest /= uint64(len(consonants) * len(vowels)) {
		word.WriteByte(consonants[rest%uint64(len(consonants))])
		word.WriteByte(vowels[rest/uint64(len(consonants))%uint64(len(vowels))])
	}
	return word.String() + []string{"n", "ns", "ning", "ned"}[w.random.IntN(4)]
}

func (w *noteWriter) question(words int) string {
	text := make([]string, words)
	for i := range text {
		text[i] = w.word()
	}
	return strings.Join(text, " ")
}

func (w *noteWriter) name(number int) string {
	return fmt.Sprintf("area-%d/note-%d", number%100, number)
}

func (w *noteWriter) note(number int) events.Note {
	note := events.Note{
		ID: events.NoteID(w.name(number)), Title: fmt.Sprintf("Note %d on %s and %s", number, w.word(), w.word()),
		Tags: []string{fmt.Sprintf("tag-%d", w.zipf.Uint64()%50)}, Text: events.Text{Inline: w.question(noteWords) + "."},
		Source: events.NoteFile{Collection: "bench", Path: w.name(number) + ".md"},
	}
	relations := []string{"", "supports", "part_of"}
	for _, target := range []int{number - 1 - w.random.IntN(50), w.random.IntN(w.notes), w.random.IntN(min(100, w.notes))} {
		note.Links = append(note.Links, events.NoteLink{Target: w.name(max(target, 0)), Relation: relations[w.random.IntN(3)]})
	}
	return note
}
