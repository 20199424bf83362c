package eventstoretest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/eventstore/eventstoretest"
)

func three(t *testing.T) *eventstoretest.Cluster {
	t.Helper()
	return eventstoretest.Start(t, eventstoretest.Config{Nodes: 3, Seed: 5})
}

// leads waits until another node leads.
func leads(t *testing.T, c *eventstoretest.Cluster, not *eventstoretest.Node) *eventstoretest.Node {
	t.Helper()
	n, err := c.AwaitLeader(within(t, 10*time.Second), not)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever becomes of a leader, another leads, and has what was acknowledged; the old one follows when it is back.
func TestElections(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(n *eventstoretest.Node) }{
		"killed":        {(*eventstoretest.Node).Kill, (*eventstoretest.Node).Restart},
		"frozen":        {(*eventstoretest.Node).Freeze, (*eventstoretest.Node).Thaw},
		"hears nothing": {func(n *eventstoretest.Node) { n.CutOff(eventstoretest.Requests) }, func(n *eventstoretest.Node) { n.CutOff(0) }},
		"is not heard":  {func(n *eventstoretest.Node) { n.CutOff(eventstoretest.Answers) }, func(n *eventstoretest.Node) { n.CutOff(0) }},
		"resigns":       {func(*eventstoretest.Node) {}, func(*eventstoretest.Node) {}},
	} {
		t.Run(name, func(t *testing.T) {
			c := three(t)
			old := c.Leader()
			id := uuid.New()
			if _, _, err := dial(t, old).send(within(t, 5*time.Second), "s", -1, id); err != nil {
				t.Fatal(err)
			}
			if fault.begin(old); name == "resigns" {
				c.Resign()
			}
			n := leads(t, c, old)
			answer, _, err := dial(t, n).send(within(t, 5*time.Second), "s", -1, id)
			if err != nil || answer.GetSuccess().GetCurrentRevision() != 0 {
				t.Fatalf("the append repeated at the new leader: %v, %v", answer, err)
			}
			fault.end(old)
			_, trailer, err := dial(t, old).send(within(t, 5*time.Second), "s", 0, uuid.New())
			if status.Code(err) != codes.NotFound || trailer.Get("exception")[0] != "not-leader" || trailer.Get("leader-endpoint-host")[0] != "127.0.0.1" {
				t.Errorf("the old leader answers %v, %v", err, trailer)
			}
		})
	}
}

// Two of three are down: nothing is acknowledged, and the third says soon that nobody leads. What it wrote meanwhile may be stored later.
func TestNoQuorum(t *testing.T) {
	c := three(t)
	leader, others := c.Leader(), c.Followers()
	there := dial(t, leader).put("before", 1)
	for _, n := range others {
		n.Kill()
	}
	client, id := dial(t, leader), uuid.New()
	if answer, _, err := client.send(within(t, 5*time.Second), "s", -1, id); err == nil {
		t.Fatalf("acknowledged without a majority: %v", answer)
	}
	if err := c.AwaitNone(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.send(within(t, 5*time.Second), "s", -1, uuid.New()); status.Code(err) != codes.Unavailable {
		t.Errorf("nobody leads, and the node says %v", err)
	}
	if got := client.all(request(start(), 1, false, "", 0), 10); got[0] != "Unavailable: Server Is Not Ready" {
		t.Errorf("a read that requires the leader: %q", got)
	}
	anyone := client.follow(t.Context(), request(start(), 1, false, "", 0))
	if got := anyone.until(fmt.Sprint("event ", there)); len(got) != 1 {
		t.Errorf("a read that does not require it: %q", got)
	}
	others[0].Restart()
	n := leads(t, c, nil)
	answer, _, err := dial(t, n).send(within(t, 5*time.Second), "s", -1, id)
	if err != nil || answer.GetSuccess().GetCurrentRevision() != 0 {
		t.Errorf("the append that was not acknowledged, repeated: %v, %v", answer, err)
	}
	if err := c.Check([]eventstoretest.Acknowledged{{Stream: "s", IDs: []uuid.UUID{id}, Place: answer.GetSuccess().GetPosition().GetCommitPosition()}}); err != nil {
		t.Error(err)
	}
}

// Answers get lost as the test says, with the write stored or not.
func TestLostAnswers(t *testing.T) {
	c := eventstoretest.Start(t, eventstoretest.Config{Seed: 6})
	client := dial(t, c.Node(0))
	for outcome, want := range map[eventstoretest.Outcome]codes.Code{
		eventstoretest.Silent: codes.DeadlineExceeded, eventstoretest.Ended: codes.Internal,
		eventstoretest.Unknown: codes.Unknown, eventstoretest.Reset: codes.Unavailable,
	} {
		for _, stored := range []bool{true, false} {
			before := len(c.Events("s"))
			c.Lose(eventstoretest.Lost{Outcome: outcome, Stored: stored})
			_, _, err := client.send(within(t, 300*time.Millisecond), "s", -2, uuid.New())
			if status.Code(err) != want {
				t.Errorf("outcome %d, stored %t: %v, want %v", outcome, stored, err, want)
			}
			if after := len(c.Events("s")); (after == before+1) != stored {
				t.Errorf("outcome %d, stored %t: %d events became %d", outcome, stored, before, after)
			}
		}
	}
}
