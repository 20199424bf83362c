package responses

import (
	"strings"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// TestRefusalsInOtherWords: each endpoint names what it does not take in words of its own.
func TestRefusalsInOtherWords(t *testing.T) {
	at, err := endpoint.New(named(endpoint.Config{BaseURL: "http://model.test/v1"}))
	if err != nil {
		t.Fatal(err)
	}
	said := func(message string) string { return `{"error":{"message":` + quote(message) + `}}` }
	for name, test := range map[string]struct {
		status int
		body   string
		want   way
	}{
		"a field of Go":             {400, said(`json: unknown field "store"`), way{noStore: true}},
		"store, in plain words":     {400, said("Unknown field store."), way{noStore: true}},
		"a place in the body":       {422, `{"detail":[{"type":"extra_forbidden","loc":["body","include"],"msg":"Extra inputs are not permitted"}]}`, way{noInclude: true}},
		"a place within it":         {422, `{"detail":[{"type":"extra_forbidden","loc":["body","reasoning","summary"],"msg":"Extra inputs are not permitted"}]}`, way{noSummary: true}},
		"all of reasoning":          {422, `{"detail":[{"type":"extra_forbidden","loc":["body","reasoning"],"msg":"Extra inputs are not permitted"}]}`, way{noReasoning: true}},
		"encrypted content":         {400, said("Encrypted content is not supported with this model."), way{noInclude: true}},
		"a field of an item":        {400, said("Unknown parameter: 'input[8].argumeRts'."), way{noItems: true}},
		"an argument":               {400, said("Unrecognized request argument supplied: max_output_tokens"), way{noLimit: true}},
		"a lower limit":             {400, said("max_output_tokens must be less than or equal to 2048"), way{reply: 2048}},
		"prompt and reply together": {400, said("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (4904 in the messages, 4096 in the completion)."), way{afresh: 8192 - 4904 - 16}},
		"the prompt":                {400, said(`unknown field "instructions"`), way{systemItem: true}},
		"a property":                {400, said("Additional properties are not allowed ('strict' was unexpected)"), way{noStrict: true}},
		"no stream":                 {501, said("streaming is not implemented"), way{whole: true}},
		"an effort":                 {400, said("Invalid value for reasoning_effort: 'high'"), way{effort: floorUnasked}},
		"not verified":              {403, said("Your organization must be verified to generate reasoning summaries."), way{noSummary: true}},
		// These mean something else.
		"a store of vectors":  {400, said("The vector store is not supported."), way{}},
		"a stream that broke": {502, said("the stream was closed by the upstream: not supported"), way{}},
		"no key":              {401, said("Unknown parameter: store"), way{}},
		"too many":            {429, said("Unknown parameter: store"), way{}},
		"the window":          {400, said("Your input exceeds the context window of this model."), way{}},
		"no such model":       {404, said("The model `m` does not exist or you do not have access to it."), way{}},
	} {
		words, _ := endpoint.ErrorIn([]byte(test.body))
		question := actorstest.ModelQuestion("m")
		question.Thinking.Effort = events.EffortHigh
		question.Messages[1].Blocks = []events.Block{{Kind: events.BlockText, Raw: &events.Text{Inline: "{}"}}}
		got := way{}.after(at.Refused(test.status, words, 0), &question)
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// TestFieldsThatAreNotTakenBack: where an endpoint refused what came with its replies, nothing of it is sent again, not only the ids.
func TestFieldsThatAreNotTakenBack(t *testing.T) {
	e := entry{text: "Hello.", raw: `{"id":"msg_1","phase":"final"}`}
	for plain, want := range map[bool]string{
		true:  `{"content":"Hello.","role":"assistant","type":"message"}`,
		false: `{"content":[{"type":"output_text","text":"Hello.","annotations":[]}],"id":"msg_1","phase":"final","role":"assistant","status":"completed","type":"message"}`,
	} {
		if got, err := saidItem(e, plain); err != nil || string(got) != want {
			t.Errorf("plain %t: %s, %v", plain, got, err)
		}
	}
}

// TestLongIDs: the id of another provider's call is shortened, the same in the call and in its result.
func TestLongIDs(t *testing.T) {
	long, other := "call_"+strings.Repeat("thought", 20), "call_"+strings.Repeat("thought", 21)
	if short := callID(long); len(short) != 32 || short != callID(long) || short == callID(other) || callID("call_a") != "call_a" {
		t.Errorf("%q became %q, %q %q", long, callID(long), other, callID(other))
	}
}
