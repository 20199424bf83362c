package projections_test

import (
	"testing"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas/world"
)

// longHistory is what 1,000 agents did in half a year: real decisions, see package world.
func longHistory(tb testing.TB) []events.Envelope {
	made := world.New(world.Config{Seed: 1, Agents: 1000, Events: 200_000})
	var all []events.Envelope
	for {
		batch, err := made.Next()
		if err != nil {
			tb.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		all = append(all, batch...)
	}
}

// BenchmarkProjections folds a history with each projection, and with all at once, which decode each event once. "decode" is what
// decoding alone takes, in outline and whole.
func BenchmarkProjections(b *testing.B) {
	all := longHistory(b)
	rate := func(b *testing.B) {
		b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "events/s")
	}
	for i := range projections.Catalog {
		spec := &projections.Catalog[i]
		b.Run(spec.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				apply(b, spec, spec.New(), all)
			}
			rate(b)
		})
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			applyAll(b, all)
		}
		rate(b)
	})
	for name, decode := range map[string]func(*projections.Recorded) (events.Event, error){
		"decode outline": (*projections.Recorded).Outline, "decode whole": (*projections.Recorded).Event,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range all {
					if _, err := decode(&projections.Recorded{Envelope: &all[i]}); err != nil {
						b.Fatal(err)
					}
				}
			}
			rate(b)
		})
	}
}

// applyAll folds with every projection of the catalogue.
func applyAll(b *testing.B, all []events.Envelope) {
	folds, wanted := make([]projections.Fold, len(projections.Catalog)), map[events.Kind][]projections.Fold{}
	for i := range folds {
		folds[i] = projections.Catalog[i].New()
	}
	for i := range all {
		into, known := wanted[all[i].Kind]
		if !known {
			for j := range folds {
				if needs(&projections.Catalog[j], all[i].Kind) {
					into = append(into, folds[j])
				}
			}
			wanted[all[i].Kind] = into
		}
		recorded := projections.Recorded{Envelope: &all[i]}
		for _, fold := range into {
			if err := fold.Apply(&recorded); err != nil {
				b.Fatal(err)
			}
		}
	}
}
