package actors

import (
	"slices"
	"sync/atomic"

	"example.com/life/events"
	"example.com/life/sagas"
)

// attempt counts what went to a model, and what has come of its reply. It is safe for concurrent use.
type attempt struct{ sent, received atomic.Int64 } // bytes

// bytesPerToken estimates tokens from sizes, where no provider counts them.
const bytesPerToken = 4

// usage estimates what the attempt has used; false: nothing has come of the reply, and whether anything was charged is not known.
func (t *attempt) usage() (events.Usage, bool) {
	received := t.received.Load()
	if received == 0 {
		return events.Usage{}, false
	}
	tokens := func(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }
	return events.Usage{Input: tokens(t.sent.Load()), Output: tokens(received), Estimated: true}, true
}

// begins notes what is sent.
func (t *attempt) begins(q *ModelRequest) {
	size := len(q.System)
	for i := range q.Tools {
		size += len(q.Tools[i].Name) + len(q.Tools[i].Description) + len(q.Tools[i].Schema)
	}
	for i := range q.Messages {
		m := &q.Messages[i]
		size += len(m.Text.Inline)
		for j := range m.Calls {
			size += len(m.Calls[j].Tool) + len(m.Calls[j].Arguments)
		}
	}
	t.received.Store(0)
	t.sent.Store(int64(size))
}

// before implements behavior.
func (a *agent) before(command sagas.Command) { a.cutOff(command) }

// cutOff records what came of a reply before a command is decided that ends its turn: it was generated, and will be charged. If we die in
// between, the attempt has failed and the command was not accepted; the model is asked again.
func (a *agent) cutOff(command sagas.Command) {
	switch c := command.(type) {
	case sagas.Cancel, sagas.Retire, sagas.Tick:
	case sagas.Send:
		if c.Verb != events.Interrupt {
			return
		}
	default:
		return
	}
	t := &a.saga.Turn
	under, is := a.running[t.Model].(*errand)
	if t.Model == "" || !is || t.Failed+1 >= sagas.MaxFailures {
		return
	}
	usage, came := under.attempt.usage()
	if !came {
		return
	}
	decided, err := a.saga.Decide(command)
	if err != nil || !slices.ContainsFunc(decided, func(e events.Event) bool { _, ends := e.(events.TurnEnded); return ends }) {
		return
	}
	cost, priced := a.host.prices.Cost(under.about.Model, usage)
	a.command(sagas.ReplyFailed{
		Meta: meta(t.Model), Request: t.Model, Class: events.ErrorCancelled, Detail: "its turn ended while it replied",
		Usage: usage, Cost: cost, Priced: priced,
	}, events.Ref(t.Model))
}
