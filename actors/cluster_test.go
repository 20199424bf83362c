package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// hosts are several hosts on one store, in a synctest bubble.
type hosts struct {
	t       *testing.T
	store   *actorstest.Memory
	blobs   *actorstest.Blobs
	cluster *actorstest.Cluster
	config  actors.Config // of each

	mu    sync.Mutex
	lines []string // that the tool line wrote, by any host
	gates map[string]chan struct{}
	began chan string // calls of the tool line that wait at a gate
}

// member is one of them.
type member struct {
	*actors.Host
	node *actorstest.ClusterHost
	name string
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	h := &hosts{
		t: t, store: actorstest.NewMemory(), blobs: actorstest.NewBlobs(), cluster: actorstest.NewCluster(),
		gates: map[string]chan struct{}{}, began: make(chan string, 1024),
	}
	h.cluster.Latency = 100 * time.Microsecond
	h.config.Models = oneModel{actorstest.FakeModel(writesALine)}
	return h
}

// writesALine calls the tool line once for each message, with its text, and then says done.
func writesALine(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
	last := q.Messages[len(q.Messages)-1]
	if last.Role == sagas.RoleTool {
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: events.Usage{Input: 10, Output: 5}}, nil
	}
	arguments, err := json.Marshal(map[string]string{"text": last.Text.Inline})
	return actors.ModelResponse{
		Calls: []events.ModelCall{{ID: "x", Tool: "line", Arguments: arguments}}, Stop: events.StopCalls, Usage: events.Usage{Input: 10, Output: 5},
	}, err
}

// line is a tool of a host that cannot be repeated: it writes a line, behind the gate of its text if there is one.
func (h *hosts) line(name string, node *actorstest.ClusterHost) actors.Tool {
	return actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "line", Description: "writes a line", Schema: json.RawMessage(`{"type":"object"}`), Risk: events.RiskHigh},
		Does: func(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			var said struct{ Text string }
			if err := json.Unmarshal(use.Arguments, &said); err != nil {
				return actors.ToolResult{}, err
			}
			h.mu.Lock()
			gate := h.gates[said.Text]
			h.mu.Unlock()
			if gate != nil {
				h.began <- name
				select {
				case <-gate:
				case <-ctx.Done():
					return actors.ToolResult{}, ctx.Err()
				}
			}
			if node != nil {
				if _, err := node.CatchUp(ctx, 0); errors.Is(err, storage.ErrClosed) { // it was killed
					return actors.ToolResult{}, err
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lines = append(h.lines, said.Text)
			return actors.ToolResult{Text: "written by " + name}, nil
		},
	}
}

func (h *hosts) gate(text string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gates[text] = make(chan struct{})
	return h.gates[text]
}

func (h *hosts) written() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

// join starts a host as a member of the cluster.
func (h *hosts) join(name string, change ...func(*events.HostJoined, *actors.Config)) *member {
	h.t.Helper()
	joined, config := events.HostJoined{Name: name}, h.config
	node := (*actorstest.ClusterHost)(nil)
	config.Cluster = &actors.Cluster{}
	for _, c := range change {
		c(&joined, &config)
	}
	node = h.cluster.Join(joined)
	config.Name, config.Blobs, config.Journal = name, h.blobs, node.Journal(h.store)
	config.Tools = append(slices.Clone(config.Tools), h.line(name, node))
	config.Cluster.Member, config.Cluster.Peers = node, node
	host := start(h.t, config)
	node.Serve(host)
	h.t.Cleanup(func() {
		if view := h.cluster.View(); view.Members[node.Self()].ID != "" { // closing is not leaving: others are not to wait for it
			h.cluster.Apply(events.HostRemoved{Host: node.Self(), By: "test", Because: events.RemovedAsked})
		}
	})
	return &member{host, node, name}
}

// alone starts a host without a cluster.
func (h *hosts) alone(name string) *member {
	h.t.Helper()
	config := h.config
	config.Name, config.Blobs, config.Journal = name, h.blobs, h.store
	config.Tools = append(slices.Clone(config.Tools), h.line(name, nil))
	return &member{start(h.t, config), nil, name}
}

// kill ends a host as a crash does, and has the others learn of it.
func (h *hosts) kill(m *member) {
	h.t.Helper()
	m.node.Kill()
	h.cluster.Remove(m.node)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.Close(ctx)
}

// owned is an agent's name that a host owns.
func (h *hosts) owned(m *member, prefix string) events.AgentID {
	h.t.Helper()
	for i := range 1000 {
		id := events.AgentID(fmt.Sprintf("%s%d", prefix, i))
		if owner, _ := h.cluster.View().Owner(events.AgentStream(id)); owner == m.node.Self() {
			return id
		}
	}
	h.t.Fatal("it owns none")
	return ""
}

func agentWith(id events.AgentID) sagas.Create {
	c := create(id, "line")
	c.Meta = meta("create-" + string(id))
	return c
}

// events of a kind in a stream, as the store has them.
func (h *hosts) stored(stream events.Stream, kind events.Kind) []events.Envelope {
	h.t.Helper()
	var found []events.Envelope
	for from := events.Revision(0); ; {
		page, err := h.store.Read(context.Background(), stream, from, storage.Forward, storage.Limit{Events: 4096})
		if err != nil {
			h.t.Fatal(err)
		}
		for i := range page.Events {
			if page.Events[i].Kind == kind {
				found = append(found, page.Events[i])
			}
		}
		if page.End || len(page.Events) == 0 {
			return found
		}
		from = page.Events[len(page.Events)-1].Revision + 1
	}
}

// waits until something is so; in the bubble time passes.
func (h *hosts) until(what string, is func() bool) {
	h.t.Helper()
	for range 6000 {
		if is() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	h.t.Fatalf("after a minute it is not so that %s", what)
}

func (h *hosts) ended(agent events.AgentID, turns int) func() bool {
	return func() bool { return len(h.stored(events.AgentStream(agent), "turn.ended")) >= turns }
}

// checks what must hold whatever happened: each message is in one turn, which ended once; no line was written twice; and every decision verifies.
func (h *hosts) invariants(at *member, agents ...events.AgentID) {
	h.t.Helper()
	for _, agent := range agents {
		stream := events.AgentStream(agent)
		taken, endings := map[events.MessageID]int{}, map[events.TurnID]int{}
		for _, envelope := range h.stored(stream, "turn.started") {
			event, err := envelope.Event()
			if err != nil {
				h.t.Fatal(err)
			}
			for _, message := range event.(events.TurnStarted).Messages {
				taken[message]++
			}
		}
		for _, envelope := range h.stored(stream, "turn.ended") {
			event, err := envelope.Event()
			if err != nil {
				h.t.Fatal(err)
			}
			endings[event.(events.TurnEnded).Turn]++
		}
		messages := h.stored(stream, "message.received")
		if len(taken) != len(messages) {
			h.t.Errorf("%s: %d messages, %d in turns", agent, len(messages), len(taken))
		}
		for message, n := range taken {
			if n != 1 {
				h.t.Errorf("%s: message %s is in %d turns", agent, message, n)
			}
		}
		started := h.stored(stream, "turn.started")
		if len(endings) != len(started) {
			h.t.Errorf("%s: %d turns, of which %d ended", agent, len(started), len(endings))
		}
		for turn, n := range endings {
			if n != 1 {
				h.t.Errorf("%s: turn %s ended %d times", agent, turn, n)
			}
		}
	}
	lines := h.written()
	slices.Sort(lines)
	if n := len(slices.Compact(slices.Clone(lines))); n != len(lines) {
		h.t.Errorf("%d lines, %d different ones", len(lines), n)
	}
	verified(h.t, at.Host)
}

// TestClusterAnswersForAll: whichever host is asked, the entity's own host decides, and nobody takes anything over.
func TestClusterAnswersForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		all := []*member{h.join("a"), h.join("b"), h.join("c")}
		var agents []events.AgentID
		for i := range 30 {
			id := events.AgentID(fmt.Sprintf("agent%d", i))
			agents = append(agents, id)
			do(t, all[i%3].Host, id, agentWith(id))
		}
		for i, id := range agents {
			for turn := range 3 {
				text := fmt.Sprintf("%s turn %d", id, turn)
				do(t, all[(i+turn)%3].Host, id, say(fmt.Sprintf("%s-%d", id, turn), text))
			}
		}
		for _, id := range agents {
			h.until("turns end", func() bool {
				return len(h.stored(events.AgentStream(id), "message.received")) == 3 && len(h.stored(events.AgentStream(id), "turn.ended")) == len(h.stored(events.AgentStream(id), "turn.started"))
			})
		}
		h.invariants(all[0], agents...)
		for _, m := range all {
			if n := m.TakeOvers(); n != 0 {
				t.Errorf("host %s: %d take-overs", m.name, n)
			}
		}
		for _, id := range agents {
			owner, _ := h.cluster.View().Owner(events.AgentStream(id))
			for _, e := range h.stored(events.AgentStream(id), "turn.ended") {
				if e.Host != owner {
					t.Errorf("%s was decided by %s, its owner is %s", e.Ref(), e.Host, owner)
				}
			}
		}
		if calls := h.cluster.Calls(); calls["do"] == 0 {
			t.Errorf("nothing was forwarded: %v", calls)
		}
	})
}
