package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"example.com/life/events"
)

// history is events as EventStoreDB wrote them, for an import.
type history struct {
	batch []events.Envelope
	next  map[events.Stream]events.Revision
}

func (h *history) add(stream events.Stream, kind events.Kind, data string) {
	if h.next == nil {
		h.next = map[events.Stream]events.Revision{}
	}
	e := events.Envelope{
		ID: uuid.New(), Stream: stream, Revision: h.next[stream], Position: events.Position(1000 + 317*len(h.batch)),
		Kind: kind, Version: 1, Time: 1, Data: []byte(data), Foreign: &events.Foreign{},
	}
	h.next[stream]++
	switch kind {
	case "$User": // a bare name
		e.Foreign = &events.Foreign{ContentType: contentOctets, Base64: true}
		e.Data = quoteBase64(e.Data)
	case "$streamDeleted":
		e.Revision, e.Data = math.MaxInt64, []byte(`""`)
		e.Foreign = &events.Foreign{ContentType: contentOctets, Base64: true}
	}
	h.batch = append(h.batch, e)
}

// user adds a user with the password "changeit", whose hash was made with another implementation.
func (h *history) user(name, more string) {
	stream := userStream(name)
	h.add(metaPrefix+stream, "$metadata", `{"$acl":{"$w":"$admins","$d":"$admins","$mw":"$admins"}}`)
	h.add(stream, userCreatedKind, fmt.Sprintf("{\n  \"loginName\": %q,\n  \"salt\": \"AAECAwQFBgcICQoLDA0ODw==\",\n  \"hash\": \"ESjecbuhkU3H6HH3/Q/sDBotvTI=\"%s\n}", name, more))
	h.add("$users", "$User", name)
}

// imported opens a guard over a store with such a history, and returns what it logs at its start.
func imported(t *testing.T, h *history, config Config) (a *authority, log string, err error) {
	t.Helper()
	if err := config.Store.Import(t.Context(), h.batch); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	config.Log = slog.New(slog.NewTextHandler(&logged, nil))
	a, err = newAuthority(t.Context(), config)
	return a, logged.String(), err
}

// TestImportedUsers: a store that was imported from an EventStoreDB is served with the users that it had there, and with their passwords.
func TestImportedUsers(t *testing.T) {
	var h history
	h.user("admin", `, "fullName": "Event Store Administrator", "groups": ["$admins"]`)
	h.user("ops", `, "groups": ["$ops"]`)
	h.user("ada", "")
	h.user("eve", "")
	h.add(userStream("eve"), userUpdatedKind, `{"loginName":"eve","fullName":"Eve","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"LXLUTXEwz3bsvdnCGyPh0mNzhGs=","groups":["readers"]}`)
	h.user("gone", "")
	h.add(metaPrefix+userStream("gone"), "$metadata", `{"$tb":9223372036854775807}`)
	h.user("off", `, "disabled": true`)
	h.add("$settings", "$settings", `{"$userStreamAcl":{"$r":"$all","$w":"$ops","$d":"$admins"},"$systemStreamAcl":{"$r":"$admins"}}`)
	config := newGuardConfig(t, UsersConfig{Memory: quick}) // no first password is needed
	a, log, err := imported(t, &h, config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log, "life store users password NAME") || !strings.Contains(log, "[admin ops ada eve off]") || strings.Contains(log, "cannot log in") {
		t.Errorf("the log says %s", log)
	}
	list, err := a.users.List(t.Context())
	for i := range list {
		list[i].changed = 0
	}
	if want := "[{admin Event Store Administrator [$admins] false 0} {ops  [$ops] false 0} {ada  [] false 0} {eve Eve [readers] false 0} {off  [] true 0}]"; fmt.Sprint(list) != want || err != nil {
		t.Errorf("the users are %v, %v; want %s", list, err, want)
	}
	for _, row := range []struct {
		name, password string
		code           codes.Code
	}{
		{"admin", "changeit", codes.OK},
		{"admin", "changeit2", codes.Unauthenticated},
		{"ada", "changeit", codes.OK},
		{"eve", "changeit", codes.Unauthenticated},
		{"eve", "pässword", codes.OK},
		{"gone", "changeit", codes.Unauthenticated},
		{"off", "changeit", codes.Unauthenticated},
	} {
		who, err := a.authenticate(calling(t, basic(row.name, row.password)))
		if wantCode(t, err, row.code); err == nil && who.name != row.name {
			t.Errorf("%s is taken for %s", row.name, who.name)
		}
	}
	admin, err := a.authenticate(calling(t, basic("admin", "changeit")))
	if err != nil || a.allow(t.Context(), admin, toWrite, "$settings") != nil {
		t.Errorf("the administrator is %+v: %v", admin, err)
	}
	wantCode(t, a.allow(t.Context(), caller{name: "ada"}, toWrite, "s"), codes.PermissionDenied)
	wantCode(t, a.allow(t.Context(), caller{name: "ops", groups: []string{opsGroup}}, toWrite, "s"), codes.OK)

	// Who is changed goes on as a user of ours: with a password in our own form when a new one is given.
	if err := a.users.Disable(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if err := a.users.Enable(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if err := a.users.SetPassword(t.Context(), "admin", "a new password"); err != nil {
		t.Fatal(err)
	}
	a.wrote(t.Context(), toWrite, userStream("admin"))
	for header, code := range map[string]codes.Code{
		basic("admin", "changeit"): codes.Unauthenticated, basic("admin", "a new password"): codes.OK, basic("ada", "changeit"): codes.OK,
	} {
		_, err := a.authenticate(calling(t, header))
		wantCode(t, err, code)
	}
	if record, _, err := a.users.load(t.Context(), "admin"); err != nil || record.Algorithm != argon2Name || record.FullName != "Event Store Administrator" {
		t.Errorf("the administrator is now %+v: %v", record, err)
	}
	if err := a.users.Add(t.Context(), User{Name: "gone"}, "password"); err != nil {
		t.Errorf("who was removed there cannot be added here: %v", err)
	}
}

// TestImportedUsersThatCannotBeRead: the server starts, says who cannot log in, and each can be given a new password.
func TestImportedUsersThatCannotBeRead(t *testing.T) {
	users := map[string]string{
		"other":  `{"loginName":"other","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"v2$SHA256$600000$ESjecbuhkU3H6HH3","groups":["$admins"]}`,
		"short":  `{"loginName":"short","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"ESje"}`,
		"bare":   `{"loginName":"bare"}`,
		"broken": `{"loginName":"broken"`,
		"wrong":  `{"loginName":"right","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"ESjecbuhkU3H6HH3/Q/sDBotvTI="}`,
		"admin":  `[]`,
	}
	var h history
	for name, data := range users {
		h.add(userStream(name), userCreatedKind, data)
		h.add("$users", "$User", name)
	}
	h.add(userStream("foreign"), "$UserOfAnotherServer", `{"loginName":"foreign"}`)
	h.add("$users", "$User", "foreign")
	users["foreign"] = ""
	a, log, err := imported(t, &h, newGuardConfig(t, UsersConfig{Memory: quick}))
	if err != nil {
		t.Fatal(err)
	}
	for name := range users {
		if !strings.Contains(log, "user="+name) {
			t.Errorf("nobody is told of %s: %s", name, log)
		}
		for _, password := range []string{"changeit", ""} {
			_, err := a.authenticate(calling(t, basic(name, password)))
			wantCode(t, err, codes.Unauthenticated)
		}
		if err = a.users.SetPassword(t.Context(), name, "password"); err != nil {
			if !strings.Contains(err.Error(), "add the user again") {
				t.Errorf("nobody is told what to do: %v", err)
			}
			err = a.users.Add(t.Context(), User{Name: name, Groups: []string{"again"}}, "password")
		}
		a.wrote(t.Context(), toWrite, userStream(name))
		if err != nil {
			t.Fatal(err)
		}
		if who, err := a.authenticate(calling(t, basic(name, "password"))); err != nil || who.name != name {
			t.Errorf("%s with a new password: %+v, %v", name, who, err)
		}
	}
	if !strings.Contains(log, "no user of $admins can log in by password") {
		t.Errorf("nobody is told that there is no administrator: %s", log)
	}
}

// TestImportedAdministrator: a first password makes the administrator anew where what was imported says nothing of one, and changes nothing
// otherwise; who was removed there stays removed.
func TestImportedAdministrator(t *testing.T) {
	for name, row := range map[string]struct {
		prepare  func(h *history)
		password string // that opens, if any
	}{
		"there":             {func(h *history) { h.user("admin", `,"groups":["$admins"]`) }, "changeit"},
		"there, not listed": {func(h *history) { h.user("admin", ""); h.batch = h.batch[:2] }, "changeit"},
		"malformed":         {func(h *history) { h.add(userStream("admin"), userCreatedKind, `{}`) }, "first password"},
		"never there":       {func(h *history) { h.user("ada", "") }, "first password"},
		"removed": {func(h *history) {
			h.user("admin", "")
			h.add(metaPrefix+userStream("admin"), "$metadata", `{"$tb":9223372036854775807}`)
		}, ""},
		"removed for good": {func(h *history) {
			h.user("admin", "")
			h.add(userStream("admin"), "$streamDeleted", "")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var h history
			row.prepare(&h)
			config := newGuardConfig(t, UsersConfig{AdminPassword: "first password", Memory: quick})
			a, _, err := imported(t, &h, config)
			if err != nil {
				t.Fatal(err)
			}
			for _, password := range []string{"changeit", "first password"} {
				_, err := a.authenticate(calling(t, basic("admin", password)))
				if wantCode(t, err, map[bool]codes.Code{true: codes.OK, false: codes.Unauthenticated}[password == row.password]); err != nil {
					continue
				}
				if list, err := a.users.List(t.Context()); err != nil || !strings.Contains(fmt.Sprint(list), "{admin ") {
					t.Errorf("the users are %v: %v", list, err)
				}
			}
			if _, err := newAuthority(t.Context(), config); err != nil {
				t.Errorf("the second start: %v", err)
			}
		})
	}
}
