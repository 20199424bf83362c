package eventstore_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
)

// greatest is the most that every journal over EventStoreDB takes at once, as actors.BatchSize counts.
const greatest = 1<<20 - 4096

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// logs writes what is logged into the test's output.
func logs(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func TestJournal(t *testing.T) {
	actorstest.TestJournalWithin(t, greatest, func(t *testing.T) actors.Journal {
		served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
		return connect(t, eventstore.Config{Connection: plain(served.Addr())})
	})
}
