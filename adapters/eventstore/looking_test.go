package eventstore_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
)

// looks keeps what a journal tells about a store that is away.
func looks() (chan *eventstore.AwayError, func(*eventstore.AwayError)) {
	told := make(chan *eventstore.AwayError, 100)
	return told, func(a *eventstore.AwayError) { told <- a }
}

// One address, of a node that has no leader: it is away, and says why at once, and is there when it has one. Nothing says that it is there before.
func TestNodeWithoutLeader(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
	killed := c.Followers()
	node := c.Leader()
	for _, other := range killed {
		other.Kill()
	}
	if err := c.AwaitNone(ctx); err != nil {
		t.Fatal(err)
	}
	told, tell := looks()
	var log locked
	short, stop := context.WithTimeout(ctx, 700*time.Millisecond)
	defer stop()
	began := time.Now()
	_, err := eventstore.Open(short, eventstore.Config{Connection: c.Connection(node), Away: tell, Log: textLog(&log)})
	var away *eventstore.AwayError
	if !errors.As(err, &away) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Server Is Not Ready") {
		t.Errorf("the error is %v, want one that says that the server is not ready", err)
	}
	if first := <-told; first == nil || time.Since(first.Since) > time.Since(began)+time.Second {
		t.Errorf("told %v, want since when it is away", first)
	}
	if strings.Contains(log.String(), "is there") {
		t.Errorf("the log says that the store is there: %s", log.String())
	}
	opened := make(chan error, 1)
	go func() {
		journal, err := eventstore.Open(ctx, eventstore.Config{Connection: c.Connection(node), Away: tell})
		if err == nil {
			_, err = journal.Append(ctx, "s", storage.ExpectAny, happened("x", 1))
			err = errors.Join(err, journal.Close())
		}
		opened <- err
	}()
	<-told
	for _, other := range killed {
		other.Restart()
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	for a := range told {
		if a == nil {
			return // it is back
		}
	}
}

// Whichever of the nodes of a cluster is dead, and however, the leader is found at once: all addresses are asked at the same time.
func TestOneOfThreeIsSilent(t *testing.T) {
	t.Parallel()
	dead := map[string]func(n *eventstoretest.Node){
		"killed": (*eventstoretest.Node).Kill, "frozen": (*eventstoretest.Node).Freeze,
		"mute":       func(n *eventstoretest.Node) { n.Impersonate(eventstoretest.Mute) },
		"web server": func(n *eventstoretest.Node) { n.Impersonate(eventstoretest.WebServer) },
	}
	for name, die := range dead {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
			die(c.Followers()[0])
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				journal, err := eventstore.Open(ctx, eventstore.Config{Connection: c.Connection()})
				if err == nil {
					_, err = journal.Append(ctx, "s", storage.ExpectAny, happened("x", 1))
					err = errors.Join(err, journal.Close())
				}
				if cancel(); err != nil {
					t.Errorf("with a node that is %s: %v", name, err)
				}
			}
		})
	}
}

// The only node that the connection string names need not live for ever: gossip has told of the others.
func TestMembersAreRemembered(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
	named := c.Leader()
	journal := connect(t, eventstore.Config{Connection: strings.Replace(c.Connection(named), "esdb:", "esdb+discover:", 1)})
	named.Kill()
	if _, err := journal.Append(ctx, "s", storage.ExpectAny, happened("x", 1)); err != nil {
		t.Error(err)
	}
}

// A leader whose name cannot be resolved from here, as containers often name themselves: the error names it, who named it, and what to set.
func TestLeaderThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
	leader, follower := c.Leader(), c.Followers()[0]
	leader.Advertise("node1.invalid", 2113)
	for name, connection := range map[string]string{
		"a cluster": c.Connection(), "one node": c.Connection(follower), "a name to discover": strings.Replace(c.Connection(leader), "esdb:", "esdb+discover:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := eventstore.Open(ctx, eventstore.Config{Connection: connection})
			if err == nil {
				t.Fatal("there is no error")
			}
			for _, want := range []string{"names the leader node1.invalid:2113", "cannot be resolved", "EVENTSTORE_ADVERTISE_HOST_TO_CLIENT_AS"} {
				if strings.Count(err.Error(), want) != 1 {
					t.Errorf("the error says %q %d times: %v", want, strings.Count(err.Error(), want), err)
				}
			}
			var unresolved *net.DNSError
			if !errors.As(err, &unresolved) {
				t.Errorf("the error is %v, want one of DNS", err)
			}
		})
	}
}

// What listens at the address may be anything: opening says what is wrong with it, and calls end with their contexts.
func TestStrangers(t *testing.T) {
	t.Parallel()
	strangers := map[string]struct {
		is   eventstoretest.Stranger
		says string
	}{
		"a web server":  {eventstoretest.WebServer, "does not answer as EventStoreDB does"},
		"silence":       {eventstoretest.Mute, "no answer within 1s"},
		"a closed door": {eventstoretest.Shy, ""},
		"noise":         {eventstoretest.Babbler, "does not answer as EventStoreDB does"},
	}
	for name, stranger := range strangers {
		for _, secure := range []string{"false", "true"} {
			t.Run(name+", tls="+secure, func(t *testing.T) {
				t.Parallel()
				c := eventstoretest.Start(t, eventstoretest.Config{})
				node := c.Node(0)
				node.Impersonate(stranger.is)
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				defer cancel()
				began := time.Now()
				_, err := eventstore.Open(ctx, eventstore.Config{Connection: "esdb://" + node.Address() + "?gossipTimeout=1&tls=" + secure})
				if err == nil || time.Since(began) > 10*time.Second || !strings.Contains(err.Error(), stranger.says) {
					t.Errorf("after %s the error is %v, want one that says %q", time.Since(began), err, stranger.says)
				}
				if err != nil && strings.Count(err.Error(), node.Address()) != 1 {
					t.Errorf("the address is named %d times: %v", strings.Count(err.Error(), node.Address()), err)
				}
				if strings.Contains(stranger.says, "does not answer as") && !errors.Is(err, eventstore.ErrProtocol) {
					t.Errorf("the error is %v, want %v", err, eventstore.ErrProtocol)
				}
				t.Log(err)
			})
		}
	}
}
