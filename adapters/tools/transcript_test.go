package tools_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/datadir"
	"example.com/life/adapters/ignore"
	"example.com/life/adapters/tools"
	"example.com/life/events"
)

// TestTranscripts runs testdata/*.txt: what the file tools make of files as people, editors and other systems leave them. After an intended change run
// go test ./adapters/tools -run TestTranscripts -rewrite and read the difference.
//
//	workspace [behind-a-link|holds-data|in-data|is-data]   begins anew: an empty workspace, which WS stands for; REAL is the same without links, OUT the directory around it
//	put NAME     a file; its content is the input, as a Go string, and so may NAME be; "x3" after it: repeated
//	link NAME TO, hardlink NAME TO
//	a tool's name   calls it; the input is its arguments, without the outermost braces
//	editor NAME  how files are edited from here on
//	bytes NAME   what a file holds
//	tree         every file
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			var s transcript
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				s.t = t
				text := s.run(d)
				return strings.NewReplacer(s.workspace, "WS", s.real, "REAL", s.out, "OUT").Replace(text)
			})
		})
	}
}

type transcript struct {
	t                    *testing.T
	tools                map[string]actors.Tool
	editor               events.Editor
	out, real, workspace string
}

func (s *transcript) run(d *datadriven.TestData) string {
	var given []string
	for _, arg := range d.CmdArgs {
		given = append(given, s.unquoted(arg.String()))
	}
	if d.Cmd != "workspace" && s.tools == nil {
		s.begin("")
	}
	switch d.Cmd {
	case "workspace":
		s.begin(strings.Join(given, ""))
		return ""
	case "put":
		content := s.unquoted(d.Input)
		if len(given) > 1 {
			times, err := strconv.Atoi(strings.TrimPrefix(given[1], "x"))
			s.must(err)
			content = strings.Repeat(content, times)
		}
		path := filepath.Join(s.real, given[0])
		s.must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)))
		return ""
	case "link", "hardlink":
		path := filepath.Join(s.real, given[0])
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		if d.Cmd == "link" {
			s.must(os.Symlink(s.paths(given[1]), path))
		} else {
			s.must(os.Link(s.paths(given[1]), path))
		}
		return ""
	case "editor":
		s.editor = events.Editor(given[0])
		return ""
	case "bytes":
		content, err := os.ReadFile(filepath.Join(s.real, given[0]))
		s.must(err)
		return fmt.Sprintf("%+q\n", content)
	case "tree":
		return s.tree()
	}
	return s.call(d)
}

func (s *transcript) call(d *datadriven.TestData) string {
	tool := s.tools[d.Cmd]
	if tool == nil {
		d.Fatalf(s.t, "there is no command %s", d.Cmd)
	}
	arguments := json.RawMessage(s.paths("{" + d.Input + "}"))
	result, err := tool.Run(s.t.Context(), actors.ToolUse{Workspace: s.workspace, Arguments: arguments, Editor: s.editor})
	s.must(err)
	text := strings.TrimSuffix(strings.NewReplacer("\n\n", "\n¶\n", "\r", "␍").Replace(result.Text), "\n") + "\n"
	if result.Failed {
		return "failed: " + text
	}
	return text
}

// begin makes a workspace of a kind.
func (s *transcript) begin(kind string) {
	s.out = s.t.TempDir()
	data := filepath.Join(s.out, "data")
	s.real = filepath.Join(s.out, "real")
	switch kind {
	case "holds-data":
		data = filepath.Join(s.real, "data")
	case "in-data":
		s.real = filepath.Join(data, "blobs")
	case "is-data":
		s.real = data
	case "fork":
		s.real = filepath.Join(data, "forks/a/workspace")
	}
	s.workspace = s.real
	for _, dir := range []string{"store", "blobs/ab", "forks"} {
		s.must(os.MkdirAll(filepath.Join(data, dir), 0o755))
	}
	s.must(errors.Join(os.MkdirAll(s.real, 0o755), os.WriteFile(filepath.Join(data, "store/LIFE_FORMAT"), []byte("1\n"), 0o644),
		os.WriteFile(filepath.Join(data, "blobs/ab/abcd"), []byte("secret\n"), 0o644)))
	if kind == "behind-a-link" {
		s.workspace = filepath.Join(s.out, "link")
		s.must(os.Symlink(s.real, s.workspace))
	}
	all, err := tools.New(tools.Config{Blobs: actorstest.NewBlobs(), Commands: commands(s.t), Scratch: filepath.Join(s.out, "scratch"), Own: datadir.New(data, "forks"), Ignore: ignore.New([]string{".gitignore", ".lifeignore"})})
	s.must(err)
	s.tools = map[string]actors.Tool{}
	for _, tool := range all {
		s.tools[tool.Spec().Name] = tool
	}
}

// tree names every file below the workspace.
func (s *transcript) tree() string {
	var names []string
	s.must(filepath.WalkDir(s.real, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, fmt.Sprintf("%+q", strings.TrimPrefix(path, s.real+"/")))
		}
		return err
	}))
	return strings.Join(append(names, fmt.Sprintf("%d files", len(names))), "\n") + "\n"
}

// paths puts the names of directories in place of what stands for them.
func (s *transcript) paths(text string) string {
	return strings.NewReplacer("WS", s.workspace, "REAL", s.real, "OUT", s.out).Replace(text)
}

func (s *transcript) unquoted(text string) string {
	if unquoted, err := strconv.Unquote(strings.TrimSpace(text)); err == nil {
		return unquoted
	}
	return text
}

func (s *transcript) must(err error) {
	if err != nil {
		s.t.Helper()
		s.t.Fatal(err)
	}
}
