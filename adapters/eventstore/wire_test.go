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

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"example.com/life/actors/storage"
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
		if !utf8.ValidString(kind + contentType + created) {
			return // no server records it: the protocol carries UTF-8 only
		}
		r := &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: writeID(name), StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}, StreamRevision: revision, CommitPosition: position,
			Metadata: map[string]string{keyType: kind, keyContentType: contentType, keyCreated: created}, CustomMetadata: metadata, Data: data,
		}
		e := readBoth(t, r)
		if !json.Valid(e.Data) {
			t.Fatalf("the data are no JSON: %q", e.Data)
		}
		if e.ID != name || string(e.Stream) != stream || string(e.Kind) != kind || uint64(e.Position) != position || e.Revision < events.NoRevision {
			t.Fatalf("%+v is not what was recorded", e)
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
		if contentType != "" && !reflect.DeepEqual(readBoth(t, r), e) {
			t.Fatalf("read again, it is %+v, want %+v", readBoth(t, r), e)
		}
	})
}

// readBoth decodes an event in both its messages, which give the same.
func readBoth(t *testing.T, r *streams.ReadResp_ReadEvent_RecordedEvent) events.Envelope {
	t.Helper()
	message, err := proto.Marshal(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: r}}})
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := a.decode(message); err != nil || !a.hasEvent {
		t.Fatalf("decode: %v", err)
	}
	clear(message) // nothing of it may be kept
	var other persistent.ReadResp_ReadEvent_RecordedEvent
	bare, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(bare, &other); err != nil {
		t.Fatal(err)
	}
	if e := recordedOf(&other).envelope(); !reflect.DeepEqual(e, a.event) {
		t.Fatalf("a consumer group is given %+v, and a read gives %+v", e, a.event)
	}
	return a.event
}

// FuzzAnswer holds that no message does more than give an error, and that none is understood that the generated code does not understand.
func FuzzAnswer(f *testing.F) {
	for _, m := range []*streams.ReadResp{
		{Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: 7}},
		{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: 9, PreparePosition: 8}}},
		{Content: &streams.ReadResp_StreamNotFound_{}},
		{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: &streams.ReadResp_ReadEvent_RecordedEvent{Id: writeID(uuid.New()), Data: []byte("{}")}}}},
	} {
		message, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var a answer
		err := a.decode(message)
		var m streams.ReadResp
		if proto.Unmarshal(message, &m) != nil || err != nil {
			return
		}
		if a.hasEvent && !json.Valid(a.event.Data) {
			t.Fatalf("the data are no JSON: %q", a.event.Data)
		}
		canonical, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.decode(canonical); err != nil {
			t.Fatalf("%v: %v", &m, err)
		}
		compareAnswer(t, &a, &m)
	})
}

// compareAnswer compares what was decoded here with what the generated code makes of a message.
func compareAnswer(t *testing.T, a *answer, m *streams.ReadResp) {
	t.Helper()
	switch content := m.GetContent().(type) {
	case *streams.ReadResp_LastStreamPosition:
		if a.content != contentLastRevision || a.number != content.LastStreamPosition {
			t.Fatalf("the last revision is %d, want %d", a.number, content.LastStreamPosition)
		}
	case *streams.ReadResp_Checkpoint_:
		want := logPosition{commit: content.Checkpoint.GetCommitPosition(), prepare: content.Checkpoint.GetPreparePosition()}
		if a.content != contentCheckpoint || a.at != want {
			t.Fatalf("the checkpoint is %v, want %v", a.at, want)
		}
	case *streams.ReadResp_Event:
		r := content.Event.GetEvent()
		if a.hasEvent != (r != nil) {
			t.Fatalf("there is an event: %t, want %t", a.hasEvent, r != nil)
		}
		want := logPosition{commit: r.GetCommitPosition(), prepare: r.GetPreparePosition()}
		if r != nil && (a.at != want || string(a.event.Stream) != string(r.GetStreamIdentifier().GetStreamName()) || uint64(a.event.Position) != want.commit) {
			t.Fatalf("the event is %+v at %v, want %v", a.event, a.at, r)
		}
	}
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
		if _, err := propose(&e); !errors.Is(err, storage.ErrInvalidAppend) {
			t.Errorf("%+v: the error is %v, want %v", e, err, storage.ErrInvalidAppend)
		}
	}
}
