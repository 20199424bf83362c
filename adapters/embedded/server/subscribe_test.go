package server_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// live makes a request a subscription.
func live(change func(*streams.ReadReq_Options)) func(*streams.ReadReq_Options) {
	return func(o *streams.ReadReq_Options) {
		o.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
		change(o)
	}
}

// listener is a subscription through the stubs, so that every message can be looked at.
type listener struct {
	call streams.Streams_ReadClient
	stop context.CancelFunc
}

func listen(t testing.TB, client streams.StreamsClient, request *streams.ReadReq) *listener {
	t.Helper()
	ctx, stop := context.WithCancel(within(t))
	t.Cleanup(stop)
	call, err := client.Read(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{call: call, stop: stop}
	if first := l.next(t); first != "confirmed" {
		t.Fatalf("the first message is %s", first)
	}
	return l
}

// next describes a message: "confirmed", "caught up", "stream@revision", "checkpoint N" or "error CODE".
func (l *listener) next(t testing.TB) string {
	t.Helper()
	answer, err := l.call.Recv()
	if err != nil {
		return "error " + status.Code(err).String()
	}
	switch content := answer.GetContent().(type) {
	case *streams.ReadResp_Confirmation:
		if content.Confirmation.GetSubscriptionId() == "" {
			t.Error("the confirmation has no id")
		}
		return "confirmed"
	case *streams.ReadResp_CaughtUp_:
		return "caught up"
	case *streams.ReadResp_Checkpoint_:
		return fmt.Sprintf("checkpoint %d", content.Checkpoint.GetCommitPosition())
	case *streams.ReadResp_Event:
		e := content.Event.GetEvent()
		if e == nil {
			e = content.Event.GetLink()
		}
		return fmt.Sprintf("%s@%d", e.GetStreamIdentifier().GetStreamName(), e.GetStreamRevision())
	}
	return fmt.Sprintf("%T", answer.GetContent())
}

func (l *listener) expect(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := l.next(t); got != w {
			t.Fatalf("received %s, want %s", got, w)
		}
	}
}

// TestSubscribeStream follows a stream from every place.
func TestSubscribeStream(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	appendTo(t, client, "s", eventsOf(3)...)
	at := func(option func(*streams.ReadReq_Options_StreamOptions)) *listener {
		return listen(t, raw, streamFrom("s", live(func(o *streams.ReadReq_Options) { option(o.GetStream()) })))
	}
	start := at(func(*streams.ReadReq_Options_StreamOptions) {})
	start.expect(t, "s@0", "s@1", "s@2", "caught up")
	after := at(func(o *streams.ReadReq_Options_StreamOptions) {
		o.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: 1}
	})
	after.expect(t, "s@2", "caught up")
	end := at(func(o *streams.ReadReq_Options_StreamOptions) {
		o.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
	})
	end.expect(t, "caught up")
	beyond := at(func(o *streams.ReadReq_Options_StreamOptions) {
		o.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: 4}
	})
	beyond.expect(t, "caught up")
	never := at(func(o *streams.ReadReq_Options_StreamOptions) {
		o.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: math.MaxInt64}
	})
	never.expect(t, "caught up")
	missing := listen(t, raw, streamFrom("later", live(asIs)))
	missing.expect(t, "caught up")

	appendTo(t, client, "s", eventsOf(3)...)
	appendTo(t, client, "later", eventsOf(1)...)
	for _, l := range []*listener{start, after, end} {
		l.expect(t, "s@3", "s@4", "s@5")
	}
	beyond.expect(t, "s@5")
	missing.expect(t, "later@0")
}

// TestSubscribeDeleted: a deleted stream goes on where it was; one that ends delivers that, and then the subscription ends.
func TestSubscribeDeleted(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	appendTo(t, client, "s", eventsOf(2)...)
	l := listen(t, raw, streamFrom("s", live(asIs)))
	l.expect(t, "s@0", "s@1", "caught up")
	deleteStream(t, client, "s")
	late := listen(t, raw, streamFrom("s", live(asIs)))
	late.expect(t, "caught up")
	appendTo(t, client, "s", eventsOf(1)...)
	l.expect(t, "s@2")
	late.expect(t, "s@2")
	if _, err := client.TombstoneStream(within(t), "s", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{l, late} {
		l.expect(t, "s@9223372036854775807", "error FailedPrecondition")
		wantTrailers(t, l.call.Trailer(), map[string]string{"exception": "stream-deleted", "stream-name": "s"})
	}
	ended := listen(t, raw, streamFrom("s", live(asIs)))
	ended.expect(t, "error FailedPrecondition")
	wantTrailers(t, ended.call.Trailer(), map[string]string{"exception": "stream-deleted", "stream-name": "s"})
}

// TestSubscribeResolved delivers what links lead to.
func TestSubscribeResolved(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	appendTo(t, client, "s", eventsOf(1)...)
	l := listen(t, w.raw(t), streamFrom("links", live(func(o *streams.ReadReq_Options) { o.ResolveLinks = true })))
	l.expect(t, "caught up")
	appendTo(t, client, "links", event("$>", "0@s"), event("$>", "7@s"))
	l.expect(t, "s@0", "links@1")
}

// TestSubscribeAll follows everything, from every place.
func TestSubscribeAll(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	appendTo(t, client, "a", eventsOf(1)...)
	second := appendTo(t, client, "b", eventsOf(1)...)
	appendTo(t, client, "c", eventsOf(1)...)
	start := listen(t, raw, allFrom(live(asIs)))
	var before []string
	for got := start.next(t); got != "caught up"; got = start.next(t) {
		if !strings.HasPrefix(got, "$") {
			before = append(before, got)
		}
	}
	if !slices.Equal(before, []string{"a@0", "b@0", "c@0"}) {
		t.Errorf("received %q", before)
	}
	after := listen(t, raw, allFrom(live(func(o *streams.ReadReq_Options) {
		o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{
			CommitPosition: second.CommitPosition, PreparePosition: second.PreparePosition,
		}}
	})))
	after.expect(t, "c@0", "caught up")
	end := listen(t, raw, allFrom(live(func(o *streams.ReadReq_Options) {
		o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	})))
	end.expect(t, "caught up")
	appendTo(t, client, "d", eventsOf(2)...)
	for _, l := range []*listener{start, after, end} {
		l.expect(t, "d@0", "d@1")
	}
}

// TestCheckpoints counts what is looked at: a checkpoint after each interval, and one when everything was looked at.
func TestCheckpoints(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	first := appendTo(t, client, "before", eventsOf(1)...).CommitPosition
	for i := range 10 {
		appendTo(t, client, []string{"yes", "no"}[i%2], eventsOf(1)...)
	}
	filter := prefixes("yes")
	filter.Filter.Window = &streams.ReadReq_Options_FilterOptions_Max{Max: 2}
	filter.Filter.CheckpointIntervalMultiplier = 2
	l := listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) {
		o.FilterOption = filter
		o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{CommitPosition: first, PreparePosition: first}}
	})))
	check := func(after uint64) string { return fmt.Sprintf("checkpoint %d", first+after) }
	l.expect(t, "yes@0", "yes@1", check(4), "yes@2", "yes@3", check(8), "yes@4", check(10), "caught up")
	appendTo(t, client, "no", eventsOf(3)...)
	appendTo(t, client, "yes", eventsOf(1)...)
	l.expect(t, "yes@5", check(14))
}

// TestCheckpointAtEnd: whoever begins at the end is told where that is.
func TestCheckpointAtEnd(t *testing.T) {
	w := serve(t)
	last := appendTo(t, w.client(t), "s", eventsOf(1)...).CommitPosition
	filter := prefixes("nothing")
	filter.Filter.CheckpointIntervalMultiplier = 1
	l := listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) {
		o.FilterOption = filter
		o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	})))
	l.expect(t, fmt.Sprintf("checkpoint %d", last), "caught up")
}

// TestSubscribeWhileAppending subscribes to a stream and to everything in the midst of appends: nothing is missing and nothing comes twice,
// also for a client that does not read for a while.
func TestSubscribeWhileAppending(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	const total = 1500
	appended := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		for i := range total / 3 {
			if _, err := client.AppendToStream(context.Background(), "s", esdb.AppendToStreamOptions{}, eventsOf(3)...); err != nil {
				appended <- err
				return
			}
			if i == 50 {
				close(begun)
			}
		}
		appended <- nil
	}()
	slow := listen(t, raw, streamFrom("s", live(asIs)))
	<-begun
	stream := listen(t, raw, streamFrom("s", live(asIs)))
	all := listen(t, raw, allFrom(live(asIs)))
	follow := func(l *listener) {
		for next := 0; next < total; {
			got := l.next(t)
			if got == "caught up" || strings.HasPrefix(got, "$") {
				continue
			}
			if got != fmt.Sprintf("s@%d", next) {
				t.Fatalf("received %s, want s@%d", got, next)
			}
			next++
		}
	}
	follow(stream)
	follow(all)
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	follow(slow)
}

// TestCloseEndsSubscriptions: clients are told to come back, at once.
func TestCloseEndsSubscriptions(t *testing.T) {
	w := serve(t)
	l := listen(t, w.raw(t), allFrom(live(asIs)))
	batch, err := w.raw(t).BatchAppend(within(t))
	if err != nil {
		t.Fatal(err)
	}
	batched(t, batch, &streams.BatchAppendReq{CorrelationId: idOf(numbered(1)), Options: batchTo("s"), IsFinal: true})
	w.server.Close(context.Background())
	for got := l.next(t); got != "error Unavailable"; got = l.next(t) {
		if strings.HasPrefix(got, "error") {
			t.Fatal(got)
		}
	}
	if _, err := batch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the call of many appends ended with %v", err)
	}
}
