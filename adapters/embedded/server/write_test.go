package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestHangingWrite: a write that the disk holds is given up with a status that says to try again; one that the caller gave up is not.
func TestHangingWrite(t *testing.T) {
	a := guarded(t)
	s := &streamsService{store: wireStore{a.store, spread}, guard: a, longest: time.Millisecond}
	hang := func(ctx context.Context) (storage.Appended, error) {
		<-ctx.Done()
		return storage.Appended{}, ctx.Err()
	}
	if _, err := s.write(t.Context(), toWrite, "s", hang); status.Code(storeFailure(err, "s")) != codes.Aborted {
		t.Errorf("a write that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.write(ctx, toWrite, "s", hang); status.Code(storeFailure(err, "s")) != codes.Canceled {
		t.Errorf("a write that was given up: %v", err)
	}
}

// TestLanesAreBounded: who sends appends faster than they can be made waits, whatever they take; one alone never does.
func TestLanesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batcher{}
		b.left.L = &b.mu
		const half = maxLaneBytes/2 + 1
		entered := make(chan int, 4)
		go func() {
			for _, bytes := range []int{2 * maxLaneBytes, half, half - 2, half} {
				b.enter(bytes)
				entered <- bytes
			}
		}()
		for i, want := range []int{1, 3, 4} {
			synctest.Wait()
			if len(entered) != want {
				t.Fatalf("%d are in, want %d", len(entered), want)
			}
			b.leave([]int{2 * maxLaneBytes, half, half}[i])
		}
	})
}

// TestStoreFailures: each kind of refusal has its own status.
func TestStoreFailures(t *testing.T) {
	for err, want := range map[error]codes.Code{
		storage.ErrFull:            codes.ResourceExhausted,
		storage.ErrCorrupt:         codes.DataLoss,
		storage.ErrClosed:          codes.Unavailable,
		storage.ErrDeleted:         codes.FailedPrecondition,
		storage.ErrInvalidAppend:   codes.InvalidArgument,
		context.DeadlineExceeded:   codes.DeadlineExceeded,
		context.Canceled:           codes.Canceled,
		context.Cause(t.Context()): codes.OK,
	} {
		if got := status.Code(storeFailure(err, events.Stream("s"))); got != want {
			t.Errorf("%v becomes %s, want %s", err, got, want)
		}
	}
}

// TestManySmallEvents: what is small on the wire is not in memory, so a client cannot have the server hold more than the store takes.
func TestManySmallEvents(t *testing.T) {
	small := &streams.AppendReq_ProposedMessage{
		Id:       structured(uuid.New()),
		Metadata: map[string]string{keyType: "t", keyContentType: contentJSON}, Data: []byte(`1`),
	}
	var p proposal
	for len(p.batch) < maxAppend {
		err := p.add(small, 1)
		if err == nil {
			continue
		}
		if status.Code(err) != codes.InvalidArgument || p.size >= maxAppend || len(p.batch) > storage.MaxAppend/128 || p.memory() < 64*p.size {
			t.Errorf("%d events of %d bytes, about %d in memory: %v", len(p.batch), p.size, p.memory(), err)
		}
		return
	}
	t.Error("a million events are taken for one append")
}
