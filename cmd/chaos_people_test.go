//go:build linux

package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// The agents of a world. Those of the bus are sent their messages as commands that are published; the clerks ask before they write, and again before they
// repeat what was cut off.
var (
	chaosSenders = agentNames("a", 3)
	chaosBus     = agentNames("b", 2)
	chaosClerks  = agentNames("c", 2)
)

const (
	chaosParent = events.AgentID("parent") // the one that is forked; it is idle
	chaosForks  = 6                        // at most
)

// people are the senders, the approvers and the programs of a world. They are as stubborn as people are: what may not have been accepted is done again, under
// its id, in this session or in a later one.
type people struct {
	w      *chaosWorld
	random *rand.Rand
	made   map[events.AgentID]int
	open   map[events.AgentID]*errand // what may not have been accepted
	known  map[events.AgentID][]string
	forks  []events.AgentID
	bused  []events.CommandID

	misunderstood int
}

// errand is one command, and what is true once it is accepted.
type errand struct {
	name     string
	try      func(context.Context, *api.Client) error
	accepted func()
}

func newPeople(w *chaosWorld, seed uint64) *people {
	p := &people{
		w: w, random: rand.New(rand.NewPCG(seed, 0)), made: map[events.AgentID]int{}, //nolint:gosec // choices of a test
		open: map[events.AgentID]*errand{}, known: map[events.AgentID][]string{},
	}
	create := func(agent events.AgentID, model, tools string, flags ...string) {
		w.check(os.Mkdir(w.workspace(agent), 0o700))
		w.run(append([]string{"agents", "create", string(agent), "--model", model, "--workspace", w.workspace(agent), "--tools", tools, "--limit-queue", "1000"}, flags...)...)
	}
	for _, agent := range append(slices.Clone(chaosSenders), chaosBus...) {
		create(agent, "scripted/chaos.yaml", "append_line,bash,write_file", "--on-lost", "tell")
	}
	for _, agent := range chaosClerks {
		create(agent, "scripted/line.yaml", "append_line", "--ask", "append_line", "--on-lost", "ask")
	}
	create(chaosParent, "scripted/line.yaml", "append_line")
	for i := range 3 {
		w.run("send", string(chaosParent), fmt.Sprint("before ", i), "--wait", "--quiet")
	}
	return p
}

// busy works until ctx ends, now at this host and now at that.
func (p *people) busy(ctx context.Context, clients []*api.Client) {
	p.send(ctx, clients)
	for ctx.Err() == nil {
		client := clients[p.random.IntN(len(clients))]
		p.approve(ctx, client)
		switch p.random.IntN(6) {
		case 0:
			p.fork(ctx, client)
		case 1, 2:
			name := []string{"balance", "spending", "approvals", "failures"}[p.random.IntN(4)]
			if _, err := client.Query(ctx, projector.Question{Projection: name}, nil); err == nil {
				p.w.count("queries answered", 1)
			}
		default:
			p.send(ctx, clients)
		}
		wait(ctx, time.Duration(p.random.IntN(40))*time.Millisecond)
	}
}

// run tries an errand that is open for an agent.
func (p *people) run(ctx context.Context, client *api.Client, agent events.AgentID) {
	e := p.open[agent]
	if e == nil {
		return
	}
	err := e.try(ctx, client)
	if refusal := new(sagas.RefusalError); errors.As(err, &refusal) {
		p.w.t.Errorf("%s: %v", e.name, err)
	}
	if err == nil {
		e.accepted()
		delete(p.open, agent)
	}
}

// send gives messages to some of the agents that have none on the way.
func (p *people) send(ctx context.Context, clients []*api.Client) {
	for _, agent := range slices.Concat(chaosSenders, chaosBus, chaosClerks) {
		if p.open[agent] == nil && p.random.IntN(3) == 0 && ctx.Err() == nil {
			p.made[agent]++
			text := fmt.Sprintf("%s-says-%d", agent, p.made[agent])
			p.open[agent] = p.message(agent, text)
		}
		p.run(ctx, clients[p.random.IntN(len(clients))], agent)
	}
}

func (p *people) message(agent events.AgentID, text string) *errand {
	id := events.CommandID(text)
	e := &errand{name: text, accepted: func() { p.known[agent] = append(p.known[agent], text) }}
	e.try = func(ctx context.Context, client *api.Client) error {
		_, err := client.Do(ctx, events.AgentStream(agent), sagas.Send{
			Meta: sagas.Meta{ID: id, At: storage.Now()}, Verb: events.Followup, Text: events.Text{Inline: text},
		}, actors.Origin{Actor: "chaos"})
		return err
	}
	if slices.Contains(chaosBus, agent) {
		p.bused = append(p.bused, id)
		e.try = func(ctx context.Context, client *api.Client) error {
			data := fmt.Appendf(nil, `{"agent":%q,"text":%q}`, agent, text)
			return client.Publish(ctx, sagas.DefaultTenant, api.BusCommand{ID: id, Type: "SendMessage", Data: data}, actors.Origin{Actor: "chaos"})
		}
	}
	return e
}

// approve answers what the inbox shows, at times twice and in two ways: the second answer must come to nothing. At times it first gives an answer to something
// else than what is shown, which must be refused.
func (p *people) approve(ctx context.Context, client *api.Client) {
	answer, err := client.Query(ctx, projector.Question{Projection: "approvals", Query: projections.Query{Name: "waiting"}}, nil)
	if err != nil {
		return
	}
	var inbox projections.Inbox
	if err := json.Unmarshal(answer.Answer, &inbox); err != nil {
		p.w.t.Errorf("the inbox: %v", err)
	}
	for i := range inbox.Approvals {
		shown := &inbox.Approvals[i]
		stream, cutOff := events.AgentStream(shown.Agent), strings.HasPrefix(shown.Reason, "its effect is unknown")
		if p.random.IntN(4) == 0 {
			p.misunderstand(ctx, client, shown, cutOff)
		}
		for n := range 1 + p.random.IntN(2) {
			meta := sagas.Meta{ID: events.CommandID(fmt.Sprintf("answer-%d-%d", shown.Event, p.random.IntN(3))), At: storage.Now()}
			var answer sagas.Command = sagas.Approve{Meta: meta, Turn: shown.Turn, Call: shown.Call, Digest: shown.Digest, Again: cutOff, By: "chaos"}
			if p.random.IntN(5) == 0 {
				answer = sagas.Deny{Meta: meta, Turn: shown.Turn, Call: shown.Call, Digest: shown.Digest, By: "chaos"}
			}
			if _, err := client.Do(ctx, stream, answer, actors.Origin{Actor: "chaos"}); err == nil && n == 0 {
				p.w.count("approvals answered", 1)
			}
		}
	}
}

// misunderstand approves other arguments than those that are shown, a call of the turn before, or the repetition of one that was cut off without saying so.
func (p *people) misunderstand(ctx context.Context, client *api.Client, shown *projections.WaitingCall, cutOff bool) {
	p.misunderstood++
	answer := sagas.Approve{
		Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("mistaken-", p.misunderstood)), At: storage.Now()},
		Turn: shown.Turn, Call: shown.Call, Digest: shown.Digest, Again: true, By: "chaos",
	}
	switch before := shown.Turn.Number() - 1; {
	case cutOff:
		answer.Again = false
	case before > 0 && p.random.IntN(2) == 0:
		answer.Turn = events.NewTurnID(shown.Agent, before)
	default:
		answer.Digest = strings.Repeat("0", len(shown.Digest))
	}
	if _, err := client.Do(ctx, events.AgentStream(shown.Agent), answer, actors.Origin{Actor: "chaos"}); err == nil {
		p.w.t.Errorf("%+v was accepted for %+v", answer, *shown)
	} else if refusal := new(sagas.RefusalError); errors.As(err, &refusal) {
		p.w.count("mistaken answers refused", 1)
	}
}

// fork makes a fork of the parent.
func (p *people) fork(ctx context.Context, client *api.Client) {
	if p.open[chaosParent] == nil && len(p.forks) < chaosForks && p.random.IntN(4) == 0 {
		name := events.AgentID(fmt.Sprint("fork", len(p.forks)))
		p.forks = append(p.forks, name)
		p.open[chaosParent] = &errand{name: string(name), accepted: func() { p.w.count("forks", 1) }, try: func(ctx context.Context, client *api.Client) error {
			_, err := client.Fork(ctx, actors.ForkOrder{ID: events.CommandID("fork-" + name), Parent: chaosParent, At: 0, Name: name}, actors.Origin{Actor: "chaos"})
			return err
		}}
	}
	p.run(ctx, client, chaosParent)
}

// rest answers and waits until nothing is open and no agent has anything to do.
func (p *people) rest(ctx context.Context, client *api.Client) {
	for ; ctx.Err() == nil; wait(ctx, 10*time.Millisecond) {
		for agent := range p.open {
			p.run(ctx, client, agent)
		}
		p.approve(ctx, client)
		list, err := client.Agents(ctx, projections.AgentFilter{})
		busy := len(p.open)
		for i := range list {
			if list[i].Open() || list[i].Waiting > 0 {
				busy++
			}
		}
		if err == nil && busy == 0 && p.received(ctx, client) {
			return
		}
	}
	text := ""
	for _, agent := range slices.Concat(chaosSenders, chaosBus, chaosClerks, p.forks) {
		history := p.w.run("history", string(agent))
		text += history[max(0, len(history)-1500):] + "\n"
	}
	p.w.t.Fatalf("the world does not come to rest; open: %v\n%s", p.open, text)
}

// last publishes one more command and waits for its reply: those of all others are there then.
func (p *people) last() {
	agent, text := chaosBus[0], "the-last"
	p.w.run("send", string(agent), text, "--via", "bus", "--wait", "--id", text)
	p.known[agent] = append(p.known[agent], text)
	p.bused = append(p.bused, events.CommandID(text))
}

// received reports whether the agents of the bus have what was published.
func (p *people) received(ctx context.Context, client *api.Client) bool {
	for _, agent := range chaosBus {
		state, err := client.State(ctx, agent, events.NoRevision)
		if err != nil || state.Agent.Received < len(p.known[agent]) {
			return false
		}
	}
	return true
}

// lost counts the calls that were lost.
func (p *people) lost(ctx context.Context, client *api.Client) (n int) {
	for agent := range p.known {
		for _, event := range p.w.history(ctx, client, agent) {
			if _, lost := event.(events.ToolLost); lost {
				n++
			}
		}
	}
	return n
}
