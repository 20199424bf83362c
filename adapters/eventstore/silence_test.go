package eventstore_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// A call that the server takes and never answers, while it answers others, is made again: no read and no subscription waits for ever.
func TestUnansweredCallsAreRepeated(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	end := make(chan struct{})
	f := &fake{onRead: func(_ *streams.ReadReq_Options, send func(*streams.ReadResp)) error {
		if calls.Add(1) == 1 {
			<-end
			return nil
		}
		send(recordedAt("s", 0, 10, nil))
		return nil
	}}
	f.start(t)
	t.Cleanup(func() { close(end) })
	journal := connect(t, eventstore.Config{Connection: plain(f.address) + "&defaultDeadline=100"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if page, err := journal.Read(ctx, "s", 0, storage.Forward, storage.Limit{Events: 1}); err != nil || len(page.Events) != 1 {
		t.Errorf("read: %+v, %v", page, err)
	}
	calls.Store(0)
	if page, err := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{}); err != nil || len(page.Events) != 1 {
		t.Errorf("read everything: %+v, %v", page, err)
	}
	for _, from := range []storage.From{{}, {Stream: "s", Revision: events.NoRevision}} {
		calls.Store(0)
		subscription, err := journal.Subscribe(ctx, from)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := subscription.Next(ctx); err != nil {
			t.Errorf("subscription %+v: %v", from, err)
		}
		subscription.Close()
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	calls.Store(0)
	if _, err := journal.Read(short, "s", 0, storage.Forward, storage.Limit{}); err == nil || short.Err() == nil {
		t.Errorf("a read that nobody answers: %v", err)
	}
}

// A connection on which nothing moves any more, though it is not lost, is noticed within 3 s, without anybody calling.
func TestDeadConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	between := newProxy(t, served.Addr())
	told, tell := looks()
	journal := connect(t, eventstore.Config{Connection: plain(between.address()), Away: tell})
	subscription, err := journal.Subscribe(t.Context(), storage.From{})
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	if _, err := journal.Append(t.Context(), "s", storage.ExpectAny, happened("x", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := subscription.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := between.hold()
	defer release()
	began := time.Now()
	away := <-told
	if took := time.Since(began); away == nil || took > 6*time.Second { // on a machine that others use as well
		t.Errorf("after %s it was told that %v", took, away)
	}
	if !strings.Contains(away.Error(), "no answer within 2s") {
		t.Errorf("told that %v", away)
	}
	release()
	for away := range told {
		if away == nil {
			break
		}
	}
	if _, err := journal.Append(t.Context(), "s", storage.ExpectAny, happened("x", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := subscription.Next(t.Context()); err != nil {
		t.Errorf("the subscription did not go on: %v", err)
	}
}

// More calls at once than the server answers on a connection do not keep heartbeats from being answered.
func TestManyCalls(t *testing.T) {
	t.Parallel()
	const many = 250
	end, arrived := make(chan struct{}), make(chan struct{}, many)
	f := &fake{onAppend: func(int, []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) {
		arrived <- struct{}{}
		<-end
		return stored(0, 1), nil
	}}
	var probes atomic.Int64
	f.onProbe = func() error {
		probes.Add(1)
		return nil
	}
	journal := f.start(t).open(t)
	answers := make(chan error, many)
	for range many {
		go func() {
			_, err := journal.Append(t.Context(), "s", storage.ExpectNoStream, happened("x", 1))
			answers <- err
		}()
	}
	for range 90 {
		<-arrived
	}
	for before := probes.Load(); probes.Load() < before+3; {
		<-time.After(10 * time.Millisecond)
	}
	close(end)
	for range many {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	if n := f.appends.Load(); n != many {
		t.Errorf("%d appends were sent, want %d", n, many)
	}
}
