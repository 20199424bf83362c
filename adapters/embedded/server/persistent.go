package server

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/codes"

	"example.com/life/adapters/embedded/groups"
	"example.com/life/events"
)

// persistentService is consumer groups, which the protocol calls persistent subscriptions.
type persistentService struct {
	persistent.UnimplementedPersistentSubscriptionsServer
	groups *groups.Groups
	guard  guard
}

// groupFailure is how a call about a group fails.
func groupFailure(err error, stream events.Stream) error {
	var refusal *groups.RefusalError
	if !errors.As(err, &refusal) {
		return storeFailure(err, stream)
	}
	code, exception := codes.Internal, "persistent-subscription-failed"
	switch refusal.Kind {
	case groups.Exists:
		code, exception = codes.AlreadyExists, "persistent-subscription-exists"
	case groups.Missing:
		code, exception = codes.NotFound, "persistent-subscription-does-not-exist"
	case groups.Full:
		code, exception = codes.FailedPrecondition, "maximum-subscribers-reached"
	case groups.Dropped:
		code, exception = codes.Canceled, "persistent-subscription-dropped"
	case groups.Failed:
	}
	trailer := []string{trailerException, exception, trailerStream, string(refusal.Key.Stream), "group-name", refusal.Key.Group}
	if refusal.Cause != nil {
		trailer = append(trailer, "reason", refusal.Cause.Error())
	}
	return fail(code, refusal.Error(), trailer...)
}

// operate checks that the caller may manage groups.
func (s *persistentService) operate(ctx context.Context) (by string, err error) {
	who := callerOf(ctx)
	return who.name, s.guard.operator(who)
}

// Create implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) Create(ctx context.Context, request *persistent.CreateReq) (*persistent.CreateResp, error) {
	by, err := s.operate(ctx)
	if err != nil {
		return nil, err
	}
	key, settings, err := newGroup(request.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := s.groups.Create(ctx, key, settings, by); err != nil {
		return nil, groupFailure(err, key.Stream)
	}
	return &persistent.CreateResp{}, nil
}

// Update implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) Update(ctx context.Context, request *persistent.UpdateReq) (*persistent.UpdateResp, error) {
	by, err := s.operate(ctx)
	if err != nil {
		return nil, err
	}
	key, settings, err := changedGroup(request.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := s.groups.Update(ctx, key, settings, by); err != nil {
		return nil, groupFailure(err, key.Stream)
	}
	return &persistent.UpdateResp{}, nil
}

// Delete implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) Delete(ctx context.Context, request *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	by, err := s.operate(ctx)
	if err != nil {
		return nil, err
	}
	options := request.GetOptions()
	key := groups.Key{Stream: groups.All, Group: options.GetGroupName()}
	if options.GetAll() == nil {
		if key.Stream, err = sourceName(options.GetStreamIdentifier()); err != nil {
			return nil, err
		}
	}
	if err := s.groups.Delete(ctx, key, by); err != nil {
		return nil, groupFailure(err, key.Stream)
	}
	return &persistent.DeleteResp{}, nil
}

// ReplayParked implements persistent.PersistentSubscriptionsServer. The right to read the stream is not asked for, nor enough.
func (s *persistentService) ReplayParked(ctx context.Context, request *persistent.ReplayParkedReq) (*persistent.ReplayParkedResp, error) {
	if _, err := s.operate(ctx); err != nil {
		return nil, err
	}
	options := request.GetOptions()
	key, err := keyOf(options, options.GetAll() != nil)
	if err != nil {
		return nil, err
	}
	stopAt := events.Revision(math.MaxInt64)
	switch limit := options.GetStopAtOption().(type) {
	case *persistent.ReplayParkedReq_Options_NoLimit:
	case *persistent.ReplayParkedReq_Options_StopAt:
		stopAt = events.Revision(limit.StopAt)
	default:
		return nil, fail(unknownCode, "The request says neither up to which parked message to replay nor that there is no limit.")
	}
	if err := s.groups.ReplayParked(ctx, key, stopAt); err != nil {
		return nil, groupFailure(err, key.Stream)
	}
	return &persistent.ReplayParkedResp{}, nil
}

// RestartSubsystem implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) RestartSubsystem(ctx context.Context, _ *shared.Empty) (*shared.Empty, error) {
	if _, err := s.operate(ctx); err != nil {
		return nil, err
	}
	if err := s.groups.Restart(ctx); err != nil {
		return nil, groupFailure(err, allStream)
	}
	return &shared.Empty{}, nil
}

// grouped is what names a group in every request.
type grouped interface {
	GetStreamIdentifier() *shared.StreamIdentifier
	GetGroupName() string
}

// keyOf reads which group a request is about.
func keyOf(options grouped, all bool) (groups.Key, error) {
	key := groups.Key{Stream: groups.All, Group: options.GetGroupName()}
	if all {
		return key, nil
	}
	var err error
	key.Stream, err = streamName(options.GetStreamIdentifier())
	return key, err
}

// settingsWire is what Create and Update have in common.
type settingsWire interface { // the getters of two generated messages
	GetResolveLinks() bool
	GetExtraStatistics() bool
	GetMaxRetryCount() int32
	GetMinCheckpointCount() int32
	GetMaxCheckpointCount() int32
	GetMaxSubscriberCount() int32
	GetLiveBufferSize() int32
	GetReadBatchSize() int32
	GetHistoryBufferSize() int32
	GetMessageTimeoutTicks() int64
	GetMessageTimeoutMs() int32
	GetCheckpointAfterTicks() int64
	GetCheckpointAfterMs() int32
}

// settingsOf reads all settings but where to start, the strategy and the filter. Times are given in one of two units.
func settingsOf(wire settingsWire) groups.Settings {
	return groups.Settings{
		ResolveLinks:    wire.GetResolveLinks(),
		ExtraStatistics: wire.GetExtraStatistics(),
		MessageTimeout:  length(wire.GetMessageTimeoutTicks(), wire.GetMessageTimeoutMs()),
		MaxRetries:      int(wire.GetMaxRetryCount()),
		LiveBuffer:      int(wire.GetLiveBufferSize()),
		HistoryBuffer:   int(wire.GetHistoryBufferSize()),
		ReadBatch:       int(wire.GetReadBatchSize()),
		CheckpointAfter: length(wire.GetCheckpointAfterTicks(), wire.GetCheckpointAfterMs()),
		MinCheckpoint:   int(wire.GetMinCheckpointCount()),
		MaxCheckpoint:   int(wire.GetMaxCheckpointCount()),
		MaxConsumers:    int(wire.GetMaxSubscriberCount()),
	}
}

// length is a length of time, given in units of 100 ns or in milliseconds; whole milliseconds count.
func length(ticks int64, milliseconds int32) time.Duration {
	const perMillisecond = 10_000
	if ticks != 0 {
		return time.Duration(max(min(ticks/perMillisecond, math.MaxInt32), math.MinInt32)) * time.Millisecond
	}
	return time.Duration(milliseconds) * time.Millisecond
}
