package cluster_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// TestAnyFaults lets any faults happen to a cluster, then none, and holds that
//
//   - at one epoch there is one view, whoever folds it,
//   - nobody is removed who could have answered, or reach the store, whatever else happens (see judge),
//   - who was paused accuses nobody at first,
//   - all processes that live come to one view, and know it,
//   - a change of one host moves only what it must.
func TestAnyFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSimulation(rapid.Uint64().Draw(t, "seed"), instant(rapid.IntRange(1, 40).Draw(t, "delay"))*ms)
		for i := range rapid.IntRange(2, 6).Draw(t, "hosts") {
			w.begin(fmt.Sprintf("h%d", i), t)
		}
		w.until(20*events.Second, w.agreed)
		for range rapid.IntRange(1, 12).Draw(t, "faults") {
			w.fault(t)
			w.run(instant(rapid.IntRange(0, 2500).Draw(t, "then")) * ms)
		}
		w.run(6 * events.Second) // no fault lasts longer
		if len(w.running()) == 0 {
			w.begin("last", t)
		}
		if !w.until(30*events.Second, w.agreed) {
			w.problem("the hosts do not come to one view")
		}
		w.checkMoves()
		if len(w.problems) > 0 {
			t.Fatalf("%v\n%s", w.problems, w.story())
		}
	})
}

func (w *simulation) begin(name string, t *rapid.T) {
	drift := float64(rapid.IntRange(-20_000, 20_000).Draw(t, "drift")) / 1e6
	w.start(member(name, rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone"), rapid.IntRange(0, 3).Draw(t, "weight")*50),
		events.Micros(rapid.IntRange(0, 100_000).Draw(t, "offset"))*events.Second, drift)
}

// fault lets one thing happen.
func (w *simulation) fault(t *rapid.T) {
	running := w.running()
	if len(running) == 0 {
		w.begin(fmt.Sprintf("n%d", len(w.hosts)), t)
		return
	}
	host := rapid.SampledFrom(running).Draw(t, "host")
	other := rapid.SampledFrom(running).Draw(t, "other")
	length := instant(rapid.IntRange(10, 5000).Draw(t, "length")) * ms
	some, rest := w.split(t)
	all := append(w.names(), theStore)
	one := []string{host.name()}
	switch rapid.SampledFrom([]string{
		"kill", "off", "reset", "pause", "pause", "pair", "one way", "cut off", "deaf", "mute", "split", "one-way split", "no store", "stall", "stall", "start", "restart", "ask", "leave",
	}).Draw(t, "fault") {
	case "kill":
		w.kill(host)
	case "reset":
		w.note("connections to %s end", host.id)
		w.disconnect(host)
	case "off":
		w.powerOff(host)
	case "pause":
		w.pause(host, length)
	case "pair":
		w.cutOff(one, []string{other.name()}, length)
		w.cutOff([]string{other.name()}, one, length)
	case "one way":
		w.cutOff(one, []string{other.name()}, length)
	case "cut off":
		w.cutOff(one, all, length)
		w.cutOff(all, one, length)
	case "deaf":
		w.cutOff(all, one, length)
	case "mute":
		w.cutOff(one, all, length)
	case "split":
		w.cutOff(some, rest, length)
		w.cutOff(rest, some, length)
	case "one-way split":
		w.cutOff(some, rest, length)
	case "no store":
		w.cutOff(one, []string{theStore}, length)
	case "stall":
		w.stall(length)
	case "start":
		w.begin(fmt.Sprintf("n%d", len(w.hosts)), t)
	case "restart":
		w.kill(host)
		w.begin(host.name(), t)
	case "ask":
		w.say(cluster.Remove{Host: host.id, By: "ann", Because: events.RemovedAsked})
	case "leave":
		if w.say(cluster.Leave{Host: host.id}) {
			host.gone = true
		}
	}
}

func (w *simulation) split(t *rapid.T) (some, rest []string) {
	for _, name := range w.names() {
		if rapid.Bool().Draw(t, "side") {
			some = append(some, name)
		} else {
			rest = append(rest, name)
		}
	}
	return some, rest
}

// say has the cluster decide what a person wants, or a host that goes.
func (w *simulation) say(command sagas.Command) bool {
	decided, err := w.view().Decide(command)
	w.record(decided, nil)
	return err == nil
}

// checkMoves holds every change of the view to moving only what it must: what the host that went owned, and what the one that came owns.
func (w *simulation) checkMoves() {
	for i := 1; i < len(w.history); i++ {
		before, after := w.history[i-1], w.history[i]
		for n := range 40 {
			stream := events.Stream(fmt.Sprintf("agent-%d", n))
			from, had := before.Owner(stream)
			to, has := after.Owner(stream)
			if from == to {
				continue
			}
			owned, stays := after.Members[from]
			_, was := before.Members[to]
			if (!had || stays && owned.State == cluster.StateJoined) && (!has || was) {
				w.problem("epoch %d moves %s from %s to %s", after.Epoch, stream, from, to)
			}
		}
	}
}
