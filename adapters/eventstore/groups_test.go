package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

var errNotYet = errors.New("not yet")

// consumer handles deliveries as a test says, and notes them.
type consumer struct {
	mu      sync.Mutex
	got     []events.Revision
	outcome func(n int, e events.Envelope) error // of delivery n
	enough  int                                  // deliveries after which consuming ends
	end     context.CancelFunc
}

func (c *consumer) handle(_ context.Context, e events.Envelope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, e.Revision)
	var err error
	if c.outcome != nil {
		err = c.outcome(len(c.got), e)
	}
	if len(c.got) == c.enough {
		c.end()
	}
	return err
}

// consume runs until the consumer has enough.
func (c *consumer) consume(t *testing.T, journal *eventstore.Journal, group string, source storage.From) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ctx, c.end = context.WithCancel(ctx)
	defer c.end()
	if err := journal.Consume(ctx, group, source, c.handle); !errors.Is(err, context.Canceled) {
		t.Fatalf("consume: the error is %v, want %v", err, context.Canceled)
	}
}

func appended(t *testing.T, journal *eventstore.Journal, stream events.Stream, n int) storage.Appended {
	t.Helper()
	last, err := journal.Append(t.Context(), stream, storage.ExpectAny, happened(string(stream), n))
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func local(t *testing.T) *eventstore.Journal {
	t.Helper()
	served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	return connect(t, eventstore.Config{Connection: plain(served.Addr())})
}

// A group goes on where its last member stopped, and what was not done with comes again before what follows.
func TestGroupGoesOn(t *testing.T) { testGroupGoesOn(t, local(t)) }

func testGroupGoesOn(t *testing.T, journal *eventstore.Journal) {
	appended(t, journal, "orders", 6)
	source := storage.From{Stream: "orders", Revision: 0}

	first := &consumer{enough: 4, outcome: func(n int, _ events.Envelope) error {
		if n == 2 || n == 3 {
			return errNotYet
		}
		return nil
	}}
	first.consume(t, journal, "billing", source)
	if want := []events.Revision{1, 2, 2, 2}; !slices.Equal(first.got, want) {
		t.Errorf("the first member got %v, want %v", first.got, want)
	}
	second := &consumer{enough: 3}
	second.consume(t, journal, "billing", source)
	if want := []events.Revision{3, 4, 5}; !slices.Equal(second.got, want) {
		t.Errorf("the second member got %v, want %v", second.got, want)
	}
	other := &consumer{enough: 6}
	other.consume(t, journal, "shipping", storage.From{Stream: "orders", Revision: events.NoRevision})
	if want := []events.Revision{0, 1, 2, 3, 4, 5}; !slices.Equal(other.got, want) {
		t.Errorf("the other group got %v, want %v", other.got, want)
	}
}

// Everything that a filter chooses, after a position; groups of the same name with other filters are others.
func TestGroupOfEverything(t *testing.T) { testGroupOfEverything(t, local(t)) }

func testGroupOfEverything(t *testing.T, journal *eventstore.Journal) {
	after := appended(t, journal, "left-a", 2).Position
	appended(t, journal, "right-a", 2)
	appended(t, journal, "left-b", 3)
	left := storage.From{Position: after, Filter: storage.Filter{Streams: []string{"left-"}}}
	one := &consumer{enough: 3}
	one.consume(t, journal, "watch", left)
	if want := []events.Revision{0, 1, 2}; !slices.Equal(one.got, want) {
		t.Errorf("after a position the group got %v, want %v", one.got, want)
	}
	two := &consumer{enough: 2}
	two.consume(t, journal, "watch", storage.From{Filter: storage.Filter{Streams: []string{"right-"}, Kinds: []string{"none"}}})
	if want := []events.Revision{0, 1}; !slices.Equal(two.got, want) {
		t.Errorf("the other filter's group got %v, want %v", two.got, want)
	}
}

// A member waits while another has the group, and takes it over from one whose connection is lost; every event is handled, in order.
func TestGroupIsTakenOver(t *testing.T) {
	testGroupIsTakenOver(t, serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true}).Addr())
}

func testGroupIsTakenOver(t *testing.T, address string) {
	const total = 60
	between := newProxy(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var got []events.Revision
	handle := func(_ context.Context, e events.Envelope) error {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, e.Revision); e.Revision == total-1 {
			cancel()
		}
		if len(got)%10 == 0 {
			between.cut()
		}
		return nil
	}
	var members sync.WaitGroup
	for range 3 {
		journal := connect(t, eventstore.Config{Connection: "esdb://" + between.address() + "?tls=false&discoveryInterval=5"})
		members.Go(func() {
			for ctx.Err() == nil { // a lost membership is joined again
				if err := journal.Consume(ctx, "all", storage.From{Stream: "many", Revision: events.NoRevision}, handle); err == nil {
					t.Error("consuming ended without an error")
				}
			}
		})
	}
	writer := connect(t, eventstore.Config{Connection: plain(address)})
	for range total / 5 {
		appended(t, writer, "many", 5)
	}
	members.Wait()
	next := events.Revision(0)
	for i, revision := range got {
		if revision > next {
			t.Fatalf("delivery %d is revision %d, and %d was not handled before: %v", i, revision, next, got)
		}
		next = max(next, revision+1)
	}
	if next != total {
		t.Errorf("%d events were handled, want %d: %s", next, total, fmt.Sprint(got))
	}
}
