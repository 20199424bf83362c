package actors_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
)

func TestProjector(t *testing.T) {
	actorstest.TestProjector(t, 6, func(*testing.T) (storage.Journal, storage.Snapshots) {
		memory := actorstest.NewMemory()
		return memory, memory
	})
}
