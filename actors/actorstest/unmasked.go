package actorstest

import (
	"encoding/json"
	"io"

	"example.com/life/actors"
	"example.com/life/events"
)

// Unmasked is an [actors.Masker] that masks nothing and knows no secrets.
type Unmasked struct{}

func (Unmasked) Mask(_ events.MaskingLevel, text string) (string, []events.Masked) { return text, nil }

func (Unmasked) MaskJSON(_ events.MaskingLevel, value json.RawMessage) (json.RawMessage, []events.Masked) {
	return value, nil
}
func (Unmasked) Marked(events.MaskingLevel, string) bool { return false }
func (Unmasked) Value(string) (string, bool)             { return "", false }
func (Unmasked) Names() []string                         { return nil }
func (Unmasked) Stream(_ events.MaskingLevel, to io.Writer, _ int, _ bool) actors.MaskedStream {
	return unmasked{to}
}

func (Unmasked) Reader(_ events.MaskingLevel, source io.Reader) actors.MaskedReader {
	return unread{source}
}

type unread struct{ io.Reader }

func (unread) Hits() []events.Masked { return nil }

type unmasked struct{ io.Writer }

func (unmasked) Close() error          { return nil }
func (unmasked) Hits() []events.Masked { return nil }
