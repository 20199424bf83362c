package server

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"example.com/life/events"
)

// FuzzEncoded holds what is written by hand to what the generated code reads, and an envelope to what a client gave.
func FuzzEncoded(f *testing.F) {
	id := uuid.MustParse("f47ac10b-58cc-4372-a567-0e02b2c3d479")
	f.Add(id[:], "type", "application/json", []byte(`{"a":1}`), []byte(`{"$correlationId":"c"}`), "stream", int64(7), uint64(9), int64(1e15), false)
	f.Add(id[:], "", "application/octet-stream", []byte{0xff}, []byte(nil), "$$s", int64(math.MaxInt64), uint64(math.MaxUint64), int64(-1), true)
	f.Add(id[:], "\u00e9", "other", []byte(nil), []byte(`{"version":1,"time":"5","digest":"`+string(bytes.Repeat([]byte("0"), 64))+`"}`), "", int64(0), uint64(0), int64(math.MaxInt64), false)
	f.Fuzz(func(t *testing.T, id []byte, kind, contentType string, data, custom []byte, stream string, revision int64, position uint64, now int64, asText bool) {
		if len(id) != 16 {
			return
		}
		given := &streams.AppendReq_ProposedMessage{
			Id: structured(uuid.UUID(id)), Metadata: map[string]string{keyType: kind, keyContentType: contentType}, Data: data, CustomMetadata: custom,
		}
		e, err := envelopeOf(given, events.Micros(now))
		if err != nil {
			if kind != "" && uuid.UUID(id) != uuid.Nil {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(e.Data) {
			t.Fatalf("the data %q of an envelope are no JSON", e.Data)
		}
		e.Stream, e.Revision = events.Stream(stream), events.Revision(revision)
		r, err := idForm(asText).record(&e, events.Position(position))
		if err != nil {
			t.Fatal(err)
		}
		var read streams.ReadResp
		if err := proto.Unmarshal(encodeRead(r, r, events.Position(position)), &read); err != nil {
			if !valid(kind) { // gRPC gives no such text to a server
				return
			}
			t.Fatal(err)
		}
		answer := read.GetEvent()
		if !proto.Equal(answer.GetEvent(), answer.GetLink()) || answer.GetCommitPosition() != position {
			t.Fatalf("the answer is %v", answer)
		}
		compare(t, answer.GetEvent(), given, &e, position)
	})
}

func valid(text string) bool {
	return proto.Unmarshal(appendText(nil, fieldString, text), &shared.UUID{}) == nil
}

func compare(t *testing.T, got *streams.ReadResp_ReadEvent_RecordedEvent, given *streams.AppendReq_ProposedMessage, e *events.Envelope, position uint64) {
	t.Helper()
	id, err := readID(got.GetId())
	if err != nil || id != e.ID || string(got.GetStreamIdentifier().GetStreamName()) != string(e.Stream) || got.GetStreamRevision() != uint64(e.Revision) ||
		got.GetCommitPosition() != position || got.GetPreparePosition() != position {
		t.Errorf("the event is %v, want %+v", got, e)
	}
	contentType := contentOctets
	if given.GetMetadata()[keyContentType] == contentJSON {
		contentType = contentJSON
	}
	if got.GetMetadata()[keyType] != given.GetMetadata()[keyType] || got.GetMetadata()[keyContentType] != contentType || got.GetMetadata()[keyCreated] != created(e) {
		t.Errorf("its metadata are %v", got.GetMetadata())
	}
	if !bytes.Equal(got.GetData(), given.GetData()) || !bytes.Equal(got.GetCustomMetadata(), given.GetCustomMetadata()) {
		t.Errorf("its data are %q and %q", got.GetData(), got.GetCustomMetadata())
	}
}

// FuzzRequests throws any message at everything that takes one apart before the store is asked: none may panic.
func FuzzRequests(f *testing.F) {
	seed := func(message proto.Message) {
		encoded, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	seed(&streams.BatchAppendReq{Options: &streams.BatchAppendReq_Options{DeadlineOption: &streams.BatchAppendReq_Options_Deadline{}}, IsFinal: true})
	seed(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{}})
	f.Fuzz(func(_ *testing.T, encoded []byte) {
		var read streams.ReadReq
		if proto.Unmarshal(encoded, &read) == nil {
			_, _ = parseRead(read.GetOptions())
		}
		var one streams.AppendReq
		if proto.Unmarshal(encoded, &one) == nil {
			_, _ = streamName(one.GetOptions().GetStreamIdentifier())
			_, _ = expectedOf(one.GetOptions().GetExpectedStreamRevision())
			if event := one.GetProposedMessage(); event != nil {
				_ = new(proposal).add(event, 0)
			}
		}
		var many streams.BatchAppendReq
		if proto.Unmarshal(encoded, &many) == nil {
			_, _ = readID(many.GetCorrelationId())
			_, _ = expectedOf(many.GetOptions().GetExpectedStreamPosition())
			for _, event := range many.GetProposedMessages() {
				_ = new(proposal).add(event, 0)
			}
		}
		var remove streams.DeleteReq
		if proto.Unmarshal(encoded, &remove) == nil {
			_, _ = expectedOf(remove.GetOptions().GetExpectedStreamRevision())
		}
	})
}
