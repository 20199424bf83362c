package hashline

import (
	"bytes"
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

// uniquePairs pairs the lines that each version has once between a first line and a last one, in the order of the first version.
func uniquePairs(from, to *File, first, lastFrom, lastTo int) (pairs [][2]int) {
	type places struct{ from, to, inFrom, inTo int }
	all := make([]places, 0, max(0, lastFrom-first+1))
	found := make(map[string]int, cap(all)) // the index in all
	for n := first; n <= lastFrom; n++ {
		i, ok := found[string(from.Line(n))]
		if !ok {
			i = len(all)
			found[string(from.Line(n))], all = i, append(all, places{from: n})
		}
		all[i].inFrom++
	}
	for n := first; n <= lastTo; n++ {
		if i, ok := found[string(to.Line(n))]; ok {
			all[i].to, all[i].inTo = n, all[i].inTo+1
		}
	}
	for i := range all {
		if p := &all[i]; p.inFrom == 1 && p.inTo == 1 {
			pairs = append(pairs, [2]int{p.from, p.to})
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
