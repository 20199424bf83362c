package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Metadata of messages. Those that begin with "life." say where a received message stands; a publisher leaves them out, as they
// are true of one event only.
const (
	TypeKey        = "type"                              // the event's kind
	CorrelationKey = middleware.CorrelationIDMetadataKey // "correlation_id" here, "$correlationId" beside the event
	CausationKey   = "causation_id"                      // "$causationId" beside the event
	TraceKey       = "traceparent"                       // W3C trace context
	CommandKey     = "command"                           // the command's id, where it is not the message's
	ActorKey       = "actor"                             // who sent it
	idKey          = "message_id"                        // a message's id that is no UUID
	placePrefix    = "life."                             //
	StreamKey      = placePrefix + "stream"              //
	RevisionKey    = placePrefix + "revision"            //
	PositionKey    = placePrefix + "position"            //
	oddMetadataKey = placePrefix + "metadata"            // metadata that are no JSON object, as they are
	standardKind   = events.Kind("message.published")    // of a message that says no type
	binaryContent  = "application/octet-stream"          //
)

// storedNames are the metadata that go by another name beside an event.
func storedName(key string) string {
	switch key {
	case CorrelationKey:
		return "$correlationId"
	case CausationKey:
		return "$causationId"
	}
	return key
}

func messageName(key string) string {
	switch key {
	case "$correlationId":
		return CorrelationKey
	case "$causationId":
		return CausationKey
	}
	return key
}

// envelopeOf is the event that a message is stored as. The same message always gives the same id.
func envelopeOf(m *message.Message) (events.Envelope, error) {
	id, original := identify(m.UUID)
	stored := make(map[string]string, len(m.Metadata)+1)
	for key, value := range m.Metadata {
		if key != TypeKey && !strings.HasPrefix(key, placePrefix) {
			stored[storedName(key)] = value
		}
	}
	if original != "" {
		stored[idKey] = original
	}
	metadata, err := json.Marshal(stored)
	if err != nil {
		return events.Envelope{}, fmt.Errorf("encode metadata of message %s: %w", m.UUID, err)
	}
	e := events.Envelope{ID: id, Kind: standardKind}
	if kind := m.Metadata.Get(TypeKey); kind != "" {
		e.Kind = events.Kind(kind)
	}
	e.SetMetadata(metadata)
	e.Time = storage.Now()
	if json.Valid(m.Payload) {
		e.Data = json.RawMessage(m.Payload)
		return e, nil
	}
	if e.Foreign == nil { // metadata exactly as Life's own writers give them
		e.Foreign = &events.Foreign{Metadata: metadata}
	}
	e.Data = json.RawMessage(`"` + base64.StdEncoding.EncodeToString(m.Payload) + `"`)
	e.Foreign.ContentType, e.Foreign.Base64 = binaryContent, true
	return e, nil
}

// namespace makes UUIDs of ids that are none (UUIDv5). It never changes: it is what makes their retries idempotent.
func namespace() uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:life:message")) }

// identify returns the event id of a message's id, and that id itself if it cannot be read back from the event id. A message
// without an id gets a random one: nothing is known of it that would make it equal to another.
func identify(id string) (found uuid.UUID, original string) {
	if id == "" {
		return uuid.New(), ""
	}
	parsed, err := uuid.Parse(id)
	switch {
	case err != nil || parsed == uuid.Nil:
		return uuid.NewSHA1(namespace(), []byte(id)), id
	case parsed.String() != id:
		return parsed, id
	}
	return parsed, ""
}

// messageOf is the message that an event is delivered as, whoever wrote it.
func messageOf(e *events.Envelope) *message.Message {
	metadata := metadataOf(e.Metadata())
	id := e.ID.String()
	if original := metadata[idKey]; original != "" {
		if made, _ := identify(original); made == e.ID {
			id = original
			delete(metadata, idKey)
		}
	}
	m := message.NewMessage(id, payloadOf(e))
	for key, value := range metadata {
		m.Metadata[messageName(key)] = value
	}
	m.Metadata[TypeKey] = string(e.Kind)
	m.Metadata[StreamKey] = string(e.Stream)
	m.Metadata[RevisionKey] = fmt.Sprint(int64(e.Revision))
	m.Metadata[PositionKey] = fmt.Sprint(uint64(e.Position))
	return m
}

// payloadOf gives back the bytes that were published.
func payloadOf(e *events.Envelope) []byte {
	if e.Foreign == nil || !e.Foreign.Base64 {
		return bytes.Clone(e.Data)
	}
	var text []byte // encoding/json reads base64 into bytes
	if err := json.Unmarshal(e.Data, &text); err != nil {
		return bytes.Clone(e.Data) // no store writes this; what is there is delivered
	}
	return text
}

// metadataOf reads the metadata beside an event: texts as they are, other values as their JSON.
func metadataOf(stored []byte) map[string]string {
	if len(stored) == 0 {
		return map[string]string{}
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(stored, &values) != nil || values == nil {
		return map[string]string{oddMetadataKey: strings.ToValidUTF8(string(stored), "\ufffd")}
	}
	read := make(map[string]string, len(values))
	for key, value := range values {
		var text string
		if value[0] == '"' && json.Unmarshal(value, &text) == nil {
			read[key] = text
		} else {
			read[key] = string(value)
		}
	}
	return read
}
