package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"example.com/life/adapters/sandbox/supervisor"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(attackVariable); what != "" {
		os.Exit(beAttacker(what))
	}
	goleak.VerifyTestMain(m)
}

// asNobody runs a test of this program a second time as a user without privileges, where it runs as root.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	t.Run("as nobody", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), program(t), "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE"), "TMPDIR=/tmp"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody().UID), Gid: uint32(nobody().GID)}}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	})
}

// program is this program, where every user can run it.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(openDir(t), "attacker")
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, self); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// openDir is a directory that every user reaches.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "life-sandbox-test-") //nolint:usetesting // what t.TempDir makes only its owner reaches
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stage is a host with a workspace and things outside it.
type stage struct {
	*Sandbox
	scene
	home, temp, program string
	level               Level
}

func newStage(t *testing.T, level Level) *stage {
	t.Helper()
	top := openDir(t)
	s := &stage{scene: scene{Workspace: top + "/workspace", Outside: top + "/outside", Home: top + "/user"}, home: top + "/home", temp: top + "/tmp", program: program(t), level: level}
	for _, dir := range []string{s.Workspace + "/.git/hooks", s.Workspace + "/.git/objects", s.Workspace + "/share/life", s.Outside, s.Home + "/.ssh", s.home, s.temp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		s.Outside + "/file", s.Outside + "/movable", s.Outside + "/removable", s.Outside + "/truncated", s.Home + "/.ssh/id_rsa", s.Outside + "/before", s.Workspace + "/.git/config",
		s.Workspace + "/share/life/store", s.Workspace + "/.git/hooks/pre-push",
	} {
		if err := os.WriteFile(path, []byte("content\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(s.Outside+"/before", s.Workspace+"/linked-before"); err != nil {
		t.Fatal(err)
	}
	if level == LevelLandlock && os.Geteuid() == 0 { // where root runs commands as another user, the workspace must be theirs
		for _, dir := range []string{s.Workspace, s.home, s.temp} {
			if output, err := exec.CommandContext(t.Context(), "chown", "-R", fmt.Sprint(nobody().UID), dir).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, output)
			}
		}
	}
	var err error
	s.Sandbox, err = New(Config{Path: "/usr/local/bin:/usr/bin:/bin", Readable: []string{filepath.Dir(s.program)}, Hidden: []string{s.Workspace + "/share/life"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if level != LevelHost {
		if err := s.try(t.Context(), level, landlockABI()); err != nil {
			t.Skipf("this machine does not reach the level %v: %v", level, err)
		}
	}
	return s
}

// run runs a command on the stage.
func (s *stage) run(ctx context.Context, env string, path string, args ...string) (Exit, string, error) {
	var output bytes.Buffer
	exit, err := s.runAt(ctx, Command{
		Path: path, Args: args, Env: []string{"LANG=C.UTF-8", attackVariable + "=" + env},
		Workspace: s.Workspace, Home: s.home, Temp: s.temp, Output: &output,
	}, s.level)
	return exit, output.String(), err
}

func (s *stage) bash(ctx context.Context, script string) (Exit, string, error) {
	return s.run(ctx, "", "/bin/bash", "-c", script)
}

// victim starts a process of the host for attacks on processes. It is not this one: a test that is traced stops.
func (s *stage) victim(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), s.program)
	cmd.Env = []string{attackVariable + "=victim"}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := fmt.Fscan(said, &s.Address); err != nil {
		t.Fatal(err)
	}
	s.Host = cmd.Process.Pid
}

// services are what a host has running that no command must reach.
func (s *stage) services(t *testing.T) {
	t.Helper()
	s.victim(t)
	s.Abstract, s.Socket = "@life-sandbox-test-"+filepath.Base(filepath.Dir(s.Workspace)), s.Outside+"/docker.sock"
	listen := func(network, address string) string {
		config := net.ListenConfig{}
		config.SetMultipathTCP(network == "mptcp")
		listener, err := config.Listen(t.Context(), strings.TrimPrefix(network, "mp"), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		return listener.Addr().String()
	}
	s.TCP, s.MPTCP = listen("tcp", "127.0.0.1:0"), listen("mptcp", "127.0.0.1:0")
	listen("unix", s.Abstract)
	listen("unix", s.Socket)
	packets, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	t.Cleanup(func() { _ = packets.Close(); <-answered })
	go func() {
		defer close(answered)
		for {
			_, from, err := packets.ReadFrom(make([]byte, 8))
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte("!"), from)
		}
	}()
	s.UDP = packets.LocalAddr().String()
	if os.Geteuid() == 0 {
		s.Program = filepath.Join(filepath.Dir(s.program), "setuid")
		if err := os.Link(s.program, s.Program); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.Program, 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
	}
	open, err := unix.Open(s.Outside+"/left-open", unix.O_CREAT|unix.O_RDWR, 0o600) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(open) })
}

func TestEscapes(t *testing.T) {
	asNobody(t)
	for level, want := range map[Level]func(attack) byte{
		LevelHost:       func(a attack) byte { return a.host },
		LevelLandlock:   func(a attack) byte { return a.landlock },
		LevelNamespaces: func(a attack) byte { return a.namespaces },
	} {
		t.Run(level.String(), func(t *testing.T) {
			s := newStage(t, level)
			s.services(t)
			encoded, err := json.Marshal(s.scene)
			if err != nil {
				t.Fatal(err)
			}
			exit, output, err := s.run(t.Context(), string(encoded), s.program)
			var results map[string]string
			if err != nil || exit.Code != 0 || json.Unmarshal([]byte(output), &results) != nil {
				t.Fatalf("%+v, %v: %s", exit, err, output)
			}
			for _, a := range attacks() {
				failed, tried := results[a.name]
				switch want := want(a); {
				case !tried:
					t.Errorf("%s was not tried", a.name)
				case want == '-' && failed == "":
					t.Errorf("%s: it succeeded", a.name)
				case want == 'A' && failed != "" && (a.name != "a setuid program" || s.Program != ""):
					t.Errorf("%s: it should be possible at this level: %s", a.name, failed)
				}
			}
		})
	}
}

func TestForeignSystemCalls(t *testing.T) {
	asNobody(t)
	for _, level := range []Level{LevelLandlock, LevelNamespaces} {
		s := newStage(t, level)
		exit, output, err := s.run(t.Context(), "foreign", s.program)
		if err != nil || exit.Signal != syscall.SIGSYS || output != "" {
			t.Errorf("%v: %+v, %v: %s", level, exit, err, output)
		}
	}
}

// TestWork is what commands must be able to do.
func TestWork(t *testing.T) {
	asNobody(t)
	for _, level := range []Level{LevelLandlock, LevelNamespaces} {
		for name, c := range map[string]struct {
			script, want string
			namespaces   bool // only there
		}{
			"write":         {script: `echo x > a && cat a && mkdir -p d/e && mv a d/e/b && cat d/e/b && rm -r d`, want: "x\nx\n"},
			"temporary":     {script: `echo x > $TMPDIR/a && cat $TMPDIR/a <<< y; cat <<E` + "\nz\nE", want: "x\nz\n"},
			"home":          {script: `echo x > ~/a && cat ~/a`, want: "x\n"},
			"pipes":         {script: `seq 100000 | tail -1; cat <(echo y)`, want: "100000\ny\n"},
			"devices":       {script: `echo x > /dev/null; head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo e >&2 2> /dev/stderr`, want: "2\n3\ne\n"},
			"mode":          {script: `echo 'echo ran' > s; chmod 755 s; ./s; stat -c %a s; ln -s s t; cat t`, want: "ran\n755\necho ran\n"},
			"shared memory": {script: `echo x > /dev/shm/a && cat /dev/shm/a; echo y > /tmp/b && cat /tmp/b; echo z > /run/c && cat /run/c`, want: "x\ny\nz\n", namespaces: true},
			"loopback":      {script: `cd /; exec 3<>/dev/udp/127.0.0.1/9 && echo reached; cat /sys/class/net/lo/operstate 2>&1 | wc -l`, want: "reached\n1\n", namespaces: true},
			"alone":         {script: `ls /; ls /proc | grep -c '^[0-9]'; hostname; id -u | grep -c '^0$'`, want: "", namespaces: true},
			"git": {
				script: `rm -rf r; git init -q r && cd r && git config user.email a@b && git config user.name n && echo 1 > f && git add f && git commit -qm one && echo 2 > f && git commit -qam two && git log --format=%s`,
				want:   "two\none\n", namespaces: true,
			},
		} {
			t.Run(level.String()+"/"+name, func(t *testing.T) {
				s := newStage(t, level)
				if c.namespaces && level != LevelNamespaces {
					t.Skip("only in namespaces")
				}
				exit, output, err := s.bash(t.Context(), c.script)
				if c.want == "" {
					t.Log(output)
					return
				}
				if err != nil || exit.Code != 0 || output != c.want {
					t.Errorf("%+v, %v: %q, want %q", exit, err, output, c.want)
				}
			})
		}
	}
}

// TestFilesBelongToTheOwner: what a command writes belongs to whoever the workspace belongs to, also where it runs as another user.
func TestFilesBelongToTheOwner(t *testing.T) {
	s := newStage(t, LevelNamespaces)
	for _, uid := range []int{os.Getuid(), cmp.Or(os.Getuid(), 1234)} {
		for _, dir := range []string{s.Workspace, s.home} {
			if err := os.Chown(dir, uid, -1); err != nil {
				t.Fatal(err)
			}
		}
		exit, output, err := s.bash(t.Context(), `echo x > written && stat -c %u . written; id -u`)
		if err != nil || exit.Code != 0 {
			t.Fatalf("%+v, %v: %s", exit, err, output)
		}
		var stat unix.Stat_t
		if err := unix.Stat(s.Workspace+"/written", &stat); err != nil || int(stat.Uid) != uid {
			t.Errorf("it belongs to %d, want %d: %v", stat.Uid, uid, err)
		}
		if lines := strings.Fields(output); len(lines) != 3 || lines[0] != lines[1] || lines[1] != lines[2] || lines[2] == "0" {
			t.Errorf("the command sees %q", output)
		}
		if err := os.Remove(s.Workspace + "/written"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingIsLeft ends trees of processes by a time limit.
func TestNothingIsLeft(t *testing.T) {
	asNobody(t)
	for _, level := range []Level{LevelLandlock, LevelNamespaces} {
		for name, script := range map[string]string{
			"sessions":  `for i in 1 2 3 4; do setsid sleep MARK & (setsid sleep MARK &); (sleep MARK &) ; done; sleep MARK`,
			"deaf":      `trap '' TERM INT HUP; setsid bash -c 'trap "" TERM; sleep MARK; sleep MARK' & sleep MARK; sleep MARK; sleep MARK`,
			"fork bomb": `bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep MARK`,
		} {
			t.Run(level.String()+"/"+name, func(t *testing.T) {
				if name == "fork bomb" && level != LevelNamespaces {
					t.Skip("only namespaces bound processes")
				}
				s := newStage(t, level)
				mark := fmt.Sprintf("1000.%d", time.Now().UnixNano())
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				_, output, err := s.bash(ctx, strings.ReplaceAll(script, "MARK", mark))
				if err == nil || ctx.Err() == nil {
					t.Errorf("%v: %s", err, output)
				}
				deadline, _ := ctx.Deadline()
				t.Logf("it ended %v after the limit", time.Since(deadline))
				paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
				for _, path := range paths {
					if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(mark)) {
						t.Errorf("%s is left: %q", path, line)
					}
				}
			})
		}
	}
}

// TestWatchedLimits: what takes too much memory, or leaves too little of the disk, is ended, and the result says why.
func TestWatchedLimits(t *testing.T) {
	asNobody(t)
	for _, level := range []Level{LevelLandlock, LevelNamespaces} {
		t.Run(level.String(), func(t *testing.T) {
			s := newStage(t, level)
			s.memory = 100 << 20
			exit, output, err := s.run(t.Context(), "memory", s.program)
			if err != nil || exit.Excess != supervisor.ExcessMemory || exit.Left != 0 {
				t.Errorf("%+v, %v: %s", exit, err, output)
			}
			s.memory, s.freeDisk = 0, 1<<62
			if exit, output, err := s.bash(t.Context(), "sleep 1000"); err != nil || exit.Excess != supervisor.ExcessDisk || exit.Left != 0 {
				t.Errorf("%+v, %v: %s", exit, err, output)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	asNobody(t)
	for _, level := range []Level{LevelLandlock, LevelNamespaces} {
		t.Run(level.String(), func(t *testing.T) {
			s := newStage(t, level)
			_, output, err := s.run(t.Context(), "bytes", s.program)
			if err != nil || !strings.Contains(output, "file too large") {
				t.Errorf("a large file: %v: %s", err, output)
			}
			if level != LevelNamespaces {
				return
			}
			_, output, err = s.bash(t.Context(), `head -c 200000000 /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x; head -c 2000000 /dev/zero > /dev/x; echo $?`)
			if err != nil || !strings.Contains(output, "No space left") || !strings.Contains(output, "\n67108864\n") {
				t.Errorf("a full memory file system: %v: %s", err, output)
			}
		})
	}
}
