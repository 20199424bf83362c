package events

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// ferried is an event of this test, at version 3: version 1 had {"cargo"}, version 2 {"goods"}, version 3 {"goods","tons"}.
type ferried struct {
	Goods string `json:"goods"`
	Tons  int    `json:"tons"`
}

func (ferried) Kind() Kind       { return "boat.ferried" }
func (f ferried) String() string { return "ferried " + f.Goods }

func ferriedSpec() Spec {
	rename := func(data json.RawMessage) (json.RawMessage, error) {
		var old struct {
			Cargo string `json:"cargo"`
		}
		if err := json.Unmarshal(data, &old); err != nil {
			return nil, err
		}
		if old.Cargo == "" {
			return nil, errors.New("no cargo")
		}
		return json.Marshal(map[string]string{"goods": old.Cargo})
	}
	weigh := func(data json.RawMessage) (json.RawMessage, error) {
		var old ferried
		if err := json.Unmarshal(data, &old); err != nil {
			return nil, err
		}
		old.Tons = 1
		return json.Marshal(old)
	}
	return kind[ferried](3, rename, weigh)
}

func TestUpcast(t *testing.T) {
	spec := ferriedSpec()
	for _, test := range []struct {
		version int
		data    string
		want    ferried
	}{
		{1, `{"cargo":"salt"}`, ferried{"salt", 1}},
		{2, `{"goods":"salt"}`, ferried{"salt", 1}},
		{3, `{"goods":"salt","tons":7}`, ferried{"salt", 7}},
	} {
		got, err := spec.read(test.version, json.RawMessage(test.data))
		if err != nil || got != test.want {
			t.Errorf("version %d: got %v, %v; want %v", test.version, got, err, test.want)
		}
	}
}

func TestUpcastErrors(t *testing.T) {
	spec := ferriedSpec()
	for _, test := range []struct {
		version    int
		data, want string
	}{
		{0, `{}`, "decode boat.ferried: version 0, want 1 to 3"},
		{1, `{}`, "decode boat.ferried: upcast from version 1: no cargo"},
		{2, `[`, "decode boat.ferried: upcast from version 2: unexpected end of JSON input"},
		{3, `null`, "decode boat.ferried version 3: the data is null, want a JSON object"},
		{3, `{"tons":"x"}`, "decode boat.ferried version 3: json: cannot unmarshal string"},
	} {
		_, err := spec.read(test.version, json.RawMessage(test.data))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("version %d of %s: error %v, want %s", test.version, test.data, err, test.want)
		}
	}
}
