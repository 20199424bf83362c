package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/adapters/bus"
	"example.com/life/adapters/peers"
	"example.com/life/adapters/providers"
	known "example.com/life/adapters/providers/models"
	"example.com/life/adapters/secrets"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

// doer is a host, however it is reached.
type doer interface {
	Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error)
}

// repeated is a message that an agent has taken already. It answers that it has: nothing is stored for it, and nothing is read.
type repeated struct {
	agent   events.AgentID
	message sagas.Send
}

// repeat gives agents a message each, to be repeated.
func (h *hosts) repeat(ctx context.Context, agents []events.AgentID) (all []repeated, err error) {
	for _, agent := range agents {
		one := repeated{agent, sagas.Send{Meta: meta(), Verb: events.Collect, Text: events.Text{Inline: echo()}}}
		receipt, err := h.members[0].client.Do(ctx, events.AgentStream(agent), one.message, origin())
		if err == nil {
			_, err = h.answers.wait(ctx, receipt.Turn)
		}
		if err != nil {
			return nil, fmt.Errorf("give agent %s a message: %w", agent, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// by has a message repeated by way of a host, and says how long that took.
func (r *repeated) by(ctx context.Context, host doer) (time.Duration, error) {
	begun := time.Now()
	receipt, err := host.Do(ctx, events.AgentStream(r.agent), r.message, origin())
	if took := time.Since(begun); err != nil || receipt.Duplicate {
		return took, err
	}
	return 0, fmt.Errorf("agent %s took a message twice, as %s and again as %s", r.agent, r.message.ID, receipt.Message)
}

// decide has an idle agent decide a command that changes nothing, and says how long that took: there is nothing to cancel.
func decide(ctx context.Context, by doer, agent events.AgentID) (time.Duration, error) {
	begun := time.Now()
	_, err := by.Do(ctx, events.AgentStream(agent), sagas.Cancel{Meta: meta()}, origin())
	took := time.Since(begun)
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) || refusal.Code != sagas.RefusedState {
		return took, fmt.Errorf("agent %s should have had nothing to cancel: %w", agent, err)
	}
	return took, nil
}

// measureAdded has one caller send commands to one agent, at its own host and at another one in turn, and returns the difference of the medians.
func (h *hosts) measureAdded(ctx context.Context, agent events.AgentID, during time.Duration) (ms float64, err error) {
	view, err := h.view(ctx)
	if err != nil {
		return 0, err
	}
	owner, _ := view.Owner(events.AgentStream(agent))
	var ways [2]*host // its own, another one
	for _, m := range h.living() {
		if m.name == owner.Name() {
			ways[0] = m
		} else {
			ways[1] = m
		}
	}
	if ways[0] == nil || ways[1] == nil {
		return 0, fmt.Errorf("agent %s lives on %q, and %d hosts run", agent, owner, len(h.living()))
	}
	messages, err := h.repeat(ctx, []events.AgentID{agent})
	if err != nil {
		return 0, err
	}
	var took [2][]time.Duration
	for begun := time.Now(); time.Since(begun) < during; {
		for i, way := range ways {
			one, err := messages[0].by(ctx, way.client)
			if err != nil {
				return 0, err
			}
			took[i] = append(took[i], one)
		}
	}
	return quantile(took[1], 0.5) - quantile(took[0], 0.5), nil
}

// forwardCallers is how many callers there are at once when commands are counted.
const forwardCallers = 64

// rated is how often something was done in a second, and how much of the processors that took each time, in microseconds, which depends less on what else
// the machine does.
type rated struct{ perSec, cpu float64 }

// measureForwarded makes this process a host of weight 0, which holds nothing, and has many callers there send commands to agents of the others; and then ask another
// host for what it answers from memory.
func (h *hosts) measureForwarded(ctx context.Context, agents []events.AgentID, during time.Duration) (forwarded, asked rated, err error) {
	const name = "bench-entry"
	if err := h.prepare(name); err != nil && !errors.Is(err, os.ErrExist) {
		return forwarded, asked, err
	}
	models, err := providers.New(providers.Config{})
	if err != nil {
		return forwarded, asked, err
	}
	prices, err := known.Load("", "")
	if err != nil {
		return forwarded, asked, err
	}
	masker, err := secrets.New(nil)
	if err != nil {
		return forwarded, asked, err
	}
	entry, err := stores.OpenHost(ctx, stores.Location{
		Data: h.data(name), Address: h.store.Address, Cluster: &stores.Cluster{
			Name: clusterName, Listen: AnyPort, Certificates: h.certificates(), Workspaces: []string{h.dir},
			Joined: events.HostJoined{Name: name, Fence: events.Micros(h.fence.Microseconds()), Silent: events.Second},
		},
	}, actors.Config{Models: models, Prices: prices, Masker: masker, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return forwarded, asked, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTime)
		defer cancel()
		err = errors.Join(err, entry.Drain(ctx), entry.Close(ctx))
	}()
	messages, err := h.repeat(ctx, agents[:min(len(agents), forwardCallers)])
	if err != nil {
		return forwarded, asked, err
	}
	forwarded, err = h.rate(ctx, len(messages), during, func(i int) error {
		_, err := messages[i].by(ctx, entry)
		return err
	})
	if err != nil {
		return forwarded, asked, err
	}
	asked, err = h.measureAsked(ctx, entry.Member(), name, during)
	return forwarded, asked, err
}

// measureAsked asks homeostasis for advice, as agents of another host do: calls from one host to another without a store behind them.
func (h *hosts) measureAsked(ctx context.Context, member *membership.Member, name string, during time.Duration) (asked rated, err error) {
	identity, err := peers.LoadIdentity(h.certificates(), name, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		return asked, err
	}
	client := peers.NewClient(peers.ClientConfig{Identity: identity, Self: member.Self})
	defer client.Close()
	view := member.View()
	owner, _ := view.Owner(events.HomeostasisStream(sagas.DefaultTenant))
	to, is := view.Member(owner)
	if !is {
		return asked, errors.New("homeostasis lives on no host")
	}
	call := actors.PeerCall{Epoch: view.Epoch, Advise: &actors.PeerAdvise{Tenant: sagas.DefaultTenant, Mode: events.ModeExplore}}
	return h.rate(ctx, forwardCallers, during, func(int) error {
		answer, err := client.Call(ctx, to, call)
		if err == nil && answer.Error != nil {
			err = answer.Error.Err()
		}
		return err
	})
}

// rate is how often so many callers can do something.
func (h *hosts) rate(ctx context.Context, callers int, during time.Duration, do func(caller int) error) (r rated, err error) {
	var (
		workers sync.WaitGroup
		count   atomic.Int64
		failed  = make([]error, callers)
		warmUp  = during / 4
	)
	running, stop := context.WithCancel(ctx)
	for i := range callers {
		workers.Go(func() {
			for running.Err() == nil && failed[i] == nil {
				failed[i] = do(i)
				count.Add(1)
			}
		})
	}
	err = sleep(ctx, warmUp)
	begun, used, counted := time.Now(), h.processors(), count.Load()
	err = errors.Join(err, sleep(ctx, during))
	counted, used = count.Load()-counted, h.processors()-used
	r.perSec, r.cpu = float64(counted)/time.Since(begun).Seconds(), float64(used.Microseconds())/float64(max(counted, 1))
	stop()
	workers.Wait()
	return r, errors.Join(append(failed, err)...)
}

// processors is the time that this process and the hosts have had of the processors; 0 where that cannot be read.
func (h *hosts) processors() (used time.Duration) {
	pids := []int{os.Getpid()}
	for _, m := range h.living() {
		pids = append(pids, m.command.Process.Pid)
	}
	for _, pid := range pids {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		_, rest, found := strings.Cut(string(text), ") ") // the name before may hold anything
		fields := strings.Fields(rest)
		if err != nil || !found || len(fields) < 13 {
			return 0
		}
		for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0
			}
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}

// measureTakeOvers sends agents that share a wallet messages by way of any host, and counts how often one host finds that another one has taken over what it held.
func (h *hosts) measureTakeOvers(ctx context.Context, agents []events.AgentID, messages int, refused *refusals) (int, error) {
	before, err := h.takeOvers(ctx)
	if err != nil {
		return 0, err
	}
	living := h.living()
	var left atomic.Int64
	left.Store(int64(messages))
	if err := h.each(agents, len(agents), func(_ *host, agent events.AgentID) error {
		for left.Add(-1) >= 0 {
			if _, err := h.send(ctx, living[rand.IntN(len(living))], agent, echo(), refused); err != nil { //nolint:gosec // any host will do
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	after, err := h.takeOvers(ctx)
	return after - before, err
}

// measureBus publishes commands to agents on the bus, as one tenant, and says how many are carried out in a second.
func (h *hosts) measureBus(ctx context.Context, agents []events.AgentID, commands int) (perSec float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	end, err := stores.LastPosition(ctx, h.journal)
	if err != nil {
		return 0, err
	}
	feed, err := h.journal.Subscribe(ctx, storage.From{Position: end, Filter: storage.Filter{Kinds: []string{string(events.AgentConfigured{}.Kind())}}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, feed.Close()) }()
	publisher, err := bus.NewPublisher(bus.PublisherConfig{Journal: h.journal})
	if err != nil {
		return 0, err
	}
	sender, err := bus.NewSender(publisher, sagas.DefaultTenant)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	var left atomic.Int64
	left.Store(int64(commands))
	published := make(chan error, 1)
	go func() {
		published <- h.each(agents, len(agents), func(_ *host, agent events.AgentID) error {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				config := agentConfig("")
				config.Prompt = "Configured as number " + strconv.FormatInt(n, 10)
				command := bus.Command{Stream: events.AgentStream(agent), Command: sagas.Configure{Meta: meta(), Config: config}}
				if _, err := sender.Send(ctx, "", origin(), command); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for carried := 0; carried < commands; carried++ {
		if _, err := feed.Next(ctx); err != nil {
			return 0, errors.Join(fmt.Errorf("%d of %d commands on the bus were carried out: %w", carried, commands, err), <-published)
		}
	}
	return float64(commands) / time.Since(begun).Seconds(), <-published
}

// measureIdle counts what is stored while nobody wants anything.
func (h *hosts) measureIdle(ctx context.Context, during time.Duration) (count int, err error) {
	if err := sleep(ctx, 2*time.Second); err != nil { // what was begun ends
		return 0, err
	}
	end, err := stores.LastPosition(ctx, h.journal)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, during); err != nil {
		return 0, err
	}
	for next := storage.After(end); ; {
		page, err := h.journal.ReadAll(ctx, next, storage.Forward, storage.Filter{System: true}, storage.Limit{})
		if err != nil {
			return count, err
		}
		count, next = count+len(page.Events), page.Next
		if page.End {
			return count, nil
		}
	}
}

// longAgent is the one with a long history.
const longAgent events.AgentID = "bench-long"

// grow gives an agent a history of so many events.
func (h *hosts) grow(ctx context.Context, count int, refused *refusals, say func(string, ...any)) error {
	if err := h.create(ctx, []events.AgentID{longAgent}, func(events.AgentID) events.AgentConfig {
		config := agentConfig("bench")
		config.Tools = []events.ToolGrant{{Name: "echo"}}
		return config
	}); err != nil {
		return err
	}
	for {
		page, err := h.journal.Read(ctx, events.AgentStream(longAgent), 1<<62, storage.Backward, storage.Limit{Events: 1})
		if err != nil || int(page.Last) >= count {
			return err
		}
		owner, err := h.ranked(ctx, longAgent)
		if err != nil {
			return err
		}
		say("an agent with a long history: %d of %d events", page.Last, count)
		for range 100 {
			if _, err := h.send(ctx, owner[0], longAgent, echo(), refused); err != nil {
				return err
			}
		}
	}
}

// ranked are the hosts of an agent: its own, its successor, and so on.
func (h *hosts) ranked(ctx context.Context, agent events.AgentID) (ranked []*host, err error) {
	view, err := h.view(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range view.Ranked(events.AgentStream(agent)) {
		i := slices.IndexFunc(h.members, func(m *host) bool { return m.name == id.Name() })
		if i < 0 {
			return nil, fmt.Errorf("agent %s may live on %s, which the benchmark did not start", agent, id)
		}
		ranked = append(ranked, h.members[i])
	}
	return ranked, nil
}

// measureActivation kills the host of the agent with the long history, and measures the first command at its successor once the cluster knows.
func (h *hosts) measureActivation(ctx context.Context, snapshot bool) (ms float64, err error) {
	ranked, err := h.ranked(ctx, longAgent)
	if err != nil {
		return 0, err
	}
	owner, successor := ranked[0], ranked[1]
	if !snapshot {
		successor.down = true
		if err := successor.Stop(); err != nil {
			return 0, err
		}
		if err := os.RemoveAll(filepath.Join(h.data(successor.name), stores.SnapshotsName)); err != nil {
			return 0, fmt.Errorf("remove a host's snapshots: %w", err)
		}
		if err := h.again(ctx, successor); err != nil {
			return 0, err
		}
	}
	if err := owner.kill(); err != nil {
		return 0, err
	}
	if err := h.all(ctx); err != nil {
		return 0, err
	}
	took, err := decide(ctx, successor.client, longAgent)
	return float64(took.Microseconds()) / 1e3, errors.Join(err, h.again(ctx, owner))
}
