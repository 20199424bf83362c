package eventstoretest

import (
	"context"
	"math"
	"slices"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
)

// end stands for the end, as a revision and as a number of a place.
const end = uint64(math.MaxUint64)

// place is where a read of $all begins: what has a greater commit, or the same commit and at least that prepare, is behind it.
type place struct{ commit, prepare uint64 }

// nonsense reports numbers that no place has.
func (p place) nonsense() bool {
	if p.commit == end && p.prepare == end {
		return false
	}
	return p.prepare > p.commit || p.commit > math.MaxInt64
}

// before reports that a record is behind the place, as subscriptions count.
func (p place) before(r *record) bool {
	return p.commit < r.begin || p.commit == r.begin && p.prepare < r.begin
}

func (p place) less(q place) bool {
	return p.commit < q.commit || p.commit == q.commit && p.prepare < q.prepare
}

// reading is a request to read, understood.
type reading struct {
	stream   string // empty: everything
	revision uint64 // end: the end
	from     place
	start    bool // everything, from the beginning: in subscriptions that is before place 0
	backward bool
	live     bool
	count    uint64
	filter   *filter
	text     bool // ids are written as texts
	told     bool // the reader understands where the stream begins and ends
}

// Read implements streams.StreamsServer.
func (s *streamsService) Read(request *streams.ReadReq, call streams.Streams_ReadServer) error {
	ctx, options := call.Context(), request.GetOptions()
	q, err := s.node.understand(ctx, options)
	if err != nil {
		return err
	}
	c := s.node.cluster
	c.mu.Lock()
	err = s.node.mayRead(ctx)
	seen, stream := s.node.sees(q.stream)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	send := func(r *record) error { return call.Send(r.read(q.text)) }
	switch {
	case q.live && q.stream != "":
		return s.node.followStream(call, q, stream)
	case q.live:
		return s.node.followAll(call, q, seen)
	case q.stream != "":
		return s.node.readStream(call, q, stream, send)
	default:
		return s.node.readAll(ctx, q, seen, send)
	}
}

// sees is what the node has of the log, and of one stream. The lock is held.
func (n *Node) sees(stream string) (view, []*record) {
	seen := view(n.cluster.log.records[:n.has])
	return seen, seen.stream(n.cluster.log.streams[stream])
}

// understand refuses what makes no sense.
func (n *Node) understand(ctx context.Context, options *streams.ReadReq_Options) (reading, error) {
	q := reading{count: options.GetCount(), backward: options.GetReadDirection() == streams.ReadReq_Options_Backwards}
	_, q.text = options.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_)
	_, q.live = options.GetCountOption().(*streams.ReadReq_Options_Subscription)
	q.told = options.GetControlOption().GetCompatibility() >= 1
	ofStream, ofAll := options.GetStream(), options.GetAll()
	switch {
	case options.GetUuidOption().GetContent() == nil, options.GetReadDirection() > streams.ReadReq_Options_Backwards, options.GetCountOption() == nil,
		options.GetFilterOption() == nil, options.GetFilter() != nil && ofAll == nil, q.live && q.backward, ofStream == nil && ofAll == nil:
		return q, failing(ctx, codes.InvalidArgument, "The combination of options is invalid.")
	case !q.live && q.count == 0, ofStream != nil && !q.ofStream(ofStream), ofAll != nil && !q.ofAll(ofAll):
		return q, n.nonsense(ctx)
	case options.GetFilter() == nil:
		return q, nil
	case options.GetFilter().GetWindow() == nil, options.GetFilter().GetFilter() == nil:
		return q, failing(ctx, codes.InvalidArgument, "The filter is invalid.")
	}
	var err error
	if q.filter, err = readFilter(options.GetFilter()); err != nil || q.live && q.filter.interval == 0 {
		return q, n.nonsense(ctx)
	}
	return q, nil
}

// nonsense is how the version refuses what no client asks.
func (n *Node) nonsense(ctx context.Context) error {
	return failing(ctx, n.cluster.config.Profile.Nonsense, thrown)
}

// ofStream reads where a read of a stream begins; false when that makes no sense.
func (q *reading) ofStream(of *streams.ReadReq_Options_StreamOptions) bool {
	q.stream = string(of.GetStreamIdentifier().GetStreamName())
	switch from := of.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		q.revision = from.Revision
	case *streams.ReadReq_Options_StreamOptions_End:
		q.revision = end
	case *streams.ReadReq_Options_StreamOptions_Start:
		q.start = true
	default:
		return false
	}
	forwardsFromEnd := !q.live && !q.backward && q.revision == end
	return q.stream != "" && !forwardsFromEnd && (q.revision <= math.MaxInt64 || q.revision == end)
}

// ofAll reads where a read of everything begins; false when that makes no sense.
func (q *reading) ofAll(of *streams.ReadReq_Options_AllOptions) bool {
	switch from := of.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		q.from = place{from.Position.GetCommitPosition(), from.Position.GetPreparePosition()}
	case *streams.ReadReq_Options_AllOptions_End:
		q.from = place{end, end}
	case *streams.ReadReq_Options_AllOptions_Start:
		q.start = true
	default:
		return false
	}
	return !q.from.nonsense()
}

func readFilter(f *streams.ReadReq_Options_FilterOptions) (*filter, error) {
	if kinds := f.GetEventType(); kinds != nil {
		return newFilter(true, kinds, f.GetMax(), f.GetCheckpointIntervalMultiplier())
	}
	return newFilter(false, f.GetStreamIdentifier(), f.GetMax(), f.GetCheckpointIntervalMultiplier())
}

const streamPage = 32

// readStream answers a counted read of a stream.
func (n *Node) readStream(call streams.Streams_ReadServer, q reading, stream []*record, send func(*record) error) error {
	switch {
	case ended(stream):
		return streamDeleted(call.Context(), q.stream)
	case len(stream) == 0:
		return call.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{
			StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: identifier(q.stream)},
		}})
	}
	last := uint64(len(stream) - 1)
	var chosen []*record
	if q.backward {
		chosen = slices.Clone(stream[:min(q.revision, last)+1])
		slices.Reverse(chosen)
	} else {
		chosen = stream[min(q.revision, last+1):]
	}
	if told := q.told && n.cluster.config.Profile.LastPosition; told && !q.backward && len(chosen) == 0 && q.revision > last+1 {
		if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_FirstStreamPosition{FirstStreamPosition: last + 1}}); err != nil {
			return err
		}
	}
	for _, r := range chosen[:min(q.count, uint64(len(chosen)))] {
		if err := send(r); err != nil {
			return err
		}
	}
	if q.told && n.cluster.config.Profile.LastPosition {
		return call.Send(&streams.ReadResp{Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: last}})
	}
	return nil
}

// readAll answers a counted read of everything, from a place where a record begins.
func (n *Node) readAll(ctx context.Context, q reading, seen view, send func(*record) error) error {
	var chosen view
	switch at := q.from.commit; {
	case q.start && q.backward, at == 0 && q.backward:
	case q.start:
		chosen = seen
	case at == end && q.backward:
		chosen = seen
	case !q.backward && at > seen.last():
	case !seen.begins(at) && (!q.backward || at != seen.end()):
		result := "ReadAllResult"
		if q.filter != nil {
			result = "FilteredReadAllResult"
		}
		return failing(ctx, codes.Unknown, "Unexpected "+result+": "+n.cluster.config.Profile.InvalidPlace)
	case q.backward:
		chosen = seen[:seen.index(at)]
	default:
		chosen = seen[seen.index(at):]
	}
	if q.backward {
		chosen = slices.Clone(chosen)
		slices.Reverse(chosen)
	}
	for _, r := range chosen {
		if !q.filter.chooses(r) {
			continue
		}
		if err := send(r); err != nil {
			return err
		}
		if q.count--; q.count == 0 {
			break
		}
	}
	return nil
}
