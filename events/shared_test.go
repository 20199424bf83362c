package events_test

import (
	"sync"
	"testing"

	"example.com/life/events"
)

// TestEncodeOnlyReads encodes each example from several goroutines at once: what an event refers to may be shared with others, and
// the race detector sees who writes to it.
func TestEncodeOnlyReads(t *testing.T) {
	for _, event := range examples() {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, _, err := events.Encode(event); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
}
