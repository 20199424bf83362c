package providers

import (
	"strconv"
	"sync"

	"example.com/life/actors"
)

// maxAttempts bounds how many questions are remembered; the oldest is forgotten first.
const maxAttempts = 4096

// attempts counts how often each question has been asked, for rules that fail the first times. The conversation does not
// say how often a question was asked before, so the count belongs to the process: after a restart it begins again.
type attempts struct {
	mu     sync.Mutex
	counts map[string]int
	order  []string
}

// next counts one more attempt at a question and returns how many there were, from 1.
func (a *attempts) next(script string, line int, question actors.ModelRequest) int {
	key := script + ":" + strconv.Itoa(line) + ":" + hashQuestion(question)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts == nil {
		a.counts = map[string]int{}
	}
	if a.counts[key] == 0 {
		if len(a.order) == maxAttempts {
			delete(a.counts, a.order[0])
			a.order = a.order[1:]
		}
		a.order = append(a.order, key)
	}
	a.counts[key]++
	return a.counts[key]
}
