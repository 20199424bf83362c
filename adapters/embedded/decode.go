package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/google/uuid"

	"example.com/life/events"
)

// leastHead is the size of the smallest event head: flags, id, digest, length of the data. It bounds how many events a record
// of a given size can claim to have.
const leastHead = 1 + 16 + 32 + 1

// record is a stored batch before its events are taken out. Its bytes belong to the store's iterator.
type record struct {
	position events.Position // of its first event
	first    events.Revision
	count    int
	stream   []byte
	heads    []byte
	data     []byte
	before   events.Position // of the last event of the record before this one; 0 when this is the first
	forms    bool            // some event is foreign
	hosts    bool            // some event names its host
}

var errRecord = errors.New("the record is malformed")

// last is the position of the record's last event.
func (r *record) last() events.Position { return r.position + events.Position(r.count) - 1 }

// parseRecord checks a record's format and checksum and finds its parts. Nothing is copied.
func parseRecord(key, value []byte) (record, error) {
	if len(key) != recordKeySize || key[0] != recordPrefix {
		return record{}, fmt.Errorf("%w: its key has %d bytes", errRecord, len(key))
	}
	if len(value) < checksumEnd {
		return record{}, fmt.Errorf("%w: it has %d bytes", errRecord, len(value))
	}
	if stored, sum := binary.LittleEndian.Uint32(value[checksumStart:]), checksum(key, value); stored != sum {
		return record{}, fmt.Errorf("%w: its checksum is %08x, its bytes give %08x", errRecord, stored, sum)
	}
	position, rest := events.Position(binary.BigEndian.Uint64(key[1:])), value[checksumEnd:]
	switch value[0] {
	case plainFormat:
		return parseParts(record{position: position, before: position - 1}, rest)
	case wideFormat:
		return parseWide(position, rest)
	}
	return record{}, fmt.Errorf("%w: it has format %d, this build reads up to %d", errRecord, value[0], wideFormat)
}

// parseWide reads what a wide record has before what every record has.
func parseWide(position events.Position, rest []byte) (record, error) {
	if len(rest) == 0 || rest[0]&^byte(allFeatures) != 0 {
		return record{}, fmt.Errorf("%w: it has features that this build does not know", errRecord)
	}
	features, rest := rest[0], rest[1:]
	before := position - 1
	if features&hasGap != 0 {
		gap, n := binary.Uvarint(rest)
		if n <= 0 || gap > uint64(before) {
			return record{}, fmt.Errorf("%w: no %d positions are before it", errRecord, gap)
		}
		before, rest = before-events.Position(gap), rest[n:]
	}
	return parseParts(record{position: position, before: before, forms: features&hasForms != 0, hosts: features&hasHosts != 0}, rest)
}

// parseParts reads what every record has into one whose place is known.
func parseParts(rec record, rest []byte) (record, error) {
	var numbers [4]uint64 // first revision, events, bytes of data, bytes of the stream's name
	for i := range numbers {
		var n int
		if numbers[i], n = binary.Uvarint(rest); n <= 0 {
			return record{}, fmt.Errorf("%w: it ends in its head", errRecord)
		}
		rest = rest[n:]
	}
	first, count, data, stream := numbers[0], numbers[1], numbers[2], numbers[3]
	size := uint64(len(rest))
	if data > size || stream > size-data || count == 0 || count > (size-data-stream)/leastHead || first > math.MaxInt64-(count-1) {
		return record{}, fmt.Errorf("%w: %d events from revision %d, with %d bytes of data and a name of %d bytes, are not in %d bytes",
			errRecord, count, first, data, stream, size)
	}
	rec.first, rec.count = events.Revision(first), int(count)
	rec.stream, rec.heads, rec.data = rest[:stream], rest[stream:size-data], rest[size-data:]
	return rec, nil
}

// each hands over the record's events in order, until use returns false. The strings and the data of all of them share two
// allocations, which no later use of the store touches.
func (r *record) each(stream events.Stream, use func(e *events.Envelope) bool) error {
	return r.into(&events.Envelope{}, stream, use)
}

// into is each for one who reads many records: the envelope that is handed over is theirs.
func (r *record) into(e *events.Envelope, stream events.Stream, use func(e *events.Envelope) bool) error {
	c := cursor{text: string(r.heads)}
	data := make([]byte, len(r.data))
	copy(data, r.data)
	*e = events.Envelope{Stream: stream, Version: 1}
	for i := range r.count {
		if data = r.event(&c, e, data); c.bad {
			return fmt.Errorf("%w: event %d of %d", errRecord, i+1, r.count)
		}
		e.Revision = r.first + events.Revision(i)
		e.Position = r.position + events.Position(i)
		if !use(e) {
			return nil
		}
	}
	if c.text != "" || len(data) != 0 {
		return fmt.Errorf("%w: %d bytes are left over", errRecord, len(c.text)+len(data))
	}
	return nil
}

// event reads the next event over the one before it, and returns the data behind it.
func (r *record) event(c *cursor, e *events.Envelope, data []byte) (rest []byte) {
	form, metadata := byte(0), uint64(0)
	if r.forms {
		if form = c.byte(); c.bad {
			return nil
		}
	}
	c.head(e)
	if r.hosts {
		e.Host = events.HostID(c.form(func() string { return string(e.Host) }, nil))
	}
	if r.forms {
		metadata = c.foreign(e, form)
	}
	size, left := c.uvarint(), uint64(len(data))
	if c.bad = c.bad || metadata > left || size > left-metadata; c.bad {
		return nil
	}
	if form&hasMetadata != 0 {
		e.Foreign.Metadata, data = data[:metadata:metadata], data[metadata:]
	}
	if e.Data = data[:size:size]; form&isRaw != 0 {
		e.Data = quoteRaw(e.Data)
	}
	return data[size:]
}

// cursor reads heads from the front of text; bad says that some were cut short.
type cursor struct {
	text string
	bad  bool
}

// head reads the next event's head over the one before it.
func (c *cursor) head(e *events.Envelope) {
	fixed := c.take(1 + len(e.ID) + len(e.Digest))
	if c.bad {
		return
	}
	flags := fixed[0]
	copy(e.ID[:], fixed[1:])
	copy(e.Digest[:], fixed[1+len(e.ID):])
	if flags&newKind != 0 {
		e.Kind = events.Kind(c.string())
	}
	if flags&newVersion != 0 {
		e.Version = int(c.varint())
	}
	if flags&newTime != 0 {
		e.Time += events.Micros(c.varint())
	}
	if flags&newActor != 0 {
		e.Actor = c.string()
	}
	if flags&newCommand != 0 {
		e.Command = events.CommandID(c.string())
	}
	if flags&newCorrelation != 0 {
		e.Correlation = c.form(func() string { return string(e.Command) }, nil)
	}
	if flags&newCausation != 0 {
		e.Causation = events.Ref(c.form(nil, func() string {
			var digits [20]byte
			return string(e.Stream) + "@" + string(strconv.AppendUint(digits[:0], c.uvarint(), 10))
		}))
	}
	if flags&newTraceparent != 0 {
		e.Traceparent = c.form(nil, c.traceparent)
	}
}

func (c *cursor) byte() byte {
	if first := c.take(1); !c.bad {
		return first[0]
	}
	return 0
}

func (c *cursor) traceparent() string {
	packed := c.take(traceparentSize)
	if c.bad {
		return ""
	}
	text := [55]byte{0: '0', 1: '0', 2: '-', 35: '-', 52: '-'}
	putHex(text[3:], packed[:16])
	putHex(text[36:], packed[16:24])
	putHex(text[53:], packed[24:])
	return string(text[:])
}

func putHex(dst []byte, packed string) {
	const digits = "0123456789abcdef"
	for i := range len(packed) {
		dst[2*i], dst[2*i+1] = digits[packed[i]>>4], digits[packed[i]&15]
	}
}

func (c *cursor) string() string { return c.form(nil, nil) }

// form reads a text in any of its forms; command and short read theirs, where the field has them.
func (c *cursor) form(command, short func() string) string {
	n := c.uvarint()
	switch n & 3 {
	case uuidText:
		if packed := c.take(16); !c.bad {
			return uuid.UUID([]byte(packed)).String()
		}
		return ""
	case commandText:
		if command != nil {
			return command()
		}
	case shortText:
		if short != nil {
			return short()
		}
	default:
		if n >>= 2; n <= uint64(len(c.text)) {
			return c.take(int(n))
		}
	}
	c.bad = true
	return ""
}

func (c *cursor) take(n int) string {
	if n > len(c.text) {
		c.bad = true
		c.text = ""
		return ""
	}
	taken := c.text[:n]
	c.text = c.text[n:]
	return taken
}

func (c *cursor) uvarint() uint64 {
	value, shift := uint64(0), uint(0)
	for i := range min(len(c.text), binary.MaxVarintLen64) {
		b := c.text[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			c.text = c.text[i+1:]
			return value | uint64(b)<<shift
		}
		value |= uint64(b&0x7f) << shift
		shift += 7
	}
	c.bad = true
	c.text = ""
	return 0
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// parseIndex reads an index entry of a stream; prefix is the length of streamPrefix.
func parseIndex(prefix int, key, value []byte) (entry, error) {
	position, n := binary.Uvarint(value)
	count, m := binary.Uvarint(value[max(n, 0):])
	if len(key) != prefix+8 || n <= 0 || m <= 0 || n+m != len(value) || count == 0 || count > math.MaxInt32 {
		return entry{}, fmt.Errorf("the index entry %q is malformed", key)
	}
	revision := binary.BigEndian.Uint64(key[prefix:])
	if revision > math.MaxInt64 {
		return entry{}, fmt.Errorf("the index entry %q is malformed", key)
	}
	return entry{first: events.Revision(revision), position: events.Position(position), count: int(count)}, nil
}

// entry says where a batch of a stream is.
type entry struct {
	first    events.Revision
	position events.Position
	count    int
}

// last is the revision of the batch's last event.
func (e entry) last() events.Revision { return e.first + events.Revision(e.count) - 1 }

// end is the position of the batch's last event.
func (e entry) end() events.Position { return e.position + events.Position(e.count) - 1 }
