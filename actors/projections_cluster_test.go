package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// keeping makes a host one that keeps projections, with states of its own.
func keeping(zone string) func(*events.HostJoined, *actors.Config) {
	snapshots := actorstest.NewMemory()
	return func(joined *events.HostJoined, config *actors.Config) {
		joined.Zone, joined.Roles = zone, []string{cluster.RoleProjections}
		config.Snapshots, config.Declare = snapshots, actorstest.Declare
	}
}

// kept says which hosts have a projection of their own, as they see it.
func (h *hosts) kept(name string) (by []events.HostID) {
	for _, m := range h.all {
		status, err := m.Projector.Projection(h.t.Context(), name)
		if err == nil && status.State != projector.StateElsewhere {
			by = append(by, m.node.Self())
		}
	}
	return by
}

func (h *hosts) of(id events.HostID) *member {
	return h.all[slices.IndexFunc(h.all, func(m *member) bool { return m.node.Self() == id })]
}

// balanceOf asks for what the wallets hold, as of a position at least.
func balanceOf(ctx context.Context, m *member, least events.Position) (map[events.WalletID]bool, error) {
	answer, err := m.Query(ctx, projector.Question{Projection: "balance", Min: least}, nil)
	if err != nil {
		return nil, err
	}
	var wallets struct {
		Wallets []struct {
			Wallet events.WalletID `json:"wallet"`
		} `json:"wallets"`
	}
	found := map[events.WalletID]bool{}
	err = json.Unmarshal(answer.Answer, &wallets)
	for _, w := range wallets.Wallets {
		found[w.Wallet] = true
	}
	return found, err
}

// With more than three hosts two keep each projection, in different zones; any host answers for all, with what it stored or had stored, and what was
// stored through another one where the position is given. When a keeper dies the other answers at once, and a third builds.
func TestProjectionsLiveOnTwoHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		for i, zone := range []string{"eu", "eu", "us"} {
			h.join(fmt.Sprint("h", i), keeping(zone))
		}
		if kept := h.kept("balance"); len(kept) != 3 {
			t.Errorf("of three hosts %v keep balance", kept)
		}
		h.join("h3", keeping("us"))
		h.join("h4", func(_ *events.HostJoined, config *actors.Config) { config.Declare = actorstest.Declare })
		keepers := h.cluster.View().Keepers("balance")
		h.until("two keep it", func() bool { return len(h.kept("balance")) == 2 })
		if kept := h.kept("balance"); !slices.Contains(kept, keepers[0]) || !slices.Contains(kept, keepers[1]) {
			t.Errorf("%v keep balance, want %v", kept, keepers)
		}
		if kept := h.kept(projections.RosterName); len(kept) != 5 {
			t.Errorf("%v keep the roster", kept)
		}

		open := func(m *member, name string) events.Position {
			t.Helper()
			receipt, err := m.Do(t.Context(), events.WalletStream(events.WalletID(name)), sagas.OpenWallet{Meta: meta("open-" + name), Wallet: events.WalletID(name), Credit: events.Dollar}, actors.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			return receipt.Position
		}
		asks := func(m *member, name string, least events.Position) {
			t.Helper()
			if found, err := balanceOf(t.Context(), m, least); err != nil || !found[events.WalletID(name)] {
				t.Errorf("at %s: %v, %v, want %s", m.name, found, err, name)
			}
		}
		for round := range 3 {
			for i, m := range h.all {
				name := fmt.Sprintf("w%d-%d", round, i)
				at := open(m, name)
				asks(m, name, 0)                              // what it had stored
				asks(h.all[(i+1+round)%len(h.all)], name, at) // what was stored through another one
			}
		}

		// A position that history has not is waited for, and then an error.
		began := time.Now()
		outside := h.all[slices.IndexFunc(h.all, func(m *member) bool { return !slices.Contains(keepers, m.node.Self()) })]
		var behind *projector.BehindError
		if _, err := balanceOf(t.Context(), outside, 1<<40); !errors.As(err, &behind) || !strings.Contains(err.Error(), "was not at") || time.Since(began) > 12*time.Second {
			t.Errorf("a position that is not there: %v after %s", err, time.Since(began))
		}

		// One that does not answer, and is still a member, is not waited for.
		h.of(keepers[0]).node.Pause()
		began = time.Now()
		asks(outside, "w0-0", 0)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s while a keeper was paused", took)
		}
		h.of(keepers[0]).node.Resume()

		// One that dies: the other answers at once, and a third builds.
		dead := h.of(keepers[0])
		h.kill(dead)
		h.all = slices.DeleteFunc(h.all, func(m *member) bool { return m == dead })
		began = time.Now()
		for _, m := range h.all {
			asks(m, "w0-0", 0)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s when a keeper had died", took)
		}
		if now := h.cluster.View().Keepers("balance"); len(now) != 2 || now[0] != keepers[1] && now[1] != keepers[1] {
			t.Errorf("after %s, %v keep balance", keepers[0], now)
		}
		h.until("a third built it", func() bool {
			for _, id := range h.cluster.View().Keepers("balance") {
				status, err := h.of(id).Projector.Projection(t.Context(), "balance")
				if err != nil || status.State != projector.StateLive {
					return false
				}
			}
			return true
		})
	})
}

// What is done with projections is done at any host: listed, shown, added, stepped through, rebuilt, skipped and removed.
func TestProjectionsAtAnyHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		for i := range 5 {
			h.join(fmt.Sprint("h", i), keeping(""))
		}
		do := func(m *member, command sagas.Command) error {
			_, err := m.Do(t.Context(), events.ProjectionsStream(sagas.DefaultTenant), command, actors.Origin{})
			return err
		}
		h.must(do(h.all[0], sagas.AddProjection{Meta: meta("add"), Source: events.Text{Inline: "tally 1 fails wallet.credited"}, By: "ann"}))
		receipt, err := h.all[1].Do(t.Context(), "wallet-w", sagas.OpenWallet{Meta: meta("open"), Wallet: "w", Credit: events.Dollar}, actors.Origin{})
		h.must(err)
		keepers := h.cluster.View().Keepers("tally")
		for _, m := range h.all {
			h.until("it is there", func() bool {
				answer, err := m.Query(t.Context(), projector.Question{Projection: "tally", Query: projections.Query{Name: "counts"}, Min: receipt.Position}, nil)
				return err == nil && strings.Contains(string(answer.Answer), `"wallet.opened":1`)
			})
			list, err := m.Projections(t.Context())
			h.must(err)
			for _, status := range list {
				want := h.cluster.View().Keepers(status.Name)
				if status.Name == projections.RosterName {
					want = []events.HostID{""}
				}
				if status.State != projector.StateLive || !slices.Contains(want, status.Host) {
					t.Errorf("at %s: %s is %s on %q, want live on %v", m.name, status.Name, status.State, status.Host, want)
				}
			}
			steps, err := m.Step(t.Context(), "tally", 0, 1)
			if err != nil || len(steps) != 1 {
				t.Errorf("at %s: %d steps, %v", m.name, len(steps), err)
			}
		}
		receipt, err = h.all[2].Do(t.Context(), "wallet-w", sagas.Credit{Meta: meta("credit"), Amount: events.Dollar}, actors.Origin{})
		h.must(err)
		var stopped *projector.Stopped
		for _, m := range h.all {
			h.until("it stops", func() bool {
				status, err := m.Projection(t.Context(), "tally")
				stopped = status.Stopped
				return err == nil && stopped != nil
			})
		}
		outside := h.all[slices.IndexFunc(h.all, func(m *member) bool { return !slices.Contains(keepers, m.node.Self()) })]
		if err := do(outside, sagas.SkipEvent{Meta: meta("wrong"), Name: "tally", Position: 1, By: "ann", Reason: "a mistake"}); err == nil {
			t.Error("an event at which it did not stop is skipped")
		}
		h.must(do(outside, sagas.SkipEvent{Meta: meta("skip"), Name: "tally", Position: stopped.Position, By: "ann", Reason: "a mistake"}))
		for _, m := range h.all {
			h.until("it goes on", func() bool {
				answer, err := m.Query(t.Context(), projector.Question{Projection: "tally", Query: projections.Query{Name: "counts"}, Min: receipt.Position}, nil)
				return err == nil && answer.Stopped == nil
			})
		}
		rebuilt, err := outside.Rebuild(t.Context(), nil, nil)
		names := make([]string, 0, len(rebuilt.Projections))
		for _, one := range rebuilt.Projections {
			names = append(names, one.Name)
		}
		if len(names) != len(projections.Catalog)+1 || err != nil {
			t.Errorf("rebuilt %v, %v", names, err)
		}
		h.must(do(outside, sagas.RemoveProjection{Meta: meta("remove"), Name: "tally", By: "ann"}))
		for _, m := range h.all {
			h.until("it is gone", func() bool {
				var refused *sagas.RefusalError
				_, err := m.Query(t.Context(), projector.Question{Projection: "tally"}, nil)
				return errors.As(err, &refused) && refused.Code == sagas.RefusedMissing
			})
		}
	})
}

func (h *hosts) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}
