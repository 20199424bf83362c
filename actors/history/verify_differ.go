package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/life/events"
)

// FieldDifference is a field of an event that this build decides otherwise than history has it.
type FieldDifference struct {
	Field    string `json:"field"`              // such as calls[0].arguments.path
	Recorded string `json:"recorded,omitempty"` // as JSON, cut where it is long; empty: it is not there
	Decided  string `json:"decided,omitempty"`
}

const (
	maxFields     = 8
	maxFieldBytes = 300
)

// differences lists the fields in which two events differ, in the order of their names.
func differences(recorded, decided *Verified) []FieldDifference {
	if recorded == nil || decided == nil || recorded.Kind != decided.Kind {
		return nil
	}
	var found []FieldDifference
	var compare func(field string, a, b any)
	compare = func(field string, a, b any) {
		one, isObject := a.(map[string]any)
		other, bothObjects := b.(map[string]any)
		list, isList := a.([]any)
		others, bothLists := b.([]any)
		switch {
		case isObject && bothObjects:
			names := slices.Collect(maps.Keys(one))
			for name := range other {
				if _, both := one[name]; !both {
					names = append(names, name)
				}
			}
			for _, name := range slices.Sorted(slices.Values(names)) {
				compare(field+"."+name, member(one, name), member(other, name))
			}
		case isList && bothLists:
			for i := range max(len(list), len(others)) {
				compare(fmt.Sprintf("%s[%d]", field, i), element(list, i), element(others, i))
			}
		default:
			if left, right := shown(a), shown(b); left != right && len(found) < maxFields {
				found = append(found, FieldDifference{strings.TrimPrefix(field, "."), events.Clip(left, maxFieldBytes), events.Clip(right, maxFieldBytes)})
			}
		}
	}
	compare("", parsed(recorded.Data), parsed(decided.Data))
	return found
}

// absent stands for a field that is not there.
type absent struct{}

func member(object map[string]any, name string) any {
	if value, there := object[name]; there {
		return value
	}
	return absent{}
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return absent{}
}

func parsed(data json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(data)
	}
	return value
}

func shown(value any) string {
	if value == (absent{}) {
		return ""
	}
	text, err := events.PlainJSON(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
