package sagas_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// runCatalogue knows the catalogue of projections.
func (s *script) runCatalogue(d *datadriven.TestData) (string, bool) {
	meta, name := s.meta(d), argument(d)
	if s.catalogue == nil {
		s.catalogue = newHistory(sagas.NewCatalogue)
	}
	switch d.Cmd {
	case "add":
		return decides(s, s.catalogue, sagas.AddProjection{
			Meta: meta, Name: name, Version: number(s.t, d, "version"), Source: events.Text{Inline: d.Input}, By: text(d, "by"),
		}), true
	case "remove":
		return decides(s, s.catalogue, sagas.RemoveProjection{Meta: meta, Name: name, By: text(d, "by"), Reason: d.Input}), true
	case "leave":
		return decides(s, s.catalogue, sagas.SkipEvent{
			Meta: meta, Name: name, Position: events.Position(number(s.t, d, "position")), Event: events.Ref(text(d, "event")), Of: "wallet.credited",
			Reason: d.Input, By: text(d, "by"),
		}), true
	case "catalogue":
		out := ""
		for _, declared := range s.catalogue.saga.Declared {
			out += fmt.Sprintf("%s, version %d: %q", declared.Name, declared.Version, declared.Source.Inline)
			if declared.Before != nil {
				out += fmt.Sprintf(", before %q", declared.Before.Source.Inline)
			}
			out += "\n"
		}
		for _, skipped := range s.catalogue.saga.Skipped {
			out += fmt.Sprintf("%s skips %d: %s\n", skipped.Name, skipped.Position, skipped.Reason)
		}
		return out, true
	}
	return "", false
}

// TestCatalogueAnyOrder gives a catalogue commands in any order: names are unique, what was removed has nothing left, and the fold of
// its history is the catalogue.
func TestCatalogueAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(sagas.NewCatalogue)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			meta := sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", rapid.IntRange(0, 20).Draw(t, "command"))), At: start}
			name := rapid.SampledFrom([]string{"a", "b", "c", "No"}).Draw(t, "name")
			source := events.Text{Inline: rapid.SampledFrom([]string{"x", "y", "\xff"}).Draw(t, "source")}
			position := events.Position(rapid.IntRange(0, 3).Draw(t, "position"))
			command := rapid.SampledFrom([]sagas.Command{
				sagas.AddProjection{Meta: meta, Name: name, Version: rapid.IntRange(0, 2).Draw(t, "version"), Source: source},
				sagas.RemoveProjection{Meta: meta, Name: name, By: "ann"},
				sagas.SkipEvent{Meta: meta, Name: name, Position: position, Event: "wallet-main@1", Reason: "r", By: "ann"},
				sagas.Tick{Meta: meta},
			}).Draw(t, "command")
			if _, err := h.decide(t, command); err == nil {
				h.snap(t)
			}
			seen := map[string]bool{}
			for _, declared := range h.saga.Declared {
				if seen[declared.Name] {
					t.Fatalf("%s is there twice", declared.Name)
				}
				seen[declared.Name] = true
			}
			if h.saga.Declares("No") != nil {
				t.Fatal("a name that is none is there")
			}
		}
		h.replay(t)
	})
}
