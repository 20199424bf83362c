package eventstore_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
)

// TestEveryVersion runs the conformance suite over a double of the newest version, its rows in which versions differ over the others, the groups' tests
// over each, and the projector's suite where it matters.
func TestEveryVersion(t *testing.T) {
	t.Parallel()
	profiles := eventstoretest.Profiles()
	for i, profile := range profiles {
		var rows []string // for the newest version: all
		if i < len(profiles)-1 {
			rows = []string{
				"every expectation in every state", "a retry at the same revision succeeds once", "a retry without expectation succeeds once",
				"what is appended comes back", "places that were not given are refused", "everything through a filter",
				"subscriptions catch up and go on live", "a slow subscriber misses nothing",
			}
		}
		start := func(t *testing.T) *eventstoretest.Cluster {
			return eventstoretest.Start(t, eventstoretest.Config{Profile: profile, Nodes: 3, Seed: 1})
		}
		open := func(t *testing.T) *eventstore.Journal {
			return connect(t, eventstore.Config{Connection: start(t).Connection()})
		}
		t.Run(profile.Version, func(t *testing.T) {
			t.Parallel()
			actorstest.TestJournalWithin(t, greatest, func(t *testing.T) storage.Journal { return open(t) }, rows...)
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
