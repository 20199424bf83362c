package membership

import (
	"context"
	"fmt"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// Read returns the view of a cluster as of the end of its stream, to a program that is no member.
func Read(ctx context.Context, journal storage.Journal, name string) (*cluster.View, error) {
	l, err := newLedger(journal, name)
	if err != nil {
		return nil, err
	}
	read, err := l.read(ctx, l.start())
	return read.view, err
}

// Order has a cluster decide a command of a person, for a program that is no member: Drain, Remove, Pin or Unpin. What is so already is no error.
func Order(ctx context.Context, journal storage.Journal, name string, clock Clock, command sagas.Command) (*cluster.View, error) {
	l, err := newLedger(journal, name)
	if err != nil {
		return nil, err
	}
	after, _, err := l.carryOut(ctx, l.start(), "", clock, command)
	return after.view, settle(err)
}

// Order has the cluster decide a command, which may be a person's: Drain, Remove, Pin or Unpin. What is so already is no error.
func (m *Member) Order(ctx context.Context, command sagas.Command) error {
	after, sent, err := m.ledger.carryOut(ctx, m.now(), m.self, m.config.Clock, command)
	m.do(func(now events.Micros) {
		if err == nil {
			m.stored(after, sent, now)
		} else {
			m.turnTo(after)
			m.watch.Follow(m.page.view, now)
		}
	})
	return settle(err)
}

// Drain has the others take over what this host owns.
func (m *Member) Drain(ctx context.Context) error {
	if err := m.orderSoon(ctx, cluster.Drain{Host: m.self, By: string(m.self)}); err != nil {
		return fmt.Errorf("say that host %s drains: %w", m.self, err)
	}
	return nil
}

// StoreAway is how long a host that ends waits for a store that does not answer. The others remove it then, which has the same end.
const StoreAway = 5 * time.Second

// orderSoon is Order for a host that ends.
func (m *Member) orderSoon(ctx context.Context, command sagas.Command) error {
	soon, cancel := context.WithTimeout(ctx, StoreAway)
	defer cancel()
	err := m.Order(soon, command)
	if err != nil && ctx.Err() == nil && soon.Err() != nil {
		return fmt.Errorf("the store did not answer for %s: %w", StoreAway, err)
	}
	return err
}

// Leave ends the membership. Nothing of this host runs any more.
func (m *Member) Leave(ctx context.Context) error {
	m.do(func(events.Micros) { m.leaving = true })
	if err := m.orderSoon(ctx, cluster.Leave{Host: m.self}); err != nil {
		m.do(func(events.Micros) { m.leaving = false })
		return fmt.Errorf("say that host %s leaves: %w", m.self, err)
	}
	m.Close()
	return nil
}
