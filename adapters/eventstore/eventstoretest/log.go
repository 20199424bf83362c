package eventstoretest

import (
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	noRevision       = int64(-1)
	tombstone        = int64(1<<63 - 1) // the revision of a stream's last event
	tombstoneType    = "$streamDeleted"
	widest, smallest = 2000, 40 // bytes between the beginnings of two records
)

// record is something stored. Records follow on one another without a gap: each begins where the one before ends.
type record struct {
	begin, end uint64 // places in the log
	hidden     bool   // the server's own: nobody is shown it, but it begins somewhere

	id                        uuid.UUID
	stream, kind, contentType string
	revision                  int64
	created                   time.Time
	metadata, data            []byte
}

// log is what a majority has stored. Records do not change, so that a part of it can be read without the cluster's lock.
type log struct {
	random  *rand.Rand
	records []*record
	streams map[string][]*record // by revision; the last may be a tombstone
}

// begin writes the record at 0 that no event can have.
func (l *log) begin(random *rand.Rand) {
	l.random, l.streams = random, map[string][]*record{}
	l.add(&record{hidden: true})
}

// add writes one record, at the next place.
func (l *log) add(r *record) {
	if n := len(l.records); n > 0 {
		r.begin = l.records[n-1].end
	}
	r.end = r.begin + smallest + l.random.Uint64N(widest-smallest)
	r.created = time.Now()
	l.records = append(l.records, r)
	if r.hidden {
		return
	}
	if r.kind == tombstoneType {
		r.revision = tombstone
	} else {
		r.revision = int64(len(l.streams[r.stream]))
	}
	l.streams[r.stream] = append(l.streams[r.stream], r)
}

// inAll reports whether a reader of everything is shown a record.
func (r *record) inAll() bool {
	return !r.hidden && !strings.HasPrefix(r.stream, "$persistentsubscription-$all::")
}

// view is what a node has of the log.
type view []*record

// index is that of the first record that begins at a place or behind it.
func (v view) index(place uint64) int {
	return sort.Search(len(v), func(i int) bool { return v[i].begin >= place })
}

// begins reports whether a record begins at a place.
func (v view) begins(place uint64) bool {
	i := v.index(place)
	return i < len(v) && v[i].begin == place
}

// last is where the last record begins, and end where it ends.
func (v view) last() uint64 { return v[len(v)-1].begin }
func (v view) end() uint64  { return v[len(v)-1].end }

// stream is the part of a stream that a view holds.
func (v view) stream(all []*record) []*record {
	n, _ := slices.BinarySearchFunc(all, v.end(), func(r *record, end uint64) int {
		if r.begin < end {
			return -1
		}
		return 1
	})
	return all[:n]
}

// ended reports a stream that was tombstoned.
func ended(stream []*record) bool {
	return len(stream) > 0 && stream[len(stream)-1].revision == tombstone
}
