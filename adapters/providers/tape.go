package providers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"example.com/life/actors"
	"example.com/life/events"
)

// TapeMode says what a tape does.
type TapeMode string

// The modes of a tape.
const (
	TapeRecord TapeMode = "record" // asks the model and keeps what it answered
	TapePlay   TapeMode = "play"   // answers from the recordings; the model is never asked
)

// TapeConfig says where recordings are and what to do with them.
type TapeConfig struct {
	Dir     string                   // one JSON file per recording; made if it is missing and the mode is record
	Mode    TapeMode                 //
	Model   actors.Model             // asked in mode record; not needed in mode play
	Secrets []string                 // exact values that are never stored: each is replaced by [redacted]
	Mask    func(text string) string // of all that is stored; nil: nothing further
}

// tape is a model between the asker and another model.
type tape struct {
	dir    string
	mode   TapeMode
	model  actors.Model
	redact func(text string) string

	mu       sync.Mutex
	requests map[string][]string        // in mode play: the files of a request, by number
	contexts map[events.Digest][]string // the same, by the asker's digest
	asked    map[string]int             // by the request's hash: how often it was asked in this process
}

// Tape returns a model that records another model's answers, failures included, or plays them back. A question that was
// asked several times has its answers played in the order in which they came; recording it again, in a new process,
// replaces them. A question that was never recorded, or more often asked than recorded, is an error that shows the nearest
// recording and how the question differs from it.
func Tape(config TapeConfig) (actors.Model, error) {
	t := &tape{
		dir: config.Dir, mode: config.Mode, model: config.Model, redact: newRedactor(config.Secrets, config.Mask),
		requests: map[string][]string{}, contexts: map[events.Digest][]string{}, asked: map[string]int{},
	}
	if config.Dir == "" {
		return nil, errors.New("open tape: no directory is named")
	}
	switch config.Mode {
	case TapeRecord:
		if config.Model == nil {
			return nil, errors.New("open tape: there is no model to record")
		}
		if err := os.MkdirAll(config.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open tape: %w", err)
		}
		return t, nil
	case TapePlay:
		if err := t.load(); err != nil {
			return nil, fmt.Errorf("open tape: %w", err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("open tape: mode %q: want record or play", config.Mode)
}

func newRedactor(secrets []string, mask func(string) string) func(string) string {
	var pairs []string
	for _, secret := range secrets {
		if secret != "" {
			pairs = append(pairs, secret, "[redacted]")
		}
	}
	redact := strings.NewReplacer(pairs...).Replace
	if mask == nil {
		return redact
	}
	return func(text string) string { return mask(redact(text)) }
}

func (t *tape) load() error {
	paths, err := t.files()
	if err != nil {
		return err
	}
	for _, path := range paths { // in the order of their names, so by number for each request
		read, err := readRecording(path)
		if err != nil {
			return err
		}
		t.requests[read.Request] = append(t.requests[read.Request], path)
		if read.Context != (events.Digest{}) {
			t.contexts[read.Context] = append(t.contexts[read.Context], path)
		}
	}
	return nil
}

// files lists the recordings' paths in order.
func (t *tape) files() ([]string, error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && strings.HasSuffix(entry.Name(), ".json") {
			paths = append(paths, filepath.Join(t.dir, entry.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// Ask records or plays.
func (t *tape) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	made := recording{Format: tapeFormat, Context: question.Context, Question: newTapeQuestion(question)}
	made.redact(t.redact)
	made.Request = made.Question.hash()
	if t.mode == TapePlay {
		return t.play(made, delta)
	}
	answer, err := t.model.Ask(ctx, question, func(piece actors.Delta) {
		made.Deltas = append(made.Deltas, tapeDelta{Block: piece.Block, Kind: piece.Kind, Text: piece.Text, Tool: piece.Tool, Done: piece.Done})
		if delta != nil {
			delta(piece)
		}
	})
	var failure *actors.ModelError
	switch {
	case err == nil:
		made.Answer = newTapeAnswer(answer)
	case errors.As(err, &failure):
		made.Failure = new(tapeFailure(*failure))
	default: // ctx ended: nothing was answered
		return actors.ModelResponse{}, err
	}
	if lost := t.record(&made); lost != nil {
		return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorInvalid, Detail: "the model answered but the tape did not take it: " + lost.Error()}
	}
	return answer, err
}

// record numbers the recording and stores it. The first one of a request in this process replaces all older ones.
func (t *tape) record(made *recording) error {
	made.redact(t.redact)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[made.Request]++
	made.Number = t.asked[made.Request]
	if err := made.write(t.dir); err != nil {
		return err
	}
	if made.Number > 1 {
		return nil
	}
	for number := 2; ; number++ {
		err := os.Remove(filepath.Join(t.dir, recordingName(made.Request, number)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("remove an older recording: %w", err)
		}
	}
}

func (t *tape) play(asked recording, delta func(actors.Delta)) (actors.ModelResponse, error) {
	path, err := t.next(asked)
	if err != nil {
		return actors.ModelResponse{}, unusable(err)
	}
	found, err := readRecording(path)
	if err != nil {
		return actors.ModelResponse{}, unusable(err)
	}
	found.stream(delta)
	if found.Failure != nil {
		return actors.ModelResponse{}, new(actors.ModelError(*found.Failure))
	}
	return found.Answer.answer(), nil
}

// next finds the recording to play: by what would be sent, else by the asker's digest, which promises the same.
func (t *tape) next(asked recording) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	paths := t.requests[asked.Request]
	if len(paths) == 0 && asked.Context != (events.Digest{}) {
		paths = t.contexts[asked.Context]
	}
	if len(paths) == 0 {
		return "", t.miss(asked)
	}
	played := t.asked[asked.Request]
	if played >= len(paths) {
		return "", fmt.Errorf("the tape in %s holds %d answers to this question and all were played; the last is %s",
			t.dir, len(paths), filepath.Base(paths[len(paths)-1]))
	}
	t.asked[asked.Request]++
	return paths[played], nil
}

// miss explains that nothing was recorded for a question.
func (t *tape) miss(asked recording) error {
	paths, err := t.files()
	if err != nil {
		return fmt.Errorf("the tape has no answer to this question, and cannot be searched: %w", err)
	}
	nearest, name, best := (*recording)(nil), "", -1
	for _, path := range paths {
		read, err := readRecording(path)
		if err != nil {
			return fmt.Errorf("the tape has no answer to this question, and cannot be searched: %w", err)
		}
		if score := likeness(read.Question, asked.Question); score > best {
			nearest, name, best = read, filepath.Base(path), score
		}
	}
	if nearest == nil {
		return fmt.Errorf("the tape in %s holds no recording: record one first", t.dir)
	}
	return fmt.Errorf("the tape in %s has no answer to this question; the nearest recording is %s, which differs:\n%s",
		t.dir, name, difference(nearest.Question, asked.Question))
}
