package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// dispatcher runs mailboxes on as many goroutines as there are processors, from one queue: waking a goroutine for each of a turn's
// thirty runs costs more than most of the runs. What may block while it runs a mailbox says so, see blocking.
type dispatcher struct {
	mu      sync.Mutex
	wake    sync.Cond
	queue   []func() // mailboxes to run, from head on
	head    int
	idle    int // workers that wait
	workers int
	limit   int // workers at most, besides those that are idle
	closed  bool

	tasks tasks
}

const dispatcherThroughput = 300 // messages of one mailbox before others get their chance; protoactor's default

// newDispatcher returns a dispatcher; close ends its goroutines.
func newDispatcher() *dispatcher {
	d := &dispatcher{limit: runtime.GOMAXPROCS(0), tasks: tasks{work: make(chan func())}}
	d.wake.L = &d.mu
	return d
}

// Schedule implements actor.Dispatcher. It never blocks.
func (d *dispatcher) Schedule(run func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.head > 1024 && 2*d.head > len(d.queue) { // it is never empty under load
		n := copy(d.queue, d.queue[d.head:])
		clear(d.queue[n:])
		d.queue, d.head = d.queue[:n], 0
	}
	d.queue = append(d.queue, run)
	d.serve()
}

// serve has somebody take from the queue. The lock is held.
func (d *dispatcher) serve() {
	switch {
	case d.idle > 0:
		d.wake.Signal()
	case d.workers < d.limit || d.closed:
		d.workers++
		go d.work()
	}
}

// Throughput implements actor.Dispatcher.
func (d *dispatcher) Throughput() int { return dispatcherThroughput }

// work runs one mailbox after another, while it is not one worker too many.
func (d *dispatcher) work() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.workers <= d.limit || d.closed {
		if d.head == len(d.queue) {
			if d.queue, d.head = d.queue[:0], 0; d.closed {
				break
			}
			d.idle++
			d.wake.Wait()
			d.idle--
			continue
		}
		run := d.queue[d.head]
		d.queue[d.head] = nil
		d.head++
		d.mu.Unlock()
		run()
		d.mu.Lock()
	}
	d.workers--
}

// blocking does what may wait, for a disk or a network, within the run of a mailbox: another worker takes this one's place meanwhile.
func (d *dispatcher) blocking(do func()) {
	d.mu.Lock()
	if d.limit++; d.head < len(d.queue) {
		d.serve()
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.limit--
	}()
	do()
}

// close ends all goroutines. What is scheduled afterwards runs, and its goroutine ends.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	d.wake.Broadcast()
	d.mu.Unlock()
	d.tasks.close()
}

// tasks runs what is done beside the actors, and may block, on goroutines that are used again: a new one each time would spend its time
// growing its stack to the size that a task needs.
type tasks struct {
	work   chan func()  // taken by parked goroutines
	parked atomic.Int64 // goroutines that wait for work, or are about to
	closed atomic.Bool
}

const parkedPerProcessor = 64

// run never blocks: when no goroutine is parked there is one more.
func (t *tasks) run(task func()) {
	select {
	case t.work <- task:
	default:
		go t.serve(task)
	}
}

// serve does one task after another. More goroutines than are of use do not stay.
func (t *tasks) serve(task func()) {
	limit := int64(parkedPerProcessor * runtime.GOMAXPROCS(0))
	for task != nil {
		task()
		if t.parked.Add(1) > limit || t.closed.Load() {
			break
		}
		task = <-t.work
		t.parked.Add(-1)
		if task == nil {
			return
		}
	}
	t.parked.Add(-1)
}

// close ends all parked goroutines. What is begun afterwards is done, and its goroutine ends.
func (t *tasks) close() {
	t.closed.Store(true)
	for t.parked.Load() > 0 {
		select {
		case t.work <- nil:
		case <-time.After(time.Millisecond): // the last one was not waiting yet, or has ended by itself
		}
	}
}
