package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// filled sets everything that a value has, so that nothing can be lost unnoticed. JSON texts and enumerations get what they can hold.
func filled(v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes([]byte(`{"a":"<b>"}`))
		return
	case events.RiskLevel:
		v.SetInt(int64(events.RiskHigh))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text <&> \u2028")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(7)
	case reflect.Uint64, reflect.Uint8, reflect.Uint32:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.25)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), depth)
	case reflect.Slice:
		if depth > 6 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			filled(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			filled(v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				filled(v.Field(i), depth+1)
			}
		}
	default:
		panic("no value for " + v.Type().String())
	}
}

// TestPeerCommands: every command comes out of the wire as it went in.
func TestPeerCommands(t *testing.T) {
	for _, empty := range peerCommands() {
		v := reflect.New(reflect.TypeOf(empty)).Elem()
		filled(v, 0)
		meta := sagas.Meta{ID: "c1", At: 5}
		if fromEntity(empty) {
			meta.ID = "~agent-a@1"
		}
		_, answer := empty.(sagas.RecordResult)
		v.FieldByName("Meta").Set(reflect.ValueOf(meta))
		command := v.Interface().(sagas.Command)
		sent, err := NewPeerCommand(command)
		if err != nil {
			t.Fatal(err)
		}
		data, err := WritePeer(PeerCall{Epoch: 3, Hops: 1, Do: &PeerDo{Stream: "agent-a", Command: sent, Actor: "cli", Causation: "agent-b@1"}})
		if err != nil {
			t.Fatal(err)
		}
		call, err := ReadPeerCall(data)
		if answer {
			if err == nil {
				t.Errorf("%T: taken as a command", empty)
			}
			got, err := sent.Command()
			if diff := cmp.Diff(command, got); err != nil || diff != "" {
				t.Errorf("%T: %v %s", empty, err, diff)
			}
			continue
		}
		if err != nil {
			t.Errorf("%T: %v", empty, err)
			continue
		}
		got, err := call.Do.Command.Command()
		if diff := cmp.Diff(command, got); err != nil || diff != "" {
			t.Errorf("%T: %v %s", empty, err, diff)
		}
	}
	if _, err := NewPeerCommand(sagas.Tick{}); err == nil {
		t.Error("an agent's clock is forwarded")
	}
}

// TestPeerCalls: what else is asked and answered comes out as it went in.
func TestPeerCalls(t *testing.T) {
	vector := events.AgentStateVector{}
	filled(reflect.ValueOf(&vector).Elem(), 0)
	for _, call := range []PeerCall{
		{Advise: &PeerAdvise{Tenant: "local", Vector: vector, Mode: events.ModeExplore}},
		{Own: &PeerOwn{Stream: "wallet-main"}},
		{Take: &PeerTake{Streams: []events.Stream{"agent-a", "knowledge-local"}}},
		{Runs: &PeerRuns{Agent: "a", Request: "agent-a@1"}},
		{Keep: &PeerSnapshot{Fold: "agent/11", Stream: "agent-a", Revision: 9, Digest: events.Digest{1}, State: json.RawMessage(`{"a":["<"]}`)}},
	} {
		data, err := WritePeer(call)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadPeerCall(data)
		if diff := cmp.Diff(call, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", data, err, diff)
		}
	}
	reserved, err := newPeerOutcome(outcome{revision: 3, position: 9, events: []events.Event{events.FundsReserved{Request: "agent-a@1", Turn: "a/1", Amount: 5}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []PeerAnswer{
		{Epoch: 4, Receipt: &Receipt{Stream: "agent-a", Revision: 1, Position: 2, Message: "m1", Turn: "a/1", Written: 1, Removed: 2, Duplicate: true}},
		{Epoch: 4, Outcome: reserved},
		{Advice: &PeerAdvice{Mode: events.ModeExplore, Because: []string{"a"}}},
		{Own: PeerHeld},
		{Own: PeerReleased},
		{Runs: &PeerRun{Runs: true}},
		{Settled: 3, Runs: &PeerRun{Result: &PeerCommand{Type: "RecordResult", ID: "~a", At: 1, Fields: json.RawMessage(`{}`)}}},
		{},
	} {
		data, err := WritePeer(answer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadPeerAnswer(data)
		if diff := cmp.Diff(answer, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", data, err, diff)
		}
	}
	if o := reserved.outcome(); o.err != nil || len(o.events) != 1 || o.revision != 3 || o.position != 9 {
		t.Errorf("outcome %+v", o)
	}
}

// TestPeerErrors: callers find in the error of another host what they would find in their own, and read the same text.
func TestPeerErrors(t *testing.T) {
	granted := events.FundsReserved{Request: "agent-a@1", Turn: "a/1", Amount: 5}
	gone := &history.GoneError{Stream: "agent-a", First: 0, Last: events.NoRevision}
	for _, err := range []error{
		&sagas.RefusalError{Code: sagas.RefusedMismatch, Detail: "another <digest>"},
		&sagas.DuplicateError{Revision: 4, Event: granted},
		&sagas.DuplicateError{Revision: 4, Same: true},
		&sagas.ForeignError{Event: "agent-a@1", Of: "other"},
		&strictjson.Malformed{Detail: "no"},
		&OverloadedError{Stream: "agent-a", Waiting: 5},
		&UnavailableError{Stream: "agent-a", Reason: "the store is away"},
		&FencedError{Stream: "agent-a"},
		&IneligibleError{Stream: "agent-a", Host: "a#1", Reason: "it has no tool x"},
		&MovedError{Stream: "agent-a", To: "b#2"},
		&silentError{to: "b#2", why: "context canceled"},
		&projector.BehindError{Projection: "p", Reason: "r"},
		gone,
		&history.UnreadableError{Err: errors.New("it is damaged")},
		fmt.Errorf("read it: %w", &history.UnreadableError{Err: fmt.Errorf("from 1: %w", gone)}),
		sagas.ErrStale, storage.ErrClosed, storage.ErrFull, storage.ErrReadOnly, storage.ErrCorrupt, storage.ErrDeleted, storage.ErrPlace, storage.ErrNeeded,
		fmt.Errorf("wait for agent-a: %w", context.DeadlineExceeded), context.Canceled,
		fmt.Errorf("append: %w: %w", storage.ErrInvalidAppend, storage.ErrFull),
		errors.New("something else"),
	} {
		data, writeErr := WritePeer(PeerAnswer{Epoch: 1, Error: newPeerError(err)})
		answer, readErr := ReadPeerAnswer(data)
		if writeErr != nil || readErr != nil {
			t.Errorf("%v: %v %v", err, writeErr, readErr)
			continue
		}
		got := answer.Error.Err()
		if got.Error() != err.Error() {
			t.Errorf("%q came as %q", err, got)
		}
		if want, again := newPeerError(err), newPeerError(got); !reflect.DeepEqual(want, again) {
			t.Errorf("%v:\n want %+v\n  got %+v", err, want, again)
		}
	}
	var away *UnavailableError
	if !errors.As(newPeerError(&IneligibleError{Stream: "agent-a", Reason: "r"}).Err(), &away) {
		t.Error("who cannot be held is not unavailable")
	}
}

// TestPeerHostile: what no host writes is refused, with a reason.
func TestPeerHostile(t *testing.T) {
	command := `{"type":"Cancel","id":"c","at":"1","fields":{}}`
	for text, want := range map[string]string{
		``:                       "not one JSON object",
		`[]`:                     "array",
		`{"epoch":"1","hops":0}`: "asks 0",
		`{"epoch":1,"hops":0}`:   "64-bit numbers are strings",
		`{"epoch":"1","hops":3,"own":{"stream":"agent-a"}}`:                                                                            "disagree",
		`{"epoch":"-1","hops":0,"own":{"stream":"agent-a"}}`:                                                                           "no revision",
		`{"epoch":"1","hops":0,"own":{"stream":"effect-a"}}`:                                                                           "no entity",
		`{"epoch":"1","hops":0,"own":{"stream":"agent-../a"}}`:                                                                         "no entity",
		`{"epoch":"1","hops":0,"own":{"stream":"agent-a"},"own":{"stream":"agent-b"}}`:                                                 "twice",
		`{"epoch":"1","hops":0,"own":{"stream":"agent-a"},"runs":{"agent":"a","request":"r"}}`:                                         "asks 2",
		`{"epoch":"1","hops":0,"own":{"stream":"agent-a"},"x":1}`:                                                                      "no field",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, "Cancel", "Tick", 1) + `}}`:             "no command",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, `"c"`, `"~c"`, 1) + `}}`:                "does not fit",
		`{"epoch":"1","hops":0,"do":{"stream":"wallet-a","command":` + strings.Replace(command, "Cancel", "Reserve", 1) + `}}`:         "does not fit",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, `{}`, `{"by":"x"}`, 1) + `}}`:           "field",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, `{}`, `{"By":"x","By":"y"}`, 1) + `}}`:  "twice",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, `{}`, `{"By":5}`, 1) + `}}`:             "field By",
		`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":` + strings.Replace(command, `{}`, `{"Meta":{"ID":"~x"}}`, 1) + `}}`: "field",
		`{"epoch":"1","hops":0,"take":{"streams":[` + strings.Repeat(`"agent-a",`, MaxPeerStreams) + `"agent-b"]}}`:                    "at most",
	} {
		_, err := ReadPeerCall([]byte(text))
		var malformed *strictjson.Malformed
		if !errors.As(err, &malformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadPeerCall(make([]byte, MaxPeerBody+1)); err == nil {
		t.Error("a body of any size is taken")
	}
	for _, text := range []string{`{"epoch":"1","own":"perhaps"}`, `{"epoch":"1","runs":{"runs":true},"error":{"text":"x"}}`, `{}{}`} {
		if _, err := ReadPeerAnswer([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// FuzzPeerCall: whatever another host sends is read or refused, and what is read can be written again.
func FuzzPeerCall(f *testing.F) {
	f.Add([]byte(`{"epoch":"1","hops":0,"do":{"stream":"agent-a","command":{"type":"Send","id":"c","at":"1","fields":{"Text":{"text":"x"}}}}}`))
	f.Add([]byte(`{"epoch":"1","hops":0,"take":{"streams":["agent-a"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		call, err := ReadPeerCall(data)
		if err != nil {
			return
		}
		again, err := WritePeer(call)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPeerCall(again); err != nil && len(again) <= MaxPeerBody {
			t.Fatalf("%s was read and became %s: %v", data, again, err)
		}
	})
}
