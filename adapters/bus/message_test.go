package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// stored appends an event and reads it back, as a subscriber gets it.
func stored(t *testing.T, e events.Envelope) events.Envelope {
	t.Helper()
	journal := actorstest.NewMemory()
	if _, err := journal.Append(t.Context(), "topic", storage.ExpectAny, []events.Envelope{e}); err != nil {
		t.Fatal(err)
	}
	page, err := journal.Read(t.Context(), "topic", 0, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("read back: %v, %v", page, err)
	}
	return page.Events[0]
}

// FuzzMessages: what is published is what is delivered, byte for byte, whatever the payload, and under one id.
func FuzzMessages(f *testing.F) {
	f.Add("", "test", "value", []byte(`{"a": 1}`))
	f.Add("1", "correlation_id", "c-1", []byte("x"))
	f.Add("5E7F5E7E-0000-4000-8000-00000000000A", "type", "SendMessage", []byte{})
	f.Add("00000000-0000-0000-0000-000000000000", "message_id", "m", []byte{0xff, 0})
	f.Add("5e7f5e7e-0000-4000-8000-00000000000a", "traceparent", "<&>\u2028", []byte("\"text\""))
	f.Add("x", "causation_id", "agent-a@7", []byte(" [1,\n2] "))
	f.Fuzz(func(t *testing.T, id, key, value string, payload []byte) {
		if !utf8.ValidString(id) || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return // metadata are JSON
		}
		if strings.HasPrefix(key, "$c") || strings.HasPrefix(key, placePrefix) || key == idKey || key == TypeKey && value == "" {
			return // the bus's own
		}
		m := message.NewMessage(id, payload)
		m.Metadata[key] = value
		e, err := envelopeOf(m)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(e.Data) {
			t.Fatalf("data are no JSON: %q", e.Data)
		}
		again, err := envelopeOf(m)
		if err != nil || id != "" && again.ID != e.ID {
			t.Fatalf("ids %s and %s of one message (%v)", e.ID, again.ID, err)
		}
		e = stored(t, e)
		got := messageOf(&e)
		if id != "" && got.UUID != id {
			t.Errorf("id %q became %q", id, got.UUID)
		}
		if !bytes.Equal(got.Payload, payload) {
			t.Errorf("payload %q became %q", payload, got.Payload)
		}
		if got.Metadata[key] != value {
			t.Errorf("metadata %q: %q became %q", key, value, got.Metadata[key])
		}
	})
}

// FuzzForeignEvents: whatever another program wrote is delivered; nothing panics.
func FuzzForeignEvents(f *testing.F) {
	f.Add([]byte(`{"$correlationId":"c","n":1,"deep":{"a":[null]}}`), []byte(`"AAE="`), true)
	f.Add([]byte(`null`), []byte(`"not base64!"`), true)
	f.Add([]byte{0xff}, []byte(`{}`), false)
	f.Fuzz(func(t *testing.T, metadata, data []byte, inBase64 bool) {
		e := events.Envelope{ID: uuid.New(), Kind: "anything", Data: data}
		e.SetMetadata(metadata)
		if e.Foreign != nil {
			e.Foreign.Base64 = inBase64
		}
		m := messageOf(&e)
		if m.UUID == "" || m.Metadata[TypeKey] != "anything" {
			t.Errorf("delivered as %+v", m)
		}
	})
}

func TestLifesOwnEventsAreMessagesToo(t *testing.T) {
	e := events.Envelope{
		ID: uuid.New(), Kind: "turn.ended", Version: 2, Time: 7, Actor: "cli", Command: "c-1", Correlation: "demo/1", Causation: "agent-demo@3",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: json.RawMessage(`{"turn":"demo/1"}`),
	}
	e = stored(t, e)
	m := messageOf(&e)
	want := message.Metadata{
		"version": "2", "time": "7", "actor": "cli", "command": "c-1", "correlation_id": "demo/1", "causation_id": "agent-demo@3",
		"traceparent": e.Traceparent, "digest": e.Digest.String(), "type": "turn.ended",
		"life.stream": "topic", "life.revision": "0", "life.position": "64",
	}
	if !maps.Equal(m.Metadata, want) || m.UUID != e.ID.String() || string(m.Payload) != `{"turn":"demo/1"}` {
		t.Errorf("delivered as %+v", m)
	}
}

// FuzzCommands: whatever comes as a command is read or malformed; what is read is the same when it is written and read again.
func FuzzCommands(f *testing.F) {
	for _, kind := range Types() {
		f.Add(kind, []byte(`{"agent":"demo"}`))
	}
	f.Add("SendMessage", []byte(`{"agent":"demo","text":"<hello>","verb":"steer","from":"me"}`))
	f.Add("Create", []byte(`{"agent":"a","config":{"model":"m","tools":["bash"],"limits":{"tokens":"7"},"policy":{"ask":["*"]}}}`))
	f.Add("CreditWallet", []byte(`{"wallet":"main","micro_dollars":"5"}`))
	f.Add("SendMessage", []byte(`{"agent":"demo","agent":"other"}`))
	f.Add("SendMessage", []byte(`{"agent":null,"text":"x"}`))
	f.Add("Nonsense", []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		command, err := Decode(kind, data)
		var malformed *strictjson.Malformed
		if err != nil {
			if !errors.As(err, &malformed) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		written, err := commandJSON{}.Marshal(command)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(written.Metadata[TypeKey], written.Payload)
		if err != nil {
			t.Fatalf("%s was read, %s is not: %v", data, written.Payload, err)
		}
		if category, _ := command.Stream.Split(); category != events.AgentCategory && category != events.WalletCategory {
			t.Errorf("%s is for %s", kind, command.Stream)
		}
		if written.Metadata[TypeKey] != kind || !reflect.DeepEqual(again, command) && !emptied(data) {
			t.Errorf("%s %s became %+v, then %+v", kind, data, command, again)
		}
	})
}

// emptied reports JSON with a list in it that is empty: it is left out when it is written again.
func emptied(data []byte) bool {
	return regexp.MustCompile(`\[\s*\]`).Match(data)
}

func TestCommandsAreReadStrictly(t *testing.T) {
	for _, test := range []struct{ kind, data, problem string }{
		{"SendMessage", `{"agent":"demo","text":"hi","txt":"x"}`, `there is no field "txt"`},
		{"SendMessage", `{"agent":"Demo!","text":"hi"}`, "whom the command is for"},
		{"SendMessage", `{"text":"hi"}`, "whom the command is for"},
		{"SendMessage", `{"agent":"demo"} {}`, "not one JSON object"},
		{"SendMessage", `{"agent":"demo","text":"` + strings.Repeat("x", mostMessage) + `"}`, "at most 8388608 are allowed"},
		{"Cancel", `{"agent":"demo","by":"` + strings.Repeat("x", mostCommand) + `"}`, "at most 1048576 are allowed"},
		{"SendMessage", `{"agent":"demo","text":"hi","verb":"yell"}`, `verb "yell" is not collect, followup, steer or interrupt`},
		{"SendMessage", `{"agent":"demo","text":"hi","blob":{"hash":"00","size":"1","media":"m"}}`, `there is no field "blob"; the fields are: agent, text, verb, from`},
		{"Create", `{"agent":"demo","config":{"model":"m","tools":[{"name":"bash","risk":"none"}]}}`, `field "config.tools[0]" is an object, want a string`},
		{"OpenWallet", `{"wallet":"w","micro_dollars":5}`, "64-bit numbers are strings"},
		{"Reboot", `{}`, `there is no command "Reboot"; the commands are: Create, `},
		{"", `{}`, `there is no command ""`},
	} {
		var malformed *strictjson.Malformed
		if _, err := Decode(test.kind, []byte(test.data)); !errors.As(err, &malformed) || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %v, want %q", test.kind, err, test.problem)
		}
	}
}

// TestCommandsAsPublished: the JSON of commands is what other programs know it as.
func TestCommandsAsPublished(t *testing.T) {
	for _, test := range []struct {
		command    Command
		kind, data string
	}{
		{say("<hi> \xff\xfe"), "SendMessage", `{"agent":"demo","text":"<hi> �","verb":"collect","from":"me"}`},
		{Command{"wallet-team", sagas.OpenWallet{Wallet: "team", Credit: 5}}, "OpenWallet", `{"wallet":"team","micro_dollars":"5"}`},
		{Command{"wallet-team", sagas.Credit{Amount: 5, By: "ann", Memo: "May"}}, "CreditWallet", `{"wallet":"team","micro_dollars":"5","by":"ann","memo":"May"}`},
		{Command{"agent-demo", sagas.Cancel{}}, "Cancel", `{"agent":"demo"}`},
	} {
		kind, data, err := test.command.Encode()
		if err != nil || kind != test.kind || string(data) != test.data {
			t.Errorf("%+v is %s %s, %v; want %s", test.command, kind, data, err, test.data)
		}
		if read, err := Decode(kind, data); err != nil || read.Stream != test.command.Stream {
			t.Errorf("%s %s: %+v, %v", kind, data, read, err)
		}
	}
	create := sagas.Create{Agent: "a", Config: events.AgentConfig{Model: "m", Tools: []events.ToolGrant{{Name: "bash", Risk: events.RiskHigh}}}}
	if _, data, err := (Command{"agent-a", create}).Encode(); err != nil || !strings.Contains(string(data), `"tools":["bash"]`) {
		t.Errorf("%s, %v", data, err)
	}
	for _, wrong := range []Command{{"agent-a", sagas.Tick{}}, {"wallet-w", sagas.Retire{}}, {"agent-a", sagas.Send{Text: events.Text{Blob: &events.BlobRef{}}}}} {
		if _, data, err := wrong.Encode(); err == nil {
			t.Errorf("%+v was written as %s", wrong, data)
		}
	}
}

func TestTopics(t *testing.T) {
	source, err := sourceOf("category-agent")
	if err != nil || !slices.Equal(source.Filter.Streams, []string{"agent-"}) || source.Stream != "" {
		t.Errorf("category-agent is %+v, %v", source, err)
	}
	for _, topic := range []string{"", "category-", "with\x00nul", strings.Repeat("x", 2000)} {
		if _, err := sourceOf(topic); !errors.Is(err, errTopic) {
			t.Errorf("subscribing to %.20q: %v", topic, err)
		}
	}
	for _, topic := range []string{"", "category-agent", "with\x00nul"} {
		if _, err := streamOf(topic); !errors.Is(err, errTopic) {
			t.Errorf("publishing to %q: %v", topic, err)
		}
	}
}

func TestPublishingAgainAddsNothing(t *testing.T) {
	journal := actorstest.NewMemory()
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	messages := []*message.Message{message.NewMessage("a", []byte("1")), message.NewMessage("b", []byte("2")), message.NewMessage("c", []byte("3"))}
	failed := false
	journal.FailAfter(func(events.Stream, []events.Envelope) error {
		if failed {
			return nil
		}
		failed = true
		return errors.New("the answer was lost")
	})
	for _, some := range [][]*message.Message{messages[:2], messages, messages[1:], {messages[0], messages[0]}} { // the second and last overlap in part
		if err := publisher.Publish("topic", some...); err != nil {
			t.Fatal(err)
		}
	}
	page, err := journal.Read(t.Context(), "topic", 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	var payloads []string
	for i := range page.Events {
		payloads = append(payloads, string(page.Events[i].Data))
	}
	if !failed || !slices.Equal(payloads, []string{"1", "2", "3"}) {
		t.Errorf("the stream holds %q", payloads)
	}
	if err := publisher.Close(); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish("topic", messages...); !errors.Is(err, ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
}

func TestPublishingEndsWithItsContext(t *testing.T) {
	journal := actorstest.NewMemory()
	ctx, cancel := context.WithCancel(t.Context())
	away := errors.New("the store is away")
	journal.Fail(func(events.Stream, []events.Envelope) error { cancel(); return away })
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	m := message.NewMessageWithContext(ctx, "a", []byte("1"))
	if err := publisher.Publish("topic", m); !errors.Is(err, away) && !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
	if err := publisher.Publish("topic", message.NewMessage("b", make([]byte, storage.MaxAppend))); err == nil {
		t.Error("a message that no store takes was published")
	}
}
