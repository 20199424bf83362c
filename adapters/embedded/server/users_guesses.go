package server

import (
	"sync"
	"time"
)

// Bounds of guessing: an address may give this many wrong passwords at once, and one more each time that this passes.
const (
	maxGuesses    = 20
	guessRecovery = time.Second
	maxAddresses  = 4096
)

// guesses counts the wrong passwords of each address. The zero value has seen none.
type guesses struct {
	mu   sync.Mutex
	from map[string]time.Time // when the address will have recovered; it has made as many guesses as that is ahead
}

// allow counts a guess, unless there were too many.
func (g *guesses) allow(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	recovered := g.from[address]
	if recovered.Before(now) {
		recovered = now
	}
	recovered = recovered.Add(guessRecovery)
	if recovered.Sub(now) > maxGuesses*guessRecovery {
		return false
	}
	if _, there := g.from[address]; !there {
		g.makeRoom(now)
	}
	g.from[address] = recovered
	return true
}

// spent reports whether an address has no guess left.
func (g *guesses) spent(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.from[address].Add(guessRecovery)) > maxGuesses*guessRecovery
}

// forgive takes a guess back: it was none.
func (g *guesses) forgive(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if recovered, there := g.from[address]; there {
		g.from[address] = recovered.Add(-guessRecovery)
	}
}

// makeRoom forgets those who have recovered and, if too many are still guessing, some of them: an eighth at least goes at once, because
// looking through all of them for every new address would let a flood of addresses hold up every other guess.
func (g *guesses) makeRoom(now time.Time) {
	if g.from == nil {
		g.from = map[string]time.Time{}
	}
	if len(g.from) < maxAddresses {
		return
	}
	for address, recovered := range g.from {
		if recovered.Before(now) {
			delete(g.from, address)
		}
	}
	for address := range g.from {
		if len(g.from) <= maxAddresses-maxAddresses/8 {
			return
		}
		delete(g.from, address)
	}
}
