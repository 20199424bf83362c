package projector

import (
	"context"
	"slices"
	"time"
)

// feeder hands chunks to readings, each event decoded at most once for all of them.
type feeder struct {
	projector *Projector
	readings  []*reading
	quiet     time.Time // until then no state is stored
	turn      int       // of the reading whose state is looked at first
}

// take feeds a chunk, lets go of the readings that stop, and stores the states that are due.
func (f *feeder) take(ctx context.Context, c *chunk) {
	if c.decoded == nil {
		c.decode()
	}
	f.readings = slices.DeleteFunc(f.readings, func(r *reading) bool {
		if r.feed(ctx, c) {
			return false
		}
		f.projector.ended(r)
		return true
	})
	f.projector.notify()
	f.store(ctx)
}

// store stores a state that is due. That takes at most a part of the time: a pass is not to be slowed down by what it leaves behind.
func (f *feeder) store(ctx context.Context) {
	n := len(f.readings)
	for i := range n {
		if time.Now().Before(f.quiet) {
			return
		}
		r := f.readings[(f.turn+i)%n]
		if !r.due() {
			continue
		}
		began := time.Now()
		f.projector.save(ctx, r, 1)
		f.quiet = time.Now().Add((savingPart - 1) * time.Since(began))
		f.turn = (f.turn + i + 1) % n
		return
	}
}
