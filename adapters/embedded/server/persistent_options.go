package server

import (
	"fmt"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"

	"example.com/life/adapters/embedded/groups"
	"example.com/life/events"
)

// newGroup reads what a group is to be. Clients of today say in stream_option what they consume, older ones in stream_identifier and in
// the settings' revision.
func newGroup(options *persistent.CreateReq_Options) (groups.Key, groups.Settings, error) {
	wire := options.GetSettings()
	settings := settingsOf(wire)
	if settings.Strategy = groups.Strategy(wire.GetConsumerStrategy()); settings.Strategy == "" {
		settings.Strategy = strategyOf(int32(wire.GetNamedConsumerStrategy())) //nolint:staticcheck // what older clients send
	}
	key := groups.Key{Stream: groups.All, Group: options.GetGroupName()}
	var err error
	switch option := options.GetStreamOption().(type) {
	case *persistent.CreateReq_Options_All:
		if settings.Start, err = startOfAll(option.All); err == nil {
			settings.Filter, err = groupFilter(option.All.GetFilter())
		}
	case *persistent.CreateReq_Options_Stream:
		if key.Stream, err = sourceName(option.Stream.GetStreamIdentifier()); err != nil {
			break
		}
		switch from := option.Stream.GetRevisionOption().(type) {
		case *persistent.CreateReq_StreamOptions_Revision:
			settings.Start, err = startAt(from.Revision)
		case *persistent.CreateReq_StreamOptions_End:
			settings.Start = groups.FromEnd
		case *persistent.CreateReq_StreamOptions_Start:
		default:
			err = invalid("the request does not say from which revision to start")
		}
	default:
		if key.Stream, err = sourceName(options.GetStreamIdentifier()); err == nil { //nolint:staticcheck // what older clients send
			settings.Start, err = startAt(wire.GetRevision()) //nolint:staticcheck // what older clients send
		}
	}
	return key, settings, err
}

func startOfAll(options *persistent.CreateReq_AllOptions) (groups.Start, error) {
	switch from := options.GetAllOption().(type) {
	case *persistent.CreateReq_AllOptions_Position:
		return startAtPosition(from.Position)
	case *persistent.CreateReq_AllOptions_End:
		return groups.FromEnd, nil
	case *persistent.CreateReq_AllOptions_Start:
		return groups.Start{}, nil
	}
	return groups.Start{}, invalid("the request does not say from which position to start")
}

// changedGroup reads what a group is to be from now on.
func changedGroup(options *persistent.UpdateReq_Options) (groups.Key, groups.Settings, error) {
	wire := options.GetSettings()
	settings := settingsOf(wire)
	settings.Strategy = strategyOf(int32(wire.GetNamedConsumerStrategy()))
	key := groups.Key{Stream: groups.All, Group: options.GetGroupName()}
	var err error
	switch option := options.GetStreamOption().(type) {
	case *persistent.UpdateReq_Options_All:
		switch from := option.All.GetAllOption().(type) {
		case *persistent.UpdateReq_AllOptions_Position:
			settings.Start, err = startAtPosition(from.Position)
		case *persistent.UpdateReq_AllOptions_End:
			settings.Start = groups.FromEnd
		case *persistent.UpdateReq_AllOptions_Start:
		default:
			err = invalid("the request does not say from which position to start")
		}
	case *persistent.UpdateReq_Options_Stream:
		if key.Stream, err = sourceName(option.Stream.GetStreamIdentifier()); err != nil {
			break
		}
		switch from := option.Stream.GetRevisionOption().(type) {
		case *persistent.UpdateReq_StreamOptions_Revision:
			settings.Start, err = startAt(from.Revision)
		case *persistent.UpdateReq_StreamOptions_End:
			settings.Start = groups.FromEnd
		case *persistent.UpdateReq_StreamOptions_Start:
		default:
			err = invalid("the request does not say from which revision to start")
		}
	default:
		if key.Stream, err = sourceName(options.GetStreamIdentifier()); err == nil { //nolint:staticcheck // what older clients send
			settings.Start, err = startAt(wire.GetRevision()) //nolint:staticcheck // what older clients send
		}
	}
	return key, settings, err
}

// sourceName reads the name of a stream whose group is made, changed or removed. Everything is no stream, although the other calls know it
// by that name.
func sourceName(id *shared.StreamIdentifier) (events.Stream, error) {
	name, err := streamName(id)
	if err == nil && name == groups.All {
		return "", fail(unknownCode, "A group of $all is made, changed and deleted with the option for $all, not by a stream's name.")
	}
	return name, err
}

// startAt is a revision to start from; the largest stands for the end.
func startAt(revision uint64) (groups.Start, error) {
	switch {
	case revision == math.MaxUint64:
		return groups.FromEnd, nil
	case revision > math.MaxInt64:
		return groups.Start{}, fail(unknownCode, fmt.Sprintf("There is no revision %d.", revision))
	}
	return groups.Start{At: int64(revision)}, nil
}

// position is a position of $all in a request.
type position interface {
	GetCommitPosition() uint64
	GetPreparePosition() uint64
}

// startAtPosition is a position to start from; the largest stands for the end.
func startAtPosition(wire position) (groups.Start, error) {
	commit, prepare := wire.GetCommitPosition(), wire.GetPreparePosition()
	switch {
	case commit == math.MaxUint64 && prepare == math.MaxUint64:
		return groups.FromEnd, nil
	case commit > math.MaxInt64 || prepare > commit:
		return groups.Start{}, fail(unknownCode, fmt.Sprintf("There is no position %d/%d.", commit, prepare))
	}
	return groups.Start{At: int64(commit), Prepare: int64(prepare)}, nil
}

// strategyOf reads the number of a strategy; the two enumerations that have it are equal. One that is not known stays unknown.
func strategyOf(wire int32) groups.Strategy {
	switch persistent.CreateReq_ConsumerStrategy(wire) {
	case persistent.CreateReq_DispatchToSingle:
		return groups.DispatchToSingle
	case persistent.CreateReq_RoundRobin:
		return groups.RoundRobin
	case persistent.CreateReq_Pinned:
		return groups.Pinned
	}
	return groups.Strategy(persistent.CreateReq_ConsumerStrategy(wire).String())
}

// groupFilter reads a filter; nil when there is none. Its window and interval are about a catch-up subscription's checkpoints.
func groupFilter(wire *persistent.CreateReq_AllOptions_FilterOptions) (*groups.Filter, error) {
	if wire == nil {
		return nil, nil //nolint:nilnil // no filter
	}
	f := &groups.Filter{}
	chosen := wire.GetStreamIdentifier()
	if of, byKind := wire.GetFilter().(*persistent.CreateReq_AllOptions_FilterOptions_EventType); byKind {
		f.ByKind, chosen = true, of.EventType
	}
	if chosen == nil {
		return nil, invalid("the filter names neither streams nor types of events")
	}
	f.Prefixes, f.Expression = chosen.GetPrefix(), chosen.GetRegex()
	return f, nil
}
