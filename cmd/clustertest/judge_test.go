//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// judged is what an agent's events say, one after another.
type judged struct {
	received map[string]events.MessageID
	texts    map[events.MessageID]string
	turns    map[events.MessageID]events.TurnID
	ended    map[events.TurnID]events.TurnEnded
	calls    map[events.CallID]string // of the running turn: their tools
	prompt   string
	written  map[string][]string // files to lines that calls said they wrote
	lost     []events.ToolLost
	failed   []string
	hosts    []events.HostID // that decided, in order
	wrong    []string
}

func newJudged() judged {
	return judged{
		received: map[string]events.MessageID{}, texts: map[events.MessageID]string{}, turns: map[events.MessageID]events.TurnID{},
		ended: map[events.TurnID]events.TurnEnded{}, calls: map[events.CallID]string{}, written: map[string][]string{},
	}
}

func (j *judged) say(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

// fileOf is where a tool writes its line.
func fileOf(tool string) string {
	if tool == "bash" {
		return "commands"
	}
	return "lines"
}

// take judges the next event.
func (j *judged) take(envelope *events.Envelope) {
	event, err := envelope.Event()
	if err != nil {
		j.say("%v", err)
		return
	}
	if at := envelope.Host; at != "" && (len(j.hosts) == 0 || j.hosts[len(j.hosts)-1] != at) {
		j.hosts = append(j.hosts, at)
	}
	if unknown, is := event.(events.Unknown); is && unknown.Of == (events.MessageReceived{}).Kind() { // of the newer build, which writes it as this one does
		if event, err = events.Decode(unknown.Of, unknown.Version-1, unknown.Data); err != nil {
			j.say("%v", err)
		}
	}
	switch e := event.(type) {
	case events.MessageReceived:
		if _, twice := j.received[e.Inline]; twice {
			j.say("message %q was received twice", e.Inline)
		}
		j.received[e.Inline], j.texts[e.Message] = e.Message, e.Inline
	case events.TurnStarted:
		for _, message := range e.Messages {
			if before, twice := j.turns[message]; twice {
				j.say("message %q is in turn %s and in %s", j.texts[message], before, e.Turn)
			}
			j.turns[message], j.prompt = e.Turn, j.texts[message]
		}
		clear(j.calls)
	case events.TurnEnded:
		if _, twice := j.ended[e.Turn]; twice {
			j.say("turn %s ended twice", e.Turn)
		}
		if j.ended[e.Turn] = e; e.Outcome != events.Done {
			j.say("turn %s ended %s, %s: %s", e.Turn, e.Outcome, e.Reason, e.Detail)
		}
	case events.ToolRequested:
		j.calls[e.Call] = e.Tool
	case events.ToolLost:
		j.lost = append(j.lost, e)
	case events.ToolReturned:
		if e.Failed {
			j.failed = append(j.failed, e.Inline)
		} else {
			file := fileOf(j.calls[e.Call])
			j.written[file] = append(j.written[file], j.prompt)
		}
	case events.AgentQuarantined:
		j.say("quarantined: %s", e.Reason)
	}
}

// open says what of the messages that were accepted has not come to its end.
func (j *judged) open(texts []string) string {
	var open []string
	for _, text := range texts {
		message, received := j.received[text]
		turn, started := j.turns[message]
		switch _, ended := j.ended[turn]; {
		case !received:
			open = append(open, text+" was not received")
		case !started:
			open = append(open, text+" is in no turn")
		case !ended:
			open = append(open, fmt.Sprintf("%s is in turn %s, which has not ended", text, turn))
		}
	}
	return strings.Join(open, ", ")
}

// judge compares what those who watched were shown with history, and history with what is in the agents' files.
func (l *load) judge() {
	t := l.w.t
	t.Helper()
	for _, agent := range l.agents {
		shown := l.told[agent]
		for _, wrong := range shown.judged.wrong {
			t.Errorf("%s: %s", agent, wrong)
		}
		shown.judged.wrong = nil
		for message := range shown.judged.texts {
			if text := shown.judged.texts[message]; l.sent[text] != agent {
				t.Errorf("%s received %q, which nobody sent", agent, text)
			}
		}
		for _, failed := range shown.judged.failed {
			if !strings.Contains(failed, "was not run") {
				t.Errorf("%s: a call failed: %s", agent, failed)
			}
		}
		l.compare(agent, shown)
		l.lines(agent, &shown.judged)
	}
	ctx, cancel := l.w.patient()
	defer cancel()
	report, err := l.w.hosts[l.w.random.IntN(len(l.w.hosts))].client.Verify(ctx, "", nil)
	if err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %+v, %v", report.Failures, err)
	}
}

// compare compares a feed with the stream.
func (l *load) compare(agent events.AgentID, shown *told) {
	ctx, cancel := l.w.patient()
	defer cancel()
	for at := events.Revision(0); ; {
		page, err := l.w.journal.Read(ctx, events.AgentStream(agent), at, storage.Forward, storage.Limit{})
		l.w.check(err)
		for i := range page.Events {
			e := &page.Events[i]
			if e.Revision <= shown.last && shown.ids[e.Revision] != e.ID {
				l.w.t.Errorf("event %s is %s, and was shown as %s", e.Ref(), e.ID, shown.ids[e.Revision])
			}
			at = e.Revision + 1
		}
		if page.End {
			return
		}
	}
}

// lines: no line is in a file twice, none that nobody sent, and each that a call says it wrote.
func (l *load) lines(agent events.AgentID, j *judged) {
	for _, file := range []string{"lines", "commands"} {
		counts := linesOf(l.w.t, l.w.path("work", string(agent), file))
		for line, times := range counts {
			if times > 1 || l.sent[line] != agent {
				l.w.t.Errorf("%s: %q is in its %s %d times", agent, line, file, times)
			}
		}
		for _, line := range j.written[file] {
			if counts[line] == 0 {
				l.w.t.Errorf("%s: %q is not in its %s, though a call said that it wrote it", agent, line, file)
			}
		}
	}
}

// linesOf counts the lines of a file.
func linesOf(t *testing.T, file string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		counts[strings.TrimSuffix(line, "\n")]++
	}
	return counts
}
