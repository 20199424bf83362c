//go:build linux

package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// What a turn may take: the limits of sagas (failed attempts, and attempts that restarts cut off, in one round), and the price of one call.
const (
	chaosFailed = 6
	chaosCutOff = 10
	chaosPrice  = events.Money(100_000) // 1,000 tokens at $100 a million
	chaosLimit  = events.Dollar         // of a turn
)

// want is what tools and models say that failed for want of descriptors or of room on the disk.
var want = regexp.MustCompile("too many open files|no space left on device|disk is full|only [0-9.]+ .*free")

// judge lets a world come to its end without trouble, and says what holds then.
func (w *chaosWorld) judge() {
	w.empty()
	w.setClock(0)
	w.hosts = w.hosts[:1]
	w.beginAll(0)
	ctx, cancel := w.patient()
	defer cancel()
	client := w.reachAll(ctx)[0]
	w.people.rest(ctx, client)
	w.people.last()
	w.people.rest(ctx, client)
	spent := events.Money(0)
	for _, agent := range append(slices.Concat(chaosSenders, chaosBus, chaosClerks), chaosParent) {
		history := w.history(ctx, client, agent)
		w.judgeMessages(agent, history)
		spent += w.judgeTurns(agent, history)
		w.judgeCalls(agent, history)
		w.judgeApprovals(agent, history)
	}
	w.judgeForks(ctx, client)
	w.judgeWallet(ctx, client, spent)
	w.judgeProjections(ctx, client)
	if poisoned, err := client.Poisoned(ctx, sagas.DefaultTenant); err != nil || len(poisoned) > 0 {
		w.t.Errorf("poisoned: %+v, %v", poisoned, err)
	}
	p := w.hosts[0]
	w.hosts[0] = nil
	w.check(client.Close())
	w.check(p.cmd.Process.Signal(os.Interrupt))
	<-p.ended
	if !p.cmd.ProcessState.Success() {
		w.t.Errorf("life serve ended with %v:\n%s", p.cmd.ProcessState, p.said.String())
	}
	w.judgeStore()
	for _, check := range [][]string{{"verify", "--all"}, {"store", "check"}} {
		if out := w.run(check...); !strings.HasPrefix(out, "ok: ") {
			w.t.Errorf("%s: %s", strings.Join(check, " "), out)
		}
	}
	w.count("worlds", 1)
}

func (w *chaosWorld) history(ctx context.Context, client *api.Client, agent events.AgentID) []events.Event {
	var all []events.Event
	for {
		page, err := client.History(ctx, events.AgentStream(agent), events.Revision(len(all)), storage.Forward, storage.Limit{})
		w.check(err)
		for i := range page.Events {
			event, err := page.Events[i].Event()
			w.check(err)
			all = append(all, event)
		}
		if page.End {
			return all
		}
	}
}

// lines counts the lines of a file in an agent's workspace.
func (w *chaosWorld) lines(agent events.AgentID, file string) map[string]int {
	lines := map[string]int{}
	text, err := os.ReadFile(filepath.Join(w.workspace(agent), file))
	if errors.Is(err, os.ErrNotExist) {
		return lines
	}
	w.check(err)
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		lines[line]++
	}
	return lines
}

// judgeMessages: what was accepted was received once and in order, and nothing else was.
func (w *chaosWorld) judgeMessages(agent events.AgentID, history []events.Event) {
	if agent == chaosParent {
		return
	}
	var received []string
	for _, event := range history {
		if e, ok := event.(events.MessageReceived); ok {
			received = append(received, e.Inline)
		}
	}
	w.count("messages", len(received))
	if !slices.Equal(received, w.people.known[agent]) {
		w.t.Errorf("%s received\n%q, and was sent\n%q", agent, received, w.people.known[agent])
	}
}

// judgedTurn is a turn as its events tell it.
type judgedTurn struct {
	round, asked, failed int // of the round
	cutOff               int // attempts of the turn that restarts cut off
	needy                int // failures in a row for want of descriptors or of room
	cost                 events.Money
}

// judgeTurns: each message is in one turn, each turn ends once and takes no more than its limits and one call. It returns what they cost.
func (w *chaosWorld) judgeTurns(agent events.AgentID, history []events.Event) (spent events.Money) {
	started, ended := map[events.MessageID]int{}, map[events.TurnID]int{}
	turns, messages, t := 0, 0, judgedTurn{}
	for _, event := range history {
		switch e := event.(type) {
		case events.MessageReceived:
			messages++
		case events.TurnStarted:
			turns, t = turns+1, judgedTurn{}
			for _, message := range e.Messages {
				started[message]++
			}
		case events.ModelRequested, events.ModelReplied, events.ModelFailed, events.ToolReturned:
			w.follow(agent, &t, event)
		case events.TurnEnded:
			ended[e.Turn]++
			spent += e.Cost
			w.outcome[strings.TrimSpace(string(e.Outcome)+" "+string(e.Reason))]++
			if reason := w.untrue(&t, e); reason != "" {
				w.t.Errorf("%s: %s, but %s (%+v)", agent, e, reason, t)
			}
		}
	}
	if len(started) != messages || len(ended) != turns {
		w.t.Errorf("%s: %d messages, %d of them in turns; %d turns, of which %d ended", agent, messages, len(started), turns, len(ended))
	}
	for what, times := range started {
		if times != 1 {
			w.t.Errorf("%s: message %s is in %d turns", agent, what, times)
		}
	}
	for turn, times := range ended {
		if times != 1 {
			w.t.Errorf("%s ended %d times", turn, times)
		}
	}
	w.count("turns", turns)
	return spent
}

func (w *chaosWorld) follow(agent events.AgentID, t *judgedTurn, event events.Event) {
	switch e := event.(type) {
	case events.ModelRequested:
		if e.Round != t.round {
			t.round, t.asked, t.failed = e.Round, 0, 0
		} else if t.asked > t.failed {
			t.cutOff++
		}
		if t.asked++; t.asked > chaosFailed+chaosCutOff {
			w.t.Errorf("%s: attempt %d in round %d of %s", agent, t.asked, e.Round, e.Turn)
		}
	case events.ModelReplied:
		t.cost, t.needy = t.cost+e.Cost, 0
	case events.ModelFailed:
		t.failed++
		w.needs(agent, t, event, e.Detail)
	case events.ToolReturned:
		if e.Failed {
			w.needs(agent, t, event, e.Inline)
		} else {
			t.needy = 0
		}
	}
}

// needs notes a failure, which must be for want of what the world lacked.
func (w *chaosWorld) needs(agent events.AgentID, t *judgedTurn, event events.Event, detail string) {
	t.needy++
	w.count("calls failed for want of room or descriptors", 1)
	if !w.few && !w.disk || !want.MatchString(detail) {
		w.t.Errorf("%s: %s", agent, event)
	}
}

// untrue says what is wrong with how a turn ended; empty: nothing.
func (w *chaosWorld) untrue(t *judgedTurn, e events.TurnEnded) string {
	unheard := t.asked - t.failed // attempts of the last round that nobody heard the end of
	switch {
	case e.Cost != t.cost || e.Cost > 2*chaosPrice:
		return fmt.Sprintf("its replies cost %s", t.cost)
	case e.Outcome == events.Done:
		return ""
	case e.Reason == events.ReasonModel && strings.Contains(e.Detail, "the host stopped during 10 attempts in a row"):
		if unheard != chaosCutOff {
			return fmt.Sprintf("the host stopped during %d attempts", unheard)
		}
		return ""
	case e.Reason == events.ReasonMoney && strings.Contains(e.Detail, "with them the turn may have cost"):
		if t.cost+events.Money(t.cutOff+1)*chaosPrice < chaosLimit {
			return "it cannot have cost so much"
		}
		return ""
	case e.Reason == events.ReasonModel && t.failed == chaosFailed, e.Reason == events.ReasonErrors:
		if t.needy == 0 {
			return "nothing failed"
		}
		return ""
	}
	return "nothing in this world is a reason for that"
}

// judgeCalls: no line is in a file twice or for nothing, and a call that is said to have written has. A line is there once more for each time that a person had a
// call repeated whose effect was unknown, at most.
func (w *chaosWorld) judgeCalls(agent events.AgentID, history []events.Event) {
	files := map[string]map[string]int{"append_line": w.lines(agent, "lines"), "bash": w.lines(agent, "commands")}
	inline, prompt := map[events.MessageID]string{}, ""
	tools, lost, repeated := map[events.CallID]string{}, map[events.CallID]bool{}, map[string]int{}
	for _, event := range history {
		switch e := event.(type) {
		case events.MessageReceived:
			inline[e.Message] = e.Inline
		case events.TurnStarted:
			prompt = inline[e.Messages[len(e.Messages)-1]]
			clear(tools)
			clear(lost)
		case events.ToolRequested:
			tools[e.Call] = e.Tool
			if lost[e.Call] {
				w.count("calls lost and repeated by a person", 1)
				repeated[prompt]++
			}
		case events.ToolLost:
			lost[e.Call] = true
			w.count("calls lost", 1)
		case events.ToolReturned:
			if lines, counted := files[tools[e.Call]]; counted && !e.Failed && lines[prompt] < 1 {
				w.t.Errorf("%s: %s returned for %q, whose line is not there", agent, tools[e.Call], prompt)
			}
		}
	}
	for tool, lines := range files {
		for line, times := range lines {
			if times > 1+repeated[line] || agent != chaosParent && !slices.Contains(w.people.known[agent], line) {
				w.t.Errorf("%s: %s wrote %q %d times, and was to repeat it %d times", agent, tool, line, times, repeated[line])
			}
		}
	}
}

// judgeApprovals: what a clerk ran was approved, each time anew, as it was shown; each question was answered once.
func (w *chaosWorld) judgeApprovals(agent events.AgentID, history []events.Event) {
	if !slices.Contains(chaosClerks, agent) {
		return
	}
	shown, granted := map[events.CallID]events.ApprovalRequested{}, map[events.CallID]bool{}
	for _, event := range history {
		switch e := event.(type) {
		case events.TurnStarted:
			clear(shown)
			clear(granted)
		case events.ApprovalRequested:
			shown[e.Call] = e
			w.count("approvals asked for", 1)
		case events.ApprovalGranted:
			if asked, is := shown[e.Call]; !is || asked.Digest != e.Digest || granted[e.Call] {
				w.t.Errorf("%s: %s, of what nobody asked for", agent, e)
			}
			granted[e.Call] = true
		case events.ApprovalDenied:
			if _, is := shown[e.Call]; !is || granted[e.Call] {
				w.t.Errorf("%s: %s, of what nobody asked for", agent, e)
			}
			delete(shown, e.Call)
		case events.ToolRequested:
			if asked, is := shown[e.Call]; !is || !granted[e.Call] || asked.Tool != e.Tool || string(asked.Arguments) != string(e.Arguments) {
				w.t.Errorf("%s ran what was not approved: %s", agent, e)
			}
			delete(shown, e.Call)
			delete(granted, e.Call)
		}
	}
}

// judgeForks: a fork has gone its parent's way to the end, on the tape alone.
func (w *chaosWorld) judgeForks(ctx context.Context, client *api.Client) {
	for _, name := range w.people.forks {
		state, err := client.State(ctx, name, events.NoRevision)
		w.check(err)
		if f := state.Agent.Fork; !f.Finished || f.Live != 0 || f.Skipped != 0 || f.Diverged != nil {
			w.t.Errorf("%s: %+v", name, f)
		}
	}
}

// judgeWallet: what the turns cost is gone, all else is there, and nothing is held.
func (w *chaosWorld) judgeWallet(ctx context.Context, client *api.Client, spent events.Money) {
	wallet, err := client.Wallet(ctx, "main")
	w.check(err)
	if credit := events.Money(100_000_000_000); wallet.Balance != credit-spent || wallet.Held != 0 || len(wallet.Holds) > 0 {
		w.t.Errorf("the wallet holds %s, and %s is set aside; its turns cost %s of %s", wallet.Balance, wallet.Held, spent, credit)
	}
}

// judgeProjections: each answers as one that is built anew.
func (w *chaosWorld) judgeProjections(ctx context.Context, client *api.Client) {
	list, err := client.Projections(ctx)
	w.check(err)
	ask := func() map[string]string {
		answers := map[string]string{}
		for i := range list {
			for _, query := range list[i].Queries {
				if slices.ContainsFunc(query.Params, func(p projections.Parameter) bool { return p.Required }) {
					continue
				}
				answer, err := client.Query(ctx, projector.Question{Projection: list[i].Name, Query: projections.Query{Name: query.Name}, Min: list[i].Head}, nil)
				w.check(err)
				if answer.Stopped != nil {
					w.t.Errorf("projection %s stopped: %+v", list[i].Name, answer.Stopped)
				}
				answers[list[i].Name+" "+query.Name] = string(answer.Answer)
			}
		}
		return answers
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	live := ask()
	_, err = client.Rebuild(ctx, names, nil)
	w.check(err)
	for name, answer := range ask() {
		if live[name] != answer {
			w.t.Errorf("%s answers\n%s\nand built anew\n%s", name, live[name], answer)
		}
	}
	w.count("projections' queries compared", len(live))
}

// judgeStore: no stream's time goes back; each command that was published is in the store once, also those that were published again after a kill, and has one
// reply, which says that it was accepted.
func (w *chaosWorld) judgeStore() {
	published, replies, latest := map[events.CommandID]int{}, map[events.CommandID]int{}, map[events.Stream]events.Micros{}
	exported, err := w.command(0, "store", "export").Output()
	w.check(err)
	decoder := json.NewDecoder(bytes.NewReader(exported))
	for decoder.More() {
		var e struct {
			Stream  events.Stream
			Kind    events.Kind
			Time    events.Micros `json:",string"`
			Data    json.RawMessage
			Foreign struct{ Metadata []byte }
		}
		w.check(decoder.Decode(&e))
		family, _, _ := strings.Cut(string(e.Stream), "-")
		if e.Time < latest[e.Stream] && slices.Contains([]string{"agent", "wallet", "homeostasis", "knowledge", "projections"}, family) {
			w.t.Errorf("in %s time goes back by %d us", e.Stream, latest[e.Stream]-e.Time)
		}
		latest[e.Stream] = e.Time
		switch e.Stream {
		case "command-local":
			var metadata struct{ Command events.CommandID }
			w.check(json.Unmarshal(e.Foreign.Metadata, &metadata))
			published[metadata.Command]++
		case "reply-local":
			var reply struct{ Command events.CommandID }
			w.check(json.Unmarshal(e.Data, &reply))
			if replies[reply.Command]++; e.Kind != "command.accepted" {
				w.t.Errorf("%s: %s", e.Kind, e.Data)
			}
		}
	}
	for _, id := range w.people.bused {
		if published[id] != 1 || replies[id] != 1 {
			w.t.Errorf("command %s is in the store %d times, and has %d replies", id, published[id], replies[id])
		}
	}
	if len(published) != len(w.people.bused) {
		w.t.Errorf("%d commands are in the store, %d were published", len(published), len(w.people.bused))
	}
	w.count("bus commands answered", len(w.people.bused))
}
