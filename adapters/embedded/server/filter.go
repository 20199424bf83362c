package server

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"example.com/life/actors"
	"example.com/life/events"
)

// filter chooses events of $all by the beginning of their stream's name or of their type, or by an expression. Links are looked at
// themselves, not what they point at.
type filter struct {
	byKind     bool
	prefixes   []string
	expression *regexp.Regexp // instead of prefixes
	window     uint32         // how many events a checkpoint's interval is counted in
	multiplier uint32         // of the window: the interval of checkpoints
}

const (
	defaultWindow = 32
	maxExpression = 4 << 10  // bytes
	maxSteps      = 16 << 10 // of an expression written out
	maxPrefixes   = 1024
)

// newFilter checks what a request chooses by.
func newFilter(options *streams.ReadReq_Options_FilterOptions) (*filter, error) {
	f := &filter{window: defaultWindow, multiplier: options.GetCheckpointIntervalMultiplier()}
	var chosen *streams.ReadReq_Options_FilterOptions_Expression
	switch option := options.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		f.byKind, chosen = true, option.EventType
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		chosen = option.StreamIdentifier
	default:
		return nil, invalid("the filter names neither streams nor types of events")
	}
	if window, given := options.GetWindow().(*streams.ReadReq_Options_FilterOptions_Max); given {
		if f.window = window.Max; f.window == 0 {
			return nil, invalid("the filter's window must be positive")
		}
	}
	return f, f.compile(chosen)
}

// interval is how many events are looked at between two checkpoints.
func (f *filter) interval() uint64 { return uint64(f.window) * uint64(f.multiplier) }

func (f *filter) compile(chosen *streams.ReadReq_Options_FilterOptions_Expression) error {
	if text := chosen.GetRegex(); text != "" {
		if len(text) > maxExpression {
			return invalid("the filter's expression has %d bytes, at most %d are allowed", len(text), maxExpression)
		}
		parsed, err := syntax.Parse(text, syntax.Perl)
		if err != nil {
			return invalid("the filter's expression: %s", err)
		}
		if steps(parsed) > maxSteps {
			return invalid("the filter's expression repeats too much")
		}
		if f.expression, err = regexp.Compile(text); err != nil {
			return invalid("the filter's expression: %s", err)
		}
		return nil
	}
	if f.prefixes = chosen.GetPrefix(); len(f.prefixes) > maxPrefixes {
		return invalid("the filter has %d prefixes, at most %d are allowed", len(f.prefixes), maxPrefixes)
	}
	return nil
}

// steps is about how many instructions an expression becomes: nested repetitions in few letters can become millions.
func steps(expression *syntax.Regexp) int {
	n := 1 + len(expression.Rune)
	for _, part := range expression.Sub {
		n = min(n+steps(part), maxSteps+1)
	}
	if expression.Op == syntax.OpRepeat {
		n = min(n*max(expression.Min, expression.Max, 1), maxSteps+1)
	}
	return n
}

// chooses reports whether an event of $all is for the client. Without a filter everything is, but for the notes of consumer groups on $all.
func (f *filter) chooses(e *events.Envelope) bool {
	if hidden(e.Stream) {
		return false
	}
	if f == nil {
		return true
	}
	text := string(e.Stream)
	if f.byKind {
		text = string(e.Kind)
	}
	if f.expression != nil {
		return f.expression.MatchString(text)
	}
	return slices.ContainsFunc(f.prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// hidden reports a stream that $all never shows: a consumer group on $all would be given its own notes, for ever.
func hidden(stream events.Stream) bool {
	name, its := strings.CutPrefix(string(stream), "$persistentsubscription-$all::")
	return its && (strings.HasSuffix(name, "-checkpoint") || strings.HasSuffix(name, "-parked"))
}

// pushed is the part of the filter that the store can decide, so that what is not chosen need not be decoded.
func (f *filter) pushed() actors.Filter {
	all := actors.Filter{System: true}
	switch {
	case f == nil || f.expression != nil:
	case f.byKind:
		all.Kinds = f.prefixes
	default:
		all.Streams = f.prefixes
	}
	return all
}
