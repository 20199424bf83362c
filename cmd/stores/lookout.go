package stores

import (
	"fmt"
	"io"
	"sync"
	"time"

	"example.com/life/adapters/eventstore"
)

// lookout tells a person that the store is away: once it has been for a moment, from time to time while it stays away, and when it is back.
type lookout struct {
	to    io.Writer
	store string

	mu    sync.Mutex
	limit time.Duration         // until nobody looks for it any longer; 0: without end
	away  *eventstore.AwayError // as it was told last
	timer *time.Timer           // until it is said for the first time
	said  bool                  // that it is away
	ended bool
}

// told is Config.Away of the journal.
func (l *lookout) told(away *eventstore.AwayError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
	switch {
	case l.ended:
	case away == nil:
		l.stop()
		if l.said {
			fmt.Fprintf(l.to, "life: the event store %s is back\n", l.store)
		}
		l.said = false
	case l.said:
		l.say()
	case l.timer == nil:
		l.timer = time.AfterFunc(sayAfter-time.Since(away.Since), l.due)
	}
}

// due says it for the first time, unless it is over.
func (l *lookout) due() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	l.timer, l.said = nil, true
	l.say()
}

func (l *lookout) say() {
	line := "life: looking for the event store " + l.store
	if l.limit > 0 {
		line += fmt.Sprintf(", for %s at most", l.limit)
	}
	if l.away.Cause != nil {
		line += ": " + l.away.Cause.Error()
	}
	fmt.Fprintln(l.to, line)
}

// opened has it looked for without end from now on.
func (l *lookout) opened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = 0
}

// end has it say nothing more.
func (l *lookout) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.stop()
}

func (l *lookout) stop() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// Remote is an open store at an address. It reports when the store is away.
type Remote struct {
	*eventstore.Journal
	lookout *lookout
}

// Close closes the journal.
func (w *Remote) Close() error {
	w.lookout.end()
	return w.Journal.Close()
}
