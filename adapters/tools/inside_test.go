package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"pgregory.net/rapid"

	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/plaintext"
)

type everyKind struct {
	Path  string `json:"path" min:"1" max:"4"`
	Count int    `json:"count,omitempty" min:"-2" max:"1000"`
	All   bool   `json:"all,omitempty"`
	Free  string `json:"free,omitempty"`
}

// FuzzForm holds a form to its schema: it accepts what the schema accepts, and then fills in what encoding/json would.
func FuzzForm(f *testing.F) {
	form, text, err := formOf[everyKind]()
	if err != nil {
		f.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		f.Fatal(err)
	}
	oracle, err := schema.Resolve(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"path":"a"}`, `{"path":"éééé","count":1000,"all":false,"free":""}`, `{"path":"ééééé"}`, `{"path":""}`, `{"path":null}`, `{}`, `[]`, `null`, `"x"`,
		`{"path":"a","count":-2.0}`, `{"path":"a","count":1e3}`, `{"path":"a","count":1.5}`, `{"path":"a","count":1001}`, `{"path":"a","count":"1"}`,
		`{"path":"a","all":0}`, `{"path":"a","free":[]}`, `{"path":"a","Path":"b"}`, `{"path":"a","path":"b"}`, `{"path":"a"} x`, `{"path":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, arguments []byte) {
		var got everyKind
		wrong := form.fill(arguments, &got)
		var value any
		err := json.Unmarshal(arguments, &value)
		if err == nil {
			err = oracle.Validate(value)
		}
		if (err == nil) != (len(wrong) == 0) {
			t.Fatalf("%q: the form says %q, the schema %v", arguments, wrong, err)
		}
		for _, problem := range wrong {
			if !strings.Contains(problem, ": ") || len(problem) > 300 {
				t.Errorf("%q: %q names no field or is too long", arguments, problem)
			}
		}
		if again, err := json.Marshal(value); err == nil && len(wrong) == 0 {
			var want everyKind
			if err := json.Unmarshal(again, &want); err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%q: filled in %+v, want %+v", arguments, got, want)
			}
		}
	})
}

func TestFormSaysAllThatIsWrongInWordsForAModel(t *testing.T) {
	form, _, err := formOf[everyKind]()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(form.fill(json.RawMessage(`{"count":"7","all":null,"free":{"a":1},"extra":1}`), &everyKind{}), "\n")
	want := `path: is missing
count: must be a whole number, not the string "7"
all: must be true or false, not null
free: must be a string, not an object
extra: there is no such argument; there are path, count, all, free`
	if got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestFormRefusesStructsItCannotFill(t *testing.T) {
	_, _, list := formOf[struct {
		List []int `json:"list"`
	}]()
	_, _, bound := formOf[struct {
		N int `json:"n" min:"many"`
	}]()
	if list == nil || bound == nil {
		t.Errorf("a list gives %v, a bound that is no number %v", list, bound)
	}
}

// TestPathsNeverEscape makes trees with links that lead anywhere and walks them by any path: nothing that is read is the secret,
// and nothing outside is created.
func TestPathsNeverEscape(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "c", ".", "..", "", "secret", "w", "\x00", "é", strings.Repeat("n", 256)})
	top, cases := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		cases++
		dir := filepath.Join(top, strconv.Itoa(cases))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w, err := openWorkspaceIn(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		name := rapid.Custom(func(t *rapid.T) string {
			name := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), "/")
			if rapid.IntRange(0, 3).Draw(t, "absolute") == 0 {
				name = dir + "/" + name
			}
			return name
		})
		for range rapid.IntRange(0, 6).Draw(t, "links") {
			link, to := name.Draw(t, "link"), name.Draw(t, "to")
			if p, err := w.resolve(link, true); err == nil {
				_ = w.root.Symlink(to, p.name) // most cannot be made, which is fine
			}
		}
		for range 4 {
			given := name.Draw(t, "path")
			if content, err := readFile(t.Context(), w, readFileArgs{Path: given}); err == nil && strings.Contains(content, "secret") {
				t.Errorf("%q reads %q", given, content)
			}
			_, _ = writeFile(t.Context(), w, writeFileArgs{Path: given, Content: "written"})
			_, _ = appendLine(t.Context(), w, appendLineArgs{Path: given, Line: "written"})
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("outside the workspace there are %v, %v", entries, err)
		}
		if content, err := os.ReadFile(filepath.Join(dir, "secret")); err != nil || string(content) != "the secret" {
			t.Errorf("the secret is %q, %v", content, err)
		}
	})
}

// openWorkspaceIn makes a workspace w in dir, beside a secret.
func openWorkspaceIn(dir string) (*workspace, error) {
	own := filepath.Join(dir, "w")
	if err := errors.Join(os.MkdirAll(filepath.Join(own, "a/b"), 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte("the secret"), 0o600)); err != nil {
		return nil, err
	}
	return files{policy: &fspolicy.Policy{}, shown: &shown{}}.open(own)
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1b[1;31mred\x1b[0m\r\nlink \x1b]8;;http://x\x07text\x1b]8;;\x1b\\ \x1b(B\x1b7\x1b"))
	f.Add([]byte("10%\r100%\rdone\n\xff\xc3\x9b31m\xc2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text := plaintext.Of(b)
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x07\x1b\r\x7f\u009b") {
			t.Errorf("%q became %q", b, text)
		}
		if again := plaintext.Of([]byte(text)); again != text {
			t.Errorf("%q became %q and then %q", b, text, again)
		}
		if head, tail := beginning(text, 7), ending(text, 7); len(head) > 8 || len(tail) > 7 || !utf8.ValidString(head+tail) {
			t.Errorf("%q is cut to %q and %q", text, head, tail)
		}
	})
}

func TestPlain(t *testing.T) {
	for given, want := range map[string]string{
		"plain é\n":                    "plain é\n",
		"\x1b[1;31mred\x1b[0m":         "red",
		"\x1b]0;title\x07text":         "text",
		"\x1b]8;;http://x\x1b\\link":   "link",
		"1%\r50%\r100%\ndone\r\n":      "100%\ndone\n",
		"a\x1b[31":                     "a",
		"a\x1b(Bb\x1b=c\x08\x00\x07\t": "abc\t",
		"\xff\xfe":                     "\uFFFD\uFFFD",
	} {
		if got := plaintext.Of([]byte(given)); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
}

func TestSpoolKeepsBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spool
		var all bytes.Buffer
		for range rapid.IntRange(0, 12).Draw(t, "writes") {
			p := bytes.Repeat([]byte{byte('a' + all.Len()%26)}, rapid.SampledFrom([]int{0, 1, 100, 29_999, 30_000, 30_001, 120_001}).Draw(t, "size"))
			s.keepTail(p)
			all.Write(p)
		}
		if want := all.Bytes()[max(0, all.Len()-outputLimit):]; !bytes.HasSuffix(s.tail, want) || len(s.tail) > 5*outputLimit {
			t.Errorf("of %d bytes the tail has %d", all.Len(), len(s.tail))
		}
	})
}
