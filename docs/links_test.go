package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents returns every Markdown file that people read.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "adr/*.md", "../*.md", "../changes/*.md"} {
		files = append(files, glob(t, pattern)...)
	}
	return files
}

// TestLinks follows every relative link, and its #heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(prose(t, file), -1) {
			target, heading, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := file
			if target != "" {
				to = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", file, match[1])
			} else if heading != "" && strings.HasSuffix(to, ".md") && !headings(t, to)[heading] {
				t.Errorf("%s links to %s, but no heading of %s reads so", file, match[1], to)
			}
		}
	}
}

// TestMakeVerbs holds every `make VERB` in a document to the Makefile.
func TestMakeVerbs(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9]+):`).FindAllStringSubmatch(string(makefile), -1) {
		verbs[match[1]] = true
	}
	named := regexp.MustCompile("(?m)(?:`|^\\$ |^ *)make ([a-z0-9]+)(?:`| |$)")
	for _, file := range documents(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(content), -1) {
			if strings.Contains(match[0], "make ") && !verbs[match[1]] {
				t.Errorf("%s says make %s, which the Makefile does not know", file, match[1])
			}
		}
	}
}

// TestPromise keeps the one sentence about repeated effects that the documents owe their readers.
func TestPromise(t *testing.T) {
	const promise = "effects that are safe to repeat are repeated; the others are never repeated silently"
	if text := strings.Join(strings.Fields(prose(t, "turn.md")), " "); !strings.Contains(text, promise) {
		t.Errorf("turn.md does not say: %s", promise)
	}
}

// prose reads a document without its code blocks.
func prose(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(string(content), "")
}

// headings returns the anchors of a document: lower case, punctuation dropped, spaces as dashes.
func headings(t *testing.T, file string) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(prose(t, file), -1) {
		plain := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		anchors[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return anchors
}
