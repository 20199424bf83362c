package cluster_test

import (
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// TestLeaseBeforeLoss: what a host runs has to end before another one may say that it was lost, whatever the store, the host and its machine do meanwhile: reads that
// take long, fail, or show what was so when they were sent; pauses; a host that is cut off, or is removed while all is well. The other host reads the removal no sooner
// than it is stored, and waits for the whole fencing delay; a quarter of that is left, less what clocks differ by.
func TestLeaseBeforeLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		joined := member("b", "", 1)
		joined.Fence = events.Micros(rapid.Int64Range(1, 60).Draw(t, "fence")) * events.Second
		v := viewOf(member("a", "", 1), joined)
		removed := v.Apply(sagas.Fact{Event: events.HostRemoved{Host: "b#1", By: "a#0", Because: events.RemovedAsked}, Revision: v.Epoch + 1})
		removal := noon + events.Micros(rapid.Int64Range(0, 2*int64(joined.Fence)).Draw(t, "removed after"))
		asOf := func(at events.Micros) *cluster.View {
			if at >= removal {
				return removed
			}
			return v
		}
		w := cluster.NewWatch("b#1", v, noon, noon)
		now, granted := noon, events.Micros(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			sent := now
			now += events.Micros(rapid.Int64Range(0, int64(joined.Fence)/4).Draw(t, "passes"))
			switch rapid.SampledFrom([]string{"tick", "read", "unanswered", "nothing"}).Draw(t, "what") {
			case "tick":
				w.Tick(now)
			case "read": // which shows the stream as of any moment between
				shown := sent + events.Micros(rapid.Int64Range(0, int64(now-sent)).Draw(t, "shown as of"))
				w.Stored(asOf(shown), sent, now)
			case "unanswered":
				w.Unstored(now)
			case "nothing":
			}
			granted = max(granted, w.GoOnUntil(now))
			if may, _ := w.MayBegin(now, now); may && w.GoOnUntil(now) <= now {
				t.Fatalf("an effect may begin that may not go on")
			}
		}
		// The slowest clock that counts the lease, against the fastest that counts the delay.
		ends, lost := (granted-removal)*102/100, joined.Fence*98/100
		if ends > lost-joined.Fence/5 {
			t.Fatalf("what runs may go on for %d ms after the removal, and is held for lost after %d ms", ends/ms, lost/ms)
		}
	})
}
