package actors_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// readCounts is a store that counts how often each stream is read.
type readCounts struct {
	*actorstest.Memory
	mu    sync.Mutex
	reads map[events.Stream]int
}

func (r *readCounts) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	r.mu.Lock()
	r.reads[stream]++
	r.mu.Unlock()
	return r.Memory.Read(ctx, stream, from, direction, limit)
}

// during counts the reads of a stream while something is done.
func (r *readCounts) during(stream events.Stream, do func()) int {
	count := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.reads[stream]
	}
	before := count()
	do()
	return count() - before
}

// TestRetryReadsNothing: a command that is sent again, at whichever host, costs a read only if a host that did not decide it answers, and only the first time.
func TestRetryReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b, c := h.join("a"), h.join("b"), h.join("c")
		id := h.owned(b, "demo")
		do(t, a.Host, id, agentWith(id))
		first := do(t, a.Host, id, say("m", "a line"))
		h.until("the turn ends", h.ended(id, 1))
		retried := func(when string, want int, at ...*member) {
			t.Helper()
			<-time.After(time.Second) // what follows from the turn is stored, and those who follow the stream have read it
			reads := h.reads.during(first.Stream, func() {
				for _, m := range at {
					again := do(t, m.Host, id, say("m", "a line"))
					if !again.Duplicate || again.Revision != first.Revision || again.Message != first.Message || again.Turn != first.Turn || again.Position < first.Position {
						t.Errorf("%s, at %s: %+v, first %+v", when, m.name, again, first)
					}
				}
			})
			if reads != want {
				t.Errorf("%s: %d reads, want %d", when, reads, want)
			}
		}
		retried("its host lives", 0, a, b, c, a, b, c)
		<-time.After(10 * time.Minute) // it leaves memory
		do(t, a.Host, id, say("again", "another line"))
		h.until("the turn ends", h.ended(id, 2))
		retried("it was not in memory for a while", 0, a, b, c)
		h.kill(b)
		do(t, a.Host, id, say("after", "a third line")) // it is in memory at its new host
		h.until("the turn ends", h.ended(id, 3))
		retried("its host was killed", 1, a, c, a, c)
	})
}

// TestRetries: an id is accepted once, and answered with what it caused, however often, when and where it is sent again: through crashes, take-overs, passivation and
// several hosts at once. An agent that has accepted so many others since has forgotten it, and accepts it once more: the same ones whatever happened in between.
func TestRetries(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &retries{hosts: newHosts(t), random: rand.New(rand.NewPCG(seed, 36)), caused: map[events.CommandID]actors.Receipt{}, times: map[events.CommandID]int{}}
				r.run()
			})
		})
	}
}

type retries struct {
	*hosts
	random *rand.Rand
	agent  events.AgentID
	window []events.CommandID // that the agent recognises, in the order in which it accepted them
	caused map[events.CommandID]actors.Receipt
	times  map[events.CommandID]int // that it was accepted
	sent   []events.CommandID
}

func (r *retries) run() {
	r.join("a")
	r.join("b")
	r.join("c")
	r.agent = "demo"
	r.deliver(r.all[0], "create-demo", agentWith(r.agent))
	for range 30 {
		switch r.random.IntN(8) {
		case 0, 1:
			r.say(1 + r.random.IntN(5))
		case 2, 3:
			r.again(r.sent[r.random.IntN(len(r.sent))])
		case 4:
			r.fail(r.random.IntN(2) == 0)
		case 5:
			<-time.After(6 * time.Minute) // it leaves memory
		case 6:
			r.say(300) // it forgets
		case 7:
			r.atOnce()
		}
	}
	count := map[events.CommandID]int{}
	for _, kind := range []events.Kind{"agent.created", "agent.configured"} {
		for _, e := range r.stored(events.AgentStream(r.agent), kind) {
			count[e.Command]++
		}
	}
	for id, want := range r.times {
		if count[id] != want {
			r.t.Errorf("%s is in history %d times, and was accepted %d times", id, count[id], want)
		}
	}
	verified(r.t, r.all[0].Host)
}

// any is a host that lives.
func (r *retries) any() *member { return r.all[r.random.IntN(len(r.all))] }

func (r *retries) command(id events.CommandID) sagas.Command {
	if id == "create-demo" {
		return agentWith(r.agent)
	}
	config := agentWith(r.agent).Config
	config.Prompt = string(id)
	return sagas.Configure{Meta: meta(string(id)), Config: config}
}

// say sends commands that are new.
func (r *retries) say(count int) {
	for range count {
		id := events.CommandID(fmt.Sprint("c", len(r.sent)))
		r.deliver(r.any(), id, r.command(id))
	}
}

func (r *retries) recognised(id events.CommandID) bool {
	return slices.Contains(r.window, id)
}

// again sends a command that was accepted some time ago.
func (r *retries) again(id events.CommandID) {
	if r.recognised(id) && id != "create-demo" {
		other := r.command("other").(sagas.Configure)
		other.ID = id
		var refused *sagas.RefusalError
		if _, err := r.any().Do(r.t.Context(), events.AgentStream(r.agent), other, actors.Origin{}); !errors.As(err, &refused) || refused.Code != sagas.RefusedReuse {
			r.t.Errorf("%s for something else: %v", id, err)
		}
	}
	if id == "create-demo" && !r.recognised(id) {
		return // there is such an agent: refused, as any other that makes it
	}
	r.deliver(r.any(), id, r.command(id))
}

// deliver sends a command at a host, and compares the answer with what must be.
func (r *retries) deliver(at *member, id events.CommandID, command sagas.Command) {
	r.t.Helper()
	receipt, err := at.Do(r.t.Context(), events.AgentStream(r.agent), command, actors.Origin{})
	if err != nil {
		r.t.Fatalf("%s at %s: %v", id, at.name, err)
	}
	r.answered(id, receipt)
}

func (r *retries) answered(id events.CommandID, receipt actors.Receipt) {
	r.t.Helper()
	if before, sent := r.caused[id]; r.recognised(id) {
		if !sent || !receipt.Duplicate || receipt.Revision != before.Revision || receipt.Position < before.Position {
			r.t.Fatalf("%s again: %+v, first %+v", id, receipt, before)
		}
		return
	}
	if receipt.Duplicate || receipt.Revision <= r.caused[id].Revision && r.times[id] > 0 {
		r.t.Fatalf("%s is not known any more: %+v", id, receipt)
	}
	if r.times[id] == 0 {
		r.sent = append(r.sent, id)
	}
	r.caused[id] = receipt
	r.times[id]++
	const window = 256 // as sagas remember
	if len(r.window) >= 2*window {
		r.window = slices.Clone(r.window[len(r.window)-window:])
	}
	r.window = append(r.window, id)
}

// atOnce sends a new command at all hosts at the same time.
func (r *retries) atOnce() {
	id := events.CommandID(fmt.Sprint("c", len(r.sent)))
	receipts, fresh := make([]actors.Receipt, len(r.all)), 0
	var all sync.WaitGroup
	for i, m := range r.all {
		all.Go(func() {
			var err error
			if receipts[i], err = m.Do(r.t.Context(), events.AgentStream(r.agent), r.command(id), actors.Origin{}); err != nil {
				r.t.Errorf("%s at %s: %v", id, m.name, err)
			}
		})
	}
	all.Wait()
	for _, receipt := range receipts {
		if !receipt.Duplicate {
			fresh++
			r.answered(id, receipt)
		}
	}
	for _, receipt := range receipts {
		if receipt.Revision != receipts[0].Revision {
			r.t.Errorf("%s at all hosts at once: %+v", id, receipts)
		}
	}
	if fresh != 1 {
		r.t.Errorf("%s at all hosts at once was accepted %d times: %+v", id, fresh, receipts)
	}
}

// fail has the agent's host die with a command under way, or stop until others have taken over, and start again; the sender tries again elsewhere.
func (r *retries) fail(crash bool) {
	owner, _ := r.cluster.View().Owner(events.AgentStream(r.agent))
	var at int
	for i, m := range r.all {
		if m.node.Self() == owner {
			at = i
		}
	}
	victim, id := r.all[at], events.CommandID(fmt.Sprint("c", len(r.sent)))
	stored := r.random.IntN(2) == 0 // and nobody learns of it
	var once sync.Once
	failing := make(chan struct{})
	hook := func(stream events.Stream, _ []events.Envelope) error {
		if stream == events.AgentStream(r.agent) {
			once.Do(func() {
				if !crash {
					victim.node.Pause()
				}
				close(failing)
			})
			return errors.New("the answer was lost")
		}
		return nil
	}
	if stored {
		r.store.FailAfter(hook)
	} else {
		r.store.Fail(hook)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = victim.Do(ctx, events.AgentStream(r.agent), r.command(id), actors.Origin{})
	}()
	<-failing
	if crash {
		r.kill(victim)
	} else {
		r.cluster.Remove(victim.node)
	}
	r.store.Fail(nil)
	r.store.FailAfter(nil)
	cancel()
	<-done
	next := r.all[(at+1)%len(r.all)]
	receipt, err := next.Do(r.t.Context(), events.AgentStream(r.agent), r.command(id), actors.Origin{})
	if err != nil {
		r.t.Fatalf("%s after its host has failed: %v", id, err)
	}
	if receipt.Duplicate != stored {
		r.t.Errorf("%s: stored %t, and answered %+v", id, stored, receipt)
	}
	receipt.Duplicate = false
	r.answered(id, receipt)
	if !crash { // woken, it knows nothing of what others decided
		victim.node.Resume()
		<-time.After(time.Second)
	}
	r.all[at] = r.join(victim.name)
	r.all = r.all[:3]
}

// TestRetryOfWhatWasForgotten: an id that an agent had forgotten, and accepted once more at another host, is answered with the latter everywhere.
func TestRetryOfWhatWasForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b := h.alone("a"), h.alone("b")
		do(t, a.Host, "demo", agentWith("demo"))
		configure := func(at *member, id string) actors.Receipt {
			config := agentWith("demo").Config
			config.Prompt = id
			return do(t, at.Host, "demo", sagas.Configure{Meta: meta(id), Config: config})
		}
		first := configure(a, "old")
		for i := range 600 {
			configure(b, fmt.Sprint("c", i))
		}
		second := configure(b, "old")
		if second.Duplicate || second.Revision <= first.Revision {
			t.Fatalf("first %+v, and again %+v", first, second)
		}
		configure(a, "next") // it reads what the other one has stored
		for _, at := range []*member{a, b, a} {
			if again := configure(at, "old"); !again.Duplicate || again.Revision != second.Revision || again.Position < second.Position {
				t.Errorf("at %s: %+v, want %+v", at.name, again, second)
			}
		}
	})
}
