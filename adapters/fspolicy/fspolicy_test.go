package fspolicy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/adapters/fspolicy"
)

// make makes a tree: a name that ends in a slash is a directory, one with an arrow a link.
func makeTree(t *testing.T, names ...string) (dir string, root *os.Root) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name, to, link := strings.Cut(name, " -> ")
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(to, at)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o755)
		default:
			err = os.WriteFile(at, []byte("content"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if root, err = os.OpenRoot(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return dir, root
}

func policy(t *testing.T, c fspolicy.Config) *fspolicy.Policy {
	t.Helper()
	p, err := fspolicy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	_, root := makeTree(t, ".git/config", "bare/HEAD", "bare/objects/", "bare/refs/", "sub/.git", "tree/HEAD", "tree/commondir")
	configured := policy(t, fspolicy.Config{
		Deny: []string{"private/**", "write:docs/*.md", "**/*.sqlite"}, Allow: []string{"read:**/.env", ".vscode", "docs/a.md", "private/x", "**/.git/config"},
	})
	for _, c := range []struct {
		policy         *fspolicy.Policy
		names          string
		reads, changes bool
	}{
		{&fspolicy.Policy{}, "a.go .env.example env a/.github/x pem a.pem.txt .gitignore .git .git/index .git/COMMIT_EDITMSG config hooks/x sub/config info/attributes .sshd/x", true, true},
		{&fspolicy.Policy{}, ".env .env.local a/b/.env .ssh .ssh/known_hosts a/.aws/x .netrc a/.npmrc x.pem deep/x/y.key id_rsa id_rsa.pub a/id_ed25519 .docker/config.json .kube/config", false, false},
		{&fspolicy.Policy{}, ".git/config .git/hooks .git/hooks/pre-push sub/.git/hooks/a/b .git/info/attributes .git/config.worktree .git/commondir sub/.git", true, false},
		{&fspolicy.Policy{}, "bare/config bare/hooks/x bare/info/attributes tree/config.worktree tree/commondir", true, false},
		{&fspolicy.Policy{}, ".bashrc a/.profile .envrc .gitmodules .vscode .vscode/tasks.json a/.idea/x .mcp.json .agents/skills/x .life/config", true, false},
		{&fspolicy.Policy{}, "node_modules/a/x.pem a/site-packages/certifi/cacert.pem node_modules/.bin/x node_modules/a/.env", true, true},
		{&fspolicy.Policy{}, ".ssh/node_modules/x .env/node_modules", false, false},
		{configured, "private private/x private/a/b db.sqlite a/db.sqlite a/db.sqlite/x", false, false},
		{configured, "docs/a.md docs/b.md .env a/.env", true, false},
		{configured, ".vscode/tasks.json docs/a.txt docs/sub/a.md a/private .git/config", true, true},
		{configured, "a/.vscode/tasks.json .git/hooks/x", true, false},
		{configured, ".env.local x.pem", false, false},
	} {
		for name := range strings.FieldsSeq(c.names) {
			if name == ".git" {
				continue
			}
			if err := c.policy.Check(root, name, false); (err == nil) != c.reads {
				t.Errorf("reading %s: %v", name, err)
			}
			if err := c.policy.Check(root, name, true); (err == nil) != c.changes {
				t.Errorf("writing %s: %v", name, err)
			}
		}
	}
}

func TestRefusalNamesWhatToType(t *testing.T) {
	_, root := makeTree(t)
	err := policy(t, fspolicy.Config{Deny: []string{"write:docs/**"}}).Check(root, "docs/a", true)
	var denied *fspolicy.DeniedError
	if !errors.As(err, &denied) || err.Error() != "docs/a: it may not be written: the file policy protects docs/** (--files-deny)" {
		t.Error(err)
	}
	err = (&fspolicy.Policy{}).Check(root, "a/.env", false)
	if err == nil || err.Error() != "a/.env: it may not be read: the file policy protects **/.env (a built-in rule; --files-allow makes exceptions)" {
		t.Error(err)
	}
}

func TestPatternsAreChecked(t *testing.T) {
	for _, pattern := range []string{"", "[", "/etc/**", "../x", "a/../b", "write:", "a//b", "read:write:x"} {
		if _, err := fspolicy.New(fspolicy.Config{Allow: []string{pattern}}); err == nil {
			t.Errorf("%q is accepted", pattern)
		}
		if _, err := fspolicy.New(fspolicy.Config{Deny: []string{pattern}}); err == nil {
			t.Errorf("%q is accepted", pattern)
		}
	}
}

func TestVerdict(t *testing.T) {
	dir, _ := makeTree(t, "w/.env", "w/a/b", "w/.git/hooks/", "w/env -> .env", "w/hooks -> .git/hooks", "w/a/up -> ..", "w/out -> ../secret", "w/abs -> /etc", "w/loop -> loop", "secret", "in -> w", "in2 -> w/a")
	workspace := filepath.Join(dir, "in")
	p := &fspolicy.Policy{}
	for _, c := range []struct {
		name  string
		write bool
		want  fspolicy.Decision
	}{
		{"a/b", true, fspolicy.Allow},
		{"new/file", true, fspolicy.Allow},
		{".", false, fspolicy.Allow},
		{dir + "/w/a/b", true, fspolicy.Allow},
		{dir + "/in/a/b", true, fspolicy.Allow},
		{dir + "/in2/b", true, fspolicy.Allow},
		{dir + "/in2/up/.env", false, fspolicy.Deny},
		{"../w/a/b", true, fspolicy.Allow},
		{"/dev/null", true, fspolicy.Allow},
		{".env", false, fspolicy.Deny},
		{"env", false, fspolicy.Deny},
		{"./a/../.env", false, fspolicy.Deny},
		{"a/up/.env", false, fspolicy.Deny},
		{"a/up/a/up/env", true, fspolicy.Deny},
		{"hooks/pre-push", true, fspolicy.Deny},
		{"hooks/pre-push", false, fspolicy.Allow},
		{"loop", false, fspolicy.Deny},
		{"out", false, fspolicy.Ask},
		{"abs/passwd", false, fspolicy.Ask},
		{"/etc/passwd", true, fspolicy.Ask},
		{"../secret", true, fspolicy.Ask},
		{"", true, fspolicy.Ask},
	} {
		if got := p.Verdict(workspace, c.name, c.write); got.Decision != c.want || (got.Reason == "") != (c.want == fspolicy.Allow) {
			t.Errorf("%q (write %v): %+v, want %s", c.name, c.write, got, c.want)
		}
	}
}

func TestFindKeepsUp(t *testing.T) {
	dir, _ := makeTree(t, "a/.env", ".git/hooks/x", ".git/config", ".git/objects/ab/.env", "vendor/lib/.git/hooks/y", "bare/HEAD", "bare/objects/", "bare/refs/", "bare/config", "node_modules/x/.env", ".ssh/id_rsa", "link -> a/.env")
	p := &fspolicy.Policy{}
	found := func() string {
		t.Helper()
		all, err := p.Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, f := range all {
			mark := ""
			if f.Read {
				mark = "!"
			} else if f.Kept {
				mark = "="
			}
			text = append(text, mark+f.Path)
		}
		return strings.Join(text, " ")
	}
	want := "=.git !.ssh .git/hooks .git/config !a/.env bare/config =vendor/lib/.git vendor/lib/.git/hooks"
	if got := found(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "a/x.pem"), nil, 0o644), os.Remove(filepath.Join(dir, ".git/config"))); err != nil {
		t.Fatal(err)
	}
	want = "=.git !.ssh .git/hooks !a/.env !a/x.pem bare/config =vendor/lib/.git vendor/lib/.git/hooks"
	if got := found(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestFindIsBounded: a tree that is too deep to be looked through is refused, with the reason.
func TestFindIsBounded(t *testing.T) {
	top := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, strings.Repeat("d/", 70)), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := (&fspolicy.Policy{}).Find(top); err == nil || !strings.Contains(err.Error(), "directories more than 64 deep") {
		t.Errorf("found %v, %v", found, err)
	}
}
