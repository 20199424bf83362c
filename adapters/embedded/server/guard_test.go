package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

const quick = minMemory // of the hashes of passwords in tests

// guarded is a guard over a store of its own, with the users admin and ops, whose passwords are "password".
func guarded(t testing.TB) *authority {
	t.Helper()
	a, err := newAuthority(t.Context(), newGuardConfig(t, UsersConfig{AdminPassword: "password", OpsPassword: "password", Memory: quick}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newGuardConfig(t testing.TB, users UsersConfig) Config {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	config, err := Config{Store: store, Listen: ":0", Users: users}.completed()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// add makes a user with the password "password".
func (a *authority) add(t testing.TB, name string, groups ...string) caller {
	t.Helper()
	if err := a.users.Add(t.Context(), User{Name: name, Groups: groups}, "password"); err != nil {
		t.Fatal(err)
	}
	return caller{name: name, groups: groups}
}

// put appends an event through the guard's eyes, as the server does.
func (a *authority) put(t testing.TB, stream events.Stream, kind events.Kind, data string) {
	t.Helper()
	e := events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Time: 1, Data: []byte(data), Foreign: &events.Foreign{}}
	if _, err := a.store.Append(t.Context(), stream, storage.ExpectAny, []events.Envelope{e}); err != nil {
		t.Fatal(err)
	}
	a.wrote(t.Context(), toWrite, stream)
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// calling is the context of a call with these credentials.
func calling(t testing.TB, header string) context.Context {
	t.Helper()
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", header))
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// TestRights is the table of who may do what when nobody has said anything else.
func TestRights(t *testing.T) {
	a := guarded(t)
	someone := caller{name: "someone", groups: []string{"others"}}
	admin := caller{name: "admin", groups: []string{adminsGroup}}
	ops := caller{name: "ops", groups: []string{opsGroup}}
	insecure := caller{system: true}
	for _, row := range []struct {
		stream    events.Stream
		what      []action
		permitted []caller
		denied    []caller
	}{
		{"orders", []action{toRead, toWrite, toDelete, toReadMeta, toWriteMeta}, []caller{someone, admin, ops, insecure}, []caller{{}}},
		{"$$orders", []action{toRead, toWrite}, []caller{someone, admin, ops, insecure}, []caller{{}}},
		{"$$orders", []action{toDelete}, nil, []caller{{}, someone, admin, ops, insecure}},
		{"$settings", []action{toRead, toWrite, toDelete, toReadMeta, toWriteMeta}, []caller{admin, insecure}, []caller{{}, someone, ops}},
		{"$$$settings", []action{toRead, toWrite}, []caller{admin, insecure}, []caller{{}, someone, ops}},
		{"$user-admin", []action{toRead, toWrite, toDelete}, []caller{admin, insecure}, []caller{{}, someone, ops}},
		{"$all", []action{toRead}, []caller{admin, insecure}, []caller{{}, someone, ops}},
		{"$all", []action{toWrite, toDelete}, nil, []caller{{}, someone, admin, ops, insecure}},
		{"$$$all", []action{toRead, toWrite}, []caller{admin, insecure}, []caller{{}, someone, ops}},
		{"$$$all", []action{toDelete}, nil, []caller{{}, someone, admin, ops, insecure}},
	} {
		for _, what := range row.what {
			for _, who := range row.permitted {
				if err := a.allow(t.Context(), who, what, row.stream); err != nil {
					t.Errorf("%+v may not %d %s: %v", who, what, row.stream, err)
				}
			}
			for _, who := range row.denied {
				err := a.allow(t.Context(), who, what, row.stream)
				var f *failure
				if !errors.As(err, &f) || f.code != codes.PermissionDenied || f.message != "Access Denied" || fmt.Sprint(f.trailer) != "map[exception:[access-denied]]" {
					t.Errorf("%+v may %d %s: %v", who, what, row.stream, err)
				}
			}
		}
	}
	for who, may := range map[*caller]bool{&admin: true, &ops: true, &insecure: true, &someone: false, {}: false} {
		if err := a.operator(*who); (err == nil) != may {
			t.Errorf("%+v manages consumer groups: %v", who, err)
		}
	}
}

// TestStreamACL gives each right of a stream to someone else.
func TestStreamACL(t *testing.T) {
	a := guarded(t)
	a.put(t, "$$s", "$metadata", `{"$acl":{"$r":"r","$w":["w","writers"],"$d":[],"$mr":"$all"}}`)
	who := func(name string, groups ...string) caller { return caller{name: name, groups: groups} }
	for _, row := range []struct {
		who    caller
		stream events.Stream
		what   action
		may    bool
	}{
		{who("r"), "s", toRead, true},
		{who("w"), "s", toRead, false},
		{who("x", "r"), "s", toRead, true}, // roles are groups and names alike
		{who("w"), "s", toWrite, true},
		{who("x", "writers"), "s", toWrite, true},
		{who("r"), "s", toWrite, false},
		{who("r"), "s", toDelete, false},
		{who("ops", opsGroup), "s", toDelete, false},
		{who("admin", adminsGroup), "s", toDelete, true},
		{who("x"), "$$s", toRead, true},
		{caller{}, "$$s", toRead, false}, // everyone is everyone who logged in
		{who("x"), "$$s", toWrite, true}, // not given: the default
	} {
		err := a.allow(t.Context(), row.who, row.what, row.stream)
		if (err == nil) != row.may {
			t.Errorf("%+v does %d to %s: %v", row.who, row.what, row.stream, err)
		}
	}
}

// TestEmptyRole is an access control list that names nobody: it does not let in who has no name.
func TestEmptyRole(t *testing.T) {
	a := guarded(t)
	a.anonymous = true
	a.put(t, "$$s", "$metadata", `{"$acl":{"$r":""}}`)
	wantCode(t, a.allow(t.Context(), caller{}, toRead, "s"), codes.PermissionDenied)
	if err := a.allow(t.Context(), caller{}, toRead, "other"); err != nil {
		t.Errorf("anonymous callers were let in by the operator: %v", err)
	}
}

func TestMetadataTakeEffectAtTheNextCall(t *testing.T) {
	a := guarded(t)
	someone := caller{name: "someone"}
	for range 3 {
		a.put(t, "$$s", "$metadata", `{"$acl":{"$r":"$admins"}}`)
		wantCode(t, a.allow(t.Context(), someone, toRead, "s"), codes.PermissionDenied)
		a.put(t, "$$s", "$metadata", `{"$acl":{"$r":"someone"}}`)
		wantCode(t, a.allow(t.Context(), someone, toRead, "s"), codes.OK)
	}
	a.put(t, "$$s", "$metadata", `{"$acl":"$userStreamAcl"}`) // malformed: as if there were none
	wantCode(t, a.allow(t.Context(), someone, toRead, "s"), codes.OK)
}

// TestListBehindTombstone: a stream that was ended for good has lost its list, so that those whom it left out are told that it has ended, as
// with EventStoreDB 24.10. What is written of it later gives no list again.
func TestListBehindTombstone(t *testing.T) {
	a := guarded(t)
	someone := caller{name: "someone"}
	for _, row := range []struct {
		stream events.Stream
		want   codes.Code // by the defaults
	}{{"s", codes.OK}, {"$s", codes.PermissionDenied}} {
		list := `{"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
		if row.want != codes.OK {
			list = `{"$acl":{"$r":"$all","$w":"$all","$d":"$all","$mr":"$all","$mw":"$all"}}`
		}
		a.put(t, metaPrefix+row.stream, "$metadata", list)
		for _, what := range []action{toRead, toWrite, toDelete, toReadMeta, toWriteMeta} {
			if got := status.Code(a.allow(t.Context(), someone, what, row.stream)); got == row.want {
				t.Errorf("before the end, %d of %s: %s", what, row.stream, got)
			}
		}
		if _, err := a.store.Tombstone(t.Context(), row.stream, storage.ExpectAny); err != nil {
			t.Fatal(err)
		}
		a.wrote(t.Context(), toDelete, row.stream)
		for range 2 {
			for _, what := range []action{toRead, toWrite, toDelete, toReadMeta, toWriteMeta} {
				wantCode(t, a.allow(t.Context(), someone, what, row.stream), row.want)
			}
			a.put(t, metaPrefix+row.stream, "$metadata", list)
		}
	}
}

func TestSettings(t *testing.T) {
	a := guarded(t)
	someone, ops := caller{name: "someone"}, caller{name: "ops", groups: []string{opsGroup}}
	wantCode(t, a.allow(t.Context(), someone, toWrite, "s"), codes.OK)
	a.put(t, "$settings", "update-default-acl", `{"$userStreamAcl":{"$r":["$all"],"$w":"$ops"},"$systemStreamAcl":{"$r":"$ops"}}`)
	wantCode(t, a.allow(t.Context(), someone, toRead, "s"), codes.OK)
	wantCode(t, a.allow(t.Context(), someone, toWrite, "s"), codes.PermissionDenied)
	wantCode(t, a.allow(t.Context(), ops, toWrite, "s"), codes.OK)
	wantCode(t, a.allow(t.Context(), someone, toDelete, "s"), codes.OK) // not given
	wantCode(t, a.allow(t.Context(), ops, toRead, "$all"), codes.OK)
	wantCode(t, a.allow(t.Context(), ops, toWrite, "$system"), codes.PermissionDenied)
	wantCode(t, a.allow(t.Context(), someone, toRead, "$all"), codes.PermissionDenied)
	a.put(t, "$$s", "$metadata", `{"$acl":{"$w":"someone"}}`)
	wantCode(t, a.allow(t.Context(), someone, toWrite, "s"), codes.OK) // the stream's own list goes before
	marked := events.Envelope{ID: uuid.New(), Kind: "settings", Version: 1, Time: 1, Foreign: &events.Foreign{Base64: true}}
	marked.Data = quoteBase64([]byte("\ufeff" + `{"$userStreamAcl":{"$w":"$ops"}}`)) // behind a byte order mark, as some editors write it
	if _, err := a.store.Append(t.Context(), settingsStream, storage.ExpectAny, []events.Envelope{marked}); err != nil {
		t.Fatal(err)
	}
	a.wrote(t.Context(), toWrite, settingsStream)
	wantCode(t, a.allow(t.Context(), someone, toWrite, "other"), codes.PermissionDenied)
	for _, malformed := range []string{
		`[]`, `{"$userStreamAcl":"all"}`, `{"$userStreamAcl":{"$w":7}}`, `null`, `{"$userStreamAcl":{"$w":"$ops","$x":"a"}}`,
		`{"$userStreamAcl":{"$w":"$ops"},"$systemStreamAcl":{"$r":null}}`,
	} {
		a.put(t, "$settings", "update-default-acl", malformed)
		wantCode(t, a.allow(t.Context(), someone, toWrite, "other"), codes.OK)
		wantCode(t, a.allow(t.Context(), someone, toRead, "$all"), codes.PermissionDenied)
	}
}

// FuzzSettings: whatever the bytes, malformed settings say nothing at all.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"$userStreamAcl":{"$r":["$all"],"$w":"$ops"},"$systemStreamAcl":{"$r":"$ops"}}`), false)
	f.Add([]byte("\xef\xbb\xbf{\"$userStreamAcl\":{\"$d\":[]}} and more"), true)
	f.Add([]byte(`{"$userStreamAcl":null}`), false)
	f.Fuzz(func(t *testing.T, text []byte, encoded bool) {
		e := events.Envelope{Data: text, Foreign: &events.Foreign{}}
		if encoded {
			e.Data, e.Foreign.Base64 = quoteBase64(text), true
		}
		var d streamDefaults
		if err := d.read(&e); err != nil && (d.user != nil || d.system != nil) {
			t.Fatalf("%q: %v, and yet %+v", text, err, d)
		}
	})
}

// TestHold has rights end while they are in use: by the stream's list, by the store's settings, and with the user.
func TestHold(t *testing.T) {
	a := guarded(t)
	someone := a.add(t, "someone")
	for _, row := range []struct {
		name string
		take func()
		code codes.Code
	}{
		{"by the stream", func() { a.put(t, "$$held", "$metadata", `{"$acl":{"$r":"other"}}`) }, codes.PermissionDenied},
		{"by the settings", func() { a.put(t, "$settings", "settings", `{"$userStreamAcl":{"$r":"$ops"}}`) }, codes.PermissionDenied},
		{"with the user", func() { // the last row: the user stays disabled
			if err := a.users.Disable(t.Context(), "someone"); err != nil {
				t.Fatal(err)
			}
			a.wrote(t.Context(), toWrite, "$user-someone")
		}, codes.Unauthenticated},
	} {
		t.Run(row.name, func(t *testing.T) {
			a.put(t, "$$held", "$metadata", `{}`)
			a.put(t, "$settings", "settings", `{}`)
			held, stop, err := a.hold(t.Context(), someone, toRead, "held")
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			other, stopOther, err := a.hold(t.Context(), caller{name: "admin", groups: []string{adminsGroup}}, toRead, "held")
			if err != nil {
				t.Fatal(err)
			}
			defer stopOther()
			a.put(t, "$$another", "$metadata", `{"$acl":{"$r":"nobody"}}`)
			if held.Err() != nil {
				t.Fatal("the metadata of another stream ended it")
			}
			row.take()
			if held.Err() == nil {
				t.Fatal("it goes on")
			}
			wantCode(t, context.Cause(held), row.code)
			if other.Err() != nil {
				t.Error("the administrator's ended too")
			}
		})
	}
	if len(a.permits) != 0 {
		t.Errorf("%d permits are left", len(a.permits))
	}
	if _, _, err := a.hold(t.Context(), caller{}, toRead, "held"); status.Code(err) != codes.PermissionDenied || len(a.permits) != 0 {
		t.Errorf("an anonymous caller: %v, %d permits are left", err, len(a.permits))
	}
}

// TestDeletingEndsTheList deletes a stream: its list goes with its other metadata.
func TestDeletingEndsTheList(t *testing.T) {
	a := guarded(t)
	a.put(t, "s", "happened", `{}`)
	a.put(t, "$$s", "$metadata", `{"$acl":{"$r":"$admins"}}`)
	wantCode(t, a.allow(t.Context(), caller{name: "someone"}, toRead, "s"), codes.PermissionDenied)
	if _, err := a.store.Delete(t.Context(), "s", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	a.wrote(t.Context(), toDelete, "s")
	wantCode(t, a.allow(t.Context(), caller{name: "someone"}, toRead, "s"), codes.OK)
}

func TestInsecure(t *testing.T) {
	config := newGuardConfig(t, UsersConfig{})
	config.Insecure = true
	for range 2 { // the second start finds what the first one made
		a, err := newAuthority(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		who, err := a.authenticate(calling(t, basic("nobody", "wrong")))
		if err != nil || a.allow(t.Context(), who, toWrite, "$settings") != nil || a.operator(who) != nil {
			t.Errorf("%+v may not do everything: %v", who, err)
		}
		a.wrote(t.Context(), toWrite, "$user-admin")
		page, err := config.Store.Read(t.Context(), usersStream, 0, storage.Forward, storage.Limit{})
		if err != nil || len(page.Events) != 1 || page.Events[0].Kind != userKind {
			t.Errorf("$users holds %+v: %v", page.Events, err)
		}
		if list, err := a.users.List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("there are users: %+v, %v", list, err)
		}
	}
	config.Insecure = false // and the first secure start still asks for the password of admin
	if _, err := newAuthority(t.Context(), config); err == nil {
		t.Error("a store without users is served")
	}
	config.Users = UsersConfig{AdminPassword: "password", Memory: quick}
	if _, err := newAuthority(t.Context(), config); err != nil {
		t.Error(err)
	}
}

func BenchmarkAllow(b *testing.B) {
	a := guarded(b)
	who := caller{name: "someone"}
	a.put(b, "$$listed", "$metadata", `{"$acl":{"$w":"someone"}}`)
	for _, stream := range []events.Stream{"plain", "listed"} {
		b.Run(string(stream), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := a.allow(b.Context(), who, toWrite, stream); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	header := calling(b, basic("admin", "password"))
	b.Run("authenticate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.authenticate(header); err != nil {
				b.Fatal(err)
			}
		}
	})
}
