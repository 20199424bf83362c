package storage

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"example.com/life/events"
)

// OutOfFiles reports an error that says that the process, or the machine, has no file left to open. It passes: nothing is damaged, and
// nothing is wrong with what was asked.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// MaxAppend is the most one batch may hold, in bytes as BatchSize counts them.
const MaxAppend = 16 << 20

// maxStreamName is the longest name of a stream, in bytes. The "$$" before the name of a stream that holds another's metadata does not
// count, so that every stream can have some.
const maxStreamName = 1024

// The bounds of a page, see Limit.
const (
	DefaultPageEvents = 512
	MaxPageEvents     = 4096
	DefaultPageBytes  = 1 << 20
	maxPageBytes      = 16 << 20
)

// ErrInvalidAppend is wrapped by the error of an append that no state of the store could accept. Nothing was stored, and
// trying again does not help.
var ErrInvalidAppend = errors.New("invalid append")

// CheckAppend reports an append that every Journal refuses before it looks at the stream: a malformed name or expectation,
// an event without id or kind, or more than MaxAppend bytes.
func CheckAppend(stream events.Stream, expected Expected, batch []events.Envelope) error {
	if err := CheckStream(stream); err != nil {
		return err
	}
	if expected < ExpectNoStream && expected != ExpectAny && expected != ExpectExists {
		return fmt.Errorf("%w to %s: expectation %d is not known", ErrInvalidAppend, stream, int64(expected))
	}
	for i := range batch {
		if batch[i].ID == uuid.Nil || batch[i].Kind == "" {
			return fmt.Errorf("%w to %s: event %d of the batch has no id or no kind", ErrInvalidAppend, stream, i)
		}
	}
	if size := BatchSize(batch); size > MaxAppend {
		return fmt.Errorf("%w to %s: the batch of %d events has %d bytes, at most %d are allowed; store large payloads as blobs",
			ErrInvalidAppend, stream, len(batch), size, MaxAppend)
	}
	return nil
}

// CheckStream reports a name that no stream can have: empty, longer than 1024 bytes less a "$$" before it, or with a NUL byte.
func CheckStream(stream events.Stream) error {
	switch name := strings.TrimPrefix(string(stream), "$$"); {
	case stream == "":
		return fmt.Errorf("%w: the stream's name is empty", ErrInvalidAppend)
	case len(name) > maxStreamName:
		return fmt.Errorf("%w: the stream's name has %d bytes, at most %d are allowed", ErrInvalidAppend, len(name), maxStreamName)
	case strings.IndexByte(string(stream), 0) >= 0:
		return fmt.Errorf("%w: the stream's name %q has a NUL byte", ErrInvalidAppend, string(stream))
	}
	return nil
}

// BatchSize is what counts towards MaxAppend: the data, every string, and 128 bytes for the rest of each event.
func BatchSize(batch []events.Envelope) int {
	size := 0
	for i := range batch {
		e := &batch[i]
		size += 128 + len(e.Data) + len(e.Kind) + len(e.Actor) + len(e.Command) + len(e.Correlation) + len(e.Causation) + len(e.Traceparent) + len(e.Host)
	}
	return size
}

// Bounded fills in the defaults and cuts what is over the maximum.
func (l Limit) Bounded() Limit {
	return Limit{
		Events: bounded(l.Events, DefaultPageEvents, MaxPageEvents),
		Bytes:  bounded(l.Bytes, DefaultPageBytes, maxPageBytes),
	}
}

func bounded(n, standard, most int) int {
	if n <= 0 {
		return standard
	}
	return min(n, most)
}

// Chooses reports whether the filter lets an event of this stream and kind through.
func (f Filter) Chooses(stream events.Stream, kind events.Kind) bool {
	if !f.System && strings.HasPrefix(string(stream), "$") {
		return false
	}
	if len(f.Streams) == 0 && len(f.Kinds) == 0 {
		return true
	}
	for _, prefix := range f.Streams {
		if strings.HasPrefix(string(stream), prefix) {
			return true
		}
	}
	for _, prefix := range f.Kinds {
		if strings.HasPrefix(string(kind), prefix) {
			return true
		}
	}
	return false
}
