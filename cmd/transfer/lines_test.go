package transfer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"

	"example.com/life/events"
)

// foreignEvents are what other programs write: data with white space, data that are no JSON, metadata of any bytes, and the events
// by which a store says something about a stream.
func foreignEvents() []events.Envelope {
	return []events.Envelope{
		{
			Stream: "agent-demo", Kind: "turn.ended", Version: 2, Time: 5, Actor: "cli", Command: "c", Correlation: "demo/1", Causation: "agent-demo@0",
			Traceparent: "00-1-2-01", Host: "books-1#17", Digest: events.Digest{1}, Data: json.RawMessage(`{"text":"<&>  "}`),
		},
		{Stream: "orders-1", Kind: "placed", Version: 1, Time: 6, Data: json.RawMessage("{ \"a\" :\n 1 }"), Foreign: &events.Foreign{Metadata: []byte("\x00\xff")}},
		{Stream: "orders-1", Kind: "image", Version: 1, Time: 7, Data: json.RawMessage(`"AP8="`), Foreign: &events.Foreign{ContentType: "application/octet-stream", Base64: true}},
		{Stream: "orders-2", Kind: "placed", Version: 1, Time: 8, Data: json.RawMessage(`null`), Foreign: &events.Foreign{Metadata: []byte(`{"$correlationId":"x"}`)}, Correlation: "x"},
		{Stream: "$$orders-1", Kind: "$metadata", Version: 1, Time: 9, Data: json.RawMessage(`{"$maxCount":5}`), Foreign: &events.Foreign{}},
		{Stream: "orders-2", Revision: math.MaxInt64, Kind: "$streamDeleted", Version: 1, Time: 10, Data: json.RawMessage(`""`), Foreign: &events.Foreign{ContentType: "application/octet-stream", Base64: true}},
	}
}

// placed gives events ids, positions, and the revisions that follow one another in their streams.
func placed(all []events.Envelope) []events.Envelope {
	next := map[events.Stream]events.Revision{}
	for i := range all {
		e := &all[i]
		e.ID, e.Position = uuid.New(), events.Position(3*i+2)
		if e.Revision == 0 {
			e.Revision = next[e.Stream]
		}
		next[e.Stream]++
	}
	return all
}

func exported(t *testing.T, all []events.Envelope) string {
	t.Helper()
	var out bytes.Buffer
	w, err := NewLineWriter(&out)
	for i := range all {
		err = errors.Join(err, w.Event(&all[i]))
	}
	if err = errors.Join(err, w.End()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestExportKeepsEveryByte(t *testing.T) {
	all := placed(foreignEvents())
	text := exported(t, all)
	if again := exported(t, all); again != text {
		t.Error("the same events give different exports")
	}
	lines := NewLineReader(strings.NewReader(text))
	for i := range all {
		line, err := lines.next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseLine(line)
		if err != nil || !reflect.DeepEqual(got, all[i]) {
			t.Errorf("event %d, %v:\n%+v, want\n%+v", i, err, got, all[i])
		}
	}
	if _, err := lines.next(); !errors.Is(err, io.EOF) {
		t.Errorf("in the end: %v", err)
	}
}

// TestExportIsWholeOrRefused cuts an export at every byte, and changes each: nothing passes for the whole.
func TestExportIsWholeOrRefused(t *testing.T) {
	text := exported(t, placed(foreignEvents())[:2])
	read := func(text string) error {
		for lines := NewLineReader(strings.NewReader(text)); ; {
			if _, err := lines.next(); err != nil {
				return err
			}
		}
	}
	if err := read(text); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for i := range len(text) {
		if err := read(text[:i]); errors.Is(err, io.EOF) || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("cut at byte %d: %v", i, err)
		}
		changed := []byte(text)
		changed[i] ^= 1
		if err := read(string(changed)); errors.Is(err, io.EOF) {
			t.Errorf("changed at byte %d, and taken for whole:\n%s", i, changed)
		}
	}
	if err := read(text + "x"); !strings.Contains(err.Error(), "more data after the trailer") {
		t.Error(err)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		`{"id":"5f2b1f6e-8f1c-4f0e-9a51-9c2f4b0c8a11","stream":"a","revision":"0","position":"1","kind":"k","version":1,"time":"1","digest":"` + strings.Repeat("0", 64) + `","data":{}}`,
		`{"raw":"AA=="}`, `{}`, `null`, `{"data":1}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseLine(text)
		if err != nil {
			return
		}
		line := strings.Split(exported(t, []events.Envelope{e}), "\n")[1]
		again, err := parseLine([]byte(line))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%s\nis read as  %+v\nand then as %+v, %v", text, e, again, err)
		}
	})
}

// odd are JSON that encoding/json takes and other readers refuse or read as something else.
func odd() map[string]string {
	return map[string]string{
		"no UTF-8": "{\"a\":\"\xff\xc3\x28\"}", "too large": `[1e400,-1E+999]`, "many digits": "[" + strings.Repeat("9", 400) + "]", "half a pair": `"\ud800"`,
		"the other half": `{"\udc00":1}`, "a half and a letter": `"\ud83dA"`, "two first halves": `"\ud83d\ud83d"`, "deep": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"white space": `{"a": 1}`,
	}
}

// TestExportIsPlainJSON: what not every reader of JSON takes stands in the export as base64, everything else as it is; both come back byte for byte.
func TestExportIsPlainJSON(t *testing.T) {
	data := odd()
	for _, text := range []string{`{"a":"\ud83d\ude00 \u0000 \\ud800 \"","n":[-1.5e-300,1e-999,12345678901234567890,0]}`, `"\\"`, `""`, `7`, `{"😀":"\u2028 "}`} {
		data["plain "+text] = text
	}
	for name, text := range data {
		all := placed([]events.Envelope{{Stream: "s", Kind: "k", Version: 1, Data: json.RawMessage(text), Foreign: &events.Foreign{}}})
		line := strings.Split(exported(t, all), "\n")[1]
		var seen map[string]any
		if err := json.Unmarshal([]byte(line), &seen); err != nil || !utf8.ValidString(line) {
			t.Errorf("%s: %v in %.200s", name, err, line)
		}
		if _, raw := seen["raw"]; raw == strings.HasPrefix(name, "plain") {
			t.Errorf("%s: %.200s", name, line)
		}
		if got, err := parseLine([]byte(line)); err != nil || !reflect.DeepEqual(got, all[0]) {
			t.Errorf("%s: %v\n%+v, want\n%+v", name, err, got, all[0])
		}
	}
}

// TestExportThroughOtherHands: an export that an editor or a transfer gave CR LF or a byte order mark is read as it was; of one that is another
// encoding of text, or compressed, the error says what it is.
func TestExportThroughOtherHands(t *testing.T) {
	all := placed(foreignEvents())
	text := exported(t, all)
	crlf := strings.ReplaceAll(text, "\n", "\r\n")
	first, rest, _ := strings.Cut(text, "\n")
	for name, changed := range map[string]string{"CR LF": crlf, "a mark": byteMark + text, "both": byteMark + crlf, "one line": first + "\r\n" + rest} {
		count := 0
		lines := NewLineReader(strings.NewReader(changed))
		line, err := lines.next()
		for ; err == nil; line, err = lines.next() {
			if got, wrong := parseLine(line); wrong != nil || !reflect.DeepEqual(got, all[count]) {
				t.Errorf("%s, event %d: %v %+v", name, count, wrong, got)
			}
			count++
		}
		if !errors.Is(err, io.EOF) || count != len(all) {
			t.Errorf("%s: %d events, %v", name, count, err)
		}
	}
	wide := func(order binary.ByteOrder, mark string) string {
		out := []byte(mark)
		for _, unit := range utf16.Encode([]rune(text)) {
			out = append(out, 0, 0)
			order.PutUint16(out[len(out)-2:], unit)
		}
		return string(out)
	}
	for name, row := range map[string]struct{ text, want string }{
		"UTF-16 from Windows": {wide(binary.LittleEndian, "\xff\xfe"), "UTF-16"}, "UTF-16": {wide(binary.BigEndian, "\xfe\xff"), "UTF-16"},
		"zstd": {"\x28\xb5\x2f\xfd rest", "zstd -dc"}, "gzip": {"\x1f\x8b rest\n", "gzip -dc"}, "nothing": {"", "its first line must be"}, "a mark": {byteMark, "its first line must be"},
		"two marks": {byteMark + byteMark + text, "its first line must be"}, "spaces": {" " + text, "its first line must be"},
	} {
		if _, err := NewLineReader(strings.NewReader(row.text)).next(); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
