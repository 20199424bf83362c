package embedded

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"example.com/life/events"
)

// The keyspaces of the journal, by first byte.
const (
	recordPrefix = 'a'
	indexPrefix  = 's'
	gapsPrefix   = 'g'
)

// The versions at the head of a record; a newer one is refused, never guessed at. A record has the lowest that can hold it.
const (
	plainFormat = 1 // of every event that is Life's own, where no position before it was left out
	wideFormat  = 2 // of everything else
)

// The bits of a wide record's second part: what it has that a plain one has not.
const (
	hasGap   = 1 << iota // positions before it were left out
	hasForms             // some event is foreign: every head begins with a byte that says how
	hasHosts             // some event names the host that decided it: every head ends with it

	allFeatures = hasGap | hasForms | hasHosts
)

const (
	recordKeySize = 1 + 8
	checksumStart = 1                 // after the format
	checksumEnd   = checksumStart + 4 // what follows is what the checksum covers, with the key
)

// The bits of an event's first byte: which fields differ from the event before. Before the first event all are empty, the
// version is 1 and the time 0.
const (
	newKind = 1 << iota
	newVersion
	newTime
	newActor
	newCommand
	newCorrelation
	newCausation
	newTraceparent
)

// The forms of a stored text, in the low two bits of its length.
const (
	plainText   = iota // length bytes follow
	uuidText           // 16 bytes follow: a UUID in lower case
	commandText        // nothing follows: it equals the event's command; a host equals that of the event before
	shortText          // causation: a varint follows, the revision in this same stream; traceparent: 25 bytes follow
)

const traceparentSize = 16 + 8 + 1

// recordKey is the key of the record whose first event has this position.
func recordKey(dst []byte, position events.Position) []byte {
	return binary.BigEndian.AppendUint64(append(dst, recordPrefix), uint64(position))
}

// streamPrefix begins the index keys of one stream. Names have no NUL, so no stream's prefix begins another's.
func streamPrefix(dst []byte, stream events.Stream) []byte {
	dst = append(dst, indexPrefix)
	dst = append(dst, stream...)
	return append(dst, 0)
}

// indexKey is the key of the index entry of the batch whose first event has this revision.
func indexKey(dst []byte, stream events.Stream, first events.Revision) []byte {
	return binary.BigEndian.AppendUint64(streamPrefix(dst, stream), uint64(first))
}

// appendIndexValue writes where the batch is and how many events it has.
func appendIndexValue(dst []byte, position events.Position, count int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(position)), uint64(count))
}

// appendBody writes all of a record that does not depend on where it will stand. See the package comment for the format.
func appendBody(dst []byte, stream events.Stream, batch []events.Envelope) []byte {
	size := 0
	for i := range batch {
		size += len(batch[i].Data)
	}
	dst = appendCounts(dst, stream, len(batch), size)
	previous, hosts := &events.Envelope{Version: 1}, anyHost(batch)
	for i := range batch {
		dst = appendHead(dst, stream, &batch[i], previous)
		if hosts {
			dst = appendHost(dst, batch[i].Host, previous.Host)
		}
		dst = binary.AppendUvarint(dst, uint64(len(batch[i].Data)))
		previous = &batch[i]
	}
	for i := range batch {
		dst = append(dst, batch[i].Data...)
	}
	return dst
}

func appendCounts(dst []byte, stream events.Stream, count, data int) []byte {
	dst = binary.AppendUvarint(dst, uint64(count))
	dst = binary.AppendUvarint(dst, uint64(data))
	dst = binary.AppendUvarint(dst, uint64(len(stream)))
	return append(dst, stream...)
}

// appendHead writes everything of an event of Life's own but its data and their size.
func appendHead(dst []byte, stream events.Stream, e, previous *events.Envelope) []byte {
	flags := differences(e, previous)
	dst = append(dst, flags)
	dst = append(dst, e.ID[:]...)
	dst = append(dst, e.Digest[:]...)
	if flags&newKind != 0 {
		dst = appendText(dst, string(e.Kind))
	}
	if flags&newVersion != 0 {
		dst = binary.AppendVarint(dst, int64(e.Version))
	}
	if flags&newTime != 0 {
		dst = binary.AppendVarint(dst, int64(e.Time-previous.Time)) // may wrap around, and back again
	}
	if flags&newActor != 0 {
		dst = appendText(dst, e.Actor)
	}
	if flags&newCommand != 0 {
		dst = appendText(dst, string(e.Command))
	}
	if flags&newCorrelation != 0 {
		if e.Correlation == string(e.Command) {
			dst = append(dst, commandText)
		} else {
			dst = appendText(dst, e.Correlation)
		}
	}
	if flags&newCausation != 0 {
		dst = appendCausation(dst, stream, e.Causation)
	}
	if flags&newTraceparent != 0 {
		dst = appendTraceparent(dst, e.Traceparent)
	}
	return dst
}

func anyHost(batch []events.Envelope) bool {
	for i := range batch {
		if batch[i].Host != "" {
			return true
		}
	}
	return false
}

// appendHost writes the host of an event in a record that has hosts.
func appendHost(dst []byte, host, previous events.HostID) []byte {
	if host == previous {
		return append(dst, commandText)
	}
	return appendText(dst, string(host))
}

func differences(e, previous *events.Envelope) byte {
	flags := byte(0)
	set := func(bit byte, differs bool) {
		if differs {
			flags |= bit
		}
	}
	set(newKind, e.Kind != previous.Kind)
	set(newVersion, e.Version != previous.Version)
	set(newTime, e.Time != previous.Time)
	set(newActor, e.Actor != previous.Actor)
	set(newCommand, e.Command != previous.Command)
	set(newCorrelation, e.Correlation != previous.Correlation)
	set(newCausation, e.Causation != previous.Causation)
	set(newTraceparent, e.Traceparent != previous.Traceparent)
	return flags
}

func appendText(dst []byte, text string) []byte {
	if id, ok := parseUUID(text); ok {
		return append(append(dst, uuidText), id[:]...)
	}
	form := uint64(plainText)
	return append(binary.AppendUvarint(dst, uint64(len(text))<<2|form), text...)
}

func appendCausation(dst []byte, stream events.Stream, ref events.Ref) []byte {
	if rest, ok := strings.CutPrefix(string(ref), string(stream)); ok && len(rest) > 1 && rest[0] == '@' {
		revision, err := strconv.ParseUint(rest[1:], 10, 63)
		if err == nil && rest[1:] == strconv.FormatUint(revision, 10) { // no leading zero or sign
			return binary.AppendUvarint(append(dst, shortText), revision)
		}
	}
	return appendText(dst, string(ref))
}

// appendTraceparent packs the only form in use, "00-<trace>-<span>-<flags>", and keeps any other as it is.
func appendTraceparent(dst []byte, text string) []byte {
	if len(text) == 55 && text[:3] == "00-" && text[35] == '-' && text[52] == '-' {
		var packed [traceparentSize]byte
		if parseHex(packed[:16], text[3:35]) && parseHex(packed[16:24], text[36:52]) && parseHex(packed[24:], text[53:]) {
			return append(append(dst, shortText), packed[:]...)
		}
	}
	return appendText(dst, text)
}

// parseUUID takes a UUID apart only if writing it again gives the same text.
func parseUUID(text string) (id [16]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	ok = parseHex(id[0:4], text[0:8]) && parseHex(id[4:6], text[9:13]) && parseHex(id[6:8], text[14:18]) &&
		parseHex(id[8:10], text[19:23]) && parseHex(id[10:], text[24:])
	return id, ok
}

// parseHex reads lower-case hex digits, two for each byte of dst.
func parseHex(dst []byte, text string) bool {
	for i := range dst {
		high, low := hexDigit(text[2*i]), hexDigit(text[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// place is where a record stands, and in which form.
type place struct {
	first events.Revision
	gap   uint64 // positions before it that no event has
	forms bool   // its body was written by appendForeign
	hosts bool   // its events name their hosts
}

func (p place) plain() bool { return p.gap == 0 && !p.forms && !p.hosts }

// appendHeader writes what stands between a record's checksum and its body.
func (p place) appendHeader(dst []byte) []byte {
	if !p.plain() {
		features := byte(0)
		if p.gap != 0 {
			features |= hasGap
		}
		if p.forms {
			features |= hasForms
		}
		if p.hosts {
			features |= hasHosts
		}
		dst = append(dst, features)
		if p.gap != 0 {
			dst = binary.AppendUvarint(dst, p.gap)
		}
	}
	return binary.AppendUvarint(dst, uint64(p.first))
}

// recordSize is the size of a record's value, given the size of its body.
func recordSize(p place, body int) int {
	var scratch [1 + 2*binary.MaxVarintLen64]byte
	return checksumEnd + len(p.appendHeader(scratch[:0])) + body
}

// putRecord fills value, of recordSize bytes, for the record at key.
func putRecord(value, key []byte, p place, body []byte) {
	value[0] = plainFormat
	if !p.plain() {
		value[0] = wideFormat
	}
	header := p.appendHeader(value[checksumEnd:checksumEnd])
	copy(value[checksumEnd+len(header):], body)
	binary.LittleEndian.PutUint32(value[checksumStart:], checksum(key, value))
}

// checksum is the CRC-32C of key and value, less the head that holds it. A record under the wrong key does not match either.
func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, value[checksumEnd:])
}
