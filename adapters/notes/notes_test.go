package notes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		"only comments":             {"---\n# nothing\n---\nx", events.Note{Title: "shield", Text: events.Text{Inline: "x"}}},
		"ended by dots":             {"---\ntitle: T\n...\nx", events.Note{Title: "T", Text: events.Text{Inline: "x"}}},
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
		`a.md:1: the front matter is larger`:                "---\n" + strings.Repeat("# comment\n", 7000),
		`a.md:2: the front matter is no YAML: did not find`: "---\ntitle: x\ntags: [a\n---\n",
		`a.md:2: the front matter is no mapping`:            "---\n- a\n---\n",
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
		`a.md: note a has a title of 600 bytes`:             "# " + strings.Repeat("x", 600),
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

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.md": "# B", "a/c.markdown": "# C", "a/.hidden.md": "x", ".obsidian/x.md": "x", "a/picture.png": "x", "bad#name.md": "x", "UPPER.MD": "u",
	} {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	big, err := os.Create(filepath.Join(dir, "big.md"))
	if err := errors.Join(err, big.Truncate(5<<20), big.Close(), os.Symlink("/etc", filepath.Join(dir, "etc")), os.Symlink("/etc/hostname", filepath.Join(dir, "h.md"))); err != nil {
		t.Fatal(err)
	}
	var got []string
	read := func(ctx context.Context) error {
		return notes.Read(ctx, notes.Config{Dir: dir, Collection: "vault", Prefix: "v/"}, func(n events.Note, p *notes.Problem) error {
			if p != nil {
				got = append(got, fmt.Sprintf("%s ✕ %s", n.ID, p))
				return nil
			}
			got = append(got, fmt.Sprintf("%s %s %s:%s", n.ID, n.Title, n.Source.Collection, n.Source.Path))
			return nil
		})
	}
	if err := read(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"v/UPPER UPPER vault:UPPER.MD", "v/a/c C vault:a/c.markdown", "v/b B vault:b.md",
		`v/bad#name ✕ bad#name.md: its name cannot be that of a note: invalid id: note name "v/bad#name" has one of [ ] | #, which links are written with`,
		"v/big ✕ big.md: it is larger than 4194304 bytes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := read(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v", err)
	}
	if err := notes.Read(t.Context(), notes.Config{Dir: filepath.Join(dir, "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there gives %v", err)
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
