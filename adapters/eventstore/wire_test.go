package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/events"
)

// FuzzEnvelope holds that whatever is recorded becomes an envelope whose data are JSON, and is proposed again as it was recorded.
func FuzzEnvelope(f *testing.F) {
	own := events.Envelope{Version: 2, Time: 5, Actor: "agent-a", Command: "c", Correlation: "t", Causation: "agent-a@3"}
	f.Add([]byte{1}, "agent-a", uint64(0), uint64(1), "turn.started", "application/json", "17600000000000000", own.Metadata(), []byte(`{"a":1}`))
	f.Add([]byte{2}, "agent-a", uint64(1), uint64(2), "turn.started", "application/octet-stream", "", own.Metadata(), []byte(`{"a":1}`))
	f.Add([]byte{3}, "$$a", uint64(math.MaxUint64), uint64(math.MaxUint64), "$metadata", "application/json", "-1", []byte(nil), []byte(`{"$maxCount":3}`))
	f.Add([]byte{4}, "a", uint64(math.MaxInt64), uint64(3), "$streamDeleted", "application/octet-stream", "x", []byte{}, []byte{})
	f.Add([]byte{}, "", uint64(9), uint64(9), "", "", "", []byte(`{"$correlationId":"x"}`), []byte("0@a"))
	f.Fuzz(func(t *testing.T, id []byte, stream string, revision, position uint64, kind, contentType, created string, metadata, data []byte) {
		var name uuid.UUID
		copy(name[:], id)
		r := &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: writeID(name), StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}, StreamRevision: revision, CommitPosition: position,
			Metadata: map[string]string{keyType: kind, keyContentType: contentType, keyCreated: created}, CustomMetadata: metadata, Data: data,
		}
		e := envelopeOf(r)
		if !json.Valid(e.Data) {
			t.Fatalf("the data are no JSON: %q", e.Data)
		}
		if e.ID != name || string(e.Stream) != stream || string(e.Kind) != kind || uint64(e.Position) != position || e.Revision < events.NoRevision {
			t.Fatalf("%+v is not what was recorded", e)
		}
		if _, err := e.Event(); err != nil && e.Foreign == nil && !utf8.ValidString(kind) {
			t.Fatalf("decode: %v", err)
		}
		if !utf8.ValidString(kind) {
			return // no server records it: the protocol carries UTF-8 only
		}
		again, err := propose(&e)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.GetData(), data) || !bytes.Equal(again.GetCustomMetadata(), metadata) || readID(again.GetId()) != name {
			t.Fatalf("proposed again, it is %v", again)
		}
		if got := again.GetMetadata()[keyContentType]; contentType != "" && got != contentType || again.GetMetadata()[keyType] != kind {
			t.Fatalf("proposed again, it is %v", again.GetMetadata())
		}
		r.Metadata[keyContentType] = again.GetMetadata()[keyContentType]
		r.Data, r.CustomMetadata = again.GetData(), again.GetCustomMetadata()
		if contentType != "" && !reflect.DeepEqual(envelopeOf(r), e) {
			t.Fatalf("read again, it is %+v, want %+v", envelopeOf(r), e)
		}
	})
}

// FuzzConnection holds that no connection string does more than give a clear error, which never shows the password.
func FuzzConnection(f *testing.F) {
	f.Add("esdb://admin:", "changeit-secret", "@localhost:2113?tls=false")
	f.Add("esdb+discover://admin:", "s%3Acret-secret", "@a,b:1?tlsVerifyCert=false")
	f.Add("esdb://x:", "%zz-secret", "@/?")
	f.Fuzz(func(t *testing.T, before, password, after string) {
		_, _, err := parseTarget(Config{Connection: before + password + after})
		if err != nil && len(password) > 20 && strings.Contains(before, "://") && strings.HasPrefix(after, "@") && !strings.ContainsAny(password+before, "?@,") &&
			strings.Contains(err.Error(), password) {
			t.Fatalf("the error shows the password: %v", err)
		}
	})
}

func TestProposeRefuses(t *testing.T) {
	for _, e := range []events.Envelope{
		{Kind: "bad\xff", Data: []byte(`{}`)},
		{Kind: "k", Data: []byte(`"no base64"`), Foreign: &events.Foreign{Base64: true}},
		{Kind: "k", Data: []byte(`{}`), Foreign: &events.Foreign{Base64: true}},
	} {
		if _, err := propose(&e); !errors.Is(err, actors.ErrInvalidAppend) {
			t.Errorf("%+v: the error is %v, want %v", e, err, actors.ErrInvalidAppend)
		}
	}
}
