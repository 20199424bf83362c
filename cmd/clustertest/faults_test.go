//go:build linux

package clustertest

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The flags of the tests.
var (
	seed   = flag.Uint64("seed", 0, "repeats the choices of a run; 0: those of the time. What falls between two of them, the machine decides")
	rounds = flag.Int("rounds", 0, "faults that befall a cluster; 0: as many as there is time for beside other tests")
	only   = flag.String("fault", "", "the only kind of fault")
	silent = flag.Duration("silent", time.Second, "how long hosts may be silent: longer on a machine that does something else too")
)

// chosen is where a test's choices come from.
func chosen(t *testing.T) *rand.Rand {
	t.Helper()
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano()) //nolint:gosec // after 1970
	}
	t.Logf("-seed %d repeats it", from)
	return rand.New(rand.NewPCG(from, 14)) //nolint:gosec // choices of a test
}

// fault befalls a cluster. It returns who may have been removed for it, and who must have been.
type fault struct {
	name   string
	strike func(w *world) (may, must []*host)
}

func faults() []fault {
	return []fault{
		{"killed", (*world).killed},
		{"stopped for 5 s", (*world).stopped},
		{"cut off", (*world).cutOff},
		{"one pair cut", (*world).pairCut},
		{"one way cut", (*world).wayCut},
		{"mute to the others", (*world).mute},
		{"one way to the store cut", (*world).storeCut},
		{"the store stopped for 3 s", (*world).storeStopped},
	}
}

func (w *world) any() *host { return w.hosts[w.random.IntN(len(w.hosts))] }

// two are different hosts.
func (w *world) two() (a, b *host) {
	i := w.random.IntN(len(w.hosts))
	return w.hosts[i], w.hosts[(i+1+w.random.IntN(len(w.hosts)-1))%len(w.hosts)]
}

func (w *world) pause(d time.Duration) { wait(w.t.Context(), d) }

func (w *world) killed() (may, must []*host) {
	h := w.any()
	h.kill()
	w.pause(time.Duration(w.random.IntN(1500)) * time.Millisecond)
	h.begin()
	return []*host{h}, []*host{h} // by the others, or by its join
}

// untilRemoved has a fault begin that befalls a host, and waits until it has lasted for a time and the host was removed for it.
func (w *world) untilRemoved(h *host, least time.Duration, begin func()) {
	w.t.Helper()
	was, _ := w.view().Named(h.name)
	begin()
	w.pause(least)
	w.until(string(was.ID)+" is removed", func() bool { _, is := w.view().Member(was.ID); return !is })
}

func (w *world) stopped() (may, must []*host) {
	h := w.any()
	w.untilRemoved(h, 5*time.Second, func() { w.check(h.process().stop()) })
	w.check(h.process().wake())
	return []*host{h}, []*host{h}
}

func (w *world) cutOff() (may, must []*host) {
	h := w.any()
	w.untilRemoved(h, 5*time.Second, func() { w.net.cutOff(h.machine, true) })
	w.net.cutOff(h.machine, false)
	return []*host{h}, []*host{h}
}

func (w *world) pairCut() (may, must []*host) {
	a, b := w.two()
	w.net.cutPair(a.machine, b.machine, true)
	w.pause(4 * time.Second)
	w.net.cutPair(a.machine, b.machine, false)
	return nil, nil
}

func (w *world) wayCut() (may, must []*host) {
	a, b := w.two()
	w.net.cut(a.machine, b.machine, true)
	w.pause(4 * time.Second)
	w.net.cut(a.machine, b.machine, false)
	return nil, nil
}

// mute: a host hears the others, and they do not hear it. All reach the store.
func (w *world) mute() (may, must []*host) {
	h := w.any()
	cut := func(cut bool) {
		for _, other := range w.hosts {
			if other != h {
				w.net.cut(h.machine, other.machine, cut)
			}
		}
	}
	w.untilRemoved(h, time.Second, func() { cut(true) })
	cut(false)
	return []*host{h}, []*host{h}
}

func (w *world) storeCut() (may, must []*host) {
	h, store := w.any(), w.net.all[1]
	from, to := h.machine, store
	if w.random.IntN(2) == 0 {
		from, to = to, from
	}
	w.net.cut(from, to, true)
	w.pause(6 * time.Second)
	w.net.cut(from, to, false)
	return []*host{h}, nil
}

func (w *world) storeStopped() (may, must []*host) {
	w.check(w.store.stop())
	w.pause(3 * time.Second)
	w.check(w.store.wake())
	return nil, nil
}

// TestFaults: a cluster under load keeps its promises through whatever befalls its hosts, its network and its store. After each fault, each message that was accepted is
// in one turn, which ended once; no line is in a file twice; feeds had every event once and in order; every decision verifies; and only who was dead to the others was
// removed.
func TestFaults(t *testing.T) {
	w := newWorld(t, chosen(t), nil, "books-1", "books-2", "books-3")
	l := newLoad(w, 12)
	for i, f := range w.drawn() {
		w.whole()
		from := w.view().Epoch
		accepted, began := len(l.sent), time.Now()
		var may, must []*host
		l.during(4, 60*time.Millisecond, func() {
			w.pause(500 * time.Millisecond)
			may, must = f.strike(w)
			w.pause(500 * time.Millisecond)
		})
		w.whole()
		l.rest()
		l.judge()
		removed := w.removed(from)
		t.Logf("%d: %s: %d messages, the slowest was accepted in %s, %d other answers; removed: %v; in %s", i+1, f.name, len(l.sent)-accepted,
			l.slow.Round(time.Millisecond), len(l.failed), slices.Sorted(maps.Keys(removed)), time.Since(began).Round(time.Millisecond))
		for name, e := range removed {
			if !slices.ContainsFunc(may, func(h *host) bool { return h.name == name }) {
				t.Errorf("%s was removed by %s, because %s (%s)", e.Host, e.By, e.Because, e.Detail)
			}
		}
		for _, h := range must {
			if _, was := removed[h.name]; !was {
				t.Errorf("%s was not removed", h.name)
			}
		}
		l.slow, l.failed = 0, nil
		if t.Failed() {
			return
		}
	}
}

// drawn are the faults of a run: each kind, in a random order, as often as there are rounds.
func (w *world) drawn() []fault {
	kinds := slices.DeleteFunc(faults(), func(f fault) bool { return *only != "" && f.name != *only })
	if len(kinds) == 0 {
		w.t.Fatalf("there is no fault %q", *only)
	}
	want := *rounds
	if want == 0 {
		want = min(5, len(kinds))
	}
	var list []fault
	for len(list) < want {
		w.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		list = append(list, kinds...)
	}
	return list[:want]
}
