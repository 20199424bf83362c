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
	_, live := options.GetCountOption().(*streams.ReadReq_Options_Subscription)
	send := func(r *record) error { return call.Send(r.read(q.text)) }
	switch {
	case live && q.stream != "":
		return s.node.followStream(call, q, stream)
	case live:
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
	nonsense := failing(ctx, n.cluster.config.Profile.Nonsense, thrown)
	_, q.text = options.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_)
	q.told = options.GetControlOption().GetCompatibility() >= 1
	_, counted := options.GetCountOption().(*streams.ReadReq_Options_Count)
	if counted && q.count == 0 || options.GetCountOption() == nil {
		return q, nonsense
	}
	if options.GetUuidOption().GetContent() == nil {
		return q, failing(ctx, codes.InvalidArgument, "uuid_option is missing")
	}
	switch of := options.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		q.stream = string(of.Stream.GetStreamIdentifier().GetStreamName())
		switch from := of.Stream.GetRevisionOption().(type) {
		case *streams.ReadReq_Options_StreamOptions_Revision:
			q.revision = from.Revision
		case *streams.ReadReq_Options_StreamOptions_End:
			q.revision = end
		case *streams.ReadReq_Options_StreamOptions_Start:
			q.start = true
		}
		if q.stream == "" || counted && !q.backward && q.revision == end || q.revision > math.MaxInt64 && q.revision != end {
			return q, nonsense
		}
	case *streams.ReadReq_Options_All:
		return n.understandAll(ctx, q, of.All, options)
	default:
		return q, nonsense
	}
	return q, nil
}

func (n *Node) understandAll(ctx context.Context, q reading, of *streams.ReadReq_Options_AllOptions, options *streams.ReadReq_Options) (reading, error) {
	nonsense := failing(ctx, n.cluster.config.Profile.Nonsense, thrown)
	switch from := of.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		q.from = place{from.Position.GetCommitPosition(), from.Position.GetPreparePosition()}
	case *streams.ReadReq_Options_AllOptions_End:
		q.from = place{end, end}
	default:
		q.start = true
	}
	if q.from.nonsense() {
		return q, nonsense
	}
	switch chosen := options.GetFilterOption().(type) {
	case *streams.ReadReq_Options_NoFilter:
		return q, nil
	case *streams.ReadReq_Options_Filter:
		var err error
		q.filter, err = readFilter(chosen.Filter)
		if err != nil || q.filter.interval == 0 {
			return q, nonsense
		}
		if chosen.Filter.GetWindow() == nil {
			return q, failing(ctx, codes.InvalidArgument, "The filter has no window")
		}
		return q, nil
	}
	return q, failing(ctx, codes.InvalidArgument, "The combination of filter options is invalid.")
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
	chosen, last := stream, uint64(len(stream)-1)
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
