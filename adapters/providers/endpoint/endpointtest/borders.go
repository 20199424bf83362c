package endpointtest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/events"
)

// everyByte is the length up to which a recording is cut at every byte. A longer one is cut at every 17th: a prime, so that it meets every kind of place.
const everyByte = 400

// Borders holds that a reply does not depend on where the network cuts its stream, which is within characters, strings of JSON and lines of the
// stream too. Each recording, a frame each, comes whole, a byte at a time, and in two pieces with a border at each of its bytes; the reply or
// the failure must be the same, and what the deltas say together. model makes a model that the transport answers, which is asked the question.
func Borders(t *testing.T, recordings [][]string, question actors.ModelRequest, model func(http.RoundTripper) actors.Model) {
	t.Helper()
	replies := 0
	for _, frames := range recordings {
		whole := strings.Join(frames, "")
		want := readAs(model, question, strings.NewReader(whole))
		if want.Failure == "" {
			replies++
		}
		check := func(where string, body io.Reader) {
			t.Helper()
			if difference := cmp.Diff(want, readAs(model, question, body)); difference != "" {
				t.Fatalf("%q comes %s, and is read otherwise (-whole +cut):\n%s", whole, where, difference)
			}
		}
		check("a byte at a time", iotest.OneByteReader(strings.NewReader(whole)))
		check("with its end beside its last byte", iotest.DataErrReader(strings.NewReader(whole)))
		step := 1
		if len(whole) > everyByte {
			step = 17
		}
		for at := 1; at < len(whole); at += step {
			check("with a border after "+whole[max(0, at-20):at], io.MultiReader(strings.NewReader(whole[:at]), strings.NewReader(whole[at:])))
		}
	}
	if replies <= len(recordings)/2 {
		t.Errorf("only %d of %d recordings are replies", replies, len(recordings))
	}
}

// read is what comes of a body: the reply or the failure, and the texts that were streamed, of each block.
type read struct {
	Reply   actors.ModelResponse
	Failure string
	Shown   map[events.BlockKind]map[int]string
}

func readAs(model func(http.RoundTripper) actors.Model, question actors.ModelRequest, body io.Reader) read {
	r := read{Shown: map[events.BlockKind]map[int]string{}}
	reply, err := model(Canned{Status: http.StatusOK, Body: io.NopCloser(body)}).Ask(context.Background(), question, func(piece actors.Delta) {
		if r.Shown[piece.Kind] == nil {
			r.Shown[piece.Kind] = map[int]string{}
		}
		r.Shown[piece.Kind][piece.Block] += piece.Text
	})
	r.Reply = reply
	if err != nil {
		r.Failure = err.Error()
	}
	return r
}
