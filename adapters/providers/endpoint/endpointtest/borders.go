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
// the failure must be the same, and what the deltas say together.
func (d *Dialect) Borders(t *testing.T) {
	t.Helper()
	replies := 0
	for _, frames := range d.Recordings {
		whole := strings.Join(frames, "")
		want := d.readAs(t, strings.NewReader(whole))
		if want.Failure == "" {
			replies++
		}
		check := func(where string, body io.Reader) {
			t.Helper()
			if difference := cmp.Diff(want, d.readAs(t, body)); difference != "" {
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
	if replies <= len(d.Recordings)/2 {
		t.Errorf("only %d of %d recordings are replies", replies, len(d.Recordings))
	}
}

// read is what comes of a body: the reply or the failure, and the texts that were streamed, of each block.
type read struct {
	Reply   actors.ModelResponse
	Failure string
	Shown   map[events.BlockKind]map[int]string
}

func (d *Dialect) readAs(t *testing.T, body io.Reader) read {
	r := read{Shown: map[events.BlockKind]map[int]string{}}
	reply, err := d.Model(t, Canned{Status: http.StatusOK, Media: stream, Body: io.NopCloser(body)}).Ask(context.Background(), d.Question, func(piece actors.Delta) {
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
