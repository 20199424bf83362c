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

// Outcome is what becomes of an append whose answer is lost.
type Outcome int

// The outcomes.
const (
	Answered Outcome = iota // the answer is not lost
	Silent                  // no answer comes, and the call does not end
	Ended                   // the call ends without an answer
	Unknown                 // the call ends with status Unknown
	Reset                   // the connection is reset
)

// Lost is an append whose answer is lost.
type Lost struct {
	Outcome Outcome
	Stored  bool
}

// Faults are how often answers to appends get lost by chance, from 0 to 1 together. Half of these appends are stored.
type Faults struct{ Silent, Ended, Unknown, Reset float64 }

type faults struct {
	chances Faults
	next    []Lost
}

// Lose has the answers to the next appends get lost, one after another.
func (c *Cluster) Lose(next ...Lost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = append(c.next, next...)
}

// LoseByChance has answers to appends get lost from now on.
func (c *Cluster) LoseByChance(chances Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chances = chances
}

// lost decides about an append. The lock is held.
func (c *Cluster) lost() Lost {
	if len(c.next) > 0 {
		next := c.next[0]
		c.next = c.next[1:]
		return next
	}
	at, stored := c.random.Float64(), c.random.IntN(2) == 0
	for i, chance := range []float64{c.chances.Silent, c.chances.Ended, c.chances.Unknown, c.chances.Reset} {
		if at -= chance; at < 0 {
			return Lost{Outcome: []Outcome{Silent, Ended, Unknown, Reset}[i], Stored: stored}
		}
	}
	return Lost{}
}

// eventID is an id within a stream.
type eventID struct {
	stream string
	id     uuid.UUID
}

// write is an append that the leader has taken and a majority does not have yet.
type write struct {
	stream  string
	records []*record
	alone   bool // no other node was there to have it
	ready   bool // a majority has it
	done    chan struct{}
	result  result
}

// result is what became of an append.
type result struct {
	interrupted bool // by an election: nobody can say
	conflict    bool
	deleted     bool
	pending     bool // a repetition of what a majority does not have yet: there is no answer
	last        int64
	place       uint64 // 0: not known
}

// finish decides what the writer is told, once.
func (w *write) finish(r result) {
	select {
	case <-w.done:
	default:
		w.result = r
		close(w.done)
	}
}

// interrupt has nobody be told what becomes of what they wrote.
func (n *Node) interrupt() {
	for _, w := range n.tail {
		w.finish(result{interrupted: true})
	}
}

// store puts a write into the log, for good.
func (c *Cluster) store(w *write) {
	for _, r := range w.records {
		c.log.add(r)
		if !r.hidden && c.known[r.id] == nil {
			c.known[r.id] = r
		}
	}
	for _, n := range c.nodes {
		if n.healthy() {
			n.has = len(c.log.records)
		}
	}
	r := result{last: noRevision, place: view(c.log.records).last()}
	if stream := c.log.streams[w.stream]; len(stream) > 0 {
		r.last = stream[len(stream)-1].revision
	}
	w.finish(r)
	c.change()
	c.push()
}

// replicate stores what a majority has by now.
func (c *Cluster) replicate() {
	for c.leader != nil && len(c.leader.tail) > 0 {
		w := c.leader.tail[0]
		if w.alone || !w.ready {
			return
		}
		c.leader.tail = c.leader.tail[1:]
		c.store(w)
	}
}

// take has the leader take an append, which it refuses, recognises, or writes.
func (c *Cluster) take(w *write, expected int64) {
	current := c.standing(w.stream)
	w.done = make(chan struct{})
	switch {
	case len(current) > 0 && current[len(current)-1].kind == tombstoneType:
		w.finish(result{deleted: true})
		return
	case expected >= expectNoStream && expected > int64(len(current))-1, expected == expectExists && len(current) == 0:
		w.finish(result{conflict: true, last: int64(len(current)) - 1})
		return
	case expected >= expectNoStream && expected < int64(len(current))-1:
		w.finish(c.repeated(w, current, current[expected+1:]))
		return
	case expected < expectNoStream && len(w.records) > 0 && !w.records[0].hidden:
		if r, repeats := c.remembered(w, current); repeats {
			w.finish(r)
			return
		}
	}
	leader := c.leader
	leader.tail, leader.term = append(leader.tail, w), c.elected
	w.alone = !leader.healthy() || !c.quorum()
	if c.config.Replicate == 0 {
		w.ready = true
		c.replicate()
		return
	}
	time.AfterFunc(c.config.Replicate, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ended {
			w.ready = true
			c.replicate()
		}
	})
}

// standing is a stream as its writer sees it: with what is not replicated yet.
func (c *Cluster) standing(stream string) []*record {
	current := c.log.streams[stream]
	current = current[:len(current):len(current)]
	for _, w := range c.leader.tail {
		if w.stream != stream {
			continue
		}
		for _, r := range w.records {
			if !r.hidden {
				current = append(current, r)
			}
		}
	}
	return current
}

// repeated compares an append with the events that stand where it would.
func (c *Cluster) repeated(w *write, current, behind []*record) result {
	conflict := result{conflict: true, last: int64(len(current)) - 1}
	if len(w.records) > len(behind) || w.records[0].hidden {
		return conflict
	}
	for i, r := range w.records {
		if behind[i].id != r.id {
			return conflict
		}
	}
	return c.there(behind[len(w.records)-1])
}

// remembered looks for an append without a revision among what this leader has written. It knows ids by the first place that they had.
func (c *Cluster) remembered(w *write, current []*record) (result, bool) {
	written := map[uuid.UUID]*record{}
	for _, r := range current {
		if r.end == 0 { // not replicated yet
			written[r.id] = r
		}
	}
	var last *record
	for i, r := range w.records {
		if last = c.known[r.id]; last == nil || last.stream != w.stream {
			last = written[r.id]
		}
		if last == nil && i == 0 {
			return result{}, false
		}
		if last == nil {
			return result{conflict: true, last: int64(len(current)) - 1}, true
		}
	}
	return c.there(last), true
}

// there answers a repetition. What a majority does not have is not said to be stored.
func (c *Cluster) there(last *record) result {
	if last.end == 0 {
		return result{pending: true}
	}
	return result{last: last.revision, place: last.begin}
}

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
	switch lost.Outcome {
	case Ended:
		return nil
	case Unknown:
		return failing(ctx, codes.Unknown, thrown)
	}
	switch {
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
