package eventstore

import (
	"cmp"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"example.com/life/events"
)

// answer is one message of a Read, decoded here: the generated message, with a map for each event, takes half of a reader's time. The
// strings that come again with each event are made once in a call.
type answer struct {
	content  int // which of the contents below it is; 0 for none
	hasEvent bool
	event    events.Envelope
	at       logPosition // of the event, or of a checkpoint
	number   uint64      // a revision

	names map[string]string
}

// The contents of a message, by their numbers in streams.proto.
const (
	contentEvent        = 1
	contentCheckpoint   = 3
	contentNotFound     = 4
	contentLastRevision = 6
)

// logPosition is EventStoreDB's position of a record in its log: where its commit and its prepare begin. An event's two are equal, but for
// those of old transactions. The zero value is before every event.
type logPosition struct{ commit, prepare uint64 }

func (p logPosition) compare(other logPosition) int {
	return cmp.Or(cmp.Compare(p.commit, other.commit), cmp.Compare(p.prepare, other.prepare))
}

// The strings that a call remembers, and how long each may be.
const (
	maxNames = 1024
	maxName  = 1024
)

// answers is gRPC's codec for protocol buffers, which also decodes into *answer.
type answers struct{ encoding.CodecV2 }

// asAnswers makes a call give its messages as *answer.
func asAnswers() grpc.CallOption {
	return grpc.ForceCodecV2(answers{encoding.GetCodecV2(proto.Name)})
}

// Unmarshal implements encoding.CodecV2.
func (c answers) Unmarshal(data mem.BufferSlice, into any) error {
	a, ok := into.(*answer)
	if !ok {
		return c.CodecV2.Unmarshal(data, into)
	}
	if len(data) == 1 {
		return a.decode(data[0].ReadOnlyData())
	}
	return a.decode(data.Materialize())
}

// decode reads a message; it keeps nothing of its bytes.
func (a *answer) decode(message []byte) error {
	a.content, a.hasEvent, a.at, a.number = 0, false, logPosition{}, 0
	return fields(message, func(number int, value uint64) {
		if number == contentLastRevision {
			a.content, a.number = number, value
		}
	}, func(number int, inner []byte) error {
		switch number {
		case contentEvent:
			a.content = number
			return a.decodeEvent(inner)
		case contentCheckpoint:
			a.content = number
			return fields(inner, func(number int, value uint64) {
				switch number {
				case 1:
					a.at.commit = value
				case 2:
					a.at.prepare = value
				}
			}, nil)
		case contentNotFound:
			a.content = number
		}
		return nil
	})
}

// decodeEvent reads an event of a stream. Links are not followed, so there is none beside it.
func (a *answer) decodeEvent(message []byte) error {
	return fields(message, nil, func(number int, inner []byte) error {
		if number != 1 {
			return nil
		}
		var r recorded
		if err := a.decodeRecorded(&r, inner); err != nil {
			return err
		}
		a.event, a.at, a.hasEvent = r.envelope(), logPosition{commit: r.position, prepare: r.prepare}, true
		return nil
	})
}

func (a *answer) decodeRecorded(r *recorded, message []byte) error {
	return fields(message, func(number int, value uint64) {
		switch number {
		case 3:
			r.revision = value
		case 4:
			r.prepare = value
		case 5:
			r.position = value
		}
	}, func(number int, inner []byte) error {
		switch number {
		case 1:
			return decodeID(r, inner)
		case 2:
			return fields(inner, nil, func(number int, name []byte) error {
				if number == 3 {
					r.stream = a.name(name)
				}
				return nil
			})
		case 6:
			return a.decodeProperty(r, inner)
		case 7:
			r.metadata = inner
		case 8:
			r.data = inner
		}
		return nil
	})
}

// decodeID reads an id in the form that is asked for, two numbers.
func decodeID(r *recorded, message []byte) error {
	return fields(message, nil, func(number int, inner []byte) error {
		if number != 1 {
			return nil
		}
		return fields(inner, func(number int, value uint64) {
			switch number {
			case 1:
				putID(&r.id, 0, value)
			case 2:
				putID(&r.id, 1, value)
			}
		}, nil)
	})
}

// decodeProperty reads an entry of what stands beside the event.
func (a *answer) decodeProperty(r *recorded, message []byte) error {
	var key, value []byte
	err := fields(message, nil, func(number int, inner []byte) error {
		switch number {
		case 1:
			key = inner
		case 2:
			value = inner
		}
		return nil
	})
	switch string(key) {
	case keyType:
		r.kind = a.name(value)
	case keyContentType:
		r.contentType = a.name(value)
	case keyCreated:
		r.created = value
	}
	return err
}

// name returns the bytes as a string that is shared by all events of the call.
func (a *answer) name(text []byte) string {
	if name, known := a.names[string(text)]; known {
		return name
	}
	name := string(text)
	if a.names == nil {
		a.names = map[string]string{}
	}
	if len(a.names) < maxNames && len(text) <= maxName {
		a.names[name] = name
	}
	return name
}

// fields gives each field of a message with its number: those that are numbers, and those that are bytes. Others, and those that nobody
// wants, are passed over.
func fields(message []byte, varint func(number int, value uint64), inner func(number int, inner []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("decode a message of the event store: %w", protowire.ParseError(n))
		}
		message = message[n:]
		switch {
		case kind == protowire.VarintType && varint != nil:
			var value uint64
			if value, n = protowire.ConsumeVarint(message); n >= 0 {
				varint(int(number), value)
			}
		case kind == protowire.BytesType && inner != nil:
			var bytes []byte
			if bytes, n = protowire.ConsumeBytes(message); n >= 0 {
				if err := inner(int(number), bytes); err != nil {
					return err
				}
			}
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("decode a message of the event store: %w", protowire.ParseError(n))
		}
		message = message[n:]
	}
	return nil
}
