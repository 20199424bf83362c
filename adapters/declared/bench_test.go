package declared_test

import (
	"testing"

	"example.com/life/adapters/declared"
	"example.com/life/projections"
)

// BenchmarkExamples folds a history of 1,000 agents and 200,000 events with each example, counting the events that it passes over.
func BenchmarkExamples(b *testing.B) {
	all := made(b, 1, 1000, 200_000)
	for name, spec := range examples(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			folded := 0
			wanted := map[string]bool{}
			for _, kind := range spec.Kinds {
				wanted[kind] = true
			}
			for b.Loop() {
				fold := spec.New()
				for i := range all {
					if !wanted[string(all[i].Kind)] {
						continue
					}
					folded++
					if err := fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(folded)/b.Elapsed().Seconds(), "folded/s")
		})
	}
}

// BenchmarkFilter filters the same history.
func BenchmarkFilter(b *testing.B) {
	all := made(b, 1, 1000, 200_000)
	for name, expression := range map[string]string{
		"envelope": `kind == "tool.returned" and agent == "a"`, "outline": `failed and duration_us > 1000`, "whole": `text contains "nowhere"`,
	} {
		b.Run(name, func(b *testing.B) {
			filter, err := declared.CompileFilter(expression)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := range all {
					if _, err := filter(&all[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
