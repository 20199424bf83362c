package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// tell is a message to an agent.
func tell(agent events.AgentID, text string) Command {
	return Command{events.AgentStream(agent), sagas.Send{Verb: events.Collect, From: "me", Text: events.Text{Inline: text}}}
}

// slowHost decides as a function says, without a lock, and notes how many it is asked at once.
type slowHost struct {
	decide func(ctx context.Context, stream events.Stream, send sagas.Send) error

	mu        sync.Mutex
	now, most int
	decided   map[events.Stream][]string // for the first time, in order
	known     map[events.CommandID]bool
	twice     []events.CommandID // begun while the same entity decided something
	busy      map[events.Stream]bool
}

func newSlowHost(decide func(context.Context, events.Stream, sagas.Send) error) *slowHost {
	return &slowHost{decide: decide, decided: map[events.Stream][]string{}, known: map[events.CommandID]bool{}, busy: map[events.Stream]bool{}}
}

func (h *slowHost) Do(ctx context.Context, stream events.Stream, command sagas.Command, _ actors.Origin) (actors.Receipt, error) {
	send, _ := command.(sagas.Send)
	h.mu.Lock()
	if h.busy[stream] {
		h.twice = append(h.twice, send.ID)
	}
	h.busy[stream] = true
	h.now++
	h.most = max(h.most, h.now)
	h.mu.Unlock()
	err := h.decide(ctx, stream, send)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now--
	h.busy[stream] = false
	if err != nil {
		return actors.Receipt{}, err
	}
	if !h.known[send.ID] { // as an agent knows the ids of what it accepted
		h.known[send.ID] = true
		h.decided[stream] = append(h.decided[stream], send.Inline)
	}
	return actors.Receipt{Stream: stream}, nil
}

func (h *slowHost) of(agent events.AgentID) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.decided[events.AgentStream(agent)])
}

// runWith runs an ingress with another host than the bench's.
func (b *bench) runWith(host Commands) (stop func()) { return b.runHolding(host, mostHeld) }

func (b *bench) runHolding(host Commands, weight int) (stop func()) {
	b.t.Helper()
	in, err := NewIngress(IngressConfig{Commands: host, Journal: b.journal, Groups: b.groups, Tenant: "local"})
	if err != nil {
		b.t.Fatal(err)
	}
	in.weight = weight
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.t.Errorf("the ingress ended with %v", err)
		}
	}
}

// A decision that takes long holds up its own entity: the others' are decided, each in its own order, and at most 64 at once.
func TestASlowDecisionHoldsUpItsEntity(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		host := newSlowHost(func(ctx context.Context, stream events.Stream, _ sagas.Send) error {
			if stream == "agent-slow" {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			pause(ctx, time.Millisecond)
			return nil
		})
		b.send("s1", tell("slow", "first"))
		b.send("s2", tell("slow", "second"))
		const agents, each = 100, 3
		for i := range each {
			for agent := range agents {
				b.send(events.CommandID(fmt.Sprintf("c%d-%d", agent, i)), tell(events.AgentID(fmt.Sprint("a", agent)), fmt.Sprint(i)))
			}
		}
		stop := b.runWith(host)
		elapse(20 * time.Second)
		for agent := range agents {
			b.same("decided", host.of(events.AgentID(fmt.Sprint("a", agent))), []string{"0", "1", "2"})
		}
		b.same("of the slow one", host.of("slow"), nil)
		close(release)
		synctest.Wait()
		elapse(time.Second)
		stop()
		b.same("of the slow one", host.of("slow"), []string{"first", "second"})
		if host.most != 64 || len(host.twice) > 0 {
			t.Errorf("%d decisions at once, want 64; two at once by one entity: %v", host.most, host.twice)
		}
		if n := len(b.read("reply-local")); n != agents*each+2 {
			t.Errorf("%d replies", n)
		}
	})
}

// One that cannot be decided holds up its own entity until it is poisoned.
func TestAPoisonedCommandHoldsUpItsEntity(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		host := newSlowHost(func(_ context.Context, stream events.Stream, send sagas.Send) error {
			if send.Inline == "bad" {
				return &actors.UnavailableError{Stream: stream, Reason: "its circuit is open"}
			}
			return nil
		})
		b.send("p1", tell("ill", "bad"))
		b.send("p2", tell("ill", "good"))
		b.send("w1", tell("well", "one"))
		stop := b.runWith(host)
		b.send("w2", tell("well", "two"))
		synctest.Wait()
		b.same("of the other one, at once", host.of("well"), []string{"one", "two"})
		b.same("of the one that cannot decide", host.of("ill"), nil)
		elapse(5 * time.Minute)
		stop()
		if list := b.list(); len(list) != 1 || list[0].Command != "p1" {
			t.Errorf("poisoned %+v", list)
		}
		b.same("behind the poisoned one", host.of("ill"), []string{"good"})
	})
}

// An ingress that ends finishes what is under way, begins nothing more, and leaves the rest to the next one; one that is tried again is not waited for.
func TestIngressLeavesWhenWhatItHoldsIsDone(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		host := newSlowHost(func(ctx context.Context, stream events.Stream, _ sagas.Send) error {
			switch stream {
			case "agent-ill":
				return &actors.UnavailableError{Stream: stream, Reason: "its circuit is open"}
			case "agent-stuck":
				<-ctx.Done()
				return ctx.Err()
			}
			pause(ctx, time.Second)
			return nil
		})
		b.send("a1", tell("a", "one"))
		b.send("a2", tell("a", "two"))
		b.send("i1", tell("ill", "never"))
		stop := b.runWith(host)
		began := time.Now()
		stop()
		b.same("finished", host.of("a"), []string{"one"})
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s to leave", took)
		}
		b.same("replies", b.replies(), []string{`command.accepted {"command":"a1","type":"SendMessage","receipt":{"stream":"agent-a","revision":"0","position":"0"}}`})
		b.send("x1", tell("stuck", "never"))
		stop = b.runWith(host)
		elapse(3 * time.Second)
		began = time.Now()
		stop()
		if took := time.Since(began); took != leaveTime {
			t.Errorf("one that cannot finish was waited for for %s", took)
		}
		b.same("by the next one", host.of("a"), []string{"one", "two"})
		if host.known["x1"] || len(b.list()) > 0 {
			t.Errorf("what was cut off is decided or poisoned: %+v", b.list())
		}
	})
}

// Over random failures of hosts, stores and memberships, each entity decides its commands in their order, each once, and each has a reply.
func TestOrderUnderFailures(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			journal := actorstest.NewMemory()
			b := &bench{t: t, journal: journal, groups: groupsOf(t, journal)}
			host := newSlowHost(nil)
			var mu sync.Mutex
			fails := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(r, "fails")
			calls := 0
			next := func() int {
				mu.Lock()
				defer mu.Unlock()
				calls++
				return fails[calls%len(fails)]
			}
			host.decide = func(ctx context.Context, stream events.Stream, _ sagas.Send) error {
				switch next() {
				case 0:
					return &actors.OverloadedError{Stream: stream, Waiting: 9}
				case 1:
					return storage.ErrClosed
				case 2:
					pause(ctx, 3*time.Second)
					return ctx.Err()
				}
				return nil
			}
			journal.Fail(func(stream events.Stream, _ []events.Envelope) error {
				if next() == 0 && !strings.HasPrefix(string(stream), "command-") {
					return errors.New("the store is away for a moment")
				}
				return nil
			})
			want := map[events.AgentID][]string{}
			for run := range rapid.IntRange(1, 4).Draw(r, "runs") {
				for i := range rapid.IntRange(0, 20).Draw(r, "commands") {
					agent := events.AgentID(fmt.Sprint("a", rapid.IntRange(0, 4).Draw(r, "agent")))
					text := fmt.Sprintf("%d-%d", run, i)
					want[agent] = append(want[agent], text)
					b.send(events.CommandID(text), tell(agent, text))
				}
				stop := b.runWith(host)
				elapse(time.Duration(rapid.IntRange(0, 3000).Draw(r, "ms")) * time.Millisecond)
				stop()
			}
			fails = []int{9}
			stop := b.runWith(host)
			elapse(10 * time.Minute)
			stop()
			poisoned := map[string]bool{}
			for _, c := range b.list() {
				poisoned[string(c.Command)] = true
			}
			for agent, texts := range want {
				texts = slices.DeleteFunc(texts, func(text string) bool { return poisoned[text] && !host.known[events.CommandID(text)] })
				b.same("decided by "+string(agent), host.of(agent), texts)
			}
			replies := map[string]bool{}
			for _, e := range b.read("reply-local") {
				replies[string(e.Causation)] = true
			}
			if commands := b.read("command-local"); len(replies) != len(commands) || len(host.twice) > 0 {
				t.Errorf("%d commands of %d have a reply; two at once: %v", len(replies), len(commands), host.twice)
			}
		})
	})
}

// What an ingress holds is bounded by bytes too: the next command is taken when there is room.
func TestLanesAreBounded(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		host := newSlowHost(func(ctx context.Context, _ events.Stream, _ sagas.Send) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
		large := strings.Repeat("x", 10<<10)
		const count = 20
		for i := range count {
			b.send(events.CommandID(fmt.Sprint("c", i)), tell(events.AgentID(fmt.Sprint("a", i)), large))
		}
		stop := b.runHolding(host, 64<<10)
		if host.most != 6 {
			t.Errorf("%d commands of 10 KiB are held, of 64 KiB at most", host.most)
		}
		close(release)
		synctest.Wait()
		stop()
		if n := len(b.read("reply-local")); n != count {
			t.Errorf("%d replies of %d", n, count)
		}
	})
}

func TestSpans(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var s spans
		in := map[events.Revision]bool{}
		for range rapid.IntRange(0, 80).Draw(r, "steps") {
			revision := events.Revision(rapid.IntRange(0, 40).Draw(r, "revision"))
			if rapid.IntRange(0, 9).Draw(r, "drop") == 0 {
				s = s.from(revision)
				for other := range in {
					if other < revision {
						delete(in, other)
					}
				}
				continue
			}
			s, in[revision] = s.with(revision), true
		}
		for revision := range events.Revision(42) {
			if s.has(revision) != in[revision] {
				r.Fatalf("%d: %v, want %v, in %v", revision, s.has(revision), in[revision], s)
			}
		}
		for i := range s {
			if s[i].first > s[i].last || i > 0 && s[i-1].last+1 >= s[i].first {
				r.Fatalf("%v are not in order, or touch", s)
			}
		}
	})
}
