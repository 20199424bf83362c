package projections

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/english"
	"golang.org/x/text/unicode/norm"
)

// Words are found and stemmed as bleve's English analyser does it, with the two libraries that do the work there: Unicode's word
// boundaries, lower case, no stop words, the Snowball stemmer. Scripts whose words have no spaces between, or carry their endings as
// Korean does, are taken apart into letters and pairs of letters, as search engines do without a dictionary.

// longestWord is how long a word may be, in bytes; what is longer is data and not language.
const longestWord = 64

// tokens hands the words of a text to one function, in lower case, and its runs of scripts without spaces to another. Stop words are
// among the words. A composed letter and its parts are the same, and so are wide and narrow forms.
func tokens(text string, word func(string), each func(run)) {
	text = norm.NFKC.String(text)
	for text != "" {
		at, kind := nextRun(text)
		words(text[:at], word)
		if text = text[at:]; text == "" {
			return
		}
		end := runEnd(text, kind)
		each(newRun(text[:end], kind))
		text = text[end:]
	}
}

// words hands the words of a text whose script has spaces to a function.
func words(text string, word func(string)) {
	segments := segment.NewWordSegmenterDirect([]byte(text))
	for segments.Segment() {
		if segments.Type() == segment.None || len(segments.Bytes()) > longestWord {
			continue
		}
		word(lower(segments.Bytes()))
	}
}

// eachWord hands all that a text is found by to a function: its words, and of runs each letter and each pair.
func eachWord(text string, word func(string)) {
	tokens(text, word, func(r run) {
		for i, letter := range r.letters {
			word(letter)
			if i > 0 {
				word(r.letters[i-1] + letter)
			}
		}
	})
}

// run is a part of a text in a script without spaces: its letters, each with the marks on it.
type run struct {
	letters []string
	kind    runKind
}

// runKind says how much of a run that is asked for must be found.
type runKind int8

const (
	spaced     runKind = iota
	ideographs         // Chinese and Japanese: words of one to three letters
	syllables          // Korean: a stem, then endings
	alphabets          // Thai, Lao, Khmer, Burmese, and Katakana: words of many letters
)

// kindOf is the kind of run that a letter begins.
func kindOf(r rune) runKind {
	switch {
	case r < 0x0e00:
		return spaced
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r == prolonged:
		return ideographs
	case unicode.Is(unicode.Hangul, r):
		return syllables
	case unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) && (unicode.IsLetter(r) || unicode.IsMark(r)):
		return alphabets
	}
	return spaced
}

// prolonged lengthens a vowel of Katakana; it belongs to no script.
const prolonged = 'ー'

// nextRun is where the first run of a text begins, and its kind; the text's end if there is none.
func nextRun(text string) (at int, kind runKind) {
	for at, r := range text {
		if kind := kindOf(r); kind != spaced {
			return at, kind
		}
	}
	return len(text), spaced
}

// runEnd is where the run ends that a text begins with.
func runEnd(text string, kind runKind) int {
	for at, r := range text {
		if kindOf(r) != kind && !unicode.IsMark(r) {
			return at
		}
	}
	return len(text)
}

func newRun(text string, kind runKind) run {
	made := run{kind: kind}
	foreign := kind == ideographs // written in Katakana alone
	for _, r := range text {
		foreign = foreign && (unicode.Is(unicode.Katakana, r) || r == prolonged)
		if last := len(made.letters) - 1; unicode.IsMark(r) && last >= 0 {
			made.letters[last] += string(r)
			continue
		}
		made.letters = append(made.letters, string(r))
	}
	if foreign {
		made.kind = alphabets
	}
	return made
}

// asked is what is looked for when a run is asked for: its pairs, or its only letter; how many of them a note must have; and whether
// the first must be among these.
func (r *run) asked() (pairs []string, need int, first bool) {
	if len(r.letters) == 1 {
		return r.letters, 1, false
	}
	for i := 1; i < len(r.letters); i++ {
		if pair := r.letters[i-1] + r.letters[i]; !slices.Contains(pairs, pair) {
			pairs = append(pairs, pair)
		}
	}
	const longWord = 3 // pairs of the longest that is looked for as one word
	switch {
	case r.kind == syllables:
		return pairs, 1, true // endings differ
	case r.kind == alphabets:
		return pairs, min(len(pairs), longWord), false
	case len(pairs) > longWord:
		return pairs, 1, false // a sentence, of which any word will do
	}
	return pairs, min(len(pairs), 2), false
}

// lower is strings.ToLower, with fewer allocations for ASCII, and without the apostrophes that stand for letters elsewhere.
func lower(word []byte) string {
	for _, c := range word {
		if c >= utf8.RuneSelf {
			return strings.ReplaceAll(strings.ToLower(string(word)), "\u2019", "'")
		}
	}
	return strings.ToLower(string(word))
}

// stem is what a word has in common with its other forms; empty for stop words. It is that of English: words of other languages
// mostly stay as they are.
func stem(word string) string {
	if stopWords[word] {
		return ""
	}
	word = strings.TrimSuffix(word, "'s")
	if len(word) < 3 || !letters(word) {
		return word
	}
	env := snowballstem.NewEnv(word)
	english.Stem(env)
	return env.Current()
}

func letters(word string) bool {
	for _, r := range word {
		if !unicode.IsLetter(r) && r != '\'' {
			return false
		}
	}
	return true
}

// stopWords say so little that they are not looked for.
//
//nolint:gochecknoglobals // an explicit list, never written to
var stopWords = setOf("a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it its " +
	"me my no not of on or our she should so than that the their them then there these they this those to us was we were what when where " +
	"which who whom why will with would you your")

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}
