package actorstest

import (
	"encoding/json"
	"io"

	"example.com/life/actors"
	"example.com/life/events"
)

// Unmasked is an [actors.Masker] that masks nothing and knows no secrets.
type Unmasked struct{}

// Mask implements [actors.Masker].
func (Unmasked) Mask(_ events.MaskingLevel, text string) (string, []events.Masked) { return text, nil }

// MaskJSON implements [actors.Masker].
func (Unmasked) MaskJSON(_ events.MaskingLevel, value json.RawMessage) (json.RawMessage, []events.Masked) {
	return value, nil
}

// Marked implements [actors.Masker].
func (Unmasked) Marked(events.MaskingLevel, string) bool { return false }

// Value implements [actors.Masker].
func (Unmasked) Value(string) (string, bool) { return "", false }

// Names implements [actors.Masker].
func (Unmasked) Names() []string { return nil }

// Stream implements [actors.Masker].
func (Unmasked) Stream(_ events.MaskingLevel, to io.Writer, _ int, _ bool) actors.MaskedStream {
	return unmasked{to}
}

// Reader implements [actors.Masker].
func (Unmasked) Reader(_ events.MaskingLevel, source io.Reader) actors.MaskedReader {
	return unread{source}
}

type unread struct{ io.Reader }

func (unread) Hits() []events.Masked { return nil }

type unmasked struct{ io.Writer }

func (unmasked) Close() error          { return nil }
func (unmasked) Hits() []events.Masked { return nil }
