package ignore_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/adapters/ignore"
)

// ignored walks a directory and returns what is left out at its top: not what is in it.
func ignored(t interface {
	Helper()
	Fatal(args ...any)
}, dir string, names ...string,
) (paths []string) {
	t.Helper()
	by := ignore.New(names).Begin(func(path string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return content
	})
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == ".":
			return err
		case entry.Name() == ".git":
			return fs.SkipDir
		case by(path, entry.IsDir()) == "":
			return nil
		case entry.IsDir():
			paths = append(paths, path+"/")
			return fs.SkipDir
		}
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestRules(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.log", "keep.log", "sub/b.log", "sub/keep/c.log", "node_modules/x/y.js", "sub/node_modules/z.js", "build/out", "sub/build/out", "doc/a/b.txt", "{x}", "x", "end ", "#a", "!b"} {
		write(t, dir, name, "")
	}
	write(t, dir, ".gitignore", "# logs\n*.log\n!keep.log\n\nnode_modules/\n/build\ndoc/**\r\n{x}\nend\\ \n\\#a\n\\!b   \n[\n")
	write(t, dir, "sub/.gitignore", "!b.log\n")
	write(t, dir, ".lifeignore", "sub/build/\n")
	want := []string{"!b", "#a", "a.log", "build/", "doc/a/", "end ", "node_modules/", "sub/build/", "sub/keep/c.log", "sub/node_modules/", "{x}"}
	if got := ignored(t, dir, ".gitignore", ".lifeignore"); !slices.Equal(got, want) {
		t.Errorf("left out are\n%q, want\n%q", got, want)
	}
	if got := ignored(t, dir); got != nil {
		t.Errorf("without rules %q are left out", got)
	}
}

// TestLikeGit holds the rules to git's own reading of them.
func TestLikeGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git")
	}
	part := rapid.SampledFrom([]string{"a", "b", "c.go", "*", "**", "?", "*.go", "[ab]", "[!a]", "a*", "{a,b}", `\a`})
	name := rapid.SampledFrom([]string{"a", "b", "c.go", "ab", "{a,b}"})
	top, cases := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		cases++
		if cases > 60 { // each costs a process
			return
		}
		dir := filepath.Join(top, strconv.Itoa(cases))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := func(name, content string) {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				_ = os.WriteFile(path, []byte(content), 0o600) // a directory may have the name
			}
		}
		for range rapid.IntRange(1, 8).Draw(t, "files") {
			file(strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "path"), "/"), "")
		}
		for _, at := range []string{".gitignore", "a/.gitignore"} {
			var lines []string
			for range rapid.IntRange(0, 4).Draw(t, "lines") {
				line := strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "pattern"), "/")
				line = rapid.SampledFrom([]string{"", "", "!", "/"}).Draw(t, "before") + line + rapid.SampledFrom([]string{"", "", "/", " "}).Draw(t, "after")
				lines = append(lines, line)
			}
			file(at, strings.Join(lines, "\n"))
		}
		run := func(args ...string) string {
			cmd := exec.CommandContext(t.Context(), git, args...)
			cmd.Dir, cmd.Env = dir, []string{"HOME=" + top, "GIT_CONFIG_NOSYSTEM=1", "PATH=" + os.Getenv("PATH")}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("git %q: %v", args, err)
			}
			return string(out)
		}
		run("init", "-q")
		var want []string
		for path := range strings.SplitSeq(run("ls-files", "-o", "-i", "--exclude-per-directory=.gitignore", "--directory", "-z"), "\x00") {
			if path != "" {
				want = append(want, path)
			}
		}
		slices.Sort(want)
		got := filesBelow(dir, ignored(t, dir, ".gitignore"))
		if want := filesBelow(dir, want); !slices.Equal(got, want) {
			t.Errorf("left out are %q, git leaves out %q", got, want)
		}
	})
}

// filesBelow is every file in what is left out: git names a directory also where all in it is left out.
func filesBelow(dir string, paths []string) (files []string) {
	for _, path := range paths {
		_ = filepath.WalkDir(filepath.Join(dir, path), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, strings.TrimPrefix(path, dir+"/"))
			}
			return nil
		})
	}
	slices.Sort(files)
	return slices.Compact(files)
}
