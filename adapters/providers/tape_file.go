package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// tapeFormat is the version of the recording's file format. Files of other versions are refused, not guessed at.
const tapeFormat = 1

// maxRecording bounds one recording's file, in bytes.
const maxRecording = 64 << 20

// recording is one question and what came of it, as it stands in its file.
type recording struct {
	Format   int           `json:"format"`
	Request  string        `json:"request"` // hash of the question below
	Context  events.Digest `json:"context"` // as the asker computed it
	Number   int           `json:"number"`  // from 1, of the answers to this question
	Question tapeQuestion  `json:"question"`
	Deltas   []tapeDelta   `json:"deltas,omitempty"`
	Answer   *tapeAnswer   `json:"answer,omitempty"`
	Failure  *tapeFailure  `json:"failure,omitempty"`
}

// tapeQuestion is what a provider is sent, and nothing else: it makes the hash. Arguments and schemas are kept as text, so
// that their bytes survive.
type tapeQuestion struct {
	Model    string        `json:"model"`
	System   string        `json:"system,omitempty"`
	Messages []tapeMessage `json:"messages"`
	Tools    []tapeTool    `json:"tools,omitempty"`
	Reply    int64         `json:"reply,string"`

	Thinking events.Thinking `json:"thinking,omitzero"`
}

type tapeMessage struct {
	Role   sagas.Role  `json:"role"`
	Text   string      `json:"text,omitempty"`
	Calls  []tapeCall  `json:"calls,omitempty"`
	CallID string      `json:"call_id,omitempty"`
	Tool   string      `json:"tool,omitempty"`
	Failed bool        `json:"failed,omitempty"`
	Blocks []tapeBlock `json:"blocks,omitempty"`
}

// tapeBlock is one part of a reply's layout. The raw form is kept as text, so that its bytes survive.
type tapeBlock struct {
	Kind  events.BlockKind `json:"kind"`
	Bytes int              `json:"bytes,omitempty"`
	Text  string           `json:"text,omitempty"`
	Raw   string           `json:"raw,omitempty"`
}

// tapeDelta is a piece of a reply as it streamed in. One of a plain reply is a string.
type tapeDelta struct {
	Block int              `json:"block"`
	Kind  events.BlockKind `json:"kind"`
	Text  string           `json:"text"`
	Tool  string           `json:"tool,omitempty"` // of a call's first piece
	Done  bool             `json:"done,omitempty"` // of its last one
}

// MarshalJSON implements json.Marshaler.
func (d tapeDelta) MarshalJSON() ([]byte, error) {
	if d.Block == 0 && d.Kind == events.BlockText {
		return json.Marshal(d.Text)
	}
	type plain tapeDelta
	return json.Marshal(plain(d))
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *tapeDelta) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		d.Kind = events.BlockText
		return json.Unmarshal(data, &d.Text)
	}
	type plain tapeDelta
	return json.Unmarshal(data, (*plain)(d))
}

// stream passes on the pieces of the answer, or the whole answer if someone has edited it.
func (r *recording) stream(delta func(actors.Delta)) {
	if delta == nil {
		return
	}
	said, offsets := "", map[int]int{}
	for _, piece := range r.Deltas {
		if piece.Kind == events.BlockText {
			said += piece.Text
		}
	}
	if r.Answer != nil && said != r.Answer.Text {
		delta(actors.Delta{Block: len(r.Answer.Blocks), Kind: events.BlockText, Text: r.Answer.Text})
		return
	}
	for _, piece := range r.Deltas {
		delta(actors.Delta{Block: piece.Block, Kind: piece.Kind, Offset: offsets[piece.Block], Text: piece.Text, Tool: piece.Tool, Done: piece.Done})
		offsets[piece.Block] += len(piece.Text)
	}
}

type tapeCall struct {
	ID        string `json:"id"`
	Tool      string `json:"tool"`
	Arguments string `json:"arguments"`
	Cut       bool   `json:"cut,omitempty"`
}

type tapeTool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Schema      string `json:"schema,omitempty"`
}

type tapeAnswer struct {
	Text  string            `json:"text,omitempty"`
	Calls []tapeCall        `json:"calls,omitempty"`
	Stop  events.StopReason `json:"stop"`
	Met   events.Bound      `json:"met,omitempty"`
	Model string            `json:"model,omitempty"`
	Usage events.Usage      `json:"usage"`
	Fault events.Fault      `json:"fault,omitempty"`

	Blocks []tapeBlock `json:"blocks,omitempty"`
}

type tapeFailure struct {
	Class      events.ErrorClass `json:"class"`
	RetryAfter time.Duration     `json:"retry_after_ns,string,omitempty"`
	Detail     string            `json:"detail"`
	Usage      events.Usage      `json:"usage,omitzero"`
	Room       int64             `json:"room,string,omitempty"`
}

// hashQuestion identifies what a provider would be sent: 64 hex digits.
func hashQuestion(question actors.ModelRequest) string { return newTapeQuestion(question).hash() }

func newTapeQuestion(question actors.ModelRequest) tapeQuestion {
	kept := tapeQuestion{
		Model: question.Model, System: question.System, Reply: question.Reply, Thinking: question.Thinking,
		Messages: make([]tapeMessage, len(question.Messages)),
	}
	for i, message := range question.Messages {
		kept.Messages[i] = tapeMessage{
			Role: message.Role, Text: message.Text.Inline, Calls: newTapeCalls(message.Calls),
			CallID: message.CallID, Tool: message.Tool, Failed: message.Failed,
		}
		for _, b := range message.Blocks {
			block := tapeBlock{Kind: b.Kind, Bytes: b.Bytes}
			if b.Text != nil {
				block.Text = b.Text.Inline
			}
			if b.Raw != nil {
				block.Raw = b.Raw.Inline
			}
			kept.Messages[i].Blocks = append(kept.Messages[i].Blocks, block)
		}
	}
	for _, tool := range question.Tools {
		kept.Tools = append(kept.Tools, tapeTool{Name: tool.Name, Description: tool.Description, Schema: string(tool.Schema)})
	}
	return kept
}

func newTapeCalls(calls []events.ModelCall) []tapeCall {
	var kept []tapeCall
	for _, call := range calls {
		kept = append(kept, tapeCall{ID: call.ID, Tool: call.Tool, Arguments: string(call.Arguments)})
	}
	return kept
}

func (q tapeQuestion) hash() string {
	encoded, err := json.Marshal(q)
	if err != nil { // strings, numbers and booleans always marshal
		return ""
	}
	return events.HashBytes(encoded)
}

func newTapeAnswer(answer actors.ModelResponse) *tapeAnswer {
	kept := &tapeAnswer{
		Text: answer.Text, Calls: newTapeCalls(answer.Calls), Stop: answer.Stop, Met: answer.Met, Model: answer.Model, Usage: answer.Usage, Fault: answer.Fault,
	}
	for i := range answer.Calls { // of past calls in questions it is not said: they were refused
		kept.Calls[i].Cut = answer.Calls[i].Cut
	}
	for _, block := range answer.Blocks {
		kept.Blocks = append(kept.Blocks, tapeBlock(block))
	}
	return kept
}

func (a *tapeAnswer) answer() actors.ModelResponse {
	answer := actors.ModelResponse{Text: a.Text, Stop: a.Stop, Met: a.Met, Model: a.Model, Usage: a.Usage, Fault: a.Fault}
	for _, call := range a.Calls {
		answer.Calls = append(answer.Calls, events.ModelCall{ID: call.ID, Tool: call.Tool, Arguments: json.RawMessage(call.Arguments), Cut: call.Cut})
	}
	for _, block := range a.Blocks {
		answer.Blocks = append(answer.Blocks, actors.Block(block))
	}
	return answer
}

// decodeRecording reads a recording's file and checks that it is whole.
func decodeRecording(source []byte) (*recording, error) {
	decoder := json.NewDecoder(bytes.NewReader(source))
	decoder.DisallowUnknownFields()
	var read recording
	if err := decoder.Decode(&read); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the recording")
	}
	if read.Format != tapeFormat {
		return nil, fmt.Errorf("format %d is unknown, this build reads format %d", read.Format, tapeFormat)
	}
	if read.Number < 1 || (read.Answer == nil) == (read.Failure == nil) {
		return nil, errors.New("want a number from 1, and either an answer or a failure")
	}
	if hash := read.Question.hash(); hash != read.Request {
		return nil, fmt.Errorf("its question was changed: it hashes to %s, not to %q; record it again", hash, events.Clip(read.Request, 64))
	}
	if read.Answer != nil {
		for i, call := range read.Answer.Calls {
			if !json.Valid([]byte(call.Arguments)) {
				return nil, fmt.Errorf("the arguments of call %d are not JSON", i)
			}
		}
	}
	return &read, nil
}

func readRecording(path string) (*recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	defer file.Close()
	source, err := io.ReadAll(io.LimitReader(file, maxRecording+1))
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", path, err)
	}
	if len(source) > maxRecording {
		return nil, fmt.Errorf("read recording %s: it is larger than %d bytes", path, maxRecording)
	}
	read, err := decodeRecording(source)
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", path, err)
	}
	return read, nil
}

// write stores the recording at once or not at all.
func (r *recording) write(dir string) error {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	draft, err := os.CreateTemp(dir, ".draft-*")
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	_, err = draft.Write(encoded.Bytes())
	if err == nil {
		err = draft.Sync()
	}
	err = errors.Join(err, draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), filepath.Join(dir, recordingName(r.Request, r.Number)))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write recording: %w", err), os.Remove(draft.Name()))
	}
	return nil
}

// recordingName is a recording's file name: the start of the request's hash, and its number.
func recordingName(request string, number int) string {
	return fmt.Sprintf("%s-%04d.json", request[:32], number)
}

// redact replaces every secret in everything that would be stored.
func (r *recording) redact(replace func(string) string) {
	texts := []*string{&r.Question.Model, &r.Question.System}
	for i := range r.Question.Messages {
		texts = append(texts, &r.Question.Messages[i].Text)
		texts = append(texts, callTexts(r.Question.Messages[i].Calls)...)
		texts = append(texts, blockTexts(r.Question.Messages[i].Blocks)...)
	}
	for i := range r.Question.Tools {
		texts = append(texts, &r.Question.Tools[i].Description, &r.Question.Tools[i].Schema)
	}
	r.Deltas = redactDeltas(r.Deltas, replace)
	if r.Answer != nil {
		texts = append(texts, &r.Answer.Text, &r.Answer.Model)
		texts = append(texts, callTexts(r.Answer.Calls)...)
		if replace(r.Answer.Text) != r.Answer.Text { // its parts are no longer where they were
			r.Answer.Blocks = slices.DeleteFunc(r.Answer.Blocks, func(b tapeBlock) bool { return b.Kind == events.BlockText })
		}
		texts = append(texts, blockTexts(r.Answer.Blocks)...)
	}
	if r.Failure != nil {
		texts = append(texts, &r.Failure.Detail)
	}
	for _, text := range texts {
		*text = replace(*text)
	}
}

func callTexts(calls []tapeCall) []*string {
	var texts []*string
	for i := range calls {
		texts = append(texts, &calls[i].Arguments)
	}
	return texts
}

func blockTexts(blocks []tapeBlock) []*string {
	var texts []*string
	for i := range blocks {
		texts = append(texts, &blocks[i].Text, &blocks[i].Raw)
	}
	return texts
}

// redactDeltas redacts what streamed in. A secret may come in pieces: a block that holds one becomes one piece.
func redactDeltas(deltas []tapeDelta, replace func(string) string) []tapeDelta {
	whole := map[int]string{}
	for _, piece := range deltas {
		whole[piece.Block] += piece.Text
	}
	var kept []tapeDelta
	for _, piece := range deltas {
		text, open := whole[piece.Block]
		piece.Tool = replace(piece.Tool)
		switch redacted := replace(text); {
		case piece.Tool != "" || piece.Done:
			kept = append(kept, piece)
		case !open:
		case redacted == text:
			kept = append(kept, piece)
		default:
			piece.Text = redacted
			kept = append(kept, piece)
			delete(whole, piece.Block)
		}
	}
	return kept
}
