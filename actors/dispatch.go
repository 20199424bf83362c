package actors

import (
	"runtime"
	"sync/atomic"
	"time"
)

// dispatcher runs mailboxes, and tasks beside them, on goroutines that are used again. A new goroutine for every run, protoactor's default, spends a
// sixth of a turn's time growing its stack to the size a decision needs; these have it already.
type dispatcher struct {
	work   chan func()  // taken by parked goroutines
	parked atomic.Int64 // goroutines that wait for work, or are about to
	closed atomic.Bool
}

const (
	dispatcherThroughput = 300 // messages of one mailbox before others get their chance; protoactor's default
	parkedPerProcessor   = 64
)

// newDispatcher returns a dispatcher; close ends its goroutines.
func newDispatcher() *dispatcher { return &dispatcher{work: make(chan func())} }

// Schedule implements actor.Dispatcher. It never blocks: when no goroutine is parked there is one more.
func (d *dispatcher) Schedule(run func()) {
	select {
	case d.work <- run:
	default:
		go d.serve(run)
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return dispatcherThroughput }

// serve runs one mailbox after another. More goroutines than are of use do not stay.
func (d *dispatcher) serve(run func()) {
	limit := int64(parkedPerProcessor * runtime.GOMAXPROCS(0))
	for run != nil {
		run()
		if d.parked.Add(1) > limit || d.closed.Load() {
			break
		}
		run = <-d.work
		d.parked.Add(-1)
		if run == nil {
			return
		}
	}
	d.parked.Add(-1)
}

// close ends all parked goroutines. What is scheduled afterwards runs, and its goroutine ends.
func (d *dispatcher) close() {
	d.closed.Store(true)
	for d.parked.Load() > 0 {
		select {
		case d.work <- nil:
		case <-time.After(time.Millisecond): // the last one was not waiting yet, or has ended by itself
		}
	}
}
