package actors

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/sagas"
)

// refusals are answers that hold only at the end of the stream.
type refusals struct{ answers []answered }

// answerRefused answers commands of which nothing is stored. It may be because of decisions that are not stored yet: then the answer
// waits for them, or rests on them. Otherwise nothing says that the fold is at the end of the stream: another host may have gone on. An append would be
// refused there; of a refusal nobody would know, so it is read.
func (e *entity[S]) answerRefused(answers []answered) {
	if e.ride(answers) {
		return
	}
	var unsure []answered
	for _, a := range answers {
		if a.done != nil && byFold(a.outcome.err) {
			unsure = append(unsure, a)
		} else {
			answer([]answered{a})
		}
	}
	if len(unsure) > 0 {
		e.readOn(&refusals{unsure})
	}
}

// ride has answers wait for the latest append under way, or rest on it: when it is stored, the fold was at the end of the stream.
func (e *entity[S]) ride(answers []answered) bool {
	if len(e.flying) == 0 {
		return false
	}
	last := e.flying[len(e.flying)-1]
	last.answers = append(last.answers, answerEarly(answers, &last.append)...)
	return true
}

// byFold reports an answer that later events can change: a refusal, or that all of a command is so already. That a command was accepted before stays.
func byFold(err error) bool {
	var refusal *sagas.RefusalError
	var known *sagas.DuplicateError
	return errors.As(err, &refusal) || errors.As(err, &known) && known.Same
}

// endTime is how long it may take to find the end of a stream.
const endTime = 10 * time.Second

// readOn looks, beside the actor, whether the stream goes on behind the fold.
func (e *entity[S]) readOn(r *refusals) {
	e.unsure = append(e.unsure, r)
	host, stream, from, send := e.host, e.stream, e.stored.Revision+1, e.send
	host.run(func() {
		ctx, cancel := context.WithTimeout(host.running, endTime)
		defer cancel()
		page, err := host.journal.Read(ctx, stream, from, storage.Forward, storage.Limit{Events: 1})
		send(endRead{r, page.Last, err})
	})
}

// endKnown answers what was refused, now that the end of the stream is known. It reports false if the fold is behind it: then the entity must be given
// up, and whoever asked asks the next one.
func (e *entity[S]) endKnown(m endRead) bool {
	e.unsure = slices.DeleteFunc(e.unsure, func(r *refusals) bool { return r == m.refusals })
	switch {
	case m.err != nil:
		fail(m.refusals.answers, e.reason(m.err))
	case m.last > e.tip.Revision:
		fail(m.refusals.answers, &FencedError{Stream: e.stream})
		return false
	case !e.ride(m.refusals.answers): // what was decided meanwhile may be what stands there
		answer(m.refusals.answers)
	}
	return true
}
