package providers

import (
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
