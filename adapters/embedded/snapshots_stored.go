package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/blake3"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// A snapshot is stored in pieces, so that no value is large, and a head that is written after them: without its head it is not there.
//
//	0x00                                                   → the format of all the rest
//	0x01 stream 0x00 fold 0x00 revision(8)                 → blake3(32, over the key, what follows it and the state) digest(32)
//	                                                         events(8, little-endian) bytes of the state(8, little-endian)
//	0x02 stream 0x00 fold 0x00 revision(8) piece number(4) → a piece of the state
//
// Revisions in keys are big-endian with the sign bit turned, so that keys stand in the order of revisions.
const (
	snapshotFormat = "2"
	formatKey      = "\x00"
	headKeys       = 1
	pieceKeys      = 2

	snapshotHead  = 32 + 32 + 8 + 8
	snapshotPiece = 512 << 10
)

var errFormat = errors.New("the snapshots are of another format")

// checkFormat marks an empty database, and refuses one with another mark or none.
func (s *snapshots) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	switch {
	case err == nil:
		defer closer.Close()
		if string(value) != snapshotFormat {
			return fmt.Errorf("%w: %q", errFormat, value)
		}
		return nil
	case storage.OutOfFiles(err):
		return fmt.Errorf("read the format of the snapshots: %w", err)
	case !errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%w: read the format of the snapshots: %w", storage.ErrCorrupt, err)
	}
	all, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("%w: read the snapshots: %w", storage.ErrCorrupt, err)
	}
	some := all.First()
	if err := all.Close(); err != nil || some {
		return errors.Join(errFormat, err)
	}
	return s.db.Set([]byte(formatKey), []byte(snapshotFormat), pebble.NoSync)
}

// snapshotPlace is where the keys of a fold of a stream begin, without their first byte.
func snapshotPlace(fold string, stream events.Stream) []byte {
	place := make([]byte, 0, len(stream)+len(fold)+2)
	place = append(place, stream...)
	place = append(place, 0)
	place = append(place, fold...)
	return append(place, 0)
}

func snapshotKey(keys byte, place []byte, revision events.Revision) []byte {
	key := make([]byte, 0, 1+len(place)+8+4)
	key = append(key, keys)
	key = append(key, place...)
	return binary.BigEndian.AppendUint64(key, uint64(revision)^1<<63)
}

func keyRevision(key []byte) events.Revision {
	return events.Revision(binary.BigEndian.Uint64(key[len(key)-8:]) ^ 1<<63)
}

// beyond is the first key after all that begin with a prefix, which does not end with 0xff.
func beyond(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	end[len(end)-1]++
	return end
}

// heading is the stored form of a snapshot without its state.
type heading struct {
	sum    [32]byte
	digest events.Digest
	events int64
	bytes  int64
}

func (h *heading) append(dst []byte) []byte {
	dst = append(dst, h.sum[:]...)
	return h.appendRest(dst)
}

func (h *heading) appendRest(dst []byte) []byte {
	dst = append(dst, h.digest[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.events))
	return binary.LittleEndian.AppendUint64(dst, uint64(h.bytes))
}

// parseHeading reads a heading; whole is false when it cannot be one. Whether it is what was stored, its state shows.
func parseHeading(value []byte) (h heading, whole bool) {
	if len(value) != snapshotHead {
		return h, false
	}
	copy(h.sum[:], value)
	copy(h.digest[:], value[32:])
	h.events = int64(binary.LittleEndian.Uint64(value[64:]))
	h.bytes = int64(binary.LittleEndian.Uint64(value[72:]))
	return h, h.events >= 0 && h.bytes >= 0
}

// seal is the checksum of a snapshot that is stored under a key.
func (h *heading) seal(key, state []byte) [32]byte {
	hash := blake3.New()
	for _, part := range [][]byte{key, h.appendRest(nil), state} {
		_, _ = hash.Write(part) // a hash takes everything and never fails
	}
	return [32]byte(hash.Sum(nil))
}

// readSnapshot returns the snapshot whose head is at a key, or false when it is not as it was stored.
func readSnapshot(view pebble.Reader, key, value []byte) (storage.Snapshot, bool) {
	h, whole := parseHeading(value)
	if !whole {
		return storage.Snapshot{}, false
	}
	piece := bytes.Clone(key)
	piece[0] = pieceKeys
	pieces, err := view.NewIter(&pebble.IterOptions{LowerBound: piece, UpperBound: binary.BigEndian.AppendUint32(bytes.Clone(piece), 1<<32-1)})
	if err != nil {
		return storage.Snapshot{}, false
	}
	var state []byte
	for more := pieces.First(); more && int64(len(state)) < h.bytes; more = pieces.Next() {
		if state == nil {
			state = make([]byte, 0, min(h.bytes, 64<<20)) // a damaged head may claim anything
		}
		state = append(state, pieces.Value()...)
	}
	if pieces.Close() != nil || int64(len(state)) != h.bytes || h.seal(key, state) != h.sum {
		return storage.Snapshot{}, false
	}
	return storage.Snapshot{Revision: keyRevision(key), Digest: h.digest, Events: h.events, State: state}, true
}

// writeSnapshot writes pieces, and then the head.
func writeSnapshot(db pebble.Writer, place []byte, snapshot *storage.Snapshot) error {
	key, piece := snapshotKey(headKeys, place, snapshot.Revision), snapshotKey(pieceKeys, place, snapshot.Revision)
	number := uint32(0)
	for rest := snapshot.State; len(rest) > 0; number++ {
		part := rest[:min(len(rest), snapshotPiece)]
		if err := db.Set(binary.BigEndian.AppendUint32(bytes.Clone(piece), number), part, pebble.NoSync); err != nil {
			return err
		}
		rest = rest[len(part):]
	}
	h := heading{digest: snapshot.Digest, events: snapshot.Events, bytes: int64(len(snapshot.State))}
	h.sum = h.seal(key, snapshot.State)
	return db.Set(key, h.append(make([]byte, 0, snapshotHead)), pebble.NoSync)
}
