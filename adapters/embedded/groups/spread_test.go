package groups

import (
	"context"
	"fmt"
	"math"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// spread is how far apart positions are in these tests, so that none can be counted with.
const spread = 128

// spreadStore is a store whose positions are spread.
type spreadStore struct{ *embedded.Store }

func (s spreadStore) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	appended, err := s.Store.Append(ctx, stream, expected, batch)
	appended.Position *= spread
	return appended, err
}

func (s spreadStore) Delete(ctx context.Context, stream events.Stream, expected storage.Expected) (storage.Appended, error) {
	appended, err := s.Store.Delete(ctx, stream, expected)
	appended.Position *= spread
	return appended, err
}

func (s spreadStore) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	page, err := s.Store.Read(ctx, stream, from, direction, limit)
	return widened(page), err
}

func (s spreadStore) ReadAll(ctx context.Context, from storage.Place, direction storage.Direction, filter storage.Filter, limit storage.Limit) (storage.Page, error) {
	if from != storage.End() {
		if from.Position%spread != 0 {
			return storage.Page{}, fmt.Errorf("%w: %s", storage.ErrPlace, from)
		}
		from.Position /= spread
	}
	page, err := s.Store.ReadAll(ctx, from, direction, filter, limit)
	if page.Next.Position != math.MaxUint64 {
		page.Next.Position *= spread
	}
	return widened(page), err
}

func widened(page storage.Page) storage.Page {
	page.Events = slices.Clone(page.Events)
	for i := range page.Events {
		page.Events[i].Position *= spread
	}
	return page
}

func (s spreadStore) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if from.Position%spread != 0 {
		return nil, fmt.Errorf("%w: position %d", storage.ErrPlace, from.Position)
	}
	from.Position /= spread
	source, err := s.Store.Subscribe(ctx, from)
	if err != nil {
		return nil, err
	}
	return spreadSubscription{source}, nil
}

type spreadSubscription struct{ storage.Subscription }

func (s spreadSubscription) Next(ctx context.Context) (events.Envelope, error) {
	e, err := s.Subscription.Next(ctx)
	e.Position *= spread
	return e, err
}
