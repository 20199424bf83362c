package fspolicy

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Decision is what becomes of a wish to read or write a file.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Ask   Decision = "ask"  // it is outside the workspace: whether it can be reached is a matter of what confines the call
	Deny  Decision = "deny" // it is protected
)

// Verdict is a decision about a path, and why.
type Verdict struct {
	Decision Decision
	Reason   string // empty where it is allowed
}

// mostLinks is how many links are followed in a row, which is what Linux follows.
const mostLinks = 40

// Verdict says whether somebody who works in a workspace may read or write a path, relative to it or absolute. The path as it is given, each place on its way
// where a link leads, and the end count. It is what is so now: whoever opens the file checks again.
func (p *Policy) Verdict(workspace, name string, write bool) Verdict {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return Verdict{Ask, "it is not a path"}
	case name == os.DevNull || !write && strings.HasPrefix(name, "/dev/fd/"):
		return Verdict{Decision: Allow}
	}
	top, err := filepath.EvalSymlinks(workspace)
	if err != nil {
		return Verdict{Ask, fmt.Sprintf("the workspace %s cannot be looked at", workspace)}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return Verdict{Ask, fmt.Sprintf("the workspace %s cannot be looked at", workspace)}
	}
	defer root.Close()
	at := name
	if !filepath.IsAbs(at) {
		at = filepath.Join(top, at)
	}
	tops := []string{filepath.Clean(workspace), top}
	w := walk{policy: p, root: root, tops: tops, write: write}
	return w.follow(filepath.Clean(at), 0)
}

// walk follows a path.
type walk struct {
	policy *Policy
	root   *os.Root
	tops   []string // the workspace's names
	write  bool
}

// follow judges a clean absolute path, and where links on its way lead.
func (w *walk) follow(name string, links int) Verdict {
	below, inside := w.below(name)
	if !inside {
		return w.outside(name, links)
	}
	if err := w.policy.Check(w.root, below, w.write); err != nil {
		return Verdict{Deny, err.Error()}
	}
	at := "."
	for part := range strings.SplitSeq(below, "/") {
		at = path.Join(at, part)
		to, err := w.root.Readlink(at)
		if err != nil {
			continue // it is no link, or not there
		}
		if links == mostLinks {
			return Verdict{Deny, fmt.Sprintf("%s: too many symbolic links", name)}
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(w.tops[1], filepath.Dir(at), to)
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(below, at), "/")
		return w.follow(filepath.Join(to, rest), links+1)
	}
	return Verdict{Decision: Allow}
}

// below is a path below the workspace.
func (w *walk) below(name string) (below string, inside bool) {
	for _, top := range w.tops {
		if below, err := filepath.Rel(top, name); err == nil && filepath.IsLocal(below) {
			return below, true
		}
	}
	return "", false
}

// outside judges a path that does not begin with a name of the workspace. It may lead there all the same.
func (w *walk) outside(name string, links int) Verdict {
	for above, rest := filepath.Dir(name), filepath.Base(name); above != "/"; above, rest = filepath.Dir(above), filepath.Join(filepath.Base(above), rest) {
		found, err := filepath.EvalSymlinks(above)
		if err != nil {
			continue
		}
		if _, inside := w.below(found); inside && links < mostLinks {
			return w.follow(filepath.Join(found, rest), links+1)
		}
		break
	}
	return Verdict{Ask, fmt.Sprintf("%s is outside the workspace", name)}
}
