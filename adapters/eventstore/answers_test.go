package eventstore_test

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// Each answer becomes the error that the port names, at once or after as many attempts as make sense.
func TestAnswersToAppend(t *testing.T) {
	t.Parallel()
	always := func(err error) func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
		return func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) { return nil, err }
	}
	once := func(err error) func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
		return func(n int, _ []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
			if n == 1 {
				return nil, err
			}
			return stored(7, 99), nil
		}
	}
	rows := []struct {
		name    string
		answer  func(n int, batch []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error)
		want    error
		says    string
		appends int64
	}{
		{"the disk is full", always(fails(codes.ResourceExhausted, "exception", "disk-full")), storage.ErrFull, "", 1},
		{"the stream is deleted", always(fails(codes.FailedPrecondition, "exception", "stream-deleted", "stream-name", "s")), storage.ErrDeleted, "", 1},
		{"a deleted stream without a name", always(fails(codes.FailedPrecondition, "exception", "stream-deleted")), storage.ErrDeleted, "", 1},
		{"more than the server takes", always(fails(codes.InvalidArgument, "exception", "maximum-append-size-exceeded", "maximum-append-size", "1000")), storage.ErrInvalidAppend, "1000 bytes", 1},
		{"no right", always(fails(codes.PermissionDenied, "exception", "access-denied")), nil, "denies access", 1},
		{"wrong credentials", always(fails(codes.Unauthenticated)), nil, "wants a user name and password", 1},
		{"no result", func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
			return &streams.AppendResp{}, nil
		}, nil, "without a result", 1},
		{"a place that cannot be", func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) { return stored(9, 1), nil }, nil, "can only be 7", 1},
		{"an internal error, always", always(fails(codes.Internal)), nil, "retry with the same ids", 5},
		{"an internal error, once", once(fails(codes.Internal)), nil, "", 2},
		{"a commit that took too long, once", once(fails(codes.Aborted)), nil, "", 2},
		{"not ready, once", once(fails(codes.Unavailable)), nil, "", 2},
		{"no leader is known, once", once(fails(codes.NotFound, "exception", "not-leader")), nil, "", 2},
		{"a leader that is none, once", once(fails(codes.NotFound, "exception", "not-leader", "leader-endpoint-host", "127.0.0.1", "leader-endpoint-port", "70000")), nil, "", 2},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := (&fake{onAppend: row.answer}).start(t)
			_, err := f.open(t).Append(t.Context(), "s", 5, happened("x", 2))
			switch {
			case row.want == nil && row.says == "" && err != nil:
				t.Errorf("the error is %v, want none", err)
			case row.want != nil && !errors.Is(err, row.want):
				t.Errorf("the error is %v, want %v", err, row.want)
			case row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)):
				t.Errorf("the error is %v, want one that says %q", err, row.says)
			}
			if n := f.appends.Load(); n != row.appends {
				t.Errorf("the append was sent %d times, want %d", n, row.appends)
			}
		})
	}
}

// A batch over the limit is refused before it is sent; the error names the limit and the settings.
func TestTooLarge(t *testing.T) {
	f := (&fake{}).start(t)
	journal := connect(t, eventstore.Config{Connection: plain(f.address), MaxAppend: 2000})
	batch := happened("x", 2)
	batch[1].Data = []byte(`"` + strings.Repeat("x", 2000) + `"`)
	_, err := journal.Append(t.Context(), "s", storage.ExpectAny, batch)
	if !errors.Is(err, storage.ErrInvalidAppend) || !strings.Contains(err.Error(), "at most 2000 are allowed (MaxAppend") {
		t.Errorf("the error is %v, want an invalid append that names the limit", err)
	}
	for _, stream := range []events.Stream{"not-\xff", "also-\xc3"} {
		if _, err := journal.Append(t.Context(), stream, storage.ExpectAny, happened("x", 1)); !errors.Is(err, storage.ErrInvalidAppend) {
			t.Errorf("a name that is not UTF-8: the error is %v", err)
		}
	}
	if n := f.appends.Load(); n != 0 {
		t.Errorf("%d appends were sent", n)
	}
}

// The leader that a node names is asked, and remembered; one that gossip names is found.
func TestLeader(t *testing.T) {
	leader := (&fake{onAppend: func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) { return stored(0, 1), nil }}).start(t)
	host, port, _ := net.SplitHostPort(leader.address)
	follower := (&fake{onAppend: func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
		return nil, fails(codes.NotFound, "exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port)
	}}).start(t)
	journal := follower.open(t)
	for range 3 {
		if _, err := journal.Append(t.Context(), "s", storage.ExpectNoStream, happened("x", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if f, l := follower.appends.Load(), leader.appends.Load(); f != 1 || l != 3 {
		t.Errorf("the follower was asked %d times and the leader %d, want 1 and 3", f, l)
	}

	elected := atomic.Bool{}
	follower.members = func() []*gossip.MemberInfo {
		members := []*gossip.MemberInfo{
			member("127.0.0.1:1", gossip.MemberInfo_Leader, false), nil,
			member(follower.address, gossip.MemberInfo_Follower, true),
		}
		if elected.Swap(true) { // asked for the second time
			members = append(members, member(leader.address, gossip.MemberInfo_Leader, true))
		}
		return members
	}
	cluster := connect(t, eventstore.Config{Connection: "esdb://127.0.0.1:1," + follower.address + "?tls=false&discoveryInterval=5"})
	if _, err := cluster.Append(t.Context(), "s", storage.ExpectNoStream, happened("x", 1)); err != nil {
		t.Fatal(err)
	}
	if f, l := follower.appends.Load(), leader.appends.Load(); f != 1 || l != 4 {
		t.Errorf("the follower was asked %d times and the leader %d, want 1 and 4", f, l)
	}
}

// An append without an expectation whose answer was lost is looked for before it is sent again: the server that stored it may have
// forgotten its ids.
func TestLostAnswer(t *testing.T) {
	for _, kept := range []bool{true, false} {
		var mu sync.Mutex // each call is answered by a goroutine of its own
		var held []*streams.ReadResp
		f := &fake{}
		f.onAppend = func(n int, batch []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
			if n > 1 {
				return stored(4, 50), nil
			}
			mu.Lock()
			defer mu.Unlock()
			if kept {
				for i, event := range batch {
					held = append([]*streams.ReadResp{recordedAt("s", uint64(i), uint64(10+i), event.GetId())}, held...)
				}
			}
			return nil, fails(codes.Unavailable)
		}
		f.onRead = func(_ *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
			mu.Lock()
			defer mu.Unlock()
			for _, answer := range held {
				send(answer)
			}
			send(&streams.ReadResp{Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: 1}})
			return nil
		}
		got, err := f.start(t).open(t).Append(t.Context(), "s", storage.ExpectAny, happened("x", 2))
		want, sent := storage.Appended{First: 3, Last: 4, Position: 50}, int64(2)
		if kept {
			want, sent = storage.Appended{First: 0, Last: 1, Position: 11}, 1
		}
		if err != nil || got != want || f.appends.Load() != sent {
			t.Errorf("stored before the answer was lost: %t: %+v, %v, sent %d times; want %+v, sent %d times", kept, got, err, f.appends.Load(), want, sent)
		}
	}
}

// strange are messages that a client of EventStoreDB does not expect; the official one ends its process at some of them.
func strange() []*streams.ReadResp {
	bare := &streams.ReadResp_ReadEvent_RecordedEvent{StreamRevision: math.MaxUint64 - 1, Data: []byte("\xff{")}
	return []*streams.ReadResp{
		{},
		{Content: &streams.ReadResp_Event{}},
		{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{}}},
		{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Link: bare}}},
		{Content: &streams.ReadResp_CaughtUp_{}},
		{Content: &streams.ReadResp_FellBehind_{}},
		{Content: &streams.ReadResp_Checkpoint_{}},
		{Content: &streams.ReadResp_Confirmation{}},
		{Content: &streams.ReadResp_FirstStreamPosition{FirstStreamPosition: math.MaxUint64}},
		recordedAt("s", 1, 1, &shared.UUID{Value: &shared.UUID_String_{String_: "no id"}}),
		{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: bare}}},
	}
}

func TestStrangeAnswers(t *testing.T) {
	f := &fake{onRead: func(_ *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
		for _, answer := range strange() {
			send(answer)
		}
		return nil
	}}
	journal := f.start(t).open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	page, err := journal.Read(ctx, "s", 0, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 2 || page.Events[1].Revision != math.MaxInt64 || string(page.Events[1].Data) != `"/3s="` {
		t.Errorf("read: %+v, %v", page, err)
	}
	if _, err := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{System: true}, storage.Limit{}); err != nil {
		t.Errorf("read everything: %v", err)
	}
	subscription, err := journal.Subscribe(ctx, storage.From{Stream: "s", Revision: events.NoRevision})
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	for range 2 { // then the server ends the call, and the next one brings nothing new
		if _, err := subscription.Next(ctx); err != nil {
			t.Errorf("subscription: %v", err)
		}
	}
}

// More subscriptions than the server answers calls on one connection, and still appends are sent.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	const many = 230
	end := make(chan struct{})
	f := &fake{onAppend: func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) { return stored(0, 1), nil }}
	f.onRead = func(_ *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
		send(recordedAt("s", 0, 1, nil))
		<-end
		return nil
	}
	journal := f.start(t).open(t)
	t.Cleanup(func() { close(end) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range many {
		subscription, err := journal.Subscribe(ctx, storage.From{})
		if err != nil {
			t.Fatal(err)
		}
		defer subscription.Close()
		if _, err := subscription.Next(ctx); err != nil {
			t.Fatalf("subscription %d: %v", i, err)
		}
	}
	if _, err := journal.Append(ctx, "s", storage.ExpectNoStream, happened("x", 1)); err != nil {
		t.Errorf("append beside %d subscriptions: %v", many, err)
	}
}

// Close ends whatever is under way, with the error that says so.
func TestClose(t *testing.T) {
	end, arrived := make(chan struct{}), make(chan struct{}, 1)
	f := &fake{}
	f.onAppend = func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
		arrived <- struct{}{}
		<-end
		return stored(0, 1), nil
	}
	f.onRead = func(*streams.ReadReq_Options, func(*streams.ReadResp)) error {
		<-end
		return nil
	}
	journal := f.start(t).open(t)
	t.Cleanup(func() { close(end) })
	subscription, err := journal.Subscribe(t.Context(), storage.From{})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 4)
	calls := []func() error{
		func() error {
			_, err := journal.Append(t.Context(), "s", storage.ExpectAny, happened("x", 1))
			return err
		},
		func() error {
			_, err := journal.Read(t.Context(), "s", 0, storage.Forward, storage.Limit{})
			return err
		},
		func() error {
			_, err := subscription.Next(t.Context())
			return err
		},
		func() error {
			return journal.Consume(t.Context(), "g", storage.From{Stream: "s"}, func(context.Context, events.Envelope) error { return nil })
		},
	}
	for _, call := range calls[:3] {
		go func() { answers <- call() }()
	}
	<-arrived
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	for range calls[:3] {
		if err := <-answers; !errors.Is(err, storage.ErrClosed) {
			t.Errorf("under way, the error is %v, want %v", err, storage.ErrClosed)
		}
	}
	for i, call := range calls {
		if err := call(); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("call %d after Close: the error is %v, want %v", i, err, storage.ErrClosed)
		}
	}
	if _, err := journal.Subscribe(t.Context(), storage.From{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("subscribe after Close: the error is %v, want %v", err, storage.ErrClosed)
	}
	subscription.Close()
}

// EventStoreDB's positions are places in its log, and it refuses to read from others. This log has its records at these places.
func TestPlacesInTheLog(t *testing.T) {
	places := []uint64{100, 250, 400, 900}
	const end = 1000
	f := &fake{onRead: func(options *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
		return logRead(places, end, options, send)
	}}
	journal := f.start(t).open(t)
	for i := range len(places) + 1 {
		before := slices.Clone(places[:i])
		slices.Reverse(before)
		var froms []storage.Place
		if i > 0 {
			froms = append(froms, storage.After(events.Position(places[i-1])))
		} else {
			froms = append(froms, storage.Start())
		}
		if i < len(places) {
			froms = append(froms, storage.Before(events.Position(places[i])))
		} else {
			froms = append(froms, storage.End())
		}
		for _, from := range froms {
			if got := walk(t, journal, from, storage.Forward); !slices.Equal(got, places[i:]) {
				t.Errorf("forward from %s: %v, want %v", from, got, places[i:])
			}
			if got := walk(t, journal, from, storage.Backward); !slices.Equal(got, before) {
				t.Errorf("backward from %s: %v, want %v", from, got, before)
			}
		}
	}
	for _, position := range []events.Position{1, 99, 101, 251, 899, 901, 999, end, end + 1, 1 << 62} {
		for _, from := range []storage.Place{storage.After(position), storage.Before(position)} {
			for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
				if page, err := journal.ReadAll(t.Context(), from, direction, storage.Filter{}, storage.Limit{}); !errors.Is(err, storage.ErrPlace) {
					t.Errorf("direction %d from %s: %+v, %v; want %v", direction, from, page, err, storage.ErrPlace)
				}
			}
		}
	}
}

// logRead reads everything as EventStoreDB does: forward what begins at the place or after it, backward what ends at it or before.
func logRead(places []uint64, end uint64, options *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
	backward := options.GetReadDirection() == streams.ReadReq_Options_Backwards
	place := options.GetAll().GetPosition().GetCommitPosition()
	switch options.GetAll().GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_End:
		place = end
	case *streams.ReadReq_Options_AllOptions_Position:
		beyond := place > places[len(places)-1]
		if !slices.Contains(places, place) && (backward || !beyond) {
			return fails(codes.InvalidArgument)
		}
	}
	left := options.GetCount()
	if backward {
		for i := range slices.Backward(places) {
			after := append(slices.Clone(places), end)[i+1]
			if after <= place && left > 0 {
				send(recordedAt("s", uint64(i), places[i], nil))
				left--
			}
		}
		return nil
	}
	for i, at := range places {
		if at >= place && left > 0 {
			send(recordedAt("s", uint64(i), at, nil))
			left--
		}
	}
	return nil
}

// walk reads everything in pages of two.
func walk(t *testing.T, journal *eventstore.Journal, from storage.Place, direction storage.Direction) []uint64 {
	t.Helper()
	var got []uint64
	for range 10 {
		page, err := journal.ReadAll(t.Context(), from, direction, storage.Filter{}, storage.Limit{Events: 2})
		if err != nil {
			t.Fatalf("read from %s: %v", from, err)
		}
		for _, e := range page.Events {
			got = append(got, uint64(e.Position))
		}
		if from = page.Next; page.End {
			return got
		}
	}
	t.Fatalf("no end after %v", got)
	return nil
}
