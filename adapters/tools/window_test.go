package tools_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestWindowsFarIntoLargeFiles: what is passed over makes no difference to what is shown, and lines keep their numbers.
func TestWindowsFarIntoLargeFiles(t *testing.T) {
	b := newBench(t)
	var content strings.Builder
	const lines = 90_000
	for i := range lines {
		fmt.Fprintf(&content, "line %d %s\n", i+1, strings.Repeat("x", i%200))
	}
	content.WriteString(strings.Repeat("long ", 1<<20)) // one line of several pieces
	content.WriteString("\nlast")
	b.write("large", content.String())
	for _, line := range []int{1, 2, 3, 9_000, 40_000, 40_001, 77_777, lines} {
		want := fmt.Sprintf("line %d %s\n\n[lines %d to %d are shown; there are more: continue with offset=%d]", line, strings.Repeat("x", (line-1)%200), line, line, line+1)
		b.works("read_file", args{"path": "large", "offset": line, "limit": 1}, want)
	}
	if text, failed := b.run("read_file", args{"path": "large", "offset": lines + 1}); failed || !strings.Contains(text, "more bytes in this line]\nlast") {
		t.Errorf("%.300s", text)
	}
	b.works("read_file", args{"path": "large", "offset": lines + 2}, "last")
	b.fails("read_file", args{"path": "large", "offset": lines + 3}, fmt.Sprintf("only %d lines", lines+2))
}
