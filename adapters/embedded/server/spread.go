package server

import (
	"context"
	"fmt"
	"math"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// spread is how far apart the positions of neighbouring events are on the wire. EventStoreDB's are byte offsets of its log, and it refuses
// what lies between two events. The store counts events one by one, so that a client that adds 1 to a position would find the next event
// here, and fail there.
const spread = 128

// wireStore is the store as the protocol and the groups see it, with positions that are spread. Nothing else of this package knows positions
// of the store's own.
type wireStore struct {
	store  *embedded.Store
	factor events.Position // of positions on the wire
}

// newWireStore finds by how much to spread the store's positions. A store that did not begin at position 1 was imported from a server that
// spreads its own: they stay as its clients know them.
func newWireStore(ctx context.Context, store *embedded.Store) (wireStore, error) {
	s := wireStore{store, spread}
	first, err := store.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{System: true}, storage.Limit{Events: 1})
	if err != nil {
		return s, fmt.Errorf("serve the store: %w", err)
	}
	if len(first.Events) > 0 && first.Events[0].Position != 1 {
		s.factor = 1
	}
	stats, err := store.Stats(ctx)
	most := math.MaxInt64 / s.factor / 2 // the other half is for what is appended
	if err == nil && stats.Last > most {
		err = fmt.Errorf("its last position is %d, and positions beyond %d cannot be served", stats.Last, most)
	}
	if err != nil {
		return s, fmt.Errorf("serve the store: %w", err)
	}
	return s, nil
}

func (s wireStore) wide(position events.Position) events.Position { return position * s.factor }

// narrow is the store's own position; ErrPlace when there can be no such event.
func (s wireStore) narrow(position events.Position) (events.Position, error) {
	if position%s.factor != 0 {
		return 0, fmt.Errorf("%w: %d", storage.ErrPlace, position)
	}
	return position / s.factor, nil
}

func (s wireStore) wideAppended(own storage.Appended, err error) (storage.Appended, error) {
	own.Position = s.wide(own.Position)
	return own, err
}

// widePage spreads a page, which belongs to who reads it.
func (s wireStore) widePage(own storage.Page, err error) (storage.Page, error) {
	for i := range own.Events {
		own.Events[i].Position = s.wide(own.Events[i].Position)
	}
	if own.Next != storage.End() {
		own.Next.Position = s.wide(own.Next.Position)
	}
	return own, err
}

// Append implements storage.Journal.
func (s wireStore) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	return s.wideAppended(s.store.Append(ctx, stream, expected, batch))
}

// Delete implements groups.Store.
func (s wireStore) Delete(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error) {
	return s.wideAppended(s.store.Delete(ctx, stream, expected))
}

// Tombstone is embedded.Store's.
func (s wireStore) Tombstone(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error) {
	return s.wideAppended(s.store.Tombstone(ctx, stream, expected))
}

// Metadata is embedded.Store's.
func (s wireStore) Metadata(ctx context.Context, stream events.Stream) (embedded.Metadata, error) {
	return s.store.Metadata(ctx, stream)
}

// Read implements storage.Journal.
func (s wireStore) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	return s.widePage(s.store.Read(ctx, stream, from, direction, limit))
}

// ReadAll implements storage.Journal.
func (s wireStore) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (storage.Page, error) {
	if from != storage.End() {
		own, err := s.narrow(from.Position)
		if err != nil {
			return storage.Page{}, err
		}
		from.Position = own
	}
	return s.widePage(s.store.ReadAll(ctx, from, direction, filter, limit))
}

// Subscribe implements storage.Journal.
func (s wireStore) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	return s.Follow(ctx, from)
}

// Follow is embedded.Store's.
func (s wireStore) Follow(ctx context.Context, from storage.From) (embedded.Follower, error) {
	own, err := s.narrow(from.Position)
	if err != nil {
		return nil, err
	}
	from.Position = own
	follower, err := s.store.Follow(ctx, from)
	if err != nil {
		return nil, err
	}
	return wireFollower{follower, s}, nil
}

// wireFollower is a subscription of a wireStore.
type wireFollower struct {
	embedded.Follower
	of wireStore
}

// Next implements storage.Subscription.
func (f wireFollower) Next(ctx context.Context) (events.Envelope, error) {
	e, err := f.Follower.Next(ctx)
	e.Position = f.of.wide(e.Position)
	return e, err
}

// Poll implements embedded.Follower.
func (f wireFollower) Poll(ctx context.Context) (events.Envelope, bool, error) {
	e, found, err := f.Follower.Poll(ctx)
	e.Position = f.of.wide(e.Position)
	return e, found, err
}
