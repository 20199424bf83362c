package skills

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const head = "---\nname: pdf\ndescription: Reads PDF files.\n"

// TestRead: every way in which files in the wild differ from the specification, and what is said of it.
func TestRead(t *testing.T) {
	long := strings.Repeat("x", 1100)
	for _, c := range []struct {
		name, text string
		want       string   // "name|description|body"; empty: the skill cannot be used
		codes      []string // with the line, if there is one
	}{
		{"as it should be", head + "license: MIT\n---\n\n# PDF\nRead it.\n", "pdf|Reads PDF files.|# PDF\nRead it.", nil},
		{"blanks after the first line", "--- \t\nname: pdf\ndescription: d\n---\nb", "pdf|d|b", nil},
		{"ended by dots", "---\nname: pdf\ndescription: d\n...\nb", "pdf|d|b", nil},
		{"byte order mark", "\xef\xbb\xbf" + head + "---\nb", "pdf|Reads PDF files.|b", []string{"byte-order-mark:1"}},
		{"carriage returns", strings.ReplaceAll(head+"---\nb\nc", "\n", "\r\n"), "pdf|Reads PDF files.|b\nc", []string{"line-ends"}},
		{"no front matter", "# PDF\nRead it.", "", []string{"no-front-matter:1"}},
		{"nothing", "", "", []string{"no-front-matter:1"}},
		{"a blank line first", "\n" + head + "---\nb", "", []string{"no-front-matter:1"}},
		{"a comment first", "<!-- hello -->\n" + head + "---\nb", "", []string{"no-front-matter:1"}},
		{"four dashes", "----\nname: pdf\n----\n", "", []string{"no-front-matter:1"}},
		{"not ended", head + "\n# PDF\n", "", []string{"front-matter-open:1"}},
		{"dashes in a value", "---\nname: pdf\ndescription: a --- b\n---\nb\n---\nc", "pdf|a --- b|b\n---\nc", nil},
		{"dashes in a block", "---\nname: pdf\ndescription: |\n  a\n  ---\n  b\n---\nc", "pdf|a --- b|c", []string{"description-lines:3"}},
		{"more dashes in a block", "---\nname: pdf\ndescription: >\n  a\n  ----\n---\nc", "pdf|a ----|c", nil},
		{"several lines", "---\nname: pdf\ndescription: |\n  one\n  two\n---\nb", "pdf|one two|b", []string{"description-lines:3"}},
		{"no text", head + "---\n", "pdf|Reads PDF files.|", []string{"body-empty:5"}},
		{"many lines", head + "---\n" + strings.Repeat("x\n", 600), "*", []string{"body-lines:5"}},
		{"a big file", head + "---\n" + strings.Repeat("x", 60<<10), "*", []string{"file-big"}},
		{"a huge file", head + "---\n" + strings.Repeat("x", 2<<20), "", []string{"file-large"}},
		{"endless front matter", "---\n" + strings.Repeat("a: b\n", 20_000), "", []string{"front-matter-large:1"}},
		{"empty front matter", "---\n---\nb", "", []string{"front-matter-empty:1"}},
		{"a list", "---\n- name\n---\nb", "", []string{"yaml:2"}},
		{"no name", "---\ndescription: d\n---\nb", "pdf|d|b", []string{"name-missing"}},
		{"an empty name", "---\nname:\ndescription: d\n---\nb", "pdf|d|b", []string{"name-missing:2"}},
		{"no description", "---\nname: pdf\n---\nb", "", []string{"description-missing"}},
		{"an empty description", "---\nname: pdf\ndescription: ''\n---\nb", "", []string{"description-missing:3"}},
		{"a long description", "---\nname: pdf\ndescription: " + long + "\n---\nb", "pdf|" + long + "|b", []string{"description-long:3"}},
		{"another name", "---\nname: docx\ndescription: d\n---\nb", "docx|d|b", []string{"name-differs:2"}},
		{"capitals", "---\nname: PDF Reader\ndescription: d\n---\nb", "PDF Reader|d|b", []string{"name:2", "name-differs:2"}},
		{"a hyphen first", "---\nname: -pdf\ndescription: d\n---\nb", "-pdf|d|b", []string{"name:2", "name-differs:2"}},
		{"two hyphens", "---\nname: p--df\ndescription: d\n---\nb", "p--df|d|b", []string{"name:2", "name-differs:2"}},
		{"a long name", "---\nname: " + strings.Repeat("a", 70) + "\ndescription: d\n---\nb", "*", []string{"name-long:2", "name-differs:2"}},
		{"a path for a name", "---\nname: ../../etc\ndescription: d\n---\nb", "", []string{"name:2"}},
		{"signs that are not shown", "---\nname: \"p\\e[2Jdf\"\ndescription: d\n---\nb", "", []string{"name:2"}},
		{"an unquoted colon", "---\nname: pdf\ndescription: Use it: when PDFs are read\n---\nb", "pdf|Use it: when PDFs are read|b", []string{"unquoted:3"}},
		{"an unquoted at", "---\nname: pdf\ndescription: @file is read\n---\nb", "pdf|@file is read|b", []string{"unquoted:3"}},
		{"an unquoted bracket", "---\nname: pdf\ndescription: [experimental] reads PDF\n---\nb", "pdf|[experimental] reads PDF|b", []string{"unquoted:3"}},
		{"a tab", "---\nname: pdf\ndescription: d\nmetadata:\n\ta: b\n---\nb", "", []string{"yaml:5"}},
		{"a control character", "---\nname: pdf\ndescription: a\x01b\n---\nb", "pdf|ab|b", []string{"unquoted:3"}},
		{"a field twice", "---\nname: pdf\ndescription: d\nname: docx\n---\nb", "pdf|d|b", []string{"duplicate-field:4"}},
		{"unknown fields", head + "version: 1.10\nauthor: {name: x}\n---\nb", "pdf|Reads PDF files.|b", []string{"field-unknown:4", "field-unknown:5"}},
		{"nested metadata", head + "metadata:\n  a: 1.10\n  b:\n    c: d\n---\nb", "pdf|Reads PDF files.|b", []string{"metadata-nested:4", "metadata-scalar:5"}},
		{"metadata as a text", head + "metadata: x\n---\nb", "pdf|Reads PDF files.|b", []string{"metadata-kind:4"}},
		{"a date", head + "license: 2026-01-31\n---\nb", "pdf|Reads PDF files.|b", []string{"license-kind:4"}},
		{"tools as a list", head + "allowed-tools:\n  - Read\n  - Bash(git:*)\n---\nb", "*", []string{"allowed-tools-list:4"}},
		{"tools with commas", head + "allowed-tools: Read, Bash(git status, git diff)\n---\nb", "*", []string{"allowed-tools-commas:4"}},
		{"tools by another name", head + "allowed_tools: Read\n---\nb", "*", []string{"allowed-tools-name:4"}},
		{"a parenthesis that stays open", head + "allowed-tools: Read Bash(git\n---\nb", "*", []string{"allowed-tools-open:4"}},
		{"not UTF-8", head + "---\na\xffb", "pdf|Reads PDF files.|a\uFFFDb", []string{"not-utf-8"}},
		{"binary", head + "---\na\x00b", "", []string{"binary"}},
		{"aliases that explode", "---\nname: pdf\ndescription: d\na: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]\n---\nb", "", []string{"yaml:1"}},
		{"an alias of itself", "---\nname: pdf\ndescription: d\na: &a [*a]\n---\nb", "", []string{"yaml:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, problems := Read("SKILL.md", "pdf", []byte(c.text))
			got := ""
			if s != nil {
				got = s.Name + "|" + s.Description + "|" + s.Body
			}
			if c.want != "*" && got != c.want || c.want == "*" && s == nil {
				t.Errorf("got %q, want %q", got, c.want)
			}
			var codes []string
			unusable := false
			for _, p := range problems {
				code := p.Code
				if p.Line > 0 {
					code = fmt.Sprintf("%s:%d", p.Code, p.Line)
				}
				codes, unusable = append(codes, code), unusable || p.Weight == Unusable
			}
			if diff := cmp.Diff(c.codes, codes); diff != "" {
				t.Errorf("problems %v: -want +got\n%s", problems, diff)
			}
			if unusable != (s == nil) {
				t.Errorf("skill %v with problems %v", s, problems)
			}
		})
	}
}

func TestFields(t *testing.T) {
	s, problems := Read("SKILL.md", "pdf", []byte(head+"license: MIT\ncompatibility: needs poppler\nallowed-tools: Bash(git status:*) Read\nmetadata:\n  version: \"1.0\"\nversion: 1.10\n---\n"))
	want := &Skill{
		Name: "pdf", Description: "Reads PDF files.", License: "MIT", Compatibility: "needs poppler", Metadata: map[string]string{"version": "1.0"},
		AllowedTools: []string{"Bash(git status:*)", "Read"}, Extra: map[string]string{"version": "1.10"}, File: "SKILL.md", Digest: s.Digest,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if Valid(problems) {
		t.Errorf("an unknown field is valid: %v", problems)
	}
	if _, problems := Read("SKILL.md", "datenlösung", []byte("---\nname: datenlo\u0308sung\ndescription: d\n---\nb")); !Valid(problems) {
		t.Errorf("composed and decomposed letters differ: %v", problems)
	}
}

// put makes a directory with files.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func skill(name, description string) string {
	return "---\nname: " + name + "\ndescription: " + description + "\n---\nDo it."
}

func TestFind(t *testing.T) {
	home, workspace, given, outside := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	put(t, home, map[string]string{
		".agents/skills/pdf/SKILL.md": skill("pdf", "mine"), ".agents/skills/pdf/nested/SKILL.md": skill("nested", "part of it"),
		".agents/skills/bad/SKILL.md": "none", ".agents/skills/.git/x/SKILL.md": skill("x", "d"), ".agents/skills/node_modules/y/SKILL.md": skill("y", "d"),
		".claude/skills/group/deep/one/skill.md": skill("one", "lower case"), ".claude/skills/README.md": "no skill",
		".agents/skills/a/b/c/d/e/f/deep/SKILL.md": skill("deep", "too deep"),
	})
	put(t, workspace, map[string]string{".agents/skills/pdf/SKILL.md": skill("pdf", "the project's")})
	put(t, outside, map[string]string{"stolen/SKILL.md": skill("stolen", "d"), "SKILL.md": skill("linked", "d")})
	if err := os.Symlink(filepath.Join(outside, "stolen"), filepath.Join(workspace, ".agents/skills/stolen")); err != nil {
		t.Fatal(err)
	}
	put(t, given, map[string]string{"linked/other.md": "x", "pipe/other.md": "x"})
	if err := os.Symlink(filepath.Join(outside, "SKILL.md"), filepath.Join(given, "linked/SKILL.md")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(given, "pipe/SKILL.md"), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := slices.Concat(WorkspaceRoots(workspace), UserRoots(home), []Root{{given, ScopeGiven}, {filepath.Join(given, "none"), ScopeGiven}})
	found, problems := Find(roots)
	var got []string
	for _, s := range found {
		got = append(got, s.Name+" "+string(s.Scope)+" "+s.Description)
	}
	if diff := cmp.Diff([]string{"one user lower case", "pdf workspace the project's"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var said []string
	for _, p := range problems {
		rel := strings.NewReplacer(home, "~", workspace, "w", given, "g").Replace(p.File)
		said = append(said, rel+" "+p.Code)
	}
	slices.Sort(said)
	want := []string{
		"g/linked/SKILL.md file", "g/none directory", "g/pipe/SKILL.md file", "~/.agents/skills/bad/SKILL.md no-front-matter",
		"~/.agents/skills/pdf/SKILL.md hidden", "~/.claude/skills/group/deep/one/skill.md file-name",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestFiles: only regular files of the skill's own directory can be read.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"pdf/SKILL.md": skill("pdf", "d"), "pdf/scripts/fill.py": "print()", "pdf/references/forms.md": "# Forms", "secret": "s"})
	if err := os.Symlink("../secret", filepath.Join(dir, "pdf/leak")); err != nil {
		t.Fatal(err)
	}
	s, problems := Open(filepath.Join(dir, "pdf"))
	if s == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	names, more, err := s.List()
	if diff := cmp.Diff([]string{"references/forms.md", "scripts/fill.py"}, names); diff != "" || more || err != nil {
		t.Errorf("%v %v\n%s", more, err, diff)
	}
	if text, err := s.Read("references/../references/forms.md"); string(text) != "# Forms" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, name := range []string{"../secret", "leak", "/etc/passwd", "references", "none"} {
		if text, err := s.Read(name); err == nil {
			t.Errorf("%s can be read: %q", name, text)
		}
	}
	if _, problems := Open(filepath.Join(dir, "none")); len(problems) != 1 {
		t.Errorf("%v", problems)
	}
	if _, problems := Open(filepath.Join(dir, "pdf/scripts")); len(problems) != 1 || problems[0].Code != "file" {
		t.Errorf("%v", problems)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "allowed-tools: Bash(git:*) Read\nmetadata:\n  a: {b: [c, 1.10]}\n---\nb"))
	f.Add([]byte("---\nname: pdf\ndescription: Use it: [when\n---\n"))
	f.Add([]byte("---\na: &a\n  <<: *a\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := Read("SKILL.md", "pdf", data)
		unusable := slices.ContainsFunc(problems, func(p Problem) bool { return p.Weight == Unusable })
		if unusable != (s == nil) {
			t.Fatalf("skill %v with problems %v", s, problems)
		}
		if s != nil && (s.Name == "" || s.Description == "" || strings.ContainsAny(s.Description, "\n\r")) {
			t.Fatalf("%+v", s)
		}
	})
}
