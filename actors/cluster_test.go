package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// hosts are several hosts on one store, in a synctest bubble.
type hosts struct {
	t       *testing.T
	store   *actorstest.Memory
	reads   *readCounts // of the store, by hosts that are members
	blobs   *actorstest.Blobs
	cluster *actorstest.Cluster
	config  actors.Config // of each

	mu    sync.Mutex
	all   []*member
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
	h.reads = &readCounts{Memory: h.store, reads: map[events.Stream]int{}}
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
	config.Name, config.Blobs, config.Journal = name, h.blobs, node.Journal(h.reads)
	config.Tools = append(slices.Clone(config.Tools), h.line(name, node))
	config.Cluster.Member, config.Cluster.Peers = node, node
	host := start(h.t, config)
	node.Serve(host)
	h.t.Cleanup(func() {
		if view := h.cluster.View(); view.Members[node.Self()].ID != "" { // closing is not leaving: others are not to wait for it
			h.cluster.Apply(events.HostRemoved{Host: node.Self(), By: "test", Because: events.RemovedAsked})
		}
	})
	m := &member{host, node, name}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, m)
	return m
}

// other is the next host. The lock is held.
func (h *hosts) other(than *member) *member {
	return h.all[(slices.Index(h.all, than)+1)%len(h.all)]
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

// waitsInTool has an agent of a host wait in its tool, at a gate.
func (h *hosts) waitsInTool(m *member, id events.AgentID, text string) (open func()) {
	h.t.Helper()
	gate := h.gate(text)
	do(h.t, m.Host, id, agentWith(id))
	do(h.t, m.Host, id, say("m-"+string(id), text))
	<-h.began
	return func() { close(gate) }
}

// both runs a test with two hosts that know of each other, and with two that do not, as hosts were before there were clusters.
func both(t *testing.T, run func(t *testing.T, h *hosts, host func(name string) *member, clustered bool)) {
	t.Helper()
	for name, clustered := range map[string]bool{"clustered": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHosts(t)
				host := func(name string) *member { return h.alone(name) }
				if clustered {
					host = func(name string) *member { return h.join(name) }
				}
				run(t, h, host, clustered)
			})
		})
	}
}

// TestSecondHostStarts: a host that starts beside one takes nothing from it that runs.
func TestSecondHostStarts(t *testing.T) {
	both(t, func(t *testing.T, h *hosts, host func(string) *member, clustered bool) {
		a := host("a")
		var open []func()
		var agents []events.AgentID
		for i := range 8 { // some of which will be b's
			id := events.AgentID(fmt.Sprintf("demo%d", i))
			agents, open = append(agents, id), append(open, h.waitsInTool(a, id, "line "+string(id)))
		}
		b := host("b")
		<-time.After(5 * time.Second)
		for _, end := range open {
			end()
		}
		lost := 0
		for _, id := range agents {
			h.until("turns end, or wait for a person", func() bool {
				n := len(h.stored(events.AgentStream(id), "tool.lost"))
				return n > 0 || h.ended(id, 1)()
			})
			lost += len(h.stored(events.AgentStream(id), "tool.lost"))
		}
		if !clustered {
			if lost == 0 {
				t.Error("hosts that do not know of each other lose nothing: this test shows nothing")
			}
			return
		}
		if lost != 0 || a.TakeOvers()+b.TakeOvers() != 0 {
			t.Errorf("%d calls were lost, %d and %d entities taken over", lost, a.TakeOvers(), b.TakeOvers())
		}
		h.invariants(a, agents...)
		if n := len(h.written()); n != len(agents) {
			t.Errorf("%d lines", n)
		}
		h.until("all is settled", func() bool { return a.Settled() == h.cluster.View().Epoch && b.Settled() == h.cluster.View().Epoch })
	})
}

// TestCancelElsewhere: a turn is cancelled at any host, and its process ends.
func TestCancelElsewhere(t *testing.T) {
	both(t, func(t *testing.T, h *hosts, host func(string) *member, clustered bool) {
		a, b := host("a"), host("b")
		id := events.AgentID("demo")
		if clustered {
			id = h.owned(a, "demo")
		}
		open := h.waitsInTool(a, id, "never")
		cancel := sagas.Cancel{Meta: meta("stop")}
		if _, err := b.Do(t.Context(), events.AgentStream(id), cancel, actors.Origin{}); err != nil && clustered {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		open()
		synctest.Wait()
		if n := len(h.written()); clustered != (n == 0) {
			t.Errorf("%d lines", n)
		}
	})
}

// TestSnapshotAtTheSuccessor: the fold of a long history is at the successor before its host dies, and only there; that of a short one is nowhere else.
func TestSnapshotAtTheSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		kept := map[events.HostID]*actorstest.Memory{}
		for _, name := range []string{"a", "b", "c"} {
			own := actorstest.NewMemory()
			kept[h.join(name, func(_ *events.HostJoined, c *actors.Config) { c.Snapshots = own }).node.Self()] = own
		}
		at := h.all[0]
		long, short := h.owned(at, "long"), h.owned(at, "short")
		for id, changes := range map[events.AgentID]int{long: 2 * storage.SnapshotEvery, short: 10} {
			h.send(at, events.AgentStream(id), agentWith(id))
			for n := range changes {
				config := agentWith(id).Config
				config.Prompt = strconv.Itoa(n)
				h.send(at, events.AgentStream(id), sagas.Configure{Meta: meta(fmt.Sprintf("%s-%d", id, n)), Config: config})
			}
		}
		has := func(host events.HostID, id events.AgentID) bool {
			_, found, err := kept[host].Load(t.Context(), history.AgentFold().Name, events.AgentStream(id), 1<<62)
			return err == nil && found
		}
		ranked := h.cluster.View().Ranked(events.AgentStream(long))
		h.until("the successor has the fold", func() bool { return has(ranked[1], long) })
		if !has(ranked[0], long) || has(ranked[2], long) {
			t.Errorf("of %v, the first two should have the fold", ranked)
		}
		for _, host := range h.cluster.View().Ranked(events.AgentStream(short))[1:] {
			if has(host, short) {
				t.Errorf("host %s has the fold of a short history, which it can read as quickly", host)
			}
		}
	})
}

// TestSnapshotGoesAlong: who takes an agent over from a host that drains gets its fold, also of a short history; nobody else does.
func TestSnapshotGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		kept := map[events.HostID]*actorstest.Memory{}
		for _, name := range []string{"a", "b", "c"} {
			own := actorstest.NewMemory()
			kept[h.join(name, func(_ *events.HostJoined, c *actors.Config) { c.Snapshots = own }).node.Self()] = own
		}
		a := h.all[0]
		id := h.owned(a, "moves")
		stream := events.AgentStream(id)
		do(t, a.Host, id, agentWith(id))
		do(t, a.Host, id, say("m1", "a line"))
		h.until("the turn ends", h.ended(id, 1))
		if err := a.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		owner, _ := h.cluster.View().Owner(stream)
		has := func(host events.HostID) (at events.Revision, found bool) {
			saved, found, err := kept[host].Load(t.Context(), history.AgentFold().Name, stream, 1<<62)
			if err != nil {
				t.Error(err)
			}
			return saved.Revision, found
		}
		h.until("the new owner has the fold", func() bool { _, found := has(owner); return found })
		page, err := h.store.Read(t.Context(), stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := has(owner); at != page.Events[0].Revision {
			t.Errorf("the fold is of revision %d, and history ends at %d", at, page.Events[0].Revision)
		}
		for id := range kept {
			if _, found := has(id); found && id != owner && id != a.node.Self() {
				t.Errorf("host %s, to which it did not move, has the fold", id)
			}
		}
	})
}

// TestKilled: what a host worked on goes on elsewhere; what it had begun and cannot be repeated is lost only after the fencing delay.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b, c := h.join("a"), h.join("b"), h.join("c")
		waits, works := h.owned(a, "waits"), h.owned(a, "works")
		h.waitsInTool(a, waits, "begun")
		do(t, b.Host, works, agentWith(works))
		h.kill(a)
		killed := time.Now()
		do(t, b.Host, works, say("m", "elsewhere"))
		h.until("the turn ends", h.ended(works, 1))
		if took := time.Since(killed); took > 500*time.Millisecond {
			t.Errorf("answered after %s", took)
		}
		h.until("the call is lost", func() bool { return len(h.stored(events.AgentStream(waits), "tool.lost")) == 1 })
		if took := time.Since(killed); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("lost after %s", took)
		}
		lost, err := h.stored(events.AgentStream(waits), "tool.lost")[0].Event()
		if err != nil || lost.(events.ToolLost).Host != string(a.node.Self()) {
			t.Errorf("%+v, %v", lost, err)
		}
		do(t, c.Host, waits, sagas.Deny{Meta: meta("no"), Turn: events.NewTurnID(waits, 1), Call: "1.1"})
		h.until("the turn ends", h.ended(waits, 1))
		h.invariants(b, waits, works)
	})
}

// TestPausedBeforeItsEffect: a host that was stopped between a claim and its effect, taken over and woken, does not begin it.
// Without the fence it does.
func TestPausedBeforeItsEffect(t *testing.T) {
	for name, pause := range map[string]time.Duration{"short": time.Second, "long": 20 * time.Second, "unfenced": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHosts(t)
				h.cluster.Unfenced = name == "unfenced"
				a, b := h.join("a"), h.join("b")
				id := h.owned(a, "demo")
				do(t, a.Host, id, agentWith(id))
				claimed := make(chan struct{})
				var once sync.Once
				h.store.FailAfter(func(stream events.Stream, _ []events.Envelope) error {
					if category, _ := stream.Split(); category == events.EffectCategory {
						once.Do(func() {
							a.node.Pause()
							close(claimed)
						})
					}
					return nil
				})
				do(t, b.Host, id, say("m", "once"))
				<-claimed
				<-time.After(900 * time.Millisecond)
				h.cluster.Remove(a.node)
				<-time.After(pause)
				a.node.Resume()
				lost := func() bool { return len(h.stored(events.AgentStream(id), "tool.lost")) == 1 }
				if name == "unfenced" {
					h.until("the line is written by the host that woke", func() bool { return len(h.written()) == 1 })
				}
				h.until("it is lost, or known not to have begun", func() bool { return lost() || h.ended(id, 1)() })
				want := 0
				if lost() { // as the model would, told so, if it may
					want = 1
					do(t, b.Host, id, sagas.Approve{Meta: meta("again"), Turn: events.NewTurnID(id, 1), Call: "1.1", Again: true})
				} else if pause > 5*time.Second {
					t.Error("the fencing delay was over, and nothing was lost")
				}
				h.until("the turn ends", h.ended(id, 1))
				if name == "unfenced" {
					if n := len(h.written()); n != 2 {
						t.Errorf("without a fence %d lines: this test shows nothing", n)
					}
					return
				}
				if n := len(h.written()); n != want {
					t.Errorf("%d lines", n)
				}
				h.invariants(b, id)
			})
		})
	}
}

// TestHolderHasTheResult: an owner that activated an agent although another host still works on it hears the result from there: nothing is lost, and
// nothing is done twice.
func TestHolderHasTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a := h.join("a")
		ids := []events.AgentID{"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"}
		var open []func()
		for _, id := range ids {
			open = append(open, h.waitsInTool(a, id, "line "+string(id)))
		}
		b := h.join("b", func(*events.HostJoined, *actors.Config) { // which hears nothing from a, and waits in vain
			for _, member := range []*member{a} {
				member.node.Pause()
			}
		})
		<-time.After(2 * time.Second)
		var moved []events.AgentID
		for _, id := range ids {
			if owner, _ := h.cluster.View().Owner(events.AgentStream(id)); owner == b.node.Self() {
				moved = append(moved, id)
				do(t, b.Host, id, say("next", "line after "+string(id)))
			}
		}
		a.node.Resume()
		<-time.After(3 * time.Second)
		for _, end := range open {
			end()
		}
		for _, id := range ids {
			h.until("the turn ends", h.ended(id, 1))
			if n := len(h.stored(events.AgentStream(id), "tool.lost")); n != 0 {
				t.Errorf("%s lost %d calls", id, n)
			}
		}
		for _, id := range moved {
			h.until("the next turn ends", h.ended(id, 2))
		}
		if len(moved) == 0 || h.cluster.Calls()["runs"] == 0 {
			t.Errorf("%d agents moved, %v was asked: this test shows nothing", len(moved), h.cluster.Calls())
		}
		h.invariants(b, ids...)
	})
}

// TestDrained: a host that drains hands over what it holds at safe points, refuses nothing, and leaves.
func TestDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b, c := h.join("a"), h.join("b"), h.join("c")
		agents := h.load([]*member{a, b, c}, 24, 5, func() {
			<-time.After(20 * time.Millisecond)
			if err := a.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if a.Live() != 0 {
				t.Errorf("%d entities are left", a.Live())
			}
		})
		for _, id := range agents {
			if n := len(h.stored(events.AgentStream(id), "tool.lost")); n != 0 {
				t.Errorf("%s lost %d calls", id, n)
			}
		}
		if n := a.TakeOvers() + b.TakeOvers() + c.TakeOvers(); n != 0 {
			t.Errorf("%d take-overs", n)
		}
		h.invariants(b, agents...)
		if n := len(h.written()); n != 24*5 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestDrainWithoutStore: a host whose store goes away as it drains gives up in some seconds, and its agents go on when others have removed it.
func TestDrainWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a := h.join("a")
		h.join("b")
		if err := a.Pulse(t.Context()); err != nil {
			t.Error(err)
		}
		id := h.owned(a, "demo")
		do(t, a.Host, id, agentWith(id))
		gate := h.gate("x")
		do(t, a.Host, id, say("m1", "x"))
		<-h.began
		began := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- a.Drain(t.Context()) }()
		<-time.After(time.Second)
		a.node.Away(true)
		close(gate)
		err := <-drained
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "the store does not answer for 5s: nothing can be handed over") || took > 7*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		h.kill(a)
		h.until("another host knows what became of the call", func() bool {
			return len(h.stored(events.AgentStream(id), "tool.lost")) == 1
		})
	})
}

// load has agents sent messages at hosts in turn, each agent's one after the other, while something else happens; and waits until all have ended.
func (h *hosts) load(at []*member, count, messages int, meanwhile func()) []events.AgentID {
	h.t.Helper()
	var all sync.WaitGroup
	var agents []events.AgentID
	for i := range count {
		id := events.AgentID(fmt.Sprintf("load%d", i))
		agents = append(agents, id)
		all.Go(func() {
			h.send(at[i%len(at)], events.AgentStream(id), agentWith(id))
			for n := range messages {
				message := say(fmt.Sprintf("%s-%d", id, n), fmt.Sprintf("%s line %d", id, n))
				message.Verb = events.Followup
				h.send(at[(i+n)%len(at)], events.AgentStream(id), message)
				<-time.After(time.Duration(i%7) * time.Millisecond)
			}
		})
	}
	meanwhile()
	all.Wait()
	for _, id := range agents {
		h.until("all turns of "+string(id)+" end", func() bool {
			return len(h.stored(events.AgentStream(id), "turn.ended")) == messages
		})
	}
	return agents
}

// send sends a command as a client does: again, with the same id, until it is answered, at another host if this one is gone.
func (h *hosts) send(at *member, stream events.Stream, command sagas.Command) {
	var err error
	for range 3000 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err = at.Do(ctx, stream, command, actors.Origin{Actor: "test"})
		cancel()
		var refused *sagas.RefusalError
		if err == nil {
			return
		}
		if errors.As(err, &refused) {
			h.t.Errorf("%s: %v", stream, err)
			return
		}
		h.mu.Lock()
		at = h.other(at)
		h.mu.Unlock()
		<-time.After(20 * time.Millisecond)
	}
	h.t.Errorf("%s: no answer: %v", stream, err)
}

// TestThirdHost: two hosts that do not reach each other ask by way of a third.
func TestThirdHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b, _ := h.join("a"), h.join("b"), h.join("c")
		h.cluster.Cut(a.node, b.node, true)
		id := h.owned(b, "demo")
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		if _, err := a.Do(ctx, events.AgentStream(id), agentWith(id), actors.Origin{}); err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		t.Logf("answered after %s", time.Since(began))
	})
}

// TestHeldForAnOwner: a command for a host that is paused waits until the view drops that host; if it never does, for ten seconds.
func TestHeldForAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b := h.join("a"), h.join("b")
		id := h.owned(b, "demo")
		b.node.Pause()
		began := time.Now()
		var away *actors.UnavailableError
		if _, err := a.Do(t.Context(), events.AgentStream(id), agentWith(id), actors.Origin{}); !errors.As(err, &away) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("held for %s", took)
		}
		done := make(chan error, 1)
		go func() {
			_, err := a.Do(t.Context(), events.AgentStream(id), agentWith(id), actors.Origin{})
			done <- err
		}()
		<-time.After(time.Second)
		h.cluster.Remove(b.node)
		removed := time.Now()
		if err := <-done; err != nil || time.Since(removed) > 100*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(removed))
		}
		b.node.Resume()
	})
}

// TestIneligible: what its owner cannot hold lives on the next host that can, and if there is none, whoever asks is told why.
func TestIneligible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a := h.join("a", func(_ *events.HostJoined, c *actors.Config) { c.Tools = append(c.Tools, echo()) })
		b := h.join("b")
		id := h.owned(b, "demo")
		c := create(id, "echo")
		_, err := b.Do(t.Context(), events.AgentStream(id), c, actors.Origin{})
		var refused *sagas.RefusalError
		if !errors.As(err, &refused) { // its owner completes it, and has no such tool
			t.Fatal(err)
		}
		h.kill(b)
		do(t, a.Host, id, c)
		b = h.join("b")
		do(t, b.Host, id, say("m1", "x"))
		do(t, a.Host, id, say("m2", "y"))
		h.until("the turns end", func() bool {
			stream := events.AgentStream(id)
			taken := 0
			for _, e := range h.stored(stream, "turn.started") {
				event, _ := e.Event()
				taken += len(event.(events.TurnStarted).Messages)
			}
			return taken == 2 && len(h.stored(stream, "turn.ended")) == len(h.stored(stream, "turn.started"))
		})
		for _, e := range h.stored(events.AgentStream(id), "message.received") {
			if e.Host != a.node.Self() {
				t.Errorf("%s decided by %s", e.Ref(), e.Host)
			}
		}
		h.kill(a)
		var away *actors.UnavailableError
		if _, err = b.Do(t.Context(), events.AgentStream(id), say("m3", "z"), actors.Origin{}); !errors.As(err, &away) || !errors.As(err, new(*actors.IneligibleError)) {
			t.Errorf("%v", err)
		}
		if n := len(h.stored(events.AgentStream(id), "agent.quarantined")); n != 0 {
			t.Error("it is quarantined")
		}
		h.invariants(b, id)
	})
}

// TestStandInDrains: a host that holds an agent for an owner that cannot lets go of it when it is to end, and another host that can holds it.
func TestStandInDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, others := range []bool{true, false} {
			h := newHosts(t)
			able := func(_ *events.HostJoined, c *actors.Config) { c.Tools = append(c.Tools, echo()) }
			a, b := h.join("a", able), h.join("b")
			id := h.owned(b, "demo")
			c := create(id, "echo")
			h.kill(b)
			do(t, a.Host, id, c)
			b = h.join("b")
			do(t, b.Host, id, say("m1", "x"))
			if others {
				h.join("c", able)
			}
			began := time.Now()
			if err := a.Drain(t.Context()); err != nil || time.Since(began) > 30*time.Second {
				t.Errorf("others: %v: after %s: %v", others, time.Since(began), err)
			}
			_, err := b.Do(t.Context(), events.AgentStream(id), say("m2", "y"), actors.Origin{})
			if others && err != nil || !others && !errors.As(err, new(*actors.IneligibleError)) {
				t.Errorf("others: %v: %v", others, err)
			}
		}
	})
}

// TestLateStandIn: a host that drains holds nothing for an owner that had not read so when it asked for that, or its drain would never end.
func TestLateStandIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b := h.join("a"), h.join("b")
		busy, late := h.owned(a, "busy"), h.owned(b, "late")
		do(t, a.Host, busy, agentWith(busy))
		do(t, b.Host, late, agentWith(late))
		gate := h.gate("slow")
		do(t, a.Host, busy, say("m1", "slow"))
		<-h.began
		drained := make(chan error, 1)
		go func() { drained <- a.Drain(t.Context()) }()
		h.until("it drains", func() bool { return a.node.View().Members[a.node.Self()].State == cluster.StateDraining })
		synctest.Wait()
		unfit := []events.HostID{b.node.Self()}
		a.ServePeer(t.Context(), b.node.Self(), actors.PeerCall{Unfit: unfit, Take: &actors.PeerTake{Streams: []events.Stream{events.AgentStream(late)}}})
		synctest.Wait()
		if n := a.Live(); n != 1 {
			t.Errorf("%d entities are there", n)
		}
		close(gate)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if _, err := a.Do(t.Context(), events.AgentStream(late), say("m2", "x"), actors.Origin{}); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("a host that has left, and is about to close, says %v: clients ask another one only if it says that it is closing", err)
		}
	})
}

// TestNewerEvent: an event that a build does not know makes an agent unavailable there, and nothing is recorded about it.
func TestNewerEvent(t *testing.T) {
	both(t, func(t *testing.T, h *hosts, host func(string) *member, _ bool) {
		a := host("a")
		do(t, a.Host, "demo", agentWith("demo"))
		do(t, a.Host, "demo", say("m0", "a line"))
		h.until("the turn ends", h.ended("demo", 1))
		for _, m := range []*member{a} { // forgotten, or it would not be read
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = m.Close(ctx)
		}
		if a.node != nil {
			h.cluster.Remove(a.node)
		}
		page, err := h.store.Read(t.Context(), "agent-demo", storage.Latest, storage.Backward, storage.Limit{Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		last := page.Events[0]
		newer := last
		newer.ID, newer.Kind, newer.Version, newer.Data = uuid.New(), "agent.improved", 1, json.RawMessage(`{}`)
		newer.Digest = last.Digest.Next(newer.Kind, newer.Data)
		if _, err := h.store.Append(t.Context(), "agent-demo", storage.ExpectRevision(last.Revision), []events.Envelope{newer}); err != nil {
			t.Fatal(err)
		}
		b := host("b")
		for i := range 12 {
			var away *actors.UnavailableError
			_, err := b.Do(t.Context(), "agent-demo", say(fmt.Sprint("m", i+1), "x"), actors.Origin{})
			if !errors.As(err, &away) || !strings.Contains(err.Error(), "agent.improved") {
				t.Fatalf("%d: %v", i, err)
			}
			<-time.After(45 * time.Second)
		}
		if n := len(h.stored("agent-demo", "agent.quarantined")); n != 0 {
			t.Error("it is quarantined")
		}
	})
}

// TestMostLive: a host that holds as much as it may leaves the rest to others.
func TestMostLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a := h.join("a", func(_ *events.HostJoined, c *actors.Config) { c.Cluster.MaxLive = 3 })
		b := h.join("b")
		for i := range 20 {
			id := events.AgentID(fmt.Sprintf("demo%d", i))
			do(t, []*member{a, b}[i%2].Host, id, agentWith(id))
		}
		if a.Live() > 3 || a.Live()+b.Live() < 20 {
			t.Errorf("a holds %d, b %d", a.Live(), b.Live())
		}
	})
}

// TestFaults has hosts killed, paused, cut off and joined at random, under load.
func TestFaults(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { faults(t, rand.New(rand.NewPCG(seed, 14))) })
		})
	}
}

func faults(t *testing.T, random *rand.Rand) {
	h := newHosts(t)
	all := []*member{h.join("a"), h.join("b"), h.join("c")}
	var agents []events.AgentID
	joins := 0
	agents = h.load(slices.Clone(all), 20, 6, func() {
		for range 6 {
			<-time.After(time.Duration(random.IntN(40)) * time.Millisecond)
			victim := all[random.IntN(len(all))]
			switch random.IntN(5) {
			case 0: // killed, and started again
				h.kill(victim)
				joins++
				again := h.join(victim.name)
				h.mu.Lock()
				h.all[slices.Index(h.all, victim)] = again
				h.mu.Unlock()
				all[slices.Index(all, victim)] = again
			case 1: // paused for less than others wait
				victim.node.Pause()
				<-time.After(time.Duration(random.IntN(1000)) * time.Millisecond)
				victim.node.Resume()
			case 2: // a way cut
				other := all[random.IntN(len(all))]
				h.cluster.Cut(victim.node, other.node, true)
				<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
				h.cluster.Cut(victim.node, other.node, false)
			case 3: // the store away
				for _, m := range all {
					m.node.Away(true)
				}
				<-time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
				for _, m := range all {
					m.node.Away(false)
				}
			case 4: // stopped, held for dead, and woken
				victim.node.Pause()
				<-time.After(time.Second)
				h.cluster.Remove(victim.node)
				<-time.After(time.Duration(random.IntN(6000)) * time.Millisecond)
				victim.node.Resume()
				again := h.join(victim.name)
				h.mu.Lock()
				h.all[slices.Index(h.all, victim)] = again
				h.mu.Unlock()
				all[slices.Index(all, victim)] = again
			}
		}
	})
	h.invariants(all[0], agents...)
}
