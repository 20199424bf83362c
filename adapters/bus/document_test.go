package bus

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestDocument reads every example of a command in docs/bus.md as the ingress would.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/bus.md")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\| `(\\{.*\\})` \\|$").FindAllStringSubmatch(string(document), -1) {
		if _, err := Decode(row[1], []byte(row[2])); err != nil {
			t.Errorf("docs/bus.md: %s %s: %v", row[1], row[2], err)
		}
		seen = append(seen, row[1])
	}
	if !slices.Equal(seen, Types()) {
		t.Errorf("docs/bus.md shows the commands %q, there are %q", seen, Types())
	}
}
