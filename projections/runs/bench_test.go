package runs_test

import (
	"testing"

	"example.com/life/projections"
	"example.com/life/projections/runs"
)

// BenchmarkRunFold folds the turns of one agent, as a comparison does.
func BenchmarkRunFold(b *testing.B) {
	const turns = 5000
	a := newAuthor(b, "ada", "x")
	for range turns {
		a.write("message look", "start", "ask", `reply looking; read_file {"path":"a.go"}`, "sent c1.1", "returned c1.1 text", "ask", "reply done", "end done")
	}
	b.ReportAllocs()
	for b.Loop() {
		fold, sketches := runs.NewRunFold(), 0
		for i := range a.all {
			if err := fold.Apply(&projections.Recorded{Envelope: &a.all[i]}); err != nil {
				b.Fatal(err)
			}
			for _, turn := range fold.Turns() {
				sketches += turn.Sketch().Totals.Turns
			}
		}
		if sketches != turns {
			b.Fatalf("%d turns", sketches)
		}
	}
	b.ReportMetric(float64(len(a.all)*b.N)/b.Elapsed().Seconds(), "events/s")
}
