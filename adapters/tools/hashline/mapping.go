package hashline

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// mapLines says where each line of a version is in another, from 1; 0 where it is gone, or where that is not plain. The beginning and the end that both have are
// mapped, then the lines that each has once, in their longest common order, and what is equal next to those.
func mapLines(from, to *File) []int {
	mapped := make([]int, from.Len()+1)
	same := func(a, b int) bool { return bytes.Equal(from.Line(a), to.Line(b)) }
	first := 1
	for first <= from.Len() && first <= to.Len() && same(first, first) {
		mapped[first] = first
		first++
	}
	a, b := from.Len(), to.Len()
	for a >= first && b >= first && same(a, b) {
		mapped[a] = b
		a, b = a-1, b-1
	}
	for _, pair := range inOrder(uniquePairs(from, to, first, a, b)) {
		mapped[pair[0]] = pair[1]
	}
	grow(mapped, first, a, b, same)
	return mapped
}

// uniquePairs pairs the lines that each version has once between a first line and a last one, in the order of the first version. Lines are found by a hash:
// two that share one count as one line that is there twice, which pairs less and nothing wrongly.
func uniquePairs(from, to *File, first, lastFrom, lastTo int) (pairs [][2]int) {
	type place struct {
		from, to int32
		twice    bool
	}
	seed := maphash.MakeSeed()
	all := make([]place, 0, max(0, lastFrom-first+1))
	found := make(map[uint64]int32, cap(all)) // the index in all
	for n := first; n <= lastFrom; n++ {
		hash := maphash.Bytes(seed, from.Line(n))
		if i, ok := found[hash]; ok {
			all[i].twice = true
			continue
		}
		found[hash] = int32(len(all))            //nolint:gosec // files that are edited have less lines
		all = append(all, place{from: int32(n)}) //nolint:gosec // see above
	}
	for n := first; n <= lastTo; n++ {
		if i, ok := found[maphash.Bytes(seed, to.Line(n))]; ok {
			all[i].twice = all[i].twice || all[i].to > 0
			all[i].to = int32(n) //nolint:gosec // see above
		}
	}
	for i := range all {
		p := &all[i]
		if !p.twice && p.to > 0 && bytes.Equal(from.Line(int(p.from)), to.Line(int(p.to))) {
			pairs = append(pairs, [2]int{int(p.from), int(p.to)})
		}
	}
	return pairs
}

// inOrder is the longest run of pairs whose second numbers ascend too.
func inOrder(pairs [][2]int) [][2]int {
	var ends []int // the index of the pair that ends the best run of each length
	before := make([]int, len(pairs))
	for i, pair := range pairs {
		at, _ := slices.BinarySearchFunc(ends, pair[1], func(end, to int) int { return pairs[end][1] - to })
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
	var run [][2]int
	for i := ends[len(ends)-1]; i >= 0; i = before[i] {
		run = append(run, pairs[i])
	}
	slices.Reverse(run)
	return run
}

// grow maps what is equal next to what is mapped, forwards and then backwards. A line that both sides claim differently is mapped by neither.
func grow(mapped []int, first, lastFrom, lastTo int, same func(a, b int) bool) {
	taken, forwards, backwards := make([]int, lastTo+2), make([]int, lastFrom+2), make([]int, lastFrom+2)
	for n := first; n <= lastFrom; n++ {
		taken[mapped[n]] = n
	}
	free := func(n, to int) bool {
		return mapped[n] == 0 && to >= first && to <= lastTo && taken[to] == 0 && same(n, to)
	}
	for n := first; n <= lastFrom; n++ {
		if before := max(mapped[n-1], forwards[n-1]); before > 0 && free(n, before+1) {
			forwards[n] = before + 1
		}
	}
	for n := lastFrom; n >= first; n-- {
		after := lastTo + 1
		if n < lastFrom {
			after = max(mapped[n+1], backwards[n+1])
		}
		if after > 1 && free(n, after-1) {
			backwards[n] = after - 1
		}
	}
	settle(mapped, forwards, backwards, make([]int, lastTo+2))
}

// settle takes the claims that nothing contradicts. It counts how often each line of the other version is claimed.
func settle(mapped, forwards, backwards, claimed []int) {
	wanted := func(n int) int {
		f, b := forwards[n], backwards[n]
		switch {
		case f == 0:
			return b
		case b == 0 || b == f:
			return f
		}
		return 0
	}
	for n := range forwards {
		claimed[wanted(n)]++
	}
	for n := range forwards {
		if to := wanted(n); to != 0 && claimed[to] == 1 {
			mapped[n] = to
		}
	}
}
