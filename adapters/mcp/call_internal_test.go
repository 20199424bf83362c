package mcp

import "testing"

// TestUnchanged: what was masked when a schema was recorded may be anything now; all else is as it was.
func TestUnchanged(t *testing.T) {
	for _, c := range []struct {
		now, recorded string
		want          bool
	}{
		{`{"type":"object"}`, `{"type":"object"}`, true},
		{`{"type":"string"}`, `{"type":"object"}`, false},
		{`{"default":"k-123","type":"object"}`, `{"default":"[masked: KEY]","type":"object"}`, true},
		{`{"default":123,"type":"object"}`, `{"default":"[masked: KEY]","type":"object"}`, true},
		{`{"default":"k-123","type":"string"}`, `{"default":"[masked: KEY]","type":"object"}`, false},
		{`{"a":"k-123","b":"k-123","c":1}`, `{"a":"[masked: KEY]","b":"[masked: KEY]","c":1}`, true},
		{`{"a":"k-123","x":"k-123","c":1}`, `{"a":"[masked: KEY]","b":"[masked: KEY]","c":1}`, false},
		{`{"c":1}`, `{"a":"[masked: KEY]","c":1}`, false},
	} {
		if got := unchanged(c.now, c.recorded); got != c.want {
			t.Errorf("%s, recorded as %s, is unchanged: %v", c.now, c.recorded, got)
		}
	}
}
