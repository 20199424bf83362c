package cluster_test

import (
	"fmt"
	"slices"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// noon is when these tests begin, on the clock of the host that watches.
const noon = 1000 * events.Second

// TestSuspects holds what one host knows of another to what it suspects.
func TestSuspects(t *testing.T) {
	patient := member("b", "", 1)
	patient.Silent = 3 * events.Second
	own := cluster.Own{ID: "a#0", StoreSince: noon - events.Minute}
	for _, test := range []struct {
		name    string
		other   events.HostJoined
		own     cluster.Own
		contact cluster.Contact
		want    events.RemovalReason
	}{
		{"answered just now", member("b", "", 1), own, cluster.Contact{Answered: noon - 100*ms}, ""},
		{"silent", member("b", "", 1), own, cluster.Contact{Answered: noon - 1000*ms}, events.RemovedSilent},
		{"not silent for long enough", member("b", "", 1), own, cluster.Contact{Answered: noon - 999*ms}, ""},
		{"never answered", member("b", "", 1), own, cluster.Contact{Since: noon - 1000*ms}, events.RemovedSilent},
		{"forgiven", member("b", "", 1), own, cluster.Contact{Since: noon - 100*ms, Answered: noon - 5000*ms}, ""},
		{"it allows itself more silence", patient, own, cluster.Contact{Answered: noon - 2900*ms}, ""},
		{"it is late", member("b", "", 1), own, cluster.Contact{Answered: noon - 1300*ms, Answer: cluster.Answer{Lag: 350 * ms}}, ""},
		{"the observer is late", member("b", "", 1), cluster.Own{ID: "a#0", Lag: 350 * ms}, cluster.Contact{Answered: noon - 1300*ms}, ""},
		{"both are late", member("b", "", 1), cluster.Own{ID: "a#0", Lag: 350 * ms}, cluster.Contact{Answered: noon - 1650*ms, Answer: cluster.Answer{Lag: 350 * ms}}, ""},
		{"it says that it is always late", member("b", "", 1), own, cluster.Contact{Answered: noon - 1400*ms, Answer: cluster.Answer{Lag: events.Minute}}, events.RemovedSilent},
		{"it says that it is early", member("b", "", 1), own, cluster.Contact{Answered: noon - 900*ms, Answer: cluster.Answer{Lag: -events.Minute}}, ""},
		{"refuses, and answered just now", member("b", "", 1), own, cluster.Contact{Answered: noon - 200*ms, Refused: noon - 150*ms, Again: noon}, events.RemovedRefused},
		{"refused once", member("b", "", 1), own, cluster.Contact{Answered: noon - 600*ms, Refused: noon - 500*ms, Again: noon - 500*ms}, ""},
		{"storeless", member("b", "", 1), own, cluster.Contact{Answered: noon - 100*ms, Answer: cluster.Answer{Storeless: 3 * events.Second}}, events.RemovedStoreless},
		{"storeless, as the observer was", member("b", "", 1), cluster.Own{ID: "a#0", StoreSince: noon - 3500*ms}, cluster.Contact{Answered: noon - 100*ms, Answer: cluster.Answer{Storeless: 3 * events.Second}}, ""},
		{"storeless, as the observer is", member("b", "", 1), cluster.Own{ID: "a#0"}, cluster.Contact{Answered: noon - 100*ms, Answer: cluster.Answer{Storeless: 3 * events.Second}}, ""},
		{"storeless for longer than the observer has had its store again", member("b", "", 1), cluster.Own{ID: "a#0", StoreSince: noon - 3900*ms}, cluster.Contact{Answered: noon - 100*ms, Answer: cluster.Answer{Storeless: 9 * events.Second}}, ""},
		{"storeless for long, and the observer had one late answer meanwhile", member("b", "", 1), cluster.Own{ID: "a#0", StoreSince: noon - 4000*ms}, cluster.Contact{Answered: noon - 100*ms, Answer: cluster.Answer{Storeless: 9 * events.Second}}, events.RemovedStoreless},
		{"storeless some time ago", member("b", "", 1), own, cluster.Contact{Answered: noon - 600*ms, Answer: cluster.Answer{Storeless: 3 * events.Second}}, ""},
	} {
		v := viewOf(member("a", "", 1), test.other)
		got := cluster.Suspects(v, test.own, map[events.HostID]cluster.Contact{"b#1": test.contact, "gone#7": {}}, noon)
		switch {
		case test.want == "" && len(got) > 0, test.want != "" && (len(got) != 1 || got[0].Because != test.want || got[0].Host != "b#1"):
			t.Errorf("%s: suspects %+v, want %q", test.name, got, test.want)
		}
	}
	if got := cluster.Suspects(viewOf(member("b", "", 1)), own, map[events.HostID]cluster.Contact{"b#0": {}}, noon); len(got) > 0 {
		t.Errorf("who is no member suspects %v", got)
	}
}

// TestReplaceable holds a join to taking only the place of a host that is dead.
func TestReplaceable(t *testing.T) {
	there := cluster.Member{ID: "a#0", Joined: member("a", "", 1)}
	elsewhere := member("a", "", 1)
	elsewhere.Peer = "other:1"
	for _, test := range []struct {
		name    string
		join    events.HostJoined
		contact cluster.Contact
		want    bool
	}{
		{"at its own address", member("a", "", 1), cluster.Contact{Answered: noon}, true},
		{"which answers", elsewhere, cluster.Contact{Since: noon - 5000*ms, Answered: noon}, false},
		{"which was not asked for long", elsewhere, cluster.Contact{Since: noon - 500*ms}, false},
		{"which is silent", elsewhere, cluster.Contact{Since: noon - 1000*ms}, true},
		{"which refuses", elsewhere, cluster.Contact{Since: noon - 200*ms, Refused: noon - 160*ms, Again: noon}, true},
		{"which has no store", elsewhere, cluster.Contact{Since: noon - 500*ms, Answered: noon, Answer: cluster.Answer{Storeless: events.Minute}}, false},
	} {
		if got := cluster.Replaceable(&test.join, &there, test.contact, noon); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestLease holds an effect to beginning and going on only while this host is known to be a member.
func TestLease(t *testing.T) {
	v := viewOf(member("a", "", 1), member("b", "", 1)) // the fencing delay is 5 s
	removed := v.Apply(sagas.Fact{Event: events.HostRemoved{Host: "a#0", By: "b#1", Because: events.RemovedSilent}, Revision: 2})
	begin := func(steps ...func(w *cluster.Watch)) *cluster.Watch {
		w := cluster.NewWatch("a#0", v, noon, noon)
		for _, step := range steps {
			step(w)
		}
		return w
	}
	ticks := func(from, to events.Micros) func(w *cluster.Watch) {
		return func(w *cluster.Watch) {
			for at := from; at <= to; at += cluster.TickEvery {
				w.Tick(noon + at)
			}
		}
	}
	pause := func(from, to events.Micros) func(w *cluster.Watch) {
		return func(w *cluster.Watch) { ticks(0, from)(w); w.Tick(noon + to) }
	}
	read := func(view *cluster.View, sent, at events.Micros) func(w *cluster.Watch) {
		return func(w *cluster.Watch) { w.Stored(view, noon+sent, noon+at) }
	}
	for _, test := range []struct {
		name         string
		watch        *cluster.Watch
		claimed, now events.Micros
		may, reading bool // a read may help
		goOn         bool
	}{
		{"at once", begin(), 0, 1 * ms, true, true, true},
		{"the claim is old", begin(ticks(0, 2600*ms), read(v, 2600*ms, 2600*ms)), 0, 2600 * ms, false, false, true},
		{"the read is old", begin(ticks(0, 2600*ms)), 2000 * ms, 2600 * ms, false, true, true},
		{"the read is older", begin(ticks(0, 3750*ms)), 2000 * ms, 3750 * ms, false, true, false},
		{"the read was sent long before it was answered", begin(ticks(0, 3800*ms), read(v, 50*ms, 3800*ms)), 2000 * ms, 3800 * ms, false, true, false},
		{"removed", begin(read(removed, 1*ms, 2*ms)), 0, 3 * ms, false, false, false},
		{"paused since the claim", begin(pause(100*ms, 900*ms), read(v, 901*ms, 902*ms)), 50 * ms, 903 * ms, false, false, true},
		{"paused before the claim, and read", begin(pause(100*ms, 900*ms), read(v, 901*ms, 902*ms)), 910 * ms, 920 * ms, true, true, true},
		{"paused before the claim, and not read", begin(pause(100*ms, 900*ms)), 910 * ms, 920 * ms, false, true, false},
		{"what is read was sent before the pause", begin(pause(100*ms, 900*ms), read(v, 890*ms, 901*ms)), 910 * ms, 920 * ms, false, true, false},
		{"paused, and no tick came yet", begin(ticks(0, 100*ms)), 0, 600 * ms, false, false, false},
		{"late, but not paused", begin(ticks(0, 100*ms)), 0, 500 * ms, true, true, true},
	} {
		may, reading := test.watch.MayBegin(noon+test.claimed, noon+test.now)
		if goOn := noon+test.now < test.watch.GoOnUntil(noon+test.now); may != test.may || reading != test.reading || goOn != test.goOn {
			t.Errorf("%s: may begin %v, after a read %v, go on %v; want %v, %v, %v", test.name, may, reading, goOn, test.may, test.reading, test.goOn)
		}
	}
}

// TestLeaseEnds: the lease runs from when the latest read was sent, not from when it was answered.
func TestLeaseEnds(t *testing.T) {
	v := viewOf(member("a", "", 1), member("b", "", 1)) // the fencing delay is 5 s
	w := cluster.NewWatch("a#0", v, noon, noon)
	w.Stored(v, noon+10*ms, noon+90*ms)
	if until := w.GoOnUntil(noon + 100*ms); until != noon+3760*ms {
		t.Errorf("until %d ms", (until-noon)/ms)
	}
	w.Tick(noon + 900*ms)
	if until := w.GoOnUntil(noon + 900*ms); until != 0 {
		t.Errorf("after a pause, before a read: until %d ms", (until-noon)/ms)
	}
}

// TestTestimony holds a host to vouching only for what it heard itself, since it was last paused.
func TestTestimony(t *testing.T) {
	v := viewOf(member("a", "", 1), member("b", "", 1))
	w := cluster.NewWatch("a#0", v, noon, noon)
	says := func(at events.Micros, known, vetoes bool) {
		t.Helper()
		if got := w.Testify("b#1", noon+at); got.Known != known || got.Vetoes() != vetoes {
			t.Errorf("after %d ms it says %+v", at/ms, got)
		}
	}
	at := events.Micros(0)
	tick := func(until events.Micros) {
		for ; at <= until; at += cluster.TickEvery {
			w.Tick(noon + at)
		}
	}
	says(1*ms, false, false)
	tick(100 * ms)
	w.Answered("b#1", cluster.Answer{}, noon+100*ms)
	tick(575 * ms)
	says(590*ms, true, true)
	tick(600 * ms)
	says(610*ms, true, false)
	w.Answered("b#1", cluster.Answer{Lag: 200 * ms}, noon+610*ms) // a busy machine
	tick(1300 * ms)
	says(1301*ms, true, true)
	tick(1325 * ms)
	says(1326*ms, true, false)
	w.Tick(noon + 2000*ms) // paused
	says(2001*ms, false, false)
	if got := w.Testify("c#9", noon+2001*ms); got.Known {
		t.Errorf("of a stranger it says %+v", got)
	}
	if got := w.Says(noon + 2001*ms); got.Storeless != 0 || got.Lag == 0 {
		t.Errorf("after a pause it says of itself %+v", got)
	}
}

// TestSlowWitness holds the removal of a silent host to what others heard of it, as long as they live and may say so.
func TestSlowWitness(t *testing.T) {
	v := viewOf(member("a", "", 1), member("b", "", 1), member("c", "", 1))
	for _, test := range []struct {
		name     string
		pongs    events.Micros // the witness answers pings until then
		says     events.Micros // when it says that it hears the silent host; 0: never
		from, to events.Micros // when that is removed; 0: it is not
	}{
		{"it says so at once", events.Minute, 1020 * ms, 0, 0},
		{"it is slow to say so", events.Minute, 1600 * ms, 0, 0},
		{"it lives, and never says anything", events.Minute, 0, 2000 * ms, 2100 * ms},
		{"it has died, too", 1000 * ms, 0, 1500 * ms, 1650 * ms},
		{"it says so, and lives no longer than that", 1100 * ms, 1400 * ms, 0, 0},
	} {
		w := cluster.NewWatch("a#0", v, noon, noon)
		removed := events.Micros(0)
		for at := events.Micros(0); at <= 2500*ms; at += cluster.TickEvery {
			now := noon + at
			w.Tick(now)
			if at%cluster.PingEvery == 0 && at <= test.pongs {
				w.Answered("c#2", cluster.Answer{}, now)
			}
			if at <= 25*ms {
				w.Answered("b#1", cluster.Answer{}, now)
			}
			if test.says > 0 && at >= test.says && at < test.says+cluster.TickEvery {
				w.Witnessed("c#2", "b#1", cluster.Testimony{Known: true, Ago: 10 * ms}, now)
			}
			for _, action := range w.Next(now) {
				if action.Read {
					w.Stored(v, now, now)
				}
			}
			for _, action := range w.Next(now) {
				if action.Append != nil && action.Append.Command.Host == "b#1" && removed == 0 {
					removed = at
				}
			}
			if removed > 0 || test.to == 0 && at > test.says+400*ms && test.says > 0 { // it is asked again after a veto
				break
			}
		}
		if removed < test.from || removed > test.to {
			t.Errorf("%s: removed after %d ms, want %d to %d", test.name, removed/ms, test.from/ms, test.to/ms)
		}
	}
}

// TestWatches holds every member of a large cluster to being watched by five others, and of a small one by all.
func TestWatches(t *testing.T) {
	for _, n := range []int{1, 2, 16, 17, 40} {
		var hosts []events.HostJoined
		for i := range n {
			hosts = append(hosts, member(fmt.Sprintf("h%d", i), "", 1))
		}
		v := viewOf(hosts...)
		watchers := map[events.HostID]int{}
		for id := range v.Members {
			for _, other := range v.Watches(id) {
				watchers[other]++
			}
			if slices.Contains(v.Watches(id), id) {
				t.Errorf("%s watches itself", id)
			}
		}
		want := n - 1
		if n > 16 {
			want = 5
		}
		for id := range v.Members {
			if watchers[id] != want {
				t.Errorf("%s of %d is watched by %d, want %d", id, n, watchers[id], want)
			}
		}
	}
}

// TestDisconnected: a member whose connection ended is pinged at once, or 50 ms after the latest ping; one whose connections go on ending is pinged no oftener than one whose
// port refuses, and is not suspected.
func TestDisconnected(t *testing.T) {
	v := viewOf(member("a", "", 1), member("b", "", 1))
	w := cluster.NewWatch("a#0", v, noon, noon)
	var pings []events.Micros
	run := func(at events.Micros) {
		w.Tick(noon + at)
		for _, action := range w.Next(noon + at) {
			switch {
			case action.Ping != nil:
				pings = append(pings, at/ms)
			case action.Read:
				w.Stored(v, noon+at, noon+at)
			case action.Append != nil:
				t.Errorf("after %d ms: %+v", at/ms, action.Append)
			}
		}
	}
	for at := events.Micros(0); at <= 1000*ms; at += cluster.TickEvery {
		if at >= 225*ms && at <= 300*ms || at == 775*ms {
			w.Disconnected("b#1", noon+at)
		}
		w.Answered("b#1", cluster.Answer{}, noon+at)
		run(at)
	}
	if want := []events.Micros{0, 150, 225, 275, 325, 475, 625, 775, 925}; !slices.Equal(pings, want) {
		t.Errorf("pinged after %v ms, want %v", pings, want)
	}
	w.Disconnected("stranger#7", noon+1000*ms)
}
