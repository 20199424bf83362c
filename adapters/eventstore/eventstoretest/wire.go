package eventstoretest

import (
	"encoding/binary"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
)

// readID reads an id in either form; the nil id for one that is none.
func readID(id *shared.UUID) uuid.UUID {
	var read uuid.UUID
	switch value := id.GetValue().(type) {
	case *shared.UUID_Structured_:
		binary.BigEndian.PutUint64(read[:8], uint64(value.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(read[8:], uint64(value.Structured.GetLeastSignificantBits()))
	case *shared.UUID_String_:
		parsed, err := uuid.Parse(value.String_)
		if err != nil {
			return uuid.Nil
		}
		return parsed
	}
	return read
}

// writeID writes an id as a text or as two numbers.
func writeID(id uuid.UUID, text bool) *shared.UUID {
	if text {
		return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
	}
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func identifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// beside is what stands beside an event: its type, how its data are written, and when it was stored, in ticks of 100 ns.
func (r *record) beside() map[string]string {
	return map[string]string{"type": r.kind, "content-type": r.contentType, "created": strconv.FormatInt(r.created.UnixNano()/100, 10)}
}

func (r *record) read(text bool) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: writeID(r.id, text), StreamIdentifier: identifier(r.stream), StreamRevision: uint64(r.revision),
			CommitPosition: r.begin, PreparePosition: r.begin, Metadata: r.beside(), CustomMetadata: r.metadata, Data: r.data,
		},
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: r.begin},
	}}}
}

func (r *record) delivered(text bool, retries int32) *persistent.ReadResp {
	return &persistent.ReadResp{Content: &persistent.ReadResp_Event{Event: &persistent.ReadResp_ReadEvent{
		Event: &persistent.ReadResp_ReadEvent_RecordedEvent{
			Id: writeID(r.id, text), StreamIdentifier: identifier(r.stream), StreamRevision: uint64(r.revision),
			CommitPosition: r.begin, PreparePosition: r.begin, Metadata: r.beside(), CustomMetadata: r.metadata, Data: r.data,
		},
		Position: &persistent.ReadResp_ReadEvent_CommitPosition{CommitPosition: r.begin},
		Count:    &persistent.ReadResp_ReadEvent_RetryCount{RetryCount: retries},
	}}}
}
