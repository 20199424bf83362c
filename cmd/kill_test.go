package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// The storm kills life serve again and again. LIFE_KILLS says how often; without it, as often as fits stormTime, at most stormKills
// times. LIFE_SEED repeats a storm's choices.
const (
	stormKills  = 200
	stormTime   = 10 * time.Second
	stormAgents = 4
)

// storm drives life serve while it is killed, and remembers what was accepted.
type storm struct {
	t      *testing.T
	life   string // the binary
	dir    string
	store  string // the setting store
	random *rand.Rand
	pend   map[events.AgentID]sagas.Send // sent, outcome unknown
	sent   map[events.AgentID]int        // messages made
	known  map[events.AgentID]map[events.MessageID]string
	killed struct{ starting, serving int }
}

// TestKilledAtRandom is the promise of the whole: kill -9 of life serve at random moments loses nothing that was accepted and
// repeats nothing that must not be. Every accepted message is in exactly one turn, which ends exactly once; no line that a tool
// writes is there twice; the digests and every decision verify; nothing hangs.
func TestKilledAtRandom(t *testing.T) {
	s := newStorm(t)
	kills, until := stormKills, time.Now().Add(stormTime)
	if text := os.Getenv("LIFE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		until = time.Now().Add(24 * time.Hour)
	}
	done := 0
	for ; done < kills && time.Now().Before(until); done++ {
		s.session()
	}
	t.Logf("killed %d times: %d while starting, %d while serving", done, s.killed.starting, s.killed.serving)
	s.finish()
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	store, err := startTestStore(t.Name(), t.TempDir(), t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	return newStormAt(t, store)
}

// newStormAt makes the agents of a storm in a store.
func newStormAt(t *testing.T, store string) *storm {
	t.Helper()
	life, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LIFE_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LIFE_SEED=%d", seed)
	s := &storm{
		t: t, life: life, dir: t.TempDir(), store: store, random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // choices of a test
		pend: map[events.AgentID]sagas.Send{}, sent: map[events.AgentID]int{}, known: map[events.AgentID]map[events.MessageID]string{},
	}
	for i := range stormAgents {
		agent := events.AgentID("a" + strconv.Itoa(i))
		s.known[agent] = map[events.MessageID]string{}
		if err := os.Mkdir(s.workspace(agent), 0o700); err != nil {
			t.Fatal(err)
		}
		s.run("agents", "create", string(agent), "--model", "scripted/storm.yaml", "--workspace", s.workspace(agent),
			"--tools", "append_line,bash,write_file", "--on-lost", "tell", "--limit-queue", "1000")
	}
	return s
}

func (s *storm) data() string                          { return filepath.Join(s.dir, "data") }
func (s *storm) workspace(agent events.AgentID) string { return filepath.Join(s.dir, string(agent)) }

func (s *storm) command(args ...string) *exec.Cmd {
	scripts, err := filepath.Abs("testdata/models")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.life, args...)
	cmd.Env = append(os.Environ(), "LIFE_DATA="+s.data(), "LIFE_STORE="+s.store, "LIFE_SCRIPTS="+scripts, "LIFE_LISTEN=127.0.0.1:0", "HOME="+s.dir)
	return cmd
}

// run runs a verb to its end and returns what it prints.
func (s *storm) run(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("life %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// session starts life serve, sends messages, and kills it: most often while it serves, now and then while it starts.
func (s *storm) session() {
	starting := s.random.IntN(5) == 0
	life := time.Duration(s.random.IntN(120)) * time.Millisecond
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	cmd, errs := s.serve()
	if starting {
		s.killed.starting++
		wait(ctx, life/2)
	} else {
		s.killed.serving++
		client := s.reach(ctx, cmd, errs)
		driven := make(chan struct{})
		go func() {
			defer close(driven)
			s.drive(ctx, client)
		}()
		wait(ctx, life)
		defer func() {
			cancel()
			<-driven
			s.check(client.Close())
		}()
	}
	s.check(cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		s.t.Fatal("life serve ended by itself")
	}
	if bytes.Contains(errs.Bytes(), []byte("panic")) {
		s.t.Fatalf("life serve panicked:\n%s", errs)
	}
}

func (s *storm) serve() (*exec.Cmd, *bytes.Buffer) {
	cmd, errs := s.command("serve"), &bytes.Buffer{}
	cmd.Stderr = errs
	s.check(cmd.Start())
	return cmd, errs
}

func (s *storm) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// reach waits until life serve answers.
func (s *storm) reach(ctx context.Context, cmd *exec.Cmd, errs *bytes.Buffer) *api.Client {
	deadline := time.Now().Add(30 * time.Second)
	for ; time.Now().Before(deadline); wait(ctx, 2*time.Millisecond) {
		where, err := readServing(s.data())
		if err != nil || where.PID != cmd.Process.Pid {
			continue
		}
		client, err := api.NewClient(api.ClientConfig{BaseURL: where.Address})
		s.check(err)
		return client
	}
	s.check(cmd.Process.Kill())
	_ = cmd.Wait()
	s.t.Fatalf("life serve does not start:\n%s", errs)
	return nil
}

// drive gives agents messages. One whose outcome is unknown is sent again, in this session or a later one, with the same id.
func (s *storm) drive(ctx context.Context, client *api.Client) {
	for i := range stormAgents {
		agent := events.AgentID("a" + strconv.Itoa(i))
		if _, unknown := s.pend[agent]; unknown || s.random.IntN(2) == 0 {
			s.send(ctx, client, agent)
		}
	}
}

func (s *storm) send(ctx context.Context, client *api.Client, agent events.AgentID) {
	message, again := s.pend[agent]
	if !again {
		s.sent[agent]++
		text := fmt.Sprintf("%s says %d", agent, s.sent[agent])
		message = sagas.Send{
			Meta: sagas.Meta{ID: events.CommandID(strings.ReplaceAll(text, " ", "-")), At: storage.Now()},
			Verb: events.Followup, Text: events.Text{Inline: text},
		}
		s.pend[agent] = message
	}
	receipt, err := client.Do(ctx, events.AgentStream(agent), message, actors.Origin{Actor: "storm"})
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) {
		s.t.Errorf("%s: %v", agent, err)
	}
	if err != nil {
		return // whether it was accepted is unknown: it is sent again
	}
	delete(s.pend, agent)
	if receipt.Duplicate && !again {
		s.t.Errorf("the receipt of %q is %+v", message.Inline, receipt)
	}
	s.known[agent][events.MessageID("m"+strconv.Itoa(len(s.known[agent])+1))] = message.Inline
}

// finish lets everything come to its end, and looks at what came of it.
func (s *storm) finish() {
	cmd, errs := s.serve()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	client := s.reach(ctx, cmd, errs)
	for agent := range s.pend {
		s.send(ctx, client, agent)
	}
	if len(s.pend) > 0 {
		s.t.Errorf("not accepted in the end: %v", s.pend)
	}
	s.rest(ctx, client)
	turns, lost := 0, 0
	for agent, messages := range s.known {
		history := s.history(ctx, client, agent)
		s.checkTurns(agent, history, messages)
		for _, file := range []string{"lines", "commands"} {
			s.checkLines(agent, file, messages)
		}
		turns += len(messages)
		lost += s.checkCalls(agent, history, messages)
	}
	s.t.Logf("%d turns, %d calls lost and told", turns, lost)
	s.check(client.Close())
	s.check(cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		s.t.Errorf("life serve ended with %v:\n%s", err, errs)
	}
	if out := s.run("verify", "--all"); !strings.HasPrefix(out, "ok: ") {
		s.t.Errorf("verify: %s", out)
	}
	if out := s.run("store", "check"); !strings.HasPrefix(out, "ok: ") {
		s.t.Errorf("store check: %s", out)
	}
}

// rest waits until no agent has anything to do.
func (s *storm) rest(ctx context.Context, client *api.Client) {
	for ; ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		list, err := client.Agents(ctx, projections.AgentFilter{})
		s.check(err)
		busy := 0
		for i := range list {
			if list[i].Open() || list[i].Waiting > 0 {
				busy++
			}
		}
		if busy == 0 {
			return
		}
	}
	list, err := client.Agents(s.t.Context(), projections.AgentFilter{})
	s.t.Fatalf("the agents do not come to rest: %+v, %v", list, err)
}

func (s *storm) history(ctx context.Context, client *api.Client, agent events.AgentID) []events.Event {
	var all []events.Event
	for {
		page, err := client.History(ctx, events.AgentStream(agent), events.Revision(len(all)), storage.Forward, storage.Limit{})
		s.check(err)
		for i := range page.Events {
			event, err := page.Events[i].Event()
			s.check(err)
			all = append(all, event)
		}
		if page.End {
			return all
		}
	}
}

// checkTurns: what was accepted is what was received, each message is in one turn, and each turn ends once.
func (s *storm) checkTurns(agent events.AgentID, history []events.Event, messages map[events.MessageID]string) {
	received, started, ended := map[events.MessageID]string{}, map[events.MessageID]int{}, map[events.TurnID]int{}
	turns := 0
	for _, event := range history {
		switch e := event.(type) {
		case events.MessageReceived:
			received[e.Message] = e.Inline
		case events.TurnStarted:
			turns++
			for _, message := range e.Messages {
				started[message]++
			}
		case events.TurnEnded:
			ended[e.Turn]++
			// A model that was cut off ten times in a row is not asked, and paid, again: that is how turns stay within their limits.
			if e.Outcome != events.Done && !strings.Contains(e.Detail, "the host stopped during 10 attempts in a row") {
				s.t.Errorf("%s: %s", agent, e)
			}
		}
	}
	if len(received) != len(messages) || turns != len(messages) || len(ended) != turns {
		s.t.Errorf("%s: %d messages accepted, %d received, in %d turns, of which %d ended", agent, len(messages), len(received), turns, len(ended))
	}
	for id, text := range messages {
		if received[id] != text || started[id] != 1 {
			s.t.Errorf("%s: message %s is %q, want %q, and is in %d turns", agent, id, received[id], text, started[id])
		}
	}
	for turn, times := range ended {
		if times != 1 {
			s.t.Errorf("%s ended %d times", turn, times)
		}
	}
}

// checkLines: no tool wrote a line twice, and none that nobody asked for.
func (s *storm) checkLines(agent events.AgentID, file string, messages map[events.MessageID]string) {
	asked := map[string]bool{}
	for _, text := range messages {
		asked[text] = true
	}
	for line, times := range s.lines(agent, file) {
		if times > 1 || !asked[line] {
			s.t.Errorf("%s: %q is in %s %d times (asked for: %t)", agent, line, file, times, asked[line])
		}
	}
}

func (s *storm) lines(agent events.AgentID, file string) map[string]int {
	lines := map[string]int{}
	text, err := os.ReadFile(filepath.Join(s.workspace(agent), file))
	if errors.Is(err, os.ErrNotExist) {
		return lines // in a short storm nobody may have written
	}
	s.check(err)
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		lines[line]++
	}
	return lines
}

// checkCalls: a call that is said to have worked did, and what was lost is said to be. It returns how many were lost.
func (s *storm) checkCalls(agent events.AgentID, history []events.Event, messages map[events.MessageID]string) (lost int) {
	files := map[string]map[string]int{"append_line": s.lines(agent, "lines"), "bash": s.lines(agent, "commands")}
	prompt, tools := "", map[events.CallID]string{}
	for _, event := range history {
		switch e := event.(type) {
		case events.TurnStarted:
			prompt = messages[e.Messages[0]]
		case events.ToolRequested:
			tools[e.Call] = e.Tool
		case events.ToolLost:
			lost++
		case events.ToolReturned:
			lines, counted := files[tools[e.Call]]
			if e.Failed {
				s.t.Errorf("%s: %s", agent, e)
			} else if counted && lines[prompt] != 1 {
				s.t.Errorf("%s: %s returned for %q, whose line is there %d times", agent, tools[e.Call], prompt, lines[prompt])
			}
		}
	}
	return lost
}
