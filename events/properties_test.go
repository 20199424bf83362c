package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"example.com/life/events"
)

func TestMoneyText(t *testing.T) {
	for amount, want := range map[events.Money]string{
		0: "$0.00", 1: "$0.000001", 12: "$0.000012", 1_500_000: "$1.50", 1_230_000: "$1.23", 1_234_000: "$1.234",
		-3_000_000: "-$3.00", -1: "-$0.000001", math.MaxInt64: "$9223372036854.775807", math.MinInt64: "-$9223372036854.775808",
	} {
		if got := amount.String(); got != want {
			t.Errorf("%d micro-dollars are %s, want %s", int64(amount), got, want)
		}
	}
	for text, want := range map[string]events.Money{
		"5": 5_000_000, "0.25": 250_000, "$1.000001": 1_000_001, " 7.5 ": 7_500_000, "0": 0, "12.": 12_000_000,
	} {
		if got, err := events.ParseMoney(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{
		"", "$", ".5", "-1", "+1", "1.0000001", "1e6", "1,000", "1.2.3", "0x1", "1_0", "9223372036854.775807", "99999999999999999999", "1.-5", "١",
	} {
		if got, err := events.ParseMoney(text); err == nil {
			t.Errorf("%q was read as %s, want an error", text, got)
		}
	}
}

func TestMoneyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := events.Money(rapid.Int64Range(0, math.MaxInt64-2*int64(events.Dollar)).Draw(t, "amount"))
		if got, err := events.ParseMoney(amount.String()); err != nil || got != amount {
			t.Fatalf("%d was written %s and read %d, %v", int64(amount), amount, int64(got), err)
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "0", "billing-2", "a.b_c-d", strings.Repeat("x", 64)} {
		for what, err := range validations(name) {
			if err != nil {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"", ".", "..", "-a", "_a", "A", "a/b", "a@1", "a b", "ä", "a\x00", strings.Repeat("x", 65)} {
		for what, err := range validations(name) {
			if !errors.Is(err, events.ErrInvalidID) {
				t.Errorf("%s %q: error %v, want ErrInvalidID", what, name, err)
			}
		}
	}
}

func validations(name string) map[string]error {
	return map[string]error{
		"agent":  events.AgentID(name).Validate(),
		"wallet": events.WalletID(name).Validate(),
		"tenant": events.TenantID(name).Validate(),
	}
}

func TestCommandIDs(t *testing.T) {
	for _, id := range []events.CommandID{"x", "web:17/a@b", events.CommandID(strings.Repeat("~", 128))} {
		if err := id.Validate(); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []events.CommandID{"", "a b", "a\n", "\x7f", "é", events.CommandID(strings.Repeat("x", 129))} {
		if err := id.Validate(); !errors.Is(err, events.ErrInvalidID) {
			t.Errorf("%q: error %v, want ErrInvalidID", id, err)
		}
	}
}

func TestDerivedNames(t *testing.T) {
	turn := events.NewTurnID("billing", 7)
	if turn != "billing/7" || turn.Agent() != "billing" || events.TurnID("billing").Agent() != "" {
		t.Errorf("turn %s of agent %s", turn, turn.Agent())
	}
	if call := events.NewCallID(2, 1); call != "2.1" {
		t.Errorf("call %s", call)
	}
	for stream, want := range map[events.Stream][2]string{
		events.AgentStream("billing-2"):          {"agent", "billing-2"},
		events.WalletStream("office"):            {"wallet", "office"},
		events.HomeostasisStream("accounts"):     {"homeostasis", "accounts"},
		events.EffectStream("agent-billing-2@9"): {"effect", "agent-billing-2@9"},
		"bare":                                   {"bare", ""},
	} {
		if category, id := stream.Split(); category != want[0] || id != want[1] {
			t.Errorf("%s is split into %s and %s, want %v", stream, category, id, want)
		}
	}
	if agent, ok := events.AgentStream("a-b").Agent(); !ok || agent != "a-b" {
		t.Errorf("agent %s, %v", agent, ok)
	}
	if agent, ok := events.WalletStream("a").Agent(); ok {
		t.Errorf("the stream of a wallet belongs to agent %q", agent)
	}
}

func TestRefs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := events.Stream(rapid.StringMatching(`[a-z]+-[a-z0-9@._-]+`).Draw(t, "stream"))
		revision := events.Revision(rapid.Int64Min(0).Draw(t, "revision"))
		gotStream, gotRevision, err := events.NewRef(stream, revision).Split()
		if err != nil || gotStream != stream || gotRevision != revision {
			t.Fatalf("%s was split into %s and %d, %v", events.NewRef(stream, revision), gotStream, gotRevision, err)
		}
	})
	for _, ref := range []events.Ref{"", "@", "@1", "a", "a@", "a@-1", "a@+1", "a@01", "a@1x", "a@9223372036854775808"} {
		if _, _, err := ref.Split(); !errors.Is(err, events.ErrInvalidID) {
			t.Errorf("%q: error %v, want ErrInvalidID", ref, err)
		}
	}
}

// TestDigestChain checks that no event of a chain can be changed, left out, added or moved without changing its end.
func TestDigestChain(t *testing.T) {
	link := rapid.Custom(func(t *rapid.T) [2]string {
		kind := rapid.SampledFrom(events.Catalog).Draw(t, "spec").Kind
		size := rapid.SampledFrom([]int{0, 8, 970, 980, 1100}).Draw(t, "size") // around the buffer on the stack
		return [2]string{string(kind), `{"text":"` + strings.Repeat("x", size) + rapid.StringMatching(`[a-z]{0,3}`).Draw(t, "text") + `"}`}
	})
	end := func(chain [][2]string) events.Digest {
		var digest events.Digest
		for _, link := range chain {
			digest = digest.Next(events.Kind(link[0]), []byte(link[1]))
		}
		return digest
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOfN(link, 0, 6).Draw(t, "a"), rapid.SliceOfN(link, 0, 6).Draw(t, "b")
		if same := len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)); same != (end(a) == end(b)) {
			t.Fatalf("chains equal: %v, digests %s and %s", same, end(a), end(b))
		}
	})
	const want = "9ad0cc9463052a8e" // of the first link below: the algorithm is part of every store and must never change
	if got := (events.Digest{}).Next("agent.retired", []byte(`{}`)).String(); !strings.HasPrefix(got, want) {
		t.Errorf("the chain begins %s, want %s…: digests in existing stores would no longer verify", got, want)
	}
}

func TestBlobRefs(t *testing.T) {
	good := events.BlobRef{Hash: events.HashBytes([]byte("x")), Size: 1, Media: "text/plain"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, bad := range map[string]events.BlobRef{
		"short": {Hash: "00"}, "upper": {Hash: strings.ToUpper(good.Hash)}, "path": {Hash: "../" + good.Hash[3:]}, "negative": {Hash: good.Hash, Size: -1},
	} {
		if err := bad.Validate(); !errors.Is(err, events.ErrInvalidID) {
			t.Errorf("%s: error %v, want ErrInvalidID", what, err)
		}
	}
}

func TestPreview(t *testing.T) {
	if short := strings.Repeat("é", events.PreviewLimit/2); events.Preview(short) != short {
		t.Error("a text within the limit was cut")
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 3*events.PreviewLimit, -1).Draw(t, "text")
		preview := events.Preview(text)
		kept := strings.TrimSuffix(preview, "…")
		switch {
		case len(preview) > events.PreviewLimit:
			t.Fatalf("preview has %d bytes, want at most %d", len(preview), events.PreviewLimit)
		case !utf8.ValidString(preview):
			t.Fatalf("preview splits a character: %q", preview)
		case len(text) <= events.PreviewLimit && preview != text, !strings.HasPrefix(text, kept):
			t.Fatalf("preview %q is not the beginning of %q", preview, text)
		}
	})
}

// TestUnknown checks that what a newer build stored passes through this one unchanged.
func TestUnknown(t *testing.T) {
	for _, test := range []struct {
		kind    events.Kind
		version int
		data    string
	}{
		{"turn.folded", 1, `{ "b": 1,  "a": "<&>" }`},
		{"turn.started", 99, `{"turn":{"agent":"a","n":"7"}}`},
		{"turn.folded", 0, `null`},
	} {
		event, err := events.Decode(test.kind, test.version, json.RawMessage(test.data))
		if err != nil {
			t.Fatal(err)
		}
		data, version, err := events.Encode(event)
		if err != nil || event.Kind() != test.kind || version != test.version || string(data) != test.data {
			t.Errorf("%s@%d %s came back as %s@%d %s, %v", test.kind, test.version, test.data, event.Kind(), version, data, err)
		}
		if want := "unknown event " + string(test.kind); !strings.HasPrefix(event.String(), want) {
			t.Errorf("it says %q, want %s…", event, want)
		}
	}
}

func TestEncodeRefusesStrangers(t *testing.T) {
	if _, _, err := events.Encode(stranger{}); err == nil || !strings.Contains(err.Error(), "not in events.Catalog") {
		t.Errorf("error %v, want one that names the catalogue", err)
	}
}

type stranger struct{}

func (stranger) Kind() events.Kind { return "stranger.met" }
func (stranger) String() string    { return "a stranger was met" }

func TestEnvelopeNamesItsEvent(t *testing.T) {
	envelope := events.Envelope{Stream: "agent-a", Revision: 3, Kind: "turn.started", Version: 1, Data: json.RawMessage(`{"turn":7}`)}
	if _, err := envelope.Event(); err == nil || !strings.HasPrefix(err.Error(), "decode event agent-a@3: decode turn.started version 1: ") {
		t.Errorf("error %v", err)
	}
}

// TestEnvelopeJSON checks that an envelope keeps its data byte for byte, and its numbers beyond what doubles hold.
func TestEnvelopeJSON(t *testing.T) {
	data := json.RawMessage(`{"text":"<a> & b"}`)
	sent := events.Envelope{
		Stream: "agent-a", Revision: 1<<60 + 1, Position: 1<<63 + 1, Kind: "agent.retired", Version: 1, Data: data,
		Digest: events.Digest{}.Next("agent.retired", data),
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(sent); err != nil {
		t.Fatal(err)
	}
	var got events.Envelope
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("%s was read as %+v, %v", out.Bytes(), got, err)
	}
}

// TestSentencesAreOneLine gives events what models and tools may write: line breaks and terminal commands.
func TestSentencesAreOneLine(t *testing.T) {
	const evil = "a\nb\x1b[2J\u0085c"
	for _, event := range []events.Event{
		events.ToolRefused{Call: "1.1", Tool: evil, Reason: evil},
		events.ModelFailed{Class: events.ErrorInvalid, Detail: evil},
		events.MessageReceived{Message: "m1", From: evil, Text: events.Text{Inline: evil}},
		events.AgentReleased{By: evil},
		events.Unknown{Of: evil, Data: json.RawMessage(evil)},
		events.ModelReplied{Calls: []events.ModelCall{{Tool: evil}}},
	} {
		if sentence := event.String(); strings.ContainsFunc(sentence, unicode.IsControl) {
			t.Errorf("%T says %q, want one line without control characters", event, sentence)
		}
	}
}

func TestRisk(t *testing.T) {
	if _, err := events.RiskLevel(9).MarshalText(); err == nil {
		t.Error("a risk level that cannot be read was written")
	}
	if events.RiskLevel(9).String() != "risk(9)" {
		t.Error("a strange level does not say its number")
	}
}

func TestModes(t *testing.T) {
	for _, mode := range []events.OperatingMode{
		events.ModeExplore, events.ModeExecute, events.ModeVerify, events.ModeRecover, events.ModeAskHuman, events.ModeSleep,
	} {
		if err := mode.Validate(); err != nil {
			t.Error(err)
		}
	}
	if err := events.OperatingMode("dream").Validate(); err == nil {
		t.Error("dream is not a mode")
	}
}

func TestRetryable(t *testing.T) {
	for class, want := range map[events.ErrorClass]bool{
		events.ErrorRateLimited: true, events.ErrorOverloaded: true, events.ErrorTruncated: true, events.ErrorTimeout: true,
		events.ErrorContext: false, events.ErrorAuth: false, events.ErrorRefused: false, events.ErrorInvalid: false, "new": false,
	} {
		if class.Retryable() != want {
			t.Errorf("%s is retryable: %v, want %v", class, !want, want)
		}
	}
}

func TestUsage(t *testing.T) {
	sum := events.Usage{Input: 1, Output: 2, Cached: 3}.Plus(events.Usage{Input: 10, Output: 20, Cached: 30})
	if want := (events.Usage{Input: 11, Output: 22, Cached: 33}); sum != want || sum.Total() != 33 {
		t.Errorf("sum %+v with total %d, want %+v with 33", sum, sum.Total(), want)
	}
}
