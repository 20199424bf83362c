package embedded

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"example.com/life/events"
)

// FuzzParseRecord hands the decoder bytes under a matching checksum: whatever they are, it neither panics nor believes counts
// that the bytes cannot hold.
func FuzzParseRecord(f *testing.F) {
	batch := []events.Envelope{{ID: uuid.New(), Kind: "a.b", Version: 1, Data: []byte(`{}`)}, {ID: uuid.New(), Kind: "a.c", Version: 2, Time: -5}}
	foreign := []events.Envelope{{ID: uuid.New(), Kind: "a.b", Data: []byte(`"AAEC"`), Foreign: &events.Foreign{Metadata: []byte("m"), ContentType: octets, Base64: true}}, batch[0]}
	whole, other := appendBody(nil, "agent-a", batch), appendForeign(nil, "agent-a", foreign)
	batch[0].Host, foreign[0].Host = "books-1#17", "books-1#17"
	hosted, both := appendBody(nil, "agent-a", batch), appendForeign(nil, "agent-a", foreign)
	for _, format := range []byte{plainFormat, wideFormat, wideFormat + 1} {
		f.Add(format, whole)
		f.Add(format, append([]byte{0, 3}, whole...))
		f.Add(format, append([]byte{hasGap, 6, 3}, whole...))
		f.Add(format, append([]byte{hasForms, 3}, other...))
		f.Add(format, append([]byte{hasHosts, 3}, hosted...))
		f.Add(format, append([]byte{hasForms | hasHosts, 3}, both...))
		f.Add(format, append([]byte{hasForms | hasGap, 7, 3}, other[:len(other)-1]...))
		f.Add(format, binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 1<<62), 1<<62), 1<<63))
		f.Add(format, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		f.Add(format, []byte{})
	}
	f.Fuzz(func(t *testing.T, format byte, rest []byte) {
		key := recordKey(nil, 7)
		value := append([]byte{format, 0, 0, 0, 0}, rest...)
		binary.LittleEndian.PutUint32(value[checksumStart:], checksum(key, value))
		rec, err := parseRecord(key, value)
		if err != nil {
			return
		}
		if rec.before > 6 || rec.count < 1 || rec.first < 0 {
			t.Fatalf("the record is %+v", rec)
		}
		n := 0
		err = rec.each(events.Stream(rec.stream), func(*events.Envelope) bool { n++; return true })
		if n > rec.count || err == nil && n != rec.count {
			t.Fatalf("%d events of %d, %v", n, rec.count, err)
		}
		// One flipped bit, or another key, is noticed.
		value[checksumEnd+len(rest)/2] ^= 1
		if _, err := parseRecord(key, value); err == nil {
			t.Fatal("a flipped bit was not noticed")
		}
		value[checksumEnd+len(rest)/2] ^= 1
		if _, err := parseRecord(recordKey(nil, 8), value); err == nil {
			t.Fatal("a record at another's position was not noticed")
		}
	})
}

// FuzzParseRaw hands the decoders any bytes at all.
func FuzzParseRaw(f *testing.F) {
	f.Add([]byte("a\x00\x00\x00\x00\x00\x00\x00\x01"), []byte{1, 0, 0, 0, 0, 0})
	f.Add([]byte("a"), []byte{1})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if rec, err := parseRecord(key, value); err == nil {
			_ = rec.each("s", func(*events.Envelope) bool { return true })
		}
		if rec, err := parseParts(record{position: 1}, value); err == nil {
			_ = rec.each("s", func(*events.Envelope) bool { return true })
		}
		if e, err := parseIndex(max(0, len(key)-8), key, value); err == nil && (e.count < 1 || e.first < 0) {
			t.Fatalf("the index entry is %+v", e)
		}
		if h, whole := parseHeading(value); whole && !bytes.Equal(h.append(nil), value) {
			t.Fatalf("the head of a snapshot is %+v", h)
		}
	})
}

// FuzzRecord stores events and gets them back as they were.
func FuzzRecord(f *testing.F) {
	f.Add("agent-a", "a.b", "me", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "c", "agent-a@7", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", int64(5), 1, []byte(`{}`), []byte("m"), octets, true)
	f.Add("s", "", "", "", "", "s@", "", int64(-1<<63), -1, []byte(nil), []byte{}, "", false)
	f.Add("s@1", "k", "x", "c", "c", "s@1@00", "00-", int64(1<<63-1), 1<<40, []byte(`"AAE="`), []byte(`{"a":1}`), "text/plain", true)
	f.Add("s", "k", "", "", "", "", "", int64(0), 0, []byte(`"AAF="`), []byte(nil), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", true)
	f.Add("s", "k", "", "", "", "", "", int64(0), 0, []byte(`""`), []byte(nil), "", true)
	f.Add("s", "k", "", "", "", "", "", int64(0), 0, []byte("\"AA\nA=\""), []byte(nil), "", true)
	f.Fuzz(func(t *testing.T, stream, kind, actor, command, correlation, causation, traceparent string, time int64, version int, data, metadata []byte, content string, encoded bool) {
		one := events.Envelope{
			ID: uuid.New(), Stream: events.Stream(stream), Revision: 9, Position: 100, Kind: events.Kind(kind), Version: version, Time: events.Micros(time),
			Actor: actor, Command: events.CommandID(command), Correlation: correlation, Causation: events.Ref(causation),
			Traceparent: traceparent, Digest: events.Digest{1, 31: 2}, Data: data,
		}
		two := events.Envelope{Stream: one.Stream, Version: 1, Correlation: command, Causation: events.NewRef(one.Stream, 9), Data: data}
		foreign, bare := one, two
		foreign.Foreign = &events.Foreign{Metadata: metadata, ContentType: content, Base64: encoded}
		bare.Foreign = &events.Foreign{}
		hosted, other := one, foreign
		hosted.Host, other.Host = "books-1#17", events.HostID(command)
		for _, sent := range [][]events.Envelope{
			{one, two},
			{one, one},
			{two, one},
			{foreign},
			{foreign, two, foreign},
			{bare, one, foreign},
			{hosted, hosted},
			{one, hosted, one, hosted},
			{hosted, other, foreign},
			{bare, other},
		} {
			for _, gap := range []uint64{0, 1, 99} {
				back(t, one.Stream, sent, place{first: 9, gap: gap})
			}
		}
		back(t, one.Stream, []events.Envelope{foreign}, place{first: tombstoneRevision})
	})
}

func back(t *testing.T, stream events.Stream, sent []events.Envelope, where place) {
	p := piece{stream: stream, batch: sent}
	p.encode()
	where.forms, where.hosts = p.forms, p.hosts
	key := recordKey(nil, 100)
	value := make([]byte, recordSize(where, len(p.body)))
	putRecord(value, key, where, p.body)
	if format := value[0]; (format == plainFormat) != (where.gap == 0 && !anyForeign(sent) && !anyHost(sent)) {
		t.Fatalf("the format is %d", format)
	}
	rec, err := parseRecord(key, value)
	if err != nil {
		t.Fatal(err)
	}
	if rec.before != 99-events.Position(where.gap) {
		t.Fatalf("the record before ends at %d", rec.before)
	}
	i := 0
	err = rec.each(stream, func(e *events.Envelope) bool {
		want := sent[i]
		want.Revision, want.Position = where.first+events.Revision(i), 100+events.Position(i)
		if !bytes.Equal(e.Data, want.Data) {
			t.Fatalf("the data are %q, want %q", e.Data, want.Data)
		}
		if want.Data = e.Data; !reflect.DeepEqual(*e, want) {
			t.Fatalf("event %d is\n%+v, want\n%+v", i, *e, want)
		}
		i++
		return true
	})
	if err != nil || i != len(sent) {
		t.Fatalf("%d events: %v", i, err)
	}
}

// What was written in binary is stored in binary.
func TestBinaryIsStoredRaw(t *testing.T) {
	raw := bytes.Repeat([]byte{0, 1, 0xff}, 1000)
	e := events.Envelope{ID: uuid.New(), Kind: "k", Data: quoteRaw(raw), Foreign: &events.Foreign{ContentType: octets, Base64: true}}
	if size := len(appendForeign(nil, "s", []events.Envelope{e})); size > len(raw)+120 {
		t.Errorf("%d bytes take %d", len(raw), size)
	}
}

// What format 1 was, it is: these bytes were written by the first build that had it.
func TestFormatOneStaysReadable(t *testing.T) {
	e := events.Envelope{ID: uuid.UUID{15: 9}, Kind: "a.b", Version: 1, Time: 300, Actor: "me", Data: []byte(`{}`)}
	body := appendBody(nil, "s", []events.Envelope{e})
	key := recordKey(nil, 1)
	value := make([]byte, recordSize(place{}, len(body)))
	putRecord(value, key, place{}, body)
	const want = "01d38c86fc00010201730d0000000000000000000000000000000900000000000000000000000000000000000000000000000000000000000000000c612e62d804086d65027b7d"
	if got := hex.EncodeToString(value); got != want {
		t.Errorf("the record is\n%s, was\n%s", got, want)
	}
}

func TestRecordIsSmall(t *testing.T) {
	one := events.Envelope{
		ID: uuid.New(), Kind: "tool.returned", Version: 1, Time: 1_760_000_000_000_000, Actor: "life", Command: "agent-alice@417",
		Correlation: "alice/12", Causation: "agent-alice@417", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: []byte(`{}`),
	}
	batch := []events.Envelope{one, one, one}
	batch[1].Kind, batch[2].Kind = "model.requested", "turn.ended"
	overhead := (recordSize(place{first: 1000}, len(appendBody(nil, "agent-alice", batch)))+recordKeySize)/3 - 2
	if overhead > 100 {
		t.Errorf("an event of three costs %d bytes beyond its data, want at most 100", overhead)
	}
	t.Logf("%d bytes beyond the data", overhead)
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := newRecent[int, int](10)
	for i := range 1000 {
		r.put(i, -i)
		for k := max(0, i-9); k <= i; k++ {
			if value, found := r.get(k); !found || value != -k {
				t.Fatalf("after %d: %d gives %d, %t", i, k, value, found)
			}
		}
	}
	if n := len(r.young) + len(r.old); n > 20 {
		t.Errorf("%d are kept, want at most 20", n)
	}
}
