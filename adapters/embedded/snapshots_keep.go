package embedded

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// load returns the newest snapshot that is whole. It reads one state of the database, so nobody drops its pieces meanwhile.
func (s *snapshots) load(fold string, stream events.Stream, until events.Revision) (storage.Snapshot, bool, error) {
	place := snapshotPlace(fold, stream)
	view := s.db.NewSnapshot()
	defer view.Close() //nolint:errcheck // it only reads
	heads, err := view.NewIter(headBounds(place))
	if err != nil {
		s.log.Warn("the snapshots cannot be read and count as not there", "fold", fold, "stream", stream, "error", err)
		return storage.Snapshot{}, false, nil
	}
	defer heads.Close() //nolint:errcheck // what it has to say, Error says
	for more := heads.SeekLT(afterKey(headKeys, place, until)); more; more = heads.Prev() {
		if snapshot, whole := readSnapshot(view, heads.Key(), heads.Value()); whole {
			return snapshot, true, nil
		}
		revision := keyRevision(heads.Key())
		err := s.erase(place, revision, revision)
		s.log.Warn("a damaged snapshot counts as not there and is dropped", "fold", fold, "stream", stream, "revision", revision, "error", err)
	}
	if err := heads.Error(); err != nil {
		s.log.Warn("damaged snapshots count as not there", "fold", fold, "stream", stream, "error", err)
	}
	return storage.Snapshot{}, false, nil
}

func headBounds(place []byte) *pebble.IterOptions {
	first := append([]byte{headKeys}, place...)
	return &pebble.IterOptions{LowerBound: first, UpperBound: beyond(first)}
}

// save keeps a snapshot, as far as storage.Retain allows.
func (s *snapshots) save(fold string, stream events.Stream, snapshot storage.Snapshot) error {
	if err := errors.Join(s.disk.refusal(), s.disk.room()); err != nil {
		return fmt.Errorf("save snapshot %s of %s: %w", fold, stream, err)
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	mark := snapshot.Mark()
	snapshot.Events = mark.Events
	place := snapshotPlace(fold, stream)
	others, err := s.around(place, snapshot.Revision)
	if err != nil {
		return fmt.Errorf("save snapshot %s of %s: %w", fold, stream, err)
	}
	keep, drop := storage.Retain(others, mark)
	if !keep {
		return nil
	}
	err = errors.Join(s.sweep(place, others, snapshot.Revision), s.eraseOutdated(fold, stream))
	if drop != events.NoRevision {
		err = errors.Join(err, s.eraseLocked(place, drop, drop))
	}
	if err = errors.Join(err, writeSnapshot(s.db, place, &snapshot)); err != nil {
		return fmt.Errorf("save snapshot %s of %s: %w", fold, stream, err)
	}
	return nil
}

// around returns what stands around a revision: the two snapshots before it, the one at it, and the one after it.
func (s *snapshots) around(place []byte, revision events.Revision) ([]storage.Mark, error) {
	heads, err := s.db.NewIter(headBounds(place))
	if err != nil {
		return nil, err
	}
	defer heads.Close() //nolint:errcheck // what it has to say, Error says
	more := heads.SeekLT(snapshotKey(headKeys, place, revision)) && heads.Prev() || heads.First()
	var marks []storage.Mark
	for ; more && len(marks) < 4; more = heads.Next() {
		h, _ := parseHeading(heads.Value()) // a damaged one goes when it is loaded
		marks = append(marks, storage.Mark{Revision: keyRevision(heads.Key()), Events: h.events, Bytes: int(h.bytes)})
	}
	return marks, heads.Error()
}

// sweep makes way for a snapshot: what stands at its revision, and pieces around it that have no head, because somebody died.
func (s *snapshots) sweep(place []byte, others []storage.Mark, revision events.Revision) error {
	if err := s.db.Delete(snapshotKey(headKeys, place, revision), pebble.NoSync); err != nil {
		return err
	}
	pieces := append([]byte{pieceKeys}, place...)
	first, end := pieces, beyond(pieces)
	for _, m := range others {
		if m.Revision < revision {
			first = snapshotKey(pieceKeys, place, m.Revision+1)
		}
		if m.Revision > revision {
			end = snapshotKey(pieceKeys, place, m.Revision)
			break
		}
	}
	found, err := s.any(first, end)
	if err != nil || !found {
		return err
	}
	return s.db.DeleteRange(first, end, pebble.NoSync)
}

func (s *snapshots) any(first, end []byte) (bool, error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return false, err
	}
	found := iter.First()
	return found, iter.Close()
}

// drop forgets the snapshots at a revision and after it.
func (s *snapshots) drop(fold string, stream events.Stream, from events.Revision) error {
	if err := s.erase(snapshotPlace(fold, stream), from, 1<<63-1); err != nil {
		return fmt.Errorf("drop snapshots %s of %s: %w", fold, stream, err)
	}
	return nil
}

func (s *snapshots) erase(place []byte, from, to events.Revision) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	return s.eraseLocked(place, from, to)
}

// eraseLocked removes the snapshots of some revisions, heads first.
func (s *snapshots) eraseLocked(place []byte, from, to events.Revision) error {
	if err := s.disk.refusal(); err != nil {
		return err
	}
	for _, keys := range []byte{headKeys, pieceKeys} {
		if err := s.db.DeleteRange(snapshotKey(keys, place, from), afterKey(keys, place, to), pebble.NoSync); err != nil {
			return err
		}
	}
	return nil
}

// afterKey is the first key after all of a revision.
func afterKey(keys byte, place []byte, revision events.Revision) []byte {
	return append(snapshotKey(keys, place, revision), 0xff, 0xff, 0xff, 0xff, 0xff)
}

// eraseOutdated removes what older builds saved of a stream under older versions of a fold.
func (s *snapshots) eraseOutdated(saved string, stream events.Stream) error {
	folds := append(append([]byte{headKeys}, stream...), 0)
	heads, err := s.db.NewIter(&pebble.IterOptions{LowerBound: folds, UpperBound: beyond(folds)})
	if err != nil {
		return err
	}
	defer heads.Close() //nolint:errcheck // what it has to say, Error says
	for more := heads.First(); more; {
		fold, _, _ := bytes.Cut(heads.Key()[len(folds):], []byte{0})
		place := snapshotPlace(string(fold), stream)
		if storage.Outdated(string(fold), saved) {
			if err := s.eraseLocked(place, -1<<63, 1<<63-1); err != nil {
				return err
			}
		}
		more = heads.SeekGE(headBounds(place).UpperBound)
	}
	return heads.Error()
}
