package cmd

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// hostsMessages is how many messages two hosts are given together.
const hostsMessages = 80

// TestTwoHosts: two life serve with data directories of their own share one store. Messages for the same agents go to either, one of
// the two is killed now and then, and what holds for one host holds for both together: every accepted message is in exactly one
// turn, which ends exactly once, no line that a tool writes is there twice, and every decision verifies.
func TestTwoHosts(t *testing.T) {
	server, err := startStoreServerHere(t.TempDir(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.kill() })
	first := newStormAt(t, server.address)
	second := *first // with the same agents, messages and choices
	second.dir = t.TempDir()
	shareBlobs(t, first, &second)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	hosts := []*host{{storm: first}, {storm: &second}}
	for _, h := range hosts {
		h.start(ctx)
	}
	kills := 0
	for range hostsMessages {
		h := hosts[first.random.IntN(len(hosts))]
		h.send(ctx, h.client, events.AgentID("a"+strconv.Itoa(first.random.IntN(stormAgents))))
		if first.random.IntN(16) == 0 {
			kills++
			h.kill()
			h.start(ctx)
		}
	}
	t.Logf("%d hosts, %d messages, %d kills", len(hosts), hostsMessages, kills)
	for agent := range first.pend {
		first.send(ctx, hosts[0].client, agent)
	}
	first.rest(ctx, hosts[0].client) // both have had their say
	hosts[1].end()
	hosts[0].kill()
	first.finish()
}

// shareBlobs gives two hosts one directory of blobs, as hosts of one store need it.
func shareBlobs(t *testing.T, first, second *storm) {
	t.Helper()
	shared := filepath.Join(first.data(), stores.BlobsName)
	for _, dir := range []string{shared, second.data()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(shared, filepath.Join(second.data(), stores.BlobsName)); err != nil {
		t.Fatal(err)
	}
}

// host is one of several.
type host struct {
	*storm
	cmd    *exec.Cmd
	errs   *bytes.Buffer
	client *api.Client
}

func (h *host) start(ctx context.Context) {
	h.cmd, h.errs = h.serve()
	h.client = h.reach(ctx, h.cmd, h.errs)
}

func (h *host) kill() {
	h.t.Helper()
	h.check(h.client.Close())
	h.check(h.cmd.Process.Kill())
	_ = h.cmd.Wait()
	if bytes.Contains(h.errs.Bytes(), []byte("panic")) {
		h.t.Fatalf("life serve panicked:\n%s", h.errs)
	}
}

func (h *host) end() {
	h.t.Helper()
	h.check(h.client.Close())
	h.check(h.cmd.Process.Signal(os.Interrupt))
	if err := h.cmd.Wait(); err != nil {
		h.t.Errorf("life serve ended with %v:\n%s", err, h.errs)
	}
}
