package actors

import "time"

// dispatcher runs mailboxes on goroutines that stay for a while. A new goroutine for every run, protoactor's default, spends a
// sixth of a turn's time growing its stack to the size a decision needs; these have it already.
type dispatcher struct {
	work chan func()
	end  <-chan struct{}
}

const (
	dispatcherThroughput = 300 // messages of one mailbox before others get their chance; protoactor's default
	dispatcherStay       = 10 * time.Second
)

// Schedule implements actor.Dispatcher. It never blocks: when all goroutines are at work there is one more.
func (d *dispatcher) Schedule(run func()) {
	select {
	case d.work <- run:
	default:
		go d.serve(run)
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return dispatcherThroughput }

func (d *dispatcher) serve(run func()) {
	run()
	stay := time.NewTimer(dispatcherStay)
	defer stay.Stop()
	for {
		select {
		case run = <-d.work:
			run()
		case <-stay.C:
			return
		case <-d.end:
			return
		}
	}
}
