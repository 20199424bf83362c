package eventstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// How a consumer group works on the server: one member at a time has it, is given one event at a time, or as many as it asks for, and may take
// as long as it likes; an event that is not done with is delivered again, for ever and before later ones.
const (
	groupMembers    = 1
	groupNeverLate  = math.MaxInt32         // milliseconds, 24 days
	groupNeverParks = math.MaxInt32         // deliveries
	groupCheckpoint = 1000                  // milliseconds between notes of how far the group is, while there is something new
	groupHistory    = 500                   // events read ahead
	groupBatch      = 100                   // events of one read; must be less
	groupTurn       = time.Second           // at most between two looks whether the group is free
	groupGoodbye    = 2 * time.Second       // for the last outcome to arrive
	groupSetBack    = 10 * time.Millisecond // at least, before an event that was not done with is given back
)

// Consume hands the events of a source to a consumer group, which EventStoreDB calls a persistent subscription: each to one member, one
// at a time and in order, until handle returns nil for it. It joins the group, which is created if it is not there and then begins
// after the source's Revision or Position, waits while another member has it, and returns when ctx ends or the membership is lost; the
// caller joins again. handle's context ends with either; what handle then returns still counts if the store can be told.
//
// The groups of one stream, or of everything, are told apart by their names; those of everything by what the filter chooses, too.
// Creating a group takes a user of $admins or $ops.
func (j *Journal) Consume(ctx context.Context, group string, source storage.From, handle func(ctx context.Context, e events.Envelope) error) error {
	back := newPause(groupSetBack, 20*groupSetBack)
	return j.ConsumeAhead(ctx, group, source, 1, func(held context.Context, e events.Envelope, done func(error)) {
		one, cancel := context.WithCancel(held)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err := handle(one, e)
		if err != nil {
			back.wait(one) //nolint:errcheck // whoever fails at once would be asked at once, unless ctx ended
		} else {
			back.Reset()
		}
		done(err)
	})
}

// ConsumeAhead is Consume for a member that handles up to ahead events at once: handle is given them in order and returns without waiting, and each is
// done with when done is called with nil. When ctx ends, those under way are waited for. The context of handle ends with the membership.
func (j *Journal) ConsumeAhead(
	ctx context.Context, group string, source storage.From, ahead int, handle func(ctx context.Context, e events.Envelope, done func(error)),
) error {
	m, err := newMember(group, source, handle)
	if err != nil {
		return fmt.Errorf("consume as group %q: %w", group, err)
	}
	m.ahead = int32(max(1, min(ahead, math.MaxInt32))) //nolint:gosec // bounded
	m.patience = patience{j.target.probe, j.target.longest}
	a, turn := j.attempts(access{toJoin, source.Stream}), newPause(groupTurn/20, groupTurn)
	for {
		n, err := j.line.await(ctx)
		if err != nil {
			return m.ended(ctx, err)
		}
		within, done := n.within(ctx)
		f := n.lostInstead(m.take(within, ctx, n))
		done()
		n.release()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case m.joined:
			if f.verdict() == absent {
				n.doubt(ctx)
			}
			return m.ended(ctx, a.told(n, f))
		case f == nil: // it was created
		case f.exception == "maximum-subscribers-reached":
			err = turn.wait(ctx)
		default:
			m.complain(ctx, j.config.Log, f)
			a.to.right = toJoin
			if m.creating {
				a.to.right = toCreate
			}
			err = a.again(ctx, n, f)
		}
		if err != nil {
			return m.ended(ctx, err)
		}
	}
}

// member is one who wants to consume.
type member struct {
	group   string // as the server knows it
	source  storage.From
	handle  func(ctx context.Context, e events.Envelope, done func(error))
	ahead   int32 // events under way at most
	joined  bool
	created bool // by this member: the first event is one that it has had, see create

	creating bool     // the last attempt was to create the group
	patience patience // with the next attempt to create or join it
}

// complain logs an attempt that was not answered: a node that leads since a moment ago drops them without a word.
func (m *member) complain(ctx context.Context, log *slog.Logger, f *failure) {
	what := "join"
	if m.creating {
		what = "create"
	}
	if f.code == codes.DeadlineExceeded {
		log.WarnContext(ctx, "the event store did not answer; trying again", "call", what+" a consumer group", "group", m.group, "of", m.what(), "cause", f)
	}
}

func newMember(group string, source storage.From, handle func(ctx context.Context, e events.Envelope, done func(error))) (*member, error) {
	if group == "" {
		return nil, errors.New("the group has no name")
	}
	if source.Stream != "" {
		if err := checkName(source.Stream); err != nil {
			return nil, err
		}
		return &member{group: group, source: source, handle: handle}, nil
	}
	chosen := source.Filter
	if len(chosen.Streams)+len(chosen.Kinds) > 0 || chosen.System {
		chosen.Streams, chosen.Kinds = sorted(chosen.Streams), sorted(chosen.Kinds)
		text, err := json.Marshal(chosen)
		if err != nil {
			return nil, fmt.Errorf("name the group's filter: %w", err)
		}
		hash := sha256.Sum256(text)
		group += "-" + hex.EncodeToString(hash[:8])
	}
	return &member{group: group, source: source, handle: handle}, nil
}

func sorted(texts []string) []string {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return slices.Compact(texts)
}

// ended is why a membership is over.
func (m *member) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("consume %s as group %q: %w", m.what(), m.group, err)
}

func (m *member) what() string {
	if m.source.Stream != "" {
		return string(m.source.Stream)
	}
	return "everything"
}

// take joins the group on one connection and consumes until that ends. A group that is not there is created instead. The outcome of what
// is handled when the caller's context ends is still told.
func (m *member) take(ctx, callers context.Context, n *node) *failure {
	m.creating = false
	f := m.join(ctx, callers, n)
	if f != nil && !m.joined && f.code == codes.NotFound && f.verdict() == final {
		m.creating = true
		return m.create(ctx, n)
	}
	return f
}

// create makes the group. A group of everything begins at a position, and not after it, so it is given the one event before its own,
// which its creator passes over; when another member is faster, that one has it once too often.
func (m *member) create(ctx context.Context, n *node) *failure {
	options := &persistent.CreateReq_Options{GroupName: m.group, Settings: &persistent.CreateReq_Settings{
		MaxRetryCount: groupNeverParks, MinCheckpointCount: 1, MaxCheckpointCount: groupHistory, MaxSubscriberCount: groupMembers,
		LiveBufferSize: groupHistory, ReadBatchSize: groupBatch, HistoryBufferSize: groupHistory,
		ConsumerStrategy: "RoundRobin",
		MessageTimeout:   &persistent.CreateReq_Settings_MessageTimeoutMs{MessageTimeoutMs: groupNeverLate},
		CheckpointAfter:  &persistent.CreateReq_Settings_CheckpointAfterMs{CheckpointAfterMs: groupCheckpoint},
	}}
	if m.source.Stream != "" {
		options.StreamOption = &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{
			StreamIdentifier: identifier(m.source.Stream),
			RevisionOption:   &persistent.CreateReq_StreamOptions_Revision{Revision: uint64(max(m.source.Revision+1, 0))},
		}}
	} else {
		options.StreamOption = &persistent.CreateReq_Options_All{All: m.everything()}
	}
	limit := m.patience.limit()
	ctx, cancel := context.WithTimeout(ofLeader(ctx), limit)
	defer cancel()
	var trailer metadata.MD
	_, err := persistent.NewPersistentSubscriptionsClient(n.calls).Create(ctx, &persistent.CreateReq{Options: options}, grpc.Trailer(&trailer))
	f := failed(err, trailer)
	switch {
	case err == nil:
		m.created = true
		return nil
	case f.code == codes.AlreadyExists:
		return nil
	case f.code == codes.DeadlineExceeded:
		f.message = "no answer within " + limit.String()
	}
	return f
}

func (m *member) everything() *persistent.CreateReq_AllOptions {
	all := &persistent.CreateReq_AllOptions{
		AllOption:    &persistent.CreateReq_AllOptions_Start{Start: &shared.Empty{}},
		FilterOption: &persistent.CreateReq_AllOptions_NoFilter{NoFilter: &shared.Empty{}},
	}
	if at := uint64(m.source.Position); at > 0 {
		all.AllOption = &persistent.CreateReq_AllOptions_Position{Position: &persistent.CreateReq_Position{CommitPosition: at, PreparePosition: at}}
	}
	pushed := pushedFilter(m.source.Filter, true)
	if pushed == nil {
		return all
	}
	options := &persistent.CreateReq_AllOptions_FilterOptions{
		Window:                       &persistent.CreateReq_AllOptions_FilterOptions_Max{Max: filterWindow},
		CheckpointIntervalMultiplier: pushed.GetCheckpointIntervalMultiplier(),
	}
	if kinds := pushed.GetEventType(); kinds != nil {
		options.Filter = &persistent.CreateReq_AllOptions_FilterOptions_EventType{
			EventType: &persistent.CreateReq_AllOptions_FilterOptions_Expression{Regex: kinds.GetRegex(), Prefix: kinds.GetPrefix()},
		}
	} else {
		names := pushed.GetStreamIdentifier()
		options.Filter = &persistent.CreateReq_AllOptions_FilterOptions_StreamIdentifier{
			StreamIdentifier: &persistent.CreateReq_AllOptions_FilterOptions_Expression{Regex: names.GetRegex(), Prefix: names.GetPrefix()},
		}
	}
	all.FilterOption = &persistent.CreateReq_AllOptions_Filter{Filter: options}
	return all
}

// wants reports whether an event is the group's: servers filter by streams or by kinds, and what is at the position that the group
// begins after is delivered to it.
func (m *member) wants(e *events.Envelope) bool {
	if m.source.Stream != "" {
		return true
	}
	return m.source.Filter.Chooses(e.Stream, e.Kind) && (!m.created || e.Position > m.source.Position)
}
