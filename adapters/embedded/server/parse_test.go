package server

import (
	"errors"
	"math"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// FuzzReadRequest: whatever is sent as a request to read, it is refused as invalid, or says all that a read needs, within its bounds.
func FuzzReadRequest(f *testing.F) {
	structured := &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}}
	for _, options := range []*streams.ReadReq_Options{
		{},
		{
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
				Position: &streams.ReadReq_Options_Position{CommitPosition: 256, PreparePosition: 128},
			}}},
			CountOption: &streams.ReadReq_Options_Subscription{}, UuidOption: structured,
			FilterOption: &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
				Filter:                       &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Regex: "^[a-z]+$"}},
				Window:                       &streams.ReadReq_Options_FilterOptions_Max{Max: 32},
				CheckpointIntervalMultiplier: 1,
			}},
		},
		{
			StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")}, RevisionOption: &streams.ReadReq_Options_StreamOptions_Revision{Revision: math.MaxUint64},
			}},
			ReadDirection: streams.ReadReq_Options_Backwards, CountOption: &streams.ReadReq_Options_Count{Count: math.MaxUint64}, UuidOption: structured,
			FilterOption: &streams.ReadReq_Options_NoFilter{},
		},
	} {
		encoded, err := proto.Marshal(&streams.ReadReq{Options: options})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var request streams.ReadReq
		if proto.Unmarshal(encoded, &request) != nil {
			return
		}
		r, err := parseRead(request.GetOptions())
		if err == nil {
			err = r.selection.ready()
		}
		var refused *failure
		switch {
		case errors.As(err, &refused) && (refused.code == codes.InvalidArgument || refused.code == codes.Unknown):
			return
		case err != nil:
			t.Fatalf("%v is refused with %v", &request, err)
		case r.live == (r.count > 0), r.live && r.direction == storage.Backward:
			t.Fatalf("%v is read as %+v", &request, r)
		case r.stream != "" && (r.selection != nil || r.revision < events.NoRevision || r.fromEnd && !r.live && r.direction == storage.Forward):
			t.Fatalf("%v is read as %+v", &request, r)
		case r.at != endPoint && (r.at.commit > math.MaxInt64 || r.at.prepare > r.at.commit):
			t.Fatalf("%v is read as %+v", &request, r)
		case r.selection != nil && (r.selection.window == 0 || r.live && r.selection.interval() == 0):
			t.Fatalf("%v is read as %+v", &request, r.selection)
		}
		if _, err := r.selection.filter().Chooses(&events.Envelope{Stream: "s", Kind: "k"}); err != nil && !errors.Is(err, filter.ErrExpensive) {
			t.Fatal(err)
		}
	})
}

// TestCheckpointsLoseNothing: who goes on from any checkpoint is sent every chosen event that was not sent before it, and each
// checkpoint is after the one before.
func TestCheckpointsLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfN(rapid.Bool(), 0, 200).Draw(t, "which events are chosen")
		stored := rapid.IntRange(0, len(chosen)).Draw(t, "events stored before")
		c := &checkpoints{window: uint64(rapid.IntRange(1, 50).Draw(t, "window"))}
		c.interval = c.window * uint64(rapid.IntRange(1, 3).Draw(t, "multiplier"))
		at := func(i int) point { return pointAt(events.Position((i + 1) * 128)) }
		first := 0
		if given := rapid.IntRange(-1, stored-1).Draw(t, "given"); given >= 0 {
			from := at(given)
			if first = given + 1; rapid.Bool().Draw(t, "in front of it") {
				from.prepare, first = 0, given
			}
			c.beginAt(from)
		}
		sent, last := map[int]bool{}, point{}
		check := func(checkpoint point, due bool, looked int) {
			if !due {
				return
			}
			if !last.less(checkpoint) {
				t.Fatalf("checkpoint %+v comes after %+v", checkpoint, last)
			}
			last = checkpoint
			for i := first; i < len(chosen); i++ {
				if behind := checkpoint.less(at(i)); chosen[i] && sent[i] == behind || !behind && i > looked {
					t.Fatalf("checkpoint %+v after event %d: event %d is chosen: %t, sent: %t", checkpoint, looked, i, chosen[i], sent[i])
				}
			}
		}
		next, due := c.turn(false)
		check(next, due, first-1)
		for i := first; i < stored; i++ {
			sent[i] = chosen[i]
			c.look(events.Position(at(i).commit), chosen[i])
			next, due = c.turn(false)
			check(next, due, i)
		}
		next, due = c.turn(true)
		check(next, due, stored-1)
		for i := stored; i < len(chosen); i++ {
			sent[i] = chosen[i]
			next, due = c.live(events.Position(at(i).commit))
			check(next, due, i)
		}
	})
}
