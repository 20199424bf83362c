package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/plaintext"
	"example.com/life/events"
)

// spoolLimit is how much of an output is kept, in bytes. A command that prints more runs on; its end is still seen.
const spoolLimit = 64 << 20

// spool takes the output of a command while it runs. What is short stays in memory; as soon as it is longer than a model sees, all
// of it flows into a blob, and memory holds only the beginning and the end. Writes come from one goroutine and never fail: a
// command must not notice that its output cannot be kept.
type spool struct {
	ctx   context.Context //nolint:containedctx // it is that of the one call that the spool belongs to
	blobs storage.Blobs

	head []byte // the first outputLimit bytes
	tail []byte // the last ones, at least outputLimit when there are as many
	size int64
	line int64 // line ends so far

	blob   *io.PipeWriter // nil while everything fits into head
	stored chan stored
}

type stored struct {
	ref events.BlobRef
	err error
}

func newSpool(ctx context.Context, blobs storage.Blobs) *spool { return &spool{ctx: ctx, blobs: blobs} }

// Write takes more output.
func (s *spool) Write(p []byte) (int, error) {
	whole := len(p)
	room := min(outputLimit-len(s.head), len(p))
	s.head = append(s.head, p[:room]...)
	if s.blob == nil && room < len(p) {
		s.overflow()
	}
	if s.blob != nil && s.size < spoolLimit {
		from := 0
		if s.size < outputLimit {
			from = room // the blob was begun with the head just now
		}
		// An error is the blob store's and comes back from Put.
		_, _ = s.blob.Write(p[from:min(int64(len(p)), spoolLimit-s.size)]) //nolint:errcheck // see above
	}
	s.size += int64(whole)
	s.line += int64(bytes.Count(p, []byte("\n")))
	s.keepTail(p)
	return whole, nil
}

// overflow begins the blob with what there is.
func (s *spool) overflow() {
	source, blob := io.Pipe()
	s.blob, s.stored = blob, make(chan stored, 1)
	go func() { // it ends when close closes the pipe, which waits for it
		ref, err := s.blobs.Put(s.ctx, "text/plain; charset=utf-8", source)
		source.CloseWithError(errors.New("the blob store stopped reading")) // so that no write waits for it
		s.stored <- stored{ref, err}
	}()
	_, _ = s.blob.Write(s.head) //nolint:errcheck // as in Write
}

// keepTail keeps the last bytes, moving them only now and then.
func (s *spool) keepTail(p []byte) {
	if len(p) > outputLimit {
		p = p[len(p)-outputLimit:]
	}
	if len(s.tail)+len(p) > 4*outputLimit {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-outputLimit:]...)
	}
	s.tail = append(s.tail, p...)
}

// close ends the blob, if there is one, and returns what the model sees: the output, or its first third and its last two thirds, and
// in between what is missing and where all of it is.
func (s *spool) close() (text string, full *events.BlobRef) {
	if s.blob == nil {
		text = plaintext.Of(s.head) + s.invalid(s.head)
		if len(text) <= outputLimit {
			return text, nil
		}
		// Bytes that are not text take more room as text.
		return events.Cut(text, outputLimit-100) + "\n[… the rest is not shown: the output is not text]\n", nil
	}
	_ = s.blob.Close() //nolint:errcheck // it always returns nil
	blob := <-s.stored
	note := "all of it: blob " + blob.ref.Hash
	switch {
	case blob.err != nil:
		note = "all of it could not be kept: " + events.Cut(blob.err.Error(), 500)
	case s.size > spoolLimit:
		note = fmt.Sprintf("its first %d MiB: blob %s", spoolLimit>>20, blob.ref.Hash)
	}
	if blob.err == nil {
		full = &blob.ref
	}
	const room = outputLimit - 1000
	head := beginning(plaintext.Of(s.head), room/3)
	tail := ending(plaintext.Of(s.tail[max(0, len(s.tail)-outputLimit):]), room*2/3)
	if note := s.invalid(s.head, s.tail); note != "" {
		tail = strings.TrimSuffix(tail, "\n") + "\n" + note
	}
	return fmt.Sprintf("%s[… the output has %d lines, %d bytes; what is in between is not shown; %s …]\n%s", head, s.line, s.size, note, tail), full
}

// invalid says that some of what is shown stands for other bytes.
func (s *spool) invalid(shown ...[]byte) string {
	for _, part := range shown {
		if !utf8.Valid(wholeRunes(part)) && bytes.IndexByte(part, 0) < 0 {
			return "[bytes that are not UTF-8 are shown as U+FFFD]\n"
		}
	}
	return ""
}

// outputPiece is how much of an output is masked at once, in bytes.
const outputPiece = 32 << 10

// masked is what is read from a source, with its secrets masked before anything of it is cut off.
func masked(source io.Reader, secrets actors.Secrets) io.Reader {
	if secrets == nil {
		return source
	}
	return secrets.Reader(source)
}

// maskedBytes is a content with its secrets masked.
func maskedBytes(content []byte, secrets actors.Secrets) []byte {
	var text bytes.Buffer
	_, _ = text.ReadFrom(masked(bytes.NewReader(content), secrets)) //nolint:errcheck // what is in memory can be read
	return text.Bytes()
}

// maskedOutput is where a command writes its output.
func maskedOutput(output io.Writer, secrets actors.Secrets) io.WriteCloser {
	if secrets == nil {
		return unmasked{output}
	}
	return secrets.Stream(output, outputPiece)
}

type unmasked struct{ io.Writer }

func (unmasked) Close() error { return nil }
