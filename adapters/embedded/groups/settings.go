package groups

import (
	"fmt"
	"strings"
	"time"

	"example.com/life/adapters/embedded/filter"
	"example.com/life/events"
)

// All stands for everything in place of a stream's name.
const All events.Stream = "$all"

// Key names a group: the stream it consumes, or All, and its own name, which is unique for that stream.
type Key struct {
	Stream events.Stream
	Group  string
}

// String is the key as it stands in the names of the group's streams.
func (k Key) String() string { return string(k.Stream) + "::" + k.Group }

func (k Key) checkpointStream() events.Stream {
	return events.Stream("$persistentsubscription-" + k.String() + "-checkpoint")
}

func (k Key) parkedStream() events.Stream {
	return events.Stream("$persistentsubscription-" + k.String() + "-parked")
}

// isNote reports that a stream holds notes of a group, or their metadata.
func isNote(stream events.Stream) bool {
	return strings.HasPrefix(strings.TrimPrefix(string(stream), "$$"), "$persistentsubscription-")
}

// Start is where a group without a checkpoint begins: with the first event that is not before a revision or, in All, a position. The zero
// value is the beginning.
type Start struct {
	At      int64 // a revision, or a commit position
	Prepare int64 // of a position: kept as it was given, and reported
}

// FromEnd begins with what is appended after the group was made.
var FromEnd = Start{At: -1, Prepare: -1} //nolint:gochecknoglobals // never written to

// Filter chooses events of All.
type Filter = filter.Rule

// Settings are how a group works. The names of the protocol are historyBufferSize, readBatchSize and so on.
type Settings struct {
	Start           Start
	ResolveLinks    bool
	ExtraStatistics bool // latencies are reported
	MessageTimeout  time.Duration
	MaxRetries      int           // times a message may be delivered again before it is parked; negative: as 0
	LiveBuffer      int           // kept and reported; everything is read from the store, so there is no such buffer
	HistoryBuffer   int           // messages read ahead
	ReadBatch       int           // kept and reported; must be less than HistoryBuffer
	CheckpointAfter time.Duration // between checkpoints, at least; negative: as 0
	MinCheckpoint   int           // messages done before a checkpoint is written, at least; 0 and less: as 1
	MaxCheckpoint   int           // messages done after which one is written at once; 0 and less: as 1
	MaxConsumers    int           // 0: any number
	Strategy        Strategy
	Filter          *Filter // of All; nil: everything
}

func (s *Settings) validate(key Key) error {
	if err := s.Strategy.validate(); err != nil {
		return err
	}
	switch {
	case key.Group == "":
		return fmt.Errorf("the group's name is empty")
	case s.Start.At < FromEnd.At || s.Start.Prepare > s.Start.At:
		return fmt.Errorf("it cannot start from %s", key.formatStart(s.Start))
	case s.LiveBuffer < 0 || s.ReadBatch < 0 || s.MaxConsumers < 0:
		return fmt.Errorf("live buffer size %d, read batch size %d and max subscribers %d must not be negative", s.LiveBuffer, s.ReadBatch, s.MaxConsumers)
	case s.MessageTimeout < 0:
		return fmt.Errorf("message timeout %s must not be negative", s.MessageTimeout)
	case s.HistoryBuffer <= s.ReadBatch:
		return fmt.Errorf("read batch size %d must be less than history buffer size %d", s.ReadBatch, s.HistoryBuffer)
	case s.Filter != nil && key.Stream != All:
		return fmt.Errorf("only groups of %s have a filter", All)
	}
	_, err := readyFilter(s.Filter)
	return err
}

// readyFilter makes a filter ready.
func readyFilter(rule *Filter) (*filter.Filter, error) {
	if rule == nil {
		return nil, nil //nolint:nilnil // nil chooses everything
	}
	if rule.Expression == "" && len(rule.Prefixes) == 0 {
		return nil, fmt.Errorf("the filter has neither an expression nor prefixes")
	}
	return filter.New(*rule)
}
