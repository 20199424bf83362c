package eventstore_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
)

// TestEveryVersion runs the conformance suite and the groups' tests over a double of each version, and the projector's suite where it matters.
func TestEveryVersion(t *testing.T) {
	t.Parallel()
	for _, profile := range eventstoretest.Profiles() {
		start := func(t *testing.T) *eventstoretest.Cluster {
			return eventstoretest.Start(t, eventstoretest.Config{Profile: profile, Nodes: 3, Seed: 1})
		}
		open := func(t *testing.T) *eventstore.Journal {
			return connect(t, eventstore.Config{Connection: start(t).Connection()})
		}
		t.Run(profile.Version, func(t *testing.T) {
			t.Parallel()
			actorstest.TestJournalWithin(t, greatest, func(t *testing.T) storage.Journal { return open(t) })
			if profile.Endless || profile.Checkpoints == eventstoretest.PageEnd { // the checkpoints that are no places reached
				t.Run("projections", func(t *testing.T) {
					actorstest.TestProjector(t, 1, func(t *testing.T) (storage.Journal, storage.Snapshots) { return open(t), actorstest.NewMemory() })
				})
			}
			t.Run("a group goes on", func(t *testing.T) { testGroupGoesOn(t, open(t)) })
			t.Run("a group of everything", func(t *testing.T) { testGroupOfEverything(t, open(t)) })
			t.Run("a group is taken over", func(t *testing.T) { testGroupIsTakenOver(t, start(t).Leader().Address()) })
		})
	}
}
