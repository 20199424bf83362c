package notes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/adapters/notes"
	"example.com/life/events"
	"example.com/life/sagas"
)

const day = 86_400 * events.Second

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want events.Note
	}{
		"no front matter": {
			"# Heat shield #\nBurns away.\n",
			events.Note{Title: "Heat shield", Text: events.Text{Inline: "# Heat shield #\nBurns away.\n"}},
		},
		"nothing at all": {"", events.Note{Title: "shield"}},
		"all of it": {
			"\ufeff---\r\ntitle: Heat shield\r\naliases: [ablator, The Shield]\r\ntags: \"thermal, #safety hot\"\r\nvalid_from: 1970-01-02\r\nvalid_to: 1970-01-03T00:00:00Z\r\n" +
				"relations:\r\n  supports: \"[[re-entry#Heat|heat]]\"\r\n  made_of:\r\n    - cork\r\n    - {to: \"[[phenolic]]\", exclusive: true, valid_from: 1970-01-05}\r\n" +
				"part_of: [[capsule, the]]\r\n\"see::\": [\"[[a]]\", \"[[b]]\", plain]\r\ncreated: 2020-01-01\r\ncss: {x: 1}\r\n---\r\n\r\nText.\r\n",
			events.Note{
				Title: "Heat shield", Aliases: []string{"ablator", "The Shield"}, Tags: []string{"thermal", "safety", "hot"},
				Validity: events.Validity{From: day, To: 2 * day}, Text: events.Text{Inline: "Text.\n"},
				Links: []events.NoteLink{
					{Relation: "supports", Target: "re-entry", Heading: "Heat", Label: "heat"},
					{Relation: "made_of", Target: "cork"},
					{Relation: "made_of", Target: "phenolic", Exclusive: true, Validity: events.Validity{From: 4 * day}},
					{Relation: "part_of", Target: "capsule, the"},
					{Relation: "see", Target: "a"},
					{Relation: "see", Target: "b"},
				},
			},
		},
		"a rule is no front matter": {"Text\n---\nmore\n", events.Note{Title: "shield", Text: events.Text{Inline: "Text\n---\nmore\n"}}},
		"only comments":             {"---\n# tags: [a]\n---\nx", events.Note{Title: "shield", Text: events.Text{Inline: "x"}}},
		"nothing between rules":     {"---\n\n---\nx", events.Note{Title: "shield", Text: events.Text{Inline: "x"}}},
		"a letterhead":              {"---\n**SOUTH OFFICE**\nHigh Street 9\n---\n\nSincerely.", events.Note{Title: "shield", Text: events.Text{Inline: "---\n**SOUTH OFFICE**\nHigh Street 9\n---\n\nSincerely."}}},
		"a letterhead with fields":  {"---\nSouth Office\nTel: 555 1\n---\nx", events.Note{Title: "shield", Text: events.Text{Inline: "---\nSouth Office\nTel: 555 1\n---\nx"}}},
		"a heading between rules":   {"---\n# South Office\n---\nx", events.Note{Title: "South Office", Text: events.Text{Inline: "---\n# South Office\n---\nx"}}},
		"a list between rules":      {"---\n- a\n---\nx", events.Note{Title: "shield", Text: events.Text{Inline: "---\n- a\n---\nx"}}},
		"a rule and no other":       {"---\n\nDear reader: hello\nThere is more.\n", events.Note{Title: "shield", Text: events.Text{Inline: "---\n\nDear reader: hello\nThere is more.\n"}}},
		"four dashes":               {"----\ntitle: x\n----\n", events.Note{Title: "shield", Text: events.Text{Inline: "----\ntitle: x\n----\n"}}},
		"null": {
			"---\ntitle: null\naliases: ~\ntags: [null, hot, Null]\nvalid_from:\nsee: null\nrelations: {owns: null, made_of: [cork, ~]}\n---\nx",
			events.Note{Title: "shield", Tags: []string{"hot"}, Text: events.Text{Inline: "x"}, Links: []events.NoteLink{{Relation: "made_of", Target: "cork"}}},
		},
		"names as links": {"---\naliases: ['[[The shield]]', '#1']\ntags: '#a #b'\n---\nx", events.Note{
			Title: "shield", Aliases: []string{"The shield", "1"}, Tags: []string{"a", "b"}, Text: events.Text{Inline: "x"},
		}},
		"null as a text": {"---\ntitle: \"null\"\ntags: ['~']\n---\nx", events.Note{Title: "null", Tags: []string{"~"}, Text: events.Text{Inline: "x"}}},
		"properties": {
			"title:: A page\nalias:: ap, [[the page]]\ntags:: #one, [[two words]]\n\n- text", events.Note{
				Title: "A page", Aliases: []string{"ap", "the page"}, Tags: []string{"one", "two words"},
				Text: events.Text{Inline: "title:: A page\nalias:: ap, [[the page]]\ntags:: #one, [[two words]]\n\n- text"},
			},
		},
		"a long heading": {"# " + strings.Repeat("長", 200) + "\nx", events.Note{
			Title: strings.Repeat("長", 169) + "…", Text: events.Text{Inline: "# " + strings.Repeat("長", 200) + "\nx"},
		}},
		"ended by dots": {"---\ntitle: T\n...\nx", events.Note{Title: "T", Text: events.Text{Inline: "x"}}},
	} {
		got, problem := notes.Parse("shield", "shield.md", []byte(test.text))
		test.want.ID = "shield"
		if diff := cmp.Diff(test.want, got); problem != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, problem, diff)
		}
	}
}

func TestProblems(t *testing.T) {
	for want, text := range map[string]string{
		`a.md:1: the front matter has no end`:               "---\ntitle: x\n",
		`a.md:1: the front matter is larger`:                "---\ntitle: x\n" + strings.Repeat("# comment\n", 7000),
		`a.md:2: the front matter is no YAML: did not find`: "---\ntitle: x\ntags: [a\n---\n",
		`a.md:3: field "title" is there twice`:              "---\ntitle: x\ntitle: y\n---\n",
		`a.md:2: field "title" uses a YAML anchor`:          "---\ntitle: &x y\n---\n",
		`a.md:2: title is no text`:                          "---\ntitle: [x]\n---\n",
		`a.md:3: aliases is no text`:                        "---\naliases:\n  - {a: b}\n---\n",
		`a.md:2: tags is neither a text nor a list`:         "---\ntags: {a: b}\n---\n",
		`a.md:2: valid_from is "soon", want a day`:          "---\nvalid_from: soon\n---\n",
		`a.md:2: valid_to is not after valid_from`:          "---\nvalid_from: 2026-01-02\nvalid_to: 2026-01-01\n---\n",
		`a.md:2: relations is no mapping`:                   "---\nrelations: x\n---\n",
		`a.md:3: relation "2nd" is no name`:                 "---\nrelations:\n  2nd: x\n---\n",
		`a.md:3: "" is no name of a note`:                   "---\nrelations:\n  owns: \"[[]]\"\n---\n",
		`a.md:3: the link "x" has no end`:                   "---\nrelations:\n  owns: \"[[x\"\n---\n",
		`a.md:3: a target has no field "until"`:             "---\nrelations:\n  owns: {to: x, until: y}\n---\n",
		`a.md:3: exclusive is "perhaps", want true`:         "---\nrelations:\n  owns: {to: x, exclusive: perhaps}\n---\n",
		`a.md:3: a target of relation owns names no note`:   "---\nrelations:\n  owns: {exclusive: true}\n---\n",
		`a.md:3: it is not valid UTF-8`:                     "a\nb\n\xff\n",
		`a.md: it is UTF-16`:                                "\xff\xfea\x00",
		`a.md:2: tags has more than 64 entries`:             "---\ntags: [" + strings.Repeat("a,", 64) + "]\n---\n",
		`a.md:2: there are more than 1024 links`:            "---\nowns: [" + strings.Repeat(`"[[x]]",`, 1025) + "]\n---\n",
	} {
		if strings.HasPrefix(want, "a.md:2: tags has") {
			var tags []string
			for i := range 65 {
				tags = append(tags, fmt.Sprint("t", i))
			}
			text = "---\ntags: [" + strings.Join(tags, ",") + "]\n---\n"
		}
		if _, problem := notes.Parse("a", "a.md", []byte(text)); problem == nil || !strings.HasPrefix(problem.String(), want) {
			t.Errorf("%v, want %s", problem, want)
		}
	}
	if _, problem := notes.Parse("a#b", "a#b.md", nil); problem == nil || !strings.Contains(problem.String(), "cannot be that of a note") {
		t.Errorf("%v", problem)
	}
}

// read reads a directory, a line for each note and problem.
func read(ctx context.Context, t *testing.T, dir string) ([]string, error) {
	t.Helper()
	var got []string
	err := notes.Read(ctx, notes.Config{Dir: dir, Collection: "vault", Prefix: "v/"}, func(n events.Note, p *notes.Problem) error {
		switch {
		case p != nil && p.Ignore:
			got = append(got, "ignored "+p.String())
		case p != nil:
			got = append(got, fmt.Sprintf("%s ✕ %s", n.ID, p))
		default:
			line := fmt.Sprintf("%s %q", n.ID, n.Title)
			if len(n.Aliases) > 0 {
				line += fmt.Sprintf(" %q", n.Aliases)
			}
			for _, link := range n.Links {
				if link.File {
					line += " → " + link.Target
				}
			}
			if got = append(got, line); n.Source.Collection != "vault" || n.Source.Dir != dir || n.Source.Path == "" {
				t.Errorf("%s is from %+v", n.ID, n.Source)
			}
		}
		return nil
	})
	return got, err
}

// write writes files below a directory of a test.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"endings": {
			map[string]string{"a.md": "", "b.MD": "", "c.markdown": "", "d.mdown": "", "e.mkd": "", "f.Mkdn": "", "g.txt": "", "h.md.bak": "", "md": "", ".md": ""},
			[]string{`v/a "a"`, `v/b "b"`, `v/c "c"`, `v/d "d"`, `v/e "e"`, `v/f "f"`},
		},
		"directories": {map[string]string{"a.md/b.md": "# B", ".obsidian/x.md": "", "a/.hidden.md": "", "a/c.md": "", "logseq/bak/a.md": ""}, []string{`v/a/c "c"`, `v/a.md/b "B"`}},
		"two endings": {
			map[string]string{"a.markdown": "", "a.md": "", "a.mkd": "", "b.md": ""},
			[]string{"v/a ✕ a.markdown: a.md is the note v/a already: rename one of the two files", `v/a "a"`, "v/a ✕ a.mkd: a.md is the note v/a already: rename one of the two files", `v/b "b"`},
		},
		"signs": {
			map[string]string{"C# tips.md": "", "[draft] a|b.md": "", "C tips.markdown": "", "x #/y.md": "", "#.md": "", " z.md": ""},
			[]string{
				`v/z "z"`, `v/ ✕ #.md: its name cannot be that of a note: invalid id: note name "v/" has a space or a slash at one of its ends, or an empty part`,
				`v/C tips "C tips"`, "v/C tips ✕ C# tips.md: C tips.markdown is the note v/C tips already: rename one of the two files", `v/draft ab "[draft] a|b"`, `v/x/y "y"`,
			},
		},
		"decomposed": {map[string]string{"Cafe\u0301.md": "", "u\u0308/x.md": ""}, []string{"v/Caf\u00e9 \"Caf\u00e9\"", "v/\u00fc/x \"x\""}},
		"Logseq": {
			map[string]string{"pages/book___one.md": "", "pages/a%3Ab.md": "# A", "pages/100%.md": "", "journals/2026_11_02.md": "- x", "journals/2026_11_13.md": "", "2026_11_03.md": ""},
			[]string{
				`v/2026_11_03 "2026_11_03"`, `v/journals/2026_11_02 "2026_11_02" ["Nov 2nd, 2026"]`, `v/journals/2026_11_13 "2026_11_13" ["Nov 13th, 2026"]`,
				`v/pages/100% "100%"`, `v/pages/a%3Ab "A" ["a:b"]`, `v/pages/book___one "book/one" ["book/one"]`,
			},
		},
		"attachments": {
			map[string]string{"sub/a.md": "---\ncover: '[[p.xyz]]'\n---\n![[p.xyz]] ![[img/Q.xyz]] [[../r.xyz]] [[s.xyz]] [[b]]", "img/p.xyz": "", "img/q.xyz": "", "r.xyz": "", "b.md": ""},
			[]string{`v/b "b"`, `v/sub/a "a" → p.xyz → p.xyz → img/Q.xyz → ../r.xyz`},
		},
	} {
		if got, err := read(t.Context(), t, write(t, test.files)); err != nil || !cmp.Equal(test.want, got) {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(test.want, got))
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := read(ended, t, write(t, map[string]string{"a.md": ""})); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v", err)
	}
	if err := notes.Read(t.Context(), notes.Config{Dir: filepath.Join(t.TempDir(), "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there gives %v", err)
	}
}

// TestOneBadFile: what cannot be read is named, and everything else is read.
func TestOneBadFile(t *testing.T) {
	dir := write(t, map[string]string{"a.md": "# A", "bytes.md": "x\xff", "matter.md": "---\ntags: [a\n---\n", "z.md": "# Z", "real/b.md": "# B"})
	big, err := os.Create(filepath.Join(dir, "big.md"))
	for _, link := range [][2]string{{"loop.md", "loop.md"}, {"/etc/hostname", "outside.md"}, {"real/b.md", "inside.md"}, {".", "real/up"}, {"none", "nothing"}} {
		err = errors.Join(err, os.Symlink(link[0], filepath.Join(dir, link[1])))
	}
	err = errors.Join(err, big.Truncate(5<<20), big.Close(), syscall.Mkfifo(filepath.Join(dir, "pipe.md"), 0o600))
	deep := strings.Repeat("d/", 70)
	if err := errors.Join(err, os.MkdirAll(filepath.Join(dir, deep), 0o755), os.WriteFile(filepath.Join(dir, deep, "x.md"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), t, dir)
	want := []string{
		`v/a "A"`,
		"v/big ✕ big.md: it is larger than 4194304 bytes",
		"v/bytes ✕ bytes.md:1: it is not valid UTF-8",
		"v/" + strings.TrimSuffix(deep[:130], "/") + " ✕ " + strings.TrimSuffix(deep[:130], "/") + ": it is within too many directories",
		`v/inside "B"`,
		"v/loop ✕ loop.md: it is a symbolic link to nothing that can be read in this directory: too many levels of symbolic links",
		"v/matter ✕ matter.md:2: the front matter is no YAML: did not find expected ',' or ']'",
		"ignored nothing: it is a symbolic link to nothing that can be read in this directory: no such file or directory",
		"v/outside ✕ outside.md: it is a symbolic link to nothing that can be read in this directory: path escapes from parent",
		"v/pipe ✕ pipe.md: it is no regular file",
		`v/real/b "B"`,
		"ignored real/up: it is a symbolic link to a directory, which is not followed",
		`v/z "Z"`,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// FuzzParse: whatever a file holds, it is a note that can be kept, or there is a problem that says where.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"---\ntitle: x\ntags: [a, b]\nrelations: {owns: [x, {to: y}]}\n---\n[[z]]", "---\na: &a [*a, *a]\n---\n", "---\n[[[[\n---\n", "---\n? {a: b}\n: c\n---\n",
		"---\nowns: [[x]]\n---\n", "---\n!!binary x\n---\n", "---\ntitle: !!int \"7\"\n---\n", "---\n\t\n---\n", "---\n<<: {title: x}\n---\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		note, problem := notes.Parse("a", "a.md", []byte(text))
		if problem != nil {
			if problem.Path != "a.md" || problem.Detail == "" || problem.Line < 0 || problem.Line > 2+strings.Count(text, "\n")+strings.Count(text, "\r") {
				t.Errorf("%q gives %+v", text, problem)
			}
			return
		}
		note.Text = events.Text{}
		command := sagas.KeepNotes{Meta: sagas.Meta{ID: "k", At: 1}, Write: []events.Note{note}}
		if _, err := sagas.NewKnowledge().Decide(command); err != nil {
			t.Errorf("the note in %q cannot be kept: %v", text, err)
		}
	})
}
