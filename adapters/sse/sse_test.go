package sse

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzReader: however the bytes come in, the events are the same.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"data: a\n\n", "event: x\r\nid: 7\r\ndata: a\r\ndata: b\r\n\r\n", ": still here\n\ndata:a\n", "data\n\n", "id: 1\n\ndata: " + strings.Repeat("x", 5000) + "\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, pieces := readAll(t, bytes.NewReader(raw)), readAll(t, iotest.OneByteReader(bytes.NewReader(raw)))
		if !reflect.DeepEqual(whole, pieces) {
			t.Errorf("whole %q, in pieces %q", whole, pieces)
		}
	})
}

func readAll(t *testing.T, r io.Reader) []Event {
	t.Helper()
	var all []Event
	reader := NewReader(r, 1<<20, func() {})
	for {
		event, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
}

func TestReader(t *testing.T) {
	heard := 0
	reader := NewReader(strings.NewReader(": alive\nevent: said\nid: 7\ndata: a\ndata:b\n\ndata: unfinished"), 100, func() { heard++ })
	got, err := reader.Next()
	if err != nil || got.Name != "said" || got.ID != "7" || string(got.Data) != "a\nb" || heard != 6 {
		t.Errorf("%+v, %v; %d lines", got, err, heard)
	}
	if got, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("an unfinished event: %+v, %v", got, err)
	}
	// The bound is for an event, not for a line, and comments count.
	for _, long := range []string{strings.Repeat("x", 200), strings.Repeat(":2345678\n", 13) + "data: x\n\n", strings.Repeat("data: 1234\n", 11) + "\n"} {
		if got, err := NewReader(strings.NewReader(long), 100, func() {}).Next(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%.20q: %+v, %v", long, got, err)
		}
	}
}
