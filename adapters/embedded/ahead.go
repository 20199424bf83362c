package embedded

import (
	"errors"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

const (
	alone  = 16 // events that a page reads one by one: by then it is known how large they are
	spread = 4  // positions to a record, from which on a stream's records lie in different blocks
)

// ahead is how many events to look up before they are read. As many as the page will take, once they are known to be small.
func (p *pager) ahead() int {
	have := len(p.page.Events)
	if left := p.limit.Events - have; have >= alone && p.bytes/have*left <= 2*(p.limit.Bytes-p.bytes) {
		return max(alone, left)
	}
	return alone
}

// fill adds the batches that were looked up to the page; more is false when it is full. A stream's records lie among those of all
// others, so that most of the work is to find them: on a machine that has another core to spare, two goroutines read half each.
func (p *pager) fill(s *Store, v *view, direction storage.Direction) (more bool, err error) {
	if v.records.Iterator == nil {
		if v.records, err = s.records(); err != nil {
			return false, err
		}
	}
	if p.scattered() {
		select {
		case s.helpers <- struct{}{}:
			defer func() { <-s.helpers }()
			return p.fillTogether(s, v, direction)
		default: // the other cores have readers of their own
		}
	}
	return p.read(v.records, v.stream, p.entries, direction, p.add)
}

// scattered reports that it pays to read what was looked up in two halves.
func (p *pager) scattered() bool {
	n := len(p.entries)
	first, last := p.entries[0].position, p.entries[n-1].position
	return n > 2*alone && max(first, last)-min(first, last) > events.Position(spread*n)
}

// fillTogether is fill with another goroutine's help.
func (p *pager) fillTogether(s *Store, v *view, direction storage.Direction) (more bool, err error) {
	near, far := p.entries[:len(p.entries)/2], p.entries[len(p.entries)/2:]
	held := make([]events.Envelope, 0, len(far))
	var farErr error
	var help sync.WaitGroup
	help.Go(func() {
		all, err := s.records()
		if err == nil {
			_, err = p.read(all, v.stream, far, direction, func(e *events.Envelope) bool {
				held = append(held, *e)
				return true
			})
			err = errors.Join(err, all.Close())
		}
		farErr = err
	})
	more, err = p.read(v.records, v.stream, near, direction, p.add)
	help.Wait()
	for i := range held {
		if more = more && err == nil && p.add(&held[i]); !more {
			return false, err
		}
	}
	return more, errors.Join(err, farErr)
}

// read hands over the events of batches until use returns false. It changes nothing of the pager.
func (p *pager) read(all records, stream events.Stream, batches []entry, direction storage.Direction, use func(e *events.Envelope) bool) (more bool, err error) {
	var scratch events.Envelope
	for _, e := range batches {
		rec, err := all.batch(stream, e, direction)
		if err != nil {
			return false, err
		}
		if more, err := p.record(&rec, &scratch, stream, direction, use); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}
