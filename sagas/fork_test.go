package sagas_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// forkOf begins the history of a fork: on its parent's fold, of which it has a copy.
func forkOf(t failer, parent *history[sagas.Agent]) *history[sagas.Agent] {
	state := snapshot(t, parent.replay(t))
	return newHistory(func() sagas.Agent { return restoreAgent(t, state) })
}

func restoreAgent(t failer, state string) sagas.Agent {
	var agent sagas.Agent
	if err := json.Unmarshal([]byte(state), &agent); err != nil {
		t.Fatalf("restore the parent: %v", err)
	}
	return agent
}

// fork makes the transcript go on with a fork of its agent; what is not said is as in the parent.
func (s *script) fork(d *datadriven.TestData) string {
	parent := s.agent
	config := parent.saga.Config
	if d.HasArg("config") {
		config = s.config(d)
	}
	config.Wallet = events.WalletID(cmp.Or(text(d, "wallet"), "fork-"+argument(d)))
	tip := parent.saga.Revision
	command := sagas.Fork{
		Meta: s.meta(d), Agent: events.AgentID(argument(d)), Parent: parent.saga.ID, At: tip, Until: tip + 9, Inputs: tip + 9,
		Time: parent.facts[len(parent.facts)-1].Time, Tape: events.TapeMode(cmp.Or(text(d, "tape"), "tape")), Paper: !d.HasArg("wallet"), Config: config,
	}
	if d.HasArg("at") {
		command.At = events.Revision(number(s.t, d, "at"))
	}
	if d.HasArg("again") {
		return s.agentDecides(s.forked)
	}
	s.agent, s.ready, s.forked = forkOf(s.t, parent), nil, command
	out := s.agentDecides(command)
	if strings.HasPrefix(out, "refused") {
		s.agent = parent
	}
	return out
}

// fork goes on with a fork of the agent.
func (r *anyOrder) fork(t *rapid.T) {
	parent := r.history
	tip := parent.saga.Revision
	r.history = forkOf(t, parent)
	config := parent.saga.Config
	if rapid.Bool().Draw(t, "another configuration") {
		config = anyConfig(t)
	}
	config.Limits.ApprovalTime = max(config.Limits.ApprovalTime, 0)
	r.number++
	r.do(t, sagas.Fork{
		Meta: r.outside(), Agent: events.AgentID(fmt.Sprintf("f%d", r.number)), Parent: parent.saga.ID, At: tip, Until: tip + 100, Inputs: tip + 50,
		Time: parent.facts[len(parent.facts)-1].Time, Paper: rapid.Bool().Draw(t, "paper"), Config: config,
		Tape: rapid.SampledFrom([]events.TapeMode{events.TapeFirst, events.TapeLive, events.TapeOffline}).Draw(t, "tape"),
	})
	if r.history.saga.Fork.Parent != parent.saga.ID || len(r.history.facts) == 0 {
		t.Fatalf("agent %s was not forked", parent.saga.ID)
	}
	r.sent = nil // answers to the parent's requests are nobody's
}

// stepMeta makes a command one with which a fork follows its parent.
func stepMeta(meta sagas.Meta, request events.RequestID) sagas.Meta {
	_, revision, err := events.Ref(request).Split()
	if err == nil {
		meta.ID = sagas.StepCommand(revision)
	}
	return meta
}
