package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
)

var rewrite = flag.Bool("rewrite", false, "add missing goldens and write sentences.txt; goldens that exist are never changed")

// TestExamplesAreFull holds the examples to covering every kind, with no field left at its zero value: a field that no golden
// shows could lose its JSON name unnoticed.
func TestExamplesAreFull(t *testing.T) {
	seen := map[events.Kind]bool{}
	for _, event := range examples() {
		if seen[event.Kind()] {
			t.Errorf("%s has two examples, want one", event.Kind())
		}
		seen[event.Kind()] = true
		for _, path := range zeroFields(reflect.ValueOf(event), string(event.Kind())) {
			if oneOfTwo(path) {
				continue
			}
			t.Errorf("the example of %s is zero: give it a value in examples_test.go", path)
		}
	}
	for _, spec := range events.Catalog {
		if !seen[spec.Kind] {
			t.Errorf("%s has no example: add one to examples_test.go and run go test ./events -rewrite", spec.Kind)
		}
	}
}

// oneOfTwo reports a field that another element of its list shows: a rule has one threshold, bash is not repeatable, one call is large, and a tool is
// the host's or a server's.
func oneOfTwo(path string) bool {
	return slices.ContainsFunc([]string{
		".Rules[0].AtMost", ".Rules[1].AtLeast", ".Calls[0].Cut", ".Calls[0].Blob",
		".Tools[0].Of", ".Tools[1].Of", ".Tools[1].Repeatable", ".Tools[2].Repeatable", ".Tools[3].Repeatable", ".Tools[2].Of.Method", ".Tools[3].Of.Tool",
	}, func(shown string) bool { return strings.HasSuffix(path, shown) })
}

func zeroFields(v reflect.Value, path string) []string {
	var zero []string
	switch {
	case v.IsZero():
		return []string{path}
	case v.Kind() == reflect.Pointer:
		return zeroFields(v.Elem(), path)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			zero = append(zero, zeroFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			zero = append(zero, zeroFields(v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return zero
}

// TestGoldens holds this build to reading everything that was ever stored, and to writing today's versions as they were first
// written. A golden is what a store out there holds: it is added once and never edited.
func TestGoldens(t *testing.T) {
	for _, event := range examples() {
		data, version, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, filepath.Join("testdata", fmt.Sprintf("%s@%d.json", event.Kind(), version)), data)
	}
	files, err := filepath.Glob("testdata/*@*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { readGolden(t, file) })
	}
}

// checkGolden compares data with the file, or adds the file under -rewrite when it does not exist.
func checkGolden(t *testing.T, file string, data []byte) {
	t.Helper()
	want, err := os.ReadFile(file)
	switch {
	case err == nil && !bytes.Equal(compact(t, want), data):
		t.Errorf("%s differs (-stored, +this build):\n%s\nStores hold the old shape, so -rewrite will not change the file. "+
			"If the event's shape must change, raise its version in events.Catalog and write an upcast; if only the example "+
			"changed, change it back.", file, cmp.Diff(string(want), indent(t, data)))
	case err == nil:
	case !os.IsNotExist(err):
		t.Error(err)
	case !*rewrite:
		t.Errorf("%s is missing: run go test ./events -rewrite, and review and commit it", file)
	default:
		if err := os.WriteFile(file, []byte(indent(t, data)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// readGolden decodes a golden of any version with this build.
func readGolden(t *testing.T, file string) {
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	kind, digits, _ := strings.Cut(name, "@")
	version, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("%s is not named <kind>@<version>.json", file)
	}
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	event, err := events.Decode(events.Kind(kind), version, compact(t, stored))
	if err != nil {
		t.Fatalf("this build cannot read what an older one stored: %v", err)
	}
	if _, unknown := event.(events.Unknown); unknown {
		t.Fatalf("this build does not know %s: a kind that was ever stored stays in events.Catalog", name)
	}
	again, now, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	if now == version && !bytes.Equal(again, compact(t, stored)) {
		t.Errorf("decoding and encoding changes the event (-stored, +again):\n%s", cmp.Diff(string(stored), indent(t, again)))
	}
}

// TestSentences keeps what logs, the command line and the console say about each event in one file that can be read as prose.
func TestSentences(t *testing.T) {
	var got strings.Builder
	for _, event := range examples() {
		sentence := event.String()
		if sentence == "" || strings.ContainsAny(sentence, "\n\r") {
			t.Errorf("%s says %q, want one line", event.Kind(), sentence)
		}
		fmt.Fprintf(&got, "%s\n    %s\n", event.Kind(), sentence)
	}
	const file = "testdata/sentences.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got): if the new sentences are right, run go test ./events -rewrite:\n%s", file, diff)
	}
}

func compact(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func indent(t *testing.T, data []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}
