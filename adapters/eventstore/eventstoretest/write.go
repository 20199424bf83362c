package eventstoretest

import (
	"time"

	"github.com/google/uuid"
)

// eventID is an id within a stream.
type eventID struct {
	stream string
	id     uuid.UUID
}

// write is an append that the leader has taken and a majority does not have yet.
type write struct {
	stream  string
	records []*record
	alone   bool // no other node was there to have it
	ready   bool // a majority has it
	done    chan struct{}
	result  result
}

// result is what became of an append.
type result struct {
	interrupted bool // by an election: nobody can say
	conflict    bool
	deleted     bool
	pending     bool // a repetition of what a majority does not have yet: there is no answer
	last        int64
	place       uint64 // 0: not known
}

// finish decides what the writer is told, once.
func (w *write) finish(r result) {
	select {
	case <-w.done:
	default:
		w.result = r
		close(w.done)
	}
}

// interrupt has nobody be told what becomes of what they wrote.
func (n *Node) interrupt() {
	for _, w := range n.tail {
		w.finish(result{interrupted: true})
	}
}

// store puts a write into the log, for good.
func (c *Cluster) store(w *write) {
	for _, r := range w.records {
		c.log.add(r)
		if !r.hidden && c.known[r.id] == nil {
			c.known[r.id] = r
		}
	}
	for _, n := range c.nodes {
		if n.healthy() {
			n.has = len(c.log.records)
		}
	}
	r := result{last: noRevision, place: view(c.log.records).last()}
	if stream := c.log.streams[w.stream]; len(stream) > 0 {
		r.last = stream[len(stream)-1].revision
	}
	w.finish(r)
	c.change()
	c.push()
}

// replicate stores what a majority has by now.
func (c *Cluster) replicate() {
	for c.leader != nil && len(c.leader.tail) > 0 {
		w := c.leader.tail[0]
		if w.alone || !w.ready {
			return
		}
		c.leader.tail = c.leader.tail[1:]
		c.store(w)
	}
}

// take has the leader take an append, which it refuses, recognises, or writes.
func (c *Cluster) take(w *write, expected int64) {
	current := c.standing(w.stream)
	w.done = make(chan struct{})
	switch {
	case len(current) > 0 && current[len(current)-1].kind == tombstoneType:
		w.finish(result{deleted: true})
		return
	case expected >= expectNoStream && expected > int64(len(current))-1, expected == expectExists && len(current) == 0:
		w.finish(result{conflict: true, last: int64(len(current)) - 1})
		return
	case expected >= expectNoStream && expected < int64(len(current))-1:
		w.finish(c.repeated(w, current, current[expected+1:]))
		return
	case expected < expectNoStream && len(w.records) > 0 && !w.records[0].hidden:
		if r, repeats := c.remembered(w, current); repeats {
			w.finish(r)
			return
		}
	}
	leader := c.leader
	leader.tail, leader.term = append(leader.tail, w), c.elected
	w.alone = !leader.healthy() || !c.quorum()
	if c.config.Replicate == 0 {
		w.ready = true
		c.replicate()
		return
	}
	time.AfterFunc(c.config.Replicate, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ended {
			w.ready = true
			c.replicate()
		}
	})
}

// standing is a stream as its writer sees it: with what is not replicated yet.
func (c *Cluster) standing(stream string) []*record {
	current := c.log.streams[stream]
	current = current[:len(current):len(current)]
	for _, w := range c.leader.tail {
		if w.stream != stream {
			continue
		}
		for _, r := range w.records {
			if !r.hidden {
				current = append(current, r)
			}
		}
	}
	return current
}

// repeated compares an append with the events that stand where it would.
func (c *Cluster) repeated(w *write, current, behind []*record) result {
	conflict := result{conflict: true, last: int64(len(current)) - 1}
	if len(w.records) > len(behind) || w.records[0].hidden {
		return conflict
	}
	for i, r := range w.records {
		if behind[i].id != r.id {
			return conflict
		}
	}
	return c.there(behind[len(w.records)-1])
}

// remembered looks for an append without a revision among what this leader has written. It knows ids by the first place that they had.
func (c *Cluster) remembered(w *write, current []*record) (result, bool) {
	written := map[uuid.UUID]*record{}
	for _, r := range current {
		if r.end == 0 { // not replicated yet
			written[r.id] = r
		}
	}
	var last *record
	for i, r := range w.records {
		if last = c.known[r.id]; last == nil || last.stream != w.stream {
			last = written[r.id]
		}
		if last == nil && i == 0 {
			return result{}, false
		}
		if last == nil {
			return result{conflict: true, last: int64(len(current)) - 1}, true
		}
	}
	return c.there(last), true
}

// there answers a repetition. What a majority does not have is not said to be stored.
func (c *Cluster) there(last *record) result {
	if last.end == 0 {
		return result{pending: true}
	}
	return result{last: last.revision, place: last.begin}
}
