// Package fspolicy decides which files of a workspace agents may read and write. There is one policy for everybody who asks: the file tools check each path,
// and each link on its way, with Check; the sandbox mounts what Find finds over the workspace; the permission engine asks Verdict.
//
// What is protected is told by names, as gitignore tells what is ignored: patterns over the path below the workspace, with slashes. A refusal of the
// configuration comes before what it allows, and that before what is built in. The directories of git repositories are told by what they hold, so that
// a bare one, a submodule's and one that a .git file points to are protected like .git.
package fspolicy

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Config says what is protected besides what is built in, and what of that is not.
type Config struct {
	Deny  []string // patterns of what is out of reach; after "write:" what may be read only
	Allow []string // patterns of what may be read and written though it is built in that it may not; after "read:" what may be read only
}

// Policy is a set of rules. It is safe for concurrent use; the zero value has the built-in rules alone.
type Policy struct {
	deny, allow []rule
	found       cache
}

// rule is a pattern and what it is about.
type rule struct {
	pattern     string
	read, write bool
}

// The beginnings of a configured pattern.
const (
	readOnly  = "read:"
	writeOnly = "write:"
)

// New reads the patterns of a configuration.
func New(c Config) (*Policy, error) {
	p := &Policy{}
	for _, text := range c.Deny {
		pattern, only := strings.CutPrefix(text, writeOnly)
		if err := checkPattern(pattern, text); err != nil {
			return nil, err
		}
		p.deny = append(p.deny, rule{pattern: pattern, read: !only, write: true})
	}
	for _, text := range c.Allow {
		pattern, only := strings.CutPrefix(text, readOnly)
		if err := checkPattern(pattern, text); err != nil {
			return nil, err
		}
		p.allow = append(p.allow, rule{pattern: pattern, read: true, write: !only})
	}
	return p, nil
}

func checkPattern(pattern, text string) error {
	switch {
	case !doublestar.ValidatePattern(pattern):
		return fmt.Errorf("%q is not a valid pattern", text)
	case pattern == "", path.IsAbs(pattern), pattern != path.Clean(pattern), strings.HasPrefix(pattern, ".."):
		return fmt.Errorf("%q must be a path below the workspace, such as secrets/** or **/*.sqlite", text)
	case strings.HasPrefix(pattern, readOnly), strings.HasPrefix(pattern, writeOnly):
		return fmt.Errorf("%q: files are refused with PATTERN or %sPATTERN, and allowed with PATTERN or %sPATTERN", text, writeOnly, readOnly)
	}
	return nil
}

// DeniedError says that a file is protected.
type DeniedError struct {
	Path    string
	Write   bool
	Pattern string // of the rule
	BuiltIn bool
}

// Error implements error.
func (e *DeniedError) Error() string {
	does, whose := "read", "--files-deny"
	if e.Write {
		does = "written"
	}
	if e.BuiltIn {
		whose = "a built-in rule; --files-allow makes exceptions"
	}
	return fmt.Sprintf("%s: it may not be %s: the file policy protects %s (%s)", e.Path, does, e.Pattern, whose)
}

// Tree is where a workspace is looked at, as os.Root does.
type Tree interface {
	Lstat(name string) (fs.FileInfo, error)
}

// Check refuses what may not be read or written. The path is clean and below the workspace, without links; who follows one checks what it leads to.
func (p *Policy) Check(tree Tree, name string, write bool) error {
	if e := p.denied(tree, name, write); e != nil {
		return e
	}
	return nil
}

func (p *Policy) denied(tree Tree, name string, write bool) *DeniedError {
	if name == "." {
		return nil
	}
	if by := match(p.deny, name, write); by != "" {
		return &DeniedError{Path: name, Write: write, Pattern: by}
	}
	by, protected := builtIn(name, write)
	if by == "" && write && !passes(name) {
		by, protected = ofGit(tree, name)
	}
	if by == "" || match(p.allow, protected, write) != "" {
		return nil
	}
	return &DeniedError{Path: name, Write: write, Pattern: by, BuiltIn: true}
}

// match returns the first pattern that is about reading or writing a path, or a directory above it.
func match(rules []rule, name string, write bool) string {
	for i := range rules {
		r := &rules[i]
		if write && !r.write || !write && !r.read {
			continue
		}
		for at := name; at != "."; at = path.Dir(at) {
			if doublestar.MatchUnvalidated(r.pattern, at) {
				return r.pattern
			}
		}
	}
	return ""
}

// isPackages reports a directory of packages that a tool installed: what looks like a secret there is everybody's, such as the certificates of authorities.
func isPackages(name string) bool {
	return name == "node_modules" || name == "site-packages" || name == "dist-packages"
}

// passes reports whether a path is in a directory of packages, which no built-in rule is about.
func passes(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if isPackages(part) {
			return true
		}
	}
	return false
}

// builtIn returns which built-in pattern protects a path, and what of the path it is about: all that is in a protected directory is protected with it. It allocates
// nothing, as searches ask for every file.
func builtIn(name string, write bool) (by, protected string) {
	above := ""
	for start := 0; start < len(name); {
		part, end := name[start:], len(name)
		if slash := strings.IndexByte(part, '/'); slash >= 0 {
			part, end = part[:slash], start+slash
		}
		if isPackages(part) {
			return "", ""
		}
		if by = secret(part, above); by == "" && write {
			by = startup(part)
		}
		if by != "" {
			return by, name[:end]
		}
		above, start = part, end+1
	}
	return "", ""
}

// secret returns the pattern of secrets that a name in a directory fits: what is neither read nor written.
func secret(name, dir string) string {
	if !strings.HasPrefix(name, ".") {
		return keyFile(name, dir)
	}
	switch name {
	case ".ssh", ".aws", ".gnupg":
		return "**/" + name + "/**"
	case ".env", ".netrc", ".npmrc", ".pypirc", ".git-credentials":
		return "**/" + name
	case ".env.example", ".env.sample", ".env.template":
		return ""
	}
	if strings.HasPrefix(name, ".env.") {
		return "**/.env.*"
	}
	return keyFile(name, dir)
}

func keyFile(name, dir string) string {
	switch {
	case strings.HasSuffix(name, ".pem"):
		return "**/*.pem"
	case strings.HasSuffix(name, ".key"):
		return "**/*.key"
	case strings.HasPrefix(name, "id_rsa"):
		return "**/id_rsa*"
	case strings.HasPrefix(name, "id_ed25519"):
		return "**/id_ed25519*"
	case name == "config.json" && dir == ".docker":
		return "**/.docker/config.json"
	case name == "config" && dir == ".kube":
		return "**/.kube/config"
	}
	return ""
}

// startup returns the pattern of what programs run or obey by themselves that a name fits: it may be read, not written.
func startup(name string) string {
	switch name {
	case ".gitmodules", ".envrc", ".mcp.json", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile",
		".zshrc", ".zshenv", ".zprofile", ".zlogin", ".gitconfig":
		return "**/" + name
	case ".vscode", ".idea", ".agents", ".life":
		return "**/" + name + "/**"
	}
	return ""
}

// ofGit returns which pattern protects a path as part of a repository's own directory: what git runs, or reads what to run from, when a person uses it.
func ofGit(tree Tree, name string) (by, protected string) {
	if path.Base(name) == dotGit { // what it points to would be another repository
		return "**/.git", name
	}
	for at, below := path.Dir(name), path.Base(name); ; at, below = path.Dir(at), path.Join(path.Base(at), below) {
		if part := gitPart(below); part != "" && isRepository(tree, at) {
			return path.Join(at, part), path.Join(at, part)
		}
		if at == "." {
			return "", ""
		}
	}
}

const dotGit = ".git"

// gitParts are what of a repository's directory is protected.
func gitParts() []string {
	return []string{"hooks", "config", "config.worktree", "info/attributes", "commondir"}
}

// gitPart returns which part a path below a repository's directory belongs to.
func gitPart(below string) string {
	for _, part := range gitParts() {
		if below == part || part == "hooks" && strings.HasPrefix(below, "hooks/") {
			return part
		}
	}
	return ""
}

// isRepository reports whether a directory is called .git or holds what git takes for a repository, or for a worktree's part of one.
func isRepository(tree Tree, dir string) bool {
	if path.Base(dir) == dotGit {
		return true
	}
	has := func(name string) bool {
		_, err := tree.Lstat(path.Join(dir, name))
		return err == nil
	}
	return has("HEAD") && (has("objects") && has("refs") || has("commondir"))
}
