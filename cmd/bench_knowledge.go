package cmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/life/actors"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// knowledgeMeasured is what was measured with so many notes. Times are in milliseconds.
type knowledgeMeasured struct {
	Notes int `json:"notes"`
	Links int `json:"links"`
	Stems int `json:"stems"`

	WritePerSec float64 `json:"written_per_s"` // by commands of 256 notes, stored and decided
	FoldPerSec  float64 `json:"folded_per_s"`  // by the projection alone, read from the store
	HeapBytes   uint64  `json:"heap_bytes"`    // of the projection
	StateBytes  int     `json:"state_bytes"`   // saved
	SaveMS      float64 `json:"save_ms"`
	RestoreMS   float64 `json:"restore_ms"`

	Search   askedTime `json:"search"`     // of the live projection, words as rare and as common as in the notes
	Traverse askedTime `json:"traverse"`   // three links deep, at most 1,000 notes
	Update   askedTime `json:"update"`     // one note: from its receipt until the live projection answers with it
	Found    float64   `json:"mean_found"` // notes that fit a search
	Reached  float64   `json:"mean_reached"`
}

// askedTime is how long questions took, on the clock and, where one thread did it, of its processor: on a machine that does other
// things too, the clock counts those as well.
type askedTime struct {
	Count  int     `json:"count"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
	CPU50  float64 `json:"cpu_p50_ms,omitempty"`
	CPU99  float64 `json:"cpu_p99_ms,omitempty"`
	CPUMax float64 `json:"cpu_max_ms,omitempty"`
}

type benchKnowledgeFlags struct {
	notes, questions int
	seed             uint64
	dir              string
	asJSON           bool
	progress         bool
}

func benchKnowledgeCommand(a *app) *cobra.Command {
	var f benchKnowledgeFlags
	cmd := &cobra.Command{
		Use:   "knowledge",
		Short: "Measure notes: writing, folding, searching and traversing links",
		Long: "Measure generated notes: about 120 words each with a natural distribution of common and rare words, and three links. Commands write\n" +
			"them to a new store in a temporary directory, which is removed afterwards, and queries go to the live projection.",
		Example: "  life bench knowledge --notes 100000 --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.notes < 1 || f.questions < 1 {
				return usage("--notes and --questions must be positive")
			}
			measured, err := a.benchKnowledge(cmd.Context(), &f)
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(measured)
			}
			a.printKnowledge(&measured)
			return nil
		},
	}
	cmd.Flags().IntVar(&f.notes, "notes", 100_000, "number of notes")
	cmd.Flags().IntVar(&f.questions, "questions", 1000, "number of searches, and of link traversals")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the generated notes")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for the store, which is removed afterwards (default: the system's temporary directory)")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

func (a *app) printKnowledge(m *knowledgeMeasured) {
	fmt.Fprintf(a.out, "%d notes with %d links and %d stems: written %.0f/s, folded %.0f/s, %.0f MB in memory\n",
		m.Notes, m.Links, m.Stems, m.WritePerSec, m.FoldPerSec, float64(m.HeapBytes)/1e6)
	fmt.Fprintf(a.out, "state of %.1f MB, saved in %.0f ms, restored in %.0f ms\n", float64(m.StateBytes)/1e6, m.SaveMS, m.RestoreMS)
	for _, each := range []struct {
		what string
		askedTime
	}{{"search", m.Search}, {"traverse", m.Traverse}, {"update", m.Update}} {
		fmt.Fprintf(a.out, "%-9s p50 %.2f ms, p99 %.2f ms, max %.2f ms; CPU time p50 %.2f ms, p99 %.2f ms\n",
			each.what, each.P50, each.P99, each.Max, each.CPU50, each.CPU99)
	}
}

// notesBench is one run.
type notesBench struct {
	*rig
	flags  *benchKnowledgeFlags
	words  *noteWriter
	stream events.Stream
	m      knowledgeMeasured
}

func (a *app) benchKnowledge(ctx context.Context, f *benchKnowledgeFlags) (m knowledgeMeasured, err error) {
	dir, err := benchDir(f.dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, err := newRig(ctx, dir, -1)
	if err != nil {
		return m, err
	}
	b := notesBench{rig: r, flags: f, words: newNoteWriter(f.seed, f.notes), stream: events.KnowledgeStream(sagas.DefaultTenant)}
	progress := a.newMeter(f.progress)
	defer progress.done()
	for _, step := range []func(context.Context, *meter) error{b.write, b.ask, b.update, b.fold} {
		if err := step(ctx, progress); err != nil {
			return m, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
		}
	}
	return b.m, r.Close(context.WithoutCancel(ctx))
}

// write stores all notes.
func (b *notesBench) write(ctx context.Context, meter *meter) error {
	begun := time.Now()
	for next := 0; next < b.flags.notes; {
		command := sagas.KeepNotes{Meta: newMeta(""), Author: events.NoteAuthor{By: "bench"}}
		for ; len(command.Write) < addNotes && next < b.flags.notes; next++ {
			command.Write = append(command.Write, b.words.note(next))
		}
		if _, err := b.Do(ctx, b.stream, command, actors.Origin{Actor: "bench"}); err != nil {
			return err
		}
		meter.show("%d notes written", next)
	}
	b.m.Notes, b.m.WritePerSec = b.flags.notes, float64(b.flags.notes)/time.Since(begun).Seconds()
	return nil
}

// ask searches and follows links, once the live projection has all notes.
func (b *notesBench) ask(ctx context.Context, meter *meter) error {
	meter.show("the projection is catching up")
	var size projections.KnowledgeSize
	for size.Notes < b.flags.notes {
		err := b.question(ctx, "size", nil, 0, &size)
		if behind := new(projector.BehindError); err != nil && !errors.As(err, &behind) {
			return err
		}
	}
	b.m.Links, b.m.Stems = size.Links, size.Stems
	search, traverse := newStopwatch(), newStopwatch()
	for i := range b.flags.questions {
		var found projections.FoundNotes
		if err := b.timed(ctx, search, "search", map[string]string{"text": b.words.question(4)}, &found); err != nil {
			return err
		}
		var reached projections.Traversal
		from := b.words.name(b.words.random.IntN(b.flags.notes))
		if err := b.timed(ctx, traverse, "traverse", map[string]string{"note": from, "depth": "3", "limit": "1000"}, &reached); err != nil {
			return err
		}
		b.m.Found += float64(found.Matched) / float64(b.flags.questions)
		b.m.Reached += float64(len(reached.Nodes)) / float64(b.flags.questions)
		meter.show("%d queries answered", i)
	}
	b.m.Search, b.m.Traverse = search.asked(), traverse.asked()
	return nil
}

// timed asks the live projection and times it, until the answer is there as JSON.
func (b *notesBench) timed(ctx context.Context, watch *stopwatch, name string, parameters map[string]string, answer any) error {
	var asked projector.Answer
	err := watch.time(func() (err error) {
		asked, err = b.Query(ctx, projector.Question{Projection: "knowledge", Query: projections.Query{Name: name, Parameters: parameters}}, nil)
		return err
	})
	if err != nil {
		return err
	}
	return decodeAnswer(asked, answer)
}

// question asks the live projection.
func (b *notesBench) question(ctx context.Context, name string, parameters map[string]string, least events.Position, answer any) error {
	asked, err := b.Query(ctx, projector.Question{Projection: "knowledge", Min: least, Query: projections.Query{Name: name, Parameters: parameters}}, nil)
	if err != nil {
		return err
	}
	return decodeAnswer(asked, answer)
}

// update writes notes anew, one at a time, and waits for the projection to answer with each.
func (b *notesBench) update(ctx context.Context, meter *meter) error {
	took := make([]time.Duration, 0, b.flags.questions)
	for i := range min(b.flags.questions, 200) {
		command := sagas.KeepNotes{Meta: newMeta(""), Author: events.NoteAuthor{By: "bench"}, Write: []events.Note{b.words.note(b.words.random.IntN(b.flags.notes))}}
		receipt, err := b.Do(ctx, b.stream, command, actors.Origin{Actor: "bench"})
		if err != nil {
			return err
		}
		begun := time.Now()
		var answer projections.NoteAnswer
		if err := b.question(ctx, "note", map[string]string{"note": string(command.Write[0].ID)}, receipt.Position, &answer); err != nil {
			return err
		}
		took = append(took, time.Since(begun))
		meter.show("%d notes rewritten", i)
	}
	slices.Sort(took)
	b.m.Update = askedTime{Count: len(took), P50: quantile(took, 0.5), P99: quantile(took, 0.99), Max: quantile(took, 1)}
	return nil
}

// fold reads the notes into a projection of its own, and saves and restores it.
func (b *notesBench) fold(ctx context.Context, meter *meter) error {
	spec, err := projections.Find("knowledge")
	if err != nil {
		return err
	}
	before, fold, folded, busy := heap(), spec.New(), 0, time.Duration(0)
	for from := events.Revision(0); ; {
		page, err := b.History(ctx, b.stream, from, storage.Forward, storage.Limit{Events: 1024})
		if err != nil {
			return err
		}
		begun := time.Now()
		for i := range page.Events {
			if err := fold.Apply(&projections.Recorded{Envelope: &page.Events[i]}); err != nil {
				return err
			}
			from = page.Events[i].Revision + 1
		}
		busy += time.Since(begun)
		folded += len(page.Events)
		meter.show("%d notes folded", folded)
		if page.End || len(page.Events) == 0 {
			break
		}
	}
	b.m.FoldPerSec, b.m.HeapBytes = float64(folded)/busy.Seconds(), heap()-before
	begun := time.Now()
	state, err := fold.Save()
	if err != nil {
		return err
	}
	b.m.StateBytes, b.m.SaveMS = len(state), float64(time.Since(begun).Microseconds())/1000
	begun = time.Now()
	if err := spec.New().Restore(state); err != nil {
		return err
	}
	b.m.RestoreMS = float64(time.Since(begun).Microseconds()) / 1000
	runtime.KeepAlive(fold)
	return nil
}

// stopwatch times what happens on one thread.
type stopwatch struct{ wall, cpu []time.Duration }

func newStopwatch() *stopwatch { return &stopwatch{} }

func (s *stopwatch) time(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun, used := time.Now(), threadTime()
	err := do()
	s.wall, s.cpu = append(s.wall, time.Since(begun)), append(s.cpu, threadTime()-used)
	return err
}

// threadTime is what the thread has used of its processor.
func threadTime() time.Duration {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (s *stopwatch) asked() askedTime {
	slices.Sort(s.wall)
	slices.Sort(s.cpu)
	return askedTime{
		Count: len(s.wall), P50: quantile(s.wall, 0.5), P99: quantile(s.wall, 0.99), Max: quantile(s.wall, 1),
		CPU50: quantile(s.cpu, 0.5), CPU99: quantile(s.cpu, 0.99), CPUMax: quantile(s.cpu, 1),
	}
}

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
