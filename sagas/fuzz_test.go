package sagas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
)

// FuzzCanonical: canonical JSON is canonical again, has the value that was written, and equal values have equal bytes.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "b" : 1.0, "a" : [ 1e400, null, "<&>\u2028\ud800" ] } `, `{"a":1,"a":2}`, `{"a":{"b":{}}} x`, `null`, `[1]`, `"{}"`, ``,
		"{\"\xff\":\"\x00\"}", `{"":-0}`, `{"a":1}{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		canonical, err := sagas.Canonical(raw)
		if err != nil {
			return
		}
		if written, read := value(t, raw), value(t, canonical); !reflect.DeepEqual(written, read) {
			t.Fatalf("%s became %s", raw, canonical)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, canonical, " ", "\t"); err != nil {
			t.Fatalf("canonical %s is no JSON: %v", canonical, err)
		}
		escaped, err := json.Marshal(canonical) // as a snapshot is written
		if err != nil {
			t.Fatalf("canonical %s cannot be embedded: %v", canonical, err)
		}
		for _, same := range [][]byte{canonical, indented.Bytes(), escaped} {
			if again, err := sagas.Canonical(same); err != nil || !bytes.Equal(again, canonical) {
				t.Fatalf("canonical %s, written as %s, becomes %s (%v)", canonical, same, again, err)
			}
		}
	})
}

func value(t *testing.T, raw []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v", err)
	}
	return value
}

// FuzzConfig: a configuration is refused, or it can be stored, and gives a turn whose limits are positive and overflow nothing.
func FuzzConfig(f *testing.F) {
	valid, err := json.Marshal(testConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid, int64(0), 0, "other")
	f.Add(valid, int64(0), 0, "pay")
	f.Add(valid, int64(-1), 0, "other")
	f.Add(valid, int64(1<<63-1), 0, "other")
	f.Add(valid, int64(1), 1<<40, "other")
	f.Add(valid, int64(1), 1, "\xff")
	f.Add([]byte(`{"policy":{"on_lost":"shrug"}}`), int64(1), 9, "*")
	f.Fuzz(func(t *testing.T, raw []byte, limit int64, risk int, tool string) {
		var c events.AgentConfig
		if json.Unmarshal(raw, &c) != nil {
			return
		}
		c.Limits.Time, c.Limits.ContextTokens, c.Limits.ApprovalTime = events.Micros(limit), limit, events.Micros(limit)
		c.Tools = append(c.Tools, events.ToolGrant{Name: tool, Risk: events.RiskLevel(risk)})
		h := newHistory(sagas.NewAgent)
		if _, err := h.decide(t, sagas.Create{Meta: sagas.Meta{ID: "c1", At: start}, Agent: "a", Config: c}); err != nil {
			var refusal *sagas.RefusalError
			if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
				t.Fatalf("%v, want a refusal as invalid", err)
			}
			return
		}
		if _, err := h.decide(t, sagas.Send{Meta: sagas.Meta{ID: "c2", At: start}, Verb: events.Collect, Text: events.Text{Inline: "go"}}); err != nil {
			t.Fatalf("a message to an agent with an accepted configuration: %v", err)
		}
		for _, request := range h.saga.Ready() {
			switch r := request.(type) {
			case sagas.Wake:
				if r.At <= start {
					t.Fatalf("the turn's time is up before it begins")
				}
			case sagas.AskReserve:
				if r.Amount <= 0 {
					t.Fatalf("the turn asks for %s", r.Amount)
				}
			}
		}
	})
}
