package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/events"
)

// soon is how long an append may take to be acknowledged once the cluster has a leader. The promise is a second; tests run beside others.
const soon = 3 * time.Second

// writer appends one event after another until it is stopped, and keeps what was acknowledged.
type writer struct {
	stream   events.Stream
	expected bool // the revision is

	mu      sync.Mutex
	wrote   []eventstoretest.Acknowledged
	changed chan struct{}
}

func (w *writer) write(ctx context.Context, t *testing.T, journal *eventstore.Journal, stop <-chan struct{}) {
	last := events.NoRevision
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		batch := happened(fmt.Sprint(i), 1+i%3)
		ids := make([]uuid.UUID, len(batch))
		for k := range batch {
			ids[k] = batch[k].ID
		}
		expected := actors.ExpectAny
		if w.expected {
			expected = actors.ExpectRevision(last)
		}
		appended, err := journal.Append(ctx, w.stream, expected, batch)
		if err != nil {
			t.Errorf("append %d to %s: %v", i, w.stream, err)
			return
		}
		last = appended.Last
		w.mu.Lock()
		w.wrote = append(w.wrote, eventstoretest.Acknowledged{
			Stream: string(w.stream), First: int64(appended.First), Last: int64(appended.Last), Place: uint64(appended.Position), IDs: ids,
		})
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}

// another waits until one more append than now was begun and acknowledged.
func (w *writer) another(ctx context.Context, t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	for range 2 {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no append was acknowledged within %s", time.Since(began))
		}
	}
	return time.Since(began)
}

// follow takes what a subscription gives until it has the last event that the writers wrote.
func follow(ctx context.Context, t *testing.T, journal *eventstore.Journal, from actors.From, got *[]uuid.UUID, until uuid.UUID) {
	t.Helper()
	subscription, err := journal.Subscribe(ctx, from)
	if err != nil {
		t.Errorf("subscribe: %v", err)
		return
	}
	defer subscription.Close()
	for {
		e, err := subscription.Next(ctx)
		if err != nil {
			t.Errorf("subscription %+v, after %d events: %v", from, len(*got), err)
			return
		}
		if *got = append(*got, e.ID); e.ID == until {
			return
		}
	}
}

// What a cluster suffers while writers, subscribers and a group use it: nothing is lost, doubled or stuck, and when a leader is there again the next
// append is soon acknowledged.
func TestFailover(t *testing.T) {
	rows := []struct {
		name   string
		suffer func(t *testing.T, c *eventstoretest.Cluster) (heal func())
		leads  bool // the same node goes on leading
	}{
		{"leader killed", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			leader := c.Leader()
			leader.Kill()
			return leader.Restart
		}, false},
		{"leader frozen", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			leader := c.Leader()
			leader.Freeze()
			return leader.Thaw
		}, false},
		{"nothing reaches the leader", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			leader := c.Leader()
			leader.CutOff(eventstoretest.Requests)
			return func() { leader.CutOff(0) }
		}, false},
		{"nothing comes from the leader", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			leader := c.Leader()
			leader.CutOff(eventstoretest.Answers)
			return func() { leader.CutOff(0) }
		}, false},
		{"leader's connections are held, and then it is killed", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			leader := c.Leader()
			leader.Freeze()
			leader.Kill()
			return leader.Restart
		}, false},
		{"leader resigns", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			c.Resign()
			return func() {}
		}, false},
		{"follower frozen", func(_ *testing.T, c *eventstoretest.Cluster) func() {
			follower := c.Followers()[0]
			follower.Freeze()
			return follower.Thaw
		}, true},
		{"no quorum for a while", func(t *testing.T, c *eventstoretest.Cluster) func() {
			killed := c.Followers()
			for _, node := range killed {
				node.Kill()
			}
			time.Sleep(time.Second)
			killed[0].Restart()
			return killed[1].Restart
		}, true},
		{"leader killed and a follower frozen", func(t *testing.T, c *eventstoretest.Cluster) func() {
			leader, follower := c.Leader(), c.Followers()[0]
			leader.Kill()
			follower.Freeze()
			time.Sleep(time.Second)
			leader.Restart()
			return follower.Thaw
		}, true},
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3, Seed: uint64(i), Replicate: 2 * time.Millisecond})
			journal := connect(t, eventstore.Config{Connection: c.Connection(), Log: logTo(t)})
			writers := []*writer{
				{stream: "expecting", expected: true, changed: make(chan struct{})},
				{stream: "not-expecting", changed: make(chan struct{})},
			}
			stop := make(chan struct{})
			var done sync.WaitGroup
			for _, w := range writers {
				done.Go(func() { w.write(ctx, t, journal, stop) })
			}
			end := uuid.New()
			froms := []actors.From{{Filter: actors.Filter{Kinds: []string{"test."}}}, {}}
			got := make([][]uuid.UUID, len(froms))
			var following sync.WaitGroup
			for k, from := range froms {
				following.Go(func() { follow(ctx, t, journal, from, &got[k], end) })
			}
			handled := consumed(ctx, t, journal, end)
			for _, w := range writers {
				w.another(ctx, t)
			}

			old := c.Leader()
			heal := row.suffer(t, c)
			if row.leads {
				old = nil
			}
			if _, err := c.AwaitLeader(ctx, old); err != nil {
				t.Fatal(err)
			}
			for _, w := range writers {
				took := w.another(ctx, t)
				t.Logf("%s: acknowledged %s after there was a leader", w.stream, took)
				if took > soon {
					t.Errorf("%s: the next append was acknowledged %s after there was a leader", w.stream, took)
				}
			}
			heal()
			for _, w := range writers {
				w.another(ctx, t)
			}
			close(stop)
			done.Wait()
			last := happened("end", 1)
			last[0].ID = end
			if _, err := journal.Append(ctx, "end", actors.ExpectAny, last); err != nil {
				t.Fatal(err)
			}
			following.Wait()
			all := c.Events("")
			for k := range froms {
				if !slices.Equal(got[k], all) {
					t.Errorf("subscription %+v gave %d events, the store has %d, or another order", froms[k], len(got[k]), len(all))
				}
			}
			if handled := <-handled; !slices.Equal(handled, all) {
				t.Errorf("the group handled %d events, the store has %d, or another order", len(handled), len(all))
			}
			if err := c.Check(slices.Concat(writers[0].wrote, writers[1].wrote)); err != nil {
				t.Error(err)
			}
		})
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
			err := journal.Consume(ctx, "all", actors.From{Filter: actors.Filter{Kinds: []string{"test."}}}, func(_ context.Context, e events.Envelope) error {
				if !known[e.ID] {
					known[e.ID] = true
					handled = append(handled, e.ID)
				}
				if e.ID == until {
					cancel()
				}
				return nil
			})
			t.Logf("consuming ended: %v", err)
			if ctx.Err() == nil && err == nil || errors.Is(err, actors.ErrClosed) {
				t.Errorf("consuming ended: %v", err)
				break
			}
		}
		result <- handled
	}()
	return result
}

// logTo shows what a journal logs when its test fails.
func logTo(t *testing.T) *slog.Logger { return textLog(t.Output()) }

func textLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }
