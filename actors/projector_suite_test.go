package actors_test

import (
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
)

func TestProjector(t *testing.T) {
	actorstest.TestProjector(t, 6, func(*testing.T) (actors.Journal, actors.Snapshots) {
		memory := actorstest.NewMemory()
		return memory, memory
	})
}
