package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// acting is a model that acts out a situation.
func acting(situation actorstest.ModelSituation) actors.Model {
	return actorstest.FakeModel(func(ctx context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		switch {
		case situation.Reply != nil:
			at := 0
			for word := range strings.SplitAfterSeq(situation.Reply.Text, " ") {
				if word != "" {
					delta(actors.Delta{Kind: events.BlockText, Offset: at, Text: word})
				}
				at += len(word)
			}
			answer := *situation.Reply
			answer.Model = "fake-1"
			return answer, nil
		case situation.Failure != nil:
			return actors.ModelResponse{}, situation.Failure
		}
		<-ctx.Done()
		return actors.ModelResponse{}, ctx.Err()
	})
}

func openTape(t testing.TB, config TapeConfig) actors.Model {
	t.Helper()
	model, err := Tape(config)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestTapeIsAModel(t *testing.T) {
	t.Run("recording", func(t *testing.T) {
		actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
			return openTape(t, TapeConfig{Dir: t.TempDir(), Mode: TapeRecord, Model: acting(situation)}), "m"
		})
	})
	t.Run("playing", func(t *testing.T) {
		actorstest.TestModel(t, func(t *testing.T, situation actorstest.ModelSituation) (actors.Model, string) {
			config := TapeConfig{Dir: t.TempDir(), Mode: TapeRecord, Model: acting(situation)}
			recorder := openTape(t, config)
			if situation.Silent { // leaves nothing to play
				return recorder, "m"
			}
			for range situation.Asks {
				if _, err := recorder.Ask(t.Context(), actorstest.ModelQuestion("m"), nil); err != nil && situation.Failure == nil {
					t.Fatal(err)
				}
			}
			return openTape(t, TapeConfig{Dir: config.Dir, Mode: TapePlay}), "m"
		})
	})
}

// counting answers with how often it was asked, and fails the first time.
func counting() actors.Model {
	asked := 0
	return actorstest.FakeModel(func(_ context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		asked++
		if asked == 1 {
			return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorOverloaded, RetryAfter: 5, Detail: "busy"}
		}
		text := "answer " + strconv.Itoa(asked)
		delta(actors.Delta{Kind: events.BlockText, Text: text})
		return actors.ModelResponse{Text: text, Stop: events.StopEnd}, nil
	})
}

// outcome is what came of a question, in a word.
func outcome(t testing.TB, model actors.Model, question actors.ModelRequest) string {
	t.Helper()
	answer, err := model.Ask(t.Context(), question, nil)
	if err != nil {
		return err.Error()
	}
	return answer.Text
}

// TestTapeKeepsAllThatCame: what is played is what was recorded, a call that was cut off and a reply that is no answer too: else the one would run, and the other
// would be the last word.
func TestTapeKeepsAllThatCame(t *testing.T) {
	full := actors.ModelResponse{
		Text: "And so", Stop: events.StopLength, Met: events.BoundWindow, Model: "fake-1", Fault: events.FaultCall,
		Usage:  events.Usage{Input: 7, Output: 6, Cached: 5, Estimated: true, CacheWrite: 4, CacheWriteLong: 3, Reasoning: 2},
		Calls:  []events.ModelCall{{ID: "c1", Tool: "bash", Arguments: json.RawMessage(`"{\"comm"`), Cut: true}},
		Blocks: []actors.Block{{Kind: events.BlockThinking, Text: "Hm.", Raw: `{"signature":"x"}`}, {Kind: events.BlockText, Bytes: 6}, {Kind: events.BlockCall}},
	}
	failure := &actors.ModelError{Class: events.ErrorContext, RetryAfter: time.Second, Detail: "too long", Usage: events.Usage{Input: 9}, Room: 4000}
	for name, situation := range map[string]struct {
		reply actors.ModelResponse
		err   error
	}{"a reply": {full, nil}, "a failure": {actors.ModelResponse{}, failure}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			model := actorstest.FakeModel(func(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
				return situation.reply, situation.err
			})
			for _, config := range []TapeConfig{{Dir: dir, Mode: TapeRecord, Model: model}, {Dir: dir, Mode: TapePlay}} {
				reply, err := openTape(t, config).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
				if diff := cmp.Diff(situation.reply, reply) + cmp.Diff(situation.err, err); diff != "" {
					t.Errorf("%+v: (-want +got):\n%s", config, diff)
				}
			}
		})
	}
}

func TestTapePlaysRepeatedQuestionsInOrder(t *testing.T) {
	dir := t.TempDir()
	question := actorstest.ModelQuestion("m")
	record := func(times int) {
		recorder := openTape(t, TapeConfig{Dir: dir, Mode: TapeRecord, Model: counting()})
		for range times {
			outcome(t, recorder, question)
		}
	}
	play := func(times int) []string {
		player := openTape(t, TapeConfig{Dir: dir, Mode: TapePlay})
		var got []string
		for range times {
			got = append(got, outcome(t, player, question))
		}
		return got
	}
	record(3)
	if got, want := play(3), []string{"model overloaded: busy", "answer 2", "answer 3"}; !cmp.Equal(got, want) {
		t.Errorf("played %q, want %q", got, want)
	}
	if got := play(4)[3]; !strings.Contains(got, "holds 3 answers to this question and all were played") {
		t.Errorf("the fourth of three: %s", got)
	}
	record(2) // a new process: it replaces what was there
	if got := play(3); got[1] != "answer 2" || !strings.Contains(got[2], "holds 2 answers") {
		t.Errorf("after recording again: %q", got)
	}
}

func TestTapeShowsTheNearestRecordingOfAMiss(t *testing.T) {
	dir := t.TempDir()
	recorder := openTape(t, TapeConfig{Dir: dir, Mode: TapeRecord, Model: acting(actorstest.ModelSituation{Reply: &actors.ModelResponse{Text: "x", Stop: events.StopEnd}})})
	other := actorstest.ModelQuestion("m")
	other.Messages, other.Context = []sagas.Message{user("Something else entirely")}, events.Digest{9}
	outcome(t, recorder, other)
	recorded := actorstest.ModelQuestion("m")
	recorded.Messages[5].Text.Inline = strings.Repeat("long ", 30) + "and then the ä differs"
	outcome(t, recorder, recorded)

	player := openTape(t, TapeConfig{Dir: dir, Mode: TapePlay})
	if got := outcome(t, player, recorded); got != "x" {
		t.Errorf("the recorded question gives %q", got)
	}
	asked := actorstest.ModelQuestion("m")
	asked.Context = events.Digest{7}
	asked.Messages[5].Text.Inline = strings.Repeat("long ", 30) + "and then the ö differs"
	asked.Messages = append(asked.Messages, user("one more"))
	asked.Tools = asked.Tools[:1]
	got := outcome(t, player, asked)
	for _, want := range []string{
		"model invalid: the tape in " + dir + " has no answer to this question; the nearest recording is " + hashQuestion(recorded)[:32] + "-0001.json, which differs:",
		"\n  messages[5].text differs at byte 163:\n    recorded \"…g long and then the ä differs\"\n    asked    \"…g long and then the ö differs\"",
		"\n  messages[6].role: not recorded, asked \"user\"",
		"\n  messages[6].text: not recorded, asked \"one more\"",
		"\n  and 3 more fields",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the miss says\n%s\nwithout\n%s", got, want)
		}
	}
	if got := outcome(t, openTape(t, TapeConfig{Dir: t.TempDir(), Mode: TapePlay}), asked); !strings.Contains(got, "holds no recording") {
		t.Errorf("an empty tape says %q", got)
	}
	same := asked
	same.Context = recorded.Context // the asker's digest promises that the requests are equal
	if got := outcome(t, openTape(t, TapeConfig{Dir: dir, Mode: TapePlay}), same); got != "x" {
		t.Errorf("the same digest gives %q", got)
	}
}

func TestTapeStoresNoSecret(t *testing.T) {
	dir := t.TempDir()
	const secret = "sk-secret"
	question := actors.ModelRequest{
		Model: "m", System: secret, Messages: []sagas.Message{user("my key is " + secret)},
		Tools: []actors.ToolSpec{{Name: "t", Description: secret, Schema: json.RawMessage(`{"default":"` + secret + `"}`)}},
	}
	model := acting(actorstest.ModelSituation{Reply: &actors.ModelResponse{
		Text: "it is " + secret, Stop: events.StopCalls,
		Calls: []events.ModelCall{{ID: "a", Tool: "t", Arguments: json.RawMessage(`"` + secret + `"`)}},
	}})
	config := TapeConfig{Dir: dir, Mode: TapeRecord, Model: model, Secrets: []string{"", secret}}
	if got := outcome(t, openTape(t, config), question); got != "it is "+secret {
		t.Errorf("the answer itself is %q", got)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("the tape holds %v, %v", paths, err)
	}
	content, err := os.ReadFile(paths[0])
	if err != nil || bytes.Contains(content, []byte(secret)) {
		t.Errorf("the recording (%v) is\n%s", err, content)
	}
	config.Mode = TapePlay
	if got := outcome(t, openTape(t, config), question); got != "it is [redacted]" {
		t.Errorf("played: %q", got)
	}
}

func TestTapeRefusesWhatItCannotTrust(t *testing.T) {
	dir := t.TempDir()
	recorder := openTape(t, TapeConfig{Dir: dir, Mode: TapeRecord, Model: acting(actorstest.ModelSituation{Reply: &actors.ModelResponse{Text: "said", Stop: events.StopEnd}})})
	question := actorstest.ModelQuestion("m")
	outcome(t, recorder, question)
	path := filepath.Join(dir, recordingName(hashQuestion(question), 1))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for change, says := range map[[2]string]string{
		{`"format": 1`, `"format": 2`}:                     "this build reads format 1",
		{`"format": 1`, `"format": 1, "more": 1`}:          "unknown field",
		{"What is here?", "What was here?"}:                "its question was changed",
		{`"number": 1`, `"number": 0`}:                     "want a number from 1",
		{`"answer":`, `"failure":`}:                        "unknown field",
		{"\n}\n", "\n} {}"}:                                "something follows",
		{`"text": "said"`, `"calls": [{"arguments":"{"}]`}: "not JSON",
	} {
		changed := strings.Replace(string(good), change[0], change[1], 1)
		if changed == string(good) {
			t.Fatalf("the recording holds no %s:\n%s", change[0], good)
		}
		write(t, dir, filepath.Base(path), changed)
		if _, err := Tape(TapeConfig{Dir: dir, Mode: TapePlay}); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("with %s: %v, want the path and %q", change[1], err, says)
		}
	}
	write(t, dir, filepath.Base(path), strings.Replace(string(good), `"text": "said"`, `"text": "said otherwise"`, 1))
	player := openTape(t, TapeConfig{Dir: dir, Mode: TapePlay})
	var heard string
	if answer, err := player.Ask(t.Context(), question, func(piece actors.Delta) { heard += piece.Text }); err != nil || answer.Text != "said otherwise" || heard != answer.Text {
		t.Errorf("an edited answer plays as %+v, %q, %v", answer, heard, err)
	}
	player = openTape(t, TapeConfig{Dir: dir, Mode: TapePlay})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, player, question); !strings.Contains(got, "read recording") {
		t.Errorf("a recording that went away: %q", got)
	}
}

func TestTapeConfig(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "file", "")
	model := counting()
	for says, config := range map[string]TapeConfig{
		"no directory":    {Mode: TapePlay},
		"no model":        {Dir: dir, Mode: TapeRecord},
		"record or play":  {Dir: dir, Mode: "rewind"},
		"none":            {Dir: filepath.Join(dir, "none"), Mode: TapePlay},
		"not a directory": {Dir: file, Mode: TapeRecord, Model: model},
	} {
		if _, err := Tape(config); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v gives %v, want %q", config, err, says)
		}
	}
	gone := filepath.Join(dir, "gone")
	recorder := openTape(t, TapeConfig{Dir: gone, Mode: TapeRecord, Model: model})
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	_, err := recorder.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
	var failure *actors.ModelError
	if !errors.As(err, &failure) || !strings.Contains(failure.Detail, "the tape did not take it") {
		t.Errorf("a tape that cannot be written gives %v", err)
	}
}

func FuzzRecording(f *testing.F) {
	made := recording{
		Format: tapeFormat, Number: 1, Question: newTapeQuestion(actorstest.ModelQuestion("m")), Deltas: []tapeDelta{{Kind: events.BlockText, Text: "a"}, {Block: 1, Kind: events.BlockThinking, Text: "b"}},
		Answer: newTapeAnswer(actors.ModelResponse{Text: "a", Stop: events.StopEnd, Calls: []events.ModelCall{{ID: "1", Tool: "t", Arguments: json.RawMessage(`{}`)}}}),
	}
	made.Request = made.Question.hash()
	encoded, err := json.Marshal(made)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, source []byte) {
		read, err := decodeRecording(source)
		if err != nil {
			return
		}
		if again, err := json.Marshal(read); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		} else if _, err := decodeRecording(again); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, again)
		}
		difference(read.Question, made.Question)
		likeness(made.Question, read.Question)
		if read.Answer != nil {
			read.Answer.answer()
		}
	})
}
