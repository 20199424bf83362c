package sagas_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
)

// TestVerdicts says what becomes of calls of each class in each mode, where nothing else decides.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const classes = "read edit run destructive outside unclear"
	for _, test := range []struct {
		mode    events.PermissionMode
		sandbox string
		want    string // of each class: allow, ask, deny
	}{
		{"", "namespaces", "allow allow allow allow allow allow"},
		{events.PermissionPlan, "namespaces", "allow deny deny deny deny deny"},
		{events.PermissionAsk, "namespaces", "allow ask ask ask ask ask"},
		{events.PermissionEdits, "namespaces", "allow allow ask ask ask ask"},
		{events.PermissionEdits, "host", "allow ask ask ask ask ask"},
		{events.PermissionEdits, "", "allow allow ask ask ask ask"},
		{events.PermissionAuto, "namespaces", "allow allow allow ask ask ask"},
		{events.PermissionAuto, "landlock", "allow ask ask ask ask ask"},
		{events.PermissionAuto, "host", "allow ask ask ask ask ask"},
		{events.PermissionFull, "host", "ask ask ask ask ask ask"},
	} {
		want := strings.Fields(test.want)
		for i, class := range strings.Fields(classes) {
			found := sagas.Finding{Finding: events.Finding{Class: events.CallClass(class), Sandbox: test.sandbox}}
			if verdict, why := found.Verdict(test.mode); string(verdict) != want[i] || verdict != events.VerdictAllow && why == "" {
				t.Errorf("in mode %q, %s in %q: %s (%s), want %s", test.mode, class, test.sandbox, verdict, why, want[i])
			}
			found.Full = true
			if verdict, _ := found.Verdict(events.PermissionFull); verdict != events.VerdictAllow {
				t.Errorf("in mode full, %s is %s, want allow", class, verdict)
			}
			for _, ruled := range []events.Verdict{events.VerdictAllow, events.VerdictAsk, events.VerdictDeny} {
				found.Ruled = ruled
				if verdict, _ := found.Verdict(test.mode); verdict != ruled {
					t.Errorf("in mode %q, %s that rules %s is %s", test.mode, class, ruled, verdict)
				}
			}
		}
	}
	found := sagas.Finding{Finding: events.Finding{Class: "another"}}
	if verdict, _ := found.Verdict(events.PermissionAuto); verdict != events.VerdictAsk {
		t.Errorf("a class that is not known is %s, want ask", verdict)
	}
}

// judgedAgent is an agent in mode ask whose model makes one call of pay in each turn.
type judgedAgent struct {
	*history[sagas.Agent]
	t    *testing.T
	at   events.Micros
	sent int
}

func newJudgedAgent(t *testing.T, change func(*events.AgentConfig)) *judgedAgent {
	j := &judgedAgent{history: newHistory(sagas.NewAgent), t: t, at: start}
	config := testConfig()
	config.Policy.Mode = events.PermissionAsk
	change(&config)
	j.do(sagas.Create{Meta: j.meta(), Agent: "a", Config: config})
	return j
}

func (j *judgedAgent) meta() sagas.Meta {
	j.sent++
	return sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", j.sent)), At: j.at}
}

func (j *judgedAgent) do(command sagas.Command) {
	j.t.Helper()
	if _, err := j.decide(j.t, command); err != nil {
		j.t.Fatalf("%T: %v", command, err)
	}
}

// pays starts a turn in which the model pays, and reports what the call has come to.
func (j *judgedAgent) pays(arguments string, found events.Finding) sagas.CallStage {
	j.t.Helper()
	t := &j.saga.Turn
	if t.ID != "" {
		j.do(sagas.Cancel{Meta: j.meta()})
	}
	j.do(sagas.Send{Meta: j.meta(), Verb: events.Collect, Text: events.Text{Inline: "pay"}})
	inside := sagas.Meta{ID: "~host", At: j.at}
	j.do(sagas.RecordAdvice{Meta: inside, Request: t.Advice, Mode: events.ModeExecute})
	j.do(sagas.RecordReservation{Meta: inside, Request: t.Budget, Amount: t.Requested})
	j.do(sagas.RecordReply{
		Meta: inside, Request: t.Model, Stop: events.StopCalls, Priced: true,
		Calls:    []events.ModelCall{{ID: "x", Tool: "read", Arguments: json.RawMessage(`{}`)}, {ID: "y", Tool: "pay", Arguments: json.RawMessage(arguments)}},
		Findings: []sagas.Finding{{Call: 1, Finding: found}},
	})
	return j.stage()
}

func (j *judgedAgent) stage() sagas.CallStage { return j.saga.Turn.Calls[1].Stage }

func (j *judgedAgent) approve(change func(*sagas.Approve)) error {
	c := sagas.Approve{Meta: j.meta(), Turn: j.saga.Turn.ID, Call: "1.2", By: "ann"}
	change(&c)
	_, err := j.decide(j.t, c)
	return err
}

// TestRemembered: an approval holds for the same call until it expires or is revoked, and for no other.
func TestRemembered(t *testing.T) {
	t.Parallel()
	j := newJudgedAgent(t, func(*events.AgentConfig) {})
	found := events.Finding{Class: events.ClassRun, Key: "same"}
	if stage := j.pays(`{"a": 1}`, found); stage != sagas.CallWaiting {
		t.Fatalf("the call is %q, want waiting", stage)
	}
	if err := j.approve(func(c *sagas.Approve) { c.Scope, c.Lasting = events.ScopeSession, events.Minute }); err != nil || j.stage() != sagas.CallSent {
		t.Fatalf("approving gives %v, and the call is %q", err, j.stage())
	}
	if stage := j.pays(`{"a":  2}`, found); stage != sagas.CallSent {
		t.Errorf("a call with the same key is %q, want sent", stage)
	}
	if stage := j.pays(`{"a": 1}`, events.Finding{Class: events.ClassRun, Key: "other"}); stage != sagas.CallWaiting {
		t.Errorf("a call with another key is %q, want waiting", stage)
	}
	denied := events.Finding{Class: events.ClassRun, Key: "same", Ruled: events.VerdictDeny, Rule: "r:1"}
	if stage := j.pays(`{"a": 1}`, denied); stage != sagas.CallAnswered {
		t.Errorf("a call that a rule denies is %q, want answered", stage)
	}
	firm := events.Finding{Class: events.ClassRun, Key: "same", Ruled: events.VerdictAsk, Rule: "r:1", Firm: true}
	if stage := j.pays(`{"a": 1}`, firm); stage != sagas.CallWaiting {
		t.Errorf("a call that the administrator has asked is %q, want waiting", stage)
	}
	j.at += events.Minute
	if stage := j.pays(`{"a": 1}`, found); stage != sagas.CallWaiting {
		t.Errorf("after its time the call is %q, want waiting", stage)
	}
	if err := j.approve(func(c *sagas.Approve) { c.Scope = events.ScopeSession }); err != nil {
		t.Fatal(err)
	}
	if n := len(j.saga.Remembered); n != 1 {
		t.Errorf("%d approvals are remembered, want 1: the other has expired", n)
	}
	j.do(sagas.Retire{Meta: j.meta()})
	j.do(sagas.Revoke{Meta: j.meta(), Remembered: j.saga.Remembered[0].At, By: "ann"})
	if n := len(j.saga.Remembered); n != 0 {
		t.Errorf("%d approvals are remembered after the revocation", n)
	}
	if _, err := j.decide(t, sagas.Revoke{Meta: j.meta(), Remembered: "agent-a@1"}); err == nil {
		t.Error("an approval that there is not was revoked")
	}
	j.replay(t)
}

// TestEdited: what a person made of the arguments runs, and the model is told.
func TestEdited(t *testing.T) {
	t.Parallel()
	j := newJudgedAgent(t, func(*events.AgentConfig) {})
	j.pays(`{"amount": 100}`, events.Finding{Class: events.ClassRun})
	for _, refused := range []func(*sagas.Approve){
		func(c *sagas.Approve) { c.Arguments = json.RawMessage(`[1]`) },
		func(c *sagas.Approve) { c.Arguments = json.RawMessage(`{"a":"` + strings.Repeat("x", 40_000) + `"}`) },
		func(c *sagas.Approve) { c.Arguments, c.Scope = json.RawMessage(`{}`), events.ScopeSession },
		func(c *sagas.Approve) { c.Scope = "forever" },
		func(c *sagas.Approve) { c.Lasting = 1 },
		func(c *sagas.Approve) { c.Scope, c.Lasting = events.ScopeSession, 1<<49 },
	} {
		if err := j.approve(refused); err == nil {
			t.Error("an approval that makes no sense was accepted")
		}
	}
	if err := j.approve(func(c *sagas.Approve) { c.Arguments = json.RawMessage(`{"amount":  1}`) }); err != nil {
		t.Fatal(err)
	}
	asked := slices.IndexFunc(j.saga.Ready(), func(r sagas.Request) bool {
		tool, is := r.(sagas.AskTool)
		return is && tool.Call == "1.2" && string(tool.Arguments) == `{"amount":1}`
	})
	if asked < 0 {
		t.Fatalf("the edited arguments are not sent: %+v", j.saga.Ready())
	}
	inside := sagas.Meta{ID: "~host", At: j.at}
	j.do(sagas.RecordResult{Meta: inside, Request: j.saga.Turn.Calls[0].Request, Call: "1.1", Text: events.Text{Inline: "read"}})
	j.do(sagas.RecordResult{Meta: inside, Request: j.saga.Turn.Calls[1].Request, Call: "1.2", Text: events.Text{Inline: "paid"}})
	messages := j.saga.Conversation.Messages
	if last := messages[len(messages)-1].Text.Inline; !strings.Contains(last, `{"amount":1}`) || !strings.HasSuffix(last, "paid") {
		t.Errorf("the model reads %q, want the arguments that ran", last)
	}
	j.replay(t)
}

// TestNobodyAnswers: with on_ask deny nothing waits.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	j := newJudgedAgent(t, func(c *events.AgentConfig) { c.Policy.OnAsk = events.AskDeny })
	if stage := j.pays(`{}`, events.Finding{Class: events.ClassRun}); stage != sagas.CallAnswered {
		t.Fatalf("the call is %q, want answered", stage)
	}
	if text := j.saga.Turn.Calls[1].Text.Inline; !strings.Contains(text, "approval_unavailable") {
		t.Errorf("the model reads %q", text)
	}
}
