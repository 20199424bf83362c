package eventstore_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// checkpoint is how far the server says that a filtered subscription is.
func checkpoint(commit, prepare uint64) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: commit, PreparePosition: prepare}}}
}

// The checkpoints that servers send name places from which nothing is lost: those of EventStoreDB 24.2 to 24.10.4 name the end of the store
// while nothing matched, KurrentDB 25.0.0 names the place where the next event will be, with prepare 0.
func TestCheckpoints(t *testing.T) {
	const end = math.MaxUint64
	rows := []struct {
		name    string
		session [][]*streams.ReadResp // what each subscription on the wire is sent, before it ends
		want    []events.Position
		resumed [][2]uint64 // where each begins; 0, 0 for the start
	}{
		{
			"nothing matched yet",
			[][]*streams.ReadResp{{checkpoint(end, end), recordedAt("s", 0, 100, nil)}, {recordedAt("s", 1, 200, nil)}},
			[]events.Position{100, 200},
			[][2]uint64{{0, 0}, {100, 100}},
		},
		{
			"nothing matched, and the connection is lost",
			[][]*streams.ReadResp{{checkpoint(end, end)}, {recordedAt("s", 0, 100, nil)}},
			[]events.Position{100},
			[][2]uint64{{0, 0}, {0, 0}},
		},
		{
			"the next event is at the checkpoint",
			[][]*streams.ReadResp{{checkpoint(3733, 0), recordedAt("s", 0, 3733, nil)}, {recordedAt("s", 1, 4000, nil)}},
			[]events.Position{3733, 4000},
			[][2]uint64{{0, 0}, {3733, 3733}},
		},
		{
			"it comes after a reconnection",
			[][]*streams.ReadResp{{recordedAt("s", 0, 50, nil), checkpoint(3733, 0)}, {recordedAt("s", 1, 3733, nil)}},
			[]events.Position{50, 3733},
			[][2]uint64{{0, 0}, {3733, 0}},
		},
		{
			"what was had comes again",
			[][]*streams.ReadResp{{recordedAt("s", 0, 50, nil)}, {recordedAt("s", 0, 50, nil), checkpoint(40, 40), recordedAt("s", 1, 60, nil)}},
			[]events.Position{50, 60},
			[][2]uint64{{0, 0}, {50, 50}},
		},
		{
			"numbers that are no place",
			[][]*streams.ReadResp{{recordedAt("s", 0, 50, nil), checkpoint(end, 0), checkpoint(1<<63, 1<<63), checkpoint(60, 61)}, {recordedAt("s", 1, 60, nil)}},
			[]events.Position{50, 60},
			[][2]uint64{{0, 0}, {50, 50}},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			began := make(chan [2]uint64, len(row.session))
			calls := 0
			f := &fake{onRead: func(options *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
				if options.GetSubscription() == nil {
					return nil
				}
				if calls == len(row.session) {
					return fails(codes.DataLoss) // there is no more
				}
				at := options.GetAll().GetPosition()
				began <- [2]uint64{at.GetCommitPosition(), at.GetPreparePosition()}
				for _, answer := range row.session[calls] {
					send(answer)
				}
				calls++
				return fails(codes.Unavailable)
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			subscription, err := f.start(t).open(t).Subscribe(ctx, storage.From{Filter: storage.Filter{Kinds: []string{"test."}}})
			if err != nil {
				t.Fatal(err)
			}
			defer subscription.Close()
			var got []events.Position
			for range row.want {
				e, err := subscription.Next(ctx)
				if err != nil {
					t.Fatalf("after %v: %v", got, err)
				}
				got = append(got, e.Position)
			}
			if e, err := subscription.Next(ctx); err == nil {
				t.Errorf("an event too many: %v", e.Position)
			}
			var resumed [][2]uint64
			for range row.session {
				resumed = append(resumed, <-began)
			}
			if !slices.Equal(got, row.want) || !slices.Equal(resumed, row.resumed) {
				t.Errorf("got %v from %v, want %v from %v", got, resumed, row.want, row.resumed)
			}
		})
	}
}

// An event of an old transaction has two positions, and several events have the same first one: none is left out, and none comes twice.
func TestPositionsOfTransactions(t *testing.T) {
	old := func(revision, commit, prepare uint64) *streams.ReadResp {
		made := recordedAt("s", revision, commit, &shared.UUID{})
		made.GetEvent().GetEvent().PreparePosition = prepare
		return made
	}
	calls := 0
	f := &fake{onRead: func(options *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
		switch at := options.GetAll().GetPosition(); {
		case options.GetSubscription() == nil:
			return nil
		case calls == 1 && (at.GetCommitPosition() != 900 || at.GetPreparePosition() != 300):
			t.Errorf("went on from %v", at)
		case calls == 2:
			return fails(codes.DataLoss)
		}
		for i, prepare := range []uint64{200, 300, 400} {
			if calls == 0 && i == 2 {
				break
			}
			send(old(uint64(i), 900, prepare))
		}
		calls++
		return fails(codes.Unavailable)
	}}
	subscription, err := f.start(t).open(t).Subscribe(t.Context(), storage.From{})
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	for want := range events.Revision(3) {
		if e, err := subscription.Next(t.Context()); err != nil || e.Revision != want {
			t.Fatalf("event %d: %+v, %v", want, e, err)
		}
	}
	if _, err := subscription.Next(t.Context()); err == nil {
		t.Error("an event came twice")
	}
}
