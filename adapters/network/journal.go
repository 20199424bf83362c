package network

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/life/events"
)

// mostTold is how many places a journal tells apart.
const mostTold = 16

// journal is what was reached and what was not. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	entries []*entry
	more    int // connections to other places
}

// entry is one place, and what became of connections to it.
type entry struct {
	to, end string
	times   int
	bytes   int64
}

// add notes a connection to a place, or why there was none.
func (j *journal) add(host, port string, err error) *entry {
	end := ""
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		end = "refused, because " + refused.Reason
	case err != nil:
		end = "failed: " + events.Clip(events.VisibleLine(strings.ToValidUTF8(err.Error(), "\uFFFD")), 2*mostName)
	}
	to := place(host, port)
	j.mu.Lock()
	defer j.mu.Unlock()
	at := slices.IndexFunc(j.entries, func(e *entry) bool { return e.to == to && e.end == end })
	switch {
	case at >= 0:
	case len(j.entries) < mostTold:
		at, j.entries = len(j.entries), append(j.entries, &entry{to: to, end: end})
	default:
		j.more++
		return &entry{}
	}
	j.entries[at].times++
	return j.entries[at]
}

// passed notes bytes that went over a connection, in either direction.
func (j *journal) passed(e *entry, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.bytes += bytes
}

// lines are one for each place.
func (j *journal) lines() (lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		line := e.to
		if e.times > 1 {
			line += fmt.Sprintf(" (%d times)", e.times)
		}
		if e.end == "" {
			line += fmt.Sprintf(": %d bytes", e.bytes)
		} else {
			line += ": " + e.end
		}
		lines = append(lines, line)
	}
	if j.more > 0 {
		lines = append(lines, fmt.Sprintf("and %d connections more", j.more))
	}
	return lines
}
