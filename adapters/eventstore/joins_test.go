package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/events"
)

// locked is a buffer that several goroutines write to.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(data)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// A leader drops joins to groups, and creations of groups, without an answer until its groups have started. Both are tried again, which is
// logged, and end with the node when that is lost meanwhile.
func TestDroppedJoins(t *testing.T) {
	t.Parallel()
	for _, created := range []bool{true, false} {
		t.Run(map[bool]string{true: "join", false: "create"}[created], func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3, Subsystem: 1500 * time.Millisecond, Election: 10 * time.Millisecond})
			var log locked
			journal := connect(t, eventstore.Config{Connection: c.Connection() + "&gossipTimeout=1", Log: textLog(&log)})
			end := uuid.New()
			last := happened("x", 1)
			last[0].ID = end
			if _, err := journal.Append(ctx, "s", storage.ExpectAny, last); err != nil {
				t.Fatal(err)
			}
			if created {
				if handled := <-consumed(ctx, t, journal, end); len(handled) != 1 {
					t.Fatalf("handled %v", handled)
				}
			}
			old := c.Leader()
			c.Resign()
			if _, err := c.AwaitLeader(ctx, old); err != nil {
				t.Fatal(err)
			}
			next := uuid.New()
			last = happened("x", 1)
			last[0].ID = next
			if _, err := journal.Append(ctx, "s", storage.ExpectAny, last); err != nil {
				t.Fatal(err)
			}
			handled := <-consumed(ctx, t, journal, next)
			if len(handled) == 0 || handled[len(handled)-1] != next {
				t.Errorf("handled %v, want %v at the end", handled, next)
			}
			if !strings.Contains(log.String(), "did not answer; trying again") {
				t.Errorf("the log does not tell of it: %s", log.String())
			}
		})
	}
}

// A join that nobody answers ends when its node is lost, also if the connection stays.
func TestJoinEndsWithItsNode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3, Election: 10 * time.Millisecond})
	journal := connect(t, eventstore.Config{Connection: c.Connection() + "&gossipTimeout=1"})
	end := uuid.New()
	c.Leader().Freeze()
	handled := consumed(ctx, t, journal, end)
	last := happened("x", 1)
	last[0].ID = end
	if _, err := journal.Append(ctx, "s", storage.ExpectAny, last); err != nil {
		t.Fatal(err)
	}
	if got := <-handled; len(got) != 1 {
		t.Errorf("handled %v, want one event", got)
	}
}

// consumed is what a group has handled when it comes to an event, each event once.
func consumed(ctx context.Context, t *testing.T, journal *eventstore.Journal, until uuid.UUID) <-chan []uuid.UUID {
	t.Helper()
	result := make(chan []uuid.UUID, 1)
	go func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var handled []uuid.UUID
		known := map[uuid.UUID]bool{}
		for ctx.Err() == nil { // a lost membership is joined again
			err := journal.Consume(ctx, "all", storage.From{Filter: storage.Filter{Kinds: []string{"test."}}}, func(_ context.Context, e events.Envelope) error {
				if !known[e.ID] {
					known[e.ID] = true
					handled = append(handled, e.ID)
				}
				if e.ID == until {
					cancel()
				}
				return nil
			})
			if ctx.Err() == nil && err == nil || errors.Is(err, storage.ErrClosed) {
				t.Errorf("consuming ended: %v", err)
				break
			}
		}
		result <- handled
	}()
	return result
}

func textLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }
