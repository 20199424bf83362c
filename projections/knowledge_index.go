package projections

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// wordIndex finds the notes in which words stand. It keeps no text: for each note how often which stem occurs in it, and for each
// stem the notes, both as bytes. A new version of a note is added at the end and the old one marked, so an event costs what its own
// words cost; when more versions are marked than not, what is left is written anew.
//
// A stem has a number from its first note to its last. The order of the numbers follows from history alone, whatever was restored or
// written anew meanwhile, so equal histories save equal bytes.
type wordIndex struct {
	numbers map[string]uint32 // of stems
	stems   []string          // by number; empty: it is in no note any more
	places  []places          // by number
	docs    []*node           // by the number that the note's latest version has here; nil: there is a later one, or none
	sizes   []uint32          // of the documents, in words
	live    int               // documents that are not nil
	length  int64             // of these, in words

	known map[string]uint32 // number+1 of the stem of a word as it was written, 0 for stop words: a cache, no part of the state
	heard []uint32          // scratch: the stems of one note
	found scoreboard        // scratch: of one search
}

// places is where a stem stands: pairs of how much higher the number of each document is than that before, and how often the stem
// occurs in it.
type places struct {
	data []byte
	last uint32
	live int // documents
}

const (
	titleWeight  = 3       // a word of a title counts as so many of the text
	knownWords   = 1 << 18 // of the cache, at most
	compactSpare = 1024
)

func newWordIndex() wordIndex {
	return wordIndex{numbers: map[string]uint32{}, known: map[string]uint32{}}
}

// putPair appends two numbers, of which the second is from 1 and mostly 1.
func putPair(data []byte, first, second uint32) []byte {
	if second == 1 {
		return binary.AppendUvarint(data, uint64(first)<<1)
	}
	return binary.AppendUvarint(binary.AppendUvarint(data, uint64(first)<<1|1), uint64(second))
}

// nextPair reads what putPair writes; size is 0 at what it does not write.
func nextPair(data []byte) (first, second uint32, size int) {
	if data[0] < 0x80 && data[0]&1 == 0 { // nearly always
		return uint32(data[0] >> 1), 1, 1
	}
	both, n := binary.Uvarint(data)
	if n <= 0 || both > math.MaxUint32<<1|1 {
		return 0, 0, 0
	}
	if both&1 == 0 {
		return uint32(both >> 1), 1, n
	}
	count, m := binary.Uvarint(data[n:])
	if m <= 0 || count > math.MaxUint32 {
		return 0, 0, 0
	}
	return uint32(both >> 1), uint32(count), n + m
}

// read counts the stems of a note's names and text, as add takes them.
func (x *wordIndex) read(names, text string) (words []byte, length uint32) {
	x.heard = x.heard[:0]
	eachWord(names, func(word string) {
		if number, is := x.stemOf(word); is {
			for range titleWeight {
				x.heard = append(x.heard, number)
			}
		}
	})
	eachWord(text, func(word string) {
		if number, is := x.stemOf(word); is {
			x.heard = append(x.heard, number)
		}
	})
	slices.Sort(x.heard)
	words = make([]byte, 0, 2*len(x.heard))
	last := uint32(0)
	for i := 0; i < len(x.heard); {
		next := i + 1
		for next < len(x.heard) && x.heard[next] == x.heard[i] {
			next++
		}
		words = putPair(words, x.heard[i]-last, uint32(next-i))
		last, i = x.heard[i], next
	}
	return slices.Clone(words), uint32(len(x.heard))
}

// stemOf is the number of a word's stem, which gets one if it has none.
func (x *wordIndex) stemOf(word string) (number uint32, is bool) {
	found, known := x.known[word]
	if !known || found > 0 && x.stems[found-1] == "" {
		found = 0
		if text := stem(word); text != "" {
			found = x.number(text) + 1
		}
		if len(x.known) >= knownWords {
			clear(x.known)
		}
		x.known[word] = found
	}
	return found - 1, found > 0
}

func (x *wordIndex) number(stem string) uint32 {
	number, known := x.numbers[stem]
	if !known {
		number = uint32(len(x.stems))
		x.numbers[stem] = number
		x.stems = append(x.stems, stem)
		x.places = append(x.places, places{})
	}
	return number
}

// eachStem hands the stems of a note's words to a function, with how often each occurs.
func eachStem(words []byte, stem func(number, count uint32)) {
	number := uint32(0)
	for len(words) > 0 {
		more, count, size := nextPair(words)
		number += more
		words = words[size:]
		stem(number, count)
	}
}

// add puts a note in, whose words and length are read.
func (x *wordIndex) add(n *node) {
	n.doc = uint32(len(x.docs))
	x.docs = append(x.docs, n)
	x.sizes = append(x.sizes, n.length)
	x.live++
	x.length += int64(n.length)
	eachStem(n.words, func(number, count uint32) {
		p := &x.places[number]
		p.data = putPair(p.data, n.doc-p.last, count)
		p.last = n.doc
		p.live++
	})
}

// remove takes a note out.
func (x *wordIndex) remove(n *node) {
	x.docs[n.doc] = nil
	x.live--
	x.length -= int64(n.length)
	eachStem(n.words, func(number, _ uint32) {
		p := &x.places[number]
		if p.live--; p.live == 0 {
			delete(x.numbers, x.stems[number])
			x.stems[number], *p = "", places{}
		}
	})
	if len(x.docs) > 2*x.live+compactSpare {
		x.compact()
	}
}

// compact writes the index of the notes that are left anew, without the numbers of stems that are in none.
func (x *wordIndex) compact() {
	old := *x
	*x = newWordIndex()
	numbers := make([]uint32, len(old.stems))
	for number, text := range old.stems {
		if text != "" {
			numbers[number] = x.number(text)
		}
	}
	for _, n := range old.docs {
		if n != nil {
			n.words = renumbered(n.words, numbers)
			x.add(n)
		}
	}
}

// renumbered is words with other numbers in the same order.
func renumbered(words []byte, numbers []uint32) []byte {
	made, last := make([]byte, 0, len(words)), uint32(0)
	eachStem(words, func(number, count uint32) {
		made = putPair(made, numbers[number]-last, count)
		last = numbers[number]
	})
	return made
}

// scoreboard holds the scores of documents during one search. A document without any has 0 in all three.
type scoreboard struct {
	words, boost, near []float64 // by the number of the document
	touched            []uint32  // documents with a score
}

// begin makes room, and forgets the search before.
func (s *scoreboard) begin(docs int) {
	for _, doc := range s.touched {
		s.words[doc], s.boost[doc], s.near[doc] = 0, 0, 0
	}
	s.touched = s.touched[:0]
	if len(s.words) < docs {
		s.words, s.boost, s.near = make([]float64, docs+docs/4), make([]float64, docs+docs/4), make([]float64, docs+docs/4)
	}
}

// total is a document's score.
func (s *scoreboard) total(doc uint32) float64 { return s.words[doc] + s.boost[doc] + s.near[doc] }

// give adds to one of the three scores of a document.
func (s *scoreboard) give(to []float64, doc uint32, score float64) {
	if s.total(doc) == 0 {
		s.touched = append(s.touched, doc)
	}
	to[doc] += score
}

// The constants of BM25, as everybody has them.
const (
	bm25Saturation = 1.2
	bm25Length     = 0.75
)

// rank adds to the score of every document in which a stem stands what BM25 gives it for that.
func (x *wordIndex) rank(stem string) {
	x.eachPlace(stem, func(doc uint32, score float64) { x.found.give(x.found.words, doc, score) })
}

// rankRun does so for the documents in which enough of several stems stand, and the first of them if that is asked for.
func (x *wordIndex) rankRun(stems []string, need int, first bool) {
	type share struct {
		stems int
		score float64
	}
	shares := map[uint32]share{}
	for i, stem := range stems {
		x.eachPlace(stem, func(doc uint32, score float64) {
			if had := shares[doc]; !first || i == 0 || had.stems > 0 {
				shares[doc] = share{had.stems + 1, had.score + score}
			}
		})
	}
	for _, doc := range slices.Sorted(maps.Keys(shares)) {
		if had := shares[doc]; had.stems >= need {
			x.found.give(x.found.words, doc, had.score)
		}
	}
}

// eachPlace hands every document in which a stem stands to a function, with what BM25 gives it for that.
func (x *wordIndex) eachPlace(stem string, each func(doc uint32, score float64)) {
	number, known := x.numbers[stem]
	if !known {
		return
	}
	p := &x.places[number]
	rarity := math.Log(1+(float64(x.live)-float64(p.live)+0.5)/(float64(p.live)+0.5)) * (bm25Saturation + 1)
	fixed, relative := bm25Saturation*(1-bm25Length), bm25Saturation*bm25Length*float64(x.live)/float64(x.length)
	doc := uint32(0)
	for data := p.data; len(data) > 0; {
		more, count, size := nextPair(data)
		doc += more
		data = data[size:]
		if x.docs[doc] != nil {
			often := float64(count)
			each(doc, rarity*often/(often+fixed+relative*float64(x.sizes[doc])))
		}
	}
}
