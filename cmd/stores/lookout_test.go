package stores

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/adapters/eventstore"
)

// TestLookout: nothing is said of a store that is back in a moment; otherwise that it is looked for, for how long and why, and that it is there.
func TestLookout(t *testing.T) {
	away := func() *eventstore.AwayError {
		return &eventstore.AwayError{Store: "s", Since: time.Now(), Cause: errors.New("refused")}
	}
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		l := &lookout{to: &said, store: "s", limit: 20 * time.Second}
		expect := func(when, want string) {
			t.Helper()
			synctest.Wait()
			if got := said.String(); got != want {
				t.Errorf("%s it says %q, want %q", when, got, want)
			}
			said.Reset()
		}
		l.told(away())
		<-time.After(sayAfter - time.Millisecond) // of the bubble
		l.told(nil)
		<-time.After(time.Minute) // of the bubble
		expect("after a moment", "")
		l.told(away())
		<-time.After(sayAfter) // of the bubble
		expect("after a second", "life: looking for the event store s, for 20s at most: refused\n")
		l.told(nil)
		expect("back", "life: the event store s is back\n")
		l.opened()
		l.told(away())
		<-time.After(sayAfter) // of the bubble
		expect("away again", "life: looking for the event store s: refused\n")
		l.told(away())
		expect("still away", "life: looking for the event store s: refused\n")
		l.told(nil)
		said.Reset()
		l.told(away())
		l.end()
		<-time.After(time.Minute) // of the bubble
		expect("closed", "")
	})
}
