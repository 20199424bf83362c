package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/life/events"
)

// hello is what each end says first. The host's name is in its certificate too.
type hello struct {
	Host events.HostID `json:"host,omitempty"` // of who asks, once it has joined
}

// decode reads exactly one JSON value, all of whose fields are known.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read a body of %d bytes: %w", len(body), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read a body of %d bytes: more follows its value", len(body))
	}
	return nil
}
