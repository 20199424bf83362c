package actors_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// shelf has one skill, which can be replaced.
type shelf struct{ skill atomic.Pointer[events.Skill] }

func (s *shelf) Find([]string, string) []events.Skill {
	if found := s.skill.Load(); found != nil {
		return []events.Skill{*found}
	}
	return nil
}

// TestSkillsAreWatched: what a message finds on disk is what its turn is offered; a turn that runs keeps what it began with; and history says which it was.
func TestSkillsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, skills := actorstest.NewMemory(), &shelf{}
		var seen []string
		model := actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
			seen = append(seen, q.System)
			return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: events.Usage{Input: 1, Output: 1}}, nil
		})
		host := start(t, actors.Config{Journal: memory, Blobs: actorstest.NewBlobs(), Models: oneModel{model}, OpeningCredit: events.Dollar, Skills: skills})
		skills.skill.Store(&events.Skill{Name: "pdf", Description: "Reads PDF files.", File: "/s/pdf/SKILL.md", Digest: "1"})
		command := create("a")
		command.Config.Skills.From = []string{"/s"}
		do(t, host, "a", command)
		feed, err := host.Watch(t.Context(), "a", mustTip(t, host))
		if err != nil {
			t.Fatal(err)
		}
		turn := func(id string) string {
			do(t, host, "a", say(id, "Work."))
			until(t, feed, ended)
			return seen[len(seen)-1]
		}
		if system := turn("first"); !strings.Contains(system, "- pdf: Reads PDF files.\n") {
			t.Errorf("the model is told %q", system)
		}
		turn("second")
		skills.skill.Store(&events.Skill{Name: "docx", Description: "Writes letters.", File: "/s/docx/SKILL.md", Digest: "2"})
		if system := turn("third"); strings.Contains(system, "pdf") || !strings.Contains(system, "- docx: Writes letters.\n") {
			t.Errorf("after the change the model is told %q", system)
		}
		skills.skill.Store(nil)
		if system := turn("fourth"); strings.Contains(system, "skill") {
			t.Errorf("without skills the model is told %q", system)
		}
		configured := 0
		page, err := memory.Read(t.Context(), events.AgentStream("a"), 0, storage.Forward, storage.Limit{Events: 1_000})
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Events {
			if page.Events[i].Kind == (events.AgentConfigured{}).Kind() {
				configured++
			}
		}
		if configured != 2 {
			t.Errorf("the configuration changed %d times, want 2", configured)
		}
		verified(t, host)
		if err := feed.Close(); err != nil {
			t.Error(err)
		}
	})
}
