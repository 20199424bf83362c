package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTranscripts runs the commands of every document, those behind "$ " in its code blocks, in one shell for each document, and compares
// what they print with what the document shows. A command that is shown without output only has to succeed.
//
// In a document "…" stands for any text, and on a line of its own for any lines. What differs from run to run (times, durations, ids,
// ports, positions) is compared by its shape only. Two comments direct the run; readers do not see them:
//
//	<!-- run       the lines up to --> are run at this place, and what they print is not compared
//	<!-- shown: …  the next block is not run, for the reason given
func TestTranscripts(t *testing.T) {
	life, world := binary(t), startServices(t)
	ran := 0
	for _, file := range documents(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		steps := transcript(string(content))
		if len(steps) == 0 {
			continue
		}
		ran++
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			play(t, life, world.stand(t, steps))
		})
	}
	if ran == 0 {
		t.Error("no document shows a command with its output: they are not read as they are written")
	}
}

// stand returns steps with addresses that are there in place of those that documents show, which stand for the reader's own.
func (w services) stand(t *testing.T, steps []step) []step {
	t.Helper()
	port := freePort(t)
	stands := strings.NewReplacer("127.0.0.1:11434", w.model, "127.0.0.1:4222", w.nats, "cluster.example:2113?", "127.0.0.1:"+port+"?tls=false&", "db.example:2113", "localhost:"+port,
		":2113", ":"+port, "/etc/life/", "$PWD/", "OPENAI_API_KEY=…", "OPENAI_API_KEY=a-long-key", "DEPLOY_TOKEN=…", "DEPLOY_TOKEN=a-long-token")
	played := slices.Clone(steps)
	for i := range played {
		played[i].command = stands.Replace(played[i].command)
		played[i].output = stands.Replace(played[i].output)
	}
	return played
}

// freePort returns one that nobody listens on, of those that the kernel gives to nobody by itself.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000)) //nolint:gosec // no secret
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// shell is how a line begins that is a command: nothing else of documents does.
var shell = regexp.MustCompile(`^\s*(\(|sudo )*(\.?[./\w]*/)?(life|make|go|git|curl|docker|npm|npx|node|sh|bash|cat|cp|mv|rm|cd|mkdir|sed|export|printf|echo|until|openssl|systemctl|kubectl|pass|tar|zstd|apt|apt-get|brew|ulimit)( |$)`)

// excuses are the reasons for which commands of documents are shown and not run.
var excuses = []string{
	"it runs this test",
	"the test has a build of its own",
	"TestExtendFromAnotherModule runs it",
	"it needs an endpoint",
}

// TestEveryCommandRuns wants every command of a document to be run, or shown for a reason that is listed: a code block with commands in
// another notation would not be read.
func TestEveryCommandRuns(t *testing.T) {
	commands := 0
	for _, file := range documents(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range unrun(string(content)) {
			t.Errorf("%s:%s", file, problem)
		}
		commands += len(transcript(string(content)))
	}
	if commands < 100 {
		t.Errorf("the documents have %d commands that are run: they are not read as they are written", commands)
	}
}

// unrun returns what in a document is a command that is not run, without an excuse.
func unrun(document string) []string {
	var problems []string
	lines := strings.Split(document, "\n")
	for i := 0; i < len(lines); i++ {
		reason, shown := strings.CutPrefix(lines[i], "<!-- shown: ")
		switch {
		case shown && !slices.Contains(excuses, strings.TrimSuffix(reason, " -->")):
			problems = append(problems, fmt.Sprintf("%d: %q is none of the reasons for which commands are not run: %q", i+1, reason, excuses))
		case lines[i] == "<!-- run":
			for ; i < len(lines) && lines[i] != "-->"; i++ {
			}
		case strings.HasPrefix(strings.TrimSpace(lines[i]), "```"), strings.HasPrefix(strings.TrimSpace(lines[i]), "~~~"):
			fence, from := strings.TrimSpace(lines[i])[:3], i
			for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), fence); i++ {
				if command := strings.TrimPrefix(strings.TrimSpace(lines[i]), "$ "); shell.MatchString(command) && language(lines[from]) {
					problems = append(problems, fmt.Sprintf("%d: %s: commands are shown in a block that is indented, each after \"$ \"", i+1, command))
				}
			}
		case strings.HasPrefix(lines[i], "    ") && (i == 0 || lines[i-1] == ""):
			from := i
			for ; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || lines[i] == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ")); i++ {
				if !strings.HasPrefix(lines[from], "    $ ") && shell.MatchString(strings.TrimPrefix(lines[i], "    ")) {
					problems = append(problems, fmt.Sprintf("%d: %s: a command is shown after \"$ \"", i+1, strings.TrimSpace(lines[i])))
				}
			}
			i--
		}
	}
	return problems
}

// language reports whether what a fence opens may hold commands.
func language(fence string) bool {
	return slices.Contains([]string{"", "sh", "bash", "shell", "console", "text", "zsh", "shell-session"}, strings.Trim(fence, " `~"))
}

// TestEveryCommandRunsTeach shows what is taken for a command that is not run.
func TestEveryCommandRunsTeach(t *testing.T) {
	for document, problems := range map[string]int{
		"Text.\n\n    $ life agents\n    life is out\n":                                     0,
		"Text.\n\n    life agents\n":                                                        1,
		"Text.\n\n    # first\n    bin/life agents\n\n    export A=b\n":                     2,
		"```sh\n./bin/life agents\n```\n\n```\n$ make\nmodule x\n```\n":                     2,
		"- item\n\n  ```bash\n  sudo docker compose up\n  ```\n":                            1,
		"```go\ngo func() {}()\n```\n\n```yaml\nmake : x\n```\n":                            0,
		"<!-- shown: no time -->\n\n    $ life agents\n":                                    1,
		"<!-- shown: it runs this test -->\n\n    $ make test\n":                            0,
		"<!-- run\nlife serve &\n-->\n\n    life: serving\n    lifeless go-getters\n":       0,
		"- a list, with lines that go on\n    make no command of a line within a paragraph": 0,
	} {
		if got := unrun(document); len(got) != problems {
			t.Errorf("%q: %d problems, want %d: %v", document, len(got), problems, got)
		}
	}
}

// binary builds life once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	builtIn string
	built   = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "life-docs-")
		if err != nil {
			return "", err
		}
		builtIn = dir
		path := filepath.Join(dir, "life")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./cmd/life") // linked in half the time
		build.Dir = root
		if output, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build life: %w\n%s", err, output)
		}
		return path, nil
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// step is a command of a document, and what the document shows of its output.
type step struct {
	line    int
	command string
	output  string
	hidden  bool // its output is not shown
}

// transcript finds the steps of a document.
func transcript(document string) []step {
	var steps []step
	lines := strings.Split(document, "\n")
	shown := false // the next block is not run
	for i := 0; i < len(lines); i++ {
		switch {
		case lines[i] == "<!-- run":
			from := i + 1
			for i++; i < len(lines) && lines[i] != "-->"; i++ {
			}
			steps = append(steps, step{line: from + 1, command: strings.Join(lines[from:min(i, len(lines))], "\n"), hidden: true})
		case strings.HasPrefix(lines[i], "<!-- shown: "):
			shown = true
		case strings.HasPrefix(lines[i], "    $ "):
			from := i
			for i++; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || lines[i] == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ")); i++ {
			}
			if !shown {
				steps = append(steps, block(from+1, lines[from:i])...)
			}
			shown = false
		}
	}
	return steps
}

// block divides the lines of a code block, which are indented, into steps.
func block(first int, lines []string) []step {
	var steps []step
	for i, line := range lines {
		line = strings.TrimPrefix(line, "    ")
		command, prompted := strings.CutPrefix(line, "$ ")
		if prompted {
			steps = append(steps, step{line: first + i, command: command})
			continue
		}
		last := &steps[len(steps)-1]
		if last.output == "" && !complete(last.command) {
			last.command += "\n" + line
		} else {
			last.output += line + "\n"
		}
	}
	for i := range steps { // blank lines before the next prompt
		if strings.TrimSpace(steps[i].output) == "" {
			steps[i].output = ""
		}
	}
	return steps
}

var hereDocument = regexp.MustCompile(`<<'?(\w+)'?`)

// complete reports whether a command is whole: it does not end in a backslash, within quotes or within a here-document.
func complete(command string) bool {
	if here := hereDocument.FindStringSubmatch(command); here != nil {
		return strings.HasSuffix(command, "\n"+here[1])
	}
	return !strings.HasSuffix(command, "\\") && strings.Count(command, "'")%2 == 0 && strings.Count(command, `"`)%2 == 0
}

// mark begins the output of a step.
const mark = "\x1e"

// hangs is far more than any document takes on a busy machine: what takes longer waits for something that never comes, and its test says where
// rather than holding all others up to their common limit.
const hangs = 9 * time.Minute

var errHangs = fmt.Errorf("it did not end within %s: the last step that was reached hangs", hangs)

// play runs steps in one shell, in a directory of their own.
func play(t *testing.T, life string, steps []step) {
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("{ read -r _ <&3; kill -9 0; } &\n") // when the test ends without ending the shell, as at its time limit
	script.WriteString("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	for i, s := range steps {
		fmt.Fprintf(&script, "printf '%s%d\\n'\n%s\nprintf '%s='$?\n", mark, i, s.command, mark)
	}
	path := filepath.Join(dir, ".script")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), hangs, errHangs)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", path)
	shell.Dir = dir
	shell.Env = append(environ(), "PATH="+filepath.Dir(life)+":"+os.Getenv("PATH"), "HOME="+dir, "REPOSITORY="+repository(t))
	shell.Env = append(shell.Env, goCaches(t)...)
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = alive.Close(), held.Close() }()
	shell.ExtraFiles = []*os.File{alive}
	var output bytes.Buffer
	shell.Stdout, shell.Stderr = &output, &output
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = 10 * time.Second // for what it left running and did not end, which holds its output
	err = shell.Run()
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // what it left running
	if err != nil {
		t.Errorf("the shell: %v", errors.Join(err, context.Cause(ctx)))
	}
	printed := map[int]string{}
	status := map[int]string{}
	for _, part := range strings.Split(output.String(), mark)[1:] {
		if code, ended := strings.CutPrefix(part, "="); ended {
			status[len(printed)-1] = code
			continue
		}
		number, text, _ := strings.Cut(part, "\n")
		if n, err := strconv.Atoi(number); err == nil {
			printed[n] = text
		}
	}
	for i, s := range steps {
		got, ran := printed[i]
		switch {
		case !ran:
			t.Fatalf("line %d: %s: was not reached", s.line, s.command)
		case (s.hidden || s.output == "") && strings.TrimSpace(status[i]) != "0":
			t.Errorf("line %d: %s: status %s:\n%s", s.line, s.command, status[i], got)
		case s.output != "" && !likeness(s.output).MatchString(plain(got)):
			t.Errorf("line %d: $ %s\n(- the document, + what it prints)\n%s", s.line, s.command, cmp.Diff(
				strings.Split(plain(s.output), "\n"), strings.Split(plain(got), "\n")))
		}
	}
}

// environ is the environment without what would configure life.
func environ() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "LIFE_") && !strings.HasPrefix(variable, "OPENAI_") && !strings.HasPrefix(variable, "ANTHROPIC_") && !strings.HasPrefix(variable, "XDG_") {
			kept = append(kept, variable)
		}
	}
	return append(kept, "LIFE_USER=ada", "LIFE_LISTEN=127.0.0.1:0", "TZ=UTC")
}

// goCaches are the settings of Go that follow from the home, which the shell has another of.
func goCaches(t *testing.T) []string {
	t.Helper()
	var settings []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOENV"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		settings = append(settings, name+"="+strings.TrimSpace(string(value)))
	}
	return settings
}

func repository(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// likeness is what an output has to look like.
func likeness(shown string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(plain(shown))
	pattern = regexp.MustCompile(`(?m)^\s*…\n`).ReplaceAllString(pattern, `(?:.*\n)*?`)
	return regexp.MustCompile(`\A` + strings.ReplaceAll(pattern, "…", ".*") + `\z`)
}

var varying = []struct {
	pattern *regexp.Regexp
	shape   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?`), "<time>"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d(\.\d+)?`), "<time>"},
	{regexp.MustCompile(`\d{4}-W\d\d`), "<week>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "<day>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`\b(run-)?[0-9a-f]{10,64}\b`), "<id>"},
	{regexp.MustCompile(`[+-]?\b(\d+h)?(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b`), "<length>"},
	{regexp.MustCompile(`\([+-]\d+%\)`), "(<share>)"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`process \d+`), "process <number>"},
	{regexp.MustCompile(`"pid":\d+`), `"pid":<number>`},
	{regexp.MustCompile(`position":"\d+"`), `position":"<number>"`},
	{regexp.MustCompile(`position \d+`), "position <number>"},
	{regexp.MustCompile(`(/tmp|/home/\w+)[^\s"]*/`), "<dir>/"},
	{regexp.MustCompile(`[█·░]+( *[█·░]+)*`), "<bar>"},
	{regexp.MustCompile(` +`), " "},
	{regexp.MustCompile(`(?m)[ \r]+$`), ""},
}

// plain is a text with what differs from run to run by its shape only.
func plain(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.shape)
	}
	return strings.TrimRight(text, "\n") + "\n"
}

// TestTranscriptsTeach shows how a document is read and compared.
func TestTranscriptsTeach(t *testing.T) {
	document := "Text.\n\n<!-- run\nmkdir a\n-->\n\n    $ life run \\\n        --json\n    out …\n    …\n    end 3.2ms\n\n<!-- shown: no server -->\n\n    $ life serve\n"
	steps := transcript(document)
	want := []step{{line: 4, command: "mkdir a", hidden: true}, {line: 7, command: "life run \\\n    --json", output: "out …\n…\nend 3.2ms\n"}}
	if diff := cmp.Diff(want, steps, cmp.AllowUnexported(step{})); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
	for printed, like := range map[string]bool{
		"out 1\nend 4ms\n": true, "out  2\na\nb\nend 1m4.5s": true, "out 1\nbad 4ms": false, "in 1\nend 4ms": false, "out 1\nend 4ms\nmore": false,
	} {
		if likeness(steps[1].output).MatchString(plain(printed)) != like {
			t.Errorf("%q: like %v is not %v", printed, steps[1].output, like)
		}
	}
}
