package server_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func batchTo(stream string) *streams.BatchAppendReq_Options {
	return &streams.BatchAppendReq_Options{StreamIdentifier: named(stream), ExpectedStreamPosition: &streams.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}}
}

func batchEvents(n, size int) (list []*streams.BatchAppendReq_ProposedMessage) {
	for range n {
		list = append(list, &streams.BatchAppendReq_ProposedMessage{
			Id: idOf(uuid.New()), Metadata: map[string]string{"type": "tested", "content-type": "application/octet-stream"}, Data: make([]byte, size),
		})
	}
	return list
}

// batched sends messages and returns the one answer to them.
func batched(t testing.TB, call streams.Streams_BatchAppendClient, messages ...*streams.BatchAppendReq) *streams.BatchAppendResp {
	t.Helper()
	for _, message := range messages {
		if err := call.Send(message); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := call.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if id := messages[0].GetCorrelationId(); !proto.Equal(answer.GetCorrelationId(), id) {
		t.Errorf("the answer is to %v, not to %v", answer.GetCorrelationId(), id)
	}
	return answer
}

func batchCall(t testing.TB, w world) streams.Streams_BatchAppendClient {
	t.Helper()
	call, err := w.raw(t).BatchAppend(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return call
}

// TestBatchAppend appends in one message and in several, two appends among each other.
func TestBatchAppend(t *testing.T) {
	w := serve(t)
	call := batchCall(t, w)
	answer := batched(t, call, &streams.BatchAppendReq{CorrelationId: idOf(numbered(1)), Options: batchTo("one"), ProposedMessages: batchEvents(2, 10), IsFinal: true})
	if s := answer.GetSuccess(); s.GetCurrentRevision() != 1 || s.GetPosition().GetCommitPosition() == 0 || string(answer.GetStreamIdentifier().GetStreamName()) != "one" || answer.GetExpectedStreamPosition() != nil {
		t.Errorf("answered %v", answer)
	}
	answer = batched(t, call,
		&streams.BatchAppendReq{CorrelationId: idOf(numbered(2)), Options: batchTo("two"), ProposedMessages: batchEvents(2, 10)},
		&streams.BatchAppendReq{CorrelationId: idOf(numbered(2)), ProposedMessages: batchEvents(3, 10)},
		&streams.BatchAppendReq{CorrelationId: idOf(numbered(2)), IsFinal: true})
	if answer.GetSuccess().GetCurrentRevision() != 4 {
		t.Errorf("answered %v", answer)
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the call ended with %v", err)
	}
	read, err := readStream(t, w.client(t), "two", esdb.ReadStreamOptions{}, 10)
	if len(read) != 5 || err != nil || read[0].Event.ContentType != "application/octet-stream" || len(read[0].Event.Data) != 10 {
		t.Errorf("read %d events: %v", len(read), err)
	}
}

// TestBatchOrder sends appends to one stream without waiting; they are stored in that order.
func TestBatchOrder(t *testing.T) {
	w := serve(t)
	call := batchCall(t, w)
	const total = 200
	go func() {
		for i := range total {
			options := batchTo("s")
			if options.ExpectedStreamPosition = (&streams.BatchAppendReq_Options_StreamPosition{StreamPosition: uint64(i - 1)}); i == 0 {
				options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
			}
			if call.Send(&streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: options, ProposedMessages: batchEvents(1, 1), IsFinal: true}) != nil {
				return // the answers say why
			}
		}
	}()
	for i := range total {
		if answer, err := call.Recv(); err != nil || answer.GetSuccess().GetCurrentRevision() != uint64(i) {
			t.Fatalf("append %d was answered %v: %v", i, answer, err)
		}
	}
}

// TestBatchRefused: whatever is wrong is told in the answer, with its details, and the call goes on.
func TestBatchRefused(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	appendTo(t, client, "there", eventsOf(3)...)
	appendTo(t, client, "ended", eventsOf(1)...)
	if _, err := client.TombstoneStream(within(t), "ended", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	call := batchCall(t, w)
	with := func(stream string, change func(*streams.BatchAppendReq_Options)) *streams.BatchAppendReq {
		options := batchTo(stream)
		change(options)
		return &streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: options, ProposedMessages: batchEvents(1, 1), IsFinal: true}
	}
	as := func(*streams.BatchAppendReq_Options) {}
	large := with("s", as)
	large.ProposedMessages = batchEvents(3, 1<<19)
	untyped := with("s", as)
	delete(untyped.ProposedMessages[0].Metadata, "type")
	for _, test := range []struct {
		name    string
		message *streams.BatchAppendReq
		code    codes.Code
		details proto.Message
	}{
		{"wrong revision", with("there", func(o *streams.BatchAppendReq_Options) {
			o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: 7}
		}), codes.AlreadyExists, &shared.WrongExpectedVersion{
			CurrentStreamRevisionOption:  &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: 2},
			ExpectedStreamPositionOption: &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: 7},
		}},
		{"not there", with("none", func(o *streams.BatchAppendReq_Options) {
			o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamExists{StreamExists: &emptypb.Empty{}}
		}), codes.AlreadyExists, &shared.WrongExpectedVersion{
			CurrentStreamRevisionOption:  &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}},
			ExpectedStreamPositionOption: &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}},
		}},
		{"ended", with("ended", as), codes.NotFound, &shared.StreamDeleted{StreamIdentifier: named("ended")}},
		{"everything", with("$all", as), codes.PermissionDenied, &shared.AccessDenied{}},
		{"too large", large, codes.InvalidArgument, &shared.MaximumAppendSizeExceeded{MaxAppendSize: 1 << 20}},
		{"untyped", untyped, codes.InvalidArgument, nil},
		{"no stream", with("", as), codes.InvalidArgument, nil},
		{"nil stream", with("", func(o *streams.BatchAppendReq_Options) { o.StreamIdentifier = nil }), codes.InvalidArgument, nil},
		{"no expectation", with("s", func(o *streams.BatchAppendReq_Options) { o.ExpectedStreamPosition = nil }), codes.InvalidArgument, nil},
		{"too late", with("s", func(o *streams.BatchAppendReq_Options) {
			o.DeadlineOption = &streams.BatchAppendReq_Options_Deadline{Deadline: durationpb.New(-time.Second)}
		}), codes.DeadlineExceeded, &shared.Timeout{}},
		{"long too late", with("s", func(o *streams.BatchAppendReq_Options) {
			o.DeadlineOption = &streams.BatchAppendReq_Options_Deadline_21_10_0{Deadline_21_10_0: timestamppb.New(time.Unix(0, 0))}
		}), codes.DeadlineExceeded, &shared.Timeout{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := batched(t, call, test.message)
			if answer.GetError().GetCode() != int32(test.code) || len(answer.GetError().GetDetails()) != 1 {
				t.Fatalf("answered %v", answer)
			}
			details, err := answer.GetError().GetDetails()[0].UnmarshalNew()
			if test.details != nil && (err != nil || !proto.Equal(details, test.details)) {
				t.Errorf("the details are %v: %v", details, err)
			}
		})
	}
	if answer := batched(t, call, with("s", as)); answer.GetSuccess() == nil {
		t.Errorf("the call does not go on: %v", answer)
	}
}

// TestBatchCorrelation: an append without a correlation id is refused, in an answer where it says which stream; the call goes on. A message
// that says neither belongs to nothing and ends the call, as with EventStoreDB 24.10.
func TestBatchCorrelation(t *testing.T) {
	w := serve(t)
	call := batchCall(t, w)
	for name, id := range map[string]*shared.UUID{"none": nil, "empty": {}, "no UUID": {Value: &shared.UUID_String_{String_: "x"}}} {
		answer := batched(t, call, &streams.BatchAppendReq{CorrelationId: id, Options: batchTo("refused"), ProposedMessages: batchEvents(1, 1), IsFinal: true})
		details := answer.GetError().GetDetails()
		if answer.GetError().GetCode() != int32(codes.InvalidArgument) || len(details) != 1 || !details[0].MessageIs(&shared.BadRequest{}) ||
			string(answer.GetStreamIdentifier().GetStreamName()) != "refused" {
			t.Errorf("%s: answered %v", name, answer)
		}
	}
	zeros := idOf(uuid.Nil)
	if answer := batched(t, call, &streams.BatchAppendReq{CorrelationId: zeros, Options: batchTo("s"), ProposedMessages: batchEvents(1, 1), IsFinal: true}); answer.GetSuccess() == nil {
		t.Errorf("an id of zeros is one: answered %v", answer)
	}
	if _, err := readStream(t, w.client(t), "refused", esdb.ReadStreamOptions{}, 1); !is(err, esdb.ErrorCodeResourceNotFound) {
		t.Errorf("what was refused is stored: %v", err)
	}
	if err := call.Send(&streams.BatchAppendReq{ProposedMessages: batchEvents(1, 1), IsFinal: true}); err != nil {
		t.Fatal(err)
	}
	if answer, err := call.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a message of no append was answered %v, %v", answer, err)
	}
}

// TestBatchUnfinished: an append whose end does not come is told that it took too long, and what still comes of it is passed over; a
// client cannot leave more unfinished than there is room for.
func TestBatchUnfinished(t *testing.T) {
	call := batchCall(t, serve(t))
	options := batchTo("s")
	options.DeadlineOption = &streams.BatchAppendReq_Options_Deadline{Deadline: durationpb.New(20 * time.Millisecond)}
	id := idOf(uuid.New())
	answer := batched(t, call, &streams.BatchAppendReq{CorrelationId: id, Options: options, ProposedMessages: batchEvents(1, 1)})
	if answer.GetError().GetCode() != int32(codes.DeadlineExceeded) {
		t.Errorf("answered %v", answer)
	}
	if err := call.Send(&streams.BatchAppendReq{CorrelationId: id, ProposedMessages: batchEvents(1, 1), IsFinal: true}); err != nil {
		t.Fatal(err)
	}
	var refused []string
	for i := range 70 {
		if err := call.Send(&streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: batchTo(fmt.Sprint(i)), ProposedMessages: batchEvents(1, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		answer, err := call.Recv()
		if err != nil {
			t.Fatal(err)
		}
		refused = append(refused, answer.GetError().GetMessage())
	}
	for _, message := range refused {
		if message != "BadRequest" {
			t.Errorf("refused with %q", refused)
		}
	}
}

// TestBatchOutlivesUser: a call goes on for as long as its connection, but not with the rights of a user who is gone.
func TestBatchOutlivesUser(t *testing.T) {
	s := secure(t)
	trusted, err := credentials.NewClientTLSFromFile(filepath.Join(s.certificates, "ca.crt"), "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.server.Addr(), grpc.WithTransportCredentials(trusted))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	login := base64.StdEncoding.EncodeToString([]byte("someone:password"))
	call, err := streams.NewStreamsClient(conn).BatchAppend(metadata.AppendToOutgoingContext(within(t), "authorization", "Basic "+login))
	if err != nil {
		t.Fatal(err)
	}
	one := func(stream string) *streams.BatchAppendReq {
		return &streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: batchTo(stream), ProposedMessages: batchEvents(1, 1), IsFinal: true}
	}
	if answer := batched(t, call, one("orders")); answer.GetSuccess() == nil {
		t.Errorf("answered %v", answer)
	}
	if answer := batched(t, call, one("$settings")); answer.GetError().GetCode() != int32(codes.PermissionDenied) {
		t.Errorf("what only administrators may do was answered %v", answer)
	}
	if _, err := s.as(t, "admin:password@", "").TombstoneStream(within(t), "$user-someone", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	if answer := batched(t, call, one("orders")); answer.GetError().GetCode() != int32(codes.Unauthenticated) {
		t.Errorf("a user who is gone was answered %v", answer)
	}
}
