package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Known is a secret that the host has.
type Known struct {
	Name  string // in markers
	Value string
	Tools bool // tools may be given it, by its name
}

// ShortestKnown is the least length of a known secret that is masked, in bytes: shorter ones stand in too much that is not secret.
const ShortestKnown = 6

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// form is a known secret as it may be written.
type form struct {
	name  string
	size  int // in bytes, without line ends
	wider int // bytes beside it that give away some of it
}

// lineEnds are passed over where a known secret is looked for: base64 and terminals break lines.
const lineEnds = "\r\n"

// knownForms lists every way in which known secrets are looked for.
func knownForms(known []Known) (texts []string, forms []form, err error) {
	for _, k := range known {
		if !plainName.MatchString(k.Name) {
			return nil, nil, fmt.Errorf("the name of secret %q is not 1 to 64 letters, digits, _ . and -", k.Name)
		}
		if len(k.Value) < ShortestKnown {
			continue
		}
		add := func(wider int, written ...string) {
			for _, text := range written {
				text = withoutLineEnds(text)
				if len(text) >= ShortestKnown && !slices.Contains(texts, text) {
					texts, forms = append(texts, text), append(forms, form{k.Name, len(text), wider})
				}
			}
		}
		add(0, k.Value)
		add(0, escaped(k.Value)...)
		add(1, encoded(k.Value)...)
	}
	return texts, forms, nil
}

func withoutLineEnds(text string) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(text)
}

// escaped is a text as it stands within other texts.
func escaped(text string) []string {
	inJSON, quoted := insideJSON(text), strconv.QuoteToASCII(text)
	forms := []string{
		inJSON, insideJSON(inJSON), quoted[1 : len(quoted)-1], html.EscapeString(text),
		strings.ReplaceAll(text, `'`, `'\''`), strings.ReplaceAll(text, `"`, `\"`), regexp.MustCompile(`([^\w@%+=:,./-])`).ReplaceAllString(text, `\$1`),
	}
	if plain, err := json.Marshal(text); err == nil {
		inJSON = string(plain[1 : len(plain)-1])
		forms = append(forms, inJSON, insideJSON(inJSON))
	}
	for _, form := range []string{url.QueryEscape(text), url.PathEscape(text), escapedAll(text)} {
		forms = append(forms, form, regexp.MustCompile(`%[0-9A-F]{2}`).ReplaceAllStringFunc(form, strings.ToLower))
	}
	return forms
}

// insideJSON is a text as it stands in JSON, where < and & are not escaped.
func insideJSON(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return text
	}
	quoted := strings.TrimSuffix(b.String(), "\n")
	return quoted[1 : len(quoted)-1]
}

// escapedAll is a text as encodeURIComponent writes it.
func escapedAll(text string) string {
	return strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%7E", "~").Replace(url.QueryEscape(text))
}

// encoded is a text in hexadecimal, and in base64: the digits that are the same whatever comes before and after it.
func encoded(text string) []string {
	lower := hex.EncodeToString([]byte(text))
	forms := []string{lower, strings.ToUpper(lower)}
	for before := range 3 {
		bits := 8 * before
		first := (bits + 5) / 6          // the first digit with nothing of what is before it
		last := (bits + 8*len(text)) / 6 // the digit after the last with nothing of what is after it
		padded := strings.Repeat("\x00", before) + text
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, encoding.EncodeToString([]byte(padded))[first:last])
		}
	}
	return forms
}
