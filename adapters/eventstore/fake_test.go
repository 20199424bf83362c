package eventstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/eventstore"
)

// fake is a server that answers as a test says, right or wrong.
type fake struct {
	address  string
	onAppend func(n int, batch []*streams.AppendReq_ProposedMessage) (*streams.AppendResp, error) // n: the how manieth it is
	onRead   func(options *streams.ReadReq_Options, send func(answer *streams.ReadResp)) error
	onProbe  func() error // the heartbeat: a read that requires the leader
	members  func() []*gossip.MemberInfo
	other    bool // it has none of EventStoreDB's services

	appends atomic.Int64
	anyNode atomic.Int64 // calls that did not ask for the leader
}

// start listens until the test ends.
func (f *fake) start(t *testing.T) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	made := grpc.NewServer(grpc.MaxConcurrentStreams(100)) // as EventStoreDB's
	if !f.other {
		streams.RegisterStreamsServer(made, &fakeStreams{fake: f})
		gossip.RegisterGossipServer(made, &fakeGossip{fake: f})
	}
	done := make(chan error, 1)
	go func() { done <- made.Serve(listener) }()
	t.Cleanup(func() {
		made.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := f.anyNode.Load(); n > 0 {
			t.Errorf("%d calls would have been answered by any node", n)
		}
	})
	return f
}

func (f *fake) open(t *testing.T) *eventstore.Journal {
	t.Helper()
	return connect(t, eventstore.Config{Connection: plain(f.address)})
}

func (f *fake) called(ctx context.Context) {
	if of, _ := metadata.FromIncomingContext(ctx); len(of.Get("requires-leader")) != 1 {
		f.anyNode.Add(1)
	}
}

type fakeStreams struct {
	streams.UnimplementedStreamsServer
	fake *fake
}

func (s *fakeStreams) Append(call streams.Streams_AppendServer) error {
	s.fake.called(call.Context())
	var batch []*streams.AppendReq_ProposedMessage
	for {
		request, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if event := request.GetProposedMessage(); event != nil {
			batch = append(batch, event)
		}
	}
	answer, err := s.fake.onAppend(int(s.fake.appends.Add(1)), batch)
	if err != nil {
		return trailing(call, err)
	}
	return call.SendAndClose(answer)
}

func (s *fakeStreams) Read(request *streams.ReadReq, call streams.Streams_ReadServer) error {
	s.fake.called(call.Context())
	if string(request.GetOptions().GetStream().GetStreamIdentifier().GetStreamName()) == "life" {
		if s.fake.onProbe != nil {
			return trailing(call, s.fake.onProbe())
		}
		return nil
	}
	err := s.fake.onRead(request.GetOptions(), func(answer *streams.ReadResp) { _ = call.Send(answer) })
	return trailing(call, err)
}

type fakeGossip struct {
	gossip.UnimplementedGossipServer
	fake *fake
}

func (s *fakeGossip) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	if s.fake.members == nil {
		return &gossip.ClusterInfo{}, nil
	}
	return &gossip.ClusterInfo{Members: s.fake.members()}, nil
}

// failing is a status with EventStoreDB's trailers.
type failing struct {
	code    codes.Code
	trailer metadata.MD
}

func (f *failing) Error() string { return f.code.String() }

func fails(code codes.Code, trailer ...string) error {
	return &failing{code: code, trailer: metadata.Pairs(trailer...)}
}

func trailing(call grpc.ServerStream, err error) error {
	var f *failing
	if !errors.As(err, &f) {
		return err
	}
	call.SetTrailer(f.trailer)
	return status.Error(f.code, "the fake says so")
}

// member is a node as gossip tells of it.
func member(address string, state gossip.MemberInfo_VNodeState, alive bool) *gossip.MemberInfo {
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.ParseUint(port, 10, 16)
	return &gossip.MemberInfo{State: state, IsAlive: alive, HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(number)}}
}

// stored is the answer to an append whose last event stands at a revision.
func stored(revision, position uint64) *streams.AppendResp {
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: revision},
		PositionOption:        &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: position, PreparePosition: position}},
	}}}
}

// recordedAt is an event as reads give it.
func recordedAt(stream string, revision, position uint64, id *shared.UUID) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: id, StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}, StreamRevision: revision,
			CommitPosition: position, PreparePosition: position, Data: []byte(`{}`),
			Metadata: map[string]string{"type": "test.happened", "content-type": "application/json", "created": "17600000000000000"},
		},
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: position},
	}}}
}
