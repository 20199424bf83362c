package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/events"
)

// An append that ends without an answer, with Unknown, with a lost connection, or does not end, is looked for and sent again with the same ids:
// whether or not the store has it, it is stored once.
func TestOutcomeNotKnown(t *testing.T) {
	t.Parallel()
	outcomes := map[string]eventstoretest.Outcome{
		"no answer": eventstoretest.Silent, "the end without an answer": eventstoretest.Ended,
		"unknown": eventstoretest.Unknown, "a reset": eventstoretest.Reset,
	}
	for name, outcome := range outcomes {
		for _, stored := range []bool{true, false} {
			for _, expected := range []storage.Expected{storage.ExpectNoStream, storage.ExpectAny, storage.ExpectExists} {
				t.Run(fmt.Sprintf("%s, stored %t, %s", name, stored, expected), func(t *testing.T) {
					t.Parallel()
					c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
					journal := connect(t, eventstore.Config{Connection: c.Connection() + "&defaultDeadline=1000"})
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					first := events.Revision(0)
					if expected == storage.ExpectExists {
						if _, err := journal.Append(ctx, "s", storage.ExpectNoStream, happened("before", 1)); err != nil {
							t.Fatal(err)
						}
						first = 1
					}
					c.Lose(eventstoretest.Lost{Outcome: outcome, Stored: stored}, eventstoretest.Lost{Outcome: outcome, Stored: stored})
					batch := happened("x", 2)
					ids := []uuid.UUID{batch[0].ID, batch[1].ID}
					appended, err := journal.Append(ctx, "s", expected, batch)
					if err != nil {
						t.Fatal(err)
					}
					if appended.First != first || appended.Last != first+1 {
						t.Errorf("stored at %d to %d, want %d to %d", appended.First, appended.Last, first, first+1)
					}
					if err := c.Check([]eventstoretest.Acknowledged{{
						Stream: "s", First: int64(appended.First), Last: int64(appended.Last), Place: uint64(appended.Position), IDs: ids,
					}}); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// A caller who does not wait for the answer any longer is given the ids with which the append can be repeated.
func TestOutcomeNamesIDs(t *testing.T) {
	t.Parallel()
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 1})
	journal := connect(t, eventstore.Config{Connection: c.Connection()})
	c.Lose(eventstoretest.Lost{Outcome: eventstoretest.Silent, Stored: true})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	batch := happened("x", 5)
	_, err := journal.Append(ctx, "s", storage.ExpectNoStream, batch)
	var unknown *eventstore.OutcomeUnknownError
	if !errors.As(err, &unknown) || !errors.Is(err, context.DeadlineExceeded) || len(unknown.IDs) != 5 {
		t.Fatalf("the error is %v, want an outcome that is not known", err)
	}
	for i, want := range []string{batch[0].ID.String(), batch[2].ID.String(), "2 more", "not known"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("%d: the error says %q %d times: %v", i, want, strings.Count(err.Error(), want), err)
		}
	}
	if strings.Contains(err.Error(), batch[3].ID.String()) {
		t.Errorf("the error shows every id: %v", err)
	}
	again, err := journal.Append(t.Context(), "s", storage.ExpectNoStream, batch)
	if err != nil || again.Last != 4 {
		t.Errorf("repeated: %+v, %v", again, err)
	}
}
