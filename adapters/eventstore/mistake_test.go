package eventstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/events"
)

// What waiting does not cure ends at once, with the remedy that is the right one.
func TestMistakes(t *testing.T) {
	t.Parallel()
	encrypted, other := secure(t), secure(t)
	open := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	_, port, _ := strings.Cut(encrypted.Addr(), ":")
	ca, otherCA := filepath.Join(encrypted.certificates, "ca.crt"), filepath.Join(other.certificates, "ca.crt")
	rows := []struct{ name, connection, problem, remedy string }{
		{"no encryption where it is wanted", "esdb://" + encrypted.Addr() + "?tls=false", "wants encrypted connections", "leave out tls=false"},
		{"encryption where there is none", "esdb://" + open.Addr(), "does not encrypt its connections", "tls=false"},
		{"a CA that is not known", "esdb://" + encrypted.Addr(), "of a CA that this machine does not know", "tlsCAFile="},
		{"another CA", "esdb://" + encrypted.Addr() + "?tlsCAFile=" + otherCA, "no CA in " + otherCA, "tlsCAFile"},
		{"another name", "esdb://localhost:" + port + "?tlsCAFile=" + ca, "has a certificate for other names", "use one of them in the connection string"},
		{"a wrong password", "esdb://admin:wrong@" + encrypted.Addr() + "?tlsCAFile=" + ca, `does not accept the user name and password (of "admin")`, "correct"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := eventstore.Open(ctx, eventstore.Config{Connection: row.connection})
			var mistake *eventstore.AddressError
			if !errors.As(err, &mistake) || ctx.Err() != nil || !eventstore.Denied(err) {
				t.Fatalf("the error is %v, want a mistake, at once", err)
			}
			if !strings.Contains(mistake.Problem, row.problem) || !strings.Contains(mistake.Remedy, row.remedy) {
				t.Errorf("the mistake is %v, want %q with the remedy %q", mistake, row.problem, row.remedy)
			}
			if strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// A port of something else than EventStoreDB, which speaks gRPC: no other server can be meant.
func TestMistakenServer(t *testing.T) {
	f := (&fake{other: true}).start(t)
	_, err := eventstore.Open(t.Context(), eventstore.Config{Connection: plain(f.address)})
	if !eventstore.Denied(err) || !errors.Is(err, eventstore.ErrProtocol) || !strings.Contains(err.Error(), "is not EventStoreDB") {
		t.Errorf("the error is %v, want a mistake", err)
	}
}

// One node of three whose connections cannot be made is no mistake of the whole: the others are there in a moment.
func TestMistakeOfOne(t *testing.T) {
	t.Parallel()
	encrypted := secure(t)
	c := eventstoretest.Start(t, eventstoretest.Config{Nodes: 3})
	nodes := []*eventstoretest.Node{c.Node(0), c.Node(1), c.Node(2)}
	for _, node := range nodes {
		node.Kill()
	}
	told, tell := looks()
	connection := strings.Replace(c.Connection(), "esdb://", "esdb://"+encrypted.Addr()+",", 1)
	opened := make(chan error, 1)
	go func() {
		journal, err := eventstore.Open(t.Context(), eventstore.Config{Connection: connection, Away: tell})
		if err == nil {
			err = journal.Close()
		}
		opened <- err
	}()
	for away := range told {
		if away.Cause != nil {
			break
		}
	}
	for _, node := range nodes {
		node.Restart()
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// Whoever may not do something is told which access list decides that.
func TestAccessLists(t *testing.T) {
	t.Parallel()
	s := secure(t)
	if err := server.NewUsers(s.kept).Add(t.Context(), server.User{Name: "someone"}, secret); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, eventstore.Config{Connection: s.connection(""), Username: "admin", Password: secret})
	acl := happened("acl", 1)
	acl[0].Kind, acl[0].Foreign, acl[0].Data = "$metadata", &events.Foreign{}, []byte(`{"$acl":{"$r":"$admins","$w":"$admins"}}`)
	if _, err := admin.Append(t.Context(), "$$closed", storage.ExpectAny, acl); err != nil {
		t.Fatal(err)
	}
	journal := connect(t, eventstore.Config{Connection: s.connection(""), Username: "someone", Password: secret})
	nobody := connect(t, eventstore.Config{Connection: s.connection("")})
	ctx := t.Context()
	read := func(j *eventstore.Journal, stream events.Stream) error {
		_, err := j.Read(ctx, stream, 0, storage.Forward, storage.Limit{})
		return err
	}
	_, everything := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
	_, written := journal.Append(ctx, "closed", storage.ExpectAny, happened("x", 1))
	_, readable := journal.Append(ctx, "open", storage.ExpectAny, happened("x", 1))
	says(t, "append to a stream of its own", readable, "")
	nothing := func(context.Context, events.Envelope) error { return nil }
	rows := []struct {
		what string
		err  error
		want []string
	}{
		{"read everything", everything, []string{`"someone"`, "$admins", "access list of $all", "$r", "$$$all"}},
		{"read a stream", read(journal, "closed"), []string{"$r", "access list of closed", "$userStreamAcl", "$settings"}},
		{"append", written, []string{"$w", "access list of closed", "$userStreamAcl", "$settings"}},
		{"read the store's own", read(journal, "$users"), []string{"$admins", "$systemStreamAcl", "$settings"}},
		{"create a group", journal.Consume(ctx, "g", storage.From{Stream: "open", Revision: events.NoRevision}, nothing), []string{"$ops", "$admins", "create the group"}},
		{"nobody", read(nobody, "open"), []string{"without a user name and password", "give a user's name and password"}},
	}
	for _, row := range rows {
		var mistake *eventstore.AddressError
		if !errors.As(row.err, &mistake) {
			t.Errorf("%s: the error is %v, want a mistake", row.what, row.err)
			continue
		}
		for _, want := range append(row.want, "denies access") {
			if strings.Count(row.err.Error(), want) == 0 {
				t.Errorf("%s: the error does not say %q: %v", row.what, want, row.err)
			}
		}
	}
}

// A file that holds no certificate is named.
func TestCAFileIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := eventstore.Open(t.Context(), eventstore.Config{Connection: "esdb://127.0.0.1:1?tlsCAFile=" + file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the error is %v, want one that names %s", err, file)
	}
}
