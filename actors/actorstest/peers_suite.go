package actorstest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// PeerServer is what answers other hosts: an [actors.Host].
type PeerServer interface {
	ServePeer(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer
	ServeDeltas(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error
}

// PeersOf are two hosts, of which the first asks the second.
type PeersOf struct {
	From  events.HostID  // the first
	Peers actors.Peers   // its own
	To    cluster.Member // the second
	Stop  func()         // the second does not listen any more
}

// TestPeers is the conformance suite of actors.Peers. Open connects a host to one that the server answers for; its own clean-up ends both.
func TestPeers(t *testing.T, open func(t *testing.T, server PeerServer) PeersOf) {
	for _, row := range []struct {
		name string
		run  func(t *testing.T, open func(*testing.T, PeerServer) PeersOf)
	}{
		{"a call and its answer come as they went", peersFidelity},
		{"an error comes with its type", peersError},
		{"a large message", peersLarge},
		{"many calls at once, each with its own answer", peersMany},
		{"who does not wait does not hold up the server", peersCancelled},
		{"a slow call holds up no other", peersSlow},
		{"an ended context", peersEnded},
		{"a host that does not listen", peersStopped},
		{"deltas in order, until nobody wants them", peersDeltas},
		{"deltas that the other host ends", peersDeltasEnd},
	} {
		t.Run(row.name, func(t *testing.T) { row.run(t, open) })
	}
}

// answering answers as a function says.
type answering struct {
	call   func(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer
	deltas func(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error
}

func (a answering) ServePeer(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer {
	return a.call(ctx, from, call)
}

func (a answering) ServeDeltas(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error {
	return a.deltas(ctx, agent, show)
}

func sent(t *testing.T, id, text string) actors.PeerCall {
	t.Helper()
	command, err := actors.NewPeerCommand(sagas.Send{Meta: sagas.Meta{ID: events.CommandID(id), At: 7}, Verb: events.Steer, Text: events.Text{Inline: text}})
	if err != nil {
		t.Fatal(err)
	}
	return actors.PeerCall{Epoch: 3, Hops: 1, Unfit: []events.HostID{"x#1"}, Do: &actors.PeerDo{
		Stream: "agent-demo", Command: command, Actor: "cli", Traceparent: "00-1", Causation: "agent-a@1", Entry: "a#0",
	}}
}

func peersFidelity(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	want := sent(t, "c", "text <&> \u2028 \U0001F600")
	answer := actors.PeerAnswer{Epoch: 9, Settled: 8, Receipt: &actors.Receipt{Stream: "agent-demo", Revision: 1 << 60, Position: 1 << 63, Message: "m1", Turn: "demo/1"}}
	var got actors.PeerCall
	var from events.HostID
	p := open(t, answering{call: func(_ context.Context, of events.HostID, call actors.PeerCall) actors.PeerAnswer {
		got, from = call, of
		return answer
	}})
	back, err := p.Peers.Call(t.Context(), p.To, want)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(actors.PeerDo{})) + cmp.Diff(answer, back); err != nil || diff != "" || from != p.From {
		t.Errorf("from %s, %v: %s", from, err, diff)
	}
}

func peersError(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	p := open(t, answering{call: func(context.Context, events.HostID, actors.PeerCall) actors.PeerAnswer {
		return actors.PeerAnswer{Epoch: 2, Error: &actors.PeerError{Text: "no: why", Chain: []actors.PeerFault{{Is: "refused", Code: "no", Detail: "why"}}}}
	}})
	back, err := p.Peers.Call(t.Context(), p.To, sent(t, "c", "x"))
	if err != nil || back.Error == nil {
		t.Fatalf("%+v, %v", back, err)
	}
	var refused *sagas.RefusalError
	if !errors.As(back.Error.Err(), &refused) || refused.Detail != "why" || back.Epoch != 2 {
		t.Errorf("%+v: %v", back, back.Error.Err())
	}
}

func peersLarge(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	text := strings.Repeat("x", 1<<20)
	p := open(t, answering{call: func(_ context.Context, _ events.HostID, call actors.PeerCall) actors.PeerAnswer {
		command, err := call.Do.Command.Command()
		if send, is := command.(sagas.Send); err != nil || !is || send.Inline != text {
			return actors.PeerAnswer{}
		}
		return actors.PeerAnswer{Epoch: 1}
	}})
	if back, err := p.Peers.Call(t.Context(), p.To, sent(t, "c", text)); err != nil || back.Epoch != 1 {
		t.Errorf("%+v, %v", back, err)
	}
}

func peersMany(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	p := open(t, answering{call: func(_ context.Context, _ events.HostID, call actors.PeerCall) actors.PeerAnswer {
		return actors.PeerAnswer{Receipt: &actors.Receipt{Stream: call.Do.Stream, Message: events.MessageID(call.Do.Command.ID)}}
	}})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			id := "c" + strings.Repeat("x", i)
			back, err := p.Peers.Call(t.Context(), p.To, sent(t, id, "x"))
			if err != nil || back.Receipt == nil || back.Receipt.Message != events.MessageID(id) {
				t.Errorf("%s: %+v, %v", id, back, err)
			}
		})
	}
	all.Wait()
}

// block answers the call whose id is "slow" when its context ends or the test says so, and others at once.
func block(entered chan<- struct{}, release <-chan struct{}) answering {
	return answering{call: func(ctx context.Context, _ events.HostID, call actors.PeerCall) actors.PeerAnswer {
		if call.Do.Command.ID == "slow" {
			entered <- struct{}{}
			select {
			case <-ctx.Done():
				entered <- struct{}{}
			case <-release:
			}
		}
		return actors.PeerAnswer{Epoch: 1}
	}}
}

func peersCancelled(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	p := open(t, block(entered, release))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	slow := sent(t, "slow", "x")
	go func() {
		_, err := p.Peers.Call(ctx, p.To, slow)
		failed <- err
	}()
	<-entered
	cancel()
	if err := <-failed; err == nil {
		t.Error("a call that was given up was answered")
	}
	<-entered // the server's context ended too
}

func peersSlow(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := open(t, block(entered, release))
	answered := make(chan error, 1)
	slow := sent(t, "slow", "x")
	go func() {
		_, err := p.Peers.Call(t.Context(), p.To, slow)
		answered <- err
	}()
	<-entered
	if _, err := p.Peers.Call(t.Context(), p.To, sent(t, "quick", "x")); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func peersEnded(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	p := open(t, answering{call: func(context.Context, events.HostID, actors.PeerCall) actors.PeerAnswer { return actors.PeerAnswer{} }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Peers.Call(ctx, p.To, sent(t, "c", "x")); err == nil {
		t.Error("answered")
	}
	if err := p.Peers.Deltas(ctx, p.To, "demo", func(actors.FeedDelta) {}); err == nil {
		t.Error("shown")
	}
}

func peersStopped(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	p := open(t, answering{call: func(context.Context, events.HostID, actors.PeerCall) actors.PeerAnswer { return actors.PeerAnswer{} }})
	if _, err := p.Peers.Call(t.Context(), p.To, sent(t, "c", "x")); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for { // a connection that was open may be found broken first
		_, err := p.Peers.Call(ctx, p.To, sent(t, "c", "x"))
		if err == nil {
			t.Fatal("answered")
		}
		if errors.Is(err, actors.ErrPeerRefused) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("that nobody listens is not said: %v", err)
		}
	}
}

func peersDeltas(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	var want []actors.FeedDelta
	for i := range 100 {
		want = append(want, actors.FeedDelta{Turn: "demo/1", Request: "agent-demo@4", Round: i, Lost: i%2 == 0, Void: i%3 == 0, Delta: actors.Delta{
			Block: i, Kind: events.BlockText, Offset: 5 * i, Text: "a <b> \u2028",
		}})
	}
	ended := make(chan struct{})
	p := open(t, answering{deltas: func(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error {
		defer close(ended)
		if agent != "demo" {
			return errors.New("another agent")
		}
		for _, piece := range want {
			if err := show(piece); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []actors.FeedDelta
	err := p.Peers.Deltas(ctx, p.To, "demo", func(piece actors.FeedDelta) {
		if got = append(got, piece); len(got) == len(want) {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
	if !slices.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	<-ended
}

func peersDeltasEnd(t *testing.T, open func(*testing.T, PeerServer) PeersOf) {
	p := open(t, answering{deltas: func(context.Context, events.AgentID, func(actors.FeedDelta) error) error { return nil }})
	if err := p.Peers.Deltas(t.Context(), p.To, "demo", func(actors.FeedDelta) {}); err != nil {
		t.Error(err)
	}
}
