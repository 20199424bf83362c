package events_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"example.com/life/events"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain, é, 漢字, ни, עברית, 👍":     "plain, é, 漢字, ни, עברית, 👍",
		"a\x1b[31mb\x07\x00\r":           "a␛[31mb␇␀␍",
		"two\nlines\tand\vmore":          "two\nlines\tand␋more",
		"\u202egpj.exe\u2069\u061c":      "<U+202E>gpj.exe<U+2069><U+061C>",
		"zero\u200bwidth\ufeff\u2060":    "zero<U+200B>width<U+FEFF><U+2060>",
		"\u2028\u2029\u0085\u009b":       "<U+2028><U+2029><U+0085><U+009B>",
		"soft\u00adhyphen\u180e\u3164":   "soft<U+00AD>hyphen<U+180E><U+3164>",
		"tag\U000e0041\U000e007f":        "tag<U+E0041><U+E007F>",
		"a\ufe0fb \U000e0100":            "a<U+FE0F>b <U+E0100>",
		"👩\u200d👩\u200d👧 ❤\ufe0f":        "👩\u200d👩\u200d👧 ❤\ufe0f",
		"r\u200dm 👍\u200drm":             "r<U+200D>m 👍<U+200D>rm",
		"bad \xff\xfe utf8":              "bad \ufffd\ufffd utf8",
		"blank\u2800":                    "blank<U+2800>",
		"\u0601 is drawn, \u2064 is not": "\u0601 is drawn, <U+2064> is not",
	} {
		if got := events.Visible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := events.VisibleLine("a\nb\tc"); got != "a␊b␉c" {
		t.Errorf("on a line: %q", got)
	}
}

// FuzzVisible: whatever a text holds, nothing of it acts on a terminal, and what is visible stays as it is.
func FuzzVisible(f *testing.F) {
	for _, text := range []string{"a\x1b]0;t\x07", "\u202e\u200b", "👩\u200d👩", "\xff", "\u200d\u200d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := events.VisibleLine(text)
		if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
			t.Errorf("%q is shown as %q", text, line)
		}
		if again := events.VisibleLine(line); again != line {
			t.Errorf("%q shown again is %q", line, again)
		}
	})
}

// TestShowArguments: all of what a person decides on is shown, as it would run.
func TestShowArguments(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{`{"command":"echo \"harmless\"; rm -rf important"}`, `command: echo "harmless"; rm -rf important`},
		{`{"command":"ls` + strings.Repeat(" ", 300) + `; echo HIDDEN"}`, "command: ls" + strings.Repeat(" ", 300) + "; echo HIDDEN"},
		{`{"command":"set -e\n\trm x\n"}`, "command: \"set -e\\n\\trm x\\n\""},
		{`{"command":"set -e\n\trm x","n":5}`, "command:\n  | set -e\n  | \trm x\nn: 5"},
		{`{"path":"a","text":" b"}`, "path: a\ntext: \" b\""},
		{`{"b":{"x":["\u001b[2J"]},"a":null,"c":""}`, "a: null\nb: {\"x\":[\"\\u001b[2J\"]}\nc: \"\""},
		{`{"command":"\u202eevil\u001b[1A\u001b[2K\u200b\r"}`, "command: \"<U+202E>evil\\u001b[1A\\u001b[2K<U+200B>\\r\""},
		{`{"command":"x \u001b[1Ay"}`, "command: x ␛[1Ay"},
		{`{"com\nmand":"x"}`, "com␊mand: x"},
		{`{}`, `{}`},
		{`"no object"`, `"no object"`},
		{``, ``},
	} {
		var compact json.RawMessage
		if test.arguments != "" {
			var value any
			if err := json.Unmarshal([]byte(test.arguments), &value); err != nil {
				t.Fatal(err)
			}
			encoded, err := events.PlainJSON(value)
			if err != nil {
				t.Fatal(err)
			}
			compact = encoded
		}
		lines, left := events.ShowArguments(compact, nil, 1000)
		if got := strings.Join(lines, "\n"); got != test.want || left != 0 {
			t.Errorf("%s is shown as\n%s\nwant\n%s (%d left out)", test.arguments, got, test.want, left)
		}
	}
}

// TestShowArgumentsCut: of what is too long both ends are shown, and how much is left out.
func TestShowArgumentsCut(t *testing.T) {
	arguments, err := events.PlainJSON(map[string]string{"command": "BEGIN" + strings.Repeat("é", 5000) + "\nEND"})
	if err != nil {
		t.Fatal(err)
	}
	lines, left := events.ShowArguments(arguments, nil, 400)
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "BEGIN") || !strings.HasSuffix(text, "END") || !strings.Contains(text, "bytes are left out here") || strings.ContainsRune(text, '\ufffd') {
		t.Errorf("shown: %s", text)
	}
	all, none := events.ShowArguments(arguments, nil, 1<<20)
	if whole := len(strings.Join(all, "\n")); none != 0 || left < whole-400 || left > whole-390 {
		t.Errorf("%d bytes of %d are left out, and %d of all", left, whole, none)
	}
	if line := events.LineArguments(arguments, nil, 100); !strings.HasPrefix(line, `{"command":"BEGIN`) || !strings.HasSuffix(line, "bytes are left out)") {
		t.Errorf("on a line: %s", line)
	}
	asked := events.ApprovalRequested{Call: "1.1", Tool: "bash", Arguments: arguments}
	if !asked.Cut() || !strings.Contains(asked.String(), "bytes are left out)") {
		t.Errorf("the sentence: %v, %s", asked.Cut(), asked)
	}
}

// TestShowArgumentsPreview: a preview is named as one, however short it is.
func TestShowArgumentsPreview(t *testing.T) {
	whole := &events.BlobRef{Size: 70_000}
	lines, left := events.ShowArguments(json.RawMessage(`{"command":"echo harmless…"}`), whole, 1000)
	if text := strings.Join(lines, "\n"); left < 69_900 || !strings.Contains(text, "arguments of 70000 bytes") {
		t.Errorf("%d bytes are left out of\n%s", left, text)
	}
	asked := events.ApprovalRequested{Call: "1.1", Tool: "bash", Arguments: json.RawMessage(`{"command":"echo harmless…"}`), Blob: whole}
	if !asked.Cut() || !strings.Contains(asked.String(), "bytes are left out)") {
		t.Errorf("the sentence: %v, %s", asked.Cut(), asked)
	}
}
