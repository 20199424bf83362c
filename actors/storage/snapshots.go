package storage

import (
	"context"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Snapshots caches folds, so that a long stream need not be read from its beginning, whatever moment of it is asked for. It is never
// part of history: losing it, or any part of it, costs time and nothing else. It has one conformance suite, actorstest.TestSnapshots.
//
// Several snapshots of a fold of a stream are kept, and [Retain] says which, so that they grow by what happened and not by how often
// somebody saves. A fold is named NAME/VERSION; of the versions before the one that is saved, only the latest stays.
type Snapshots interface {
	// Load returns the newest snapshot of a fold of a stream that is no later than until, or found false. Damaged ones are
	// dropped and count as not there.
	Load(ctx context.Context, fold string, stream events.Stream, until events.Revision) (snapshot Snapshot, found bool, err error)
	// Save keeps a snapshot beside earlier ones, in place of one of the same revision, as far as Retain allows. It need not be
	// durable: after a crash it is there as a whole or not at all. States of tens of megabytes are welcome.
	Save(ctx context.Context, fold string, stream events.Stream, snapshot Snapshot) error
	// Drop forgets the snapshots of a fold of a stream at a revision and after it: they do not fit, or nobody wants them.
	Drop(ctx context.Context, fold string, stream events.Stream, from events.Revision) error
}

// Snapshot is a fold's state after the event at Revision, whose digest in the chain is Digest. Of a fold of the whole store,
// Revision is a position.
type Snapshot struct {
	Revision events.Revision
	Digest   events.Digest
	Events   int64 // how many events the state is folded from; 0 means Revision + 1
	State    []byte
}

// Mark is what Retain needs to know of a snapshot.
func (s *Snapshot) Mark() Mark {
	m := Mark{Revision: s.Revision, Events: s.Events, Bytes: len(s.State)}
	if m.Events == 0 {
		m.Events = int64(s.Revision) + 1
	}
	return m
}

// Mark is a snapshot without its state.
type Mark struct {
	Revision events.Revision
	Events   int64
	Bytes    int
}

// How often a fold is saved.
const (
	SnapshotEvery = 1000 // events between two snapshots of a fold, at least
	snapshotSpare = 64   // bytes of a snapshot that an event may cost: large states are saved less often
)

// SnapshotSpacing is how many events must lie between a snapshot with so many bytes and the one before it.
func SnapshotSpacing(bytes int) int64 {
	return max(SnapshotEvery, int64(bytes/snapshotSpare))
}

// Retain says whether a snapshot is kept beside others of its fold and stream, and which one of them goes instead; NoRevision is
// none. The newest is always kept. Any other is kept if it stands SnapshotSpacing of its size or more after the one before it: so all
// of them together cost 64 bytes for each event at most, besides the newest.
//
// Others are in order, and need not be more than the two before the one that is added, and the one after it.
func Retain(others []Mark, added Mark) (keep bool, drop events.Revision) {
	var before, last, after *Mark
	for i := range others {
		switch m := &others[i]; {
		case m.Revision < added.Revision:
			before, last = last, m
		case m.Revision > added.Revision && after == nil:
			after = m
		}
	}
	if after != nil {
		return spaced(last, &added) && spaced(&added, after), events.NoRevision
	}
	if last != nil && !spaced(before, last) {
		return true, last.Revision
	}
	return true, events.NoRevision
}

// spaced reports whether a snapshot stands far enough from the one before it; nil is the beginning.
func spaced(before, m *Mark) bool {
	distance := m.Events
	if before != nil {
		distance -= before.Events
	}
	return distance >= SnapshotSpacing(m.Bytes)
}

// Outdated reports whether snapshots of a fold go when another fold of the same stream is saved: both have one name, and the version
// of the former is older than the one before the latter's.
func Outdated(fold, saved string) bool {
	name, version, versioned := foldVersion(fold)
	savedName, savedVersion, savedVersioned := foldVersion(saved)
	return versioned && savedVersioned && name == savedName && version < savedVersion-1
}

// foldVersion splits a fold's name.
func foldVersion(fold string) (name string, version int, versioned bool) {
	name, after, _ := strings.Cut(fold, "/")
	version, err := strconv.Atoi(after)
	return name, version, err == nil
}
