package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// streamDefaults is what the newest event of $settings says about streams that say nothing themselves.
type streamDefaults struct {
	user    *embedded.ACL // of streams of users; nil: not given
	system  *embedded.ACL // of system streams
	changes uint64        // of $settings, when it was read
}

// defaults reads $settings, once after each change.
func (a *authority) defaults(ctx context.Context) (*streamDefaults, error) {
	now := a.settingsChanges.Load() // before the read: a change in between is seen
	if d := a.settings.Load(); d != nil && d.changes == now {
		return d, nil
	}
	d := &streamDefaults{changes: now}
	page, err := a.store.Read(ctx, settingsStream, revisionsEnd, storage.Backward, storage.Limit{Events: 1})
	if err != nil && !errors.Is(err, storage.ErrDeleted) {
		return nil, storeFailure(err, settingsStream)
	}
	if err == nil && len(page.Events) == 1 {
		if err := d.read(&page.Events[0]); err != nil {
			a.log.WarnContext(ctx, "the settings of the store are malformed: the defaults apply", "stream", settingsStream, "error", err)
		}
	}
	a.settings.Store(d)
	return d, nil
}

// read takes the lists out of an event of $settings; nothing when anything is malformed.
func (d *streamDefaults) read(e *events.Envelope) error {
	text, err := embedded.JSON(e)
	if err != nil {
		return fmt.Errorf("decode the settings: %w", err)
	}
	var settings map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&settings); err != nil {
		return fmt.Errorf("decode the settings: %w", err)
	}
	var read streamDefaults
	for name, list := range map[string]**embedded.ACL{"$userStreamAcl": &read.user, "$systemStreamAcl": &read.system} {
		if text, given := settings[name]; given {
			if *list, err = embedded.ParseACL(text); err != nil {
				return fmt.Errorf("decode the settings: %s: %w", name, err)
			}
		}
	}
	d.user, d.system = read.user, read.system
	return nil
}
