package server

import (
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/adapters/embedded/filter"
)

// selection is what a read of $all chooses, and how often a subscription says how far it has looked.
type selection struct {
	rule       filter.Rule
	window     uint32         // how many events a page of the past is looked for in
	multiplier uint32         // of the window: the interval of checkpoints
	chosen     *filter.Filter // the rule, made ready
}

// anyWindow is the window of a request that leaves it to the server.
const anyWindow = 32

// newSelection reads what a request chooses by. Its rule is made ready later, once the caller may read: that can be costly.
func newSelection(options *streams.ReadReq_Options_FilterOptions) (*selection, error) {
	s := &selection{window: anyWindow, multiplier: options.GetCheckpointIntervalMultiplier()}
	var by *streams.ReadReq_Options_FilterOptions_Expression
	switch option := options.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		s.rule.ByKind, by = true, option.EventType
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		by = option.StreamIdentifier
	default:
		return nil, invalid("the filter names neither streams nor types of events")
	}
	s.rule.Prefixes, s.rule.Expression = by.GetPrefix(), by.GetRegex()
	switch option := options.GetWindow().(type) {
	case *streams.ReadReq_Options_FilterOptions_Max:
		if s.window = option.Max; s.window == 0 {
			return nil, invalid("the filter's window must be positive")
		}
	case *streams.ReadReq_Options_FilterOptions_Count:
	default:
		return nil, invalid("the filter does not say its window: max or count")
	}
	return s, nil
}

// ready checks the rule.
func (s *selection) ready() (err error) {
	if s == nil {
		return nil
	}
	if s.chosen, err = filter.New(s.rule); err != nil {
		return invalid("%s", err)
	}
	return nil
}

// filter is the rule; nil, which chooses everything, without a selection.
func (s *selection) filter() *filter.Filter {
	if s == nil {
		return nil
	}
	return s.chosen
}

// interval is how many events are looked at between two checkpoints.
func (s *selection) interval() uint64 { return uint64(s.window) * uint64(s.multiplier) }
