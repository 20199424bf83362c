package eventstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
)

// greatest is the most that every journal over EventStoreDB takes at once, as storage.BatchSize counts.
const greatest = 1<<20 - 4096

// The clock of expressions goes on for a second after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// store is an embedded store, to be served.
func store(t testing.TB) *embedded.Store {
	t.Helper()
	opened, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return opened
}

// serving is a running server.
type serving struct {
	*server.Server
	done chan error
}

// serve puts a store behind the protocol until stop or the test's end.
func serve(t testing.TB, config server.Config) *serving {
	t.Helper()
	made, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{Server: made, done: make(chan error, 1)}
	go func() { s.done <- made.Serve(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *serving) stop(t testing.TB) {
	t.Helper()
	if s.done == nil {
		return
	}
	s.Close(context.WithoutCancel(t.Context()))
	if err := <-s.done; err != nil {
		t.Errorf("serve: %v", err)
	}
	s.done = nil
}

func connect(t testing.TB, config eventstore.Config) *eventstore.Journal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	journal, err := eventstore.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := journal.Close(); err != nil {
			t.Errorf("close the journal: %v", err)
		}
	})
	return journal
}

// plain is a connection string without encryption, whose client is quick to come back.
func plain(address string) string { return "esdb://" + address + "?tls=false&discoveryInterval=10" }

func TestJournal(t *testing.T) {
	t.Parallel()
	actorstest.TestJournalWithin(t, greatest, func(t *testing.T) storage.Journal {
		served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
		return connect(t, eventstore.Config{Connection: plain(served.Addr())})
	})
}

// secured is a server with certificates and the user admin.
type secured struct {
	*serving
	kept         *embedded.Store
	certificates string
}

const secret = "p@ss:w/rd%,?"

func secure(t testing.TB) secured {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certificates")
	made := server.DevelopmentCertificates{Dir: dir, Hosts: []string{"127.0.0.1"}, Users: []string{"admin"}, Lifetime: time.Hour}
	if err := made.Write(); err != nil {
		t.Fatal(err)
	}
	certificate, err := server.LoadTLS(server.TLSFiles{
		Certificate: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), ClientCA: filepath.Join(dir, "ca.crt"),
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := store(t)
	users := server.UsersConfig{AdminPassword: secret, Memory: 64}
	return secured{kept: kept, certificates: dir, serving: serve(t, server.Config{Store: kept, Listen: "127.0.0.1:0", TLS: certificate, Users: users})}
}

// connection is the connection string of a user whose password stands in it, or of nobody.
func (s secured) connection(credentials string) string {
	return "esdb://" + credentials + s.Addr() + "?discoveryInterval=10&tlsCAFile=" + filepath.Join(s.certificates, "ca.crt")
}

func TestSecureJournal(t *testing.T) {
	t.Parallel()
	actorstest.TestJournalWithin(t, greatest, func(t *testing.T) storage.Journal {
		return connect(t, eventstore.Config{Connection: secure(t).connection(""), Username: "admin", Password: secret})
	}, "every expectation in every state", "what is appended comes back", "a batch of the greatest size", "everything through a filter", "subscriptions under concurrent writers")
}

func TestProjector(t *testing.T) {
	actorstest.TestProjector(t, 2, func(t *testing.T) (storage.Journal, storage.Snapshots) {
		held := store(t)
		served := serve(t, server.Config{Store: held, Listen: "127.0.0.1:0", Insecure: true})
		return connect(t, eventstore.Config{Connection: plain(served.Addr())}), held
	})
}
