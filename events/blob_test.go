package events_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"example.com/life/events"
)

// TestBlobsAreAll: every reference to a blob that any event can hold is listed, so that none is left out of a copy or a check.
func TestBlobsAreAll(t *testing.T) {
	held := 0
	for _, spec := range events.Catalog {
		var want []string
		number := 0
		var fill func(v reflect.Value)
		fill = func(v reflect.Value) {
			if v.Type() == reflect.TypeFor[events.BlobRef]() {
				number++
				hash := fmt.Sprintf("%064d", number)
				v.Set(reflect.ValueOf(events.BlobRef{Hash: hash}))
				want = append(want, hash)
				return
			}
			switch v.Kind() {
			case reflect.Pointer:
				v.Set(reflect.New(v.Type().Elem()))
				fill(v.Elem())
			case reflect.Struct:
				for i := range v.NumField() {
					fill(v.Field(i))
				}
			case reflect.Slice:
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
				fill(v.Index(0))
			}
		}
		event := reflect.New(reflect.TypeOf(spec.Zero)).Elem()
		fill(event)
		filled := event.Interface().(events.Event)
		var got []string
		for _, ref := range events.Blobs(filled) {
			got = append(got, ref.Hash)
		}
		for _, tree := range events.Trees(filled) {
			got = append(got, tree.Manifest.Hash)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s refers to the blobs %v, listed are %v: see Blobs and Trees", spec.Kind, want, got)
		}
		held += len(want)
		if len(events.Blobs(spec.Zero)) > 0 || len(events.Trees(spec.Zero)) > 0 {
			t.Errorf("an empty %s refers to blobs", spec.Kind)
		}
	}
	if held < 6 {
		t.Errorf("%d references were found, want at least 6", held)
	}
}
