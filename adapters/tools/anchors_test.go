package tools_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/life/actors"
	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
)

// anchored runs a tool for an agent that edits by anchors.
func (b bench) anchored(agent, tool string, a args) (string, bool) {
	b.Helper()
	encoded, err := json.Marshal(a)
	if err != nil {
		b.Fatal(err)
	}
	result, err := b.tools[tool].Run(b.Context(), actors.ToolUse{Workspace: b.workspace, Arguments: encoded, Editor: events.EditByAnchors, Agent: events.AgentID(agent)})
	if err != nil {
		b.Fatalf("%s %s: %v", tool, encoded, err)
	}
	return result.Text, result.Failed
}

// does expects success and each of these in the result.
func (b bench) does(tool string, a args, want ...string) string {
	b.Helper()
	text, failed := b.anchored("a", tool, a)
	for _, part := range want {
		if failed || !strings.Contains(text, part) {
			b.Errorf("%s %.300v gives (failed %v)\n%s\nwant %q", tool, a, failed, text, part)
		}
	}
	return text
}

// refuses expects a failure with each of these.
func (b bench) refuses(tool string, a args, want ...string) string {
	b.Helper()
	text, failed := b.anchored("a", tool, a)
	for _, part := range want {
		if !failed || !strings.Contains(text, part) {
			b.Errorf("%s %.300v gives (failed %v)\n%s\nwant a failure that says %q", tool, a, failed, text, part)
		}
	}
	return text
}

// at is the anchor of a line with this content.
func at(number int, text string) string {
	return fmt.Sprintf("%d:%s", number, hashline.Tag([]byte(text)))
}

type edits []map[string]any

func TestReadWithAnchors(t *testing.T) {
	b := newBench(t)
	b.write("a.go", "one\ntwo\nthree")
	b.write("dos", "\xef\xbb\xbfa\r\nb\r\n")
	b.write("mixed", "a\r\nb\n")
	b.write("empty", "")
	b.write("latin", "caf\xe9\n")
	b.write("wide", strings.Repeat("é", 3000)+"\n")
	b.write("bin", "a\x00")
	b.write("utf16", "\xff\xfea\x00\n\x00b\x00\n\x00")
	b.write("long", strings.Repeat("line\n", 5000))
	tag := func(content string) string { return hashline.DigestOf([]byte(content)).Tag() }
	b.does("read_file", args{"path": "a.go"}, "[a.go#"+tag("one\ntwo\nthree")+" L1-3/3 utf8 lf no-eol]\n"+at(1, "one")+"|one\n"+at(2, "two")+"|two\n"+at(3, "three")+"|three\n(end)\n")
	b.does("read_file", args{"path": "a.go", "offset": 2, "limit": 1}, " L2-2/3 ", at(2, "two")+"|two\n… 1 more lines, next offset=3\n")
	b.does("read_file", args{"path": "dos"}, " L1-2/2 utf8 crlf bom]\n"+at(1, "a")+"|a\n")
	b.does("read_file", args{"path": "mixed"}, "utf8 mixed]")
	b.does("read_file", args{"path": "empty"}, "[the file is empty]")
	b.does("read_file", args{"path": "latin"}, "bytes lf]", at(1, "caf\xe9")+"|caf\uFFFD\n")
	b.does("read_file", args{"path": "wide"}, at(1, strings.Repeat("é", 3000))+"~|", "…[+1000 chars]\n")
	b.does("read_file", args{"path": "utf16"}, "UTF-16LE lf bom]", at(2, "b")+"|b\n")
	b.does("read_file", args{"path": "long"}, "next offset=")
	b.refuses("read_file", args{"path": "bin"}, "binary file")
	b.refuses("read_file", args{"path": "a.go", "offset": 4}, "only 3 lines")
	b.refuses("read_file", args{"path": "none"}, "no such file")
}

func TestEditByAnchors(t *testing.T) {
	b := newBench(t)
	b.write("a.go", "one\r\ntwo\r\nthree\r\nfour")
	b.does("read_file", args{"path": "a.go"})
	b.does("edit_file", args{"path": "a.go", "edits": edits{
		{"op": "replace", "at": at(2, "two"), "text": "2\n2b\n"}, {"op": "delete", "at": at(3, "three")}, {"op": "append", "text": []string{"five"}},
	}}, "a.go edited: 3 edits, now #"+hashline.DigestOf([]byte("one\r\n2\r\n2b\r\nfour\r\nfive")).Tag(), ">"+at(2, "2")+"|2\n", ">"+at(5, "five")+"|five\n", " "+at(1, "one")+"|one\n")
	b.holds("a.go", "one\r\n2\r\n2b\r\nfour\r\nfive")
	// The result's anchors hold without another look.
	b.does("edit_file", args{"path": "a.go", "edits": edits{{"op": "insert_before", "at": at(1, "one"), "text": "zero"}}, "dry_run": true}, "would be edited")
	b.holds("a.go", "one\r\n2\r\n2b\r\nfour\r\nfive")
	b.does("edit_file", args{"path": "a.go", "edits": edits{{"op": "insert_before", "at": at(1, "one"), "text": "zero"}}})
	b.holds("a.go", "zero\r\none\r\n2\r\n2b\r\nfour\r\nfive")

	// Somebody else changes the file: what has moved is found, what has changed is not.
	b.write("a.go", "new\r\nzero\r\none\r\n2\r\n2b\r\nFOUR\r\nfive")
	b.does("edit_file", args{"path": "a.go", "edits": edits{{"op": "replace", "at": at(3, "2"), "text": "two"}}}, "relocated: 3→4")
	b.write("a.go", "new\r\nzero\r\none\r\ntwo\r\n2b\r\nfour!\r\nfive")
	text := b.refuses("edit_file", args{"path": "a.go", "edits": edits{{"op": "replace", "at": at(6, "FOUR"), "text": "4"}, {"op": "delete", "at": at(2, "zero")}}},
		"edit_conflict: a.go was not changed", "edits[0] at "+at(6, "FOUR")+": changed", ">"+at(6, "four!")+"|four!")
	if strings.Contains(text, "edits[1]") {
		t.Errorf("%s", text)
	}
	// The anchors of the conflict hold.
	b.does("edit_file", args{"path": "a.go", "edits": edits{{"op": "replace", "at": at(6, "four!"), "text": "4"}}})
	b.holds("a.go", "new\r\nzero\r\none\r\ntwo\r\n2b\r\n4\r\nfive")
}

func TestWhatEditByAnchorsRefuses(t *testing.T) {
	b := newBench(t)
	content := strings.Repeat("line\n", 50)
	b.write("a", content)
	b.write("latin", "caf\xe9\n")
	tag := hashline.DigestOf([]byte(content)).Tag()
	one := edits{{"op": "replace", "at": at(1, "line"), "text": "x"}}
	b.refuses("edit_file", args{"path": "a", "edits": one}, "unknown_version", ">"+at(1, "line"))
	b.does("read_file", args{"path": "a", "limit": 5})
	b.refuses("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": at(30, "line"), "text": "x"}}}, "unseen_line", ">"+at(30, "line"))
	b.does("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": at(30, "line"), "text": "x"}}, "dry_run": true}) // the conflict showed it
	b.refuses("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": "1:0000", "text": "x"}}}, "changed")
	b.refuses("edit_file", args{"path": "a", "file_tag": "00000000", "edits": one}, "unknown_version")
	if text, failed := b.anchored("another", "edit_file", args{"path": "a", "file_tag": tag, "edits": one, "dry_run": true}); failed { // after a restart nothing is remembered
		t.Error(text)
	}
	b.refuses("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": "line 1", "text": "x"}, {"op": "swap"}, {"op": "append", "at": "1:0000", "text": "x"}}},
		"edits[0].at: must be a line's number and tag", "edits[1].op: must be one of", "edits[2].at: append takes no anchor")
	b.refuses("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": at(1, "line"), "text": at(1, "line") + "|x"}}}, "anchor_in_text")
	b.refuses("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": at(1, "line"), "text": "line"}}}, "no_change")
	b.refuses("edit_file", args{"path": "none", "edits": one}, "no such file")
	b.refuses("edit_file", args{"path": ".env", "edits": one}, "file policy")
	b.does("read_file", args{"path": "latin"})
	b.refuses("edit_file", args{"path": "latin", "edits": edits{{"op": "append", "text": "é"}}}, "edits[0].text: latin is not UTF-8")
	b.does("edit_file", args{"path": "latin", "edits": edits{{"op": "append", "text": "e"}}})
	b.holds("latin", "caf\xe9\ne\n")
	b.holds("a", content)
}

// TestConcurrentEditsLinearise: two agents make 500 edits each of one file, each of its own line; none is lost, and none is made twice.
func TestConcurrentEditsLinearise(t *testing.T) {
	const edited = 500
	b := newBench(t)
	var content strings.Builder
	for i := range 2 * edited {
		fmt.Fprintf(&content, "line %d\n", i)
	}
	b.write("a", content.String())
	var all sync.WaitGroup
	for agent := range 2 {
		name := fmt.Sprint("agent", agent)
		all.Go(func() {
			for line := 1; line <= 2*edited; line += 900 { // what is read is not all that is there
				b.anchored(name, "read_file", args{"path": "a", "offset": line, "limit": 900})
			}
			for i := range edited {
				n := 2*i + agent
				old, text := fmt.Sprintf("line %d", n), fmt.Sprintf("edited %d by %s", n, name)
				for anchor := at(n+1, old); ; { // until the other one is not quicker
					said, failed := b.anchored(name, "edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": anchor, "text": text}}})
					if !failed {
						break
					}
					found := regexp.MustCompile(fmt.Sprintf(`>%d:[0-9a-f]{4}\|line %d\n`, n+1, n)).FindString(said)
					if found == "" {
						t.Errorf("%d: %s", n, said)
						return
					}
					anchor = strings.TrimPrefix(strings.Split(found, "|")[0], ">")
				}
			}
		})
	}
	all.Wait()
	got, err := os.ReadFile(filepath.Join(b.workspace, "a"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	if len(lines) != 2*edited {
		t.Fatalf("%d lines", len(lines))
	}
	lost := 0
	for i, line := range lines {
		if line != fmt.Sprintf("edited %d by agent%d", i, i%2) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d edits are lost", lost)
	}
}

func TestDeleteAndMove(t *testing.T) {
	b := newBench(t)
	b.write("a", "x")
	b.write("b", "y")
	b.write(".env", "KEY")
	b.write("dir/c", "z")
	if err := errors.Join(os.Symlink("b", filepath.Join(b.workspace, "link")), os.Symlink(".env", filepath.Join(b.workspace, "secret")), os.Symlink("/etc", filepath.Join(b.workspace, "out"))); err != nil {
		t.Fatal(err)
	}
	b.works("delete_file", args{"path": "link"}, "deleted link")
	b.holds("b", "y")
	b.fails("delete_file", args{"path": "dir"}, "it is a directory")
	b.fails("delete_file", args{"path": "."}, "it is a directory")
	b.fails("delete_file", args{"path": "none"}, "no such file")
	b.fails("delete_file", args{"path": ".env"}, "file policy")
	b.fails("delete_file", args{"path": "out/passwd"}, "out of the workspace")
	b.fails("move_file", args{"from": "a", "to": "b"}, "there is a file already")
	b.fails("move_file", args{"from": "a", "to": "dir"}, "give the file's new name too")
	b.fails("move_file", args{"from": "a", "to": ".git/hooks/post-commit"}, "file policy")
	b.fails("move_file", args{"from": ".env", "to": "env"}, "file policy")
	b.fails("move_file", args{"from": "a", "to": "../a"}, "out of the workspace")
	b.fails("move_file", args{"from": "a", "to": "out/a"}, "out of the workspace")
	b.works("move_file", args{"from": "a", "to": "new/deep/a"}, "moved a to new/deep/a")
	b.holds("new/deep/a", "x")
	b.works("move_file", args{"from": "new/deep/a", "to": "b", "replace": true}, "moved new/deep/a to b")
	b.holds("b", "x")
	b.works("delete_file", args{"path": "dir/c"}, "deleted dir/c")
}

// TestMatchesHaveAnchors: what a search shows can be edited, and no other line.
func TestMatchesHaveAnchors(t *testing.T) {
	b := newBench(t)
	b.write("a", "\xef\xbb\xbfone\r\nfind me\r\nthree\r\n")
	b.write("cr", "one\rfind me\r")
	long := strings.Repeat("x", 900) + "find me"
	b.write("long", "1\n"+long+"\n")
	b.write("z", strings.Repeat("find me\n", 600))
	text := b.does("grep", args{"pattern": "find m."}, "a:"+at(2, "find me")+"|find me\n", "cr:2:find me\n", "long:"+at(2, long)+"~|[… ", "matches without an anchor: 1")
	last := strings.Count(text, "\nz:")
	b.does("edit_file", args{"path": "a", "edits": edits{{"op": "replace", "at": at(2, "find me"), "text": "found"}}}, "a edited")
	b.holds("a", "\xef\xbb\xbfone\r\nfound\r\nthree\r\n")
	b.does("edit_file", args{"path": "long", "edits": edits{{"op": "replace", "at": at(2, long), "text": "found"}}}, "long edited")
	b.refuses("edit_file", args{"path": "z", "edits": edits{{"op": "replace", "at": at(last+1, "find me"), "text": "x"}}}, "unseen_line") // it was not shown any more
	b.does("edit_file", args{"path": "z", "edits": edits{{"op": "replace", "at": at(last, "find me"), "text": "x"}}, "dry_run": true})
	if plain, failed := b.run("grep", args{"pattern": "found", "path": "a"}); failed || !strings.Contains(plain, "a:2:found") {
		t.Error(plain)
	}
	for i := range 40 {
		b.write(fmt.Sprintf("many/%02d", i), "find me\n")
	}
	b.does("grep", args{"pattern": "find m.", "path": "many"}, "many/31:"+at(1, "find me")+"|", "many/32:1:find me\n", "matches without an anchor: 8")
	b.refuses("edit_file", args{"path": "many/32", "edits": edits{{"op": "delete", "at": at(1, "find me")}}}, "unknown_version")
}

// TestWritesOfAnExpectedVersion: a write, deletion or move that names a version is made of that version alone, and of a write that was made before nothing is
// left to do.
func TestWritesOfAnExpectedVersion(t *testing.T) {
	b := newBench(t)
	tag := func(content string) string { return hashline.DigestOf([]byte(content)).Tag() }
	b.does("write_file", args{"path": "a", "content": "one\n", "file_tag": "none"}, "created a: 4 bytes, now #"+tag("one\n"))
	b.does("write_file", args{"path": "a", "content": "one\n", "file_tag": "none"}, "a holds this already")
	b.refuses("write_file", args{"path": "a", "content": "two\n", "file_tag": "none"}, "stale_file: a is there already (#"+tag("one\n")+")")
	b.does("write_file", args{"path": "a", "content": "two\n", "file_tag": "#" + tag("one\n")}, "replaced a: 4 bytes, now #"+tag("two\n"))
	b.does("write_file", args{"path": "a", "content": "two\n", "file_tag": tag("one\n")}, "a holds this already")
	b.refuses("write_file", args{"path": "a", "content": "three\n", "file_tag": tag("one\n")}, "stale_file: a is #"+tag("two\n")+" now, not #"+tag("one\n"))
	b.refuses("write_file", args{"path": "a", "content": "three\n", "file_tag": "1:ab41"}, "file_tag: must be the eight digits")
	b.refuses("write_file", args{"path": "b", "content": "three\n", "file_tag": tag("one\n")}, "stale_file: b is not there any more")
	b.holds("a", "two\n")
	b.write("bin", "a\x00b") // a binary file has a version too
	b.does("write_file", args{"path": "bin", "content": "text\n", "file_tag": strings.ToUpper(tag("a\x00b"))}, "replaced bin")
	b.write("dos", "a\r\n") // what is compared is what would be stored
	b.does("write_file", args{"path": "dos", "content": "b\n", "file_tag": tag("a\r\n")}, "replaced dos", "\\r\\n, as before")
	b.does("write_file", args{"path": "dos", "content": "b\n", "file_tag": tag("a\r\n")}, "dos holds this already")
	b.holds("dos", "b\r\n")

	b.refuses("move_file", args{"from": "a", "to": "c", "file_tag": tag("one\n")}, "stale_file")
	b.does("move_file", args{"from": "a", "to": "c", "file_tag": tag("two\n")}, "moved a to c")
	b.refuses("delete_file", args{"path": "c", "file_tag": tag("one\n")}, "stale_file")
	if err := os.Symlink("c", filepath.Join(b.workspace, "link")); err != nil {
		t.Fatal(err)
	}
	b.refuses("delete_file", args{"path": "link", "file_tag": tag("two\n")}, "symbolic link")
	b.holds("c", "two\n")
	b.does("delete_file", args{"path": "c", "file_tag": tag("two\n")}, "deleted c")
}

// TestOneWriterOfAVersionWins: of many who write over one version each time, one does.
func TestOneWriterOfAVersionWins(t *testing.T) {
	b := newBench(t)
	b.write("a", "start")
	tag := hashline.DigestOf([]byte("start")).Tag()
	var all sync.WaitGroup
	var won atomic.Int32
	for i := range 20 {
		all.Go(func() {
			said, failed := b.anchored("a", "write_file", args{"path": "a", "content": fmt.Sprint("by ", i), "file_tag": tag})
			switch {
			case !failed:
				won.Add(1)
			case !strings.Contains(said, "stale_file"):
				t.Error(said)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers won", won.Load())
	}
}

// BenchmarkLargeFiles measures the tools on a file of 100,000 lines: a look at 200 of them, a batch of 100 edits with its fsync, and such a batch after 1,000 other
// lines have changed since they were shown. Goals: 15, 60 and 60 + 150 ms.
func BenchmarkLargeFiles(b *testing.B) {
	var content, changed bytes.Buffer
	line := func(i int) string {
		return fmt.Sprintf("%d this is one line of a large file, as there are many in it, so long", i)
	}
	changed.WriteString("new\n")
	for i := range 100_000 {
		fmt.Fprintln(&content, line(i))
		if i%90 == 45 && i/90 < 1000 {
			fmt.Fprintln(&changed, "changed")
			continue
		}
		fmt.Fprintln(&changed, line(i))
	}
	var batch edits
	for i := range 100 {
		batch = append(batch, map[string]any{"op": "replace", "at": at(1+i*990, line(i*990)), "text": "edited"})
	}
	tag := hashline.DigestOf(content.Bytes()).Tag()
	for name, after := range map[string]string{"look": "", "batch": content.String(), "relocated": changed.String()} {
		b.Run(name, func(b *testing.B) {
			t := newBench(b)
			t.write("a", content.String())
			look := func(offset int) { t.does("read_file", args{"path": "a", "offset": offset, "limit": 200}) }
			for i := range 100 {
				look(1 + i*990)
			}
			for b.Loop() {
				if after == "" {
					look(50_000)
					continue
				}
				b.StopTimer()
				t.write("a", after)
				b.StartTimer()
				t.does("edit_file", args{"path": "a", "file_tag": tag, "edits": batch}, "100 edits")
			}
		})
	}
}
