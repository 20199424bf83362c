package chat

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"

	"example.com/life/actors/actorstest"
)

// TestOfficialTypesReadWhatIsSent: the types of OpenAI's own package read a request of ours, find each message to be what it is meant to be, and
// lose nothing: written again, it is the same request.
func TestOfficialTypesReadWhatIsSent(t *testing.T) {
	written, err := params(actorstest.ModelQuestion("gpt-4o"), way{}, true)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	var read openai.ChatCompletionNewParams
	if err := json.Unmarshal(sent, &read); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range read.Messages {
		switch {
		case m.OfSystem != nil:
			kinds = append(kinds, "system")
		case m.OfUser != nil:
			kinds = append(kinds, "user")
		case m.OfAssistant != nil:
			kinds = append(kinds, "assistant")
			for _, call := range m.OfAssistant.ToolCalls {
				if call.OfFunction == nil || call.OfFunction.ID == "" || call.OfFunction.Function.Name == "" {
					t.Errorf("no call: %+v", call)
				}
			}
		case m.OfTool != nil && m.OfTool.ToolCallID != "":
			kinds = append(kinds, "tool")
		default:
			kinds = append(kinds, "unknown")
		}
	}
	if diff := cmp.Diff([]string{"system", "user", "assistant", "tool", "tool", "assistant", "user"}, kinds); diff != "" {
		t.Errorf("messages (-meant +read):\n%s", diff)
	}
	again, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]any
	if json.Unmarshal(sent, &before) != nil || json.Unmarshal(again, &after) != nil {
		t.Fatal("it is no JSON")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("(-sent +read):\n%s", diff)
	}
}
