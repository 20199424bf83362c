package events_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
)

// TestMetadataRoundTrip takes envelopes apart and puts them together again.
func TestMetadataRoundTrip(t *testing.T) {
	full := events.Envelope{
		Version: 3, Time: -12, Actor: `the "cli" <&> ` + "é\n", Command: "c-1", Correlation: "turn", Causation: "agent-a@7",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Host: "books-1#17", Digest: events.Digest{1, 2, 255},
	}
	for _, want := range []events.Envelope{full, {Version: 1}, {Version: 1, Time: 5, Correlation: `\`}, {Version: 1, Host: `h"#1`}} {
		metadata := want.Metadata()
		if !json.Valid(metadata) {
			t.Errorf("%s is no JSON", metadata)
		}
		var got events.Envelope
		got.SetMetadata(metadata)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metadata, diff)
		}
	}
}

// TestMetadataOfOthers keeps what other programs wrote, and finds in it what tools agree on.
func TestMetadataOfOthers(t *testing.T) {
	for _, test := range []struct {
		metadata string
		want     events.Envelope
	}{
		{metadata: ""},
		{metadata: "\x00\xff"},
		{metadata: `{"version":1}`},
		{metadata: `{"$correlationId":"c","$causationId":"d","traceparent":"t","x":1}`, want: events.Envelope{Correlation: "c", Causation: "d", Traceparent: "t"}},
		{metadata: `{"$correlationId":7}`},
		{metadata: ` ` + string((&events.Envelope{Version: 2, Time: 1, Correlation: "c"}).Metadata()), want: events.Envelope{Correlation: "c"}},
		{metadata: `{"version":01,"time":"0","digest":"0000000000000000000000000000000000000000000000000000000000000000"}`},
	} {
		got := events.Envelope{Version: 9, Time: 9, Actor: "before", Digest: events.Digest{1}}
		got.SetMetadata([]byte(test.metadata))
		test.want.Version, test.want.Foreign = 1, &events.Foreign{Metadata: []byte(test.metadata)}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.metadata, diff)
		}
	}
}

// FuzzMetadata checks that no metadata are changed by being read and written.
func FuzzMetadata(f *testing.F) {
	full := events.Envelope{Version: 3, Time: 12, Actor: `a"`, Command: "c", Correlation: "t", Causation: "x@7", Traceparent: "p", Host: "h#1"}
	f.Add(full.Metadata())
	f.Add([]byte(`{"$correlationId":"c"}`))
	f.Add([]byte(`{"version":1,"time":"1","actor":"\`))
	f.Fuzz(func(t *testing.T, metadata []byte) {
		var e events.Envelope
		e.SetMetadata(metadata)
		if got := e.Metadata(); !bytes.Equal(got, metadata) {
			t.Errorf("%q became %q", metadata, got)
		}
	})
}
