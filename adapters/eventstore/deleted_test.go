package eventstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors"
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
		actors.Journal
		store *embedded.Store
	}{
		"in process":          {within, within},
		"behind the protocol": {connect(t, eventstore.Config{Connection: plain(s.Addr())}), served},
	}
	rows := []struct {
		expected actors.Expected
		events   int
		want     string
	}{
		{actors.ExpectAny, 2, "3 to 4, then 2 events of 4"},
		{actors.ExpectNoStream, 2, "3 to 4, then 2 events of 4"},
		{2, 2, "3 to 4, then 2 events of 4"},
		{actors.ExpectExists, 2, "conflict at -1, then 0 events of -1"},
		{0, 2, "conflict at 2, then 0 events of -1"},
		{7, 2, "conflict at 2, then 0 events of -1"},
		{actors.ExpectAny, 0, "2 to 2, then 0 events of 2"},
		{2, 0, "2 to 2, then 0 events of 2"},
		{actors.ExpectNoStream, 0, "conflict at 2, then 0 events of -1"},
		{actors.ExpectExists, 0, "conflict at -1, then 0 events of -1"},
		{1, 0, "conflict at 2, then 0 events of -1"},
	}
	for name, j := range journals {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s, %d events expecting %s", name, row.events, row.expected), func(t *testing.T) {
				stream := events.Stream("deleted-" + uuid.NewString())
				if _, err := j.Append(t.Context(), stream, actors.ExpectNoStream, some(3)); err != nil {
					t.Fatal(err)
				}
				if _, err := j.store.Delete(t.Context(), stream, actors.ExpectAny); err != nil {
					t.Fatal(err)
				}
				appended, err := j.Append(t.Context(), stream, row.expected, some(row.events))
				got := fmt.Sprintf("%d to %d", appended.First, appended.Last)
				if conflict := new(actors.Conflict); errors.As(err, &conflict) && !errors.Is(err, actors.ErrDeleted) {
					got = fmt.Sprint("conflict at ", conflict.Actual)
				} else if err != nil {
					got = err.Error()
				}
				page, err := j.Read(t.Context(), stream, 0, actors.Forward, actors.Limit{})
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
