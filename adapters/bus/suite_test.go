package bus_test

import (
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/adapters/bus"
)

// assembly makes publishers and subscribers over one journal.
type assembly struct {
	journal *actorstest.Memory
	groups  *bus.LocalGroups
	fanOut  *bus.FanOut
}

func assemble(t *testing.T) *assembly {
	t.Helper()
	journal := actorstest.NewMemory()
	config := bus.FeedConfig{Journal: journal, Interval: 50 * time.Millisecond}
	groups, err := bus.NewLocalGroups(config)
	if err != nil {
		t.Fatal(err)
	}
	fanOut, err := bus.NewFanOut(config)
	if err != nil {
		t.Fatal(err)
	}
	return &assembly{journal, groups, fanOut}
}

func (a *assembly) pubSub(t *testing.T, groups bus.Groups, name string) (message.Publisher, message.Subscriber) {
	t.Helper()
	publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: a.journal})
	if err != nil {
		t.Fatal(err)
	}
	subscriber, err := bus.NewSubscriber(bus.SubscriberConfig{Groups: groups, Name: name, First: time.Millisecond, Most: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = subscriber.Close() }) // the suite forgets some; closing never fails
	return publisher, subscriber
}

func (a *assembly) grouped(t *testing.T) (message.Publisher, message.Subscriber) {
	return a.pubSub(t, a.groups, "everyone")
}

func (a *assembly) group(t *testing.T, name string) (message.Publisher, message.Subscriber) {
	return a.pubSub(t, a.groups, name)
}

// fannedOut gives each subscriber a name of its own, and with it every message.
func (a *assembly) fannedOut(t *testing.T) (message.Publisher, message.Subscriber) {
	return a.pubSub(t, a.fanOut, uuid.NewString())
}

// Order holds in a group however many members it has, as one of them has it at a time; of a fan-out each consumer by itself gets
// everything in order. Nothing is delivered exactly once, and nothing restarts in this process: cmd runs that over a store.
func groupFeatures() tests.Features {
	return tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true}
}

func fanOutFeatures() tests.Features {
	return tests.Features{
		ConsumerGroups: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
		NewSubscriberReceivesOldMessages: true,
	}
}

func TestUniversalSuiteGroups(t *testing.T) {
	t.Parallel()
	a := assemble(t)
	tests.TestPubSub(t, groupFeatures(), a.grouped, a.group)
}

// TestUniversalSuiteFanOut is small in a plain run: every one of fifty subscribers gets everything.
func TestUniversalSuiteFanOut(t *testing.T) {
	t.Parallel()
	a := assemble(t)
	features := fanOutFeatures()
	features.ForceShort = os.Getenv("STRESS_TEST_COUNT") == ""
	tests.TestPubSub(t, features, a.fannedOut, a.group)
}

// TestUniversalSuiteStress runs the suite STRESS_TEST_COUNT times at once; in a plain run once, and small.
func TestUniversalSuiteStress(t *testing.T) {
	t.Parallel()
	a := assemble(t)
	features := groupFeatures()
	if os.Getenv("STRESS_TEST_COUNT") == "" {
		features.ForceShort = true
		tests.TestPubSub(t, features, a.grouped, a.group)
		return
	}
	tests.TestPubSubStressTest(t, features, a.grouped, a.group)
}
