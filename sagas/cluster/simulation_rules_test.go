package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/life/events"
)

// clusterOf starts n hosts and lets them become members.
func clusterOf(t *testing.T, seed uint64, n int) *simulation {
	t.Helper()
	w := newSimulation(seed, 5*ms)
	for i := range n {
		w.start(member(fmt.Sprintf("h%d", i), "", 100), events.Micros(w.rand(1000))*events.Second, float64(w.rand(2000)-1000)/1e6)
	}
	if !w.until(10*events.Second, w.agreed) {
		t.Fatalf("the hosts do not become members:\n%s", w.story())
	}
	w.run(events.Second)
	w.note("---")
	return w
}

// settle lets the cluster come to rest, and fails if it has problems or does not.
func settle(t *testing.T, w *simulation) {
	t.Helper()
	if !w.until(20*events.Second, w.agreed) {
		t.Errorf("the hosts do not come to one view:\n%s", w.story())
	}
	if len(w.problems) > 0 {
		t.Errorf("%v:\n%s", w.problems, w.story())
	}
}

// TestFaults holds each fault by itself to who is removed by it, and how soon.
func TestFaults(t *testing.T) {
	all := func(w *simulation) []string { return append(w.names(), theStore) }
	for _, test := range []struct {
		name    string
		hosts   int
		fault   func(w *simulation)
		removed int
		within  instant // all of them
	}{
		{"killed", 3, func(w *simulation) { w.kill(w.hosts[0]) }, 1, 450 * ms},
		{"killed, of two", 2, func(w *simulation) { w.kill(w.hosts[0]) }, 1, 450 * ms},
		{"two of three killed", 3, func(w *simulation) { w.kill(w.hosts[0]); w.kill(w.hosts[1]) }, 2, 500 * ms},
		{"killed, of eighteen", 18, func(w *simulation) { w.kill(w.hosts[3]) }, 1, 450 * ms},
		{"off", 3, func(w *simulation) { w.powerOff(w.hosts[0]) }, 1, 1300 * ms},
		{"off, of two", 2, func(w *simulation) { w.powerOff(w.hosts[0]) }, 1, 1300 * ms},
		{"two of three off", 3, func(w *simulation) { w.powerOff(w.hosts[0]); w.powerOff(w.hosts[1]) }, 2, 1900 * ms},
		{"off, of eighteen", 18, func(w *simulation) { w.powerOff(w.hosts[3]) }, 1, 1300 * ms},
		{"paused for 5 s", 3, func(w *simulation) { w.pause(w.hosts[1], 5*events.Second) }, 1, 1300 * ms},
		{"paused shortly", 3, func(w *simulation) { w.pause(w.hosts[1], 600*ms) }, 0, 0},
		{"all paused", 3, func(w *simulation) {
			for _, h := range w.hosts {
				w.pause(h, 5*events.Second+instant(w.rand(100))*ms)
			}
		}, 0, 0},
		{"one pair cut", 3, func(w *simulation) {
			w.cutOff([]string{"h0"}, []string{"h1"}, 5*events.Second)
			w.cutOff([]string{"h1"}, []string{"h0"}, 5*events.Second)
		}, 0, 0},
		{"cut off shortly, then one pair, while the store stalls", 3, func(w *simulation) {
			w.cutOff([]string{"h0"}, []string{"h1", "h2"}, 1900*ms)
			w.cutOff([]string{"h1", "h2"}, []string{"h0"}, 1900*ms)
			w.cutOff([]string{"h0"}, []string{"h1"}, 5*events.Second)
			w.cutOff([]string{"h1"}, []string{"h0"}, 5*events.Second)
			w.stall(4 * events.Second)
		}, 0, 0},
		{"one pair cut one way", 4, func(w *simulation) { w.cutOff([]string{"h0"}, []string{"h1"}, 5*events.Second) }, 0, 0},
		{"cut off from all", 3, func(w *simulation) {
			w.cutOff([]string{"h0"}, all(w), 5*events.Second)
			w.cutOff(all(w), []string{"h0"}, 5*events.Second)
		}, 1, 1300 * ms},
		{"hears nothing, of two", 2, func(w *simulation) { w.cutOff(all(w), []string{"h0"}, 5*events.Second) }, 1, 1300 * ms},
		{"hears nothing", 3, func(w *simulation) { w.cutOff(all(w), []string{"h0"}, 5*events.Second) }, 1, 1300 * ms},
		{"is heard by nobody", 3, func(w *simulation) { w.cutOff([]string{"h0"}, all(w), 5*events.Second) }, 1, 1300 * ms},
		{"cut off from its peers only", 3, func(w *simulation) {
			w.cutOff([]string{"h0"}, w.names(), 5*events.Second)
			w.cutOff(w.names(), []string{"h0"}, 5*events.Second)
		}, 1, 1300 * ms},
		{"no store", 3, func(w *simulation) { w.cutOff([]string{"h0"}, []string{theStore}, 9*events.Second) }, 1, 6 * events.Second},
		{"the store stalls", 3, func(w *simulation) { w.stall(3 * events.Second) }, 0, 0},
		{"the store stalls for long", 5, func(w *simulation) { w.stall(9 * events.Second) }, 0, 0},
		{"two hosts cut from each other", 2, func(w *simulation) {
			w.cutOff([]string{"h0"}, []string{"h1"}, 5*events.Second)
			w.cutOff([]string{"h1"}, []string{"h0"}, 5*events.Second)
		}, 1, 1300 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(4) {
				w := clusterOf(t, seed, test.hosts)
				start := w.now
				test.fault(w)
				w.run(6 * events.Second)
				settle(t, w)
				if len(w.removals) != test.removed {
					t.Fatalf("%d were removed, want %d:\n%s", len(w.removals), test.removed, w.story())
				}
				if strings.HasPrefix(test.name, "two of three") && w.refused > 0 {
					t.Errorf("who is alone was refused:\n%s", w.story())
				}
				for _, r := range w.removals {
					if strings.HasPrefix(test.name, "hears nothing") && r.Host != w.hosts[0].id {
						t.Errorf("who heard nothing removed %s:\n%s", r.Host, w.story())
					}
					if r.at-start > test.within {
						t.Errorf("%s was removed after %d ms, want at most %d:\n%s", r.Host, (r.at-start)/ms, test.within/ms, w.story())
					}
				}
			}
		})
	}
}

// TestSmallerPartLoses splits clusters in two, with the store in reach of both, or of neither for a while: then the smaller part waits longer.
func TestSmallerPartLoses(t *testing.T) {
	for seed := range uint64(16) {
		n := 3 + int(seed%4)
		w := clusterOf(t, seed, n)
		names := w.names()
		small := 1 + int(w.rand(int64((n-1)/2)))
		few, many := names[:small], names[small:]
		w.cutOff(few, many, 8*events.Second)
		w.cutOff(many, few, 8*events.Second)
		if seed%2 == 1 {
			w.stall(2500 * ms)
		}
		w.run(10 * events.Second)
		settle(t, w)
		if len(w.removals) != small {
			t.Fatalf("%d of %d were removed, want the smaller part, %v:\n%s", len(w.removals), n, few, w.story())
		}
		for _, r := range w.removals {
			if id := r.Host.Name(); id >= many[0] {
				t.Errorf("%s was removed, of the larger part:\n%s", id, w.story())
			}
		}
	}
}
