package tools

import (
	"bytes"
	"io"

	"example.com/life/actors"
)

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
