package eventstoretest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/eventstore/eventstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client speaks the protocol without anything between.
type client struct {
	t    *testing.T
	conn *grpc.ClientConn
	streams.StreamsClient
}

func dial(t *testing.T, n *eventstoretest.Node) *client {
	t.Helper()
	conn, err := grpc.NewClient(n.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, StreamsClient: streams.NewStreamsClient(conn)}
}

// within is a context that asks for the leader and ends in time.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "requires-leader", "true"), limit)
	t.Cleanup(cancel)
	return ctx
}

func event(id uuid.UUID) *streams.AppendReq {
	return &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
		Id: &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}, Data: []byte("{}"),
		Metadata: map[string]string{"type": "happened", "content-type": "application/json"},
	}}}
}

// send appends events to a stream; revision -1 expects none, -2 anything.
func (c *client) send(ctx context.Context, stream string, revision int64, ids ...uuid.UUID) (*streams.AppendResp, metadata.MD, error) {
	c.t.Helper()
	call, err := c.Append(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	options := &streams.AppendReq_Options{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}}
	switch revision {
	case -2:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Any{Any: &shared.Empty{}}
	case -1:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
	default:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: uint64(revision)}
	}
	call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: options}})
	for _, id := range ids {
		call.Send(event(id))
	}
	answer, err := call.CloseAndRecv()
	return answer, call.Trailer(), err
}

// put appends n events and returns where the last one is.
func (c *client) put(stream string, n int) uint64 {
	c.t.Helper()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	answer, _, err := c.send(within(c.t, 10*time.Second), stream, -2, ids...)
	if err != nil || answer.GetSuccess() == nil {
		c.t.Fatalf("append to %s: %v, %v", stream, answer, err)
	}
	return answer.GetSuccess().GetPosition().GetCommitPosition()
}

// place is a position: a number for both parts.
func place(commit, prepare uint64) *streams.ReadReq_Options_AllOptions {
	return &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Position{
		Position: &streams.ReadReq_Options_Position{CommitPosition: commit, PreparePosition: prepare},
	}}
}

func start() *streams.ReadReq_Options_AllOptions {
	return &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}
}

// request reads everything from a place: count 0 subscribes; prefix filters by streams, window by window.
func request(from *streams.ReadReq_Options_AllOptions, count uint64, backward bool, prefix string, window uint32) *streams.ReadReq {
	o := &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: from},
		CountOption:  &streams.ReadReq_Options_Count{Count: count},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
	}
	if count == 0 {
		o.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	}
	if backward {
		o.ReadDirection = streams.ReadReq_Options_Backwards
	}
	if prefix != "" {
		o.FilterOption = &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
			Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
				StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: []string{prefix}},
			},
			Window: &streams.ReadReq_Options_FilterOptions_Max{Max: window}, CheckpointIntervalMultiplier: 1,
		}}
	}
	return &streams.ReadReq{Options: o}
}

// told is a message of a read in short.
func told(m *streams.ReadResp) string {
	switch is := m.GetContent().(type) {
	case *streams.ReadResp_Event:
		return fmt.Sprintf("event %d", is.Event.GetCommitPosition())
	case *streams.ReadResp_Checkpoint_:
		return fmt.Sprintf("checkpoint %d/%d", is.Checkpoint.GetCommitPosition(), is.Checkpoint.GetPreparePosition())
	case *streams.ReadResp_Confirmation:
		return "confirmation"
	case *streams.ReadResp_CaughtUp_:
		return "caught up"
	}
	return fmt.Sprint(m)
}

// all is what a read or a subscription tells, up to so many messages or its end, which is told last.
func (c *client) all(r *streams.ReadReq, most int) []string {
	c.t.Helper()
	ctx, cancel := context.WithCancel(within(c.t, 10*time.Second))
	defer cancel()
	call, err := c.Read(ctx, r)
	if err != nil {
		c.t.Fatal(err)
	}
	var list []string
	for len(list) < most {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return append(list, "end")
		}
		if err != nil {
			return append(list, status.Code(err).String()+": "+status.Convert(err).Message())
		}
		list = append(list, told(m))
	}
	return list
}

// following is a subscription.
type following struct {
	t    *testing.T
	call streams.Streams_ReadClient
}

func (c *client) follow(ctx context.Context, r *streams.ReadReq) *following {
	c.t.Helper()
	call, err := c.Read(ctx, r)
	if err != nil {
		c.t.Fatal(err)
	}
	return &following{t: c.t, call: call}
}

// until returns what comes, up to a message.
func (f *following) until(last string) []string {
	f.t.Helper()
	var list []string
	for {
		m, err := f.call.Recv()
		if err != nil {
			f.t.Fatalf("waiting for %q: %v; there came %q", last, err, list)
		}
		if list = append(list, told(m)); list[len(list)-1] == last {
			return list
		}
	}
}
