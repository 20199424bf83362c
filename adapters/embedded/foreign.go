package embedded

import (
	"encoding/base64"
	"encoding/binary"

	"example.com/life/events"
)

// The bits of the byte before every head of a record that holds foreign events.
const (
	isForeign   = 1 << iota
	hasMetadata // their size follows the head; they stand before the data
	hasContent  // the content type follows the head
	isBase64    // the data are a JSON string with the base64 of what was written
	isRaw       // what was written is stored instead

	allForms = isForeign | hasMetadata | hasContent | isBase64 | isRaw
)

func anyForeign(batch []events.Envelope) bool {
	for i := range batch {
		if batch[i].Foreign != nil {
			return true
		}
	}
	return false
}

// appendForeign is appendBody for a batch with foreign events in it.
func appendForeign(dst []byte, stream events.Stream, batch []events.Envelope) []byte {
	var heads, data []byte
	previous, hosts := &events.Envelope{Version: 1}, anyHost(batch)
	for i := range batch {
		e := &batch[i]
		form, stored := formOf(e)
		heads = appendHead(append(heads, form), stream, e, previous)
		if hosts {
			heads = appendHost(heads, e.Host, previous.Host)
		}
		if form&hasMetadata != 0 {
			heads = binary.AppendUvarint(heads, uint64(len(e.Foreign.Metadata)))
			data = append(data, e.Foreign.Metadata...)
		}
		if form&hasContent != 0 {
			heads = appendText(heads, e.Foreign.ContentType)
		}
		heads = binary.AppendUvarint(heads, uint64(len(stored)))
		data = append(data, stored...)
		previous = e
	}
	dst = appendCounts(dst, stream, len(batch), len(data))
	return append(append(dst, heads...), data...)
}

// formOf says how an event is foreign, and what of its data is to be stored.
func formOf(e *events.Envelope) (form byte, stored []byte) {
	f := e.Foreign
	if f == nil {
		return 0, e.Data
	}
	form, stored = isForeign, e.Data
	if f.Metadata != nil {
		form |= hasMetadata
	}
	if f.ContentType != "" {
		form |= hasContent
	}
	if f.Base64 {
		form |= isBase64
		if raw, ok := rawData(e.Data); ok {
			return form | isRaw, raw
		}
	}
	return form, stored
}

// rawData takes base64 out of its JSON string, if quoteRaw makes the same of it again.
func rawData(data []byte) (raw []byte, ok bool) {
	if len(data) < 2 || data[0] != '"' || data[len(data)-1] != '"' {
		return nil, false
	}
	text := data[1 : len(data)-1]
	raw = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(raw, text)
	return raw[:n], err == nil && base64.StdEncoding.EncodedLen(n) == len(text)
}

func quoteRaw(raw []byte) []byte {
	text := make([]byte, base64.StdEncoding.EncodedLen(len(raw))+2)
	text[0], text[len(text)-1] = '"', '"'
	base64.StdEncoding.Encode(text[1:len(text)-1], raw)
	return text
}

// foreign reads what follows the head of an event in a record with forms, and returns the size of its metadata.
func (c *cursor) foreign(e *events.Envelope, form byte) (metadata uint64) {
	e.Foreign = nil
	if form == 0 {
		return 0
	}
	if c.bad = c.bad || form&^byte(allForms) != 0 || form&isForeign == 0 || form&isRaw != 0 && form&isBase64 == 0; c.bad {
		return 0
	}
	e.Foreign = &events.Foreign{Base64: form&isBase64 != 0}
	if form&hasMetadata != 0 {
		metadata = c.uvarint()
	}
	if form&hasContent != 0 {
		e.Foreign.ContentType = c.string()
	}
	return metadata
}

// octets is the content type of data that are no JSON.
const octets = "application/octet-stream"

// dataSize is what an event counts towards the bytes of a page or a record.
func dataSize(e *events.Envelope) int {
	if e.Foreign == nil {
		return len(e.Data)
	}
	return len(e.Data) + len(e.Foreign.Metadata)
}
