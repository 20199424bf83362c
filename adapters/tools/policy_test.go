package tools_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/sandbox"
)

// protectedTree makes a workspace with what is protected in it, and returns random paths to what is there, and to what is not yet there but may be.
func protectedTree(b bench) (paths []string) {
	b.write("src/main.go", "x\n")
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	dirs := []string{
		"", "src/", "src/deep/", ".git/", ".git/hooks/", ".git/info/", ".git/refs/", "vendor/lib/.git/hooks/", "vendor/lib/", "bare/", "bare/hooks/", ".ssh/", "a/.aws/", ".vscode/", "a/.idea/",
		"node_modules/m/", ".github/", "a/.docker/", "real/", "real/hooks/", "module/",
	}
	files := []string{".env", ".env.local", ".env.example", "x.pem", "y.key", "id_rsa", "config", "main.go", "README.md", ".bashrc", ".mcp.json", ".npmrc", "config.json", "attributes", "index", "commondir"}
	for _, name := range []string{"bare/HEAD", "bare/objects/o", "bare/refs/r", "real/HEAD", "real/objects/o", "real/refs/r", ".git/HEAD", "vendor/lib/.git/HEAD"} {
		b.write(name, "x\n")
	}
	b.write("module/.git", "gitdir: ../real\n")
	for _, dir := range dirs {
		b.write(dir+"there", "x\n")
	}
	for range 140 {
		name := pick(dirs...) + pick(files...)
		b.write(name, "x\n")
		if !slices.Contains(paths, name) {
			paths = append(paths, name)
		}
	}
	for i := range 163 - len(paths) {
		paths = append(paths, pick(dirs...)+fmt.Sprintf("new-%d", i))
	}
	for _, name := range []string{".git/config", ".git/hooks/pre-commit", ".git/hooks/deep/x", "bare/config", "real/config", "real/hooks/post-checkout"} {
		b.write(name, "x\n")
	}
	paths = append(paths, "module/.git", ".git/config", ".git/hooks/pre-commit", ".git/hooks/deep/x", "bare/config", "real/config", "real/hooks/post-checkout")
	for i := range 30 {
		to := pick(paths...)
		if strings.HasPrefix(filepath.Base(to), "new-") {
			to = "src/deep/../main.go"
		}
		link := fmt.Sprintf("link-%d", i)
		if err := os.Symlink(to, filepath.Join(b.workspace, link)); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, link)
	}
	return paths
}

// TestToolsAndCommandsReachTheSame tries 200 paths with the file tools and with commands. What is not there when a command begins cannot be kept from it; so
// what is new has a name that no rule is about.
func TestToolsAndCommandsReachTheSame(t *testing.T) {
	b := newBench(t)
	if report := commands(t).(*sandbox.Sandbox).Probe(t.Context()); report.Level != sandbox.LevelNamespaces {
		t.Skipf("commands are confined by %v here, which cannot protect a part of a workspace", report.Level)
	}
	dir, err := filepath.EvalSymlinks(b.workspace)
	if err != nil {
		t.Fatal(err)
	}
	b.workspace = dir
	paths := protectedTree(b)
	if len(paths) != 200 {
		t.Fatalf("%d paths", len(paths))
	}
	script := ""
	for _, name := range paths {
		there := fmt.Sprintf("was=; { [ -e %[1]q ] || [ -L %[1]q ]; } && was=1; ", name)
		script += there + fmt.Sprintf("r=-; cat %[1]q >/dev/null 2>&1 && r=r; w=-; mkdir -p \"$(dirname %[1]q)\" 2>/dev/null; ( : >> %[1]q ) 2>/dev/null && w=w; echo $r$w; [ $was ] || rm -f %[1]q 2>/dev/null\n", name)
	}
	b.write("try.sh", script)
	output, failed := b.run("bash", args{"command": "bash try.sh; true"})
	verdicts := strings.Fields(output)
	if failed || len(verdicts) != len(paths) {
		t.Fatalf("%d verdicts: %s", len(verdicts), output)
	}
	refused := map[byte]int{}
	for i, name := range paths {
		reads, writes := byte('-'), byte('-')
		if _, failed := b.run("read_file", args{"path": name}); !failed {
			reads = 'r'
		}
		if verdicts[i][0] != reads {
			t.Errorf("%s: the tool reads %c, a command %c", name, reads, verdicts[i][0])
		}
		if _, failed := b.run("append_line", args{"path": name, "line": "y"}); !failed {
			writes = 'w'
		}
		if strings.Contains(name, "new-") {
			_ = os.Remove(filepath.Join(dir, name))
		}
		if verdicts[i][1] != writes {
			t.Errorf("%s: the tool writes %c, a command %c", name, writes, verdicts[i][1])
		}
		refused[reads]++
		refused[writes]++
	}
	if refused['-'] < 60 || refused['r'] < 60 || refused['w'] < 40 {
		t.Errorf("the paths are too much alike: %v", refused)
	}
}

// TestNoRaceLeadsOut: somebody swaps a directory with a link out of the workspace, and a file with a link to a secret in it, as fast as they can, while tools read
// and write.
func TestNoRaceLeadsOut(t *testing.T) {
	b := newBench(t)
	outside := t.TempDir()
	b.write("dir/file", "inside")
	b.write("plain", "inside")
	b.write(".env", "the secret")
	b.write(".git/hooks/x", "hook")
	for name, content := range map[string]string{"file": "the secret", "keep": "kept"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": outside, "to-secret": ".env", "to-hooks": ".git/hooks"} {
		if err := os.Symlink(to, filepath.Join(b.workspace, link)); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		at := func(name string) string { return filepath.Join(b.workspace, name) }
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = unix.Renameat2(unix.AT_FDCWD, at("dir"), unix.AT_FDCWD, at([]string{"out", "to-hooks"}[i/2%2]), unix.RENAME_EXCHANGE)
			_ = unix.Renameat2(unix.AT_FDCWD, at("plain"), unix.AT_FDCWD, at("to-secret"), unix.RENAME_EXCHANGE)
		}
	}()
	tries := 0
	for start := now(); now()-start < raceTime(); tries++ {
		for _, path := range slices.Repeat([]string{"dir/file", "plain"}, 20) {
			if text, _ := b.run("read_file", args{"path": path}); strings.Contains(text, "the secret") {
				t.Errorf("%s was read: %s", path, text)
			}
		}
		b.run("write_file", args{"path": "dir/planted", "content": "planted"})
		b.run("append_line", args{"path": "dir/file", "line": "appended"})
		b.run("edit_file", args{"path": "plain", "old": "inside", "new": "inside too"})
	}
	close(stop)
	<-stopped
	output, err := exec.CommandContext(t.Context(), "grep", "-rlE", "planted|appended|inside", outside, filepath.Join(b.workspace, ".git/hooks"), filepath.Join(b.workspace, ".env")).CombinedOutput()
	if len(output) > 0 {
		t.Errorf("written after %d tries: %s %v", tries, output, err)
	}
	if entries, _ := os.ReadDir(filepath.Join(b.workspace, ".git/hooks")); len(entries) != 1 {
		t.Errorf("the hooks are %v", entries)
	}
	t.Logf("%d rounds", tries)
}

// now is a clock that only goes forward, in nanoseconds.
func now() int64 {
	var at unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &at)
	return at.Nano()
}

// raceTime is how long races are tried: three seconds, of which short runs do one tenth.
func raceTime() int64 {
	if testing.Short() {
		return 3e8
	}
	return 3e9
}
