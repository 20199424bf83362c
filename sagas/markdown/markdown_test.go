package markdown_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// said is what is found in a text, in one line each.
func said(text string) string {
	found := markdown.Read(text)
	var out []string
	if found.Title != "" {
		out = append(out, "title "+found.Title)
	}
	for _, l := range found.Links {
		line := l.Target
		if l.Relation != "" {
			line = l.Relation + ":: " + line
		}
		if l.Heading != "" {
			line += "#" + l.Heading
		}
		if l.Label != "" {
			line += "|" + l.Label
		}
		out = append(out, line)
	}
	for _, tag := range found.Tags {
		out = append(out, "#"+tag)
	}
	return strings.Join(out, "; ")
}

func TestRead(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"links", "[[a]] and [[b|see b]], [[c#Part|x]] ![[d]] [[a]]", "a; b|see b; c#Part|x; embeds:: d"},
		{"relations", "supports:: [[a]], [[b]] and [[c]]\n- *part_of*:: [[d]] ![[e]]", "supports:: a; supports:: b; c; part_of:: d; part_of:: e"},
		{"relations in brackets", "[about:: [[a]]] (see:: [[b]])\n**owns**:: [[c]]", "about:: a; see:: b; owns:: c"},
		{"a relation ends with its line", "supports:: [[a]],\n[[b]]", "supports:: a; b"},
		{"not links", "[[]] [[|x]] [[#part]] [[#^block]] [[^block]] [[a [[b]] ]] [[open\n]] [a](b) [[1,2],[3,4]]", "b"},
		{"three brackets", "[[[a]]]", "a"},
		{"within a table", "| x | y |\n|---|---|\n| [[a\\|the a]] | ![[p.png\\|300]] |", "a|the a; embeds:: p.png|300"},
		{"block references", "[[a#^1f2c]] ![[b#^9]] ((5f1c)) {{embed [[c]]}} {{embed ((5f1c))}}", "a#^1f2c; embeds:: b#^9; embeds:: c"},
		{"code", "`[[a]]` ``[[`b]]`` `[[c]] [[d]]`\n\n```\n[[e]]\n```\n~~~md\n[[f]]\n```\n~~~\n\n    [[g]]\n\n[[h]]", "h"},
		{"code over two lines", "`a\n[[b]]` [[c]]", "c"},
		{"a backquote that ends nothing", "`[[a]]", "a"},
		{"code in a quotation", "> ```sh\n> if [[ -f x ]]; then\n> ```\n> [[a]]\n>\n>     [[b]]", "a"},
		{"code in a list", "- x\n\n  ```\n  [[a]]\n  ```\n\n      [[b]]\n\n  [[c]]\n\t- [[d]]\n\t\t- [[e]]", "c; d; e"},
		{"code in HTML", "<code>[[a]]</code> <pre>[[b]]</pre> [[c]]\n\n<pre>\n[[d]]\n\n[[e]]\n</pre>\n[[f]]", "c; f"},
		{"elements of HTML", "<div class=\"[[x]]\">\n[[a]]\n</div>\n\n<details><summary>s</summary>\n\n[[b]]\n</details>", "a; b"},
		{"an element that is not closed", "<code>[[a]]\n\n[[b]]", "b"},
		{"comments of HTML", "<!-- [[a]] -->\n<!--\n[[b]]\n\n[[c]]\n--> [[d]]\nx <!-- [[e]] --> [[f]]\ny <!--\n[[g]] --> [[h]]", "d; f; h"},
		{"comments with percent signs", "%%[[a]]%%\n%%\n[[b]]\n\n- [[c]]\n%%\n[[d]] %%[[e]]%% [[f]] 100%% [[g]]", "d; f; g"},
		{"comments in a quotation", "> %%\n> [[a]]\n> %% [[b]]\n\n- <!-- [[c]] --> [[d]]", "b; d"},
		{"a comment that does not end", "%% [[a]]\n\n<!-- [[b]]", "a; b"},
		{"no comment begins in code", "```mermaid\n%% [[a]]\n<!-- x\n```\n[[b]]\n\n`%%` [[c]] `%%` `<!--` [[d]]", "b; c; d"},
		{"escaped", `\[[a]] \\[[b]] [\[c]]` + " \\#d `\\` #e", "b; #e"},
		{"formulas", "$$[[1]]$$ $[[2]]$\n$$\n[[3]]\n\n$$\n[[a]] costs $5 and [[b]] $6, $x$ [[c]]", "a; b; c"},
		{"titles", "text\n## Two\n# One `#` #\n# Three", "title One `#`"},
		{"an underlined title", "The\ntitle\n===\nx", "title The title"},
		{"no title in code", "```sh\n# install\n```\n\n# Title", "title Title"},
		{"tags", "I met #person/alice about #project-x, (#über) #日本語 #y2026. #a/", "#person/alice; #project-x; #über; #日本語; #y2026; #a"},
		{"not tags", "#1 #2026 a#b https://x.org/#c [d](#e) ##f &#103; `#h` # i <!-- #j --> C# #- #\n\n# Title #k\n\n<a href=\"#l\">m</a> [[n#o]] \\#p", "title Title #k; n#o"},
		{"tags in brackets", "#[[two words]]\ntags:: [[a]], #b", "tag:: two words; #two words; #a; #b"},
		{"names are no links", "alias:: [[a]]\ntitle:: [[b]]\n\n[[c]]", "c"},
		{"callouts and footnotes", "> [!note] See [[a]]\n\nx[^1]\n\n[^1]: [[b]]", "a; b"},
	} {
		if got := said(test.text); got != test.want {
			t.Errorf("%s: %q\n\tgives %s\n\twant  %s", test.name, test.text, got, test.want)
		}
	}
}

func TestProperties(t *testing.T) {
	got := markdown.Read("\ntitle:: A page\nalias:: one, [[two]]\npublic::\n\nnot:: this\n").Properties
	want := []markdown.Property{{Name: "title", Value: "A page"}, {Name: "alias", Value: "one, [[two]]"}, {Name: "public"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, none := range []string{"std::vector is a list\n[[a]]:: b", "- a:: b", "text\na:: b"} {
		if got := markdown.Read(none).Properties; len(got) > 1 || len(got) == 1 && got[0].Name != "std" && got[0].Name != "- a" {
			t.Errorf("%q has the properties %v", none, got)
		}
	}
}

// hostile are texts that are long in one respect.
func hostile(size int) map[string]string {
	all := map[string]string{"runs": ""}
	for _, part := range []string{
		">", "> ", "- ", "1. ", "[[", "]]", "[[a]]", "`", "`a", "%%", "%%a", "$$", "$a ", "<!--", "<a ", "<a b=\"", "#a ", "\\", "\n>", "\n- ", "\na\n", "\n%%", "\n$$", "\n<!--", "\n<pre",
		"*", "a\n===\n", "|", "::[[a]]", "<code>", "<!-- -->", "%%%%", "\t", "\n    ", "(((", "![[", "```\n", "- - - a\n",
	} {
		all[part] = strings.Repeat(part, size/len(part))
	}
	var runs strings.Builder
	for n := 1; runs.Len() < size; n++ {
		runs.WriteString(strings.Repeat("`", n) + " ")
	}
	all["runs"] = runs.String()
	var deep strings.Builder
	for n := 0; deep.Len() < size; n++ {
		deep.WriteString(strings.Repeat("  ", n) + "- a\n")
	}
	all["deep list"] = deep.String()
	return all
}

// BenchmarkHostile shows that reading takes time in proportion to a text's length, whatever the text repeats.
func BenchmarkHostile(b *testing.B) {
	for name, text := range hostile(markdown.MaxRead) {
		b.Run(fmt.Sprintf("%q", name), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				markdown.Read(text)
			}
		})
	}
}

// FuzzRead: whatever a text is, what is found can be recorded, and nothing is found twice.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"[[a]] ![[b|c]] x:: [[d#e|f]], [[g]]", "```\n[[no]]\n```\n[[yes]]", "`[[no]]` ``[[`no]]`` `[[yes]]", "[[a [[b]] ]]", "[[]] [[|x]] [[#y]] [[\xff]]",
		"-supports:: [[a]]\n* Über-Art:: [[b]]", "~~~\n[[a]]\n~~~~\n[[b]]", "%%\n> a\n%% [[b]]", "> <!--\n> -->\n#[[a]] #b/c", "- $$\n\t$$\n- <pre\n</PRE>[[x]]",
		"alias:: a\ntags:: [[b]]", ">>>>%%%%%%%%- $$$$ [[a]]", "\t- a\n\t\t%%\n\t\t%%b",
	} {
		f.Add(seed)
	}
	for _, text := range hostile(1 << 12) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := markdown.Read(text)
		for i, link := range found.Links {
			if slices.Contains(found.Links[:i], link) {
				t.Errorf("%+v is found twice", link)
			}
			if !utf8.ValidString(link.Target) || !strings.Contains(text, "]]") {
				t.Errorf("%+v is found in %q", link, text)
			}
		}
		note := events.Note{ID: "n", Title: "N", Links: found.Links, Tags: found.Tags}
		c := sagas.KeepNotes{Meta: sagas.Meta{ID: "k1", At: 1}, Write: []events.Note{note}}
		if _, err := sagas.NewKnowledge().Decide(c); err != nil {
			t.Errorf("what is found in %q cannot be recorded: %v", text, err)
		}
	})
}

func ExampleRead() {
	found := markdown.Read("# Heat shield\nIt burns away during [[re-entry]]. #safety\n\nsupports:: [[capsule|the capsule]]\n")
	fmt.Println(found.Title, len(found.Links), found.Links[1].Relation, found.Tags)
	// Output: Heat shield 2 supports [safety]
}
