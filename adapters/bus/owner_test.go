package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// named is a host of a cluster that passes commands on, as a router does, and notes who did.
type named struct {
	*slowHost
	id   events.HostID
	mu   *sync.Mutex
	from map[events.HostID]int
}

func (n named) Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error) {
	n.mu.Lock()
	n.from[n.id]++
	n.mu.Unlock()
	return n.slowHost.Do(ctx, stream, command, origin)
}

// In a cluster the owner of a tenant's commands takes them, and no other host; when it drains it leaves when what it holds is done, and when it is
// removed the next one goes on. Nothing is lost, decided twice, or out of order.
func TestTheOwnerTakesTheCommands(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		c := actorstest.NewCluster()
		host := newSlowHost(func(ctx context.Context, _ events.Stream, _ sagas.Send) error {
			pause(ctx, 20*time.Millisecond)
			return ctx.Err()
		})
		from := map[events.HostID]int{}
		var mu sync.Mutex
		count := func(id events.HostID) int {
			mu.Lock()
			defer mu.Unlock()
			return from[id]
		}
		hosts := map[events.HostID]*actorstest.ClusterHost{}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, name := range []string{"books-1", "books-2", "books-3"} {
			member := c.Join(events.HostJoined{Name: name})
			hosts[member.Self()] = member
		}
		for id, member := range hosts {
			in, err := NewIngress(IngressConfig{
				Commands: named{host, id, &mu, from}, Journal: member.Journal(b.journal), Groups: b.groups, Tenant: "local", Member: member,
			})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				if err := in.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		sent := 0
		send := func(n int) {
			for range n {
				b.send(events.CommandID(fmt.Sprint("c", sent)), tell(events.AgentID(fmt.Sprint("a", sent%5)), fmt.Sprint(sent)))
				sent++
			}
		}
		owner := func() events.HostID {
			id, ok := c.View().Owner("command-local")
			if !ok {
				t.Fatal("there is no owner")
			}
			return id
		}
		send(20)
		elapse(time.Second)
		first := owner()
		if count(first) != 20 || len(from) != 1 {
			t.Errorf("%v took 20 commands, of which %s is the owner", from, first)
		}

		send(50)
		elapse(30 * time.Millisecond) // it works on some
		c.Apply(events.HostDraining{Host: first})
		second := owner()
		send(20)
		elapse(time.Second)
		if count(first) >= 70 || count(first)+count(second) != 90 || first == second {
			t.Errorf("%s drained, %s is the owner, and they took %v: want 90, none of them twice", first, second, from)
		}

		send(50)
		elapse(30 * time.Millisecond)
		c.Remove(hosts[second])
		elapse(15 * time.Second)
		send(10)
		elapse(time.Second)
		if third := owner(); count(third) == 0 {
			t.Errorf("%s is the owner, but took nothing: %v", third, from)
		}
		cancel()
		running.Wait()
		for agent := range 5 {
			var want []string
			for i := agent; i < sent; i += 5 {
				want = append(want, fmt.Sprint(i))
			}
			b.same(fmt.Sprint("decided by a", agent), host.of(events.AgentID(fmt.Sprint("a", agent))), want)
		}
		if replies := b.read("reply-local"); len(replies) != sent || len(host.twice) > 0 {
			t.Errorf("%d replies to %d commands; two at once: %v", len(replies), sent, host.twice)
		}
	})
}

// After many commands the next owner reads few of the replies; whatever is in the stream of replies, what was answered is known.
func TestAnswersAreSoughtNearTheEnd(t *testing.T) {
	for name, commandsOf := range map[string]func(reply int) int{
		"one reply each":             func(reply int) int { return reply },
		"in pairs, swapped":          func(reply int) int { return reply ^ 1 },
		"a group that began at 5000": func(reply int) int { return reply + 5000 },
		"a group that began at 30":   func(reply int) int { return reply + 30 },
		"each twice":                 func(reply int) int { return reply / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			journal := &countingReads{Memory: actorstest.NewMemory()}
			const count = 4000
			last := 0
			var batch []events.Envelope
			for i := range count {
				e := recordOf(acceptedKind, []byte(`{}`))
				e.SetMetadata(fmt.Appendf(nil, `{"$causationId":"command-local@%d"}`, commandsOf(i)))
				last = max(last, commandsOf(i))
				batch = append(batch, e)
			}
			for part := range slices.Chunk(batch, 500) {
				if _, err := journal.Append(t.Context(), "reply-local", storage.ExpectAny, part); err != nil {
					t.Fatal(err)
				}
			}
			a := newAnswered(journal, "local", 16)
			for command := events.Revision(last - 10); command <= events.Revision(last)+3; command++ {
				found, err := a.has(t.Context(), command, command)
				if want := command <= events.Revision(last); err != nil || found != want {
					t.Fatalf("%d: %v %v, want %v", command, found, err, want)
				}
			}
			if name == "one reply each" && journal.events > 200 {
				t.Errorf("%d replies of %d were read", journal.events, count)
			}
		})
	}
}

// countingReads counts the events that are read.
type countingReads struct {
	*actorstest.Memory
	events int
}

func (c *countingReads) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	page, err := c.Memory.Read(ctx, stream, from, direction, limit)
	c.events += len(page.Events)
	return page, err
}
