package permission

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"example.com/life/actors"
	"example.com/life/adapters/fspolicy"
	"example.com/life/events"
	"example.com/life/sagas"
)

// ProjectFile is where a workspace has rules of its own.
const ProjectFile = ".life/permissions.yaml"

// AdminFile is where the administrator of a machine has rules for everybody on it.
const AdminFile = "/etc/life/permissions.yaml"

// Config is what a policy goes by.
type Config struct {
	Rules   []Rule           // of the administrator and the user
	Broken  error            // why their rules cannot be used: then every call is asked about
	Files   *fspolicy.Policy // what is protected in workspaces
	Level   func(context.Context) string
	Full    bool     // agents may have the mode full
	Trusted []string // workspaces whose own rules may allow calls
}

// Policy judges calls. It is safe for concurrent use.
type Policy struct {
	config   Config
	mu       sync.Mutex
	projects map[string]project
}

// project is what a workspace's own rules are. They are read once: what works there cannot change them.
type project struct {
	rules []Rule
	err   error
}

// New returns a policy.
func New(c Config) *Policy { return &Policy{config: c, projects: map[string]project{}} }

// Judge implements [actors.Permissions].
func (p *Policy) Judge(ctx context.Context, c actors.ToJudge) (sagas.Finding, bool) {
	own, file := p.project(c.Workspace), ProjectFile
	if p.config.Broken != nil {
		own.err, file = p.config.Broken, "of the host"
	}
	if c.Mode == "" && len(p.config.Rules) == 0 && len(own.rules) == 0 && own.err == nil {
		return sagas.Finding{}, false
	}
	place := Place{Workspace: c.Workspace}
	level := ""
	if c.Tool == shellTool {
		level = p.config.Level(ctx)
		place.Confined = level == "namespaces"
	}
	found := Judge(slices.Concat(p.config.Rules, own.rules), Files{p.config.Files}, place, c.Tool, c.Class, c.Arguments)
	found.Sandbox, found.Full = level, p.config.Full
	if own.err != nil && !stronger(found.Ruled, events.VerdictAsk) {
		found.Ruled, found.Rule, found.Reason, found.Firm = events.VerdictAsk, file, "the rules cannot be used: "+own.err.Error(), true
	}
	return sagas.Finding{Finding: found}, true
}

// project reads a workspace's own rules, once there are some.
func (p *Policy) project(workspace string) project {
	if workspace == "" {
		return project{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.projects[workspace]; ok {
		return known
	}
	rules, found, err := ReadProject(workspace, slices.Contains(p.config.Trusted, workspace))
	if !found {
		return project{}
	}
	read := project{rules: rules, err: err}
	p.projects[workspace] = read
	return read
}

// ReadProject reads a workspace's own rules. Those that allow something are left out, unless the workspace is trusted.
func ReadProject(workspace string, trusted bool) (rules []Rule, found bool, err error) {
	file := filepath.Join(workspace, ProjectFile)
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return nil, false, nil // no call works there
	}
	defer root.Close()
	if _, err := root.Lstat(ProjectFile); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	opened, err := openRegular(root.OpenFile, ProjectFile)
	if err != nil {
		return nil, true, err
	}
	defer opened.Close()
	rules, err = readFrom(opened, file, ScopeProject)
	if !trusted {
		rules = slices.DeleteFunc(rules, func(r Rule) bool { return r.Decision == events.VerdictAllow })
	}
	return rules, true, err
}

// Files judges paths by what is protected in workspaces.
type Files struct{ Policy *fspolicy.Policy }

// Check implements [Paths].
func (f Files) Check(workspace, path string, write bool) string {
	verdict := f.Policy.Verdict(workspace, path, write)
	if verdict.Decision == fspolicy.Allow {
		return ""
	}
	return verdict.Reason
}
