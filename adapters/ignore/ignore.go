// Package ignore tells what a workspace's own rules leave out of searches and recordings. The rules are files such as .gitignore in any of its directories,
// with git's syntax: a pattern on each line, of which the last that matches decides, those of a directory before those of the directories above it.
package ignore

import (
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Files are the names of the files that hold rules, later ones before earlier ones. It is safe for concurrent use.
type Files struct{ names []string }

// New returns what reads the rules in files of these names.
func New(names []string) *Files { return &Files{slices.Clone(names)} }

// rule is one line.
type rule struct {
	pattern string
	file    string
	negated bool // what matches is not left out
	dirs    bool // it is for directories alone
	whole   bool // the pattern is of a path, not of a name
}

// Begin begins a look at a workspace. The result says which file leaves out something there, by its path, or nothing. It reads the rules of each directory
// once, when it is asked about something in it; whoever asks does not go into what is left out. read returns a file of the workspace, or nothing.
func (f *Files) Begin(read func(path string) []byte) func(path string, dir bool) (by string) {
	if len(f.names) == 0 {
		return func(string, bool) string { return "" }
	}
	known := map[string][]rule{}
	rules := func(dir string) []rule {
		all, ok := known[dir]
		if !ok {
			for _, name := range f.names {
				file := path.Join(dir, name)
				all = append(all, parse(file, string(read(file)))...)
			}
			known[dir] = all
		}
		return all
	}
	return func(name string, isDir bool) string {
		for dir := path.Dir(name); ; dir = path.Dir(dir) {
			for _, r := range slices.Backward(rules(dir)) {
				if !r.matches(below(dir, name), isDir) {
					continue
				}
				if r.negated {
					return ""
				}
				return r.file
			}
			if dir == "." {
				return ""
			}
		}
	}
}

func below(dir, name string) string {
	if dir == "." {
		return name
	}
	return strings.TrimPrefix(name, dir+"/")
}

func (r *rule) matches(name string, isDir bool) bool {
	if r.dirs && !isDir {
		return false
	}
	if !r.whole {
		name = path.Base(name)
	}
	return doublestar.MatchUnvalidated(r.pattern, name)
}

// parse reads the lines of a file.
func parse(file, text string) (rules []rule) {
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\uFEFF"), "\n") {
		if r, ok := parseLine(strings.TrimSuffix(line, "\r")); ok {
			r.file = file
			rules = append(rules, r)
		}
	}
	return rules
}

func parseLine(line string) (r rule, ok bool) {
	line = withoutEndSpaces(line)
	if line == "" || line[0] == '#' {
		return r, false
	}
	line, r.negated = strings.CutPrefix(line, "!")
	if line, r.dirs = strings.CutSuffix(line, "/"); line == "" {
		return r, false
	}
	r.whole = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if inside, all := strings.CutSuffix(line, "/**"); all { // what is in the directory, not the directory itself
		line = inside + "/**/*"
	}
	// Braces are a choice to doublestar alone.
	r.pattern = strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`).Replace(line)
	if !doublestar.ValidatePattern(r.pattern) { // git finds nothing by such a pattern either
		return r, false
	}
	return r, true
}

// withoutEndSpaces is a line without the spaces at its end, unless a backslash keeps one.
func withoutEndSpaces(line string) string {
	trimmed := strings.TrimRight(line, " ")
	slashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`))
	if slashes%2 == 1 && len(trimmed) < len(line) {
		return trimmed + " "
	}
	return trimmed
}
