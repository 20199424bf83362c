package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
)

func TestReadFile(t *testing.T) {
	b := newBench(t)
	b.write("a.txt", "one\ntwo\nthree")
	b.write("empty", "")
	b.write("binary", "a\x00b")
	b.write("latin", "caf\xe9\n")
	b.write("wide", strings.Repeat("é", 3000)+"\nnext\n")
	b.write("long", strings.Repeat("line\n", 5000))
	b.works("read_file", args{"path": "a.txt"}, "one\ntwo\nthree")
	b.works("read_file", args{"path": filepath.Join(b.workspace, "a.txt")}, "one\ntwo\nthree")
	b.works("read_file", args{"path": "a.txt", "offset": 2, "limit": 1}, "two\n\n[lines 2 to 2 are shown; there are more: continue with offset=3]")
	b.works("read_file", args{"path": "a.txt", "offset": 3}, "three")
	b.works("read_file", args{"path": "empty"}, "[the file is empty]")
	b.works("read_file", args{"path": "latin"}, "caf\uFFFD\n\n[the file is not UTF-8, perhaps Latin-1: U+FFFD stands for other bytes, on line 1. "+
		"edit_file keeps them where old does not hold them; a text with U+FFFD does not replace the file]")
	b.works("read_file", args{"path": "wide"}, strings.Repeat("é", 1000)+"[… 4001 more bytes in this line]\nnext\n")
	b.fails("read_file", args{"path": "a.txt", "offset": 4}, "only 3 lines")
	b.fails("read_file", args{"path": "binary"}, "binary file of 3 bytes")
	b.fails("read_file", args{"path": "."}, "list_dir")
	b.fails("read_file", args{"path": "none"}, "none: no such file")
	if text, _ := b.run("read_file", args{"path": "long"}); !strings.HasSuffix(text, "[lines 1 to 2000 are shown; there are more: continue with offset=2001]") {
		t.Errorf("the long file ends %q", text[len(text)-200:])
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	b := newBench(t)
	if err := syscall.Mkfifo(filepath.Join(b.workspace, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", filepath.Join(b.workspace, "to-pipe")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"pipe", "to-pipe"} {
		b.fails("read_file", args{"path": path}, "named pipe")
		b.fails("write_file", args{"path": path, "content": "x"}, "named pipe")
		b.fails("edit_file", args{"path": path, "old": "x", "new": "y"}, "named pipe")
		b.fails("append_line", args{"path": path, "line": "x"}, "named pipe")
		b.fails("list_dir", args{"path": path}, "not a directory")
		b.fails("grep", args{"path": path, "pattern": "x"}, "named pipe")
	}
	b.works("grep", args{"pattern": "x"}, "[nothing matches]\n")
	b.works("list_dir", args{"path": ""}, "pipe (named pipe)\nto-pipe -> pipe\n")
}

func TestWriteFile(t *testing.T) {
	b := newBench(t)
	b.works("write_file", args{"path": "new/deep/a.txt", "content": "hello\n"}, "created new/deep/a.txt: 6 bytes")
	b.holds("new/deep/a.txt", "hello\n")
	script := filepath.Join(b.workspace, "run.sh")
	b.write("run.sh", "old")
	if err := errors.Join(os.Chmod(script, 0o751), os.Link(script, filepath.Join(b.workspace, "other")), os.Symlink("run.sh", filepath.Join(b.workspace, "link"))); err != nil {
		t.Fatal(err)
	}
	b.works("write_file", args{"path": "link", "content": ""}, "replaced run.sh: 0 bytes\n[the file had other names (hard links): 1; they keep the old content]")
	b.holds("run.sh", "")
	b.holds("other", "old") // a hard link keeps the old content
	if info, err := os.Lstat(script); err != nil || info.Mode() != 0o751 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	b.fails("write_file", args{"path": "new", "content": "x"}, "it is a directory")
	b.fails("write_file", args{"path": "run.sh/x", "content": "x"}, "not a directory")
	b.fails("write_file", args{"path": strings.Repeat("n", 300), "content": "x"}, "name too long")
	b.holds("run.sh", "")
}

func TestWriteRemovesWhatACrashLeft(t *testing.T) {
	b := newBench(t)
	b.write(".life-unfinished", "half")
	b.works("write_file", args{"path": "a", "content": "whole"}, "created a: 5 bytes")
	b.holds("a", "whole")
}

func TestLinksInARow(t *testing.T) {
	b := newBench(t)
	b.write("sub/real", "x")
	for name, to := range map[string]string{"one": "sub/two", "sub/two": "../sub/real", "loop": "loop", "inside": filepath.Join(b.workspace, "sub/real")} {
		if err := os.Symlink(to, filepath.Join(b.workspace, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.works("write_file", args{"path": "one", "content": "y"}, "replaced sub/real: 1 bytes")
	b.holds("sub/real", "y")
	b.fails("write_file", args{"path": "loop", "content": "y"}, "too many symbolic links")
	b.works("write_file", args{"path": "inside", "content": "z"}, "replaced sub/real: 1 bytes")
	b.works("read_file", args{"path": "inside"}, "z")
}

func TestEditFile(t *testing.T) {
	b := newBench(t)
	b.write("a.go", "one\ntwo\nthree two\nfour\n")
	b.works("edit_file", args{"path": "a.go", "old": "three two\nfour", "new": "3\n4"}, "a.go: replaced 1, on line 3")
	b.holds("a.go", "one\ntwo\n3\n4\n")
	b.fails("edit_file", args{"path": "a.go", "old": "three two\nfour", "new": "3\n4"}, "new is: the edit may have been made before")
	b.works("edit_file", args{"path": "a.go", "old": "3\n", "new": ""}, "a.go: replaced 1, on line 3")
	b.write("twice", "x = 1\ny\nx = 1\nx = 1")
	b.fails("edit_file", args{"path": "twice", "old": "x = 1", "new": "x = 2"}, "occurs 3 times, on lines 1, 3, 4", "set all")
	b.holds("twice", "x = 1\ny\nx = 1\nx = 1")
	b.works("edit_file", args{"path": "twice", "old": "x = 1", "new": "x = 2", "all": true}, "twice: replaced 3, on line 1, 3, 4")
	b.holds("twice", "x = 2\ny\nx = 2\nx = 2")
	b.write("dos", "a\r\nb\r\n")
	b.fails("edit_file", args{"path": "dos", "old": "  b", "new": "c"}, "white space around it")
	b.works("edit_file", args{"path": "dos", "old": "a\nb", "new": "b\nb2"}, "dos: replaced 1, on line 1")
	b.holds("dos", "b\r\nb2\r\n")
	b.fails("edit_file", args{"path": "dos", "old": "nowhere", "new": ""}, "read the file again")
	b.fails("edit_file", args{"path": "dos", "old": "b", "new": "b"}, "the same")
	b.fails("edit_file", args{"path": "none", "old": "b", "new": "c"}, "no such file")
	if err := os.Truncate(filepath.Join(b.workspace, "twice"), 51<<20); err != nil {
		t.Fatal(err)
	}
	b.fails("edit_file", args{"path": "twice", "old": "b", "new": "c"}, "the most that can be edited")
}

func TestEditsAtTheSameTimeAllCount(t *testing.T) {
	b := newBench(t)
	const edits = 20
	var content strings.Builder
	for i := range edits {
		fmt.Fprintf(&content, "<%d>\n", i)
	}
	b.write("a", content.String())
	var all sync.WaitGroup
	for i := range edits {
		all.Go(func() {
			b.works("edit_file", args{"path": "a", "old": fmt.Sprintf("<%d>", i), "new": "done"}, fmt.Sprintf("a: replaced 1, on line %d", i+1))
			b.run("append_line", args{"path": "log", "line": "x"})
		})
	}
	all.Wait()
	b.holds("a", strings.Repeat("done\n", edits))
	b.holds("log", strings.Repeat("x\n", edits))
}

func TestAppendLine(t *testing.T) {
	b := newBench(t)
	b.works("append_line", args{"path": "log", "line": "one"}, "appended a line to log")
	b.works("append_line", args{"path": "log", "line": ""}, "appended a line to log")
	b.holds("log", "one\n\n")
	b.write("open", "no end")
	b.works("append_line", args{"path": "open", "line": "é"}, "appended a line to open")
	b.holds("open", "no end\né\n")
	b.fails("append_line", args{"path": "log", "line": "a\nb"}, "line: it must be one line")
	if err := os.Link(filepath.Join(b.workspace, "log"), filepath.Join(b.workspace, "linked")); err != nil {
		t.Fatal(err)
	}
	b.fails("append_line", args{"path": "linked", "line": "x"}, "hard links")
	b.fails("append_line", args{"path": "no/such/dir", "line": "x"}, "no such file")
}

func TestGlobAndListDir(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"main.go", "cmd/life/main.go", "cmd/life/main_test.go", "docs/a.md", ".git/config", "odd\nname"} {
		b.write(name, "x")
	}
	if err := os.Symlink("..", filepath.Join(b.workspace, "docs/up")); err != nil {
		t.Fatal(err)
	}
	b.works("glob", args{"pattern": "**/*.go"}, "cmd/life/main.go\ncmd/life/main_test.go\nmain.go\n")
	b.works("glob", args{"pattern": "*.go"}, "main.go\n")
	b.works("glob", args{"pattern": "*/{life,a.md}"}, "cmd/life/\ndocs/a.md\n")
	b.works("glob", args{"pattern": "./life/*_test.go", "path": "cmd"}, "cmd/life/main_test.go\n")
	b.works("glob", args{"pattern": "config", "path": ".git"}, ".git/config\n")
	b.works("glob", args{"pattern": "nothing*"}, "[nothing matches]\n")
	b.fails("glob", args{"pattern": "[a"}, "pattern:", "not a valid pattern")
	b.fails("glob", args{"pattern": "../*"}, "pattern:", "stay below")
	b.fails("glob", args{"pattern": "*", "path": "nowhere"}, "no such file")
	b.works("list_dir", args{"path": "."}, ".git/\ncmd/\ndocs/\nmain.go (1 bytes)\n\"odd\\nname\" (1 bytes)\n")
	b.works("list_dir", args{"path": "docs"}, "a.md (1 bytes)\nup -> ..\n")
	b.fails("list_dir", args{"path": "main.go"}, "not a directory")
}

func TestGrep(t *testing.T) {
	b := newBench(t)
	b.write("a.go", "package a\nfunc One() {}\r\nfunc two() {}\n")
	b.write("sub/b.go", "// One\n")
	b.write("sub/c.md", "One é\xff\n")
	b.write("bin", "One\x00")
	b.write(".git/x", "One")
	b.works("grep", args{"pattern": "One"}, "a.go:2:func One() {}\nsub/b.go:1:// One\nsub/c.md:1:One é\uFFFD\n[1 files were skipped: binary, bigger than 10 MiB, not readable, or Life's own]\n[not UTF-8, so U+FFFD stands for other bytes: sub/c.md]\n")
	b.works("grep", args{"pattern": `^func \w+\(\) \{\}$`, "path": "a.go"}, "a.go:2:func One() {}\na.go:3:func two() {}\n")
	b.works("grep", args{"pattern": "(?i)one", "glob": "*.md", "path": "sub"}, "sub/c.md:1:One é\uFFFD\n[not UTF-8, so U+FFFD stands for other bytes: sub/c.md]\n")
	b.works("grep", args{"pattern": "One", "glob": "sub/*.go"}, "sub/b.go:1:// One\n")
	b.works("grep", args{"pattern": "(x|y)+Onez*", "glob": "*.go"}, "[nothing matches]\n")
	b.works("grep", args{"pattern": "\uFFFD", "glob": "*.md"}, "sub/c.md:1:One é\uFFFD\n[not UTF-8, so U+FFFD stands for other bytes: sub/c.md]\n")
	b.fails("grep", args{"pattern": "("}, "pattern:", "missing closing )")
	b.fails("grep", args{"pattern": "x", "glob": "["}, "glob:")
	b.write("many", strings.Repeat("hit\n", 600))
	if text, failed := b.run("grep", args{"pattern": "h.t", "path": "many"}); failed || strings.Count(text, "many:") != 500 || !strings.Contains(text, "[the first 500 matches are shown") {
		t.Errorf("many matches: %s", text[len(text)-200:])
	}
}

// TestGrepIsBounded: a pattern with too many states is refused, and a search that takes minutes ends when its call does.
func TestGrepIsBounded(t *testing.T) {
	b := newBench(t)
	b.write("long", strings.Repeat("a", 10<<20))
	b.fails("grep", args{"pattern": "(.?.?){500}b|(.?.?){500}c|(.?.?){500}d"}, "pattern:", "at most 4096 are allowed")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.tools["grep"].Run(ctx, actors.ToolUse{Workspace: b.workspace, Arguments: []byte(`{"pattern":"(.?.?){500}[bc]"}`)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a search that was given up gives %v", err)
	}
}

func TestFullDiskLeavesTheOldFile(t *testing.T) {
	b := newBench(t)
	b.write("a", "old")
	// The temporary file's name is taken by a directory that is not empty: to write fails before anything changed.
	b.write(".life-unfinished/x", "")
	b.fails("write_file", args{"path": "a", "content": "new"}, "directory not empty")
	content, err := os.ReadFile(filepath.Join(b.workspace, "a"))
	if err != nil || string(content) != "old" {
		t.Errorf("a holds %q, %v", content, err)
	}
}

func FuzzArguments(f *testing.F) {
	f.Add([]byte(`{"path":"a","content":"b"}`))
	f.Add([]byte(`{"path":"../../x","old":"a","new":"b","all":true}`))
	f.Add([]byte(`{"pattern":"**/[","path":"\u0000","glob":"{a,b"}`))
	f.Add([]byte(`{"path":"a","offset":1e300,"limit":-0.5}`))
	f.Add([]byte(`[[[`))
	f.Add([]byte(``))
	tools := newTools(f, nopBlobs{})
	delete(tools, "bash") // its command lines are not for a fuzzer; its form is the others'
	f.Fuzz(func(t *testing.T, arguments []byte) {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "w"), 0o755), os.WriteFile(filepath.Join(dir, "w/a"), []byte("a\nb"), 0o644),
			os.Symlink("..", filepath.Join(dir, "w/up"))); err != nil {
			t.Fatal(err)
		}
		for name, tool := range tools {
			result, err := tool.Run(t.Context(), actors.ToolUse{Workspace: filepath.Join(dir, "w"), Arguments: json.RawMessage(arguments)})
			if err != nil || len(result.Text) > 32<<10 {
				t.Errorf("%s %q: %d bytes, %v", name, arguments, len(result.Text), err)
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%q left %v, %v outside the workspace", arguments, entries, err)
		}
	})
}

// nopBlobs is for tools that store nothing.
type nopBlobs struct{ storage.Blobs }
