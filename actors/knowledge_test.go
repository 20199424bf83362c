package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// keep writes notes of the tenant local.
func keep(t *testing.T, host *actors.Host, id string, notes ...events.Note) actors.Receipt {
	t.Helper()
	command := sagas.KeepNotes{Meta: meta(id), Write: notes, Author: events.NoteAuthor{By: "ada"}}
	receipt, err := host.Do(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), command, actors.Origin{Actor: "test"})
	if err != nil {
		t.Fatalf("keep %s: %v", id, err)
	}
	return receipt
}

func someNotes() []events.Note {
	return []events.Note{
		{ID: "shield", Title: "Heat shield", Text: events.Text{Inline: "# Heat shield\nIt burns away at 1650 degrees, during [[re-entry]]."}},
		{ID: "re-entry", Title: "Re-entry", Text: events.Text{Inline: "Hot."}},
		{ID: "soup", Title: "Soup", Text: events.Text{Inline: "Eat it while it is there."}},
	}
}

// noted writes a note from the call before it.
func noted() actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "writes a note", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
		Does: func(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			receipt, err := use.Knowledge.Keep(ctx, actors.NoteChange{Note: events.Note{ID: "found", Title: "Found", Text: events.Text{Inline: "See [[shield]]."}}})
			if err != nil {
				return actors.ToolResult{}, err
			}
			return actors.ToolResult{Text: fmt.Sprintf("written at %d", receipt.Revision)}, nil
		},
	}
}

// shown is a model that does two rounds, and remembers what it was shown first.
func shown(context.Context) (actors.Model, *atomic.Pointer[[]sagas.Message]) {
	var first atomic.Pointer[[]sagas.Message]
	return actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		messages := q.Messages
		first.CompareAndSwap(nil, &messages)
		return twoRounds(ctx, q, delta)
	}), &first
}

func knowing() sagas.Create {
	c := create("demo", "echo")
	c.Config.Knowledge = events.KnowledgeConfig{Tokens: 300, Near: []events.NoteID{"gone", "shield"}}
	return c
}

// TestTurnsBeginWithWhatIsKnown: what fits the message is searched, recorded with the events it is taken from, and shown to the model.
func TestTurnsBeginWithWhatIsKnown(t *testing.T) {
	memory := actorstest.NewMemory()
	model, first := shown(t.Context())
	host := start(t, actors.Config{Journal: memory, Models: oneModel{model}, Tools: []actors.Tool{noted()}})
	receipt := keep(t, host, "k1", someNotes()...)
	if receipt.Written != 3 || receipt.Duplicate {
		t.Errorf("%+v", receipt)
	}
	if again := keep(t, host, "k2", someNotes()...); !again.Duplicate || again.Written != 0 || again.Revision != 2 {
		t.Errorf("the same notes give %+v", again)
	}
	if again := keep(t, host, "k1", someNotes()...); !again.Duplicate || again.Written != 3 || again.Revision != 0 {
		t.Errorf("the same command gives %+v", again)
	}
	do(t, host, "demo", knowing())
	do(t, host, "demo", say("c1", "How many degrees does the heat shield stand?"))
	seen := until(t, watch(t, host, "demo"), ended)
	var recalled events.KnowledgeRecalled
	for _, event := range seen {
		if e, ok := event.(events.KnowledgeRecalled); ok {
			recalled = e
		}
	}
	if len(recalled.Notes) < 1 || recalled.Notes[0].Note != "shield" || recalled.Notes[0].Event != "knowledge-local@0" ||
		recalled.Notes[0].Text != "It burns away at 1650 degrees, during [[re-entry]]." || recalled.Position < receipt.Position || recalled.Tokens > 300 {
		t.Fatalf("recalled %+v", recalled)
	}
	messages := *first.Load()
	if len(messages) != 2 || messages[1].Role != sagas.RoleContext || !strings.Contains(messages[1].Text.Inline, "1650 degrees") || strings.Contains(messages[1].Text.Inline, "Soup") {
		t.Errorf("the model was shown %+v", messages)
	}
	page, err := host.History(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), 3, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("the agent wrote %d notes, %v", len(page.Events), err)
	}
	event, err := page.Events[0].Event()
	written, _ := event.(events.NoteWritten)
	want := events.NoteAuthor{Agent: "demo", Turn: "demo/1", Call: "1.1"}
	if err != nil || written.Author != want || len(written.Links) != 1 || written.Links[0].Target != "shield" {
		t.Errorf("%+v, %v", written, err)
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// TestNothingIsKnownInTime: the turn goes on without, as an event; and an agent that is not configured so has no such event.
func TestNothingIsKnownInTime(t *testing.T) {
	for configured, want := range map[bool]string{true: "no answer within 1ns", false: ""} {
		model, first := shown(t.Context())
		host := start(t, actors.Config{
			Journal: actorstest.NewMemory(), Models: oneModel{model}, Tools: []actors.Tool{noted()},
		}.Within(actors.Limits{Knowledge: 1}))
		keep(t, host, "k1", someNotes()...)
		made := knowing()
		if !configured {
			made.Config.Knowledge = events.KnowledgeConfig{}
		}
		do(t, host, "demo", made)
		do(t, host, "demo", say("c1", "How hot?"))
		missed := ""
		for _, event := range until(t, watch(t, host, "demo"), ended) {
			switch e := event.(type) {
			case events.KnowledgeMissed:
				missed = e.Detail
			case events.KnowledgeRequested, events.KnowledgeRecalled:
				if !configured {
					t.Errorf("an agent that asks for nothing has %s", event)
				}
			}
		}
		if missed != want || len(*first.Load()) != 1 {
			t.Errorf("configured %v: missed %q, shown %v", configured, missed, *first.Load())
		}
	}
}

// TestLargeNote: a text that is too large for an event is kept as a blob, with its beginning for searches.
func TestLargeNote(t *testing.T) {
	host := start(t, actors.Config{Journal: actorstest.NewMemory(), Models: oneModel{actorstest.FakeModel(twoRounds)}})
	text := strings.Repeat("ä line with many words\n", 3000) + "[[end]]"
	keep(t, host, "k1", events.Note{ID: "large", Title: "Large", Text: events.Text{Inline: text}})
	page, err := host.History(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), 0, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 1 {
		t.Fatal(err)
	}
	event, err := page.Events[0].Event()
	written, _ := event.(events.NoteWritten)
	if err != nil || written.Blob == nil || written.Blob.Size != int64(len(text)) || len(written.Inline) > events.InlineLimit || len(written.Inline) < events.InlineLimit-4 {
		t.Errorf("%d bytes inline, %+v, %v", len(written.Inline), written.Blob, err)
	}
	if len(written.Links) != 1 || written.Links[0].Target != "end" {
		t.Errorf("links %+v", written.Links)
	}
	_, err = host.Do(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), sagas.KeepNotes{
		Meta: meta("k2"), Write: []events.Note{{ID: "blob", Title: "B", Text: events.Text{Blob: &events.BlobRef{}}}},
	}, actors.Origin{})
	var refused *sagas.RefusalError
	if !errors.As(err, &refused) || !strings.Contains(refused.Detail, "not a blob") {
		t.Errorf("%v", err)
	}
}

// TestCrashWithNotes lets the store die at every append of a turn that asks what is known and writes a note. It is answered once,
// and the note is written once.
func TestCrashWithNotes(t *testing.T) {
	for _, how := range []death{unstored, untold, inBetween} {
		for n := 1; n <= 14; n++ {
			t.Run(fmt.Sprintf("append %d, %s", n, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashWithNotes(t, n, how) })
			})
		}
	}
}

func crashWithNotes(t *testing.T, n int, how death) {
	memory := actorstest.NewMemory()
	model, _ := shown(t.Context())
	config := actors.Config{
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Masker: actorstest.Unmasked{}, OpeningCredit: events.Dollar,
		Models: oneModel{model}, Tools: []actors.Tool{noted()},
	}
	first, err := actors.New(t.Context(), config.Within(actors.Limits{Append: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	keep(t, first, "k1", someNotes()...)
	do(t, first, "demo", knowing())
	die(t, memory, first, n, how)
	second := start(t, config)
	do(t, second, "demo", say("c1", "How hot is the heat shield?"))
	answers, written := 0, 0
	for _, event := range until(t, watch(t, second, "demo"), func(e events.Event) bool { return e.Kind() == "settlement.recorded" }) {
		switch e := event.(type) {
		case events.KnowledgeRecalled, events.KnowledgeMissed:
			answers++
		case events.ToolReturned:
			if !e.Failed { // it may have failed because the notes' store died first, and the model was told
				written++
			}
		}
	}
	page, err := second.History(t.Context(), events.KnowledgeStream(sagas.DefaultTenant), 3, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) > 1 || len(page.Events) < written || answers != 1 {
		t.Errorf("%d notes were written, %d said to be, %d answers recorded: %v", len(page.Events), written, answers, err)
	}
	if report, err := second.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}

// die sends the agent a message and has the store die at an append.
func die(t *testing.T, memory *actorstest.Memory, host *actors.Host, n int, how death) {
	t.Helper()
	dead := dieAt(memory, n, how)
	_, _ = host.Do(t.Context(), events.AgentStream("demo"), say("c1", "How hot is the heat shield?"), actors.Origin{})
	select {
	case <-dead:
	case <-time.After(200 * time.Millisecond): // fewer appends than n: it ran to its end
	}
	memory.Fail(nil)
	memory.FailAfter(func(events.Stream, []events.Envelope) error { return storage.ErrClosed })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := host.Close(ctx); err != nil {
		t.Fatal(err)
	}
	memory.FailAfter(nil)
}
