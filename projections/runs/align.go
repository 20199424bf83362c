package runs

import (
	"cmp"
	"slices"
)

// pair is a place in two sequences that are held against each other; -1 where one of them has nothing.
type pair struct{ a, b int }

// level says how alike the elements of two sequences are: those with equal keys are alike.
type level struct{ a, b []string }

// align pairs two sequences, in order and without crossing. Elements that are alike at the first level are paired before all others,
// as many as can be; in the gaps between them those that are alike at the next level, and so on; what is left of a gap is paired one
// by one from its beginning. Every element is in exactly one pair. Swapped sequences give swapped pairs.
func align(levels ...level) []pair {
	if slices.Compare(levels[0].a, levels[0].b) > 0 { // of several ways that are as good one is taken whichever sequence comes first
		swapped := make([]level, len(levels))
		for i, l := range levels {
			swapped[i] = level{l.b, l.a}
		}
		pairs := align(swapped...)
		for i, p := range pairs {
			pairs[i] = pair{p.b, p.a}
		}
		return pairs
	}
	al := aligner{levels: levels}
	al.align(0, stretch{0, len(levels[0].a), 0, len(levels[0].b)})
	return al.pairs
}

type aligner struct {
	levels []level
	pairs  []pair
}

// stretch is a part of both sequences, without its ends.
type stretch struct{ a0, a1, b0, b1 int }

func (s stretch) cells() int { return (s.a1 - s.a0) * (s.b1 - s.b0) }

func (al *aligner) align(at int, s stretch) {
	if s.cells() == 0 || at == len(al.levels) {
		al.rest(s)
		return
	}
	l := al.levels[at]
	for s.a0 < s.a1 && s.b0 < s.b1 && l.a[s.a0] == l.b[s.b0] {
		al.pairs = append(al.pairs, pair{s.a0, s.b0})
		s.a0++
		s.b0++
	}
	alike := 0 // at the end
	for s.a0 < s.a1 && s.b0 < s.b1 && l.a[s.a1-1] == l.b[s.b1-1] {
		s.a1--
		s.b1--
		alike++
	}
	for _, found := range l.common(s) {
		al.align(at+1, stretch{s.a0, found.a, s.b0, found.b})
		al.pairs = append(al.pairs, found)
		s.a0, s.b0 = found.a+1, found.b+1
	}
	al.align(at+1, s)
	for i := range alike {
		al.pairs = append(al.pairs, pair{s.a1 + i, s.b1 + i})
	}
}

// rest pairs what is alike at no level.
func (al *aligner) rest(s stretch) {
	for s.a0 < s.a1 || s.b0 < s.b1 {
		p := pair{-1, -1}
		if s.a0 < s.a1 {
			p.a = s.a0
			s.a0++
		}
		if s.b0 < s.b1 {
			p.b = s.b0
			s.b0++
		}
		al.pairs = append(al.pairs, p)
	}
}

// mostCells bounds the table of an exact search, and with it time and memory.
const mostCells = 1 << 20

// common finds pairs of alike elements that do not cross: as many as there can be in a stretch whose table is small. In a larger one
// it begins with the elements whose key is there once in each sequence, and searches between them.
func (l level) common(s stretch) []pair {
	if s.cells() == 0 {
		return nil
	}
	if s.cells() <= mostCells {
		return l.longest(s)
	}
	var found []pair
	anchors := l.anchors(s)
	if len(anchors) == 0 {
		return nil
	}
	for _, anchor := range append(anchors, pair{s.a1, s.b1}) {
		found = append(found, l.common(stretch{s.a0, anchor.a, s.b0, anchor.b})...)
		if anchor.a < s.a1 {
			found = append(found, anchor)
		}
		s.a0, s.b0 = anchor.a+1, anchor.b+1
	}
	return found
}

// longest is a longest common subsequence.
func (l level) longest(s stretch) []pair {
	n, m := s.a1-s.a0, s.b1-s.b0
	width := m + 1
	table := make([]uint32, (n+1)*width) // the longest of what begins at a place
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if l.a[s.a0+i] == l.b[s.b0+j] {
				table[i*width+j] = table[(i+1)*width+j+1] + 1
			} else {
				table[i*width+j] = max(table[(i+1)*width+j], table[i*width+j+1])
			}
		}
	}
	found := make([]pair, 0, table[0])
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case l.a[s.a0+i] == l.b[s.b0+j]:
			found = append(found, pair{s.a0 + i, s.b0 + j})
			i++
			j++
		case table[(i+1)*width+j] >= table[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return found
}

// anchors are elements whose key is there once in each sequence, as many as can be paired without crossing.
func (l level) anchors(s stretch) []pair {
	places := map[string]pair{} // -2: there more than once
	for i := s.a0; i < s.a1; i++ {
		if _, again := places[l.a[i]]; again {
			places[l.a[i]] = pair{-2, -2}
		} else {
			places[l.a[i]] = pair{i, -1}
		}
	}
	for j := s.b0; j < s.b1; j++ {
		if p, there := places[l.b[j]]; there {
			if p.b != -1 {
				p.a = -2
			}
			places[l.b[j]] = pair{p.a, max(p.b, j)}
		}
	}
	var once []pair
	for _, p := range places {
		if p.a >= 0 && p.b >= 0 {
			once = append(once, p)
		}
	}
	slices.SortFunc(once, func(p, q pair) int { return cmp.Compare(p.a, q.a) })
	return increasing(once)
}

// increasing keeps a longest part of pairs, which are in the order of a, that is in the order of b as well.
func increasing(pairs []pair) []pair {
	var ends []int // of the best part of each length, by the smallest b: its last pair
	before := make([]int, len(pairs))
	for i, p := range pairs {
		at, _ := slices.BinarySearchFunc(ends, p.b, func(end, b int) int { return cmp.Compare(pairs[end].b, b) })
		before[i] = -1
		if at > 0 {
			before[i] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, i)
		} else {
			ends[at] = i
		}
	}
	if len(ends) == 0 {
		return nil
	}
	kept := make([]pair, len(ends))
	for i, n := ends[len(ends)-1], len(ends)-1; i >= 0; i, n = before[i], n-1 {
		kept[n] = pairs[i]
	}
	return kept
}
