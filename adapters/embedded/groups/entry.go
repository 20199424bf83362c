package groups

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/events"
)

const (
	configStream = events.Stream("$persistentSubscriptionConfig")
	configKind   = events.Kind("$PersistentConfig")
)

// entry is a group as it is stored.
type entry struct {
	key      Key
	settings Settings
	end      place // of the source when the settings were made: where a group from the end begins
}

// settingsLog is the stream that holds the settings of all groups. Its newest event counts.
type settingsLog struct {
	store Store
	now   func() events.Micros
	all   map[Key]entry
	last  events.Revision
}

// storedConfig is the form of the stream's events. Its names are EventStoreDB's, but for "end" and what "filter" holds.
type storedConfig struct {
	Version   string        `json:"version"`
	Updated   time.Time     `json:"updated"`
	UpdatedBy string        `json:"updatedBy"`
	Entries   []storedEntry `json:"entries"`
}

type storedEntry struct {
	Stream          string  `json:"stream"`
	Group           string  `json:"group"`
	ResolveLinks    bool    `json:"resolveLinkTos"`
	ExtraStatistics bool    `json:"extraStatistics"`
	MessageTimeout  int64   `json:"messageTimeout"` // milliseconds
	StartFrom       int64   `json:"startFrom"`
	StartPosition   string  `json:"startPosition"`
	LiveBuffer      int     `json:"liveBufferSize"`
	HistoryBuffer   int     `json:"historyBufferSize"`
	ReadBatch       int     `json:"readBatchSize"`
	MaxRetries      int     `json:"maxRetryCount"`
	CheckpointAfter int64   `json:"checkPointAfter"` // milliseconds
	MinCheckpoint   int     `json:"minCheckPointCount"`
	MaxCheckpoint   int     `json:"maxCheckPointCount"`
	MaxConsumers    int     `json:"maxSubscriberCount"`
	Strategy        string  `json:"namedConsumerStrategy"`
	Filter          *Filter `json:"filter,omitempty"`
	End             *int64  `json:"end,omitempty"`
}

// load reads the newest settings.
func (l *settingsLog) load(ctx context.Context) ([]entry, error) {
	page, err := l.store.Read(ctx, configStream, 1<<62, actors.Backward, actors.Limit{Events: 1})
	if err != nil {
		return nil, err
	}
	l.all, l.last = map[Key]entry{}, page.Last
	if len(page.Events) > 0 {
		if l.all, err = parseConfig(page.Events[0].Data); err != nil {
			return nil, fmt.Errorf("read %s: %w", page.Events[0].Ref(), err)
		}
	}
	return l.entries(), nil
}

func (l *settingsLog) entries() []entry {
	return slices.SortedFunc(maps.Values(l.all), func(a, b entry) int { return cmp.Compare(a.key.String(), b.key.String()) })
}

func parseConfig(data []byte) (map[Key]entry, error) {
	var stored storedConfig
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, err
	}
	all := map[Key]entry{}
	for i := range stored.Entries {
		read := stored.Entries[i].read()
		if err := read.settings.validate(read.key); err != nil {
			return nil, fmt.Errorf("group %s: %w", read.key, err)
		}
		all[read.key] = read
	}
	return all, nil
}

func (s *storedEntry) read() entry {
	e := entry{key: Key{Stream: events.Stream(s.Stream), Group: s.Group}, end: nowhere}
	if s.End != nil {
		e.end = max(place(*s.End), nowhere)
	}
	start := Start(s.StartFrom)
	if e.key.Stream == All {
		if at, ok := parsePlace(s.StartPosition); ok {
			start = Start(at)
		}
	}
	e.settings = Settings{
		Start: start, ResolveLinks: s.ResolveLinks, ExtraStatistics: s.ExtraStatistics, MessageTimeout: milliseconds(s.MessageTimeout),
		MaxRetries: s.MaxRetries, LiveBuffer: s.LiveBuffer, HistoryBuffer: s.HistoryBuffer, ReadBatch: s.ReadBatch,
		CheckpointAfter: milliseconds(s.CheckpointAfter), MinCheckpoint: s.MinCheckpoint, MaxCheckpoint: s.MaxCheckpoint,
		MaxConsumers: s.MaxConsumers, Strategy: Strategy(s.Strategy), Filter: s.Filter,
	}
	return e
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func newStoredEntry(e entry) storedEntry {
	end := int64(e.end)
	s := e.settings
	return storedEntry{
		Stream: string(e.key.Stream), Group: e.key.Group, ResolveLinks: s.ResolveLinks, ExtraStatistics: s.ExtraStatistics,
		MessageTimeout: s.MessageTimeout.Milliseconds(), StartFrom: int64(s.Start), StartPosition: e.key.format(place(s.Start)),
		LiveBuffer: s.LiveBuffer, HistoryBuffer: s.HistoryBuffer, ReadBatch: s.ReadBatch, MaxRetries: s.MaxRetries,
		CheckpointAfter: s.CheckpointAfter.Milliseconds(), MinCheckpoint: s.MinCheckpoint, MaxCheckpoint: s.MaxCheckpoint,
		MaxConsumers: s.MaxConsumers, Strategy: string(s.Strategy), Filter: s.Filter, End: &end,
	}
}

func (l *settingsLog) put(ctx context.Context, changed entry, by string) error {
	next := maps.Clone(l.all)
	next[changed.key] = changed
	return l.write(ctx, next, by)
}

func (l *settingsLog) remove(ctx context.Context, key Key, by string) error {
	next := maps.Clone(l.all)
	delete(next, key)
	return l.write(ctx, next, by)
}

// write stores all settings. What somebody else wrote to the stream in the meantime is replaced.
func (l *settingsLog) write(ctx context.Context, next map[Key]entry, by string) error {
	now := l.now()
	stored := storedConfig{Version: "2", Updated: time.UnixMicro(int64(now)).UTC(), UpdatedBy: by, Entries: []storedEntry{}}
	for _, e := range (&settingsLog{all: next}).entries() {
		stored.Entries = append(stored.Entries, newStoredEntry(e))
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("write consumer groups: %w", err)
	}
	batch := []events.Envelope{note(configKind, data, nil, now)}
	appended, err := l.store.Append(ctx, configStream, actors.ExpectRevision(l.last), batch)
	var conflict *actors.Conflict
	if errors.As(err, &conflict) {
		appended, err = l.store.Append(ctx, configStream, actors.ExpectRevision(conflict.Actual), batch)
	}
	if err != nil {
		return fmt.Errorf("write consumer groups: %w", err)
	}
	l.all, l.last = next, appended.Last
	return nil
}

// note makes an event of a group's own.
func note(kind events.Kind, data json.RawMessage, metadata []byte, now events.Micros) events.Envelope {
	return events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Time: now, Data: data, Foreign: &events.Foreign{Metadata: metadata}}
}
