package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzTokens: the tokens of valid JSON are those that encoding/json reads, and a value's bytes are its bytes.
func FuzzTokens(f *testing.F) {
	for _, text := range []string{
		`{"a":1,"b":[true,false,null,-1.5e3],"c":{"d":"e\\\"f","g":{}},"h":[]}`, ` [ "x" , { } , [ ] , 7 ] `, `"text"`, `12`, "null\n", `{"\u0061\ud800":"\\"}`,
		`[{"a":[{"b":"]}"}]},"}"]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		r := &reader{json: raw}
		for {
			want, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if got := r.next(); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %v (%v), want %v", raw, got, err, want)
			}
		}
		if all := (&reader{json: raw}).skip(); !bytes.Equal(all, bytes.TrimSpace(raw)) {
			t.Errorf("%q is skipped as %q", raw, all)
		}
	})
}
