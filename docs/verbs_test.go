package docs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// verb is a command as its --help describes it. The root is life itself.
type verb struct {
	under map[string]*verb // what follows it; empty where its arguments do
	flags map[string]bool  // with their dashes, to whether they take a value

	examples []string
}

// TestVerbs holds every `life VERB --flag` in a code span or a code block of a document to what the binary says it can do.
func TestVerbs(t *testing.T) {
	life := readVerb(t, binary(t))
	shown := 0
	for _, file := range append(glob(t, "*.md"), glob(t, "../*.md")...) {
		if filepath.Base(file) == "CHANGELOG.md" {
			continue // it names what used to be as well
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range commands(string(content)) {
			shown++
			if problem := life.check(words); problem != "" {
				t.Errorf("%s shows life %s: %s", file, strings.Join(words, " "), problem)
			}
		}
	}
	if shown == 0 {
		t.Error("no document shows a command of life: they are not read as they are written")
	}
}

// TestCommands shows what in a document is taken for a command of life, and what for something else.
func TestCommands(t *testing.T) {
	document := strings.Join([]string{
		"In prose life goes on, `life` alone is a name, `cmd/life` a path; `life state AGENT --at N` and ``life serve &`` are shown.",
		"| table | `bin/life run --model=x \"life is --odd\"`, `DATA=x life doctor` |",
		"",
		"    $ life agents create demo \\",
		"        --json | jq .; ./bin/life wallet show # life of a comment",
		"    life answers this",
		"",
		"```sh",
		"git diff | life run - >life.log",
		"go build -o life ./cmd/life",
		"```",
		"After it, life goes on.",
	}, "\n")
	want := []string{
		"state AGENT --at N", "serve", "run --model=x TEXT", "doctor",
		"agents create demo --json", "wallet show", "run -",
	}
	var got []string
	for _, words := range commands(document) {
		got = append(got, strings.Join(words, " "))
	}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestVerbsTeach shows what a command of life is refused for.
func TestVerbsTeach(t *testing.T) {
	none := map[string]bool{"--data": true}
	life := &verb{flags: none, under: map[string]*verb{
		"run": {flags: map[string]bool{"--data": true, "--json": false, "-q": false}},
		"wallet": {flags: none, under: map[string]*verb{
			"show": {flags: none},
		}},
	}}
	for words, problem := range map[string]string{
		"run anything --json -q":      "",
		"run --data=x --json":         "",
		"--data x run":                "",
		"wallet":                      "",
		"wallet show":                 "",
		"wallet --data x show main":   "",
		"VERB":                        "",
		"fork demo":                   `no verb "fork"; there are run, wallet`,
		"--data run fork":             `no verb "fork"; there are run, wallet`,
		"wallet shows":                `no verb "shows"; there are show`,
		"wallet show --json":          `no flag --json; there are --data`,
		"run --json --datum=x prompt": `no flag --datum; there are --data, --json, -q`,
	} {
		if got := life.check(strings.Fields(words)); got != problem {
			t.Errorf("life %s: %q, want %q", words, got, problem)
		}
	}
}

// check returns what in a command's words, those after life, does not exist.
func (v *verb) check(words []string) string {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if name, _, hasValue := strings.Cut(word, "="); strings.HasPrefix(word, "-") && word != "-" {
			takes, known := v.flags[name]
			if !known {
				return fmt.Sprintf("no flag %s; there are %s", name, list(v.flags))
			}
			if takes && !hasValue && len(words) > 0 {
				words = words[1:]
			}
			continue
		}
		if len(v.under) == 0 || word == strings.ToUpper(word) { // an argument, or a placeholder
			continue
		}
		next, known := v.under[word]
		if !known {
			return fmt.Sprintf("no verb %q; there are %s", word, list(v.under))
		}
		v = next
	}
	return ""
}

func list[V any](named map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(named)), ", ")
}

var (
	verbLine = regexp.MustCompile(`^  ([a-z][a-z-]*) +\S`)
	flagLine = regexp.MustCompile(`^ +(?:(-\w), )?(--[a-z][a-z-]*)( \S+)?(?:  |$)`)
)

// readVerb asks the binary what a verb can do, and what the verbs below it can.
func readVerb(t *testing.T, binary string, words ...string) *verb {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), binary, append(slices.Clone(words), "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("life %s --help: %v\n%s", strings.Join(words, " "), err, help)
	}
	found := &verb{under: map[string]*verb{}, flags: map[string]bool{}}
	section := ""
	for line := range strings.Lines(string(help)) {
		line = strings.TrimRight(line, "\n")
		if line != "" && line[0] != ' ' {
			section = line
			continue
		}
		switch section {
		case "Examples:":
			if line != "" {
				found.examples = append(found.examples, strings.TrimSpace(line))
			}
		case "Available Commands:":
			if match := verbLine.FindStringSubmatch(line); match != nil && match[1] != "help" {
				found.under[match[1]] = readVerb(t, binary, append(slices.Clone(words), match[1])...)
			}
		case "Flags:", "Global Flags:":
			if match := flagLine.FindStringSubmatch(line); match != nil {
				found.flags[match[1]], found.flags[match[2]] = match[3] != "", match[3] != ""
			}
		}
	}
	if _, ok := found.flags["--help"]; !ok || len(words) == 0 && len(found.under) == 0 {
		t.Fatalf("life %s --help is not read as it is written:\n%s", strings.Join(words, " "), help)
	}
	return found
}

var (
	fenced    = regexp.MustCompile("(?ms)^```[^\n]*\n(.*?)^```")
	indented  = regexp.MustCompile(`(?m)(?:^(?: {4}|\t).*(?:\n|\z))+`)
	span      = regexp.MustCompile("(?:``([^\n]+?)``|`([^`\n]+)`)")
	continued = regexp.MustCompile(`\\\n\s*`)
	prompted  = regexp.MustCompile(`(?m)^\s*\$ (.*)$`)
	quoted    = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	separator = regexp.MustCompile(`\|\||&&|[|;&()<>\n]|\s#.*`)
	ofLife    = regexp.MustCompile(`^(?:\w+=\S* +)*(?:(?:\./)?bin/|\./)?life( .*)$`)
)

// commands returns the words after life of every command of life in a document's code. A block with a prompt in it has its
// commands behind prompts, and the rest is output.
func commands(document string) [][]string {
	var code []string
	cut := func(pattern *regexp.Regexp) {
		for _, match := range pattern.FindAllStringSubmatch(document, -1) {
			code = append(code, continued.ReplaceAllString(strings.Join(match[min(1, len(match)-1):], ""), " "))
		}
		document = pattern.ReplaceAllString(document, "\n")
	}
	cut(fenced)
	cut(indented)
	cut(span)
	var found [][]string
	for _, block := range code {
		if behind := prompted.FindAllStringSubmatch(block, -1); behind != nil {
			block = ""
			for _, line := range behind {
				block += line[1] + "\n"
			}
		}
		for _, command := range separator.Split(quoted.ReplaceAllString(block, "TEXT"), -1) {
			if match := ofLife.FindStringSubmatch(strings.TrimSpace(command)); match != nil {
				found = append(found, strings.Fields(match[1]))
			}
		}
	}
	return found
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
