package server

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// What stands beside an event on the wire.
const (
	keyType        = "type"
	keyContentType = "content-type"
	keyCreated     = "created"

	contentJSON   = "application/json"
	contentOctets = "application/octet-stream"
)

// streamName reads the name of a stream that can exist.
func streamName(id *shared.StreamIdentifier) (events.Stream, error) {
	name := id.GetStreamName()
	if len(name) == 0 || string(name) == "$$" {
		return "", invalid("'%s' is not a valid stream name", name)
	}
	if !utf8.Valid(name) {
		return "", invalid("the stream's name is not UTF-8")
	}
	if err := storage.CheckStream(events.Stream(name)); err != nil {
		return "", invalid("%s", err)
	}
	return events.Stream(name), nil
}

func identifier(stream events.Stream) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// readID reads an id in either form; the nil id for none.
func readID(id *shared.UUID) (uuid.UUID, error) {
	var read uuid.UUID
	switch value := id.GetValue().(type) {
	case *shared.UUID_Structured_:
		binary.BigEndian.PutUint64(read[:8], uint64(value.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(read[8:], uint64(value.Structured.GetLeastSignificantBits()))
	case *shared.UUID_String_:
		parsed, err := uuid.Parse(value.String_)
		if err != nil {
			return read, fmt.Errorf("read id: %w", err)
		}
		read = parsed
	}
	return read, nil
}

func structured(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

// proposed is an event as a client proposes it; both kinds of append have it.
type proposed interface {
	GetId() *shared.UUID
	GetMetadata() map[string]string
	GetCustomMetadata() []byte
	GetData() []byte
}

// envelopeOf reads a proposed event. Life's own are recognised by their metadata; any other's is kept as it is, with the time given.
func envelopeOf(p proposed, now events.Micros) (events.Envelope, error) {
	kind, contentType := p.GetMetadata()[keyType], p.GetMetadata()[keyContentType]
	var e events.Envelope
	if err := setKind(&e, p.GetId(), kind); err != nil {
		return e, err
	}
	e.SetMetadata(p.GetCustomMetadata())
	e.Data = p.GetData()
	isJSON := json.Valid(e.Data)
	if e.Foreign == nil && isJSON && contentType == contentJSON {
		return e, nil
	}
	if e.Foreign == nil { // Life's metadata on what Life does not write
		id, correlation, causation, traceparent := e.ID, e.Correlation, e.Causation, e.Traceparent
		e = events.Envelope{ID: id, Kind: e.Kind, Version: 1, Correlation: correlation, Causation: causation, Traceparent: traceparent, Data: e.Data}
		e.Foreign = &events.Foreign{Metadata: p.GetCustomMetadata()}
	}
	e.Time = now
	if contentType != contentJSON {
		e.Foreign.ContentType = contentOctets
	}
	if !isJSON {
		e.Foreign.Base64 = true
		e.Data = quoteBase64(e.Data)
	}
	return e, nil
}

func setKind(e *events.Envelope, id *shared.UUID, kind string) error {
	read, err := readID(id)
	if err != nil {
		return invalid("%s", err)
	}
	if read == uuid.Nil {
		return fail(unknownCode, "Empty eventId provided.")
	}
	if kind == "" {
		return fail(unknownCode, "Empty eventType provided.")
	}
	e.ID, e.Kind = read, events.Kind(kind)
	return nil
}

func quoteBase64(data []byte) []byte {
	quoted := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+2)
	quoted = append(quoted, '"')
	quoted = base64.StdEncoding.AppendEncode(quoted, data)
	return append(quoted, '"')
}

// dataOf returns the bytes of an event as its writer gave them, and their type.
func dataOf(e *events.Envelope) (data []byte, contentType string, err error) {
	contentType = contentJSON
	if e.Foreign != nil && e.Foreign.ContentType != "" {
		contentType = e.Foreign.ContentType
	}
	if data, err = e.Bytes(); err != nil {
		return nil, "", fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return data, contentType, nil
}

// idForm says how ids are written in answers.
type idForm bool

const (
	structuredID idForm = false
	stringID     idForm = true
)

// created is the time of an event in units of 100 ns. Clients of Go end their process when it is missing.
func created(e *events.Envelope) string {
	return strconv.FormatInt(int64(min(max(e.Time, 0), math.MaxInt64/10))*10, 10)
}

// revisionOf reads a revision; the largest stands for none.
func revisionOf(wire uint64) events.Revision {
	if wire == math.MaxUint64 {
		return events.NoRevision
	}
	return events.Revision(min(wire, math.MaxInt64))
}
