package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/adapters/api"
	"example.com/life/adapters/peers"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// clusterName is that of the cluster that is measured.
const clusterName = "bench"

// credit is in the wallet from which all agents pay, in dollars: enough for the reservations of as many as can be at work at once.
const credit = "1000000"

// scripts is the directory of the models' scripts, shared of the hosts' workspaces.
const (
	scripts = "scripts"
	shared  = "shared"
)

// hosts are a store and the hosts on it, each in a process of its own, with everything they keep in one directory.
type hosts struct {
	dir, life string
	fence     time.Duration
	store     *Child
	journal   stores.Journal
	members   []*host // one for each name
	answers   *answers
}

// host is a host of the cluster. It is another process each time that it is started.
type host struct {
	*Child
	name   string
	client *api.Client
	down   bool
}

// startHosts starts a store and hosts on it, which form a cluster.
func startHosts(ctx context.Context, dir, life string, fence time.Duration, names ...string) (h *hosts, err error) {
	h = &hosts{dir: dir, life: life, fence: fence}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.end())
		}
	}()
	for _, name := range []string{"store", stores.BlobsName, scripts, shared} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return h, fmt.Errorf("create the benchmark's directory: %w", err)
		}
	}
	if h.store, err = StartStore(ctx, life, filepath.Join(dir, "store"), AnyPort); err != nil {
		return h, err
	}
	if h.journal, err = (stores.Location{Address: h.store.Address}).Open(ctx, slog.New(slog.DiscardHandler)); err != nil {
		return h, err
	}
	if h.answers, err = listen(ctx, h.journal); err != nil {
		return h, err
	}
	for _, name := range names {
		if err := h.prepare(name); err != nil {
			return h, err
		}
		member := &host{name: name, down: true}
		h.members = append(h.members, member)
		if err := h.start(ctx, member); err != nil {
			return h, err
		}
	}
	return h, nil
}

// prepare makes a host's certificate and data directory.
func (h *hosts) prepare(name string) error {
	if _, err := peers.MakeCertificate(h.certificates(), peers.Wanted{Host: name, Now: time.Now()}); err != nil {
		return err
	}
	if err := os.Mkdir(h.data(name), 0o700); err != nil {
		return fmt.Errorf("create a host's directory: %w", err)
	}
	if err := os.Symlink(filepath.Join(h.dir, stores.BlobsName), filepath.Join(h.data(name), stores.BlobsName)); err != nil {
		return fmt.Errorf("share the directory of large texts: %w", err)
	}
	return nil
}

func (h *hosts) certificates() string    { return filepath.Join(h.dir, "certs") }
func (h *hosts) data(name string) string { return filepath.Join(h.dir, name) }

// start starts a host and waits until it is a member that has nothing of others.
func (h *hosts) start(ctx context.Context, m *host) error {
	file := filepath.Join(h.data(m.name), "serve.json")
	if err := os.RemoveAll(file); err != nil {
		return fmt.Errorf("start a host: %w", err)
	}
	command := exec.CommandContext(ctx, h.life, "serve", "--data", h.data(m.name), "--store", h.store.Address, "--cluster", clusterName,
		"--listen", AnyPort, "--peer", AnyPort, "--peer-name", m.name, "--peer-certs", h.certificates(),
		"--fence", h.fence.String(), "--shared-workspaces", h.dir, "--credit", credit, "--scripts", filepath.Join(h.dir, scripts))
	command.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "LIFE_") })
	child, err := start(ctx, "host "+m.name, command, func() (string, bool) {
		var serving struct{ Address string }
		text, err := os.ReadFile(file)
		return serving.Address, err == nil && json.Unmarshal(text, &serving) == nil && serving.Address != ""
	})
	if err != nil {
		return err
	}
	m.Child, m.down = child, false
	if m.client, err = api.NewClient(api.ClientConfig{BaseURL: m.Address}); err != nil {
		return err
	}
	return h.all(ctx)
}

// all waits until exactly those hosts are members that are not down.
func (h *hosts) all(ctx context.Context) error {
	for ctx, cancel := context.WithTimeout(ctx, startTime); ; {
		view, err := h.view(ctx)
		want := len(h.living())
		if err == nil && len(view.Members) == want && !slices.ContainsFunc(view.Sorted(), func(m cluster.Member) bool { return m.State != cluster.StateJoined }) {
			cancel()
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			cancel()
			return fmt.Errorf("%d hosts did not become the members of the cluster: %w", want, cmp.Or(err, ctx.Err()))
		}
	}
}

// view is the newest view of the cluster.
func (h *hosts) view(ctx context.Context) (*cluster.View, error) {
	return membership.Read(ctx, h.journal, clusterName)
}

// living are the hosts that are not down.
func (h *hosts) living() []*host {
	return slices.DeleteFunc(slices.Clone(h.members), func(m *host) bool { return m.down })
}

// owned sorts agents by the host that they live on.
func (h *hosts) owned(ctx context.Context, agents []events.AgentID) (map[string][]events.AgentID, error) {
	view, err := h.view(ctx)
	if err != nil {
		return nil, err
	}
	owned := map[string][]events.AgentID{}
	for _, agent := range agents {
		owner, _ := view.Owner(events.AgentStream(agent))
		owned[owner.Name()] = append(owned[owner.Name()], agent)
	}
	return owned, nil
}

// takeOvers counts how often a host found that another writer had taken over what it held.
func (h *hosts) takeOvers(ctx context.Context) (count int, err error) {
	status, err := h.living()[0].client.Cluster(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, m := range status.Hosts {
		if m.Says == nil {
			return 0, fmt.Errorf("host %s does not say how it is doing: %s", m.ID, m.Problem)
		}
		count += int(m.Says.Counts.TakenOver)
	}
	return count, nil
}

// end ends everything as fast as it can be.
func (h *hosts) end() error {
	var failed []error
	for _, m := range h.members {
		if m.Child != nil {
			failed = append(failed, m.Kill(), m.client.Close())
		}
	}
	if h.answers != nil {
		failed = append(failed, h.answers.close())
	}
	if h.journal != nil {
		failed = append(failed, h.journal.Close())
	}
	if h.store != nil {
		failed = append(failed, h.store.Kill())
	}
	return errors.Join(failed...)
}

// again starts a host that is down, or is to be another process.
func (h *hosts) again(ctx context.Context, m *host) error {
	if err := errors.Join(m.Kill(), m.client.Close()); err != nil {
		return err
	}
	m.down = true
	return h.start(ctx, m)
}

// kill ends a host as a crash does, without waiting for that.
func (m *host) kill() error {
	m.down = true
	return m.Signal(syscall.SIGKILL)
}
