package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// sent is one server-sent event.
type sent struct {
	name string
	data []byte
	id   string // of this event; empty when it has none
}

// mostSent bounds one server-sent event, in bytes: the largest event that a store takes fits.
const mostSent = 64 << 20

var errTooLong = errors.New("a server-sent event is too long")

// sentEvents reads server-sent events as the HTML standard frames them. heard is called for each line, comments too: they say
// that the other side is alive.
type sentEvents struct {
	reader *bufio.Reader
	heard  func()
}

// next returns the next event that has data. At the end of the stream an event that was not finished is dropped, with io.EOF.
func (s *sentEvents) next() (sent, error) {
	var event sent
	size := 0
	for {
		line, err := s.line(mostSent - size)
		if err != nil {
			return sent{}, err
		}
		s.heard()
		size += len(line)
		if len(line) == 0 {
			if event.data == nil {
				event, size = sent{}, 0
				continue
			}
			event.data = bytes.TrimSuffix(event.data, []byte("\n"))
			return event, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			event.name = string(value)
		case "data":
			event.data = append(append(event.data, value...), '\n')
		case "id":
			event.id = string(value)
		}
	}
}

// line reads to the next line feed, which is not returned, nor a carriage return before it.
func (s *sentEvents) line(most int) ([]byte, error) {
	var line []byte
	for {
		part, err := s.reader.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > most:
			return nil, fmt.Errorf("read feed: %w: more than %d bytes", errTooLong, mostSent)
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
