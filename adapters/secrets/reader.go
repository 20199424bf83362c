package secrets

import (
	"bytes"
	"errors"
	"io"

	"example.com/life/actors"
	"example.com/life/events"
)

// piece is how much of a source is masked at once, in bytes.
const piece = 32 << 10

// Reader implements [actors.Masker]: it reads a source with its secrets masked. Line ends within a secret are kept.
func (m *Masker) Reader(level events.MaskingLevel, source io.Reader) actors.MaskedReader {
	r := &reader{source: source, piece: make([]byte, piece)}
	r.masking = m.Stream(level, &r.ready, piece, true)
	return r
}

type reader struct {
	source  io.Reader
	piece   []byte
	masking actors.MaskedStream // to ready
	ready   bytes.Buffer
	err     error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for r.ready.Len() == 0 && r.err == nil {
		n, err := r.source.Read(r.piece)
		_, _ = r.masking.Write(r.piece[:n]) //nolint:errcheck // a buffer takes everything
		if err == nil {
			continue
		}
		r.err = err
		if errors.Is(err, io.EOF) {
			_ = r.masking.Close() // as above
		}
	}
	if r.ready.Len() == 0 {
		return 0, r.err
	}
	return r.ready.Read(p)
}

// Hits counts what was masked so far.
func (r *reader) Hits() []events.Masked { return r.masking.Hits() }
