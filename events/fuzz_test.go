package events_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"example.com/life/events"
)

// FuzzDecode gives every kind arbitrary data: it is refused or read, never a panic, and what was read is stable from then on.
func FuzzDecode(f *testing.F) {
	for _, event := range examples() {
		data, version, err := events.Encode(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(event.Kind()), version, []byte(data))
	}
	f.Add("turn.folded", 1, []byte(`{"x":1}`))
	f.Add("turn.ended", 1, []byte("{\"turn\":\"\xff\",\"cost\":\"-9223372036854775808\"}"))
	f.Fuzz(func(t *testing.T, kind string, version int, data []byte) {
		event, err := events.Decode(events.Kind(kind), version, data)
		if err != nil {
			return
		}
		if strings.ContainsFunc(event.String(), unicode.IsControl) {
			t.Errorf("%s says %q, want one line without control characters", kind, event)
		}
		if unknown, ok := event.(events.Unknown); ok {
			if !bytes.Equal(unknown.Data, data) || unknown.Version != version {
				t.Errorf("an unknown event was changed: %+v", unknown)
			}
			return
		}
		once, version, err := events.Encode(event)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := events.Decode(events.Kind(kind), version, once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice, _, err := events.Encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("written once as %s, twice as %s, %v", once, twice, err)
		}
	})
}

// FuzzArguments checks that compact arguments come back from the store byte for byte: an approval is bound to them.
func FuzzArguments(f *testing.F) {
	f.Add([]byte(`{"command":"a<b && c>d","u":"\u2028"}`))
	f.Add([]byte(`"not json"`))
	f.Fuzz(func(t *testing.T, arguments []byte) {
		var canonical bytes.Buffer
		if json.Compact(&canonical, arguments) != nil {
			return
		}
		sent := events.ToolRequested{Call: "1.1", Arguments: canonical.Bytes()}
		data, version, err := events.Encode(sent)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := events.Decode(sent.Kind(), version, data)
		if err != nil || !reflect.DeepEqual(stored, sent) {
			t.Errorf("stored %s, read %v, %v", data, stored, err)
		}
	})
}

func FuzzParseMoney(f *testing.F) {
	for _, seed := range []string{"5", "0.25", "$1.000001", "-1", "1e9", "9223372036853.999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := events.ParseMoney(text)
		if err != nil {
			return
		}
		if again, err := events.ParseMoney(amount.String()); amount < 0 || err != nil || again != amount {
			t.Errorf("%q is %s, which reads as %s, %v", text, amount, again, err)
		}
	})
}

func FuzzRefSplit(f *testing.F) {
	for _, seed := range []string{"agent-a@0", "effect-agent-a@1@2", "a@+1", "@", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		stream, revision, err := events.Ref(text).Split()
		if err == nil && (stream == "" || revision < 0 || events.NewRef(stream, revision) != events.Ref(text)) {
			t.Errorf("%q was split into %q and %d", text, stream, revision)
		}
	})
}

func FuzzDigestText(f *testing.F) {
	f.Add([]byte(strings.Repeat("0f", 32)))
	f.Add([]byte("0f"))
	f.Add([]byte(strings.Repeat("0", 63) + "g"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := events.Digest{1, 2, 3}
		digest := before
		if err := digest.UnmarshalText(text); err != nil {
			if digest != before {
				t.Errorf("reading %q gave %v and changed the digest to %s", text, err, digest)
			}
			return
		}
		if written, err := digest.MarshalText(); err != nil || !strings.EqualFold(string(written), string(text)) {
			t.Errorf("%q was read and written %s, %v", text, written, err)
		}
	})
}

func FuzzRiskText(f *testing.F) {
	for level := events.RiskNone; level <= events.RiskHigh; level++ {
		f.Add([]byte(level.String()))
	}
	f.Add([]byte("risk(1)"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var level events.RiskLevel
		if err := level.UnmarshalText(text); err != nil {
			return
		}
		if written, err := level.MarshalText(); err != nil || !bytes.Equal(written, text) {
			t.Errorf("%q was read and written %q, %v", text, written, err)
		}
	})
}
