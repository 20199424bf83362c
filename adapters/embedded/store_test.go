package embedded_test

import (
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/embedded"
)

func open(t *testing.T, config embedded.Config) *embedded.Store {
	t.Helper()
	store, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

func TestJournal(t *testing.T) {
	actorstest.TestJournal(t, func(t *testing.T) actors.Journal { return open(t, embedded.Config{Dir: t.TempDir()}) })
}

func TestSnapshots(t *testing.T) {
	actorstest.TestSnapshots(t, func(t *testing.T) actors.Snapshots { return open(t, embedded.Config{Dir: t.TempDir()}) })
}
