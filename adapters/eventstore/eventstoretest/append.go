package eventstoretest

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf16"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// Expectations of an append; a number from 0 on is a revision.
const (
	expectNoStream = int64(-1)
	expectAny      = int64(-2)
	expectExists   = int64(-4)
)

const maxAppend = 1 << 20

// streamsService is the service Streams of one life of a node.
type streamsService struct {
	streams.UnimplementedStreamsServer
	node *Node
}

// Append implements streams.StreamsServer.
func (s *streamsService) Append(call streams.Streams_AppendServer) error {
	ctx := call.Context()
	w, expected, err := s.node.receive(ctx, call)
	if err != nil {
		return err
	}
	r, lost, err := s.node.write(ctx, w, expected)
	if err != nil {
		return err
	}
	switch {
	case lost.Outcome == Ended:
		return nil
	case lost.Outcome == Unknown:
		return failing(ctx, codes.Unknown, thrown)
	case r.deleted:
		return streamDeleted(ctx, w.stream)
	case r.conflict:
		return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: conflicting(expected, r.last)}})
	}
	return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: succeeding(r)}})
}

// write has the leader take a write and waits for what becomes of it. Where there is to be no answer it waits until the call ends; a call
// that is to end without one has the outcome Ended.
func (n *Node) write(ctx context.Context, w *write, expected int64) (result, Lost, error) {
	c := n.cluster
	c.mu.Lock()
	if err := n.mayWrite(ctx); err != nil {
		c.mu.Unlock()
		return result{}, Lost{}, err
	}
	c.count(w)
	lost := c.lost()
	if lost.Outcome == Answered || lost.Stored {
		c.take(w, expected)
	}
	c.mu.Unlock()
	switch {
	case lost.Outcome == Silent, w.done == nil && lost.Outcome == Reset:
	case w.done == nil:
		return result{}, lost, nil
	default:
		return n.outcome(ctx, w, lost)
	}
	if lost.Outcome == Reset {
		n.drop(ctx)
	}
	<-ctx.Done()
	return result{}, lost, ctx.Err()
}

// outcome waits for what becomes of a write.
func (n *Node) outcome(ctx context.Context, w *write, lost Lost) (result, Lost, error) {
	timeout := time.NewTimer(n.cluster.config.Commit)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
		return result{}, lost, failing(ctx, codes.Aborted, "Operation timed out: Commit timeout")
	case <-ctx.Done():
		return result{}, lost, ctx.Err()
	}
	switch r := w.result; {
	case lost.Outcome == Reset:
		n.drop(ctx)
		<-ctx.Done()
		return r, lost, ctx.Err()
	case r.pending:
		<-ctx.Done()
		return r, lost, ctx.Err()
	case r.interrupted && n.cluster.config.Profile.Elections:
		return r, lost, failing(ctx, codes.Aborted, "Operation timed out: Prepare timeout")
	case r.interrupted:
		return r, Lost{Outcome: Ended}, nil
	default:
		return r, lost, nil
	}
}

// receive reads an append.
func (n *Node) receive(ctx context.Context, call streams.Streams_AppendServer) (*write, int64, error) {
	w, expected, size := &write{}, expectAny, 0
	for i := 0; ; i++ {
		request, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		options, event := request.GetOptions(), request.GetProposedMessage()
		switch {
		case (i == 0) != (options != nil), i > 0 && event == nil:
			return nil, 0, failing(ctx, codes.Unknown, thrown)
		case i == 0:
			w.stream, expected = string(options.GetStreamIdentifier().GetStreamName()), expectation(options)
			if options.GetExpectedStreamRevision() == nil {
				return nil, 0, failing(ctx, codes.InvalidArgument, "The expected revision is missing")
			}
			if revision := options.GetRevision(); w.stream == "" || revision > math.MaxInt64 && revision != math.MaxUint64 {
				return nil, 0, failing(ctx, codes.Unknown, thrown)
			}
			continue
		}
		r, err := proposed(ctx, w.stream, event)
		if err != nil {
			return nil, 0, err
		}
		if size += len(r.data); !n.cluster.config.Profile.DataOnly {
			size += len(r.metadata) + 2*len(utf16.Encode([]rune(r.kind)))
		}
		w.records = append(w.records, r)
	}
	switch {
	case w.stream == "": // not even options came
		return nil, 0, failing(ctx, codes.Unknown, thrown)
	case size > maxAppend:
		return nil, 0, failing(ctx, codes.InvalidArgument, "Maximum Append Size of "+strconv.Itoa(maxAppend)+" Exceeded.",
			"exception", "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(maxAppend))
	case len(w.records) == 0: // it has a place all the same, which nobody is shown
		w.records = []*record{{hidden: true, stream: w.stream}}
	}
	return w, expected, nil
}

func expectation(options *streams.AppendReq_Options) int64 {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		return int64(e.Revision)
	case *streams.AppendReq_Options_NoStream:
		return expectNoStream
	case *streams.AppendReq_Options_StreamExists:
		return expectExists
	}
	return expectAny
}

func proposed(ctx context.Context, stream string, event *streams.AppendReq_ProposedMessage) (*record, error) {
	beside := event.GetMetadata()
	for _, name := range []string{"type", "content-type"} {
		if _, there := beside[name]; !there {
			return nil, failing(ctx, codes.InvalidArgument, "Required metadata is missing", "exception", "missing-required-metadata-property", "missing-required-metadata-properties", name)
		}
	}
	id := readID(event.GetId())
	if id == uuid.Nil || beside["type"] == "" {
		return nil, failing(ctx, codes.Unknown, thrown)
	}
	return &record{
		id: id, stream: stream, kind: beside["type"], contentType: beside["content-type"], metadata: event.GetCustomMetadata(), data: event.GetData(),
	}, nil
}

func succeeding(r result) *streams.AppendResp_Success {
	s := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(r.last)},
		PositionOption:        &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: r.place, PreparePosition: r.place}},
	}
	if r.last == noRevision {
		s.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
	}
	return s
}

func conflicting(expected, current int64) *streams.AppendResp_WrongExpectedVersion {
	v := &streams.AppendResp_WrongExpectedVersion{
		CurrentRevisionOption:        &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(current)},
		CurrentRevisionOption_20_6_0: &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: uint64(current)},
	}
	if current == noRevision {
		v.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &shared.Empty{}}
		v.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: &shared.Empty{}}
	}
	switch expected {
	case expectAny:
		v.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: &shared.Empty{}}
		v.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: &shared.Empty{}}
	case expectExists:
		v.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &shared.Empty{}}
		v.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: &shared.Empty{}}
	case expectNoStream:
		v.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &shared.Empty{}}
		v.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: 1<<64 - 1}
	default:
		v.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: uint64(expected)}
		v.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: uint64(expected)}
	}
	return v
}

// Tombstone implements streams.StreamsServer, for every expectation as for none.
func (s *streamsService) Tombstone(ctx context.Context, request *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	stream := string(request.GetOptions().GetStreamIdentifier().GetStreamName())
	w := &write{stream: stream, records: []*record{{id: uuid.New(), stream: stream, kind: tombstoneType, contentType: "application/octet-stream"}}}
	r, lost, err := s.node.write(ctx, w, expectAny)
	switch {
	case err != nil:
		return nil, err
	case r.deleted:
		return nil, streamDeleted(ctx, stream)
	case lost.Outcome != Answered:
		return nil, failing(ctx, codes.Unknown, thrown)
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: r.place, PreparePosition: r.place},
	}}, nil
}
