package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/actors"
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
	page, err := a.store.Read(ctx, settingsStream, revisionsEnd, actors.Backward, actors.Limit{Events: 1})
	if err != nil && !errors.Is(err, actors.ErrDeleted) {
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
	var settings struct {
		User   json.RawMessage `json:"$userStreamAcl"`
		System json.RawMessage `json:"$systemStreamAcl"`
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return fmt.Errorf("decode the settings: %w", err)
	}
	user, err := defaultACL(settings.User)
	if err != nil {
		return fmt.Errorf("decode the settings: $userStreamAcl: %w", err)
	}
	system, err := defaultACL(settings.System)
	if err != nil {
		return fmt.Errorf("decode the settings: $systemStreamAcl: %w", err)
	}
	d.user, d.system = user, system
	return nil
}

func defaultACL(text json.RawMessage) (*embedded.ACL, error) {
	if text == nil {
		return nil, nil //nolint:nilnil // it was not given
	}
	return embedded.ParseACL(text)
}
