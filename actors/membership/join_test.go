package membership_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v does not say %q", err, w)
		}
	}
}

// TestNames: a living host keeps its name, a dead one is replaced by who joins under it.
func TestNames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		elsewhere := func(_ *process, c *membership.Config) { c.Joined.Peer = "b2" }
		_, err := w.start("b", elsewhere)
		refused(t, err, "join cluster c as host b", "b#1", "is a member")
		w.stays(time.Second, "all are members", func() bool { return w.agree(all...) })

		all[1].kill()
		again, err := w.start("b") // before anyone notices
		if err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "the new b is a member", func() bool { return w.agree(all[0], again, all[2]) })
		if again.member.Self() == "b#1" {
			t.Error("it has the id of the old one")
		}
		if removals := w.removals(); len(removals) != 1 || removals[0].Host != "b#1" {
			t.Error(w.story())
		}
	})
}

func TestJoinsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*process, *membership.Config)
		want   []string
	}{
		"clock":     {func(p *process, _ *membership.Config) { p.skew = -time.Minute }, []string{"the clock of host a#0 is 60.0 s ahead", "NTP"}},
		"blobs":     {func(p *process, _ *membership.Config) { p.blobs = actorstest.NewBlobs() }, []string{"a blob that host a#0 has just stored", "the same directory"}},
		"protocol":  {func(_ *process, c *membership.Config) { c.Joined.Protocol = events.ProtocolRange{Oldest: 2, Newest: 3} }, []string{"speaks versions 2 to 3", "a#0"}},
		"fence":     {func(_ *process, c *membership.Config) { c.Joined.Fence = 7 * events.Second }, []string{"fencing delay"}},
		"cluster":   {func(_ *process, c *membership.Config) { c.Cluster = "No Name" }, []string{"cluster name"}},
		"host name": {func(_ *process, c *membership.Config) { c.Joined.Name = "No Name" }, []string{"host name"}},
		"store": {func(p *process, _ *membership.Config) {
			p.world.cut(p.name, theStore)
		}, []string{"the store does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				all := w.members("a")
				_, err := w.start("b", test.change)
				refused(t, err, test.want...)
				w.stays(time.Second, "only a is a member", func() bool { return w.agree(all...) })
			})
		})
	}
}

// TestUntrusted: a host whose certificate is not accepted does not join; hosts that do not answer keep nobody from joining.
func TestUntrusted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.members("a")
		_, err := w.start("b", func(p *process, c *membership.Config) { c.Contacts = untrusted{p} })
		refused(t, err, membership.ErrUntrusted.Error())
	})
}

type untrusted struct{ *process }

func (untrusted) Ping(context.Context, cluster.Member, membership.Ping) (membership.Pong, error) {
	return membership.Pong{}, membership.ErrUntrusted
}

// TestLostAnswers: the answer to an append is lost: whether it was stored is found out, and it is not done twice.
func TestLostAnswers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a")
		lost := 2
		w.journal.FailAfter(func(events.Stream, []events.Envelope) error {
			if lost--; lost >= 0 {
				return errors.New("the answer is lost")
			}
			return nil
		})
		b, err := w.start("b")
		if err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "both are members", func() bool { return w.agree(all[0], b) })
		lost = 1
		if err := all[0].member.Order(t.Context(), cluster.Pin{Stream: "agent-x", To: []events.Label{{Name: "host", Value: "b"}}, By: "somebody"}); err != nil {
			t.Error(err)
		}
		w.until(time.Second, "b knows of the pin", func() bool { return len(b.member.View().Pins) == 1 })
		if end := b.member.View().Epoch; end != 2 {
			t.Errorf("the stream ends at %d:\n%s", end, w.story())
		}
	})
}

// TestLeaving: a host drains and leaves, and is not removed; its id is in what it appended.
func TestLeaving(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		b := all[1].member
		changed := all[0].member.Changed()
		for range 2 { // again is no error
			if err := b.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		}
		<-changed
		w.until(time.Second, "all know that b drains", func() bool {
			there, _ := all[0].member.View().Member(b.Self())
			return there.State == cluster.StateDraining
		})
		if err := b.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		w.until(time.Second, "b has left", func() bool { return w.agree(all[0], all[2]) })
		if all[1].removed() {
			t.Error("a host that left says that it was removed")
		}
		w.stays(3*time.Second, "a and c are members", func() bool { return w.agree(all[0], all[2]) })
		if len(w.removals()) > 0 {
			t.Error(w.story())
		}
		page, err := w.journal.Read(t.Context(), events.ClusterStream("c"), 0, storage.Forward, storage.Limit{})
		if err != nil {
			t.Fatal(err)
		}
		digest := events.Digest{}
		for i := range page.Events {
			e := &page.Events[i]
			if digest = digest.Next(e.Kind, e.Data); digest != e.Digest {
				t.Errorf("the chain is broken at %d", e.Revision)
			}
			if i >= 3 && e.Host != "b#1" {
				t.Errorf("%s was decided by %q", e.Kind, e.Host)
			}
		}
	})
}

// TestOrders: a person may order from anywhere; what cannot be is refused.
func TestOrders(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b")
		outside := &process{world: w, name: "outside"}
		if view, err := membership.Order(t.Context(), journal{outside}, "c", outside, cluster.Remove{Host: "b#1", By: "somebody", Because: events.RemovedAsked}); err != nil || len(view.Members) != 1 {
			t.Errorf("%+v, %v", view, err)
		}
		w.until(time.Second, "b is removed and knows it", func() bool { return w.agree(all[0]) && all[1].removed() })
		_, err := membership.Order(t.Context(), journal{outside}, "c", outside, cluster.Drain{Host: "x#9"})
		refused(t, err, "no member", "a#0")
		if view, err := membership.Read(t.Context(), journal{outside}, "c"); err != nil || view.Epoch != 2 {
			t.Errorf("%+v, %v", view, err)
		}
		refused(t, all[0].member.Order(t.Context(), cluster.Drain{Host: "x#9"}), "no member")
	})
}

// TestCatchUp: who hears of a newer epoch reads on; an epoch that nobody decided is an error, in time.
func TestCatchUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b")
		if view, err := all[0].member.CatchUp(t.Context(), 1); err != nil || view.Epoch != 1 {
			t.Errorf("%v, %v", view, err)
		}
		if _, err := all[0].member.CatchUp(t.Context(), 7); err == nil {
			t.Error("an epoch that nobody decided was read")
		}
		w.stall()
		began := time.Now()
		if _, err := all[0].member.CatchUp(t.Context(), 7); err == nil || time.Since(began) > time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		w.answer()
	})
}

// TestFresh: what was claimed long ago never begins; without the store nothing begins, and it may when the store is back in time.
func TestFresh(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.members("a", "b")[0].member
		claimed := a.Now()
		if err := a.Fresh(t.Context(), claimed); err != nil {
			t.Error(err)
		}
		w.stall()
		pass(3 * time.Second)
		if err := a.Fresh(t.Context(), claimed); !errors.Is(err, membership.ErrNotBegun) {
			t.Errorf("a claim of 3 s ago: %v", err)
		}
		claimed = a.Now()
		if err := a.Fresh(t.Context(), claimed); err == nil || errors.Is(err, membership.ErrNotBegun) {
			t.Errorf("without the store: %v", err)
		}
		pass(time.Second)
		if a.GoesOnUntil() > a.Now() {
			t.Error("what runs may go on without a read for 4 s")
		}
		claimed = a.Now()
		w.answer()
		if err := a.Fresh(t.Context(), claimed); err != nil {
			t.Errorf("with the store again: %v", err)
		}
		if a.GoesOnUntil() <= a.Now() {
			t.Error("what runs may not go on")
		}
	})
}

// TestKnown: what hosts say of themselves is there to be shown.
func TestKnown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.members("a")[0]
		b, err := w.start("b", func(p *process, c *membership.Config) {
			p.skew = 2 * time.Second
			c.Work = func(context.Context) (membership.Work, error) {
				return membership.Work{Settled: 1, Position: 7, Entities: 3}, nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "a knows b", func() bool { return a.member.Known()[b.member.Self()].Pong.Entities == 3 })
		known := a.member.Known()[b.member.Self()]
		if known.Pong.Settled != 1 || known.Pong.Position != 7 || known.Skew < 1900*events.Millisecond || known.Skew > 2100*events.Millisecond || known.Contact.Answered == 0 {
			t.Errorf("%+v", known)
		}
	})
}
