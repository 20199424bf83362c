package server

import (
	"context"
	"crypto/sha1" //nolint:gosec // nothing else compares with what EventStoreDB stored
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// The events by which EventStoreDB says what a user is like. A store that was imported from one has them.
const (
	userCreatedKind = events.Kind("$UserCreated")
	userUpdatedKind = events.Kind("$UserUpdated")
)

// How EventStoreDB hashes passwords: PBKDF2 (RFC 2898) with HMAC-SHA-1. It is weak, so that whoever is given a new password gets a hash
// of ours.
const (
	importedName   = "pbkdf2-sha1"
	importedRounds = 1_000
	importedHash   = sha1.Size
)

// importedUser is the data of such an event. What has its default is left out.
type importedUser struct {
	Name     string   `json:"loginName"`
	FullName string   `json:"fullName"`
	Salt     string   `json:"salt"`
	Hash     string   `json:"hash"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
}

// decodeImported reads a user that EventStoreDB wrote. A password in a form that is not known keeps the user, and matches nothing.
func decodeImported(e *events.Envelope) (userRecord, error) {
	text, err := embedded.JSON(e)
	var user importedUser
	if err == nil {
		err = json.Unmarshal(text, &user)
	}
	if err != nil {
		return userRecord{}, fmt.Errorf("decode user %s: %w", e.Ref(), err)
	}
	record := userRecord{Name: user.Name, FullName: user.FullName, Groups: user.Groups, Disabled: user.Disabled}
	salt, saltErr := base64.StdEncoding.DecodeString(user.Salt)
	hash, hashErr := base64.StdEncoding.DecodeString(user.Hash)
	record.secret = secret{Algorithm: "unknown"}
	if saltErr == nil && hashErr == nil {
		record.secret = secret{Algorithm: importedName, Rounds: importedRounds, Salt: salt, Hash: hash}
	}
	return record, nil
}

// report tells the operator who cannot log in because of what is stored, and whose password is stored weakly, with the remedy.
func (u *Users) report(ctx context.Context, log *slog.Logger) error {
	names, err := u.names(ctx)
	if err != nil {
		return err
	}
	administrator := false
	var weak []string
	for _, name := range names {
		record, _, err := u.load(ctx, name)
		if errors.Is(err, errNotUser) {
			log.WarnContext(ctx, "a user cannot be read and cannot log in: add it again with life store users add NAME", "user", name, "error", err)
		}
		if err != nil && !errors.Is(err, ErrNoUser) {
			return err
		}
		if err != nil {
			continue
		}
		bad := record.check()
		switch {
		case bad != nil:
			log.WarnContext(ctx, "a user cannot log in by password: give it a new one with life store users password NAME", "user", name, "error", bad)
		case record.Algorithm == importedName:
			weak = append(weak, name)
		}
		administrator = administrator || bad == nil && !record.Disabled && slices.Contains(record.Groups, adminsGroup)
	}
	if len(weak) > 0 {
		log.WarnContext(ctx, "passwords are stored as EventStoreDB stores them, with 1000 rounds of SHA-1, which is weak: give these users new ones "+
			"with life store users password NAME", "users", weak)
	}
	if !administrator {
		log.WarnContext(ctx, "no user of "+adminsGroup+" can log in by password: stop the server and see life store users")
	}
	return nil
}
