package server_test

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
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

// next describes a message: "confirmed", "caught up", "stream@revision", "checkpoint COMMIT/PREPARE" or "error CODE".
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
		return fmt.Sprintf("checkpoint %d/%d", content.Checkpoint.GetCommitPosition(), content.Checkpoint.GetPreparePosition())
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
	// Of what has ended nothing is confirmed (recorded rule 7), wherever the subscription begins, nor of its metadata.
	for _, stream := range []string{"s", "$$s"} {
		for _, from := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
			call, err := raw.Read(within(t), streamFrom(stream, live(func(o *streams.ReadReq_Options) {
				o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: from}
			})))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := call.Recv(); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("%s from %d: %v, %v", stream, from, got, err)
			}
			wantTrailers(t, call.Trailer(), map[string]string{"exception": "stream-deleted", "stream-name": stream})
		}
	}
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

// everyWindow makes a filter say how often it wants checkpoints.
func everyWindow(filter *streams.ReadReq_Options_Filter, window, multiplier uint32) *streams.ReadReq_Options_Filter {
	filter.Filter.Window = &streams.ReadReq_Options_FilterOptions_Max{Max: window}
	filter.Filter.CheckpointIntervalMultiplier = multiplier
	return filter
}

// TestCheckpoints: as recorded from EventStoreDB 24.10, what is looked at is counted from the event at the given place on, in pages while
// catching up, and one by one after that. A page of nothing that is chosen is named by its beginning.
func TestCheckpoints(t *testing.T) {
	for _, test := range []struct {
		name               string
		window, multiplier uint32
		want               []string // with @N for the position of the Nth event
	}{
		{"each event", 1, 1, []string{
			"checkpoint @0/@0", "checkpoint @1/0", "checkpoint @2/0", "checkpoint @3/0", "checkpoint @4/0", "checkpoint @5/0", "checkpoint @6/0", "checkpoint @7/0",
			"checkpoint @8/0", "checkpoint @9/0", "checkpoint @10/0", "yes@1", "checkpoint @11/@11", "yes@2", "checkpoint @12/@12", "yes@3", "checkpoint @13/@13", "caught up",
			"checkpoint @14/@14", "checkpoint @15/@15", "checkpoint @16/@16", "yes@4", "checkpoint @17/@17",
		}},
		{"two pages of two", 2, 2, []string{
			"checkpoint @2/0", "checkpoint @6/0", "yes@1", "checkpoint @11/@11", "yes@2", "yes@3", "checkpoint @13/@13", "caught up", "checkpoint @15/@15", "yes@4",
		}},
		{"none but at the end", 32, 1, []string{"yes@1", "yes@2", "yes@3", "checkpoint @13/@13", "caught up", "yes@4"}},
		{"after the catching up", 16, 1, []string{"yes@1", "yes@2", "yes@3", "checkpoint @13/@13", "caught up", "checkpoint @15/@15", "yes@4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serve(t)
			client := w.client(t)
			var at []uint64
			add := func(stream string, n int) {
				for range n {
					at = append(at, appendTo(t, client, stream, eventsOf(1)...).CommitPosition)
				}
			}
			add("yes", 1)
			add("no", 10)
			add("yes", 3)
			l := listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) {
				o.FilterOption, o.GetAll().AllOption = everyWindow(prefixes("yes"), test.window, test.multiplier), positioned(at[0], at[0])
			})))
			for i, want := range test.want {
				if i > 0 && test.want[i-1] == "caught up" {
					add("no", 3)
					add("yes", 1)
				}
				want = regexp.MustCompile(`@(\d+)(/|$)`).ReplaceAllStringFunc(want, func(name string) string {
					number, end := strings.CutSuffix(name[1:], "/")
					n, err := strconv.Atoi(number)
					if err != nil || !strings.HasPrefix(want, "checkpoint") {
						return name
					}
					return fmt.Sprint(at[n]) + map[bool]string{true: "/"}[end]
				})
				l.expect(t, want)
			}
		})
	}
}

// TestNoCheckpointWithoutCatchingUp: where nothing is looked at before, there is none before the live ones (recorded rule 13).
func TestNoCheckpointWithoutCatchingUp(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	last := appendTo(t, client, "s", eventsOf(1)...).CommitPosition
	var all []*listener
	for _, from := range []*streams.ReadReq_Options_AllOptions_Position{positioned(math.MaxUint64, math.MaxUint64), positioned(last, last), positioned(last+7, 0)} {
		all = append(all, listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) {
			o.FilterOption, o.GetAll().AllOption = everyWindow(prefixes("s"), 2, 1), from
		}))))
	}
	all = append(all, listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) {
		o.FilterOption = everyWindow(prefixes("s"), 2, 1)
		o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	}))))
	for _, l := range all {
		l.expect(t, "caught up")
	}
	appendTo(t, client, "s", eventsOf(20)...)
	for i, l := range all {
		if i == 2 {
			continue // how many are beyond its place is for another test
		}
		l.expect(t, "s@1", "s@2")
		if got := l.next(t); !strings.HasPrefix(got, "checkpoint ") {
			t.Errorf("%d: received %s", i, got)
		}
	}
}

// TestNothingChosen: when nothing was chosen of what was looked at, the checkpoint at the end of catching up says how far that was.
func TestNothingChosen(t *testing.T) {
	w := serve(t)
	last := appendTo(t, w.client(t), "s", eventsOf(3)...).CommitPosition
	l := listen(t, w.raw(t), allFrom(live(func(o *streams.ReadReq_Options) { o.FilterOption = everyWindow(prefixes("nothing"), 100, 1) })))
	l.expect(t, fmt.Sprintf("checkpoint %d/%d", last, last), "caught up")
}

// TestLiveEventsAreNotHidden: a live subscription is sent what is appended, also what metadata hide at once (recorded rule 8).
func TestLiveEventsAreNotHidden(t *testing.T) {
	for _, metadata := range []string{`{"$maxCount":1}`, `{"$tb":100}`} {
		w := serve(t)
		client, raw := w.client(t), w.raw(t)
		appendTo(t, client, "s", eventsOf(3)...)
		appendTo(t, client, "$$s", event("$metadata", metadata))
		start, end := listen(t, raw, streamFrom("s", live(asIs))), listen(t, raw, streamFrom("s", live(func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
		})))
		if metadata == `{"$maxCount":1}` {
			start.expect(t, "s@2")
		}
		for _, l := range []*listener{start, end} {
			l.expect(t, "caught up")
		}
		appendTo(t, client, "s", eventsOf(4)...)
		for _, l := range []*listener{start, end} {
			l.expect(t, "s@3", "s@4", "s@5", "s@6")
		}
	}
}

// TestExpensiveExpression: one that backtracks without end ends its call, and says why.
func TestExpensiveExpression(t *testing.T) {
	w := serve(t)
	appendTo(t, w.client(t), strings.Repeat("a", 40)+"!", eventsOf(1)...)
	by := filtered(&streams.ReadReq_Options_FilterOptions{CheckpointIntervalMultiplier: 1, Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
		StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Regex: "^(a+)+$"},
	}})
	for _, request := range []*streams.ReadReq{
		allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = by }),
		allFrom(live(func(o *streams.ReadReq_Options) { o.FilterOption = by })),
	} {
		if _, err := answers(t, w.raw(t), request); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "100ms") {
			t.Errorf("the call ended with %v", err)
		}
	}
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
