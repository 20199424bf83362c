package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// readPlan is one page of a stream.
type readPlan struct {
	stream    events.Stream
	revision  events.Revision // ≥ 0
	direction storage.Direction
	limit     storage.Limit // bounded
}

func one() storage.Limit { return storage.Limit{Events: 1}.Bounded() }

// Read implements storage.Journal.
func (j *Journal) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	if err := checkName(stream); err != nil {
		return storage.Page{}, err
	}
	plan := readPlan{stream: stream, revision: max(from, 0), direction: direction, limit: limit.Bounded()}
	nothing := direction == storage.Backward && from < 0
	if nothing {
		plan.limit = one() // only to learn where the stream ends
	}
	var page storage.Page
	err := j.call(ctx, access{toRead, stream}, func(ctx context.Context, n *node) (f *failure) {
		page, f = j.readOnce(ctx, n, plan)
		return f
	})
	if err != nil {
		return storage.Page{}, fmt.Errorf("read %s: %w", stream, err)
	}
	if nothing {
		page.Events, page.End = nil, true
	}
	return page, nil
}

// readOnce reads a page on one connection. It asks for one event more than the page may have, so that the page knows whether it is the
// last, and for the stream's last revision, which the server says at the end.
func (j *Journal) readOnce(ctx context.Context, n *node, plan readPlan) (storage.Page, *failure) {
	page := storage.Page{Last: events.NoRevision}
	gather := gatherer{limit: plan.limit}
	told := false // the last revision
	f := read(ctx, n.calls.ClientConn, plan.request(1), n.target.silence, func(a *answer) (more bool) {
		switch a.content {
		case contentEvent:
			return !a.hasEvent || gather.add(&a.event)
		case contentLastRevision:
			page.Last, told = readRevision(a.number), true
		case contentNotFound:
			told = true
		}
		return true
	})
	if f != nil {
		return page, f
	}
	page.Events, page.End = gather.events, !gather.full
	if told {
		return page, nil
	}
	// The page was cut, or the server is older than 21.10 and does not say where the stream ends.
	last := readPlan{stream: plan.stream, revision: -1, direction: storage.Backward, limit: one()}
	f = read(ctx, n.calls.ClientConn, last.request(0), n.target.silence, func(a *answer) (more bool) {
		if a.hasEvent {
			page.Last = a.event.Revision
		}
		return true
	})
	return page, f
}

// request asks for the page and so many events more. A negative revision stands for the end.
func (p readPlan) request(more int) *streams.ReadReq {
	stream := &streams.ReadReq_Options_StreamOptions{StreamIdentifier: identifier(p.stream)}
	stream.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: uint64(p.revision)}
	if p.revision < 0 {
		stream.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
	}
	options := readOptions(p.direction, p.limit.Events+more)
	options.StreamOption = &streams.ReadReq_Options_Stream{Stream: stream}
	return &streams.ReadReq{Options: options}
}

func readOptions(direction storage.Direction, count int) *streams.ReadReq_Options {
	options := &streams.ReadReq_Options{
		CountOption:   &streams.ReadReq_Options_Count{Count: uint64(count)},
		FilterOption:  &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:    &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
		ControlOption: &streams.ReadReq_Options_ControlOption{Compatibility: 1},
	}
	if direction == storage.Backward {
		options.ReadDirection = streams.ReadReq_Options_Backwards
	}
	return options
}

// read is one counted Read on the wire. It ends when the server has no more or take wants none, or when it says nothing for a while.
func read(ctx context.Context, conn *grpc.ClientConn, request *streams.ReadReq, silence time.Duration, take func(a *answer) (more bool)) *failure {
	ctx, cancel := context.WithCancelCause(ofLeader(ctx))
	defer cancel(nil)
	call, err := startRead(ctx, conn, request)
	if err != nil {
		return failed(err, nil)
	}
	watch := watched(silence, cancel)
	defer watch.stop()
	var a answer
	for {
		err := call.RecvMsg(&a)
		if ended(err) {
			return nil
		}
		if err != nil {
			return failed(err, call.Trailer()).silentFor(ctx, silence)
		}
		watch.heard.Add(1)
		if !take(&a) {
			return nil
		}
	}
}

// startRead sends the request of a Read, whose messages are then received as answers. It ends with ctx.
func startRead(ctx context.Context, conn *grpc.ClientConn, request *streams.ReadReq) (grpc.ClientStream, error) {
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Read", ServerStreams: true}, streams.Streams_Read_FullMethodName, asAnswers())
	if err != nil {
		return nil, err
	}
	if err := call.SendMsg(request); err != nil && !ended(err) { // after io.EOF the first message received says why
		return nil, err
	}
	return call, call.CloseSend()
}

// gatherer fills a page up to its limit.
type gatherer struct {
	limit  storage.Limit
	events []events.Envelope
	bytes  int
	full   bool // there was one more
}

// add takes an event; false when there is no room for it.
func (g *gatherer) add(e *events.Envelope) bool {
	size := weight(e)
	if n := len(g.events); n >= g.limit.Events || n > 0 && g.bytes+size > g.limit.Bytes {
		g.full = true
		return false
	}
	g.bytes += size
	g.events = append(g.events, *e)
	return true
}

// usual is how much may stand beside an event's data without being counted.
const usual = 1 << 10

// weight is how much an event counts towards the bytes of a page or a queue: its data, and what is beside it if that is more than usual.
func weight(e *events.Envelope) int {
	beside := len(e.Stream) + len(e.Kind) + len(e.Actor) + len(e.Command) + len(e.Correlation) + len(e.Causation) + len(e.Traceparent) + len(e.Host)
	if e.Foreign != nil {
		beside += len(e.Foreign.Metadata) + len(e.Foreign.ContentType)
	}
	return len(e.Data) + max(0, beside-usual)
}
