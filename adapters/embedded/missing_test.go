package embedded

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// gapped opens a store with ten events at the positions 3, 6, 9…: between any two there is a gap.
func gapped(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	batch := make([]events.Envelope, 10)
	for i := range batch {
		batch[i] = events.Envelope{
			ID: uuid.New(), Stream: events.Stream(fmt.Sprint("s-", i%2)), Revision: events.Revision(i / 2), Position: events.Position(3 * (i + 1)),
			Kind: "k", Data: []byte(`{}`),
		}
	}
	if err := s.Import(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return s
}

// A record that is gone is missed, whether or not positions around it were ever used.
func TestMissingRecordsBetweenGapsAreNamed(t *testing.T) {
	for _, gone := range []events.Position{3, 12, 27} {
		t.Run(fmt.Sprint("position ", gone), func(t *testing.T) {
			s := gapped(t)
			if err := s.db.Delete(recordKey(nil, gone), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			for _, direction := range []storage.Direction{storage.Forward, storage.Backward} {
				for at := events.Position(3); at <= 30; at += 3 {
					for _, from := range []storage.Place{storage.Start(), storage.Before(at), storage.After(at), storage.End()} {
						page, err := s.ReadAll(t.Context(), from, direction, storage.Filter{}, storage.Limit{})
						passes := direction == storage.Forward && (from == storage.Start() || from == storage.Before(at) && at <= gone || from == storage.After(at) && at < gone) ||
							direction == storage.Backward && (from == storage.End() || from == storage.Before(at) && at > gone || from == storage.After(at) && at >= gone)
						if passes && !errors.Is(err, storage.ErrCorrupt) {
							t.Errorf("direction %d from %s: %d events, %v", direction, from, len(page.Events), err)
						}
						if at == gone && from != storage.Start() && from != storage.End() && !errors.Is(err, storage.ErrCorrupt) {
							t.Errorf("direction %d from %s, whose event is gone: %d events, %v", direction, from, len(page.Events), err)
						}
					}
				}
			}
			stream := events.Stream(fmt.Sprint("s-", (gone/3-1)%2))
			if _, err := s.Read(t.Context(), stream, 0, storage.Forward, storage.Limit{}); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("read %s: %v", stream, err)
			}
			report, err := s.Check(t.Context(), nil)
			if err != nil || len(report.Damage) != 1 || report.Damage[0].Stream != stream || report.Damage[0].First != gone || report.Events != 9 {
				t.Errorf("the report is %+v, %v", report, err)
			}
			if gone == 3 { // at open only the seams between tables, and the beginning, are looked at
				if err := s.checkTables(); !errors.Is(err, storage.ErrCorrupt) {
					t.Errorf("at open: %v", err)
				}
			}
		})
	}
}

// What the store keeps beside its records is checked against them.
func TestCheckOfWhatIsCounted(t *testing.T) {
	rows := []struct {
		name string
		hurt func(s *Store) error
		want string
	}{
		{"fewer events than are counted", func(s *Store) error { s.stored++; return nil }, "the store counts 11 events"},
		{"a second beginning", func(s *Store) error {
			return s.put(piece{stream: "s-0", first: 0, position: 31}, place{})
		}, "goes on at revision 0, not at 5"},
		{"a stream that goes on after its end", func(s *Store) error {
			return errors.Join(s.put(piece{stream: "s-0", first: tombstoneRevision, position: 31}, place{first: tombstoneRevision}),
				s.put(piece{stream: "s-0", first: 5, position: 32}, place{first: 5}))
		}, "goes on although it was ended"},
		{"a gap where there is none", func(s *Store) error {
			return s.put(piece{stream: "s-0", first: 5, position: 31}, place{first: 5, gap: 7})
		}, "says that there is none since position 23"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := gapped(t)
			if err := row.hurt(s); err != nil {
				t.Fatal(err)
			}
			report, err := s.Check(t.Context(), nil)
			if err != nil || len(report.Damage) == 0 || !strings.Contains(report.Damage[0].String(), row.want) {
				t.Errorf("the report is %+v, %v; want %q", report, err, row.want)
			}
		})
	}
}

// put stores one event behind the committer's back.
func (s *Store) put(p piece, where place) error {
	p.batch = []events.Envelope{{ID: uuid.New(), Kind: "k"}}
	p.encode()
	key, value := recordKey(nil, p.position), make([]byte, recordSize(where, len(p.body)))
	putRecord(value, key, where, p.body)
	s.stored++
	s.durable.Store(uint64(p.position))
	return errors.Join(s.db.Set(key, value, pebble.Sync),
		s.db.Set(indexKey(nil, p.stream, p.first), appendIndexValue(nil, p.position, 1), pebble.Sync))
}
