package groups

import (
	"cmp"
	"context"

	"example.com/life/events"
)

// Member is a consumer that joined a group. Next belongs to one goroutine; the rest is safe for concurrent use.
type Member struct {
	runner   *runner
	consumer *consumer
}

// Delivery is an event for a consumer. It is answered with ID.
type Delivery struct {
	Event   *events.Envelope // nil when the link leads nowhere
	Link    *events.Envelope // nil when the event was read itself
	Retries int              // how often it failed before
}

// Next waits for the next event. The error is ctx's; a *RefusalError (Dropped) when the group was changed, deleted or restarted, or its stream is
// deleted for good; or storage.ErrClosed.
func (m *Member) Next(ctx context.Context) (Delivery, error) {
	for {
		var delivery Delivery
		var over error
		now := m.runner.config.Now()
		m.runner.do(func(group *machine) {
			if over = cmp.Or(m.runner.over, m.runner.lost); over != nil {
				return
			}
			if next := group.pop(m.consumer, now); next != nil {
				delivery = Delivery{Event: next.event, Link: next.link, Retries: next.retries}
			}
		})
		if over != nil || delivery.Event != nil || delivery.Link != nil {
			return delivery, over
		}
		select {
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		case <-m.consumer.wake:
		}
	}
}

// Ack says that events were processed. The ids are of links, where there are links.
func (m *Member) Ack(ids ...events.EventID) {
	now := m.runner.config.Now()
	m.runner.do(func(group *machine) { group.ack(m.consumer, now, ids) })
}

// Nack says that events were not processed, and what is to become of them.
func (m *Member) Nack(action Action, reason string, ids ...events.EventID) {
	now := m.runner.config.Now()
	m.runner.do(func(group *machine) { group.nack(m.consumer, now, action, reason, ids) })
}

// Close leaves the group. What was delivered and not answered is delivered to others.
func (m *Member) Close() { m.runner.do(func(group *machine) { group.leave(m.consumer) }) }
