package eventstoretest

// Outcome is what becomes of an append whose answer is lost.
type Outcome int

// The outcomes.
const (
	Answered Outcome = iota // the answer is not lost
	Silent                  // no answer comes, and the call does not end
	Ended                   // the call ends without an answer
	Unknown                 // the call ends with status Unknown
	Reset                   // the connection is reset
)

// Lost is an append whose answer is lost.
type Lost struct {
	Outcome Outcome
	Stored  bool
}

// Faults are how often answers to appends get lost by chance, from 0 to 1 together. Half of these appends are stored.
type Faults struct{ Silent, Ended, Unknown, Reset float64 }

type faults struct {
	chances Faults
	next    []Lost
}

// Lose has the answers to the next appends get lost, one after another.
func (c *Cluster) Lose(next ...Lost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = append(c.next, next...)
}

// LoseByChance has answers to appends get lost from now on.
func (c *Cluster) LoseByChance(chances Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chances = chances
}

// lost decides about an append. The lock is held.
func (c *Cluster) lost() Lost {
	if len(c.next) > 0 {
		next := c.next[0]
		c.next = c.next[1:]
		return next
	}
	at, stored := c.random.Float64(), c.random.IntN(2) == 0
	for i, chance := range []float64{c.chances.Silent, c.chances.Ended, c.chances.Unknown, c.chances.Reset} {
		if at -= chance; at < 0 {
			return Lost{Outcome: []Outcome{Silent, Ended, Unknown, Reset}[i], Stored: stored}
		}
	}
	return Lost{}
}
