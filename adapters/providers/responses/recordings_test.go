package responses

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// recordings are replies as endpoints stream them, a frame each.
func recordings(t testing.TB) [][]string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.sse")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d recordings, %v", len(names), err)
	}
	var all [][]string
	for _, name := range names {
		all = append(all, strings.SplitAfter(recording(t, strings.TrimSuffix(filepath.Base(name), ".sse")), "\n\n"))
	}
	return append(all,
		callsOne("c1", "bash", `{"command": "echo one"}`).pieces,
		frames(callAdded(0, "f1", "c1", "bash"), callDelta(0, "f1", `{"command": "echo `), callDelta(0, "f1", `two"}`), callDone(0, "f1", "c1", "bash", `{"command": "echo two"}`), completed).pieces,
		frames(delta(0, "m", "<tool_call>{\"name\": \"bash\""), `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`).pieces,
		failedBy("server_error", "Broken.").pieces,
		[]string{`{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Whole."}]}],"usage":` + someUsage + `}`},
	)
}

// retyped are what frames are retyped by.
var retyped = []string{
	`"output_index":0`, `"output_index":null`, `"output_index":1`, `"output_index":"0"`, `"fc_1"`, `7`, `"arguments":"{`, `"arguments":{"x":"`,
	`"content":[`, `"content":{`, `"type":"reasoning"`, `"type":"sparkle"`, `"sequence_number":`, `"number":`,
}

// followed is a conversation that goes on after a reply.
func followed(question actors.ModelRequest, answer *actors.ModelResponse) actors.ModelRequest {
	said := sagas.Message{Role: sagas.RoleAssistant, Text: events.Text{Inline: answer.Text}, Calls: answer.Calls}
	for _, b := range answer.Blocks {
		block := events.Block{Kind: b.Kind, Bytes: b.Bytes, Text: &events.Text{Inline: b.Text}}
		if b.Raw != "" {
			block.Raw = &events.Text{Inline: b.Raw}
		}
		said.Blocks = append(said.Blocks, block)
	}
	question.Messages = append(question.Messages, said)
	for _, call := range answer.Calls {
		question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleTool, CallID: call.ID, Tool: call.Tool})
	}
	question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleUser, Text: events.Text{Inline: "Go on."}})
	return question
}

// checkReply holds what comes of a reply to what must be true of every one: the pieces are the text; calls have ids of their own and arguments
// that are JSON, and the recording held them; an empty reply is no answer; and the conversation that goes on is one that a strict endpoint takes.
func checkReply(t *testing.T, body string, answer *actors.ModelResponse, heard map[int]string) {
	t.Helper()
	if len(answer.Calls) == 0 && strings.TrimSpace(answer.Text) == "" && answer.Fault == "" && answer.Stop == events.StopEnd {
		t.Errorf("%q: an empty reply is done", body)
	}
	text := answer.Text
	for i, b := range answer.Blocks {
		if b.Raw != "" && !json.Valid([]byte(b.Raw)) || b.Bytes > len(text) {
			t.Fatalf("%q: block %d is %+v", body, i, b)
		}
		text = text[b.Bytes:]
	}
	for _, piece := range heard {
		if !strings.Contains(strings.ToValidUTF8(body, "\uFFFD"), "sequence_number") && !strings.Contains(answer.Text, piece) {
			t.Errorf("%q: the pieces say %q, the reply %q", body, piece, answer.Text)
		}
	}
	seen := map[string]bool{}
	for _, call := range answer.Calls {
		if !json.Valid(call.Arguments) || call.ID == "" || seen[call.ID] || call.Tool == "" {
			t.Errorf("%q: call %+v", body, call)
		}
		seen[call.ID] = true
		if written := string(call.Arguments); !call.Cut && endpoint.IsObject(written) && written != "{}" && !strings.Contains(writtenIn(body), written) {
			t.Errorf("%q: call %s did not come so", body, written)
		}
	}
	question := followed(actorstest.ModelQuestion("m"), answer)
	broken, encoded := brokenBy(t, &question, way{})
	if len(broken) > 0 && strings.HasPrefix(broken[0], "Unknown parameter: '") { // it is asked so after that refusal: TestRefusalsInOtherWords
		broken, encoded = brokenBy(t, &question, way{noItems: true})
	}
	if len(broken) > 0 {
		t.Errorf("%q makes a conversation that breaks %v: %s", body, broken, encoded)
	}
}

var stringOf = regexp.MustCompile(`"([^"\\]*)": *("(?:[^"\\]|\\.)*")`)

// writtenIn is a stream as it came, what its strings say, and what its deltas say together: a call is found there in whatever form it was sent.
func writtenIn(body string) string {
	var said, deltas strings.Builder
	for _, found := range stringOf.FindAllStringSubmatch(body, -1) {
		var text string
		if json.Unmarshal([]byte(found[2]), &text) != nil {
			continue
		}
		said.WriteString(text + "\n")
		if found[1] == "delta" {
			deltas.WriteString(text)
		}
	}
	return body + "\n" + said.String() + deltas.String()
}

// brokenBy lists the rules that a question breaks as it is sent.
func brokenBy(t *testing.T, question *actors.ModelRequest, way way) (broken []string, encoded []byte) {
	t.Helper()
	encoded, err := body(question, way, true)
	if err != nil {
		t.Fatalf("the conversation cannot go on: %v", err)
	}
	var q sent
	if err := errors.Join(json.Unmarshal(encoded, &q), json.Unmarshal(encoded, &q.raw)); err != nil {
		t.Fatalf("%s: %v", encoded, err)
	}
	v := &vendor{gave: map[string]givenRow{}}
	for _, it := range q.items() { // items of kinds that are not known are taken here as they are
		if _, has := known[it.Type]; !has && it.Type != typeReasoning {
			v.gave[it.ID] = givenRow{raw: it.raw}
		}
	}
	return v.check(&q), encoded
}

// readsBody puts a reply together without a network.
func readsBody(t *testing.T, body string) {
	t.Helper()
	heard := map[int]string{}
	reply, stream := newReply(actorstest.ModelQuestion("m"), func(piece actors.Delta) {
		if piece.Offset < 0 || (piece.Text == "") != (piece.Tool != "" || piece.Done) {
			t.Errorf("%q: piece %+v", body, piece)
		}
		if piece.Kind == events.BlockText {
			heard[piece.Block] += piece.Text
		}
	}), endpoint.NewFrames(strings.NewReader(body))
	for {
		event, more := stream.Next()
		if !more || !reply.take(event) {
			break
		}
	}
	if reply.said != nil || reply.err != nil || reply.broken != nil || !reply.ended {
		_ = reply.progress()
		return
	}
	answer, err := reply.answer()
	var failure *actors.ModelError
	if errors.As(err, &failure) {
		if failure.Class == "" || failure.Detail == "" {
			t.Errorf("%q: %v", body, err)
		}
		return
	}
	checkReply(t, body, &answer, heard)
}

// TestBorders cuts each recording in two at every byte, as networks do.
func TestBorders(t *testing.T) {
	endpointtest.Borders(t, recordings(t), actorstest.ModelQuestion("m"), func(transport http.RoundTripper) actors.Model {
		return newModel(t, endpoint.Config{BaseURL: "http://model.test/v1", Client: &http.Client{Transport: transport}})
	})
}

// TestEveryCutOfARecording cuts each recording at every byte. What ends before the model said why is no reply.
func TestEveryCutOfARecording(t *testing.T) {
	for _, frames := range recordings(t) {
		whole := strings.Join(frames, "")
		step := 1
		if len(whole) > 2000 { // a prime: it meets every kind of place; TestMutatedRecordings cuts at others
			step = 17
		}
		for at := 0; at < len(whole); at += step {
			readsBody(t, whole[:at])
		}
	}
}

// TestMutatedRecordings tries many mutations, the same each time.
func TestMutatedRecordings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := recordings(t)
	for range 3000 {
		readsBody(t, endpointtest.Mutated(all[r.IntN(len(all))], r, retyped...))
	}
}

// FuzzMutatedRecordings tries mutations of any number, and any bytes.
func FuzzMutatedRecordings(f *testing.F) {
	for i, frames := range recordings(f) {
		f.Add(uint64(i), 200, "text/event-stream", strings.Join(frames, ""))
	}
	f.Add(uint64(1), 200, "application/json", `{"error":{"code":{}}}`)
	f.Add(uint64(1), 429, "text/plain", "\xff\x00")
	f.Add(uint64(1), 200, "", `data: {"type":"response.output_item.done","item":{"type":7,"id":{},"content":[null,1,"x",{"type":"output_text","text":"\ud83d"}]}}`+"\n\n")
	f.Fuzz(func(t *testing.T, seed uint64, status int, media, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		_, err := answering(t, status, media, body).Ask(context.Background(), actorstest.ModelQuestion("m"), nil)
		var failure *actors.ModelError
		if err != nil && (!errors.As(err, &failure) || failure.Detail == "" || failure.Class == "") {
			t.Fatalf("%q: error %v is no failure of the model with a detail", body, err)
		}
		readsBody(t, body)
		readsBody(t, endpointtest.Mutated(strings.SplitAfter(body, "\n\n"), rand.New(rand.NewPCG(seed, 1)), retyped...))
	})
}
