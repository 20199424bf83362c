// Package sse reads server-sent events as the HTML standard frames them: the feed of another host, and the replies of models.
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Event is one server-sent event that has data.
type Event struct {
	Name string
	ID   string // of this event; empty when it has none
	Data []byte
}

// ErrTooLong ends a stream with an event that is larger than the reader's bound.
var ErrTooLong = errors.New("a server-sent event is too long")

// Reader reads events one after another.
type Reader struct {
	reader *bufio.Reader
	limit  int
	heard  func()
}

// NewReader returns a reader of events of at most limit bytes each, in time and memory linear in what comes in. It calls heard for
// each line, comments too: they say that the other side is alive.
func NewReader(r io.Reader, limit int, heard func()) *Reader {
	return &Reader{reader: bufio.NewReader(r), limit: limit, heard: heard}
}

// Next returns the next event that has data. At the end of the stream it drops an unfinished event and returns io.EOF.
func (r *Reader) Next() (Event, error) {
	var event Event
	size := 0
	for {
		line, err := r.line(r.limit - size)
		if err != nil {
			return Event{}, err
		}
		r.heard()
		size += len(line)
		if len(line) == 0 {
			if event.Data == nil {
				event, size = Event{}, 0
				continue
			}
			event.Data = bytes.TrimSuffix(event.Data, []byte("\n"))
			return event, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			event.Name = string(value)
		case "data":
			event.Data = append(append(event.Data, value...), '\n')
		case "id":
			event.ID = string(value)
		}
	}
}

// line reads to the next line feed, which is not returned, nor a carriage return before it.
func (r *Reader) line(limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.reader.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLong, r.limit)
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, err
		}
	}
}
