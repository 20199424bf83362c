//go:build linux

package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

const (
	name     = "books" // of the cluster
	apiPort  = 4777
	peerPort = 4778
)

// world is a store and hosts, each on a machine of its own. They share a file system: the directory of blobs, and workspaces.
type world struct {
	t       *testing.T
	dir     string
	net     *network
	random  *rand.Rand
	store   *process
	hosts   []*host
	journal stores.Journal // the test's own way to the store
}

// host is a life serve.
type host struct {
	*machine

	w      *world
	life   string   // the build
	flags  []string // of life serve, besides those of all
	client *api.Client
	lock   sync.Mutex
	serves *process
}

// process is one run of a program.
type process struct {
	cmd   *exec.Cmd
	said  said
	ended chan struct{}
}

// said is what a process says.
type said struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.String()
}

// newWorld starts a store and hosts.
func newWorld(t *testing.T, random *rand.Rand, flags []string, names ...string) *world {
	t.Helper()
	w := &world{t: t, random: random, net: newNetwork(t, append([]string{"store"}, names...)...)}
	var err error
	w.dir, err = os.MkdirTemp("", "cluster") //nolint:usetesting // it stays when the test fails
	w.check(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what is there is in %s", w.dir)
		} else {
			w.check(os.RemoveAll(w.dir))
		}
	})
	w.check(os.WriteFile(w.path("password"), []byte("Sesame-Street-14"), 0o600))
	w.check(os.WriteFile(w.path("credentials"), []byte("admin:Sesame-Street-14"), 0o600))
	w.check(os.WriteFile(w.path("token"), []byte("a-token-of-many-letters"), 0o600))
	w.check(os.Mkdir(w.path("blobs"), 0o700))
	certificates := []string{"cluster", "certificates", w.path("peers")}
	for _, name := range names {
		certificates = append(certificates, "--host", name)
	}
	w.run(certificates...)
	store := w.net.all[1]
	w.run("store", "certificates", w.path("tls"), "--host", store.ip.String())
	w.store = w.start(store, oldLife, "store", "serve", "--data", w.path("store"), "--listen", store.at(2113), "--ready-file", w.path("ready"),
		"--tls-cert", w.path("tls/server.crt"), "--tls-key", w.path("tls/server.key"), "--admin-password-file", w.path("password"))
	w.until("the store is ready", func() bool { _, err := os.Stat(w.path("ready")); return err == nil })
	w.journal, err = stores.Location{Address: w.address(), Credentials: w.path("credentials")}.Open(t.Context(), slog.New(slog.DiscardHandler))
	w.check(err)
	t.Cleanup(func() { w.check(w.journal.Close()) })
	for _, m := range w.net.all[2:] {
		h := &host{machine: m, w: w, life: oldLife, flags: flags}
		h.client, err = api.NewClient(api.ClientConfig{BaseURL: "http://" + m.at(apiPort), Token: "a-token-of-many-letters", Patience: time.Second})
		w.check(err)
		w.check(os.Mkdir(w.path(m.name), 0o700))
		w.check(os.Symlink(w.path("blobs"), w.path(m.name, "blobs")))
		w.hosts = append(w.hosts, h)
		h.begin()
	}
	for _, h := range w.hosts {
		h.serving()
	}
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *world) address() string {
	return fmt.Sprintf("esdb://%s?tlsCAFile=%s", w.net.all[1].at(2113), w.path("tls/ca.crt"))
}

// command is a build of life with the settings of the world.
func (w *world) command(life string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	w.check(err)
	scripts, err := filepath.Abs("testdata")
	w.check(err)
	cmd := exec.Command(self, args...)
	cmd.Args[0] = life
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "LIFE_STORE="+w.address(), "LIFE_STORE_CREDENTIALS_FILE="+w.path("credentials"), "LIFE_CLUSTER="+name,
		"LIFE_TOKEN_FILE="+w.path("token"), "LIFE_SCRIPTS="+scripts, "LIFE_PRICES="+filepath.Join(scripts, "prices.yaml"), "LIFE_CREDIT=1000000", "LIFE_LOG_LEVEL=info")
	return cmd
}

// run runs a verb to its end.
func (w *world) run(args ...string) string {
	w.t.Helper()
	out, err := w.command(oldLife, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("life %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start starts a program on a machine. It ends with the test.
func (w *world) start(m *machine, life string, args ...string) *process {
	w.t.Helper()
	p := &process{cmd: w.command(life, args...), ended: make(chan struct{})}
	log, err := os.OpenFile(w.path(m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.check(err)
	p.cmd.Stderr = both{&p.said, log}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.in(func() { err = p.cmd.Start() })
	w.check(err)
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		_ = log.Close()
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		w.sound(m, p)
	})
	return p
}

// sound says whether a process ended of something that no process should end of.
func (w *world) sound(m *machine, p *process) {
	for _, bad := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if text := p.said.String(); strings.Contains(text, bad) {
			w.t.Errorf("%s: %s, see %s", m.name, bad, w.path(m.name+".log"))
		}
	}
}

// both writes to two.
type both struct {
	memory *said
	file   *os.File
}

func (b both) Write(p []byte) (int, error) {
	n, err := b.memory.Write(p)
	_, failed := b.file.Write(p)
	return n, errors.Join(err, failed)
}

// begin starts the host.
func (h *host) begin() {
	h.w.t.Helper()
	args := append([]string{
		"serve", "--data", h.w.path(h.name), "--listen", h.at(apiPort), "--name", h.ip.String(), "--peer", h.at(peerPort), "--peer-name", h.name,
		"--peer-certs", h.w.path("peers"), "--shared-workspaces", "/", "--silent", silent.String(),
	}, h.flags...)
	p := h.w.start(h.machine, h.life, args...)
	h.lock.Lock()
	defer h.lock.Unlock()
	h.serves = p
}

// process is the host's newest one.
func (h *host) process() *process {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.serves
}

// serving waits until the host answers.
func (h *host) serving() {
	h.w.t.Helper()
	h.w.until(h.name+" answers", func() bool {
		p := h.process()
		select {
		case <-p.ended:
			h.w.t.Fatalf("%s ended:\n%s", h.name, p.said.String())
		default:
		}
		ctx, cancel := context.WithTimeout(h.w.t.Context(), time.Second)
		defer cancel()
		_, err := h.client.Health(ctx)
		return err == nil
	})
}

// kill ends the host at once.
func (h *host) kill() {
	p := h.process()
	_ = p.cmd.Process.Kill()
	<-p.ended
	h.w.sound(h.machine, p)
}

// stop has the process stand still; wake has it go on. What it started runs on meanwhile.
func (p *process) stop() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) wake() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// until waits for something, as long as the test may take.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	for began := time.Now(); !is(); wait(ctx, 20*time.Millisecond) {
		if ctx.Err() != nil {
			w.t.Fatalf("not in %s: %s", time.Since(began).Round(time.Second), what)
		}
	}
}

// patient ends in time for the test to say what did not come about.
func (w *world) patient() (context.Context, context.CancelFunc) {
	if end, bounded := w.t.Deadline(); bounded {
		return context.WithDeadline(w.t.Context(), end.Add(-20*time.Second))
	}
	return context.WithCancel(w.t.Context())
}

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// view is the cluster as the store has it.
func (w *world) view() *cluster.View {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	for {
		view, err := membership.Read(ctx, w.journal, name)
		if err == nil {
			return view
		}
		if wait(ctx, 50*time.Millisecond); ctx.Err() != nil {
			w.t.Fatal(err)
		}
	}
}

// whole waits until all hosts are members, as those that run now.
func (w *world) whole() {
	w.t.Helper()
	w.until("all hosts are members", func() bool {
		view := w.view()
		return !slices.ContainsFunc(w.hosts, func(h *host) bool {
			member, is := view.Named(h.name)
			return !is || member.State != cluster.StateJoined || !h.member(member.ID)
		})
	})
}

// member reports whether the host answers, and is the member of an id.
func (h *host) member(id events.HostID) bool {
	ctx, cancel := context.WithTimeout(h.w.t.Context(), time.Second)
	defer cancel()
	_, err := h.client.Health(ctx)
	return err == nil && strings.Contains(h.process().said.String(), fmt.Sprintf("life: host %s of cluster", id))
}

// happened lists what is in the cluster's stream after a revision.
func (w *world) happened(after events.Revision) []events.Envelope {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	var list []events.Envelope
	for {
		page, err := w.journal.Read(ctx, events.ClusterStream(name), after+1+events.Revision(len(list)), storage.Forward, storage.Limit{})
		w.check(err)
		if list = append(list, page.Events...); page.End {
			return list
		}
	}
}

// removed lists who was removed after a revision of the cluster's stream, by name, with why.
func (w *world) removed(after events.Revision) map[string]events.HostRemoved {
	removed := map[string]events.HostRemoved{}
	for _, envelope := range w.happened(after) {
		event, err := envelope.Event()
		w.check(err)
		if e, is := event.(events.HostRemoved); is {
			removed[e.Host.Name()] = e
		}
	}
	return removed
}
