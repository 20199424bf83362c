package projections

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/english"
)

// Words are found and stemmed as bleve's English analyser does it, with the two libraries that do the work there: Unicode's word
// boundaries, lower case, no stop words, the Snowball stemmer.

// longestWord is how long a word may be, in bytes; what is longer is data and not language.
const longestWord = 64

// eachWord hands every word of a text to a function, in lower case. Stop words are among them.
func eachWord(text string, word func(string)) {
	segments := segment.NewWordSegmenterDirect([]byte(text))
	for segments.Segment() {
		if segments.Type() == segment.None || len(segments.Bytes()) > longestWord {
			continue
		}
		word(lower(segments.Bytes()))
	}
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

// nameKey is what names are compared by: their letters and digits in lower case, with one dash for whatever stands between, and the
// slashes of paths.
func nameKey(name string) string {
	name = strings.TrimSuffix(name, ".md")
	var key strings.Builder
	between := false
	for _, r := range name {
		switch {
		case r == '/' || r == '+' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if between && key.Len() > 0 && r != '/' && !strings.HasSuffix(key.String(), "/") {
				key.WriteByte('-')
			}
			between = false
			key.WriteRune(unicode.ToLower(r))
		default:
			between = true
		}
	}
	if key.Len() == 0 {
		return name // of nothing but signs, it is what it is
	}
	return key.String()
}
