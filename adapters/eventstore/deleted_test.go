package eventstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// TestSoftDeleted: a stream that was deleted reads as one that is not there, keeps its last revision for those who name one, and comes back
// by whatever is appended. A writer cannot tell by it whether its store is in process or behind the protocol.
func TestSoftDeleted(t *testing.T) {
	within := store(t)
	served := store(t)
	s := serve(t, server.Config{Store: served, Listen: "127.0.0.1:0", Insecure: true})
	journals := map[string]struct {
		storage.Journal
		store *embedded.Store
	}{
		"in process":          {within, within},
		"behind the protocol": {connect(t, eventstore.Config{Connection: plain(s.Addr())}), served},
	}
	rows := []struct {
		expected storage.Expected
		events   int
		want     string
	}{
		{storage.ExpectAny, 2, "3 to 4, then 2 events of 4"},
		{storage.ExpectNoStream, 2, "3 to 4, then 2 events of 4"},
		{2, 2, "3 to 4, then 2 events of 4"},
		{storage.ExpectExists, 2, "conflict at -1, then 0 events of -1"},
		{0, 2, "conflict at 2, then 0 events of -1"},
		{7, 2, "conflict at 2, then 0 events of -1"},
		{storage.ExpectAny, 0, "2 to 2, then 0 events of 2"},
		{2, 0, "2 to 2, then 0 events of 2"},
		{storage.ExpectNoStream, 0, "conflict at 2, then 0 events of -1"},
		{storage.ExpectExists, 0, "conflict at -1, then 0 events of -1"},
		{1, 0, "conflict at 2, then 0 events of -1"},
	}
	for name, j := range journals {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s, %d events expecting %s", name, row.events, row.expected), func(t *testing.T) {
				stream := events.Stream("deleted-" + uuid.NewString())
				if _, err := j.Append(t.Context(), stream, storage.ExpectNoStream, some(3)); err != nil {
					t.Fatal(err)
				}
				if _, err := j.store.Delete(t.Context(), stream, storage.ExpectAny); err != nil {
					t.Fatal(err)
				}
				appended, err := j.Append(t.Context(), stream, row.expected, some(row.events))
				got := fmt.Sprintf("%d to %d", appended.First, appended.Last)
				if conflict := new(storage.ConflictError); errors.As(err, &conflict) && !errors.Is(err, storage.ErrDeleted) {
					got = fmt.Sprint("conflict at ", conflict.Actual)
				} else if err != nil {
					got = err.Error()
				}
				page, err := j.Read(t.Context(), stream, 0, storage.Forward, storage.Limit{})
				if err != nil {
					t.Fatal(err)
				}
				if got += fmt.Sprintf(", then %d events of %d", len(page.Events), page.Last); got != row.want {
					t.Errorf("got %s, want %s", got, row.want)
				}
			})
		}
	}
}

func some(n int) (batch []events.Envelope) {
	for range n {
		batch = append(batch, events.Envelope{ID: uuid.New(), Kind: "test.some", Version: 1, Data: []byte(`{}`)})
	}
	return batch
}
