package tools

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/text/unicode/norm"
)

// globPattern is a pattern of paths as models write it. Directories may be called [slug] or {id}, and a model writes such a path as it is: so brackets, and
// braces around one thing, stand for themselves too.
type globPattern struct {
	given  string
	either string // given, with both readings
	name   string // the first bracket that may be meant as a name

	byName, byClass int // matches by the one reading alone, and by the other
}

// newGlobPattern reads a pattern. It refuses one that cannot match anything below a directory.
func newGlobPattern(argument, text string) (*globPattern, error) {
	text = norm.NFC.String(text)
	if choices(text) > mostChoices {
		return nil, fmt.Errorf("%s: %q makes more than %d choices: use fewer braces", argument, text, mostChoices)
	}
	p := &globPattern{given: text, either: bothReadings(text), name: bracketName.FindString(text)}
	if !doublestar.ValidatePattern(p.either) {
		return nil, fmt.Errorf("%s: %q is not a valid pattern", argument, text)
	}
	if path.IsAbs(text) || text == ".." || strings.HasPrefix(text, "../") {
		return nil, fmt.Errorf("%s: %q must be relative to path and stay below it", argument, text)
	}
	return p, nil
}

// mostChoices bounds the combinations of choices in one pattern: each may be tried on each name.
const mostChoices = 1000

func choices(text string) int {
	total, open := 1, []int{}
	for i := 0; i < len(text) && total <= mostChoices; i++ {
		switch last := len(open) - 1; {
		case text[i] == '\\':
			i++
		case text[i] == '{':
			open = append(open, 1)
		case text[i] == ',' && last >= 0:
			open[last]++
		case text[i] == '}' && last >= 0:
			total *= max(2, open[last]) // without a comma there are two readings
			open = open[:last]
		}
	}
	return total
}

// bracketName is a bracket at the beginning of a name that holds several letters and no range.
var bracketName = regexp.MustCompile(`(?:^|/)(\[+[\pL.][\pL\pN._]+\]+)`)

func (p *globPattern) match(below string) bool {
	below = norm.NFC.String(below)
	if !doublestar.MatchUnvalidated(p.either, below) {
		return false
	}
	if p.either != p.given {
		if doublestar.MatchUnvalidated(p.given, below) {
			p.byClass++
		} else {
			p.byName++
		}
	}
	return true
}

// note says how brackets were read, where that is not plain.
func (p *globPattern) note() string {
	switch {
	case p.byName > 0 && p.byClass > 0:
		return "[the brackets were read both as a choice and as the characters themselves; write \\[ and \\] for the characters alone]\n"
	case p.byClass > 0 && p.name != "":
		return fmt.Sprintf("[%s was read as one of its characters: nothing that matches is called so; write \\[ and \\] for the characters alone]\n",
			strings.TrimPrefix(p.name, "/"))
	}
	return ""
}

// bothReadings puts a choice in place of each bracket, and of each pair of braces without a choice: what it means to a pattern, or its characters.
func bothReadings(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		switch text[0] {
		case '\\':
			end := min(2, len(text))
			out.WriteString(text[:end])
			text = text[end:]
		case '[':
			end := closing(text, '[', ']', false)
			if end < 0 {
				out.WriteString(text)
				return out.String()
			}
			out.WriteString(bracket(text[1:end]))
			text = text[end+1:]
		case '{':
			end := closing(text, '{', '}', true)
			if end < 0 {
				out.WriteString(text)
				return out.String()
			}
			within := text[1:end]
			if read := bothReadings(within); strings.Contains(within, ",") {
				out.WriteString("{" + read + "}")
			} else {
				out.WriteString("{" + read + `,\{` + read + `\}}`)
			}
			text = text[end+1:]
		default:
			out.WriteByte(text[0])
			text = text[1:]
		}
	}
	return out.String()
}

// closing is where what text begins with is closed, or -1.
func closing(text string, open, shut byte, nests bool) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == open && (nests || depth == 0):
			depth++
		case c == shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// bracket is the choice between a class of characters and its characters.
func bracket(class string) string {
	plain := strings.ReplaceAll(class, `\`, "")
	name := `\[` + escaped(plain, "[]{},*?") + `\]`
	if asClass := "[" + escaped(class, ",{}") + "]"; doublestar.ValidatePattern(asClass) {
		return "{" + asClass + "," + name + "}"
	}
	return name // [my-page] is no range
}

// escaped puts a backslash before each of some characters.
func escaped(text, characters string) string {
	var out strings.Builder
	for i := range len(text) {
		if strings.IndexByte(characters, text[i]) >= 0 {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
