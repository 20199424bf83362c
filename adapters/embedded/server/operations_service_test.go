package server_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/embedded/server/protocol/operations"
)

func TestOperations(t *testing.T) {
	s := secure(t)
	client := operations.NewOperationsClient(s.dial(t))
	for _, caller := range []string{"", "someone", "ops", "admin"} {
		as, may := within(t), caller == "ops" || caller == "admin"
		if caller != "" {
			as = login(as, caller, "password")
		}
		for what, answered := range map[string]struct {
			err  error
			want codes.Code
		}{
			"restart":  {second(client.RestartPersistentSubscriptions(as, &operations.Empty{})), codes.OK},
			"start":    {second(client.StartScavenge(as, &operations.StartScavengeReq{})), codes.Unimplemented},
			"stop":     {second(client.StopScavenge(as, &operations.StopScavengeReq{})), codes.NotFound},
			"merge":    {second(client.MergeIndexes(as, &operations.Empty{})), codes.Unimplemented},
			"resign":   {second(client.ResignNode(as, &operations.Empty{})), codes.Unimplemented},
			"priority": {second(client.SetNodePriority(as, &operations.SetNodePriorityReq{Priority: 1})), codes.Unimplemented},
		} {
			if !may {
				answered.want = codes.PermissionDenied
			}
			if got := status.Code(answered.err); got != answered.want {
				t.Errorf("%q, %s: %v, want %s", caller, what, answered.err, answered.want)
			}
		}
		if !may {
			wantStatus(t, second(client.Shutdown(as, &operations.Empty{})), codes.PermissionDenied)
		}
	}
	var trailer metadata.MD
	_, err := client.StopScavenge(login(within(t), "ops", "password"), &operations.StopScavengeReq{Options: &operations.StopScavengeReq_Options{ScavengeId: "x"}}, grpc.Trailer(&trailer))
	if fmt.Sprint(status.Code(err), trailer.Get("exception"), trailer.Get("scavenge-id")) != "NotFound [scavenge-not-found] [x]" {
		t.Errorf("a scavenge that is not there: %v, %v", err, trailer)
	}
}

// TestRestartPersistentSubscriptions drops the consumers, who join again.
func TestRestartPersistentSubscriptions(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	if err := client.CreatePersistentSubscription(within(t), "orders", "g", esdb.PersistentStreamSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
	join := func() *esdb.PersistentSubscription {
		t.Helper()
		member, err := client.SubscribeToPersistentSubscription(within(t), "orders", "g", esdb.SubscribeToPersistentSubscriptionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return member
	}
	member := join()
	defer member.Close()
	if _, err := operations.NewOperationsClient(w.dial(t)).RestartPersistentSubscriptions(within(t), &operations.Empty{}); err != nil {
		t.Fatal(err)
	}
	for event := member.Recv(); event.SubscriptionDropped == nil; {
		event = member.Recv()
	}
	join().Close()
}

// TestShutdown: the call is answered, the server ends without an error, and what was stored is there.
func TestShutdown(t *testing.T) {
	dir := t.TempDir()
	store, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Store: store, Listen: "127.0.0.1:0", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	w := world{store: store, server: s}
	appendTo(t, w.client(t), "orders", eventsOf(3)...)
	client := operations.NewOperationsClient(w.dial(t))
	if _, err := client.Shutdown(within(t), &operations.Empty{}); err != nil {
		t.Errorf("the call was answered %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if _, err := client.Shutdown(within(t), &operations.Empty{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a server that has ended answers %v", err)
	}
	s.Close(t.Context())
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	again, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if meta, err := again.Metadata(t.Context(), "orders"); err != nil || meta.Deleted() {
		t.Errorf("the stream is %+v, %v", meta, err)
	}
}
