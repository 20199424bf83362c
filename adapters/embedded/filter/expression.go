package filter

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"

	"example.com/life/events/pattern"
)

// What one match may cost. EventStoreDB has no such limits: there, an expression that backtracks without end blocks its reader.
const (
	matchTime  = 100 * time.Millisecond // about: the library's clock is coarse
	matchStack = 100_000                // places to go back to; 8 bytes each
)

// ErrExpensive is an expression that needs more time or memory for one event than it may have.
var ErrExpensive = fmt.Errorf("the filter's expression takes more than %s, or more than %d steps back: write it so that it has less to try", matchTime, matchStack)

// expression is one of .NET's. regexp2 is a port of .NET's engine; what differs in their syntax, translate takes care of.
type expression struct{ *regexp2.Regexp }

func compile(text string) (compiled expression, err error) {
	defer func() {
		if p := recover(); p != nil { // in the library, on what a client sent
			err = fmt.Errorf("the filter's expression cannot be compiled: %v", p)
		}
	}()
	translated, err := translate(text)
	if err != nil {
		return compiled, fmt.Errorf("the filter's expression: %w", err)
	}
	compiled.Regexp, err = regexp2.Compile(translated, regexp2.OptionMaxBacktrackingStackSize(matchStack))
	if err != nil {
		return compiled, fmt.Errorf("the filter's expression: %w", err)
	}
	compiled.MatchTimeout = matchTime
	return compiled, nil
}

// matches implements matcher. Texts of .NET are UTF-16: what has characters beyond its first plane is matched unit by unit.
func (x expression) matches(text string) (found bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("match the filter's expression: %v", p)
		}
	}()
	if strings.IndexFunc(text, func(r rune) bool { return r > 0xffff }) < 0 {
		found, err = x.MatchString(text)
	} else {
		units := utf16.Encode([]rune(text))
		runes := make([]rune, len(units))
		for i, unit := range units {
			runes[i] = rune(unit)
		}
		found, err = x.MatchRunes(runes)
	}
	if err != nil {
		return false, ErrExpensive
	}
	return found, nil
}

// older is an expression of RE2.
type older struct{ *pattern.Pattern }

func compileRE2(text string) (older, error) {
	compiled, err := pattern.Compile(text)
	if err != nil {
		return older{}, fmt.Errorf("the filter's expression: %w", err)
	}
	return older{compiled}, nil
}

func (x older) matches(text string) (bool, error) { return x.Match(text), nil }

// plainPrefix reports an expression that says no more than how a text begins, and how.
func plainPrefix(text string) (prefix string, ok bool) {
	rest, anchored := strings.CutPrefix(text, "^")
	if !anchored {
		return "", false
	}
	var plain strings.Builder
	for len(rest) > 0 {
		r, size := utf8.DecodeRuneInString(rest)
		if r == '\\' {
			if len(rest) < 2 || !strings.ContainsRune(`\*+?|{}[]()^$.#-/ `, rune(rest[1])) {
				return "", false
			}
			r, size = rune(rest[1]), 2
		} else if strings.ContainsRune(`*+?|{[()^$.`, r) || r == utf8.RuneError {
			return "", false
		}
		plain.WriteRune(r)
		rest = rest[size:]
	}
	return plain.String(), true
}
