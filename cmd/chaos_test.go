//go:build linux

package cmd

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/api"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// Chaos kills and troubles life serve. LIFE_KILLS is how often it kills in all worlds together; LIFE_SEED repeats the choices of a run (what falls between two of
// them, the machine decides).
const (
	chaosKills  = 520
	chaosWorlds = 4  // at least, and one more for every 170 kills: long histories would make kills slow
	chaosLeast  = 50 // pauses, in a run of chaosKills
	chaosDisk   = "size=1g,mode=700"
	chaosAway   = 30 * time.Second // how long a store is away, once in each world that has one
)

// chaosKinds are the kinds of worlds: a store in the data directory; one behind life store serve; one in the data directory on a small disk of its own; and one
// behind life store serve that two life serve share.
var chaosKinds = []string{"embedded", "store", "disk", "hosts"}

// trouble is what befalls a life serve between its start and its kill.
type trouble struct {
	name   string
	weight int                                               // of 100 sessions
	needs  func(*chaosWorld) bool                            // nil: nothing
	strike func(*chaosWorld, context.Context, *chaosProcess) // it returns when the trouble is over, or stays to the kill
}

// troubles are drawn by weight; in the other sessions there is only the kill.
var troubles = []trouble{
	{name: "paused", weight: 20, strike: (*chaosWorld).pause},
	{name: "store paused", weight: 8, needs: (*chaosWorld).hasStore, strike: (*chaosWorld).pauseStore},
	{name: "store restarted", weight: 6, needs: (*chaosWorld).hasStore, strike: (*chaosWorld).restartStore},
	{name: "clock set", weight: 15, strike: (*chaosWorld).jump},
	{name: "disk full", weight: 16, needs: func(w *chaosWorld) bool { return w.disk }, strike: (*chaosWorld).fill},
	{name: "few descriptors", weight: 8}, // it is started with few
}

// chaosWorld is one store with its agents, its people and its troubles.
type chaosWorld struct {
	t       *testing.T
	life    string // the binary
	dir     string
	store   string // the setting store
	random  *rand.Rand
	hosts   []*chaosProcess // one or two; nil: it does not run
	disk    bool            // its data directory is a small disk of its own
	full    bool            // that is full
	few     bool            // it had few descriptors at some time: tools and models may have failed of it
	server  *bench.Child
	listen  string
	people  *people
	lock    sync.Mutex
	counts  map[string]int
	outcome map[string]int // of turns
}

// TestChaos is the promise of the whole under every trouble at once: life serve is killed again and again, and between its kills it is stopped and goes
// on, its clock jumps, its disk is full, its descriptors are few, its store is away for a moment or for 30 s; while people send, answer approvals, fork and ask
// projections, and programs publish commands. chaos_check_test.go says what holds in the end.
func TestChaos(t *testing.T) {
	kills, seed := int(envNumber(t, "LIFE_KILLS", chaosKills)), envNumber(t, "LIFE_SEED", uint64(time.Now().UnixNano()))
	t.Logf("LIFE_SEED=%d LIFE_KILLS=%d", seed, kills)
	life := buildChaos(t)
	worlds := max(chaosWorlds, (kills+169)/170)
	var lock sync.Mutex
	sum, outcomes := map[string]int{}, map[string]int{}
	begun := time.Now()
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(chaosKinds[i%len(chaosKinds)], i), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("again: LIFE_SEED=%d LIFE_KILLS=%d go test -count 1 -timeout 1h -run '^TestChaos$/^worlds$/^%s$' -v ./cmd", seed, kills, path.Base(t.Name()))
					}
				})
				w := newWorld(t, life, chaosKinds[i%len(chaosKinds)], rand.New(rand.NewPCG(seed, uint64(i)))) //nolint:gosec // choices of a test
				w.live((kills + worlds - 1 - i) / worlds)
				w.judge()
				t.Logf("%v, turns: %v", w.counts, w.outcome)
				lock.Lock()
				defer lock.Unlock()
				for into, from := range map[*map[string]int]map[string]int{&sum: w.counts, &outcomes: w.outcome} {
					for name, n := range from {
						(*into)[name] += n
					}
				}
			})
		}
	})
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		t.Logf("%6d %s", sum[name], name)
	}
	t.Logf("turns: %v", outcomes)
	t.Logf("%d worlds in %v", worlds, time.Since(begun).Round(time.Second))
	if whole := sum["worlds"] == worlds; whole && kills >= chaosKills && (sum["killed"] < kills*24/25 || sum["paused"] < chaosLeast) {
		t.Errorf("killed %d times and paused %d times, want about %d and at least %d", sum["killed"], sum["paused"], kills, chaosLeast)
	}
}

func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(name, err)
	}
	return n
}

// buildChaos builds life once, without the race detector, and with a clock that can be set.
func buildChaos(t *testing.T) string {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go, to build life with a clock that can be set: ", err)
	}
	dir := t.TempDir()
	absolute := func(path string) string {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{absolute("../actors/storage/time.go"): absolute("testdata/chaos/time.go")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	life := filepath.Join(dir, "life")
	build := exec.CommandContext(t.Context(), goTool, "build", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", life, "./life")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build life: %v\n%s", err, out)
	}
	return life
}

func newWorld(t *testing.T, life, kind string, random *rand.Rand) *chaosWorld {
	t.Helper()
	w := &chaosWorld{t: t, life: life, store: stores.InData, random: random, counts: map[string]int{}, outcome: map[string]int{}, hosts: make([]*chaosProcess, 1)}
	var err error
	w.dir, err = os.MkdirTemp("", "chaos-"+kind) //nolint:usetesting // it stays when the test fails
	w.check(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what is there is in %s", w.dir)
		} else {
			w.check(os.RemoveAll(w.dir))
		}
	})
	t.Cleanup(w.killAll)
	w.setClock(0)
	w.check(os.Mkdir(w.data(0), 0o700))
	switch kind {
	case "disk":
		w.mount()
	case "store", "hosts":
		w.listen = freePort(t, random)
		w.startStore()
		t.Cleanup(func() { _ = w.server.Kill() })
		w.store = w.server.Address
	}
	if kind == "hosts" {
		w.addHost()
	}
	w.people = newPeople(w, random.Uint64())
	return w
}

// addHost lets a second host share the store and, as hosts of one store need it, the directory of blobs.
func (w *chaosWorld) addHost() {
	shared := filepath.Join(w.data(0), stores.BlobsName)
	w.check(errors.Join(os.MkdirAll(shared, 0o700), os.MkdirAll(w.data(1), 0o700), os.Symlink(shared, filepath.Join(w.data(1), stores.BlobsName))))
	w.hosts = append(w.hosts, nil)
}

func (w *chaosWorld) data(host int) string { return filepath.Join(w.dir, fmt.Sprint("data", host)) }
func (w *chaosWorld) workspace(agent events.AgentID) string {
	return filepath.Join(w.dir, string(agent))
}

func (w *chaosWorld) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// command is life with the settings of the world, on a host's data directory.
func (w *chaosWorld) command(host int, args ...string) *exec.Cmd {
	scripts, err := filepath.Abs("testdata/models")
	w.check(err)
	prices, err := filepath.Abs("testdata/chaos/prices.yaml")
	w.check(err)
	cmd := exec.Command(w.life, args...)
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "LIFE_DATA="+w.data(host), "LIFE_STORE="+w.store, "LIFE_SCRIPTS="+scripts, "LIFE_PRICES="+prices,
		"LIFE_LISTEN=127.0.0.1:0", "LIFE_CREDIT=100000", "LIFE_CHAOS_CLOCK="+filepath.Join(w.dir, "clock"),
		"LIFE_SANDBOX_MODE=off") // it needs more descriptors than the hosts that have few
	return cmd
}

// run runs a verb to its end and returns what it prints.
func (w *chaosWorld) run(args ...string) string {
	w.t.Helper()
	out, err := w.command(0, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("life %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// patient is for what must come about: it ends in time for the test to say what did not.
func (w *chaosWorld) patient() (context.Context, context.CancelFunc) {
	if end, bounded := w.t.Deadline(); bounded {
		return context.WithDeadline(w.t.Context(), end.Add(-20*time.Second))
	}
	return context.WithCancel(w.t.Context())
}

// mount gives the world a data directory that can be filled; where it may not, the world goes on without.
func (w *chaosWorld) mount() {
	if err := unix.Mount("tmpfs", w.data(0), "tmpfs", 0, chaosDisk); err != nil {
		w.t.Logf("no full disk in this world: mounting a small one needs root: %v", err)
		return
	}
	w.disk = true
	w.t.Cleanup(func() {
		if err := unix.Unmount(w.data(0), unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *chaosWorld) count(what string, n int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.counts[what] += n
}

func (w *chaosWorld) hasStore() bool { return w.server != nil }

func (w *chaosWorld) startStore() {
	dir := filepath.Join(w.dir, "store")
	w.check(os.MkdirAll(dir, 0o700))
	var err error
	w.server, err = bench.StartStore(context.Background(), w.life, dir, w.listen)
	w.check(err)
}

// setClock sets what the clock of every life serve is off.
func (w *chaosWorld) setClock(off time.Duration) {
	var text [8]byte
	binary.LittleEndian.PutUint64(text[:], uint64(off.Microseconds())) //nolint:gosec // back as it was in the other program
	file, err := os.OpenFile(filepath.Join(w.dir, "clock"), os.O_WRONLY|os.O_CREATE, 0o600)
	w.check(err)
	_, err = file.WriteAt(text[:], 0)
	w.check(errors.Join(err, file.Close()))
}

// live is the life of a world: sessions that each end with a kill, and one in which the store is away for 30 s and nothing is killed.
func (w *chaosWorld) live(kills int) {
	for i := range kills {
		if w.hasStore() && i == kills/2 {
			w.outage()
		}
		w.session()
	}
	w.killAll()
}

// session has every host run, strikes one with at most one trouble, and kills it: now and then while it starts.
func (w *chaosWorld) session() {
	victim, struck := w.random.IntN(len(w.hosts)), w.draw()
	starting, life := w.random.IntN(6) == 0, time.Duration(10+w.random.IntN(90))*time.Millisecond
	few := 0
	if struck != nil && struck.strike == nil {
		few, w.few = 40+w.random.IntN(80), true
		w.count(struck.name, 1)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	w.beginAll(few)
	if starting {
		wait(ctx, life/2)
		w.kill(victim)
		return
	}
	clients := w.reachAll(ctx)
	driven := make(chan struct{})
	go func() {
		defer close(driven)
		w.people.busy(ctx, clients)
	}()
	if struck != nil && struck.strike != nil {
		wait(ctx, life/2)
		w.count(struck.name, 1)
		struck.strike(w, ctx, w.hosts[victim])
	}
	wait(ctx, life)
	w.kill(victim) // while people are busy
	cancel()
	<-driven
	if w.full && w.random.IntN(3) > 0 {
		w.empty()
	}
}

// reachAll returns the clients of all hosts. One that does not start in its trouble starts once more without.
func (w *chaosWorld) reachAll(ctx context.Context) (clients []*api.Client) {
	for i, p := range w.hosts {
		if p.few > 0 || w.full {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			p.reach(ctx, w)
			cancel()
			if p.client == nil {
				w.count("did not start in its trouble", 1)
				w.kill(i)
				w.empty()
				p = w.begin(i, 0)
				w.hosts[i] = p
			}
		}
		ctx, cancel := w.patient()
		p.reach(ctx, w)
		cancel()
		if p.client == nil {
			w.t.Fatalf("life serve does not start:\n%s", p.said.String())
		}
		clients = append(clients, p.client)
	}
	return clients
}

// draw chooses a trouble, or none.
func (w *chaosWorld) draw() *trouble {
	n := w.random.IntN(100)
	for i := range troubles {
		if n -= troubles[i].weight; n < 0 {
			if t := &troubles[i]; t.needs == nil || t.needs(w) {
				return t
			}
			return &troubles[0] // in its place
		}
	}
	return nil
}

func (w *chaosWorld) pause(ctx context.Context, p *chaosProcess) {
	w.check(p.cmd.Process.Signal(syscall.SIGSTOP))
	wait(ctx, time.Duration(w.random.IntN(150))*time.Millisecond)
	if w.random.IntN(4) > 0 { // else it is killed as it stands
		w.check(p.cmd.Process.Signal(syscall.SIGCONT))
	}
}

func (w *chaosWorld) pauseStore(ctx context.Context, _ *chaosProcess) {
	w.check(w.server.Signal(syscall.SIGSTOP))
	wait(ctx, time.Duration(w.random.IntN(300))*time.Millisecond)
	w.check(w.server.Signal(syscall.SIGCONT))
}

func (w *chaosWorld) restartStore(ctx context.Context, _ *chaosProcess) {
	w.check(w.server.Kill())
	wait(ctx, time.Duration(w.random.IntN(100))*time.Millisecond)
	w.startStore()
}

// jump sets the clock up to an hour forward or back.
func (w *chaosWorld) jump(context.Context, *chaosProcess) {
	w.setClock(time.Duration(w.random.IntN(7200)-3600) * time.Second)
}

// fill fills the disk, at times only down to what the store keeps in reserve; it stays full to the kill, and at times through the next session. The disk
// shrinks to what is on it: that takes no memory.
func (w *chaosWorld) fill(context.Context, *chaosProcess) {
	var disk unix.Statfs_t
	w.check(unix.Statfs(w.data(0), &disk))
	size := int64(disk.Blocks-disk.Bfree) * disk.Bsize //nolint:gosec // a small disk
	if w.random.IntN(2) == 0 {
		size += 64 << 20
	}
	if err := unix.Mount("", w.data(0), "", unix.MS_REMOUNT, fmt.Sprint("size=", size)); err != nil {
		return // life serve wrote more meanwhile
	}
	w.full = true
}

func (w *chaosWorld) empty() {
	if w.disk {
		w.check(unix.Mount("", w.data(0), "", unix.MS_REMOUNT, chaosDisk))
	}
	w.full = false
}

// outage takes the store away for 30 s while turns work: whatever had begun is finished when it is back, and nothing is lost.
func (w *chaosWorld) outage() {
	ctx, cancel := w.patient()
	defer cancel()
	for i := range w.hosts {
		w.kill(i)
	}
	w.beginAll(0)
	clients := w.reachAll(ctx)
	w.people.rest(ctx, clients[0])
	before := w.people.lost(ctx, clients[0])
	w.people.send(ctx, clients)
	wait(ctx, time.Duration(5+w.random.IntN(40))*time.Millisecond)
	w.check(w.server.Kill())
	wait(ctx, chaosAway)
	w.startStore()
	w.count("store away for 30 s", 1)
	w.people.rest(ctx, clients[0])
	if after := w.people.lost(ctx, clients[0]); after != before {
		w.t.Errorf("%d calls were lost while the store was away", after-before)
	}
}

// chaosProcess is a life serve.
type chaosProcess struct {
	cmd    *exec.Cmd
	few    int // descriptors that it has; 0: enough
	said   chaosOutput
	ended  chan struct{}
	client *api.Client // nil until it is reached
}

// chaosOutput is what a process says.
type chaosOutput struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (s *chaosOutput) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.Write(p)
}

func (s *chaosOutput) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.String()
}

// beginAll starts the hosts that do not run.
func (w *chaosWorld) beginAll(few int) {
	for i, p := range w.hosts {
		if p == nil {
			w.hosts[i] = w.begin(i, few)
		}
	}
}

// begin starts life serve, if few > 0 with as many descriptors.
func (w *chaosWorld) begin(host, few int) *chaosProcess {
	p := &chaosProcess{cmd: w.command(host, "serve"), few: few, ended: make(chan struct{})}
	if few > 0 {
		shell, err := exec.LookPath("sh")
		w.check(err)
		p.cmd.Path, p.cmd.Args = shell, []string{"sh", "-c", fmt.Sprintf("ulimit -n %d && exec %s serve", few, w.life)}
	}
	p.cmd.Stderr = &p.said
	w.check(p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	return p
}

// kill kills a host; whatever had befallen it, it must not have panicked.
func (w *chaosWorld) kill(host int) {
	p := w.hosts[host]
	if p == nil {
		return
	}
	w.hosts[host] = nil
	_ = p.cmd.Process.Kill() // it may have ended of its trouble
	<-p.ended
	if status, is := p.cmd.ProcessState.Sys().(syscall.WaitStatus); is && status.Signaled() && status.Signal() == syscall.SIGKILL {
		w.count("killed", 1)
	} else {
		w.count("ended of its trouble", 1)
		if p.few == 0 && !w.full {
			w.t.Errorf("life serve ended by itself, with %v:\n%s", p.cmd.ProcessState, p.said.String())
		}
	}
	if p.client != nil {
		w.check(p.client.Close())
	}
	if text := p.said.String(); strings.Contains(text, "panic:") || strings.Contains(text, "fatal error:") || strings.Contains(text, "goroutine 1 ") {
		w.t.Fatalf("life serve panicked:\n%s", text)
	}
}

func (w *chaosWorld) killAll() {
	for i := range w.hosts {
		w.kill(i)
	}
}

// reach waits until life serve says where it is, or has ended, or ctx has.
func (p *chaosProcess) reach(ctx context.Context, w *chaosWorld) {
	for ; p.client == nil && ctx.Err() == nil; wait(ctx, time.Millisecond) {
		if _, after, ok := strings.Cut(p.said.String(), "life: serving "); ok {
			_, after, _ = strings.Cut(after, " at ")
			if address, _, ok := strings.Cut(after, ","); ok {
				var err error
				p.client, err = api.NewClient(api.ClientConfig{BaseURL: address, Patience: 10 * time.Millisecond})
				w.check(err)
			}
		}
		select {
		case <-p.ended:
			return
		default:
		}
	}
}

func agentNames(prefix string, n int) []events.AgentID {
	names := make([]events.AgentID, n)
	for i := range names {
		names[i] = events.AgentID(prefix + strconv.Itoa(i))
	}
	return names
}
