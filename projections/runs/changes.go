package runs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"example.com/life/events"
)

// Change is a difference between two saved states: at a path such as wallets.main.held, or turns[3].
type Change struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"` // nil: it was not there
	After  json.RawMessage `json:"after,omitempty"`  // nil: it is not there any more
}

// Changes compares two saved states, path by path, in the order of paths.
func Changes(before, after []byte) ([]Change, error) {
	changes := []Change{}
	if bytes.Equal(before, after) {
		return changes, nil
	}
	one, err := readState(before)
	if err != nil {
		return nil, err
	}
	other, err := readState(after)
	if err != nil {
		return nil, err
	}
	return compare(changes, "", one, other)
}

func readState(state []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("read a saved state: %w", err)
	}
	return value, nil
}

// absent stands for what is not there.
type absent struct{}

func compare(changes []Change, path string, before, after any) ([]Change, error) {
	switch before := before.(type) {
	case map[string]any:
		if after, same := after.(map[string]any); same {
			return compareMaps(changes, path, before, after)
		}
	case []any:
		if after, same := after.([]any); same {
			return compareLists(changes, path, before, after)
		}
	default:
		if before == after || isMissing(before) && isMissing(after) {
			return changes, nil
		}
	}
	change := Change{Path: path}
	var err error
	if change.Before, err = written(before); err == nil {
		change.After, err = written(after)
	}
	return append(changes, change), err
}

func compareMaps(changes []Change, path string, before, after map[string]any) ([]Change, error) {
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var err error
	for _, name := range names {
		under := name
		if path != "" {
			under = path + "." + name
		}
		if changes, err = compare(changes, under, member(before, name), member(after, name)); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func member(of map[string]any, name string) any {
	if value, there := of[name]; there {
		return value
	}
	return absent{}
}

func compareLists(changes []Change, path string, before, after []any) ([]Change, error) {
	var err error
	for i := range max(len(before), len(after)) {
		if changes, err = compare(changes, path+"["+strconv.Itoa(i)+"]", element(before, i), element(after, i)); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func element(of []any, i int) any {
	if i < len(of) {
		return of[i]
	}
	return absent{}
}

func isMissing(value any) bool { return value == absent{} }

// written writes a value; nil for what is not there.
func written(value any) (json.RawMessage, error) {
	if isMissing(value) {
		return nil, nil
	}
	text, err := events.PlainJSON(value)
	if err != nil {
		return nil, fmt.Errorf("write a part of a saved state: %w", err)
	}
	return text, nil
}
