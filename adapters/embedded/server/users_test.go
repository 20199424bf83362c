package server

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

func TestFirstStart(t *testing.T) {
	config := newGuardConfig(t, UsersConfig{Memory: quick})
	_, err := newAuthority(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "--admin-password-file") {
		t.Errorf("a store without users is served, or nobody is told what to do: %v", err)
	}
	config.Users.AdminPassword = "short"
	if _, err := newAuthority(t.Context(), config); err == nil || !strings.Contains(err.Error(), "at least 8") {
		t.Errorf("a short password is taken: %v", err)
	}
	config.Users.AdminPassword, config.Users.OpsPassword = "password", "password"
	a, err := newAuthority(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.users.List(t.Context())
	for i := range list {
		list[i].changed = 0
	}
	if want := "[{admin Event Store Administrator [$admins] false 0} {ops Event Store Operations [$ops] false 0}]"; err != nil || fmt.Sprint(list) != want {
		t.Errorf("the users are %v, %v; want %s", list, err, want)
	}
	if err := a.users.Remove(t.Context(), "ops"); err != nil {
		t.Fatal(err)
	}
	config.Users.AdminPassword = "another password" // is for the first start only
	if a, err = newAuthority(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if list, err := a.users.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("who was removed came back: %v, %v", list, err)
	}
	if _, err := a.authenticate(calling(t, basic("admin", "password"))); err != nil {
		t.Errorf("the password changed with the start: %v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	a := guarded(t)
	for name, header := range map[string]string{
		"wrong password":   basic("admin", "passwort"),
		"nobody":           basic("nobody", "password"),
		"no name":          basic("", "password"),
		"a path":           basic("../admin", "password"),
		"a NUL":            basic("admin\x00", "password"),
		"a long name":      basic(strings.Repeat("x", 2000), "password"),
		"too long":         basic("admin", strings.Repeat("x", maxHeader)),
		"no base64":        "Basic !!",
		"nothing":          "Basic ",
		"only the scheme":  "Basic",
		"$users as a name": basic("$users", "password"),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // and again, from memory
				who, err := a.authenticate(calling(t, header))
				wantCode(t, err, codes.Unauthenticated)
				if who.name != "" || who.system {
					t.Errorf("it is %+v's", who)
				}
			}
		})
	}
	// EventStoreDB 24.10 takes these for no credentials.
	for _, header := range []string{
		"", "Basic YWRtaW4=", "abc", "Bearer YWRtaW46cGFzc3dvcmQ=", "Bearer " + strings.Repeat("x", 2*maxHeader), byCertificate + "\x00admin", byCertificate + " admin",
	} {
		for range 2 {
			who, err := a.authenticate(calling(t, header))
			if err != nil || who.name != "" || who.system || !who.stranger {
				t.Errorf("%.40q: it is %+v's: %v", header, who, err)
			}
		}
	}
	for _, header := range []string{basic("admin", "password"), strings.Replace(basic("admin", "password"), "Basic ", "basic  ", 1)} {
		who, err := a.authenticate(calling(t, header))
		if err != nil || who.name != "admin" || !who.is(adminsGroup) || who.system {
			t.Errorf("it is %+v's: %v", who, err)
		}
	}
	if who, err := a.authenticate(t.Context()); err != nil || who.name != "" || who.system {
		t.Errorf("without credentials it is %+v's: %v", who, err)
	}
}

func TestUsersChangeAtOnce(t *testing.T) {
	a := guarded(t)
	a.add(t, "someone", "readers")
	is := func(password string, want codes.Code) {
		t.Helper()
		_, err := a.authenticate(calling(t, basic("someone", password)))
		wantCode(t, err, want)
	}
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		a.wrote(t.Context(), toWrite, "$user-someone")
	}
	is("password", codes.OK)
	is("new password", codes.Unauthenticated)
	change(a.users.SetPassword(t.Context(), "someone", "new password"))
	is("password", codes.Unauthenticated)
	is("new password", codes.OK)
	change(a.users.Disable(t.Context(), "someone"))
	is("new password", codes.Unauthenticated)
	change(a.users.Enable(t.Context(), "someone"))
	is("new password", codes.OK)
	change(a.users.Remove(t.Context(), "someone"))
	is("new password", codes.Unauthenticated)
	change(a.users.Add(t.Context(), User{Name: "someone"}, "third password"))
	is("new password", codes.Unauthenticated)
	is("third password", codes.OK)
	a.put(t, "$user-someone", "nonsense", `{}`)
	is("third password", codes.Unauthenticated)
}

func TestUsersRefusals(t *testing.T) {
	a := guarded(t)
	ctx := t.Context()
	for name, err := range map[string]error{
		"a name with a colon": a.users.Add(ctx, User{Name: "a:b"}, "password"),
		"a name like a group": a.users.Add(ctx, User{Name: "$admins"}, "password"),
		"no name":             a.users.Add(ctx, User{}, "password"),
		"the role $all":       a.users.Add(ctx, User{Name: "x", Groups: []string{"$all"}}, "password"),
		"an empty group":      a.users.Add(ctx, User{Name: "x", Groups: []string{""}}, "password"),
		"many groups":         a.users.Add(ctx, User{Name: "x", Groups: make([]string, 100)}, "password"),
		"a short password":    a.users.Add(ctx, User{Name: "x"}, "short"),
		"a long password":     a.users.Add(ctx, User{Name: "x"}, strings.Repeat("x", 2000)),
		"the same name":       a.users.Add(ctx, User{Name: "admin"}, "password"),
		"the last admin goes": a.users.Remove(ctx, "admin"),
		"the last admin off":  a.users.Disable(ctx, "admin"),
		"nobody goes":         a.users.Remove(ctx, "nobody"),
		"nobody's password":   a.users.SetPassword(ctx, "nobody", "password"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if strings.HasPrefix(name, "nobody") && !errors.Is(err, ErrNoUser) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.add(t, "second", adminsGroup)
	if err := errors.Join(a.users.Disable(ctx, "admin"), a.users.Remove(ctx, "admin")); err != nil {
		t.Errorf("admin is not the last any more: %v", err)
	}
}

// TestPasswordsAreNotStored looks for them.
func TestPasswordsAreNotStored(t *testing.T) {
	a := guarded(t)
	page, err := a.store.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{System: true}, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	salts := map[string]bool{}
	for i := range page.Events {
		e := &page.Events[i]
		if strings.Contains(string(e.Data), "password") {
			t.Errorf("%s holds %s", e.Ref(), e.Data)
		}
		if record, err := decodeUser(e); err == nil && e.Stream != usersStream {
			salts[string(record.Salt)] = true
		}
	}
	if len(salts) != 2 {
		t.Errorf("%d salts for two users with one password", len(salts))
	}
}

// TestOneHashForMany has many calls come at once with the same new credentials: they are hashed once.
func TestOneHashForMany(t *testing.T) {
	a := guarded(t)
	for range cap(a.logins.slots) {
		a.logins.slots <- struct{}{} // nothing is hashed
	}
	var calls sync.WaitGroup
	for range 4 * maxWaiting {
		calls.Go(func() {
			if who, err := a.authenticate(calling(t, basic("admin", "password"))); err != nil || who.name != "admin" {
				t.Errorf("it is %+v's: %v", who, err)
			}
		})
	}
	for range cap(a.logins.slots) {
		<-a.logins.slots
	}
	calls.Wait()
	if len(a.logins.known) != 1 || len(a.logins.checking) != 0 {
		t.Errorf("%d are known, %d are checked", len(a.logins.known), len(a.logins.checking))
	}
}

// counted is a guard that counts what is hashed.
func counted(t testing.TB) (a *authority, hashed *atomic.Int64) {
	t.Helper()
	a, hashed = guarded(t), new(atomic.Int64)
	a.logins.matches = func(s *secret, password string) bool {
		hashed.Add(1)
		return s.matches(password)
	}
	return a, hashed
}

// TestManyLogInAtOnce has more users than guesses are allowed log in from one address, several times each: they are hashed once each, and
// none of them passes for guessing.
func TestManyLogInAtOnce(t *testing.T) {
	const users, clients = 2 * maxGuesses, 3
	a, hashed := counted(t)
	for i := range users {
		a.add(t, fmt.Sprint("user", i))
	}
	var calls sync.WaitGroup
	for i := range users * clients {
		calls.Go(func() {
			name := fmt.Sprint("user", i%users)
			if who, err := a.authenticate(calling(t, basic(name, "password"))); err != nil || who.name != name {
				t.Errorf("it is %+v's: %v", who, err)
			}
		})
	}
	calls.Wait()
	if n := hashed.Load(); n != users {
		t.Errorf("%d passwords were hashed for %d users", n, users)
	}
}

// TestWrongPasswordsCost: each wrong password is hashed like a right one, also that of nobody, and no more of them than an address may guess.
func TestWrongPasswordsCost(t *testing.T) {
	a, hashed := counted(t)
	for i := range maxGuesses {
		name := []string{"admin", "nobody"}[i%2]
		for range 3 { // repeated, it is remembered
			_, err := a.authenticate(calling(t, basic(name, fmt.Sprint("guess ", i))))
			wantCode(t, err, codes.Unauthenticated)
		}
		if n := hashed.Load(); n != int64(i+1) {
			t.Fatalf("%d passwords were hashed after %d wrong ones", n, i+1)
		}
	}
	for i := range 5 * maxGuesses {
		_, err := a.authenticate(calling(t, basic("admin", fmt.Sprint("more ", i))))
		if f := new(failure); err == nil || errors.As(err, &f) && f.code != codes.ResourceExhausted && f.code != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	if n := hashed.Load(); n > 3*maxGuesses { // some recover meanwhile
		t.Errorf("%d passwords were hashed", n)
	}
}

// TestCredentialsAreRememberedForAWhile, and forgotten when their user changes, whoever else does.
func TestCredentialsAreRememberedForAWhile(t *testing.T) {
	a, hashed := counted(t)
	a.add(t, "someone")
	is := func(name, password string, want codes.Code, after int64) {
		t.Helper()
		for range 3 {
			_, err := a.authenticate(calling(t, basic(name, password)))
			wantCode(t, err, want)
		}
		if n := hashed.Load(); n != after {
			t.Errorf("%d passwords were hashed, want %d", n, after)
		}
	}
	is("admin", "password", codes.OK, 1)
	is("someone", "password", codes.OK, 2)
	if err := a.users.SetPassword(t.Context(), "someone", "new password"); err != nil {
		t.Fatal(err)
	}
	a.wrote(t.Context(), toWrite, "$user-someone")
	is("admin", "password", codes.OK, 2)
	is("someone", "password", codes.Unauthenticated, 3)
	is("someone", "new password", codes.OK, 4)
	for id, entry := range a.logins.known {
		if left := time.Until(entry.until); left <= 0 || left > rememberTime {
			t.Errorf("credentials are remembered for %s", left)
		}
		entry.until = time.Now().Add(-time.Second)
		a.logins.known[id] = entry
	}
	is("admin", "password", codes.OK, 5)
}

// TestOlderHashes: users of stores that older builds wrote log in as before.
func TestOlderHashes(t *testing.T) {
	a := guarded(t)
	old := secret{Algorithm: pbkdf2Name, Rounds: 1000, Salt: []byte("0123456789abcdef")}
	var err error
	if old.Hash, err = pbkdf2.Key(sha256.New, "password", old.Salt, old.Rounds, hashBytes); err != nil {
		t.Fatal(err)
	}
	if err := a.users.save(t.Context(), &userRecord{Name: "veteran", secret: old}, storage.ExpectNoStream); err != nil {
		t.Fatal(err)
	}
	_, err = a.authenticate(calling(t, basic("veteran", "password")))
	wantCode(t, err, codes.OK)
	_, err = a.authenticate(calling(t, basic("veteran", "passwort")))
	wantCode(t, err, codes.Unauthenticated)
}

// TestCancelledCheck ends the call that hashes for others: they are not refused for it.
func TestCancelledCheck(t *testing.T) {
	a := guarded(t)
	for range cap(a.logins.slots) {
		a.logins.slots <- struct{}{}
	}
	first, cancel := context.WithCancel(calling(t, basic("admin", "password")))
	var calls sync.WaitGroup
	calls.Go(func() {
		_, err := a.authenticate(first)
		wantCode(t, err, codes.Canceled)
	})
	for a.logins.waiting.Load() == 0 {
		runtime.Gosched()
	}
	calls.Go(func() {
		if _, err := a.authenticate(calling(t, basic("admin", "password"))); err != nil {
			t.Error(err)
		}
	})
	cancel()
	for range cap(a.logins.slots) {
		<-a.logins.slots
	}
	calls.Wait()
}

// TestGuessing has one address guess passwords: it is stopped, forgets nobody who was right before, and recovers.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guesses
		guess := func(address string) (allowed int) {
			for range 100 {
				if spent := g.spent(address); g.allow(address) == spent {
					t.Errorf("%s had a guess left: %t", address, !spent)
				} else if !spent {
					allowed++
				}
			}
			return allowed
		}
		if n := guess("1.2.3.4"); n != maxGuesses {
			t.Errorf("%d guesses at once", n)
		}
		if n := guess("1.2.3.5"); n != maxGuesses {
			t.Errorf("%d guesses from another address", n)
		}
		<-time.After(5 * guessRecovery) // of the bubble
		if n := guess("1.2.3.4"); n != 5 {
			t.Errorf("%d guesses after a while", n)
		}
		g.forgive("1.2.3.4")
		if n := guess("1.2.3.4"); n != 1 {
			t.Errorf("%d guesses after one was none", n)
		}
		for i := range 3 * maxAddresses {
			g.allow(fmt.Sprint(i))
		}
		if len(g.from) > maxAddresses {
			t.Errorf("%d addresses are remembered", len(g.from))
		}
	})
}

func TestGuessingIsStopped(t *testing.T) {
	a := guarded(t)
	if _, err := a.authenticate(calling(t, basic("admin", "password"))); err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for i := range 3 * maxGuesses {
		if _, err := a.authenticate(calling(t, basic("admin", fmt.Sprint("guess ", i)))); err == nil {
			t.Fatal("a wrong password is right")
		} else if f := new(failure); errors.As(err, &f) && f.code == codes.ResourceExhausted {
			stopped++
		}
	}
	if stopped < maxGuesses {
		t.Errorf("%d of %d guesses were stopped", stopped, 3*maxGuesses)
	}
	if _, err := a.authenticate(calling(t, basic("admin", "password"))); err != nil {
		t.Errorf("who was right before is stopped too: %v", err)
	}
	if _, err := a.authenticate(calling(t, basic("ops", "password"))); err == nil {
		t.Error("another user may guess from there")
	}
}

func TestMemoryOfLoginsIsBounded(t *testing.T) {
	a := guarded(t)
	for i := range maxKnown + 100 {
		id := a.logins.digest(byPassword, fmt.Sprint(i))
		a.logins.remember(id, login{}, true)
		a.logins.remember(id, login{}, false)
	}
	if len(a.logins.known) != maxKnown || len(a.logins.refused) != maxRefused {
		t.Errorf("%d right and %d wrong credentials are remembered", len(a.logins.known), len(a.logins.refused))
	}
}

func FuzzBasic(f *testing.F) {
	for _, header := range []string{"", "Basic", "Basic ", basic("a", "b"), basic("a", "b:c"), basic("", ""), "basic YQ==", "Basic YTpi=", "Bearer x", "Basic  YTpi "} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		name, password, err := parseBasic(header)
		if err != nil {
			return
		}
		if name == "" || strings.Contains(name, ":") {
			t.Errorf("%q is of the user %q", header, name)
		}
		if again, secret, err := parseBasic(basic(name, password)); err != nil || again != name || secret != password {
			t.Errorf("%q, %q reads back as %q, %q, %v", name, password, again, secret, err)
		}
	})
}

func FuzzUser(f *testing.F) {
	hashed, err := newSecret("password", quick)
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(userRecord{Name: "admin", Groups: []string{adminsGroup}, secret: hashed})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(userKind), good)
	f.Add("other", good)
	f.Add(string(userKind), []byte(`{"loginName":"admin","fullName":"Event Store Administrator","salt":"c2FsdA==","hash":"aGFzaA==","disabled":false,"groups":["$admins"]}`))
	f.Add(string(userKind), []byte(`{"loginName":"a","groups":null,"rounds":99999999999,"memory":99999999999,"algorithm":"argon2id"}`))
	f.Add(string(userKind), []byte(`{"loginName":"a","groups":null,"rounds":99999999999,"algorithm":"pbkdf2-sha256"}`))
	f.Add(string(userKind), []byte(`null`))
	f.Add(string(userCreatedKind), []byte(`{"loginName":"admin","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"ESjecbuhkU3H6HH3/Q/sDBotvTI=","groups":["$admins"]}`))
	f.Add(string(userUpdatedKind), []byte("\xef\xbb\xbf{\"loginName\":\"a\",\"salt\":\"\",\"hash\":\"v2$\"}"))
	f.Add(string(userKind), []byte(`{"loginName":"a","groups":null,"rounds":99999999999,"algorithm":"pbkdf2-sha1","salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"aGFzaA=="}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		record, err := decodeUser(&events.Envelope{Stream: "$user-admin", Kind: events.Kind(kind), Data: data})
		if err != nil {
			return
		}
		if record.Rounds <= defaultRounds && record.Memory <= 2*quick && record.matches("a password nobody has") {
			t.Errorf("%s lets anyone in", data)
		}
		stored, err := json.Marshal(&record)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeUser(&events.Envelope{Kind: userKind, Data: stored})
		if err != nil {
			t.Fatal(err)
		}
		if restored, err := json.Marshal(&again); err != nil || !bytes.Equal(restored, stored) {
			t.Errorf("%s becomes %s: %v", stored, restored, err)
		}
	})
}
