package secrets

// automaton finds all of many texts in one pass (Aho and Corasick). Bytes that no text has share one column, so that the table of gitleaks'
// keywords takes 300 KB. It can go on where it stopped, and pass over bytes.
type automaton struct {
	column [256]uint8
	width  int
	next   []uint32  // of a state and a column: where the next state's columns begin, times two; odd if a text ends there
	ends   [][]int32 // of a state: the texts that end there
	depth  []int32   // of a state: how much of some text has been read
	skip   [256]bool // bytes that are passed over
}

// alike says which bytes are the same; skip which are passed over.
func newAutomaton(texts []string, alike func(byte) byte, skip string) *automaton {
	a := &automaton{width: 2} // the first column is of bytes that no text has, the second of those that are passed over
	for i := range len(skip) {
		a.skip[skip[i]] = true
		a.column[skip[i]] = 1
	}
	for _, text := range texts {
		for i := range len(text) {
			if b := alike(text[i]); a.column[b] == 0 {
				a.column[b] = uint8(a.width) //nolint:gosec // no text has all bytes: they are UTF-8
				a.width++
			}
		}
	}
	for b := range 256 {
		a.column[b] = a.column[alike(byte(b))]
	}
	a.plant(texts)
	a.link()
	return a
}

// plant makes the tree of the texts.
func (a *automaton) plant(texts []string) {
	a.grow(0)
	for number, text := range texts {
		state := uint32(0)
		for i := range len(text) {
			at := int(state)*a.width + int(a.column[text[i]])
			if a.next[at] == 0 {
				a.next[at] = a.grow(a.depth[state] + 1)
			}
			state = a.next[at]
		}
		a.ends[state] = append(a.ends[state], int32(number)) //nolint:gosec // there are some hundreds
	}
}

func (a *automaton) grow(depth int32) uint32 {
	a.next = append(a.next, make([]uint32, a.width)...)
	a.ends, a.depth = append(a.ends, nil), append(a.depth, depth)
	return uint32(len(a.ends) - 1) //nolint:gosec // states are counted in thousands
}

// link has each state go on, where its text does not, as the longest text does that ends like it.
func (a *automaton) link() {
	shorter, queue := make([]uint32, len(a.ends)), []uint32{0}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		a.ends[state] = append(a.ends[state], a.ends[shorter[state]]...)
		for column := range a.width {
			at := int(state)*a.width + column
			back := uint32(0)
			if state != 0 {
				back = a.next[int(shorter[state])*a.width+column]
			}
			if a.next[at] == 0 || state == 0 && a.next[at] == state {
				a.next[at] = back
				continue
			}
			shorter[a.next[at]] = back
			queue = append(queue, a.next[at])
		}
		if state == 0 {
			a.ends[0] = nil
		}
	}
	for i, state := range a.next {
		if i%a.width == 1 {
			a.next[i] = uint32(i-1) << 1 //nolint:gosec // as above
			continue                     // what is passed over ends nothing
		}
		a.next[i] = state * uint32(a.width) << 1 //nolint:gosec // at most 256
		if len(a.ends[state]) > 0 {
			a.next[i] |= 1
		}
	}
}

// scan reads text and hands over where texts end in it. It returns how much of some text it has read at the end.
func (a *automaton) scan(text string, visit func(end int, ends []int32)) (depth int32) {
	next, at := a.next, uint32(0)
	for i := range len(text) {
		to := next[at+uint32(a.column[text[i]])]
		at = to >> 1
		if to&1 != 0 {
			visit(i+1, a.ends[int(at)/a.width])
		}
	}
	return a.depth[int(at)/a.width]
}
