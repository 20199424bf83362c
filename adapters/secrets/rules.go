package secrets

import (
	_ "embed"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// gitleaks' rules as they are in its version 8.30.1, under its licence (rules/gitleaks.LICENSE). A newer file can be put in its place.
//
//go:embed rules/gitleaks.toml
var gitleaksRules []byte

//go:embed rules/own.toml
var ownRules []byte

// ruleFile is the shape of both files, as far as it says what is a secret.
type ruleFile struct {
	Allowlist allowlist `toml:"allowlist"`
	Rules     []struct {
		ID          string      `toml:"id"`
		Regex       string      `toml:"regex"`
		Keywords    []string    `toml:"keywords"`
		Entropy     float64     `toml:"entropy"`
		SecretGroup int         `toml:"secretGroup"`
		Path        string      `toml:"path"`
		Allowlists  []allowlist `toml:"allowlists"`
	} `toml:"rules"`
}

type allowlist struct {
	Condition   string   `toml:"condition"`
	RegexTarget string   `toml:"regexTarget"`
	Regexes     []string `toml:"regexes"`
	Stopwords   []string `toml:"stopwords"`
}

// rule finds secrets of one shape.
type rule struct {
	id      string
	source  string
	regex   func() *regexp.Regexp // compiled when one of the keywords is first seen
	words   []string              // in lower case: one of them stands where the rule matches
	reach   reach
	also    string  // stands in every word that it matches
	entropy float64 // a secret has more
	group   int     // that is the secret; 0: the first one that matches, or all
	guess   bool    // it goes by the name before the secret, not by a shape
	allowed func() []allowed
}

// reach is how many bytes around a keyword a rule looks at. Zero: the word that the keyword stands in. What matches up to the end of that is
// looked at in more.
type reach struct{ before, after int }

// allowed is what is not a secret although it looks like one.
type allowed struct {
	match  bool // looks at all that matched, not at the secret alone
	line   bool // looks at the line
	regex  []*regexp.Regexp
	within []string
}

// The rules of gitleaks that are not used, or are used in another way.
//
//nolint:gochecknoglobals // constants
var (
	// for files by their names, which a text does not have: what is left of such a rule is too vague
	byPath = map[string]bool{"pkcs12-file": true, "hashicorp-tf-password": true, "freemius-secret-key": true, "nuget-config-password": true}
	// a guess by the name before it: identifiers, hashes and page tokens that an agent needs are taken for secrets
	guesses = map[string]bool{"generic-api-key": true, "sourcegraph-access-token": true}
	// keywords that stand in common words
	rarer = map[string][]string{"jwt": {"eyj", "eya", "ewo", "ewk"}, "kubernetes-secret-yaml": {"kind: secret", `kind: "secret`, "kind: 'secret"}}
	// rules that are of neither of the two forms that nearly all have
	further = map[string]reach{
		"private-key": {8, 16 << 10}, "putty-private-key": {8, 8 << 10}, "jwt-base64": {8, 8 << 10}, "kubernetes-secret-yaml": {1 << 10, 1 << 10},
		"airtable-personnal-access-token": {4 << 10, 4 << 10}, "facebook-access-token": {4 << 10, 4 << 10},
		"curl-auth-header": {8, 2 << 10}, "curl-auth-user": {8, 2 << 10}, "url-password": {},
	}
	also      = map[string]string{"url-password": "@", "jwt": "."}
	afterName = reach{64, 1 << 10}
)

// ruleSet is every rule, and what finds their keywords.
type ruleSet struct {
	rules  []rule
	shapes keywords // of those that go by a shape
	all    keywords
	ids    map[string]bool
}

// keywords finds the keywords of rules.
type keywords struct {
	*automaton
	lengths []int
	rules   [][]int32 // of a keyword
}

//nolint:gochecknoglobals // made once from two files that are part of the program
var loadRules = sync.OnceValue(func() *ruleSet {
	set, err := readRules(gitleaksRules, ownRules)
	if err != nil {
		panic(err) // a test reads them
	}
	return set
})

func readRules(files ...[]byte) (*ruleSet, error) {
	set := &ruleSet{ids: map[string]bool{}}
	for _, text := range files {
		var file ruleFile
		if err := toml.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		for _, r := range file.Rules {
			if r.Regex == "" || byPath[r.ID] {
				continue
			}
			made := rule{
				id: r.ID, source: r.Regex, words: r.Keywords, entropy: r.Entropy, group: r.SecretGroup, guess: guesses[r.ID],
				regex: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(r.Regex) }),
			}
			if words := rarer[r.ID]; words != nil {
				made.words = words
			}
			made.reach, made.also = reachOf(&made), also[r.ID]
			if made.reach == (reach{}) && distinct(made.words) {
				made.entropy = 0 // its beginning says what it is: one that was typed in for a test is masked too
			}
			lists := r.Allowlists
			if made.entropy == 0 && made.reach == (reach{}) {
				lists = nil // published examples, which are no less alike
			}
			made.allowed = sync.OnceValue(func() []allowed { return compileAllowed(append(lists, allowlist{Regexes: file.Allowlist.Regexes})) })
			set.rules = append(set.rules, made)
			set.ids[r.ID] = true
		}
	}
	set.shapes = set.index(func(r *rule) bool { return !r.guess })
	set.all = set.index(func(*rule) bool { return true })
	return set, nil
}

// reachOf finds how far a rule looks. gitleaks' rules are of two forms: a token, and a name before a token.
func reachOf(r *rule) reach {
	if at, known := further[r.id]; known {
		return at
	}
	body, _, _ := strings.Cut(r.source, `(?:[\x60'"\s;]|\\[nr]|$)`)
	if strings.Contains(body, `\s`) || strings.Contains(body, `[ \t`) {
		return afterName
	}
	return reach{}
}

// distinct reports whether the keywords are the beginnings of tokens, and nothing else.
func distinct(words []string) bool {
	for _, word := range words {
		if len(word) < 4 {
			return false
		}
	}
	return len(words) > 0
}

func compileAllowed(lists []allowlist) []allowed {
	var all []allowed
	for _, list := range lists {
		if list.Condition == "AND" || len(list.Regexes)+len(list.Stopwords) == 0 {
			continue // it needs a path
		}
		a := allowed{match: list.RegexTarget == "match", line: list.RegexTarget == "line", within: list.Stopwords}
		for _, regex := range list.Regexes {
			a.regex = append(a.regex, regexp.MustCompile(regex))
		}
		all = append(all, a)
	}
	return all
}

// index makes what finds the keywords of some rules.
func (set *ruleSet) index(use func(*rule) bool) keywords {
	var words []string
	var found keywords
	known := map[string]int{}
	for i := range set.rules {
		if !use(&set.rules[i]) {
			continue
		}
		for _, word := range set.rules[i].words {
			word = strings.ToLower(word)
			at, seen := known[word]
			if !seen {
				at = len(words)
				known[word] = at
				words, found.rules, found.lengths = append(words, word), append(found.rules, nil), append(found.lengths, len(word))
			}
			found.rules[at] = append(found.rules[at], int32(i)) //nolint:gosec // there are some hundreds
		}
	}
	found.automaton = newAutomaton(words, lower, "")
	return found
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// is reports whether what a rule matched in a text is a secret.
func (r *rule) is(text string, match, secret [2]int) bool {
	value := text[secret[0]:secret[1]]
	if value == "" || r.entropy > 0 && entropy(value) <= r.entropy {
		return false
	}
	for _, a := range r.allowed() {
		at := value
		switch {
		case a.match:
			at = text[match[0]:match[1]]
		case a.line:
			at = text[strings.LastIndexByte(text[:match[0]], '\n')+1 : match[1]]
		}
		for _, regex := range a.regex {
			if regex.MatchString(at) {
				return false
			}
		}
		folded := strings.ToLower(value)
		for _, word := range a.within {
			if strings.Contains(folded, word) {
				return false
			}
		}
	}
	return true
}

// entropy is Shannon's, in bits for a byte.
func entropy(text string) float64 {
	var counts [256]int
	for i := range len(text) {
		counts[text[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(text))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
