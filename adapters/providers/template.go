package providers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/adapters/providers/endpoint"
)

// template is a text with placeholders, split once so that filling it in only copies. A dollar is written $$.
type template struct {
	literals []string // one more than the names
	names    []string
	json     bool // the text is JSON and every value stands inside one of its strings
}

// placeholders that need no capturing group; ${call.NAME} is an argument of the call that a tool's message answers.
const (
	placeText    = "text"    // the last message's text
	placePrompt  = "prompt"  // the last user message's text
	placeResult  = "result"  // the last tool's result
	placeContext = "context" // the notes that were recalled last
	placeTool    = "tool"    // the last tool's name
	placeCallDot = "call."
)

// parseTemplate splits a text at its placeholders. groups are the names of the capturing groups it may use beside their numbers.
func parseTemplate(text string, groups []string) (template, error) {
	var parsed template
	var literal strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		literal.WriteString(before)
		if !found {
			parsed.literals = append(parsed.literals, literal.String())
			return parsed, nil
		}
		if rest, dollar := strings.CutPrefix(after, "$"); dollar {
			literal.WriteByte('$')
			text = rest
			continue
		}
		inside, braced := strings.CutPrefix(after, "{")
		name, rest, closed := strings.Cut(inside, "}")
		if !braced || !closed {
			return template{}, fmt.Errorf("a dollar begins a placeholder such as ${text}: write $$ for a dollar")
		}
		if err := checkPlaceholder(name, groups); err != nil {
			return template{}, err
		}
		parsed.literals = append(parsed.literals, literal.String())
		parsed.names = append(parsed.names, name)
		literal.Reset()
		text = rest
	}
}

func checkPlaceholder(name string, groups []string) error {
	switch name {
	case placeText, placePrompt, placeResult, placeContext, placeTool:
		return nil
	}
	if argument, ok := strings.CutPrefix(name, placeCallDot); ok && argument != "" {
		return nil
	}
	if number, err := strconv.Atoi(name); err == nil && number >= 0 && number < len(groups) {
		return nil
	}
	if name != "" && slices.Contains(groups, name) {
		return nil
	}
	return fmt.Errorf("unknown placeholder ${%s}: there are ${text}, ${prompt}, ${result}, ${context}, ${tool}, ${call.ARGUMENT} and the groups of matches (%d)",
		name, max(len(groups)-1, 0))
}

// fill writes the text with its values. It fails rather than grow beyond maxScriptText.
func (t *template) fill(value func(name string) string) (string, error) {
	if len(t.names) == 0 {
		return t.literals[0], nil
	}
	var filled strings.Builder
	for i, name := range t.names {
		filled.WriteString(t.literals[i])
		text := value(name)
		if t.json {
			text = endpoint.InsideJSON(text)
		}
		if filled.Len()+len(text) > maxScriptText {
			return "", fmt.Errorf("the reply is larger than %d bytes", maxScriptText)
		}
		filled.WriteString(text)
	}
	filled.WriteString(t.literals[len(t.names)])
	return filled.String(), nil
}
