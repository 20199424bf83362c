package eventstore

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// What stands beside an event on the wire.
const (
	keyType        = "type"
	keyContentType = "content-type"
	keyCreated     = "created"

	contentJSON = "application/json"

	ticksPerMicro = 10 // of 100 ns
)

func identifier(stream events.Stream) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// checkName refuses names that the port allows and the protocol cannot carry.
func checkName(stream events.Stream) error {
	if err := storage.CheckStream(stream); err != nil {
		return err
	}
	if !utf8.ValidString(string(stream)) {
		return fmt.Errorf("%w: the stream's name %q is not UTF-8, which EventStoreDB needs", storage.ErrInvalidAppend, string(stream))
	}
	return nil
}

func writeID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

// readID reads an id in either form; the nil id for one that is none.
func readID(id *shared.UUID) uuid.UUID {
	var read uuid.UUID
	switch value := id.GetValue().(type) {
	case *shared.UUID_Structured_:
		putID(&read, 0, uint64(value.Structured.GetMostSignificantBits()))
		putID(&read, 1, uint64(value.Structured.GetLeastSignificantBits()))
	case *shared.UUID_String_:
		parsed, err := uuid.Parse(value.String_)
		if err != nil {
			return uuid.Nil
		}
		return parsed
	}
	return read
}

// putID sets one half of an id.
func putID(id *uuid.UUID, half int, value uint64) { binary.BigEndian.PutUint64(id[8*half:], value) }

// propose writes an envelope as an event to append.
func propose(e *events.Envelope) (*streams.AppendReq_ProposedMessage, error) {
	if !utf8.ValidString(string(e.Kind)) {
		return nil, fmt.Errorf("%w: the kind %q is not UTF-8", storage.ErrInvalidAppend, string(e.Kind))
	}
	data, contentType := []byte(e.Data), contentJSON
	if e.Foreign != nil {
		if e.Foreign.ContentType != "" {
			contentType = e.Foreign.ContentType
		}
		if e.Foreign.Base64 {
			var text string
			err := json.Unmarshal(e.Data, &text)
			if err == nil {
				data, err = base64.StdEncoding.DecodeString(text)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: the data of %s %s are no base64: %w", storage.ErrInvalidAppend, e.Kind, e.ID, err)
			}
		}
	}
	return &streams.AppendReq_ProposedMessage{
		Id: writeID(e.ID), Data: data, CustomMetadata: e.Metadata(),
		Metadata: map[string]string{keyType: string(e.Kind), keyContentType: contentType},
	}, nil
}

// proposedSize is what EventStoreDB counts towards its MaxAppendSize: the type with two bytes for each unit of UTF-16.
func proposedSize(p *streams.AppendReq_ProposedMessage) int {
	size := len(p.GetData()) + len(p.GetCustomMetadata())
	for _, r := range p.GetMetadata()[keyType] {
		size += 2 * utf16.RuneLen(r)
	}
	return size
}

// recorded is a stored event as its messages hold it; its bytes are theirs.
type recorded struct {
	id                        uuid.UUID
	stream, kind, contentType string
	revision                  uint64
	position, prepare         uint64 // in the log: of the commit, and of the prepare
	created                   []byte // a number of ticks
	metadata, data            []byte
}

// recordedOf reads an event that a consumer group is given.
func recordedOf(m *persistent.ReadResp_ReadEvent_RecordedEvent) *recorded {
	beside := m.GetMetadata()
	return &recorded{
		id: readID(m.GetId()), stream: string(m.GetStreamIdentifier().GetStreamName()), kind: beside[keyType], contentType: beside[keyContentType],
		revision: m.GetStreamRevision(), position: m.GetCommitPosition(), created: []byte(beside[keyCreated]),
		metadata: m.GetCustomMetadata(), data: m.GetData(),
	}
}

// envelope makes an envelope of a stored event, whatever it lacks or holds. Life's own are recognised by their metadata.
func (r *recorded) envelope() events.Envelope {
	var e events.Envelope
	e.SetMetadata(r.metadata)
	isJSON := json.Valid(r.data)
	if e.Foreign == nil && (!isJSON || r.contentType != contentJSON) {
		// Life's metadata beside what Life does not write: another program copied them.
		e = events.Envelope{Version: 1, Correlation: e.Correlation, Causation: e.Causation, Traceparent: e.Traceparent}
		e.Foreign = &events.Foreign{}
	}
	e.ID, e.Stream, e.Kind = r.id, events.Stream(r.stream), events.Kind(r.kind)
	e.Revision, e.Position = readRevision(r.revision), events.Position(r.position)
	if isJSON {
		e.Data = append(make([]byte, 0, len(r.data)), r.data...)
	} else {
		e.Data = quoteBase64(r.data)
	}
	if e.Foreign == nil {
		return e
	}
	e.Foreign.Base64 = !isJSON
	if e.Foreign.Metadata = nil; len(r.metadata) > 0 {
		e.Foreign.Metadata = bytes.Clone(r.metadata)
	}
	if ticks, err := strconv.ParseInt(string(r.created), 10, 64); err == nil {
		e.Time = events.Micros(ticks / ticksPerMicro)
	}
	if r.contentType != contentJSON {
		e.Foreign.ContentType = r.contentType
	}
	return e
}

func quoteBase64(data []byte) []byte {
	quoted := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+2)
	quoted = base64.StdEncoding.AppendEncode(append(quoted, '"'), data)
	return append(quoted, '"')
}

// readRevision reads a revision; the largest stands for none.
func readRevision(wire uint64) events.Revision {
	if wire == math.MaxUint64 {
		return events.NoRevision
	}
	return events.Revision(min(wire, math.MaxInt64))
}
