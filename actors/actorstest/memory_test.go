package actorstest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

func TestMemoryJournal(t *testing.T) {
	actorstest.TestJournal(t, func(*testing.T) storage.Journal { return actorstest.NewMemory() })
}

func TestMemorySnapshots(t *testing.T) {
	actorstest.TestSnapshots(t, func(*testing.T) storage.Snapshots { return actorstest.NewMemory() })
}

func happened() []events.Envelope {
	return []events.Envelope{{ID: uuid.New(), Kind: "test.happened", Version: 1, Data: []byte(`{}`)}}
}

// A subscriber that waits is durably blocked, so a bubble's clock can go on.
func TestMemoryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := actorstest.NewMemory()
		subscription, err := memory.Subscribe(t.Context(), storage.From{})
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan error, 2)
		go func() {
			for range 2 {
				_, err := subscription.Next(t.Context())
				answers <- err
			}
		}()
		synctest.Wait()
		if _, err := memory.Append(t.Context(), "s", storage.ExpectNoStream, happened()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := <-answers; err != nil {
			t.Fatalf("next: %v", err)
		}
		if err := memory.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-answers; !errors.Is(err, storage.ErrClosed) {
			t.Fatalf("after Close: %v, want %v", err, storage.ErrClosed)
		}
	})
}

func TestMemoryFails(t *testing.T) {
	memory, lost := actorstest.NewMemory(), errors.New("the answer was lost")
	one, two := happened(), happened()
	memory.Fail(func(events.Stream, []events.Envelope) error { return storage.ErrFull })
	if _, err := memory.Append(t.Context(), "s", storage.ExpectNoStream, one); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("append to a full store: %v", err)
	}
	memory.Fail(nil)
	memory.FailAfter(func(events.Stream, []events.Envelope) error { return lost })
	for range 2 { // the retry is recognised, and its answer is lost too
		if _, err := memory.Append(t.Context(), "s", storage.ExpectNoStream, two); !errors.Is(err, lost) {
			t.Fatalf("append whose answer is lost: %v", err)
		}
	}
	memory.FailAfter(nil)
	appended, err := memory.Append(context.WithoutCancel(t.Context()), "s", storage.ExpectNoStream, two)
	if err != nil || appended != (storage.Appended{Position: 64}) {
		t.Fatalf("the retry: %+v, %v", appended, err)
	}
	page, err := memory.Read(t.Context(), "s", 0, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 1 || page.Events[0].ID != two[0].ID {
		t.Fatalf("the stream holds %+v, %v; want the second event alone", page.Events, err)
	}
}
