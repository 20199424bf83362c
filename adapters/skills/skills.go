// Package skills reads skills: directories with a file SKILL.md, whose front matter names and describes what its text teaches an agent to do. The format is
// that of https://agentskills.io/specification. Skills in the wild break it in many ways, so reading is lenient and says what it found: each deviation is a
// Problem. Only what leaves nothing to offer, such as a missing description, keeps a skill from being used.
package skills

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Limits of the specification, in characters, and of this package, in bytes.
const (
	maxName          = 64
	maxDescription   = 1024
	maxCompatibility = 500
	maxMatter        = 64 << 10
	maxBody          = 1 << 20
	manyLines        = 500
	bigFile          = 50 << 10
	maxNodes         = 2_000 // of YAML, those that an alias repeats included
)

// FileName is the file that makes a directory a skill.
const FileName = "SKILL.md"

// Skill is what one directory teaches.
type Skill struct {
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	License       string            `json:"license,omitempty"`
	Compatibility string            `json:"compatibility,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	AllowedTools  []string          `json:"allowed_tools,omitempty"` // such as "Bash(git:*)": what the author expects to be used; it grants nothing
	Extra         map[string]string `json:"extra,omitempty"`         // fields that the specification does not know, as text
	File          string            `json:"file"`                    // absolute path
	Digest        string            `json:"digest"`                  // BLAKE3 of the file's bytes, in hex
	Scope         Scope             `json:"scope,omitempty"`
	Body          string            `json:"-"`
}

// Scope is where a skill was found.
type Scope string

// The scopes, later ones before earlier ones where names collide.
const (
	ScopeUser      Scope = "user"      // in the home directory of the person
	ScopeGiven     Scope = "given"     // in a directory that was named
	ScopeWorkspace Scope = "workspace" // in the agent's workspace: whoever wrote the workspace wrote it
)

// Problem is something about a skill that is not as it should be.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Code   string `json:"code"`
	Text   string `json:"text"`
	Weight Weight `json:"weight"`
}

// Weight says what a problem leads to.
type Weight string

// The weights.
const (
	Unusable Weight = "error"   // the skill cannot be offered
	Invalid  Weight = "invalid" // it is used, though the specification does not allow it
	Remark   Weight = "remark"  // it is used, and the specification allows it
)

// String is one line.
func (p Problem) String() string {
	at := p.File
	if p.Line > 0 {
		at = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s: %s: %s [%s]", at, p.Weight, p.Text, p.Code)
}

// Valid reports whether the specification allows all of it.
func Valid(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return p.Weight != Remark })
}

// sorted puts problems in the order of files and lines.
func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return problems
}
