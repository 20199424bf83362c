package events

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/zeebo/blake3"
)

// Envelope is an event as stored: what happened, and what is known about its being recorded.
// Writers fill everything but Stream, Revision and Position, which the journal assigns.
//
// Whoever writes an envelope as JSON turns HTML escaping off (json.Encoder.SetEscapeHTML): json.Marshal would rewrite "<" in Data,
// and the digest would no longer fit what was written.
type Envelope struct {
	ID          EventID         `json:"id"`
	Stream      Stream          `json:"stream"`
	Revision    Revision        `json:"revision,string"`
	Position    Position        `json:"position,string"`
	Kind        Kind            `json:"kind"`
	Version     int             `json:"version"`     // of the kind's schema, from 1
	Time        Micros          `json:"time,string"` // when the writer decided
	Actor       string          `json:"actor,omitempty"`
	Command     CommandID       `json:"command,omitempty"`     // the decision that recorded it; equal for all events of one decision
	Correlation string          `json:"correlation,omitempty"` // the turn, or the command outside a turn
	Causation   Ref             `json:"causation,omitempty"`   // the event that led to the command
	Traceparent string          `json:"traceparent,omitempty"` // W3C trace context
	Host        HostID          `json:"host,omitempty"`        // of a cluster, that decided it; empty outside of one
	Digest      Digest          `json:"digest"`
	Data        json.RawMessage `json:"data"` // the event as JSON, exactly the bytes that Digest covers

	Foreign *Foreign `json:"foreign,omitempty"` // of an event that another program wrote
}

// Ref points at the envelope's place in its stream.
func (e *Envelope) Ref() Ref { return NewRef(e.Stream, e.Revision) }

// Event decodes the payload with this build's catalogue, upcasting older versions. A kind or version that this build does
// not know gives an Unknown and no error; data that does not fit its kind gives an error that names the event.
func (e *Envelope) Event() (Event, error) {
	event, err := Decode(e.Kind, e.Version, e.Data)
	if err != nil {
		return nil, fmt.Errorf("decode event %s: %w", e.Ref(), err)
	}
	return event, nil
}

// Outline decodes the payload without what is large in it: texts, the arguments of calls and digests. That is twice as fast as Event, and all
// that counting needs. It knows the kinds that make up most of a history; for others, and for what Encode would write in another way,
// it is nil, and Event says what there is. What is left out is not looked at, so damage in it goes unnoticed here.
func (e *Envelope) Outline() Event {
	spec, known := byKind[e.Kind]
	data := e.Data
	if !known || e.Version < 1 || e.Version > spec.Version {
		return nil
	}
	for _, upcast := range spec.Upcasts[e.Version-1:] {
		next, err := upcast(data)
		if err != nil {
			return nil
		}
		data = next
	}
	return spec.walked(data, true)
}

// Digest is BLAKE3(previous digest ‖ kind ‖ data): it makes a stream a chain in which no event can be changed unnoticed.
// No kind holds a brace and all data begins with one, so the concatenation is unambiguous.
type Digest [32]byte

// Next extends the chain by one event.
func (d Digest) Next(kind Kind, data []byte) Digest {
	size := len(d) + len(kind) + len(data)
	var small [1024]byte // most events fit: no allocation
	buffer := small[:0]
	if size > len(small) {
		buffer = make([]byte, 0, size)
	}
	buffer = append(buffer, d[:]...)
	buffer = append(buffer, kind...)
	buffer = append(buffer, data...)
	return blake3.Sum256(buffer)
}

// String writes the digest as 64 hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest as 64 hex digits.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads 64 hex digits.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("digest has %d characters, want %d", len(text), hex.EncodedLen(len(d)))
	}
	var read Digest // so that a malformed text leaves d as it was
	if _, err := hex.Decode(read[:], text); err != nil {
		return fmt.Errorf("read digest: %w", err)
	}
	*d = read
	return nil
}

// Unknown stands for an event whose kind, or whose version of it, this build does not know. It is kept and shown, never dropped;
// a saga that meets one refuses to decide.
type Unknown struct {
	Of      Kind
	Version int
	Data    json.RawMessage
}

// Kind returns the kind as stored.
func (u Unknown) Kind() Kind { return u.Of }

// String says what is known.
func (u Unknown) String() string {
	return sentence("unknown event %s version %d: %s", u.Of, u.Version, Clip(string(u.Data), 120))
}

// MarshalJSON writes the payload as it was stored.
func (u Unknown) MarshalJSON() ([]byte, error) { return u.Data, nil }
