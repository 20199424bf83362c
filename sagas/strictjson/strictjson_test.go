package strictjson_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"example.com/life/sagas/strictjson"
)

type (
	host struct {
		Name string `json:"name"`
		Risk int    `json:"risk" command:"filled"`
		Blob string `json:"blob" command:"-"`
	}
	times struct {
		From int64 `json:"from,string,omitempty"`
	}
	command struct {
		times
		Text    string   `json:"text"`
		Hosts   []host   `json:"hosts,omitempty" command:"Name"`
		Best    host     `json:"best,omitzero"`
		Least   *float64 `json:"least,omitempty"`
		At      uint64   `json:"at,string,omitempty"`
		Private string
	}
	address struct {
		Agent string `json:"agent"`
		Text  string `json:"text"`
	}
)

// TestRoundTrip: what is written is read again, and what the host fills in is not in it.
func TestRoundTrip(t *testing.T) {
	zero := 0.0
	from := command{
		times: times{From: -7}, Text: "<a>\xff", Hosts: []host{{Name: "x", Risk: 3}, {Name: "y"}}, Best: host{Name: "z", Risk: 1}, Least: &zero,
		At: 1 << 63, Private: "p",
	}
	written, err := strictjson.Write(&address{Agent: "ada", Text: "first"}, from)
	want := `{"agent":"ada","text":"first","from":"-7","hosts":["x","y"],"best":{"name":"z"},"least":0,"at":"9223372036854775808"}`
	if err != nil || string(written) != want {
		t.Fatalf("written as %s, %v\nwant %s", written, err, want)
	}
	var to address
	var read command
	if err := strictjson.Read(written, &to, &read); err != nil {
		t.Fatal(err)
	}
	expected := command{times: times{From: -7}, Text: "first", Hosts: []host{{Name: "x"}, {Name: "y"}}, Best: host{Name: "z"}, Least: &zero, At: 1 << 63}
	if !reflect.DeepEqual(read, expected) || to != (address{"ada", "first"}) {
		t.Errorf("read as %+v and %+v", to, read)
	}
	if plain, err := strictjson.Write(command{Text: "<a>\xff\xfe"}); err != nil || string(plain) != `{"text":"<a>`+"\ufffd"+`"}` {
		t.Errorf("written as %s, %v", plain, err)
	}
}

// TestNothingIsDropped: what a command cannot say is an error, not left out.
func TestNothingIsDropped(t *testing.T) {
	for _, c := range []command{{Best: host{Blob: "b"}}, {Hosts: []host{{Name: "x"}, {Blob: "b"}}}} {
		if written, err := strictjson.Write(c); err == nil || !strings.Contains(err.Error(), `blob"`) {
			t.Errorf("%+v was written as %s, %v", c, written, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for text, want := range map[string]string{
		`{"text":"a"} x`:            "not one JSON object",
		`{"Text":"a"}`:              `there is no field "Text"; the fields are: agent, text, from, hosts, best, least, at`,
		`{"Private":"a"}`:           `there is no field "Private"`,
		`{"text":"a","text":"a"}`:   `field "text" is there twice`,
		`{"text":null}`:             `field "text" is null`,
		`{"agent":7}`:               `field "agent" is a number, want a string`,
		`{"from":7}`:                `64-bit numbers are strings`,
		`{"from":"07"}`:             `field "from" is "07"`,
		`{"at":"-1"}`:               `field "at" is "-1", want a whole number`,
		`{"least":1e999}`:           `field "least" is 1e999`,
		`{"least":"1"}`:             `field "least" is a string, want a number`,
		`{"hosts":[{"name":"x"}]}`:  `field "hosts[0]" is an object, want a string`,
		`{"best":{"risk":1}}`:       `there is no field "best.risk"; the fields are: name`,
		`{"best":{"blob":"x"}}`:     `there is no field "best.blob"`,
		`{"best":[]}`:               `field "best" is an array, want an object`,
		"{\"text\":\"\xff\"}":       "not valid UTF-8",
		`[]`:                        "the body is an array, want an object",
		strings.Repeat(`[`, 20_000): "not one JSON object",
	} {
		var to address
		var read command
		var malformed *strictjson.Malformed
		if err := strictjson.Read([]byte(text), &to, &read); !errors.As(err, &malformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}
