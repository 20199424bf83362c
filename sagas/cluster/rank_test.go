package cluster_test

import (
	"fmt"
	"math"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// member is a host for tests.
func member(name, zone string, weight int) events.HostJoined {
	return events.HostJoined{
		Name: name, Peer: name + ":1", Zone: zone, Weight: weight, Build: "b", Protocol: events.ProtocolRange{Oldest: 1, Newest: 1},
		Fence: 5 * events.Second, Silent: events.Second,
	}
}

// viewOf is a cluster with these hosts.
func viewOf(hosts ...events.HostJoined) *cluster.View {
	v := cluster.NewView("c")
	for _, host := range hosts {
		v = v.Apply(sagas.Fact{Event: host, Revision: v.Epoch + 1})
	}
	return v
}

// families are names as people and programs give them.
var families = map[string]func(i int) events.Stream{
	"numbered":   func(i int) events.Stream { return events.Stream(fmt.Sprintf("agent-%d", i)) },
	"run":        func(i int) events.Stream { return events.Stream(fmt.Sprintf("agent-run-%010x", i*7919)) },
	"same start": func(i int) events.Stream { return events.Stream(fmt.Sprintf("agent-books-accounts-2026-%05d", i)) },
	"same end":   func(i int) events.Stream { return events.Stream(fmt.Sprintf("agent-%05d-of-the-books-department", i)) },
	"letters": func(i int) events.Stream {
		return events.Stream(fmt.Sprintf("agent-%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26))
	},
}

// shares counts how many of n entities each host owns, by name.
func shares(t *testing.T, v *cluster.View, n int, name func(int) events.Stream) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for i := range n {
		owner, ok := v.Owner(name(i))
		if !ok {
			t.Fatalf("%s has no owner", name(i))
		}
		got[owner.Name()]++
	}
	return got
}

// TestSpread holds three hosts to a third each, within 7 %, whatever their names and those of the entities are.
func TestSpread(t *testing.T) {
	const n = 9000
	for _, hosts := range [][3]string{{"a", "b", "c"}, {"books-1", "books-2", "books-3"}, {"h0", "h00", "h000"}, {"eu.west.1", "eu.west.2", "us"}} {
		v := viewOf(member(hosts[0], "", 1), member(hosts[1], "", 1), member(hosts[2], "", 1))
		for family, name := range families {
			for host, got := range shares(t, v, n, name) {
				if math.Abs(got-n/3) > n/3*0.07 {
					t.Errorf("%s of %v owns %.0f of %d %s names, want %d within 7 %%", host, hosts, got, n, family, n/3)
				}
			}
		}
	}
}

// TestWeights holds shares to the hosts' weights.
func TestWeights(t *testing.T) {
	const n = 20000
	v := viewOf(member("a", "", 100), member("b", "", 50), member("c", "", 250), member("d", "", 0))
	got := shares(t, v, n, families["numbered"])
	for host, share := range map[string]float64{"a": 0.25, "b": 0.125, "c": 0.625, "d": 0} {
		if math.Abs(got[host]-n*share) > n*0.0125 {
			t.Errorf("%s owns %.0f of %d, want %.0f", host, got[host], n, n*share)
		}
	}
}

// TestPlacementIsPermanent holds placement to what it was when it was introduced: hosts that compute it differently would each be sure to own
// the same entity. It changes only with the protocol between hosts.
func TestPlacementIsPermanent(t *testing.T) {
	v := viewOf(member("books-1", "", 100), member("books-2", "", 50), member("books-3", "", 7), member("books-4", "", 0))
	const want = "11111221232211221132211221113132"
	got := ""
	for i := range len(want) {
		owner, _ := v.Owner(families["run"](i))
		got += owner.Name()[len("books-"):]
	}
	if got != want {
		t.Errorf("the owners are %s, want %s", got, want)
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{1, 3, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var hosts []events.HostJoined
			for i := range n {
				hosts = append(hosts, member(fmt.Sprintf("books-%d", i), "", 100))
			}
			v := viewOf(hosts...)
			for b.Loop() {
				v.Owner("agent-demo")
			}
		})
	}
}

// projectorOf is a host that keeps projections.
func projectorOf(name, zone string) events.HostJoined {
	host := member(name, zone, 100)
	host.Roles = []string{cluster.RoleProjections}
	return host
}

// TestKeepers: with few hosts each keeps every projection; with more, two that have the role do, in two zones if there are, and not one that drains.
func TestKeepers(t *testing.T) {
	few := viewOf(projectorOf("a", ""), projectorOf("b", ""), projectorOf("c", ""))
	if keepers := few.Keepers("balance"); keepers != nil {
		t.Errorf("of three hosts %v keep balance, want each", keepers)
	}
	if keepers := viewOf(member("a", "", 1), member("b", "", 1), member("c", "", 1), member("d", "", 1)).Keepers("balance"); keepers != nil {
		t.Errorf("of hosts without the role %v keep balance, want each", keepers)
	}
	one := viewOf(member("a", "", 1), member("b", "", 1), member("c", "", 1), projectorOf("d", ""))
	if keepers := one.Keepers("balance"); len(keepers) != 1 || keepers[0].Name() != "d" {
		t.Errorf("%v keep balance, want d", keepers)
	}
	v := viewOf(projectorOf("a", "eu"), projectorOf("b", "eu"), projectorOf("c", "eu"), projectorOf("d", "us"), member("e", "us", 1), projectorOf("f", "eu"))
	kept := map[string]int{}
	const n = 3000
	for i := range n {
		name := fmt.Sprint("projection-", i)
		keepers := v.Keepers(name)
		if len(keepers) != 2 || v.Members[keepers[0]].Joined.Zone == v.Members[keepers[1]].Joined.Zone {
			t.Fatalf("%v keep %s", keepers, name)
		}
		for _, keeper := range keepers {
			kept[keeper.Name()]++
		}
		// A host that goes, or drains, moves only what it kept.
		for _, event := range []events.Event{events.HostDraining{Host: keepers[1]}, events.HostRemoved{Host: keepers[1]}} {
			after := v.Apply(sagas.Fact{Event: event, Revision: v.Epoch + 1}).Keepers(name)
			if len(after) != 2 || after[0] != keepers[0] || after[1] == keepers[1] {
				t.Fatalf("after %T of %s, %v keep %s, before %v did", event, keepers[1], after, name, keepers)
			}
		}
	}
	if kept["e"] > 0 || kept["d"] != n {
		t.Errorf("hosts keep %v", kept)
	}
	for _, host := range []string{"a", "b", "c", "f"} {
		if math.Abs(float64(kept[host])-n/4) > n/4*0.12 {
			t.Errorf("%s keeps %d of %d, want a quarter", host, kept[host], n)
		}
	}
}

// TestKeepersArePermanent holds the hosts of projections to what they were, as TestPlacementIsPermanent does the owners of entities.
func TestKeepersArePermanent(t *testing.T) {
	v := viewOf(projectorOf("books-1", ""), projectorOf("books-2", ""), projectorOf("books-3", ""), projectorOf("books-4", ""), projectorOf("books-5", ""))
	got := ""
	for _, name := range []string{"balance", "spending", "mode", "approvals", "waterfall", "failures", "knowledge", "forks"} {
		for _, keeper := range v.Keepers(name) {
			got += keeper.Name()[len("books-"):]
		}
		got += " "
	}
	if want := "35 21 25 32 31 24 13 53 "; got != want {
		t.Errorf("they are kept by %s, want %s", got, want)
	}
}
