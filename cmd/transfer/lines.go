package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/zeebo/blake3"

	"example.com/life/events"
)

// An export is lines of JSON: a header, one line for each event by position, and a trailer that tells a whole export from one that
// was cut off. The same events give the same bytes.
//
//	{"export":"life events","format":1}
//	{"id":"…","stream":"agent-demo","revision":"0","position":"1",…}
//	{"trailer":{"events":1,"digest":"…"}}
//
// The line of an event is its envelope. Data that another program wrote with white space in it would not survive in there byte for
// byte, and some are JSON that not every reader takes (see plain): they stand in "raw" as base64 instead. The digest is the BLAKE3 hash of everything
// before the trailer's line, without a byte order mark and the CR of lines that end in CR LF, which editors and transfers put there.
const exportHeader = `{"export":"life events","format":1}`

// maxLine bounds a line, in bytes: an event of 16 MiB in base64, with its metadata in base64 too.
const maxLine = 64 << 20

type exportLine struct {
	events.Envelope
	Raw []byte `json:"raw,omitempty"` // in place of data
}

type trailer struct {
	Events int64         `json:"events"`
	Digest events.Digest `json:"digest"`
}

type trailerLine struct {
	Trailer *trailer `json:"trailer"`
}

// LineWriter writes an export.
type LineWriter struct {
	out     *bufio.Writer
	hash    hash.Hash
	encoder *json.Encoder
	compact bytes.Buffer
	count   int64
}

// NewLineWriter begins an export.
func NewLineWriter(to io.Writer) (*LineWriter, error) {
	w := &LineWriter{out: bufio.NewWriterSize(to, 256<<10), hash: blake3.New()}
	w.encoder = json.NewEncoder(io.MultiWriter(w.out, w.hash))
	w.encoder.SetEscapeHTML(false)
	return w, w.encoder.Encode(json.RawMessage(exportHeader))
}

// Event writes an event.
func (w *LineWriter) Event(e *events.Envelope) error {
	line := exportLine{Envelope: *e}
	asIs, err := plain(e.Data, &w.compact)
	if err != nil {
		return fmt.Errorf("write event %s: its data: %w", e.Ref(), err)
	}
	if !asIs {
		line.Raw, line.Data = e.Data, json.RawMessage("null")
	}
	w.count++
	return w.encoder.Encode(line)
}

// End writes the trailer.
func (w *LineWriter) End() error {
	t := trailer{Events: w.count, Digest: events.Digest(w.hash.Sum(nil))}
	return errors.Join(w.encoder.Encode(trailerLine{&t}), w.out.Flush())
}

// LineReader reads an export and counts its lines, from 1.
type LineReader struct {
	in     *bufio.Reader
	hash   hash.Hash
	line   int64
	events int64
	buffer []byte
}

// NewLineReader reads an export.
func NewLineReader(from io.Reader) *LineReader {
	return &LineReader{in: bufio.NewReaderSize(from, 256<<10), hash: blake3.New()}
}

// next returns the line of an event, valid until the next call; io.EOF after a trailer that fits. Every other error names the line.
func (r *LineReader) next() ([]byte, error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	text, err := r.read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, r.wrong("the file has no trailer: it was truncated")
	case err != nil:
		return nil, r.wrong("%w", err)
	case bytes.HasPrefix(text, []byte(`{"trailer":`)):
		return nil, r.end(text)
	}
	r.sum()
	r.events++
	return text, nil
}

// begin reads the header, once.
func (r *LineReader) begin() error {
	if r.line > 0 {
		return nil
	}
	if start, _ := r.in.Peek(len(byteMark)); string(start) == byteMark { //nolint:errcheck // the read below says what is wrong
		_, _ = r.in.Discard(len(byteMark)) //nolint:errcheck // they are there
	}
	start, _ := r.in.Peek(4) //nolint:errcheck // as above
	header, err := r.read()
	switch {
	case err == nil && string(header) == exportHeader:
		r.sum()
		return nil
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return r.wrong("%w", err)
	}
	for _, known := range []struct{ start, what string }{
		{"\xff\xfe", "UTF-16, as some shells write when output is redirected: convert it to UTF-8, or have life store export write the file"},
		{"\xfe\xff", "UTF-16: convert it to UTF-8"},
		{"\x28\xb5\x2f\xfd", "compressed: zstd -dc FILE | life store import -"},
		{"\x1f\x8b", "compressed: gzip -dc FILE | life store import -"},
	} {
		if bytes.HasPrefix(start, []byte(known.start)) {
			return r.wrong("the file is %s", known.what)
		}
	}
	return r.wrong("this is not an export of events: its first line must be %s", exportHeader)
}

// byteMark is what some editors put before a text in UTF-8.
const byteMark = "\xef\xbb\xbf"

func (r *LineReader) sum() {
	_, _ = r.hash.Write(r.buffer) // a hash takes everything and never fails
}

// read returns the next line without its end; io.EOF also when it has none.
func (r *LineReader) read() ([]byte, error) {
	r.buffer = r.buffer[:0]
	r.line++
	for {
		part, err := r.in.ReadSlice('\n')
		r.buffer = append(r.buffer, part...)
		switch {
		case err == nil:
			if n := len(r.buffer); n > 1 && r.buffer[n-2] == '\r' { // no line of JSON ends so
				r.buffer = append(r.buffer[:n-2], '\n')
			}
			return r.buffer[:len(r.buffer)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(r.buffer) > maxLine:
			return nil, fmt.Errorf("the line is longer than %d bytes", maxLine)
		}
	}
}

// end compares the trailer with what was read, and makes sure that nothing follows it.
func (r *LineReader) end(text []byte) error {
	var last trailerLine
	if err := json.Unmarshal(text, &last); err != nil || last.Trailer == nil {
		return r.wrong("the trailer cannot be read")
	}
	if last.Trailer.Events != r.events {
		return r.wrong("the trailer counts %d events, but there are %d: lines are missing or duplicated", last.Trailer.Events, r.events)
	}
	if last.Trailer.Digest != events.Digest(r.hash.Sum(nil)) {
		return r.wrong("the digest does not match: the file was changed")
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return r.wrong("there is more data after the trailer")
	}
	return io.EOF
}

func (r *LineReader) wrong(format string, args ...any) error {
	return fmt.Errorf("line %d: %w", r.line, fmt.Errorf(format, args...))
}

// parseLine reads the line of an event. It owns nothing of the line's bytes.
func parseLine(text []byte) (events.Envelope, error) {
	var line exportLine
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&line); err != nil {
		return line.Envelope, err
	}
	if line.Raw != nil {
		line.Data = line.Raw
	}
	switch e := &line.Envelope; {
	case decoder.InputOffset() != int64(len(text)):
		return line.Envelope, errors.New("there is more data after the event")
	case e.ID == (events.EventID{}) || e.Stream == "" || e.Kind == "" || e.Revision < 0 || e.Position == 0:
		return line.Envelope, errors.New("an event needs an id, a stream, a kind, a revision from 0 and a position from 1")
	case !json.Valid(e.Data):
		return line.Envelope, errors.New("its data is not JSON")
	}
	return line.Envelope, nil
}
