package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestMain finds goroutines that are left behind; the universal suite's own, which pass on what nobody reads any more, do not count.
func TestMain(m *testing.M) {
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(multiplier+"func2"), goleak.IgnoreAnyFunction(multiplier+"func3"))
}

// publish appends messages with payloads 0, 1, 2 and so on to a topic.
func publish(t *testing.T, journal storage.Journal, topic string, from, to int) {
	t.Helper()
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := publisher.Publish(topic, message.NewMessage(uuid.NewString(), fmt.Append(nil, i))); err != nil {
			t.Fatal(err)
		}
	}
}

func groupsOf(t *testing.T, journal storage.Journal) *LocalGroups {
	t.Helper()
	groups, err := NewLocalGroups(FeedConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

func subscriber(t *testing.T, groups Groups, name string) *Subscriber {
	t.Helper()
	s, err := NewSubscriber(SubscriberConfig{Groups: groups, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func subscribe(t *testing.T, s *Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// expect takes and acks messages from..to-1.
func expect(t *testing.T, messages <-chan *message.Message, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		m := <-messages
		if m == nil || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %+v", i, m)
		}
		m.Ack()
	}
}

// checkpoints counts how often a position was stored, and returns the last one.
func checkpoints(t *testing.T, journal storage.Journal, key string) (count int, last string) {
	t.Helper()
	page, err := journal.Read(t.Context(), events.Stream(checkpointPrefix+key), 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	if count = len(page.Events); count > 0 {
		last = string(page.Events[count-1].Data)
	}
	return count, last
}

func TestGroupGoesOnFromItsPosition(t *testing.T) {
	journal := actorstest.NewMemory()
	publish(t, journal, "topic", 0, 5)
	groups := groupsOf(t, journal)
	first := subscriber(t, groups, "g")
	messages := subscribe(t, first, "topic")
	expect(t, messages, 0, 3)
	if m := <-messages; string(m.Payload) != "3" { // delivered, not acked
		t.Fatalf("message 3 is %q", m.Payload)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-messages; open {
		t.Error("the channel is open after Close")
	}
	if count, last := checkpoints(t, journal, "g:topic"); count != 1 || last != `{"stream":"topic","revision":"2","position":"205"}` {
		t.Errorf("position stored %d times, last %s", count, last)
	}
	if page, err := journal.Read(t.Context(), "$$checkpoint-g:topic", 0, storage.Forward, storage.Limit{}); err != nil || len(page.Events) != 1 || string(page.Events[0].Data) != `{"$maxCount":16}` {
		t.Errorf("the stream of positions is not bounded: %v, %v", page.Events, err)
	}
	second := subscriber(t, groups, "g")
	expect(t, subscribe(t, second, "topic"), 3, 5)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Subscribe(t.Context(), "topic"); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe after close: %v", err)
	}
}

func TestOneMemberHasTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		groups := groupsOf(t, journal)
		first, second := subscriber(t, groups, "g"), subscriber(t, groups, "g")
		one := subscribe(t, first, "topic")
		synctest.Wait()
		two := subscribe(t, second, "topic")
		publish(t, journal, "topic", 0, 4)
		expect(t, one, 0, 2)
		synctest.Wait()
		select {
		case m := <-two:
			t.Fatalf("the second member got %q while the first has the group", m.Payload)
		default:
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, two, 2, 4)
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFanOut(t *testing.T) {
	journal := actorstest.NewMemory()
	publish(t, journal, "a-1", 0, 2)
	publish(t, journal, "b-1", 100, 101)
	publish(t, journal, "a-2", 2, 3)
	fan, err := NewFanOut(FeedConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "y", "", ""} { // each has all; those without a name begin anew
		s := subscriber(t, fan, name)
		expect(t, subscribe(t, s, "category-a"), 0, 3)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, journal, "a-3", 3, 4)
	s := subscriber(t, fan, "x")
	expect(t, subscribe(t, s, "category-a"), 3, 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNackedMessagesComeAgainLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		publish(t, journal, "topic", 0, 2)
		s := subscriber(t, groupsOf(t, journal), "g")
		messages := subscribe(t, s, "topic")
		began := time.Now()
		for range 12 {
			m := <-messages
			if string(m.Payload) != "0" {
				t.Fatalf("%q came before the one that was nacked", m.Payload)
			}
			m.Nack()
		}
		expect(t, messages, 0, 2)
		// 10 ms, 20, … 2.56 s: nine of them, and 5 s three times
		if waited := time.Since(began); waited != 5110*time.Millisecond+3*5*time.Second {
			t.Errorf("twelve nacks took %s", waited)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPositionsAreStoredSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		s := subscriber(t, groupsOf(t, journal), "g")
		messages := subscribe(t, s, "topic")
		publish(t, journal, "topic", 0, 250)
		expect(t, messages, 0, 250)
		synctest.Wait()
		if count, last := checkpoints(t, journal, "g:topic"); count != 2 || last != `{"stream":"topic","revision":"199","position":"12843"}` {
			t.Errorf("after 250 messages stored %d times, last %s", count, last)
		}
		elapse(time.Second) // of the bubble
		synctest.Wait()
		if count, last := checkpoints(t, journal, "g:topic"); count != 3 || !strings.Contains(last, `"revision":"249"`) {
			t.Errorf("a second later stored %d times, last %s", count, last)
		}
		elapse(time.Hour)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if count, _ := checkpoints(t, journal, "g:topic"); count != 3 {
			t.Errorf("with nothing new stored %d times", count)
		}
	})
}

// TestAfterACrash: what was handled since the last stored position comes again, and nothing is left out.
func TestAfterACrash(t *testing.T) {
	journal := actorstest.NewMemory()
	publish(t, journal, "topic", 0, 150)
	var dead atomic.Bool
	journal.Fail(func(stream events.Stream, _ []events.Envelope) error {
		if dead.Load() {
			return storage.ErrClosed
		}
		return nil
	})
	s := subscriber(t, groupsOf(t, journal), "g")
	expect(t, subscribe(t, s, "topic"), 0, 120)
	dead.Store(true) // the process dies before it stores where it is
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dead.Store(false)
	s = subscriber(t, groupsOf(t, journal), "g")
	expect(t, subscribe(t, s, "topic"), 100, 150)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// dropping is a journal whose subscriptions end after a few events.
type dropping struct {
	*actorstest.Memory
	after int
	times atomic.Int32
}

func (d *dropping) Subscribe(ctx context.Context, from storage.From) (storage.Subscription, error) {
	if d.times.Add(1)%3 == 0 {
		return nil, errors.New("connection refused")
	}
	s, err := d.Memory.Subscribe(ctx, from)
	return &dropped{s, d.after}, err
}

type dropped struct {
	storage.Subscription
	left int
}

func (d *dropped) Next(ctx context.Context) (events.Envelope, error) {
	if d.left == 0 {
		return events.Envelope{}, errors.New("connection reset")
	}
	e, err := d.Subscription.Next(ctx)
	if err == nil {
		d.left--
	}
	return e, err
}

func TestLostConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &dropping{Memory: actorstest.NewMemory(), after: 7}
		publish(t, journal, "topic", 0, 100)
		s := subscriber(t, groupsOf(t, journal), "g")
		expect(t, subscribe(t, s, "topic"), 0, 100) // each once, in order: positions are stored when a connection ends
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if journal.times.Load() < 15 {
			t.Errorf("subscribed %d times", journal.times.Load())
		}
	})
}

// TestCloseDuringEverything: closing while members wait, messages are out and others subscribe leaves nothing behind.
func TestCloseDuringEverything(t *testing.T) {
	journal := actorstest.NewMemory()
	publish(t, journal, "topic", 0, 10)
	s := subscriber(t, groupsOf(t, journal), "g")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			messages, err := s.Subscribe(t.Context(), "topic")
			if err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				return
			}
			for m := range messages {
				m.Ack()
			}
		})
	}
	all.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
}

func TestWrongConfigurations(t *testing.T) {
	journal := actorstest.NewMemory()
	_, p := NewPublisher(PublisherConfig{})
	_, s := NewSubscriber(SubscriberConfig{})
	_, l := NewLocalGroups(FeedConfig{Journal: journal, Every: -1})
	_, f := NewFanOut(FeedConfig{})
	_, i := NewIngress(IngressConfig{Tenant: "t"})
	_, n := NewSender(nil, "local")
	_, o := NewPoisoned(journal, "No Tenant")
	for what, err := range map[string]error{"publisher": p, "subscriber": s, "groups": l, "fan-out": f, "ingress": i, "sender": n, "poisoned": o} {
		if err == nil {
			t.Errorf("a %s was made of nothing", what)
		}
	}
	if err := groupsOf(t, journal).Consume(t.Context(), "", storage.From{Stream: "s"}, nil); err == nil {
		t.Error("a group without a name was joined")
	}
}

// elapse lets time go by, in a bubble: there it takes none.
func elapse(d time.Duration) { <-time.After(d) }
