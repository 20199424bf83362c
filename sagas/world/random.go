package world

import "example.com/life/events"

// random is SplitMix64: a few lines that give the same numbers for the same seed on every machine and in every version of Go.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 1 % uint64(n)) }

// between returns a number from low to high.
func (r *random) between(low, high int) int { return low + r.below(high-low+1) }

// oneIn is true once in n times.
func (r *random) oneIn(n int) bool { return r.below(n) == 0 }

// time returns a length of time from low to high; short ones are likelier, as they are of most things.
func (r *random) time(low, high events.Micros) events.Micros {
	span := uint64(high-low) + 1
	return low + events.Micros(min(r.next()>>1%span, r.next()>>1%span))
}

func pick[T any](r *random, from []T) T { return from[r.below(len(from))] }

// id returns random bytes in the form of a UUID of version 4.
func (r *random) id() (id events.EventID) {
	high, low := r.next(), r.next()
	for i := range 8 {
		id[i], id[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
