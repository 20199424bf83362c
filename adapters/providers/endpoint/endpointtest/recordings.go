package endpointtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Dialect is a dialect whose readers are tried with recordings: whole, cut, and mutated.
type Dialect struct {
	Recordings [][]string // replies as endpoints stream them, a frame each
	Retyped    []string   // what frames are retyped by, in pairs: see [Mutated]
	Question   actors.ModelRequest
	Model      func(testing.TB, http.RoundTripper) actors.Model // one that the transport answers
	Reply      func(*actors.ModelRequest, func(actors.Delta)) endpoint.Reply
	Breaks     func(testing.TB, *actors.ModelRequest) []string // the rules of a strict endpoint that a question breaks as it is sent
}

// Cuts cuts each recording at every byte, and a long one at every 17th. What ends before the model said why it stopped is no reply.
func (d *Dialect) Cuts(t *testing.T) {
	for _, frames := range d.Recordings {
		whole := strings.Join(frames, "")
		step := 1
		if len(whole) > 5*everyByte {
			step = 17
		}
		for at := 0; at < len(whole); at += step {
			d.read(t, whole[:at])
		}
		d.read(t, strings.ReplaceAll(whole, "\n", "\r\n"))
	}
}

// Mutations tries many mutations, the same each time.
func (d *Dialect) Mutations(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		d.read(t, Mutated(d.Recordings[r.IntN(len(d.Recordings))], r, d.Retyped...))
	}
}

// Fuzz tries any bytes, as an endpoint may answer them, and mutations of any number.
func (d *Dialect) Fuzz(f *testing.F) {
	for i, frames := range d.Recordings {
		f.Add(uint64(i), 200, "text/event-stream", strings.Join(frames, ""))
	}
	f.Add(uint64(1), 200, "", d.Recordings[0][0])
	f.Add(uint64(1), 200, "application/json", `{"error":{"code":{}}}`)
	f.Add(uint64(1), 400, "application/json", `{"type":"error","error":{"type":{},"details":[]}}`)
	f.Add(uint64(1), 429, "text/plain", "\xff\x00")
	f.Fuzz(func(t *testing.T, seed uint64, status int, media, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		heard := &heard{}
		model := d.Model(t, Canned{Status: status, Media: media, Body: io.NopCloser(strings.NewReader(body))})
		answer, err := model.Ask(context.Background(), d.Question, heard.take)
		d.check(t, body, &answer, err, heard)
		d.read(t, Mutated(strings.SplitAfter(body, "\n\n"), rand.New(rand.NewPCG(seed, 1)), d.Retyped...))
	})
}

// read reads a stream, without a network and without the vendor's package.
func (d *Dialect) read(t *testing.T, body string) {
	t.Helper()
	at, err := endpoint.New(endpoint.Config{BaseURL: "http://model.test"})
	if err != nil {
		t.Fatal(err)
	}
	_, call := at.Begin(context.Background())
	defer call.End()
	heard := &heard{}
	answer, err := call.Read(endpoint.Asked{Question: &d.Question}, io.NopCloser(strings.NewReader(body)), d.Reply(&d.Question, heard.take))
	d.check(t, body, &answer, err, heard)
}

// check holds what comes of a body to what must be true of every one: a failure has a class and a detail; the pieces stand in their places and are the
// reply; an empty reply is no answer; calls have ids of their own and arguments that came whole unless they are marked as cut; and the conversation that goes
// on with the reply is one that a strict endpoint takes.
func (d *Dialect) check(t *testing.T, body string, answer *actors.ModelResponse, err error, heard *heard) {
	t.Helper()
	var failure *actors.ModelError
	switch {
	case err != nil && (!errors.As(err, &failure) || failure.Detail == "" || failure.Class == ""):
		t.Fatalf("%q: error %v is no failure of the model with a detail", body, err)
	case err != nil:
		return
	case len(answer.Calls) == 0 && strings.TrimSpace(answer.Text) == "" && answer.Fault == "" && answer.Stop == events.StopEnd:
		t.Errorf("%q: an empty reply is done", body)
	case len(answer.Calls) > 0 && answer.Stop == events.StopFiltered:
		t.Errorf("%q: a refused reply calls %v", body, answer.Calls)
	}
	if wrong := heard.differs(answer.Text, strings.Contains(body, "sequence_number")); wrong != "" {
		t.Errorf("%q: %s", body, wrong)
	}
	text := answer.Text
	for i, b := range answer.Blocks {
		if b.Raw != "" && !json.Valid([]byte(b.Raw)) || b.Bytes < 0 || b.Bytes > len(text) {
			t.Fatalf("%q: block %d is %+v", body, i, b)
		}
		text = text[b.Bytes:]
	}
	checkCalls(t, body, answer)
	question := Followed(d.Question, answer)
	if broken := d.Breaks(t, &question); answer.Stop == events.StopPaused && len(broken) > 0 {
		t.Errorf("%q: the request for the rest of the reply breaks %v", body, broken)
	}
	question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleUser, Text: events.Text{Inline: "Go on."}})
	if broken := d.Breaks(t, &question); len(broken) > 0 {
		t.Errorf("%q makes a conversation that breaks %v", body, broken)
	}
}

func checkCalls(t *testing.T, body string, answer *actors.ModelResponse) {
	t.Helper()
	seen := map[string]bool{}
	for _, call := range answer.Calls {
		if !json.Valid(call.Arguments) || call.ID == "" || seen[call.ID] || call.Tool == "" {
			t.Errorf("%q: call %+v", body, call)
		}
		seen[call.ID] = true
		if written := string(call.Arguments); !call.Cut && endpoint.IsObject(written) && written != "{}" && !came(body, written) {
			t.Errorf("%q: call %s did not come so", body, written)
		}
	}
}

// Followed is a conversation that goes on after a reply, its calls answered.
func Followed(question actors.ModelRequest, answer *actors.ModelResponse) actors.ModelRequest {
	said := sagas.Message{Role: sagas.RoleAssistant, Text: events.Text{Inline: answer.Text}, Calls: answer.Calls}
	for _, b := range answer.Blocks {
		block := events.Block{Kind: b.Kind, Bytes: b.Bytes}
		if b.Text != "" {
			block.Text = &events.Text{Inline: b.Text}
		}
		if b.Raw != "" {
			block.Raw = &events.Text{Inline: b.Raw}
		}
		said.Blocks = append(said.Blocks, block)
	}
	question.Messages = append(slices.Clone(question.Messages), said)
	for _, call := range answer.Calls {
		question.Messages = append(question.Messages, sagas.Message{Role: sagas.RoleTool, CallID: call.ID, Tool: call.Tool})
	}
	return question
}

// heard are the pieces of a reply as they were passed on.
type heard struct {
	texts map[int]string
	kinds map[int]events.BlockKind
	moved string // a piece that does not stand behind those before it
	wrong string
}

func (h *heard) take(d actors.Delta) {
	if h.texts == nil {
		h.texts, h.kinds = map[int]string{}, map[int]events.BlockKind{}
	}
	if d.Offset < 0 || (d.Text == "") != (d.Tool != "" || d.Done) {
		h.wrong = fmt.Sprintf("piece %+v", d)
	}
	if d.Offset != len(h.texts[d.Block]) && d.Kind != events.BlockCall {
		h.moved = fmt.Sprintf("piece %+v after %q", d, h.texts[d.Block])
	}
	h.texts[d.Block] += d.Text
	h.kinds[d.Block] = d.Kind
}

// differs says what the pieces have otherwise than the reply's text; empty: nothing. numbered: what came out of order was put in its place, and not passed on.
func (h *heard) differs(text string, numbered bool) string {
	said := ""
	for at := range slices.Max(append(slices.Collect(maps.Keys(h.texts)), 0)) + 1 {
		if h.kinds[at] == events.BlockText {
			said += h.texts[at]
		}
	}
	switch {
	case h.wrong != "":
		return h.wrong
	case numbered:
		return ""
	case h.moved != "":
		return h.moved
	case said == text:
		return ""
	}
	return "the pieces say " + Quote(said) + ", the reply " + Quote(text)
}

var stringOf = regexp.MustCompile(`"([^"\\]*)": *("(?:[^"\\]|\\.)*")`)

// came reports whether arguments stand in a stream: as it is, in what its strings say, or piece by piece in what their strings say together.
func came(body, arguments string) bool {
	var said, pieces strings.Builder
	for _, found := range stringOf.FindAllStringSubmatch(body, -1) {
		var text string
		if json.Unmarshal([]byte(found[2]), &text) != nil {
			continue
		}
		said.WriteString(text + "\n")
		if slices.Contains([]string{"delta", "arguments", "partial_json"}, found[1]) {
			pieces.WriteString(text)
		}
	}
	arguments = bare(arguments)
	if strings.Contains(bare(body), arguments) || strings.Contains(bare(said.String()), arguments) {
		return true
	}
	at := 0
	for _, c := range []byte(bare(pieces.String())) { // other calls may stand between the pieces
		if at < len(arguments) && c == arguments[at] {
			at++
		}
	}
	return at == len(arguments)
}

// bare is a text without what readers may write otherwise: white space, and what is no UTF-8.
func bare(text string) string {
	return strings.NewReplacer(" ", "", "\n", "", "\r", "", "\t", "", "\uFFFD", "").Replace(strings.ToValidUTF8(text, ""))
}
