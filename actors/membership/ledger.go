package membership

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// ledger is the stream of a cluster.
type ledger struct {
	journal storage.Journal
	stream  events.Stream
	name    string
}

func newLedger(journal storage.Journal, name string) (ledger, error) {
	if err := events.ValidateCluster(name); err != nil {
		return ledger{}, err
	}
	return ledger{journal, events.ClusterStream(name), name}, nil
}

// page is a view, and what an append after it needs.
type page struct {
	view *cluster.View
	tip  events.Digest
}

func (l *ledger) start() page { return page{view: cluster.NewView(l.name)} }

// read reads on from a page to the end of the stream.
func (l *ledger) read(ctx context.Context, from page) (page, error) {
	for {
		read, err := l.journal.Read(ctx, l.stream, from.view.Epoch+1, storage.Forward, storage.Limit{})
		if err != nil {
			return from, err
		}
		for i := range read.Events {
			if from, err = from.fold(&read.Events[i]); err != nil {
				return from, err
			}
		}
		if read.End {
			return from, nil
		}
	}
}

// fold adds an event, if it is the next one.
func (p page) fold(event *events.Envelope) (page, error) {
	if event.Revision != p.view.Epoch+1 {
		return p, nil
	}
	fact, err := sagas.FactOf(event)
	if err != nil {
		return p, err
	}
	return page{p.view.Apply(fact), event.Digest}, nil
}

// decide gives the events of a command to append after the page. Their time is not before that of the page.
func (p page) decide(command sagas.Command, by events.HostID, wall events.Micros) ([]events.Envelope, error) {
	meta := command.Metadata()
	if meta.At = max(wall, p.view.At); meta.ID == "" {
		meta.ID = newCommand()
	}
	decided, err := p.view.Decide(sagas.Identified(command, meta))
	if err != nil {
		return nil, err
	}
	base, digest := uuid.New(), p.tip
	batch := make([]events.Envelope, 0, len(decided))
	for i, event := range decided {
		data, version, err := events.Encode(event)
		if err != nil {
			return nil, err
		}
		digest = digest.Next(event.Kind(), data)
		batch = append(batch, events.Envelope{
			ID: eventID(base, i), Kind: event.Kind(), Version: version, Time: meta.At, Command: meta.ID, Correlation: string(meta.ID),
			Host: by, Digest: digest, Data: data,
		})
	}
	return batch, nil
}

func newCommand() events.CommandID { return events.CommandID(uuid.NewString()) }

func eventID(base uuid.UUID, i int) events.EventID {
	tail := binary.BigEndian.Uint32(base[12:])
	binary.BigEndian.PutUint32(base[12:], tail+uint32(i)) //nolint:gosec // few
	return base
}

// append stores a batch after a page, and returns the page after it.
func (l *ledger) append(ctx context.Context, at page, batch []events.Envelope) (page, error) {
	appended, err := l.journal.Append(ctx, l.stream, storage.ExpectRevision(at.view.Epoch), batch)
	if err != nil {
		return at, err
	}
	for i := range batch {
		event := batch[i]
		event.Stream, event.Revision = l.stream, appended.First+events.Revision(i)
		if at, err = at.fold(&event); err != nil {
			return at, err
		}
	}
	return at, nil
}

// carryOut reads the end of the stream and has a command decided and appended, until that is done or refused, or ctx ends. An answer of the store that was lost
// does no harm: what is asked for is then found to be so. sent is the clock's time before the read, or the append, that shows the result.
func (l *ledger) carryOut(ctx context.Context, from page, by events.HostID, clock Clock, command sagas.Command) (after page, sent events.Micros, err error) {
	if command.Metadata().ID == "" {
		command = sagas.Identified(command, sagas.Meta{ID: newCommand()})
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		sent = micros(clock.Now())
		from, err = l.read(ctx, from)
		if err == nil {
			var batch []events.Envelope
			if batch, err = from.decide(command, by, clock.Wall()); err != nil {
				return from, sent, err
			}
			sent = micros(clock.Now())
			if after, err = l.append(ctx, from, batch); err == nil {
				return after, sent, nil
			}
		}
		if errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrReadOnly) || errors.Is(err, storage.ErrClosed) {
			return from, sent, err
		}
		var conflict *storage.ConflictError
		if errors.As(err, &conflict) {
			wait = time.Millisecond
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return from, sent, fmt.Errorf("%s: %w (%w)", l.stream, err, ctx.Err())
		}
	}
}

// settle makes of a command that found nothing to do one that was carried out.
func settle(err error) error {
	var duplicate *sagas.DuplicateError
	if errors.As(err, &duplicate) {
		return nil
	}
	return err
}
