package events

import (
	"encoding/json"
	"testing"
)

// TestEncodeAll: events that are encoded together have the data that each has alone, and none can grow into the next one's.
func TestEncodeAll(t *testing.T) {
	var e Encoder
	all := []Event{
		TurnEnded{Turn: "a/1", Outcome: Done},
		Unknown{Of: "turn.folded", Version: 7, Data: json.RawMessage(`{"a": "<"}`)},
		ToolRequested{Turn: "a/1", Call: "1.1", Tool: "read", Arguments: json.RawMessage(`{"path":"<b>"}`)},
	}
	for range 2 { // the second time in memory that was used
		var got []json.RawMessage
		if err := e.EncodeAll(all, func(event Event, data json.RawMessage, version int) {
			want, of, err := Encode(event)
			if err != nil || string(data) != string(want) || version != of {
				t.Errorf("%T is %s in version %d together with others, %s in version %d alone (%v)", event, data, version, want, of, err)
			}
			got = append(got, data)
		}); err != nil || len(got) != len(all) {
			t.Fatalf("%d of %d events: %v", len(got), len(all), err)
		}
		next := string(got[1])
		_ = append(got[0], "grown"...)
		if string(got[1]) != next {
			t.Errorf("the second became %s", got[1])
		}
	}
	broken := ToolRequested{Arguments: json.RawMessage(`{`)}
	if err := e.EncodeAll([]Event{all[0], broken}, func(event Event, _ json.RawMessage, _ int) { t.Errorf("%T is handed on", event) }); err == nil {
		t.Error("arguments that are no JSON can be encoded")
	}
}
