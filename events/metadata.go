package events

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Foreign is what an event of another program carries that an Envelope has no field for. Life's own events have none.
type Foreign struct {
	Metadata    []byte `json:"metadata,omitempty"`     // beside the data, exactly as it was written
	ContentType string `json:"content_type,omitempty"` // empty: application/json
	Base64      bool   `json:"base64,omitempty"`       // the data are no JSON: Data is a JSON string with their base64
}

// Bytes returns the data as their writer gave them: those of another program that are no JSON are kept as base64.
func (e *Envelope) Bytes() ([]byte, error) {
	if e.Foreign == nil || !e.Foreign.Base64 {
		return e.Data, nil
	}
	if len(e.Data) < 2 {
		return nil, fmt.Errorf("the data of event %s are no base64", e.Ref())
	}
	data, err := base64.StdEncoding.AppendDecode(nil, e.Data[1:len(e.Data)-1])
	if err != nil {
		return nil, fmt.Errorf("the data of event %s: %w", e.Ref(), err)
	}
	return data, nil
}

// Metadata is the part of an envelope that stands beside the data in a store that keeps an event as id, type, data and metadata,
// such as EventStoreDB. It is one JSON object with its fields in a fixed order; "$correlationId" and "$causationId" are
// EventStoreDB's own names, by which its tools find what belongs together. Of a foreign event it is what its writer gave.
func (e *Envelope) Metadata() []byte {
	if e.Foreign != nil {
		return e.Foreign.Metadata
	}
	return e.appendMetadata(make([]byte, 0, 256))
}

func (e *Envelope) appendMetadata(dst []byte) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, int64(e.Version), 10)
	dst = append(dst, `,"time":"`...)
	dst = strconv.AppendInt(dst, int64(e.Time), 10)
	dst = append(dst, '"')
	for _, field := range [...]struct{ name, value string }{
		{"actor", e.Actor},
		{"command", string(e.Command)},
		{"$correlationId", e.Correlation},
		{"$causationId", string(e.Causation)},
		{"traceparent", e.Traceparent},
		{"host", string(e.Host)},
	} {
		if field.value != "" {
			dst = append(append(append(dst, `,"`...), field.name...), `":`...)
			dst = appendString(dst, field.value)
		}
	}
	dst = append(dst, `,"digest":"`...)
	dst = hex.AppendEncode(dst, e.Digest[:])
	return append(dst, `"}`...)
}

// SetMetadata is the way back. What Metadata wrote fills the envelope's fields; anything else is another program's, is kept as it
// is, and only its "$correlationId", "$causationId" and "traceparent" are taken into the fields if it has them.
func (e *Envelope) SetMetadata(metadata []byte) {
	if e.readMetadata(string(metadata)) && bytes.Equal(e.appendMetadata(make([]byte, 0, 256)), metadata) {
		e.Foreign = nil
		return
	}
	e.Version, e.Time, e.Actor, e.Command, e.Correlation, e.Causation, e.Traceparent, e.Host, e.Digest = 1, 0, "", "", "", "", "", "", Digest{}
	e.Foreign = &Foreign{Metadata: metadata}
	var known struct {
		Correlation string `json:"$correlationId"`
		Causation   string `json:"$causationId"`
		Traceparent string `json:"traceparent"`
	}
	if json.Unmarshal(metadata, &known) == nil {
		e.Correlation, e.Causation, e.Traceparent = known.Correlation, Ref(known.Causation), known.Traceparent
	}
}

// readMetadata reads the form that appendMetadata writes; false for any other. It may leave fields half filled.
func (e *Envelope) readMetadata(text string) bool {
	r := metadataReader{rest: text}
	r.literal(`{"version":`)
	e.Version = int(r.integer())
	r.literal(`,"time":"`)
	e.Time = Micros(r.integer())
	r.literal(`"`)
	e.Actor = r.field(`,"actor":`)
	e.Command = CommandID(r.field(`,"command":`))
	e.Correlation = r.field(`,"$correlationId":`)
	e.Causation = Ref(r.field(`,"$causationId":`))
	e.Traceparent = r.field(`,"traceparent":`)
	e.Host = HostID(r.field(`,"host":`))
	r.literal(`,"digest":"`)
	if r.bad || len(r.rest) != hex.EncodedLen(len(e.Digest))+2 {
		return false
	}
	_, err := hex.Decode(e.Digest[:], []byte(r.rest[:len(r.rest)-2]))
	return err == nil && strings.HasSuffix(r.rest, `"}`)
}

// metadataReader takes a text apart from its front; bad says that it was not as expected.
type metadataReader struct {
	rest string
	bad  bool
}

func (r *metadataReader) literal(want string) {
	rest, ok := strings.CutPrefix(r.rest, want)
	r.rest, r.bad = rest, r.bad || !ok
}

func (r *metadataReader) integer() int64 {
	end := 0
	for end < len(r.rest) && (r.rest[end] == '-' || r.rest[end] >= '0' && r.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(r.rest[:end], 10, 64)
	r.rest, r.bad = r.rest[end:], r.bad || err != nil
	return n
}

// field reads a string that may be left out.
func (r *metadataReader) field(name string) string {
	rest, there := strings.CutPrefix(r.rest, name)
	if !there || !strings.HasPrefix(rest, `"`) {
		return ""
	}
	end := 1
	for end < len(rest) && rest[end] != '"' {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(rest) {
		r.bad = true
		return ""
	}
	token := rest[:end+1]
	r.rest = rest[end+1:]
	if strings.IndexByte(token, '\\') < 0 {
		return token[1:end]
	}
	var value string
	if json.Unmarshal([]byte(token), &value) != nil {
		r.bad = true
	}
	return value
}

// appendString writes a JSON string. Bytes that are no UTF-8 become U+FFFD, as everywhere in JSON.
func appendString(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(text) // never fails for a string
			if err != nil {
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), text...), '"')
}
