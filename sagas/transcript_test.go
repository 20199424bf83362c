package sagas_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// TestTranscripts runs testdata/*.txt, which are the specification of the sagas: what is recorded and what is asked of whom, for
// every command. After an intended change run go test ./sagas -rewrite and read the difference as prose before it is committed.
//
//	recorded …   an event, in its own words
//	→ …          a request that is outstanding now and was not before
//	✕ …          a request that nothing waits for any more, although nobody answered it
//
// Each command of a transcript is one case below: in runAgent what people and the host do, in runAnswer the answers to the agent's
// requests, in runOther the wallet, homeostasis, notes and what is only looked at, in runCatalogue the declared projections.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := &script{t: t, at: start}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				s.t = t
				return s.run(d)
			})
		})
	}
}

// start is when every test begins.
const start events.Micros = 1_700_000_000 * events.Second

// script runs the commands of one transcript, on one agent, one wallet, and one tenant's homeostasis and projections.
type script struct {
	t           *testing.T
	agent       *history[sagas.Agent]
	wallet      *history[sagas.Wallet]
	homeostasis *history[sagas.Homeostasis]
	knowledge   *history[sagas.Knowledge]
	catalogue   *history[sagas.Catalogue]
	at          events.Micros
	commands    int
	ready       []sagas.Request
	forked      sagas.Fork // the latest
}

func (s *script) run(d *datadriven.TestData) string {
	out, known := s.runAgent(d)
	if !known {
		out, known = s.runAnswer(d)
	}
	if !known {
		out, known = s.runOther(d)
	}
	if !known {
		out, known = s.runCatalogue(d)
	}
	if !known {
		d.Fatalf(s.t, "there is no command %s", d.Cmd)
	}
	return out
}

// runAgent knows what people and the host do to an agent.
func (s *script) runAgent(d *datadriven.TestData) (string, bool) {
	meta, positional := s.meta(d), argument(d)
	switch d.Cmd {
	case "create":
		if s.agent == nil || !d.HasArg("again") {
			s.agent, s.ready = newHistory(sagas.NewAgent), nil
		}
		return s.agentDecides(sagas.Create{Meta: meta, Agent: "a", Config: s.config(d)}), true
	case "fork":
		return s.fork(d), true
	case "diverge":
		turn := &s.agent.saga.Turn
		return s.agentDecides(sagas.Diverge{Meta: meta, Turn: turn.ID, Round: turn.Round, Call: events.CallID(positional), Detail: d.Input}), true
	case "skip":
		return s.agentDecides(sagas.Skip{Meta: meta, Revision: 9, What: events.Kind(positional), Reason: d.Input}), true
	case "elapse":
		return s.agentDecides(sagas.Elapse{Meta: meta, Call: events.CallID(positional)}), true
	case "finish":
		return s.agentDecides(sagas.Finish{Meta: meta}), true
	case "configure":
		return s.agentDecides(sagas.Configure{Meta: meta, Config: s.config(d)}), true
	case "send":
		return s.agentDecides(sagas.Send{Meta: meta, Verb: events.Verb(positional), From: text(d, "from"), Text: events.Text{Inline: d.Input}}), true
	case "cancel":
		return s.agentDecides(sagas.Cancel{Meta: meta, Turn: events.TurnID(positional), By: text(d, "by")}), true
	case "approve":
		return s.agentDecides(sagas.Approve{
			Meta: meta, Turn: events.TurnID(text(d, "turn")), Call: events.CallID(positional), Digest: s.digest(d), Again: d.HasArg("again"), By: text(d, "by"),
		}), true
	case "deny":
		return s.agentDecides(sagas.Deny{
			Meta: meta, Turn: events.TurnID(text(d, "turn")), Call: events.CallID(positional), Digest: s.digest(d), By: text(d, "by"), Reason: d.Input,
		}), true
	case "answer":
		return s.agentDecides(sagas.Answer{
			Meta: meta, Turn: events.TurnID(text(d, "turn")), Call: events.CallID(positional), Digest: s.digest(d), By: text(d, "by"), Answer: d.Input,
		}), true
	case "compact":
		return s.agentDecides(sagas.Compact{Meta: meta, By: text(d, "by")}), true
	case "undo":
		return s.agentDecides(sagas.Undo{
			Meta: meta, To: events.Revision(number(s.t, d, "to")), Force: d.HasArg("force"), By: text(d, "by"),
			Tree: events.Tree{Manifest: &events.BlobRef{Hash: "00", Size: 80}, Files: 2, Bytes: 300},
		}), true
	case "quarantine":
		return s.agentDecides(sagas.Quarantine{Meta: meta, Reason: d.Input, Failures: 3}), true
	case "release":
		return s.agentDecides(sagas.Release{Meta: meta, By: text(d, "by")}), true
	case "retire":
		return s.agentDecides(sagas.Retire{Meta: meta, Reason: d.Input}), true
	case "wait":
		s.at += duration(s.t, positional)
		return "", true
	case "wake":
		return s.wake(), true
	case "woke":
		return s.agentDecides(sagas.Tick{Meta: sagas.Meta{ID: "~woke", At: s.at}}), true
	case "crash":
		return s.crash(), true
	}
	return "", false
}

// runAnswer knows the answers to an agent's requests. They answer what is outstanding, or the request that is named.
func (s *script) runAnswer(d *datadriven.TestData) (string, bool) {
	if s.agent == nil {
		return "", false
	}
	meta := sagas.Meta{ID: "~answer", At: s.at}
	t := &s.agent.saga.Turn
	request := func(outstanding events.RequestID) events.RequestID {
		if d.HasArg("request") {
			return events.RequestID(text(d, "request"))
		}
		return outstanding
	}
	switch d.Cmd {
	case "advised":
		return s.agentDecides(sagas.RecordAdvice{
			Meta: meta, Request: request(t.Advice), Mode: events.OperatingMode(argument(d)), Because: values(d, "because"),
		}), true
	case "unadvised":
		return s.agentDecides(sagas.AdviceTimeout{Meta: meta, Request: request(t.Advice), Detail: d.Input}), true
	case "informed":
		return s.agentDecides(sagas.RecordRecall{Meta: meta, Request: request(t.Knowledge), Notes: recalled(d.Input), Position: 700}), true
	case "uninformed":
		return s.agentDecides(sagas.RecallTimeout{Meta: meta, Request: request(t.Knowledge), Detail: d.Input}), true
	case "reserved":
		return s.agentDecides(sagas.RecordReservation{Meta: meta, Request: request(t.Budget), Amount: t.Requested}), true
	case "refused":
		return s.agentDecides(sagas.ReservationRefused{Meta: meta, Request: request(t.Budget), Available: s.money(d, "available"), Reason: d.Input}), true
	case "undone":
		ended := events.UndoEnded{Written: strings.Fields(d.Input), Detail: text(d, "detail"), Tree: &events.Tree{Manifest: &events.BlobRef{Hash: "00", Size: 80}, Files: 2, Bytes: 300}}
		if undo := s.agent.saga.Undo; undo != nil {
			ended.Request = undo.ID
		}
		ended.Request = request(ended.Request)
		return s.agentDecides(sagas.RecordUndo{Meta: meta, Ended: ended}), true
	case "prepared": // both at once
		return s.agentDecides(sagas.RecordAdvice{Meta: meta, Request: t.Advice, Mode: events.ModeExecute}) +
			s.agentDecides(sagas.RecordReservation{Meta: meta, Request: t.Budget, Amount: t.Requested}), true
	case "replied":
		return s.agentDecides(s.reply(d, request(t.Model))), true
	case "failed":
		return s.agentDecides(sagas.ReplyFailed{
			Meta: meta, Request: request(t.Model), Class: events.ErrorClass(argument(d)), Detail: d.Input,
			RetryAfter: duration(s.t, text(d, "retry-after")), Room: int64(number(s.t, d, "room")),
			Usage: events.Usage{Input: int64(number(s.t, d, "tokens"))}, Cost: s.money(d, "cost"), Priced: d.HasArg("cost"),
		}), true
	case "returned":
		return s.agentDecides(sagas.RecordResult{
			Meta: meta, Request: request(s.sent(argument(d))), Call: events.CallID(argument(d)),
			Text: events.Text{Inline: d.Input}, Failed: d.HasArg("error"),
		}), true
	case "asks":
		return s.agentDecides(sagas.RecordQuestion{
			Meta: meta, Request: request(s.sent(argument(d))), Call: events.CallID(argument(d)), Question: events.Question{Text: d.Input, Options: values(d, "options")},
		}), true
	case "lost":
		return s.agentDecides(sagas.RecordLoss{
			Meta: meta, Request: request(s.sent(argument(d))), Call: events.CallID(argument(d)), Detail: d.Input, Host: text(d, "host"),
		}), true
	case "settled":
		settling := sagas.AskSettle{}
		if len(s.agent.saga.Settling) > 0 {
			settling = s.agent.saga.Settling[0]
		}
		return s.agentDecides(sagas.RecordSettlement{Meta: meta, Request: request(settling.ID), Released: s.money(d, "released")}), true
	}
	return "", false
}

// runOther knows what is only looked at, the wallet and homeostasis.
func (s *script) runOther(d *datadriven.TestData) (string, bool) {
	meta := s.meta(d)
	switch d.Cmd {
	case "state":
		return s.state(), true
	case "vector":
		return vectorText(s.agent.saga.Vector()), true
	case "conversation":
		return s.conversation(), true
	case "diff":
		return s.diff(d), true
	case "open":
		if s.wallet == nil || !d.HasArg("again") {
			s.wallet = newHistory(sagas.NewWallet)
		}
		return decides(s, s.wallet, sagas.OpenWallet{Meta: meta, Wallet: "purse", Credit: s.money(d, "credit")}), true
	case "credit":
		return decides(s, s.wallet, sagas.Credit{Meta: meta, Amount: s.money(d, "amount"), By: text(d, "by"), Memo: d.Input}), true
	case "reserve":
		return decides(s, s.wallet, sagas.Reserve{
			Meta: meta, Request: events.RequestID(text(d, "request")), Turn: events.TurnID(argument(d)), Amount: s.money(d, "amount"),
		}), true
	case "settle":
		return decides(s, s.wallet, sagas.Settle{
			Meta: meta, Request: events.RequestID(text(d, "request")), Turn: events.TurnID(argument(d)), Spent: s.money(d, "spent"),
		}), true
	case "balance":
		w := s.wallet.replay(s.t)
		return fmt.Sprintf("balance %s, held %s, available %s\n", w.Balance, w.Held, w.Available()), true
	case "tenant":
		s.homeostasis = newHistory(sagas.NewHomeostasis)
		return "", true
	case "notebook":
		s.knowledge = newHistory(sagas.NewKnowledge)
		return "", true
	case "keep":
		return decides(s, s.knowledge, s.keep(d, meta)), true
	case "links":
		return linksText(markdown.Read(d.Input).Links), true
	case "adopt":
		return decides(s, s.homeostasis, sagas.Adopt{Meta: meta, Rules: s.rules(d), By: text(d, "by")}), true
	case "advise":
		mode, because := s.homeostasis.saga.Advise(s.vector(d), events.OperatingMode(text(d, "last")))
		return fmt.Sprintf("%s %q\n", mode, because), true
	}
	return "", false
}

// decides has a saga decide and says what it recorded.
func decides[S sagas.Saga[S]](s *script, h *history[S], command sagas.Command) string {
	decided, err := h.decide(s.t, command)
	if err != nil {
		return errorLine(err)
	}
	h.snap(s.t)
	out := ""
	for _, event := range decided {
		out += "recorded " + event.String() + "\n"
	}
	return out
}

func errorLine(err error) string {
	var duplicate *sagas.DuplicateError
	if errors.As(err, &duplicate) && duplicate.Event != nil {
		return "duplicate, answered as before: " + duplicate.Event.String() + "\n"
	}
	if duplicate != nil {
		return "duplicate: " + err.Error() + "\n"
	}
	if errors.Is(err, sagas.ErrStale) {
		return "stale: " + err.Error() + "\n"
	}
	return "refused " + err.Error() + "\n"
}

// agentDecides says besides which requests came and which went unanswered.
func (s *script) agentDecides(command sagas.Command) string {
	out := decides(s, s.agent, command)
	if strings.HasPrefix(out, "recorded") {
		out += s.changes(answers(command))
	}
	return out
}

// answers names the request that a command answers.
func answers(command sagas.Command) events.RequestID {
	switch c := command.(type) {
	case sagas.RecordAdvice:
		return c.Request
	case sagas.AdviceTimeout:
		return c.Request
	case sagas.RecordRecall:
		return c.Request
	case sagas.RecallTimeout:
		return c.Request
	case sagas.RecordReservation:
		return c.Request
	case sagas.ReservationRefused:
		return c.Request
	case sagas.RecordReply:
		return c.Request
	case sagas.ReplyFailed:
		return c.Request
	case sagas.RecordResult:
		return c.Request
	case sagas.RecordLoss:
		return c.Request
	case sagas.RecordSettlement:
		return c.Request
	}
	return ""
}

// changes compares what is outstanding with what was.
func (s *script) changes(answered events.RequestID) string {
	before, now := s.ready, s.agent.saga.Ready()
	s.ready = now
	has := func(in []sagas.Request, r sagas.Request) bool {
		return slices.ContainsFunc(in, func(other sagas.Request) bool {
			return s.request(other) == s.request(r) && other.RequestID() == r.RequestID()
		})
	}
	out := ""
	for _, r := range before {
		if _, timer := r.(sagas.Wake); !timer && !has(now, r) && r.RequestID() != answered {
			out += "✕ " + s.request(r) + "\n"
		}
	}
	for _, r := range now {
		if !has(before, r) {
			out += "→ " + s.request(r) + "\n"
		}
	}
	return out
}

// request says what is asked of whom.
func (s *script) request(request sagas.Request) string {
	switch r := request.(type) {
	case sagas.AskAdvice:
		return fmt.Sprintf("homeostasis: advise turn %s, which works in mode %s", r.Turn, r.Mode)
	case sagas.AskKnowledge:
		return fmt.Sprintf("knowledge: at most %d notes and %d tokens about %q", r.Notes, r.Tokens, strings.TrimSpace(r.Text))
	case sagas.AskReserve:
		return fmt.Sprintf("wallet %s: reserve %s for turn %s", r.Wallet, r.Amount, r.Turn)
	case sagas.AskModel:
		last := r.Messages[len(r.Messages)-1]
		hint := ""
		if _, after, found := strings.Cut(r.System, "Operating mode: "); found {
			hint, _, _ = strings.Cut(after, ".")
			hint = ", told to " + hint
		}
		messages := "1 message"
		if r.Summary {
			return fmt.Sprintf("model %s: a summary of %d lines, told %q, in at most %d tokens", r.Model, strings.Count(last.Text.Inline, "\n"),
				events.Clip(r.System, 40), r.Reply)
		}
		if len(r.Messages) > 1 {
			messages = strconv.Itoa(len(r.Messages)) + " messages"
		}
		return fmt.Sprintf("model %s: %s, the last from the %s%s", r.Model, messages, last.Role, hint)
	case sagas.AskTool:
		again := ""
		if !r.Repeatable {
			again = " (not repeatable)"
		}
		return fmt.Sprintf("tool: %s %s %s%s", r.Call, r.Tool, r.Arguments, again)
	case sagas.AskUndo:
		return fmt.Sprintf("files of %s: as of revision %d, force %v", r.Workspace, r.To, r.Force)
	case sagas.AskSettle:
		return fmt.Sprintf("wallet %s: settle %s for turn %s", r.Wallet, r.Spent, r.Turn)
	case sagas.Wake:
		return "wake at " + clock(r.At)
	}
	return fmt.Sprintf("%T", request)
}

// wake moves the clock to the next timer, and lets it ring.
func (s *script) wake() string {
	for _, r := range s.agent.saga.Ready() {
		if timer, ok := r.(sagas.Wake); ok {
			s.at = max(s.at, timer.At)
			return "at " + clock(s.at) + "\n" + s.agentDecides(sagas.Tick{Meta: sagas.Meta{ID: "~wake", At: s.at}})
		}
	}
	return "no timer is set\n"
}

// crash forgets everything but history. The model is asked again; all else that is outstanding is sent as it was.
func (s *script) crash() string {
	s.agent.saga, s.agent.restored = s.agent.replay(s.t), nil
	s.ready = nil
	out := ""
	if s.agent.saga.Turn.Model != "" {
		out = decides(s, s.agent, sagas.Recover{Meta: sagas.Meta{ID: "~recovered", At: s.at}})
	}
	return out + s.changes("")
}

func clock(at events.Micros) string {
	return (time.Duration(at-start) * time.Microsecond).Round(time.Second).String()
}

func (s *script) meta(d *datadriven.TestData) sagas.Meta {
	s.commands++
	id := events.CommandID("command-" + strconv.Itoa(s.commands))
	if d.HasArg("id") {
		id = events.CommandID(text(d, "id"))
	}
	return sagas.Meta{ID: id, At: s.at}
}

// sent is the request of a call of this round.
func (s *script) sent(call string) events.RequestID {
	for _, c := range s.agent.saga.Turn.Calls {
		if string(c.ID) == call {
			return c.Request
		}
	}
	return ""
}
