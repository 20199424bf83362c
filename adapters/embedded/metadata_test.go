package embedded

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"example.com/life/events"
)

func TestParseMetadata(t *testing.T) {
	none := Metadata{Revision: 7}
	rows := []struct {
		text string
		want Metadata
	}{
		{`{}`, none},
		{
			`{"$maxCount":3,"$maxAge":60,"$tb":9,"$cacheControl":5,"$tmp":true}`,
			Metadata{Revision: 7, MaxCount: 3, MaxAge: time.Minute, TruncateBefore: 9, CacheControl: 5 * time.Second},
		},
		{`{"$tb":9223372036854775807}`, Metadata{Revision: 7, TruncateBefore: math.MaxInt64}},
		{`{"$maxAge":922337203685}`, Metadata{Revision: 7, MaxAge: 9223372036 * time.Second}}, // the most that EventStoreDB can hold
		{`{"$maxCount":0,"$maxAge":-1,"$tb":-5}`, none},
		{`{"$maxcount":3,"$MAXCOUNT":4,"custom":{"a":[1]}}`, none},
		{`{"$maxCount":3,"$maxCount":4}`, Metadata{Revision: 7, MaxCount: 4}},
		{
			`{"$acl":{"$r":"a","$w":["b","c"],"$d":[],"$mr":""}, "other":{"$x":1}}`,
			Metadata{Revision: 7, ACL: &ACL{Read: []string{"a"}, Write: []string{"b", "c"}, Delete: []string{}, MetaRead: []string{""}}},
		},
		{`{"$acl":{}}`, Metadata{Revision: 7, ACL: &ACL{}}},
		{`{"$acl":{"$r":"a"},"$acl":{"$r":["b"],"$r":"c"}}`, Metadata{Revision: 7, ACL: &ACL{Read: []string{"c"}}}},
		{`{"$maxCount":3}}`, Metadata{Revision: 7, MaxCount: 3}}, // nobody reads on
		{`{"$maxCount":3} and more`, Metadata{Revision: 7, MaxCount: 3}},
		{" \n{\"$maxCount\" : 3\t}", Metadata{Revision: 7, MaxCount: 3}},
		{"\ufeff{\"$maxCount\":3}", Metadata{Revision: 7, MaxCount: 3}},
		// Malformed in one place: nothing at all is said.
		{`{"$maxCount":3,"$acl":"$userStreamAcl"}`, none},
		{`{"$maxCount":3,"$acl":null}`, none},
		{`{"$maxCount":3,"$acl":{"$r":null}}`, none},
		{`{"$maxCount":3,"$acl":{"$r":[null]}}`, none},
		{`{"$maxCount":3,"$acl":{"$r":1}}`, none},
		{`{"$maxCount":3,"$acl":[]}`, none},
		{`{"$maxCount":3,"$tb":1.0}`, none},
		{`{"$maxCount":3,"$tb":"1"}`, none},
		{`{"$maxCount":3,"$tb":null}`, none},
		{`{"$maxCount":3,"$tb":9223372036854775808}`, none},
		{`{"$maxCount":3,"$tmp":1}`, none},
		{`{"$maxCount":3,"$acl":{"$x":"a"}}`, none},
		{`{"$maxCount":3,"$acl":{"$r":"a","$W":"b"}}`, none},
		{`{"$maxCount":3,"$acl":{"$r":"a","own":{}}}`, none},
		{`{"$maxCount":"3","$maxCount":4}`, none},
		{`{"$maxCount":3,"$maxAge":922337203686}`, none},
		{`{"$maxCount":3,"$cacheControl":-922337203686}`, none},
		{`{"$maxCount":3`, none},
		{`{"$maxCount":3 "$tb":4}`, none},
		{"\ufeff\ufeff{\"$maxCount\":3}", none},
		{"\ufeff", none},
		{`[{"$maxCount":3}]`, none},
		{`null`, none},
		{``, none},
	}
	for _, row := range rows {
		if got := parseMetadata(&events.Envelope{Revision: 7, Data: json.RawMessage(row.text)}); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %+v, want %+v", row.text, got, row.want)
		}
	}
	marked := &events.Envelope{Revision: 7, Data: quoteRaw([]byte("\ufeff{\"$maxCount\":3}")), Foreign: &events.Foreign{Base64: true}}
	if got, want := parseMetadata(marked), (Metadata{Revision: 7, MaxCount: 3}); !reflect.DeepEqual(got, want) {
		t.Errorf("behind a byte order mark: got %+v", got)
	}
	for _, foreign := range []events.Foreign{{ContentType: octets}, {Base64: true}, {ContentType: octets, Base64: true}} {
		if got := parseMetadata(&events.Envelope{Revision: 7, Data: json.RawMessage(`{"$maxCount":3}`), Foreign: &foreign}); !reflect.DeepEqual(got, none) {
			t.Errorf("%+v: got %+v", foreign, got)
		}
	}
}

// FuzzMetadata: whatever the bytes, a limit is never negative, and what brings a deleted stream back changes nothing but $tb.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"$maxCount":3,"$maxAge":60,"$tb":9,"$acl":{"$r":["a"],"$w":"b"}}`))
	f.Add([]byte(`{"$tb":9223372036854775807,"a":{"<":[1e5,null]},"$tb":1}`))
	f.Add([]byte(`{"a":1}{`))
	f.Add([]byte(`{"\u0024tb":5," ":"\ud800"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := parseMetadata(&events.Envelope{Data: text})
		marked := events.Envelope{Data: quoteRaw(append([]byte("\ufeff"), bytes.TrimPrefix(text, []byte(byteMark))...)), Foreign: &events.Foreign{Base64: true}}
		if got := parseMetadata(&marked); !reflect.DeepEqual(got, m) {
			t.Fatalf("behind a byte order mark %q says %+v, not %+v", text, got, m)
		}
		text = bytes.TrimPrefix(text, []byte(byteMark))
		if m.MaxCount < 0 || m.MaxAge < 0 || m.TruncateBefore < 0 || m.CacheControl < 0 {
			t.Fatalf("%+v", m)
		}
		changed, ok := truncatedBefore(text, 12)
		if !ok {
			if m.TruncateBefore != 0 {
				t.Fatalf("%q says %+v and cannot be changed", text, m)
			}
			return
		}
		before, after := fields(t, text), fields(t, changed)
		before["$tb"] = json.Number("12")
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", text, changed)
		}
	})
}

func fields(t *testing.T, text []byte) (fields map[string]any) {
	t.Helper()
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if err := in.Decode(&fields); err != nil {
		t.Fatalf("%q is no JSON object: %v", text, err)
	}
	return fields
}
