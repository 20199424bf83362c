package server

import (
	"encoding/binary"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"example.com/life/events"
)

// Events are most of what a server sends, so their messages are written here by hand, straight from the envelope into the buffer that goes
// to the connection: it takes a quarter of the time that filling and marshalling the generated structs does. TestEncoded holds
// these bytes to what those structs decode.

// The numbers of the fields in streams.proto and shared.proto.
const (
	fieldRespEvent = 1

	fieldReadEvent, fieldReadLink, fieldReadPosition = 1, 2, 3

	fieldID, fieldStream, fieldRevision, fieldPrepare, fieldCommit = 1, 2, 3, 4, 5
	fieldMetadata, fieldCustomMetadata, fieldData                  = 6, 7, 8

	fieldStructured, fieldString = 1, 2 // of an id
	fieldMost, fieldLeast        = 1, 2 // of a structured id
	fieldName                    = 3    // of a stream's identifier
	fieldKey, fieldValue         = 1, 2 // of an entry of a map
)

// encoded is a message that is written already. It is sent once.
type encoded []byte

// codec is gRPC's own for protocol buffers, which also takes what is encoded.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if written, ok := message.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(written)}, nil
	}
	return c.CodecV2.Marshal(message)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(message mem.BufferSlice, into any) error {
	if d, ok := into.(*discarded); ok {
		d.bytes += message.Len()
		return nil
	}
	if message.Len() < smallMessage {
		return c.CodecV2.Unmarshal(message, into)
	}
	whole := message.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if err := checkParts(whole.ReadOnlyData(), into); err != nil {
		return err
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, into)
}

// discarded counts messages that nobody looks at.
type discarded struct{ bytes int }

// record is an event as it goes over the wire.
type record struct {
	envelope    *events.Envelope
	position    uint64 // under which it is delivered
	id          []byte // the message of its id
	contentType string
	created     string
	metadata    []byte
	data        []byte
	size        int // of the message
}

// record takes an envelope apart for the wire.
func (f idForm) record(e *events.Envelope, position events.Position) (*record, error) {
	data, contentType, err := dataOf(e)
	if err != nil {
		return nil, err
	}
	r := &record{
		envelope: e, position: uint64(position), id: f.appendID(make([]byte, 0, 40), e.ID),
		contentType: contentType, created: created(e), metadata: e.Metadata(), data: data,
	}
	r.size = sizeBytes(fieldID, len(r.id)) + sizeBytes(fieldStream, sizeBytes(fieldName, len(e.Stream))) +
		sizeNumber(fieldRevision, uint64(e.Revision)) + sizeNumber(fieldPrepare, r.position) + sizeNumber(fieldCommit, r.position) +
		sizeEntry(keyType, string(e.Kind)) + sizeEntry(keyContentType, contentType) + sizeEntry(keyCreated, r.created) +
		sizeBytes(fieldCustomMetadata, len(r.metadata)) + sizeBytes(fieldData, len(data))
	return r, nil
}

// append writes the fields of a RecordedEvent.
func (r *record) append(b []byte) []byte {
	e := r.envelope
	b = appendBytes(b, fieldID, r.id)
	b = appendHead(b, fieldStream, sizeBytes(fieldName, len(e.Stream)))
	b = appendText(b, fieldName, string(e.Stream))
	b = appendNumber(b, fieldRevision, uint64(e.Revision))
	b = appendNumber(b, fieldPrepare, r.position)
	b = appendNumber(b, fieldCommit, r.position)
	b = appendEntry(b, keyType, string(e.Kind))
	b = appendEntry(b, keyContentType, r.contentType)
	b = appendEntry(b, keyCreated, r.created)
	b = appendBytes(b, fieldCustomMetadata, r.metadata)
	return appendBytes(b, fieldData, r.data)
}

// encodeRead writes the answer with an event, or with a link and what it points at. Either may be nil, not both.
func encodeRead(event, link *record, position events.Position) encoded {
	size := sizeNumber(fieldReadPosition, uint64(position))
	if event != nil {
		size += sizeBytes(fieldReadEvent, event.size)
	}
	if link != nil {
		size += sizeBytes(fieldReadLink, link.size)
	}
	b := make([]byte, 0, sizeBytes(fieldRespEvent, size))
	b = appendHead(b, fieldRespEvent, size)
	if event != nil {
		b = event.append(appendHead(b, fieldReadEvent, event.size))
	}
	if link != nil {
		b = link.append(appendHead(b, fieldReadLink, link.size))
	}
	return appendNumber(b, fieldReadPosition, uint64(position))
}

// appendID writes the fields of an id's message.
func (f idForm) appendID(b []byte, id events.EventID) []byte {
	if f == stringID {
		return appendText(b, fieldString, id.String())
	}
	most, least := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	b = appendHead(b, fieldStructured, sizeNumber(fieldMost, most)+sizeNumber(fieldLeast, least))
	b = appendNumber(b, fieldMost, most)
	return appendNumber(b, fieldLeast, least)
}

func appendHead(b []byte, field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return append(appendHead(b, field, len(value)), value...)
}

func appendText(b []byte, field protowire.Number, value string) []byte {
	return append(appendHead(b, field, len(value)), value...)
}

func appendNumber(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

func appendEntry(b []byte, key, value string) []byte {
	b = appendHead(b, fieldMetadata, sizeBytes(fieldKey, len(key))+sizeBytes(fieldValue, len(value)))
	return appendText(appendText(b, fieldKey, key), fieldValue, value)
}

func sizeBytes(field protowire.Number, size int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(size)
}

func sizeNumber(field protowire.Number, value uint64) int {
	return protowire.SizeTag(field) + protowire.SizeVarint(value)
}

func sizeEntry(key, value string) int {
	return sizeBytes(fieldMetadata, sizeBytes(fieldKey, len(key))+sizeBytes(fieldValue, len(value)))
}
