package responses

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3/responses"

	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

// TestOfficialTypesReadWhatIsSent: the types of OpenAI's own package read requests of ours, find each item to be what it is meant to be, and lose
// nothing: written again, it is the same request.
func TestOfficialTypesReadWhatIsSent(t *testing.T) {
	for _, name := range []string{"text", "calls", "messages", "search", "cut-call", "refusal"} {
		answer, _, _, failure := reads(t, wire{Pieces: []string{recording(t, name)}})
		if failure != nil {
			t.Fatal(failure)
		}
		for way, asked := range map[string]way{"OpenAI's way": {}, "another way": {systemItem: true, noStrict: true, noItems: true}} {
			question := endpointtest.Followed(actorstest.ModelQuestion("gpt-6-astra"), &answer)
			question.Thinking = events.Thinking{Effort: events.EffortHigh}
			sent, err := body(&question, asked, true)
			if err != nil {
				t.Fatal(err)
			}
			before := decoded(t, sent)
			var params responses.ResponseNewParams
			if err := json.Unmarshal(sent, &params); err != nil {
				t.Fatalf("%s, %s: %v\n%s", name, way, err, sent)
			}
			kinds, items := officialKinds(t, before["input"])
			if diff := cmp.Diff(meantKinds(t, sent), kinds); diff != "" {
				t.Errorf("%s, %s: items (-meant +read):\n%s", name, way, diff)
			}
			again, err := json.Marshal(params)
			if err != nil {
				t.Fatal(err)
			}
			after := decoded(t, again)
			after["input"] = items
			if before["stream"] != true {
				t.Errorf("%s, %s: it does not stream", name, way)
			}
			delete(before, "stream") // the package sets it beside its types
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s, %s: (-sent +read):\n%s", name, way, diff)
			}
		}
	}
}

func decoded(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// officialKinds are the kinds of the input's items as the package sees them, and the items as it writes them. It reads one at a time: a list it
// tells from a text by looking at it, and finds neither.
func officialKinds(t *testing.T, input any) (kinds []string, items []any) {
	t.Helper()
	list, _ := input.([]any)
	for _, one := range list {
		raw, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		var item responses.ResponseInputItemUnionParam
		if fields, _ := one.(map[string]any); fields["type"] == typeMessage && fields["id"] != nil { // it takes the first of its kinds of messages
			item.OfOutputMessage = &responses.ResponseOutputMessageParam{}
			err = json.Unmarshal(raw, item.OfOutputMessage)
		} else {
			err = json.Unmarshal(raw, &item)
		}
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		again, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, decoded(t, again))
		switch {
		case item.OfMessage != nil:
			kinds = append(kinds, "message of "+string(item.OfMessage.Role))
		case item.OfOutputMessage != nil && len(item.OfOutputMessage.Content) == 1 && item.OfOutputMessage.Content[0].OfOutputText != nil:
			kinds = append(kinds, "message of assistant")
		case item.OfFunctionCall != nil && item.OfFunctionCall.CallID != "" && item.OfFunctionCall.Name != "":
			kinds = append(kinds, "function_call")
		case item.OfFunctionCallOutput != nil && item.OfFunctionCallOutput.CallID.Value != "":
			kinds = append(kinds, "function_call_output")
		case item.OfReasoning != nil && item.OfReasoning.EncryptedContent.Value != "":
			kinds = append(kinds, "reasoning")
		case item.OfWebSearchCall != nil:
			kinds = append(kinds, "web_search_call")
		default:
			kinds = append(kinds, "unknown")
		}
	}
	return kinds, items
}

func meantKinds(t *testing.T, sent []byte) []string {
	t.Helper()
	var q struct{ Input []sentItem }
	if err := json.Unmarshal(sent, &q); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, it := range q.Input {
		if it.Role != "" {
			it.Type = "message of " + it.Role
		}
		kinds = append(kinds, it.Type)
	}
	return kinds
}
