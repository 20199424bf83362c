package docs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
)

// helpFile holds what the examples of the help print.
const helpFile = "testdata/help.txt"

// TestHelpExamples runs every example of every help, each in a copy of the same world (testdata/world.sh), and compares what it prints with
// testdata/help.txt; -rewrite writes that file, to be read as prose. Addresses and sizes in examples stand for the reader's own: they are
// replaced by some that are there.
func TestHelpExamples(t *testing.T) {
	life := binary(t)
	h := &helpRun{life: life, worlds: make(chan string, 2), printed: map[string]string{}, services: startServices(t)}
	h.build(t)
	found := map[string][]string{}
	readVerb(t, life).collect("life", found)
	known := map[string]string{}
	content, err := os.ReadFile(helpFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, s := range transcript(string(content)) {
		known[s.command] = s.output
	}
	t.Run("examples", func(t *testing.T) {
		for verb, examples := range found {
			t.Run(strings.ReplaceAll(verb, " ", "_"), func(t *testing.T) {
				t.Parallel()
				for _, example := range examples {
					h.check(t, example, known)
				}
			})
		}
	})
	for example := range known {
		if _, ran := h.printed[example]; !ran && !*rewrite && !t.Failed() {
			t.Errorf("no help has the example %q of %s any more: run go test ./docs -run TestHelpExamples -rewrite", example, helpFile)
		}
	}
	if *rewrite && !t.Failed() {
		h.write(t, found)
	}
}

// collect adds the examples of a verb and of those below it.
func (v *verb) collect(name string, found map[string][]string) {
	found[name] = v.examples
	for below, verb := range v.under {
		verb.collect(name+" "+below, found)
	}
}

// helpRun runs examples.
type helpRun struct {
	services
	life   string
	worlds chan string // where examples are run, those that are free; NAME.template is what is there before each

	mutex   sync.Mutex
	printed map[string]string
}

// build builds the worlds. Each is built where it is used, because agents have absolute paths.
func (h *helpRun) build(t *testing.T) {
	var building sync.WaitGroup
	for range cap(h.worlds) {
		building.Go(func() {
			world := filepath.Join(t.TempDir(), "world")
			err := os.Mkdir(world, 0o700)
			if err == nil {
				var output []byte
				if output, err = h.bash(t, world, "bash "+repository(t)+"/docs/testdata/world.sh").CombinedOutput(); err != nil {
					err = fmt.Errorf("%w\n%s", err, output)
				}
			}
			if err = errors.Join(err, os.Rename(world, world+".template")); err != nil {
				t.Errorf("build the world: %v", err)
			}
			h.worlds <- world
		})
	}
	building.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// services are what documents and helps need of the world: addresses of an endpoint of models, and of a message broker.
type services struct{ model, nats string }

func startServices(t *testing.T) services {
	t.Helper()
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `{"object":"list","data":[{"id":"gpt-5-mini"},{"id":"lighthouse","context_window":8192}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"It keeps a log.\"},\"finish_reason\":\"stop\"}],"+
			"\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5,\"total_tokens\":25}}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(endpoint.Close)
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	if !broker.ReadyForConnections(time.Minute) {
		t.Fatal("the broker does not start")
	}
	return services{model: strings.TrimPrefix(endpoint.URL, "http://"), nats: broker.Addr().String()}
}

// bash returns a shell in a directory that is also the home.
func (h *helpRun) bash(t *testing.T, dir, script string) *exec.Cmd {
	shell := exec.CommandContext(t.Context(), "bash", "-c", script)
	shell.Dir = dir
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.Env = append(environ(), "PATH="+filepath.Dir(h.life)+":"+os.Getenv("PATH"), "HOME="+dir)
	return shell
}

// staged are examples that need more than the world: what is done before them.
var staged = map[string]string{
	"life approve demo":           `life run -q --agent demo --model scripted/tour --limit-tokens 2200 "Take the tour"`,
	"life approve demo 3/":        asks,
	"life deny demo":              asks,
	"life answer demo":            wonders,
	"life answer demo 3/":         wonders,
	"life agents configure":       reviewer,
	"life agents retire":          reviewer,
	"life agents release":         reviewer,
	"life cancel demo":            asks,
	"life projections remove":     "life projections add refunds.yaml",
	"life verify --all --data":    "life bench seed --agents 10 --events 2000 --dir seeded",
	"life bench look --data":      "life bench seed --agents 10 --events 2000 --dir seeded",
	"life store users disable":    ada,
	"life store users enable":     ada,
	"life store users remove":     ada,
	"life store users password":   "life store users add admin --group '$admins' --password-file secret",
	"pass show ada":               "pass() { echo a-long-password; }",
	"life store serve --tls-cert": certificates,
	"life store serve --listen 0": certificates + "; cp certs/server.crt certs/server.key .",
	"life cluster":                clustered,
	"life cluster certificates":   "true",
	"life cluster unpin":          clustered + "; life cluster pin demo zone=eu",
	"life serve --store":          "life cluster certificates certs --host books-1",
	"life wallet show team":       "life wallet open team --with 25",
	"life knowledge":              "life knowledge add notes",
	"life knowledge add":          "true",
	"life skills":                 taught,
	"life permissions validate":   `echo 'rules: [{match: {command: [git, push]}, decision: deny, reason: people push, tests: {match: [git push], not_match: [git log]}}]' >permissions.yaml`,
}

const wonders = `life run -q --agent demo --model scripted/wonders --tools ask_user "Deploy it"`

const asks = `life run -q --agent demo --model scripted/asks --ask bash "Clean up"`

// clustered is a cluster of one host.
const clustered = `life cluster certificates certs --host books-1
life store serve --insecure --data served --listen 127.0.0.1:0 --ready-file address &
server=$!; until [ -s address ]; do sleep 0.05; done
export LIFE_STORE=$(cat address) LIFE_CLUSTER=main
life serve --data books-1 --listen 127.0.0.1:0 --peer 127.0.0.1:0 --peer-name books-1 --peer-certs certs &
server="$! $server"; until [ -s books-1/serve.json ]; do sleep 0.05; done
life agents create demo --data books-1 --model scripted/echo`

const reviewer = "life agents create reviewer --workspace ws --model scripted/echo"

// unsuccessful are examples that end otherwise than with status 0, because of what they show or what is not there.
var unsuccessful = []string{
	"life run --agent demo --ask bash",          // waits for a person
	"life fork demo --at turn:2 --set prompt=@", // --offline: is stopped
	"life agents release reviewer",              // there is no quarantined agent
	"life permissions revoke agent-demo@12",     // there is no such approval
	"life commands poisoned retry 3",            // there are no poisoned commands
	"life commands poisoned drop 3",             //
	"life effects command-local@3",              // nor other commands on the bus
	"life projections skip",                     // there is no projection that stopped
	"life doctor --store 'esdb://localhost",     // there is no server with that certificate
	"life knowledge show heat-shield --at 120",  // it was not written then
}

const certificates = "life store certificates certs --host 127.0.0.1 --host localhost --user admin"

const taught = `for dir in ~/.agents/skills/pdf skills/pdf; do mkdir -p $dir
printf -- '---\nname: pdf\ndescription: Reads PDF files.\n---\nRead them.\n' >$dir/SKILL.md; done`

const ada = "life store users add ada --password-file secret"

// replaced are the parts of examples that stand for the reader's own.
var replaced = []struct{ pattern, by string }{
	{`bench knowledge --notes \d+`, "bench knowledge --notes 200"},
	{`--(events|notes) (\d{4,})`, "--$1 2000"},
	{`bench sandbox( --runs 50)?`, "bench sandbox --runs 5"},
	{`bench agents \d+`, "bench agents 100"},
	{`--agents 1000\b`, "--agents 10"},
	{`--looks 2000`, "--looks 20"},
	{`--duration 10s`, "--duration 100ms"},
	{`/mnt/fast`, "fast"},
	{`/tmp/`, "tmp/"},
	{`(life bench cluster)`, "$1 --quick --agents 12 --events 500 --pause 1500ms --fence 2s --idle 100ms --rates 50ms"},
	{`(life bench (turns|store).*)`, "$1 --duration 100ms"},
	{`3/2\.1`, "4/2.1"},
	{`3/1\.1`, "4/1.1"},
	{`--digest \w+`, `--digest $$(life projections query approvals --json | grep -o '"digest":"[0-9a-f]*' | cut -c11-22)`},
	{`14:02:11`, "$(date +%T)"},
	{`(0\.0\.0\.0|books-1\.example):\d+`, "127.0.0.1:0"},
}

// waiting are verbs that go on until they are interrupted: they are, once they have said something and nothing follows.
var waiting = regexp.MustCompile(`^life (serve|tail|forward|store serve|agents --watch|cluster --watch)\b`)

// check runs an example.
func (h *helpRun) check(t *testing.T, example string, known map[string]string) {
	dir := <-h.worlds
	defer func() { h.worlds <- dir }()
	if output, err := exec.CommandContext(t.Context(), "sh", "-c", "rm -rf "+dir+" && cp -a "+dir+".template "+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	command := example
	for _, r := range replaced {
		command = regexp.MustCompile(r.pattern).ReplaceAllString(command, r.by)
	}
	command = strings.ReplaceAll(command, "nats://127.0.0.1:4222", "nats://"+h.nats)
	script := "mkdir tmp; export LIFE_SCRIPTS=$PWD/scripts OPENAI_API_KEY=k OPENAI_BASE_URL=http://" + h.model + "/v1\n"
	if strings.Contains(command, "esdb://") {
		script += "life store serve --insecure --data served --listen 127.0.0.1:0 --ready-file address >/dev/null 2>&1 &\nserver=$!\n" +
			"until [ -s address ]; do sleep 0.05; done\n"
		command = regexp.MustCompile(`'?esdb://[\w.]+:2113(\?\w+=[\w./]+)?'?`).ReplaceAllString(command, `"$$(cat address)"`)
	}
	stage := ""
	for before := range staged {
		if strings.HasPrefix(example, before) && len(before) > len(stage) {
			stage = before
		}
	}
	if stage != "" {
		script += "{ " + staged[stage] + "\n} >/dev/null 2>&1\n"
	}
	if waiting.MatchString(command) {
		script += "(exec " + strings.TrimSuffix(command, "&") + ") >said 2>&1 &\nverb=$!\n" +
			"until [ -s said ] || ! kill -0 $verb 2>/dev/null; do sleep 0.05; done\n" +
			"before=; until [ \"$(wc -c <said)\" = \"$before\" ]; do before=$(wc -c <said); sleep 0.2; done\nkill -TERM $verb 2>/dev/null; wait $verb; status=$?; cat said; [ $status = 130 ] && status=0\n"
	} else {
		script += command + "\nstatus=$?\n"
	}
	script += "for each in ${server:-}; do kill $each; wait $each; done 2>/dev/null\nexit $status\n" // a host needs its store to leave: without it, it waits a minute
	output, err := h.bash(t, dir, script).CombinedOutput()
	if err != nil && !slices.ContainsFunc(unsuccessful, func(before string) bool { return strings.HasPrefix(example, before) }) {
		t.Errorf("%s: %v\n%s", example, err, output)
	}
	printed := plain(strings.ReplaceAll(string(output), dir, "<home>"))
	if strings.Contains(example, " bench ") {
		printed = regexp.MustCompile(`; in bubblewrap p50 [\d.]+ ms|,"bwrap_p50_ms":[\d.]+`).ReplaceAllString(printed, "") // where it is installed
		printed = regexp.MustCompile(` -(\d)`).ReplaceAllString(printed, " $1")                                            // a difference of two times
		printed = regexp.MustCompile(`\d+(\.\d+)?`).ReplaceAllString(printed, "<number>")
	}
	if lines := strings.SplitAfter(printed, "\n"); len(lines) > 200 { // scripts for shells
		printed = strings.Join(lines[:5], "") + fmt.Sprintf("(%d lines more)\n", len(lines)-5)
	}
	h.mutex.Lock()
	h.printed[example] = printed
	h.mutex.Unlock()
	if diff := cmp.Diff(shape(known[example]), shape(printed)); diff != "" && !*rewrite {
		t.Errorf("%s\n(- %s, + what it prints)\n%s", example, helpFile, diff)
	}
}

var (
	numbers = regexp.MustCompile(`[^\s"'()\[\]{},]*\d[^\s"'()\[\]{},]*`) // whole words: ids have letters too
	members = regexp.MustCompile(`"\w+":`)
	derived = regexp.MustCompile(`(\bdemo-|\bwhat-if-|\bwhat-if |--id )[0-9a-z-]+`) // names of forks
)

// shape is what of an output is the same in every run: its lines in any order, as homeostasis and the wallet answer in any order, without
// numbers; of JSON the names of its members.
func shape(printed string) []string {
	lines := strings.Split(numbers.ReplaceAllString(derived.ReplaceAllString(plain(printed), "$1<id>"), "<number>"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "{") || strings.HasPrefix(line, "[") {
			names := members.FindAllString(line, -1)
			slices.Sort(names)
			lines[i] = strings.Join(slices.Compact(names), " ")
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// write writes what the examples print.
func (h *helpRun) write(t *testing.T, found map[string][]string) {
	var text strings.Builder
	text.WriteString("What the examples of the help print, in the world of world.sh. Written by go test ./docs -run TestHelpExamples -rewrite.\n")
	done := map[string]bool{}
	for _, verb := range slices.Sorted(maps.Keys(found)) {
		for _, example := range found[verb] {
			if done[example] {
				continue
			}
			done[example] = true
			fmt.Fprintf(&text, "\n    $ %s\n", example)
			for line := range strings.Lines(strings.TrimRight(h.printed[example], "\n")) {
				text.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
			}
		}
	}
	if err := os.WriteFile(helpFile, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
