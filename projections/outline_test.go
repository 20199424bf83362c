package projections_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/life/events"
	"example.com/life/projections"
)

// samples are the events that the golden files of package events hold.
func samples(t interface{ Fatal(...any) }) []events.Envelope {
	files, err := filepath.Glob("../events/testdata/*@*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("find golden events", err)
	}
	var all []events.Envelope
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind, digits, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "@")
		version, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(file, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			t.Fatal(err)
		}
		all = append(all, events.Envelope{Stream: "agent-a", Kind: events.Kind(kind), Version: version, Data: compact.Bytes()})
	}
	return all
}

// TestOmitted: what is left out is listed, and nothing else.
func TestOmitted(t *testing.T) {
	for _, e := range samples(t) {
		whole, err := e.Event()
		if err != nil {
			t.Fatal(err)
		}
		left, err := (&projections.Recorded{Envelope: &e}).Outline()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range different(whole, left) {
			if !slices.ContainsFunc(projections.Omitted(e.Kind), func(omitted string) bool { return strings.HasPrefix(name+".", omitted+".") }) {
				t.Errorf("the outline of %s leaves out %s, which Omitted does not list", e.Kind, name)
			}
		}
		for _, name := range projections.Omitted(e.Kind) {
			if group, _, _ := strings.Cut(name, "."); !slices.Contains(jsonNames(whole), group) {
				t.Errorf("Omitted lists %s of %s, which has no such field", name, e.Kind)
			}
		}
	}
}

// jsonNames lists the fields of an event, those of embedded structs among them.
func jsonNames(event any) []string {
	var names []string
	of := reflect.TypeOf(event)
	for _, field := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// different lists the fields in JSON of the whole event that its outline does not have, or has otherwise.
func different(whole, left any) []string {
	var missing []string
	var compare func(prefix string, a, b any)
	compare = func(prefix string, a, b any) {
		switch a := a.(type) {
		case map[string]any:
			others, _ := b.(map[string]any)
			for name, value := range a {
				compare(prefix+"."+name, value, others[name])
			}
		case []any:
			others, _ := b.([]any)
			for i := range a {
				if i < len(others) {
					compare(prefix, a[i], others[i])
					continue
				}
				missing = append(missing, prefix[1:])
			}
		default:
			if a != b {
				missing = append(missing, prefix[1:])
			}
		}
	}
	compare("", decoded(whole), decoded(left))
	return missing
}

func decoded(event any) any {
	var fields any
	text, err := json.Marshal(event)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return err
	}
	return fields
}
