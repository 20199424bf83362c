package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// brisk is settings for tests: checkpoints at every answer.
func brisk() esdb.PersistentSubscriptionSettings {
	settings := esdb.SubscriptionSettingsDefault()
	settings.CheckpointLowerBound, settings.CheckpointUpperBound, settings.CheckpointAfter = 1, 1, 0
	return settings
}

// group makes a group from the beginning of a stream; change may change how.
func group(t testing.TB, client *esdb.Client, stream, name string, change ...func(*esdb.PersistentStreamSubscriptionOptions)) {
	t.Helper()
	settings := brisk()
	options := esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}, Settings: &settings}
	for _, apply := range change {
		apply(&options)
	}
	if err := client.CreatePersistentSubscription(within(t), stream, name, options); err != nil {
		t.Fatalf("create group %s of %s: %v", name, stream, err)
	}
}

// consumer joins a group.
func consumer(t testing.TB, client *esdb.Client, stream, name string, buffer uint32) *esdb.PersistentSubscription {
	t.Helper()
	member, err := client.SubscribeToPersistentSubscription(within(t), stream, name, esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: buffer})
	if err != nil {
		t.Fatalf("join group %s of %s: %v", name, stream, err)
	}
	t.Cleanup(func() { member.Close() })
	return member
}

func next(t testing.TB, member *esdb.PersistentSubscription) *esdb.EventAppeared {
	t.Helper()
	received := member.Recv()
	if received.EventAppeared == nil {
		t.Fatalf("the consumer was dropped: %v", received.SubscriptionDropped.Error)
	}
	return received.EventAppeared
}

// number is the revision of the event that the consumer was given.
func number(e *esdb.EventAppeared) uint64 { return e.Event.OriginalEvent().EventNumber }

func info(t testing.TB, client *esdb.Client, stream, name string) *esdb.PersistentSubscriptionInfo {
	t.Helper()
	known, err := client.GetPersistentSubscriptionInfo(within(t), stream, name, esdb.GetPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatalf("ask about group %s of %s: %v", name, stream, err)
	}
	return known
}

// eventually waits until the group is as it should be.
func eventually(t testing.TB, client *esdb.Client, stream, name, what string, is func(*esdb.PersistentSubscriptionInfo) bool) {
	t.Helper()
	ctx := within(t)
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		known := info(t, client, stream, name)
		if is(known) {
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatalf("%s: not so: %+v %+v", what, known, known.Stats)
		}
	}
}

func codeOf(err error) esdb.ErrorCode {
	failed, ok := esdb.FromError(err)
	if ok {
		return -1
	}
	return failed.Code()
}

func TestPersistentDeliversWhatIsStoredAndWhatIsAppended(t *testing.T) {
	client := serve(t).client(t)
	batch := eventsOf(5)
	appendTo(t, client, "orders", batch[:3]...)
	group(t, client, "orders", "g")
	member := consumer(t, client, "orders", "g", 2)
	for i := range 5 {
		if i == 3 {
			appendTo(t, client, "orders", batch[3:]...)
		}
		e := next(t, member)
		if number(e) != uint64(i) || e.Event.Event.EventID != batch[i].EventID || e.RetryCount != 0 || string(e.Event.Event.Data) != string(batch[i].Data) {
			t.Fatalf("delivery %d is %+v", i, e.Event.Event)
		}
		if err := member.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, client, "orders", "g", "the checkpoint is at the last event", func(i *esdb.PersistentSubscriptionInfo) bool {
		return i.Stats.LastCheckpointedEventRevision != nil && *i.Stats.LastCheckpointedEventRevision == 4 && i.Status == "Live"
	})
}

func TestPersistentBeginsWhereItIsToldTo(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(10)...)
	for name, from := range map[string]struct {
		start esdb.StreamPosition
		want  uint64
	}{"start": {esdb.Start{}, 0}, "four": {esdb.Revision(4), 4}, "ten": {esdb.Revision(10), 10}, "end": {esdb.End{}, 10}} {
		group(t, client, "s", name, func(o *esdb.PersistentStreamSubscriptionOptions) { o.StartFrom = from.start })
		defer func() {
			if e := next(t, consumer(t, client, "s", name, 10)); number(e) != from.want {
				t.Errorf("the group from %s begins with %d, want %d", name, number(e), from.want)
			}
		}()
	}
	group(t, client, "later", "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.StartFrom = esdb.Revision(2) })
	appendTo(t, client, "s", eventsOf(1)...)
	appendTo(t, client, "later", eventsOf(4)...)
	if e := next(t, consumer(t, client, "later", "g", 10)); number(e) != 2 {
		t.Errorf("the group of the stream that came later begins with %d, want 2", number(e))
	}
}

func TestPersistentHoldsNoMoreThanItsBuffer(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(9)...)
	group(t, client, "s", "g")
	member := consumer(t, client, "s", "g", 2)
	first := next(t, member)
	next(t, member)
	eventually(t, client, "s", "g", "two are held, the rest waits", func(i *esdb.PersistentSubscriptionInfo) bool {
		return i.Stats.TotalInFlightMessages == 2 && i.Stats.ReadBufferCount == 7 && i.Connections[0].AvailableSlots == 0
	})
	if err := member.Ack(first.Event); err != nil {
		t.Fatal(err)
	}
	if e := next(t, member); number(e) != 2 {
		t.Errorf("after an answer comes event %d, want 2", number(e))
	}
}

func TestPersistentNack(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(5)...)
	group(t, client, "s", "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.Settings.MaxRetryCount = 2 })
	member := consumer(t, client, "s", "g", 1)
	nack := func(e *esdb.EventAppeared, action esdb.NackAction) {
		t.Helper()
		if err := member.Nack("a reason", action, e.Event); err != nil {
			t.Fatal(err)
		}
	}
	for retries := range 3 { // event 0: again and again, then parked
		e := next(t, member)
		if number(e) != 0 || e.RetryCount != retries {
			t.Fatalf("delivered is event %d with %d retries, want 0 with %d", number(e), e.RetryCount, retries)
		}
		nack(e, esdb.NackActionRetry)
	}
	nack(next(t, member), esdb.NackActionPark)    // event 1
	nack(next(t, member), esdb.NackActionSkip)    // event 2
	nack(next(t, member), esdb.NackActionUnknown) // event 3
	e := next(t, member)
	if number(e) != 3 || e.RetryCount != 1 {
		t.Fatalf("delivered is event %d with %d retries, want 3 with 1", number(e), e.RetryCount)
	}
	if err := member.Ack(e.Event); err != nil {
		t.Fatal(err)
	}
	e = next(t, member)
	if err := member.Ack(e.Event); err != nil {
		t.Fatal(err)
	}
	eventually(t, client, "s", "g", "two are parked, all is done", func(i *esdb.PersistentSubscriptionInfo) bool {
		return i.Stats.ParkedMessagesCount == 2 && i.Stats.LastCheckpointedEventRevision != nil && *i.Stats.LastCheckpointedEventRevision == 4
	})
	parked, err := readStream(t, client, "$persistentsubscription-s::g-parked", esdb.ReadStreamOptions{}, 10)
	if err != nil || len(parked) != 2 || string(parked[0].Event.Data) != "0@s" || parked[0].Event.EventType != "$>" ||
		!strings.Contains(string(parked[1].Event.UserMetadata), "a reason") || string(parked[1].Event.Data) != "1@s" {
		t.Fatalf("parked is %+v, %v", parked, err)
	}
}

func TestPersistentReplayParked(t *testing.T) {
	client := serve(t).client(t)
	batch := eventsOf(4)
	appendTo(t, client, "s", batch...)
	group(t, client, "s", "g")
	member := consumer(t, client, "s", "g", 10)
	for range batch {
		if err := member.Nack("later", esdb.NackActionPark, next(t, member).Event); err != nil {
			t.Fatal(err)
		}
	}
	parked := func(n int64) {
		t.Helper()
		eventually(t, client, "s", "g", fmt.Sprint(n, " are parked"), func(i *esdb.PersistentSubscriptionInfo) bool { return i.Stats.ParkedMessagesCount == n })
	}
	parked(4)
	if err := client.ReplayParkedMessages(within(t), "s", "g", esdb.ReplayParkedMessagesOptions{StopAt: 2}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		e := next(t, member)
		if e.Event.Event.EventID != batch[i].EventID || e.Event.Link == nil || e.Event.Link.EventNumber != uint64(i) {
			t.Fatalf("replayed is %+v, link %+v", e.Event.Event, e.Event.Link)
		}
		if i == 0 {
			if err := member.Nack("still not", esdb.NackActionPark, e.Event); err != nil { // parked again, behind the others
				t.Fatal(err)
			}
		} else if err := member.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
	parked(3)
	if err := client.ReplayParkedMessages(within(t), "s", "g", esdb.ReplayParkedMessagesOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 3, 0} {
		e := next(t, member)
		if e.Event.Event.EventID != batch[want].EventID {
			t.Fatalf("replayed is %s, want event %d", e.Event.Event.Data, want)
		}
		if err := member.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
	parked(0)
	ctx := within(t)
	for { // what was replayed is gone from the parked stream, once it is done
		left, err := readStream(t, client, "$persistentsubscription-s::g-parked", esdb.ReadStreamOptions{}, 10)
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		if len(left) == 0 {
			break
		}
	}
}

func TestPersistentTimeoutAndDisconnect(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(2)...)
	group(t, client, "s", "g", func(o *esdb.PersistentStreamSubscriptionOptions) {
		o.Settings.MessageTimeout, o.Settings.MaxRetryCount = 100, 5
	})
	silent := consumer(t, client, "s", "g", 1)
	if e := next(t, silent); number(e) != 0 {
		t.Fatalf("the first event is %d", number(e))
	}
	if e := next(t, silent); number(e) != 0 || e.RetryCount != 1 {
		t.Fatalf("after its time it is event %d with %d retries, want 0 with 1", number(e), e.RetryCount)
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, client, "s", "g", "the silent one has left", func(i *esdb.PersistentSubscriptionInfo) bool { return len(i.Connections) == 0 })
	other := consumer(t, client, "s", "g", 10)
	for i := range 2 {
		e := next(t, other)
		if number(e) != uint64(i) || i == 0 && e.RetryCount < 2 {
			t.Fatalf("the other consumer is given event %d with %d retries", number(e), e.RetryCount)
		}
		if err := other.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPersistentToAll(t *testing.T) {
	client := serve(t).client(t)
	settings := brisk()
	options := esdb.PersistentAllSubscriptionOptions{
		StartFrom: esdb.Start{}, Settings: &settings, MaxSearchWindow: 10,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"wanted-"}},
	}
	if err := client.CreatePersistentSubscriptionToAll(within(t), "g", options); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		appendTo(t, client, fmt.Sprint("wanted-", i), eventsOf(1)...)
		appendTo(t, client, fmt.Sprint("other-", i), eventsOf(1)...)
	}
	member, err := client.SubscribeToPersistentSubscriptionToAll(within(t), "g", esdb.SubscribeToPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	for i := range 5 {
		e := next(t, member)
		if e.Event.Event.StreamID != fmt.Sprint("wanted-", i) || e.Event.Commit == nil || e.Event.Event.Position.Commit != *e.Event.Commit {
			t.Fatalf("delivery %d is %+v", i, e.Event.Event)
		}
		if i == 4 {
			err = member.Nack("park it", esdb.NackActionPark, e.Event)
		} else {
			err = member.Ack(e.Event)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var known *esdb.PersistentSubscriptionInfo
	for ctx := within(t); known == nil || known.Stats.ParkedMessagesCount != 1 || known.Stats.LastCheckpointedPosition == nil; {
		if known, err = client.GetPersistentSubscriptionInfoToAll(ctx, "g", esdb.GetPersistentSubscriptionOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, start := known.Settings.StartFrom.(esdb.Start); known.EventSource != "$all" || !start {
		t.Errorf("the group is %+v from %v", known, known.Settings.StartFrom)
	}
	if err := client.ReplayParkedMessagesToAll(within(t), "g", esdb.ReplayParkedMessagesOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, member); e.Event.Event.StreamID != "wanted-4" || e.Event.Link == nil {
		t.Errorf("replayed is %+v", e.Event.Event)
	}
	if err := client.UpdatePersistentSubscriptionToAll(within(t), "g", esdb.PersistentAllSubscriptionOptions{Settings: &settings, StartFrom: esdb.Start{}}); err != nil {
		t.Fatal(err)
	}
	if dropped := member.Recv().SubscriptionDropped; dropped == nil {
		t.Error("the consumer of a group that was changed is not dropped")
	}
	options.StartFrom = esdb.Position{Commit: 1 << 40, Prepare: 1 << 40}
	if err := client.CreatePersistentSubscriptionToAll(within(t), "beyond", options); err == nil {
		t.Error("a group may begin beyond the last position")
	}
	if err := client.DeletePersistentSubscriptionToAll(within(t), "g", esdb.DeletePersistentSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestPersistentResolvesLinks(t *testing.T) {
	client := serve(t).client(t)
	batch := eventsOf(2)
	appendTo(t, client, "target", batch...)
	link := func(to string) esdb.EventData {
		return esdb.EventData{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(to)}
	}
	links := []esdb.EventData{link("1@target"), link("7@target"), link("0@target")}
	appendTo(t, client, "links", links...)
	group(t, client, "links", "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.Settings.ResolveLinkTos = true })
	member := consumer(t, client, "links", "g", 1)
	for i, want := range []*esdb.EventData{&batch[1], nil, &batch[0]} {
		e := next(t, member)
		if e.Event.Link == nil || e.Event.Link.EventID != links[i].EventID {
			t.Fatalf("the link of delivery %d is %+v", i, e.Event.Link)
		}
		if (want == nil) != (e.Event.Event == nil) || want != nil && want.EventID != e.Event.Event.EventID {
			t.Fatalf("delivery %d is %+v", i, e.Event.Event)
		}
		if err := member.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPersistentStrategies(t *testing.T) {
	client := serve(t).client(t)
	for _, strategy := range []esdb.ConsumerStrategy{esdb.ConsumerStrategyRoundRobin, esdb.ConsumerStrategyDispatchToSingle, esdb.ConsumerStrategyPinned} {
		t.Run(string(strategy), func(t *testing.T) {
			stream := "s-" + string(strategy)
			group(t, client, stream, "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.Settings.ConsumerStrategyName = strategy })
			members := []*esdb.PersistentSubscription{consumer(t, client, stream, "g", 4), consumer(t, client, stream, "g", 4)}
			eventually(t, client, stream, "g", "both have joined", func(i *esdb.PersistentSubscriptionInfo) bool { return len(i.Connections) == 2 })
			appendTo(t, client, stream, eventsOf(4)...)
			var got []int
			eventually(t, client, stream, "g", "all are delivered", func(i *esdb.PersistentSubscriptionInfo) bool {
				got = nil
				for _, c := range i.Connections {
					got = append(got, int(c.InFlightMessages))
				}
				return i.Stats.TotalInFlightMessages == 4
			})
			want := []int{0, 4} // one has them all
			if strategy == esdb.ConsumerStrategyRoundRobin {
				want = []int{2, 2}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("consumers hold %v, want %v", got, want)
			}
			for _, member := range members {
				member.Close()
			}
		})
	}
}

func TestPersistentManagement(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	ctx := within(t)
	group(t, client, "s", "one")
	options := esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}}
	for what, check := range map[string]struct {
		err  error
		want esdb.ErrorCode
	}{
		"create again":   {client.CreatePersistentSubscription(ctx, "s", "one", options), esdb.ErrorCodeResourceAlreadyExists},
		"update missing": {client.UpdatePersistentSubscription(ctx, "s", "none", options), esdb.ErrorCodeResourceNotFound},
		"delete missing": {client.DeletePersistentSubscription(ctx, "s", "none", esdb.DeletePersistentSubscriptionOptions{}), esdb.ErrorCodeResourceNotFound},
		"replay missing": {client.ReplayParkedMessages(ctx, "s", "none", esdb.ReplayParkedMessagesOptions{}), esdb.ErrorCodeResourceNotFound},
	} {
		if codeOf(check.err) != check.want {
			t.Errorf("%s: %v, want code %d", what, check.err, check.want)
		}
	}
	if _, err := client.SubscribeToPersistentSubscription(ctx, "s", "none", esdb.SubscribeToPersistentSubscriptionOptions{}); codeOf(err) != esdb.ErrorCodeResourceNotFound {
		t.Errorf("join a group that is not there: %v", err)
	}
	if _, err := client.ListPersistentSubscriptionsForStream(ctx, "nothing", esdb.ListPersistentSubscriptionsOptions{}); codeOf(err) != esdb.ErrorCodeResourceNotFound {
		t.Errorf("list the groups of a stream without any: %v", err)
	}
	bad := brisk()
	bad.ReadBatchSize, bad.HistoryBufferSize = 10, 10
	if err := client.CreatePersistentSubscription(ctx, "s", "bad", esdb.PersistentStreamSubscriptionOptions{Settings: &bad}); err == nil {
		t.Error("a read batch as large as the history buffer is accepted")
	}

	settings := brisk()
	settings.MaxSubscriberCount = 1
	options.Settings = &settings
	member := consumer(t, client, "s", "one", 1)
	if err := client.UpdatePersistentSubscription(ctx, "s", "one", options); err != nil {
		t.Fatal(err)
	}
	if member.Recv().SubscriptionDropped == nil {
		t.Error("a change does not drop the consumers")
	}
	consumer(t, client, "s", "one", 1)
	if _, err := client.SubscribeToPersistentSubscription(ctx, "s", "one", esdb.SubscribeToPersistentSubscriptionOptions{}); err == nil {
		t.Error("a second consumer may join a group for one")
	}

	group(t, client, "/odd/s", "/odd/g")
	list, err := client.ListAllPersistentSubscriptions(ctx, esdb.ListPersistentSubscriptionsOptions{})
	if err != nil || len(list) != 2 || list[0].GroupName != "/odd/g" || list[0].EventSource != "/odd/s" || list[1].Settings.MaxSubscriberCount != 1 {
		t.Errorf("the groups are %+v, %v", list, err)
	}
	if err := client.RestartPersistentSubscriptionSubsystem(ctx, esdb.RestartPersistentSubscriptionSubsystemOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.DeletePersistentSubscription(ctx, "s", "one", esdb.DeletePersistentSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
	group(t, client, "s", "one")
}

// A group that is deleted leaves nothing behind for the next of its name; one that is changed goes on where it was.
func TestPersistentDeleteForgetsAndUpdateDoesNot(t *testing.T) {
	client := serve(t).client(t)
	ctx := within(t)
	appendTo(t, client, "s", eventsOf(4)...)
	group(t, client, "s", "g")
	first := func(want uint64) {
		t.Helper()
		member := consumer(t, client, "s", "g", 1)
		defer member.Close()
		e := next(t, member)
		if number(e) != want {
			t.Fatalf("the first event is %d, want %d", number(e), want)
		}
		if err := member.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
		next(t, member) // so that the answer has arrived
	}
	first(0)
	settings := esdb.SubscriptionSettingsDefault() // checkpoints later: what was done is noted when the group is changed
	if err := client.UpdatePersistentSubscription(ctx, "s", "g", esdb.PersistentStreamSubscriptionOptions{Settings: &settings, StartFrom: esdb.End{}}); err != nil {
		t.Fatal(err)
	}
	first(1)
	if err := client.RestartPersistentSubscriptionSubsystem(ctx, esdb.RestartPersistentSubscriptionSubsystemOptions{}); err != nil {
		t.Fatal(err)
	}
	first(2)
	if err := client.DeletePersistentSubscription(ctx, "s", "g", esdb.DeletePersistentSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
	group(t, client, "s", "g")
	first(0)
}

// A group from the end that never wrote a checkpoint still begins where the end was when it was made.
func TestPersistentFromTheEndSurvivesARestart(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(3)...)
	group(t, client, "s", "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.StartFrom = esdb.End{} })
	appendTo(t, client, "s", eventsOf(1)...)
	if err := client.RestartPersistentSubscriptionSubsystem(within(t), esdb.RestartPersistentSubscriptionSubsystemOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, consumer(t, client, "s", "g", 1)); number(e) != 3 {
		t.Errorf("it begins with event %d, want 3", number(e))
	}
	if i := info(t, client, "s", "g"); i.Stats.LastCheckpointedEventRevision != nil {
		t.Errorf("it has a checkpoint at %d", *i.Stats.LastCheckpointedEventRevision)
	}
}

// A consumer whose client takes nothing from its connection is no obstacle to others.
func TestPersistentSlowConsumerHoldsUpNobody(t *testing.T) {
	client := serve(t).client(t)
	big := make([]esdb.EventData, 40)
	for i := range big {
		big[i] = event("big", `"`+strings.Repeat("x", 64<<10)+`"`)
	}
	for i := range 10 {
		appendTo(t, client, "s", big[i*4:i*4+4]...)
	}
	group(t, client, "s", "g", func(o *esdb.PersistentStreamSubscriptionOptions) { o.Settings.MessageTimeout = 500 })
	consumer(t, client, "s", "g", 20) // never receives
	willing := consumer(t, client, "s", "g", 5)
	seen := map[uint64]bool{}
	for ctx := within(t); len(seen) < len(big); {
		if ctx.Err() != nil {
			t.Fatalf("only %d of %d events came through: %+v", len(seen), len(big), info(t, client, "s", "g").Stats)
		}
		e := next(t, willing)
		seen[number(e)] = true
		if err := willing.Ack(e.Event); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPersistentEndsWithTheServer(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	group(t, client, "s", "g")
	member := consumer(t, client, "s", "g", 1)
	began := time.Now()
	w.server.Close(context.Background())
	if dropped := member.Recv().SubscriptionDropped; dropped == nil || errors.Is(dropped.Error, context.Canceled) {
		t.Errorf("the consumer is told %+v", dropped)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the server took %s to close", took)
	}
}
