package endpoint

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"example.com/life/events"
)

// Frame is one event of a stream.
type Frame struct {
	Name string // of the event; empty for most
	Data []byte
	Last bool // the stream ended within it
}

// heartbeat are words that gateways send to keep a connection alive.
var heartbeat = regexp.MustCompile(`(?i)^[\[":]*\s*(?:ping|pong|heart-?beat|keep-?alive|processing|waiting|alive|null|ok)\b`)

// Heartbeat reports whether an event only keeps the connection alive.
func (f Frame) Heartbeat() bool { return heartbeat.MatchString(f.Name) || heartbeat.Match(f.Data) }

// Frames reads a stream of server-sent events as endpoints really send them: besides the standard's, whole JSON instead of a stream, one
// JSON text a line, events without the empty line between them, and lines of the field "error".
type Frames struct {
	lines *bufio.Scanner
	begun bool // the first line was read
	held  []byte
	name  string
	data  []byte
	has   bool   // there is a line of data
	raw   []byte // JSON that stands in no field
	stray string // the beginning of what is neither a field nor JSON
}

const maxStray = 200 + maxKey // so that a key in it is whole when it is taken out

// NewFrames reads a stream from the beginning.
func NewFrames(from io.Reader) *Frames {
	f := &Frames{lines: bufio.NewScanner(from)}
	f.lines.Buffer(make([]byte, 0, 64<<10), MaxReply+64<<10)
	f.lines.Split(splitLines())
	return f
}

// splitLines splits at LF, CR LF and CR. A CR ends its line at once: what follows may be long in coming.
func splitLines() bufio.SplitFunc {
	after := false // a CR
	return func(data []byte, atEOF bool) (int, []byte, error) {
		skip := 0
		if after && len(data) > 0 {
			after = false
			if data[0] == '\n' {
				skip = 1
			}
		}
		rest := data[skip:]
		if i := bytes.IndexAny(rest, "\r\n"); i >= 0 {
			after = rest[i] == '\r'
			return skip + i + 1, rest[:i], nil
		}
		if atEOF && len(rest) > 0 {
			return len(data), rest, nil
		}
		return skip, nil, nil
	}
}

// Next returns the next event that holds anything; false at the stream's end.
func (f *Frames) Next() (Frame, bool) {
	for {
		line := f.held
		if f.held = nil; line == nil {
			if !f.lines.Scan() {
				return f.end()
			}
			line = f.lines.Bytes()
		}
		if !f.begun {
			f.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if event, ok := f.take(line); ok {
			return event, true
		}
	}
}

// take reads one line, and gives the event that it ends.
func (f *Frames) take(line []byte) (Frame, bool) {
	field, value, isField := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch name := string(field); {
	case f.raw != nil && name != "data":
		return f.takeRaw(line)
	case len(line) == 0:
		return f.dispatch()
	case isField && name == "":
		return Frame{}, false // a comment
	case name == "data":
		f.raw = nil                      // it was none
		if f.has && json.Valid(f.data) { // no empty line stands between them
			f.held = bytes.Clone(line)
			return f.dispatch()
		}
		if f.has {
			f.data = append(f.data, '\n')
		}
		f.data, f.has = append(f.data, value...), true
		return Frame{}, false
	case name == "event":
		f.name = string(value)
		return Frame{}, false
	case name == "error" && isField:
		return Frame{Name: "error", Data: bytes.Clone(value)}, true
	case isField && (name == "id" || name == "retry"):
		return Frame{}, false
	}
	return f.takeRaw(line)
}

// takeRaw reads a line that is no field.
func (f *Frames) takeRaw(line []byte) (Frame, bool) {
	text := bytes.TrimSpace(line)
	if f.raw == nil && (len(text) == 0 || text[0] != '{' && text[0] != '[') {
		if len(f.stray) < maxStray && len(text) > 0 {
			f.stray += strings.ToValidUTF8(events.Cut(string(text), maxStray), "�") + " "
		}
		return Frame{}, false
	}
	f.raw = append(append(f.raw, line...), '\n')
	// Only a line that could end the text is looked at: indented ones do not.
	if len(line) == 0 || !strings.ContainsRune("{}[]", rune(line[0])) || !json.Valid(f.raw) {
		return Frame{}, false
	}
	whole := f.raw
	f.raw = nil
	return Frame{Data: whole}, true
}

func (f *Frames) dispatch() (Frame, bool) {
	event := Frame{Name: f.name, Data: bytes.TrimSpace(f.data)}
	f.name, f.data, f.has = "", nil, false
	return event, len(event.Data) > 0
}

// end gives what the stream ended within.
func (f *Frames) end() (Frame, bool) {
	if f.raw != nil {
		event := Frame{Data: bytes.TrimSpace(f.raw), Last: true}
		f.raw = nil
		return event, true
	}
	event, ok := f.dispatch()
	event.Last = true
	return event, ok
}

// Err is why the stream ended, if not because it was over.
func (f *Frames) Err() error { return f.lines.Err() }
