package cmd

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TestBusAcrossKills publishes commands, and kills the host that carries them out again and again: in the end each message is in its
// agent's history once, in the order of publishing, and each command has been answered.
func TestBusAcrossKills(t *testing.T) {
	const agents, messages, kills = 3, 600, 12
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_DATA", filepath.Join(dir, "data"))
	t.Setenv("LIFE_LISTEN", "127.0.0.1:0")
	useTestStore(t)
	for i := range agents {
		must(t, "agents", "create", fmt.Sprint("a", i), "--model", "scripted/echo", "--limit-queue", "1000", "--workspace", dir)
	}
	publishAll(t, agents, messages)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) //nolint:gosec // choices of a test
	for range kills {
		host := startHost(t)
		wait(t.Context(), time.Duration(20+random.IntN(130))*time.Millisecond)
		if err := host.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := host.Wait(); err == nil {
			t.Fatal("life serve ended by itself")
		}
	}
	t.Logf("%d of %d replies were there after %d kills", replied(t), messages, kills)
	host := startHost(t)
	defer func() {
		if err := host.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := host.Wait(); err != nil {
			t.Errorf("life serve ended with %v", err)
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); wait(t.Context(), 10*time.Millisecond) {
		if where, err := readServing(os.Getenv("LIFE_DATA")); err == nil && where.PID == host.Process.Pid {
			break
		}
	}
	must(t, "send", "a0", "the last one", "--via", "bus", "--wait") // behind all others
	for i := range agents {
		var got []string
		for _, e := range decodeLines[events.Envelope](t, must(t, "history", fmt.Sprint("a", i), "--json")) {
			event, err := e.Event()
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := event.(events.MessageReceived); ok && m.Inline != "the last one" {
				got = append(got, m.Inline)
			}
		}
		var want []string
		for k := i; k < messages; k += agents {
			want = append(want, fmt.Sprint("message ", k))
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("agent a%d received %q, want %q", i, got, want)
		}
	}
	if list := must(t, "commands", "poisoned", "list", "--json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("poisoned: %s", list)
	}
	if verified := must(t, "verify", "--all"); !strings.HasPrefix(verified, "ok") {
		t.Error(verified)
	}
}

// publishAll publishes messages to agents in turn; no life serve runs yet.
func publishAll(t *testing.T, agents, messages int) {
	t.Helper()
	p := stores.Location{Data: os.Getenv("LIFE_DATA")}
	if store := os.Getenv("LIFE_STORE"); stores.IsAddress(store) {
		p.Address = store
	}
	journal, err := p.Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for k := range messages {
		data := fmt.Appendf(nil, `{"agent":"a%d","text":"message %d"}`, k%agents, k)
		command := api.BusCommand{ID: events.CommandID(fmt.Sprint("c", k)), Type: "SendMessage", Data: data}
		if err := (stores.Bus{Journal: journal}).Publish(t.Context(), sagas.DefaultTenant, command, actors.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
}

func startHost(t *testing.T) *exec.Cmd {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(binary, "serve")
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	return host
}

// replied counts the replies; no life serve runs.
func replied(t *testing.T) int {
	t.Helper()
	count := 0
	for _, e := range decodeLines[struct {
		Stream events.Stream `json:"stream"`
	}](t, must(t, "store", "export")) {
		if e.Stream == "reply-local" {
			count++
		}
	}
	return count
}
