package peers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/membership"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/peers"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// whole is a host of a cluster as a process puts it together.
type whole struct {
	host   *actors.Host
	member *membership.Member
	server *peers.Server
	client *peers.Client
}

type oneModel struct{ actorstest.FakeModel }

func (m oneModel) Lookup(name string) (actors.Model, string, error) { return m.FakeModel, name, nil }

// join starts a host: it takes its port, joins, starts what it does, and then answers others.
func join(t testing.TB, dir, name string, store storage.Journal, blobs storage.Blobs) *whole {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), nil)).With("at", name)
	}
	w, as := &whole{}, identity(t, dir, name)
	var is atomic.Pointer[membership.Member] // pings begin before it is known here
	w.server = must(peers.Listen(t.Context(), "127.0.0.1:0", as, log))(t)
	w.client = peers.NewClient(peers.ClientConfig{Identity: as, Self: func() events.HostID {
		if m := is.Load(); m != nil {
			return m.Self()
		}
		return ""
	}, Ended: func(host string) {
		if m := is.Load(); m != nil {
			m.Disconnected(host)
		}
	}})
	joined := events.HostJoined{
		Name: name, Peer: w.server.Addr().String(), Weight: 100, Build: "test", Protocol: events.ProtocolRange{Oldest: 1, Newest: 1},
		Catalogue: cluster.Catalogue(), Providers: []string{"fake"}, Roles: []string{cluster.RoleProjections}, Fence: 5 * events.Second, Silent: 30 * events.Second, // the machine is busy; a port that refuses is noticed at once
	}
	w.member = must(membership.Join(t.Context(), membership.Config{
		Cluster: "c", Joined: joined, Journal: store, Blobs: blobs, Contacts: w.client, Clock: membership.SystemClock{}, Log: log,
		Work: func(ctx context.Context) (membership.Work, error) {
			if w.host == nil {
				return membership.Work{Settled: events.NoRevision}, nil
			}
			return membership.Work{Settled: w.host.Settled(), Entities: w.host.Live()}, w.host.Pulse(ctx)
		},
	}))(t)
	is.Store(w.member)
	model := actorstest.FakeModel(func(_ context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		delta(actors.Delta{Text: "done"})
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd, Usage: events.Usage{Input: 10, Output: 5}}, nil
	})
	w.host = must(actors.New(t.Context(), actors.Config{
		Name: name, Journal: store, Blobs: blobs, Models: oneModel{model}, Masker: actorstest.Unmasked{}, OpeningCredit: 100 * events.Dollar, Log: log,
		Cluster: &actors.Cluster{Member: w.member, Peers: w.client},
	}))(t)
	w.server.Serve(peers.Handlers{
		Ping: w.member.HandlePing, Confirm: w.member.HandleConfirm, Probe: w.member.HandleProbe, Call: w.host.ServePeer, Deltas: w.host.ServeDeltas,
	})
	return w
}

// stop ends the process of a host.
func (w *whole) stop(t testing.TB) {
	t.Helper()
	w.server.Close()
	w.client.Close()
	w.member.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.host.Close(ctx); err != nil {
		t.Error(err)
	}
	<-time.After(time.Millisecond) // protoactor notes messages to stopped actors in a goroutine that ends a moment later
}

// TestCluster: hosts over real connections are one: any takes any command, one that ends is removed and its agents go on, one that drains leaves.
func TestCluster(t *testing.T) {
	dir, store, blobs := certificates(t, "a", "b", "c"), actorstest.NewMemory(), actorstest.NewBlobs()
	all := []*whole{join(t, dir, "a", store, blobs), join(t, dir, "b", store, blobs), join(t, dir, "c", store, blobs)}
	agreed := func(members ...*whole) {
		t.Helper()
		for _, w := range members {
			for len(w.member.View().Members) != len(members) {
				<-w.member.Changed()
			}
		}
	}
	agreed(all...)
	const agents = 12
	say := func(round string, through ...*whole) {
		t.Helper()
		for i := range agents {
			stream, id := events.AgentStream(events.AgentID(fmt.Sprint("agent-", i))), events.CommandID(fmt.Sprint(round, "-", i))
			var command sagas.Command = sagas.Send{Meta: sagas.Meta{ID: id, At: storage.Now()}, Verb: events.Collect, Text: events.Text{Inline: round}}
			if round == "create" {
				command = sagas.Create{Meta: sagas.Meta{ID: id, At: storage.Now()}, Agent: events.AgentID(fmt.Sprint("agent-", i)), Config: events.AgentConfig{Model: "fake/one"}}
			}
			if _, err := through[i%len(through)].host.Do(t.Context(), stream, command, actors.Origin{Actor: "test"}); err != nil {
				t.Errorf("%s to %s through %s: %v", round, stream, through[i%len(through)].member.Self(), err)
			}
		}
	}
	say("create", all...)
	say("one", all...)
	owners := map[events.HostID]int{}
	for i := range agents {
		owner, _ := all[0].member.View().Owner(events.AgentStream(events.AgentID(fmt.Sprint("agent-", i))))
		owners[owner]++
	}
	if len(owners) < 2 {
		t.Errorf("the agents live on %v", owners)
	}
	all[1].stop(t)
	agreed(all[0], all[2])
	say("two", all[0], all[2])
	if err := all[2].host.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	agreed(all[0])
	all[2].stop(t)
	say("three", all[0])
	for i := range agents {
		ended(t, all[0].host, events.AgentID(fmt.Sprint("agent-", i)), 3)
	}
	all[0].stop(t)
}

// ended waits until so many turns of an agent have ended.
func ended(t testing.TB, host *actors.Host, agent events.AgentID, turns int) {
	t.Helper()
	feed := must(host.Watch(t.Context(), agent, events.NoRevision))(t)
	defer feed.Close()
	for turns > 0 {
		item, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if item.Event != nil && item.Event.Kind == (events.TurnEnded{}).Kind() {
			turns--
		}
	}
}

// TestFour: with four hosts over real connections two keep each projection, and any of them answers, with what was stored through it or another one; and
// a watcher at any host sees what a model produces on another one.
func TestFour(t *testing.T) {
	dir, store, blobs := certificates(t, "a", "b", "c", "d"), actorstest.NewMemory(), actorstest.NewBlobs()
	all := make([]*whole, 0, 4)
	for _, name := range []string{"a", "b", "c", "d"} {
		all = append(all, join(t, dir, name, store, blobs))
	}
	for _, w := range all {
		for len(w.member.View().Members) != len(all) {
			<-w.member.Changed()
		}
	}
	kept := 0
	for i, w := range all {
		id := events.WalletID(fmt.Sprint("w", i))
		receipt, err := w.host.Do(t.Context(), events.WalletStream(id), sagas.OpenWallet{Meta: sagas.Meta{ID: "open", At: storage.Now()}, Wallet: id, Credit: events.Dollar}, actors.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		if keeps, _ := w.host.Keeps("balance"); keeps {
			kept++
		}
		for _, at := range []*whole{w, all[(i+1)%4]} {
			question := projector.Question{Projection: "balance"}
			if at != w {
				question.Min = receipt.Position
			}
			answer, err := at.host.Query(t.Context(), question, nil)
			if err != nil || !strings.Contains(string(answer.Answer), `"`+string(id)+`"`) {
				t.Errorf("at %s, of what %s stored: %s, %v", at.member.Self(), w.member.Self(), answer.Answer, err)
			}
		}
		missing := projector.Question{Projection: "balance"}
		missing.Query.Name = "sum"
		if _, err := w.host.Query(t.Context(), missing, nil); !refused(err) {
			t.Errorf("at %s, a query that there is not: %v", w.member.Self(), err)
		}
		list, err := w.host.Projections(t.Context())
		for _, status := range list {
			if status.State == projector.StateElsewhere {
				t.Errorf("at %s: %+v", w.member.Self(), status)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	if kept != 2 {
		t.Errorf("%d hosts keep balance, want 2", kept)
	}
	id := events.AgentID("demo")
	owner, _ := all[0].member.View().Owner(events.AgentStream(id))
	at := all[slices.IndexFunc(all, func(w *whole) bool { return w.member.Self() != owner })].host
	for _, command := range []sagas.Command{
		sagas.Create{Meta: sagas.Meta{ID: "create", At: storage.Now()}, Agent: id, Config: events.AgentConfig{Model: "fake/one"}},
		sagas.Send{Meta: sagas.Meta{ID: "warm", At: storage.Now()}, Verb: events.Collect, Text: events.Text{Inline: "x"}},
	} {
		if _, err := at.Do(t.Context(), events.AgentStream(id), command, actors.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	ended(t, at, id, 1)
	feed := must(at.Watch(t.Context(), id, 0))(t)
	for seen, i := false, 0; !seen; i++ { // the connection may come after the first pieces
		command := sagas.Send{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("m", i)), At: storage.Now()}, Verb: events.Followup, Text: events.Text{Inline: "x"}}
		if _, err := at.Do(t.Context(), events.AgentStream(id), command, actors.Origin{}); err != nil {
			t.Fatal(err)
		}
		for over := false; !over; {
			item, err := feed.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seen = seen || item.Delta != nil && item.Delta.Text == "done"
			over = item.Event != nil && item.Event.Kind == (events.SettlementRecorded{}).Kind()
		}
	}
	if err := feed.Close(); err != nil {
		t.Error(err)
	}
	for _, w := range all {
		w.stop(t)
	}
}

func refused(err error) bool {
	var as *sagas.RefusalError
	return errors.As(err, &as)
}
