package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// goesOn starts a consumer of everything under a key whose last position was stored as given, and returns the revisions in "topic" that it is
// handed until the last.
func goesOn(t *testing.T, journal storage.Journal, stored string, last events.Revision) (handed []events.Revision, err error) {
	t.Helper()
	if _, err := journal.Append(t.Context(), checkpointPrefix+"k", storage.ExpectAny, []events.Envelope{recordOf(checkpointKind, []byte(stored))}); err != nil {
		t.Fatal(err)
	}
	config, err := FeedConfig{Journal: journal}.complete()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = config.feed(ctx, "k", storage.From{}, 1, config.oneByOne(ctx, func(_ context.Context, e events.Envelope) error {
		if e.Stream == "topic" {
			handed = append(handed, e.Revision)
			if e.Revision == last {
				cancel()
			}
		}
		return nil
	}))
	if ctx.Err() != nil {
		err = nil
	}
	return handed, err
}

// A consumer goes on after the event that it handled last, wherever that stands by now: in a copy of the store, and when an older build
// stored a position from before positions behind life store serve were spread.
func TestConsumersFindTheirPlaceAgain(t *testing.T) {
	const count = 300
	all := func(t *testing.T, before int) (storage.Journal, []events.Envelope) {
		journal := actorstest.NewMemory()
		publish(t, journal, "before", 0, before)
		publish(t, journal, "topic", 0, count)
		page, err := journal.Read(t.Context(), "topic", 0, storage.Forward, storage.Limit{})
		if err != nil || len(page.Events) != count {
			t.Fatal(len(page.Events), err)
		}
		return journal, page.Events
	}
	here, inStore := all(t, 0)
	spread := slices.IndexFunc(inStore, func(e events.Envelope) bool { return e.Position%spreadLater == 0 })
	rows := []struct {
		name, stored string
		journal      func() storage.Journal
		next         int
	}{
		{"this build's", fmt.Sprintf(`{"stream":"topic","revision":"7","position":"%d"}`, inStore[7].Position), func() storage.Journal { return here }, 8},
		{"an older build's", fmt.Sprintf(`{"revision":"9","position":"%d"}`, inStore[9].Position), func() storage.Journal { return here }, 10},
		{"in a copy", fmt.Sprintf(`{"stream":"topic","revision":"7","position":"%d"}`, inStore[7].Position), func() storage.Journal {
			copied, _ := all(t, 5)
			return copied
		}, 8},
		{
			"an older build's, behind life store serve",
			fmt.Sprintf(`{"revision":"%d","position":"%d"}`, spread, inStore[spread].Position/spreadLater), func() storage.Journal { return here }, spread + 1,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			handed, err := goesOn(t, row.journal(), row.stored, count-1)
			if err != nil || len(handed) != count-row.next || handed[0] != events.Revision(row.next) {
				t.Fatalf("handed %v, %v; want %d to %d", handed, err, row.next, count-1)
			}
		})
	}
	for _, stored := range []string{`{"revision":"3","position":"77"}`, `{"stream":"other","revision":"3","position":"77"}`, `{"revision":"0","position":"18446744073709551615"}`} {
		if handed, err := goesOn(t, here, stored, count-1); err == nil || len(handed) > 0 || !strings.Contains(err.Error(), "not in this store") {
			t.Errorf("%s: handed %d, %v", stored, len(handed), err)
		}
	}
}
