package groups

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
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
	config *Config
	all    map[Key]entry
	broken []brokenEntry // what could not be read of it: kept as it is
	last   events.Revision
}

// brokenEntry is a group whose settings cannot be read. It does not run, and stays until it is updated or deleted.
type brokenEntry struct {
	key Key // empty when even that cannot be read
	raw json.RawMessage
	err error
}

// storedConfig is the form of the stream's events. Its names are EventStoreDB's, but for "end" and what "filter" holds.
type storedConfig struct {
	Version   string            `json:"version"`
	Updated   time.Time         `json:"updated"`
	UpdatedBy string            `json:"updatedBy"`
	Entries   []json.RawMessage `json:"entries"`
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

// load reads the newest settings. An event that nobody can read counts as not written: the one before it does.
func (l *settingsLog) load(ctx context.Context) ([]entry, error) {
	read := settingsLog{config: l.config, all: map[Key]entry{}, last: events.NoRevision}
	for from := events.Revision(math.MaxInt64); ; {
		page, err := l.config.Store.Read(ctx, configStream, from, storage.Backward, storage.Limit{Events: 16})
		if errors.Is(err, storage.ErrDeleted) {
			l.config.Log.ErrorContext(ctx, "there are no consumer groups, and none can be made: the stream of their settings was deleted for good",
				slog.String("stream", string(configStream)))
			page, err = storage.Page{Last: events.NoRevision, End: true}, nil
		}
		if err != nil {
			return nil, err
		}
		read.last = max(read.last, page.Last)
		if from = read.newest(ctx, page.Events); from < 0 || page.End {
			*l = read
			return l.entries(), nil
		}
	}
}

// newest reads the first of some events that can be read, and returns where to look on when none can.
func (l *settingsLog) newest(ctx context.Context, written []events.Envelope) events.Revision {
	from := events.NoRevision
	for i := range written {
		e := &written[i]
		err := l.parse(e.Data, isOld(e))
		if err == nil {
			l.complain(ctx, e)
			return events.NoRevision
		}
		l.config.Log.ErrorContext(ctx, "the settings of consumer groups cannot be read: those before them count",
			slog.String("event", string(e.Ref())), slog.String("error", err.Error()))
		from = e.Revision - 1
	}
	return from
}

// complain says which groups do not run, because their settings cannot be read.
func (l *settingsLog) complain(ctx context.Context, e *events.Envelope) {
	for i := range l.broken {
		b := &l.broken[i]
		l.config.Log.ErrorContext(ctx, "a consumer group does not run: its settings cannot be read; update or delete it",
			slog.String("group", b.key.String()), slog.String("event", string(e.Ref())), slog.String("error", b.err.Error()))
	}
}

func (l *settingsLog) entries() []entry {
	return slices.SortedFunc(maps.Values(l.all), func(a, b entry) int { return cmp.Compare(a.key.String(), b.key.String()) })
}

// brokenOf returns what is kept of a group that cannot be read; nil when there is no such group.
func brokenOf(broken []brokenEntry, key Key) *brokenEntry {
	i := slices.IndexFunc(broken, func(b brokenEntry) bool { return b.key == key && key.Group != "" })
	if i < 0 {
		return nil
	}
	return &broken[i]
}

// filterOf returns the filter of a group that exists: no update gives it another.
func (l *settingsLog) filterOf(key Key) (*Filter, error) {
	if e, there := l.all[key]; there {
		return e.settings.Filter, nil
	}
	b := brokenOf(l.broken, key)
	if b == nil {
		return nil, &RefusalError{Kind: Missing, Key: key}
	}
	var stored struct {
		Filter *Filter `json:"filter"`
	}
	err := json.Unmarshal(b.raw, &stored)
	if err == nil {
		_, err = readyFilter(stored.Filter)
	}
	if err != nil {
		return nil, &RefusalError{Kind: Failed, Key: key, Cause: fmt.Errorf("its filter cannot be read, delete it and make it anew: %w", err)}
	}
	return stored.Filter, nil
}

// parse reads all settings, be they of this build or of older ones.
func (l *settingsLog) parse(data []byte, old bool) error {
	var stored storedConfig
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	l.all, l.broken = map[Key]entry{}, nil
	for _, raw := range stored.Entries {
		read, err := l.parseEntry(raw, old)
		if err == nil {
			l.all[read.key] = read
			continue
		}
		l.broken = append(l.broken, brokenEntry{key: read.key, raw: raw, err: err})
	}
	return nil
}

// parseEntry reads a group. When it cannot, it may still know which one it is.
func (l *settingsLog) parseEntry(raw json.RawMessage, old bool) (entry, error) {
	var stored storedEntry
	if err := json.Unmarshal(raw, &stored); err != nil {
		return entry{key: keyIn(raw)}, err
	}
	spread := int64(1)
	if old {
		spread = l.config.Spread
		if stored.Filter != nil {
			stored.Filter.RE2 = true
		}
	}
	read, err := stored.read(spread)
	if err == nil {
		err = read.settings.validate(read.key)
	}
	return read, err
}

func keyIn(raw json.RawMessage) Key {
	var named struct{ Stream, Group json.RawMessage }
	var stream, group string
	if json.Unmarshal(raw, &named) != nil || json.Unmarshal(named.Stream, &stream) != nil || json.Unmarshal(named.Group, &group) != nil {
		return Key{}
	}
	return Key{Stream: events.Stream(stream), Group: group}
}

func (s *storedEntry) read(spread int64) (entry, error) {
	e := entry{key: Key{Stream: events.Stream(s.Stream), Group: s.Group}, end: nowhere}
	e.settings = Settings{
		Start: Start{At: s.StartFrom}, ResolveLinks: s.ResolveLinks, ExtraStatistics: s.ExtraStatistics, MessageTimeout: milliseconds(s.MessageTimeout),
		MaxRetries: s.MaxRetries, LiveBuffer: s.LiveBuffer, HistoryBuffer: s.HistoryBuffer, ReadBatch: s.ReadBatch,
		CheckpointAfter: milliseconds(s.CheckpointAfter), MinCheckpoint: s.MinCheckpoint, MaxCheckpoint: s.MaxCheckpoint,
		MaxConsumers: s.MaxConsumers, Strategy: Strategy(s.Strategy), Filter: s.Filter,
	}
	if err := storage.CheckStream(e.key.parkedStream()); err != nil {
		return e, err
	}
	if e.key.Stream != All {
		spread = 1
	} else if start, ok := parseStart(s.StartPosition); ok {
		e.settings.Start = start
	}
	commit, fits := place(e.settings.Start.At).scaled(spread)
	prepare, _ := place(e.settings.Start.Prepare).scaled(spread) // not greater
	if s.End != nil {
		e.end = max(place(*s.End), nowhere)
	}
	end, endFits := e.end.scaled(spread)
	if !fits || !endFits {
		return e, fmt.Errorf("there is no position %d or %d", e.settings.Start.At, e.end)
	}
	e.settings.Start, e.end = Start{At: int64(commit), Prepare: int64(prepare)}, end
	if e.settings.Start.At == FromEnd.At {
		e.settings.Start = FromEnd
	}
	return e, nil
}

func milliseconds(n int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(max(min(n, most), -most)) * time.Millisecond
}

func newStoredEntry(e entry) storedEntry {
	end := int64(e.end)
	s := e.settings
	return storedEntry{
		Stream: string(e.key.Stream), Group: e.key.Group, ResolveLinks: s.ResolveLinks, ExtraStatistics: s.ExtraStatistics,
		MessageTimeout: s.MessageTimeout.Milliseconds(), StartFrom: s.Start.At, StartPosition: e.key.formatStart(s.Start),
		LiveBuffer: s.LiveBuffer, HistoryBuffer: s.HistoryBuffer, ReadBatch: s.ReadBatch, MaxRetries: s.MaxRetries,
		CheckpointAfter: s.CheckpointAfter.Milliseconds(), MinCheckpoint: s.MinCheckpoint, MaxCheckpoint: s.MaxCheckpoint,
		MaxConsumers: s.MaxConsumers, Strategy: string(s.Strategy), Filter: s.Filter, End: &end,
	}
}

func (l *settingsLog) put(ctx context.Context, changed entry, by string) error {
	next := maps.Clone(l.all)
	next[changed.key] = changed
	return l.write(ctx, next, l.without(changed.key), by)
}

func (l *settingsLog) remove(ctx context.Context, key Key, by string) error {
	next := maps.Clone(l.all)
	delete(next, key)
	return l.write(ctx, next, l.without(key), by)
}

// without is what is kept of groups that cannot be read, except of one.
func (l *settingsLog) without(key Key) []brokenEntry {
	return slices.DeleteFunc(slices.Clone(l.broken), func(b brokenEntry) bool { return b.key == key && key.Group != "" })
}

// write stores all settings. What somebody else wrote to the stream in the meantime is replaced.
func (l *settingsLog) write(ctx context.Context, next map[Key]entry, broken []brokenEntry, by string) error {
	now := l.config.Now()
	stored := storedConfig{Version: "2", Updated: time.UnixMicro(int64(now)).UTC(), UpdatedBy: by, Entries: []json.RawMessage{}}
	for _, e := range (&settingsLog{all: next}).entries() {
		raw, err := json.Marshal(newStoredEntry(e))
		if err != nil {
			return fmt.Errorf("write consumer groups: %w", err)
		}
		stored.Entries = append(stored.Entries, raw)
	}
	for i := range broken {
		stored.Entries = append(stored.Entries, broken[i].raw)
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("write consumer groups: %w", err)
	}
	batch := []events.Envelope{note(configKind, data, nil, now)}
	appended, err := l.config.Store.Append(ctx, configStream, storage.ExpectRevision(l.last), batch)
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		appended, err = l.config.Store.Append(ctx, configStream, storage.ExpectRevision(conflict.Actual), batch)
	}
	if err != nil {
		return fmt.Errorf("write consumer groups: %w", err)
	}
	l.all, l.broken, l.last = next, broken, appended.Last
	return nil
}

// noteVersion is the version of groups' own events from which on the positions in them are the store's, and expressions are .NET's. Positions
// in older ones are smaller, by Config.Spread, and expressions are RE2's. A copy of them in another store, made through the protocol, which
// carries no version, is read as old: there the store's positions became its directory's own.
const noteVersion = 2

func isOld(note *events.Envelope) bool { return note.Version < noteVersion }

// spread is how many times smaller than the store's the positions in a note are.
func (c *Config) spread(note *events.Envelope) int64 {
	if isOld(note) {
		return c.Spread
	}
	return 1
}

// note makes an event of a group's own.
func note(kind events.Kind, data json.RawMessage, metadata []byte, now events.Micros) events.Envelope {
	return events.Envelope{ID: uuid.New(), Kind: kind, Version: noteVersion, Time: now, Data: data, Foreign: &events.Foreign{Metadata: metadata}}
}
