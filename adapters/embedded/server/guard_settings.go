package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/actors"
	"example.com/life/adapters/embedded"
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
		if err := d.read(page.Events[0].Data); err != nil {
			a.log.WarnContext(ctx, "the settings of the store are malformed: the defaults apply", "stream", settingsStream, "error", err)
		}
	}
	a.settings.Store(d)
	return d, nil
}

// read takes the lists out of an event of $settings; nothing when anything is malformed.
func (d *streamDefaults) read(data []byte) error {
	var settings struct {
		User   *settingsACL `json:"$userStreamAcl"`
		System *settingsACL `json:"$systemStreamAcl"`
	}
	if err := json.Unmarshal(data, &settings); err != nil {
		return fmt.Errorf("decode the settings: %w", err)
	}
	d.user, d.system = settings.User.acl(), settings.System.acl()
	return nil
}

// settingsACL is an access control list as $settings has it.
type settingsACL struct {
	Read      roleList `json:"$r"`
	Write     roleList `json:"$w"`
	Delete    roleList `json:"$d"`
	MetaRead  roleList `json:"$mr"`
	MetaWrite roleList `json:"$mw"`
}

func (s *settingsACL) acl() *embedded.ACL {
	if s == nil {
		return nil
	}
	return &embedded.ACL{Read: s.Read, Write: s.Write, Delete: s.Delete, MetaRead: s.MetaRead, MetaWrite: s.MetaWrite}
}

// roleList is one role, or a list of them.
type roleList []string

// UnmarshalJSON implements json.Unmarshaler. A null is a list that was not given.
func (r *roleList) UnmarshalJSON(text []byte) error {
	var one string
	if text[0] == '"' {
		if err := json.Unmarshal(text, &one); err != nil {
			return err
		}
		*r = roleList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(r))
}
