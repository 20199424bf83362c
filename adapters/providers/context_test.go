package providers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// recalledQuestion is a user's message, and what was found on it.
func recalledQuestion(model string) actors.ModelRequest {
	return actors.ModelRequest{Model: model, Messages: []sagas.Message{
		{Role: sagas.RoleUser, Text: events.Text{Inline: "How hot?"}},
		{Role: sagas.RoleContext, Text: events.Text{Inline: "Notes: very."}},
	}}
}

// TestContextIsSent: what the host adds to the conversation reaches an OpenAI model after what was said, in the same message: many templates take no two in a row.
func TestContextIsSent(t *testing.T) {
	params, err := (&openAI{}).params(recalledQuestion("m"), way{})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(params.Messages)
	if err != nil || string(sent) != `[{"content":"How hot?\n\nNotes: very.","role":"user"}]` {
		t.Errorf("%s, %v", sent, err)
	}
}

// TestScriptSeesWhatWasSaid: rules match what was said last, and may show what was recalled.
func TestScriptSeesWhatWasSaid(t *testing.T) {
	dir := t.TempDir()
	script := "rules:\n  - when: {role: user, matches: hot}\n    text: \"${prompt} ${context}\"\n"
	if err := os.WriteFile(filepath.Join(dir, "notes.yaml"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	models, err := New(Config{Scripted: ScriptedConfig{Dir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	model, name, err := models.Lookup("scripted/notes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := model.Ask(t.Context(), recalledQuestion(name), nil)
	if err != nil || !strings.Contains(answer.Text, "How hot? Notes: very.") {
		t.Errorf("%+v, %v", answer, err)
	}
}
