package sagas_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/diff"
)

// The words of the transcripts' commands.

// argument is what stands alone on the command's line.
func argument(d *datadriven.TestData) string {
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 && arg.Key != "error" && arg.Key != "again" && arg.Key != "unpriced" {
			return arg.Key
		}
	}
	return ""
}

func values(d *datadriven.TestData, key string) []string {
	arg, _ := d.Arg(key)
	return arg.Vals
}

func text(d *datadriven.TestData, key string) string { return strings.Join(values(d, key), ", ") }

func number(t *testing.T, d *datadriven.TestData, key string) int {
	t.Helper()
	if !d.HasArg(key) {
		return 0
	}
	n, err := strconv.Atoi(text(d, key))
	if err != nil {
		d.Fatalf(t, "%s: %v", key, err)
	}
	return n
}

func duration(t *testing.T, words string) events.Micros {
	t.Helper()
	if words == "" {
		return 0
	}
	length, err := time.ParseDuration(words)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return events.Micros(length.Microseconds())
}

func (s *script) money(d *datadriven.TestData, key string) events.Money {
	if !d.HasArg(key) {
		return 0
	}
	digits, negative := strings.CutPrefix(text(d, key), "-")
	amount, err := events.ParseMoney(digits)
	if err != nil {
		d.Fatalf(s.t, "%s: %v", key, err)
	}
	if negative {
		return -amount
	}
	return amount
}

// config is a configuration with three tools: read looks, write changes files, pay cannot be repeated.
func (s *script) config(d *datadriven.TestData) events.AgentConfig {
	c := testConfig()
	if d.HasArg("model") {
		c.Model = text(d, "model")
	}
	for _, words := range values(d, "route") {
		c.Model, c.Route = "route/fast", append(c.Route, candidate(s.t, words))
	}
	c.Limits = events.Limits{
		Rounds: number(s.t, d, "rounds"), Tokens: int64(number(s.t, d, "tokens")), Money: s.money(d, "money"),
		Reserve: s.money(d, "reserve"), Time: duration(s.t, text(d, "time")), ToolCalls: number(s.t, d, "tool-calls"),
		Errors: number(s.t, d, "errors"), ContextTokens: int64(number(s.t, d, "context")), Queue: number(s.t, d, "queue"),
		ApprovalTime: duration(s.t, text(d, "approval-time")),
	}
	c.Policy = events.Policy{
		Ask: values(d, "ask"), Deny: values(d, "deny"),
		OnLost: events.OnLost(text(d, "on-lost")), OnLimit: events.OnLimit(text(d, "on-limit")),
	}
	if d.HasArg("alone") {
		c.Policy.OnAsk = events.AskDeny
	}
	c.Once = d.HasArg("once")
	c.Compaction = events.Compaction{
		Mode: events.CompactionMode(text(d, "compaction")), At: number(s.t, d, "at"), Keep: int64(number(s.t, d, "keep")), Model: text(d, "summariser"),
	}
	c.Knowledge = events.KnowledgeConfig{Tokens: int64(number(s.t, d, "recall")), Notes: number(s.t, d, "recalled-notes")}
	return c
}

// candidate is MODEL, MODEL@MODE+MODE, MODEL<TOKENS or MODEL!NEED.
func candidate(t *testing.T, words string) events.Candidate {
	t.Helper()
	words, need, needs := strings.Cut(words, "!")
	words, most, bounded := strings.Cut(words, "<")
	model, modes, _ := strings.Cut(words, "@")
	c := events.Candidate{Model: model}
	for mode := range strings.SplitSeq(modes, "+") {
		if mode != "" {
			c.Modes = append(c.Modes, events.OperatingMode(mode))
		}
	}
	if needs {
		c.Needs = []events.Need{events.Need(need)}
	}
	if bounded {
		tokens, err := strconv.ParseInt(most, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c.MaxContext = tokens
	}
	return c
}

// recalled is one note a line: ID TITLE: TEXT.
func recalled(lines string) []events.RecalledNote {
	var notes []events.RecalledNote
	for line := range strings.Lines(lines) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		title, body, _ := strings.Cut(rest, ": ")
		notes = append(notes, events.RecalledNote{
			Note: events.NoteID(id), Title: title, Text: body, Event: events.NewRef("knowledge-home", events.Revision(len(notes))), Score: int64(9000 - len(notes)),
		})
	}
	return notes
}

func testConfig() events.AgentConfig {
	return events.AgentConfig{
		Model: "scripted/tour", Prompt: "You help.", Workspace: "/workspace", Wallet: "purse", Tenant: "home",
		Tools: []events.ToolGrant{
			{Name: "read", Risk: events.RiskLow, Repeatable: true},
			{Name: "write", Risk: events.RiskMedium, Repeatable: true},
			{Name: "pay", Risk: events.RiskHigh},
		},
	}
}

// reply reads a model's reply: lines that begin with "call" are calls, the others what it says.
func (s *script) reply(d *datadriven.TestData, request events.RequestID) sagas.RecordReply {
	c := sagas.RecordReply{
		Meta: sagas.Meta{ID: "~answer", At: s.at}, Request: request, Stop: events.StopReason(text(d, "stop")), Met: events.Bound(text(d, "met")),
		Usage: events.Usage{Input: int64(cmp.Or(number(s.t, d, "tokens"), 100))}, Cost: s.money(d, "cost"), Priced: !d.HasArg("unpriced"),
		Fault: events.Fault(text(d, "fault")), Withheld: text(d, "withheld"),
	}
	if extra := text(d, "extra"); extra != "" {
		c.Blocks = []events.Block{{Kind: events.BlockItem, Raw: &events.Text{Inline: extra}}}
	}
	var said []string
	for line := range strings.Lines(d.Input) {
		line = strings.TrimSpace(line)
		line, cut := strings.CutPrefix(line, "cut ")
		call, isCall := strings.CutPrefix(line, "call ")
		if !isCall {
			said = append(said, line)
			continue
		}
		tool, arguments, _ := strings.Cut(call, " ")
		c.Calls = append(c.Calls, events.ModelCall{
			ID: fmt.Sprintf("call_%d", len(c.Calls)+1), Tool: tool, Arguments: json.RawMessage(arguments), Cut: cut,
		})
	}
	c.Text.Inline = strings.Join(said, "\n")
	switch {
	case c.Stop != "":
	case len(c.Calls) > 0:
		c.Stop = events.StopCalls
	default:
		c.Stop = events.StopEnd
	}
	return c
}

// digest is what an approval names: "same" stands for that of the call that waits.
func (s *script) digest(d *datadriven.TestData) string {
	given := text(d, "digest")
	if given != "same" && given != "short" {
		return given
	}
	for _, c := range s.agent.saga.Turn.Calls {
		switch {
		case string(c.ID) != argument(d):
		case given == "short":
			return c.Digest[:sagas.ShortDigest]
		default:
			return c.Digest
		}
	}
	return ""
}

// rules reads one rule a line: name, measure, at_least or at_most, threshold, mode.
func (s *script) rules(d *datadriven.TestData) []events.Rule {
	var rules []events.Rule
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		rule := events.Rule{Name: words[0], Measure: words[1], Mode: events.OperatingMode(words[len(words)-1])}
		if len(words) == 5 {
			threshold, err := strconv.ParseFloat(words[3], 64)
			if err != nil {
				d.Fatalf(s.t, "%v", err)
			}
			if words[2] == "at_least" {
				rule.AtLeast = &threshold
			} else {
				rule.AtMost = &threshold
			}
		}
		rules = append(rules, rule)
	}
	return rules
}

// vector is that of an agent in good order, but for what the command says.
func (s *script) vector(d *datadriven.TestData) events.AgentStateVector {
	v := events.AgentStateVector{Budget: events.Budget{Tokens: 1000, Money: events.Dollar, ToolCalls: 10, Errors: 8}}
	for key, field := range map[string]*float64{
		"progress": &v.Progress, "uncertainty": &v.Uncertainty, "side_effect_pressure": &v.SideEffectPressure,
		"context_pressure": &v.ContextPressure,
	} {
		if d.HasArg(key) {
			share, err := strconv.ParseFloat(text(d, key), 64)
			if err != nil {
				d.Fatalf(s.t, "%v", err)
			}
			*field = share
		}
	}
	v.ErrorStreak = number(s.t, d, "error_streak")
	if d.HasArg("errors_left") {
		v.Budget.Errors = number(s.t, d, "errors_left")
	}
	if d.HasArg("tokens_left") {
		v.Budget.Tokens = int64(number(s.t, d, "tokens_left"))
	}
	return v
}

// state says where the agent stands.
func (s *script) state() string {
	a := s.agent.replay(s.t)
	out := fmt.Sprintf("revision %d, %d turns, mode %s\n", a.Revision, a.Turns, cmp.Or(string(a.Mode), "none yet"))
	for _, w := range a.Waiting {
		out += fmt.Sprintf("waiting: %s (%s)\n", w.ID, w.Verb)
	}
	if a.Quarantined != "" {
		out += "quarantined: " + a.Quarantined + "\n"
	}
	if a.Turn.ID == "" {
		return out + "no turn runs\n"
	}
	t := a.Turn
	out += fmt.Sprintf("turn %s, round %d, %d tokens, %s spent of %s held", t.ID, t.Round, t.Usage.Total(), t.Cost, t.Held)
	if t.Paused != "" {
		out += ", paused: " + string(t.Paused)
	}
	out += "\n"
	for _, c := range t.Calls {
		out += fmt.Sprintf("call %s %s: %s\n", c.ID, c.Tool, cmp.Or(string(c.Stage), "new"))
	}
	return out
}

// conversation shows what the model was asked to continue.
func (s *script) conversation() string {
	c := s.agent.saga.Conversation
	out := ""
	if c.Dropped > 0 {
		out = fmt.Sprintf("(%d older messages dropped)\n", c.Dropped)
	}
	if c.Summary != nil {
		out += fmt.Sprintf("(summary of the first %d, then %d dropped) %s\n", c.Summary.Messages, c.Summary.Dropped, c.Summary.Text)
	}
	for _, m := range c.Messages {
		out += string(m.Role) + ": "
		if m.CallID != "" {
			out += "(" + m.Tool + " " + m.CallID + ") "
		}
		out += strings.ReplaceAll(m.Text.Inline, "\n", " ")
		for _, call := range m.Calls {
			out += fmt.Sprintf(" [%s %s %s]", call.ID, call.Tool, call.Arguments)
		}
		out += "\n"
	}
	return out
}

func vectorText(v events.AgentStateVector) string {
	measures := sagas.Measures(v)
	names := make([]string, 0, len(measures))
	for name := range measures {
		names = append(names, name)
	}
	slices.Sort(names)
	out := ""
	for _, name := range names {
		out += fmt.Sprintf("%s %.4g\n", name, measures[name])
	}
	return out
}

// diff says what differs between two revisions, and which event was the last to change it.
func (s *script) diff(d *datadriven.TestData) string {
	facts, from, to := s.agent.facts, number(s.t, d, "from"), number(s.t, d, "to")
	var states [2]sagas.Agent
	for i, revision := range []int{from, to} {
		states[i] = sagas.NewAgent()
		for _, fact := range facts[:revision+1] {
			states[i] = states[i].Apply(fact)
		}
	}
	changes := diff.Between(&states[0], &states[1])
	last := diff.NewLastChanges(changes)
	last.Begin(states[0])
	for _, fact := range facts[from+1 : to+1] {
		last.Apply(fact)
	}
	last.End()
	var b strings.Builder
	for i, c := range changes {
		fmt.Fprintf(&b, "%-26s %s → %s", c.Path, orNothing(c.Before), orNothing(c.After))
		if c.Unit != "" {
			fmt.Fprintf(&b, " (%s)", c.Unit)
		}
		fmt.Fprintf(&b, "\n    @%d %s\n", last.Found()[i].Revision, last.Found()[i])
	}
	return b.String()
}

func orNothing(value json.RawMessage) string {
	if value == nil {
		return "–"
	}
	return string(value)
}
