//go:build linux

package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

// load is people and programs who send messages to agents at any host, and watch them. They are as stubborn as people are: what may not have been accepted is sent
// again, under its id, to whichever host answers.
type load struct {
	w      *world
	agents []events.AgentID
	lock   sync.Mutex
	sent   map[string]events.AgentID // accepted messages, by text
	told   map[events.AgentID]*told
	failed []failure
	slow   time.Duration // the longest that a message took to be accepted
	made   int
	later  []func() // messages to agents that no host could hold
}

// told is what those who watch an agent were shown.
type told struct {
	last   events.Revision
	judged judged
	ids    []events.EventID
}

// failure is an answer that was no acceptance.
type failure struct {
	host  string
	agent events.AgentID
	err   error
	after time.Duration
}

const attemptTime = 3 * time.Second // then another host is asked

// newLoad makes agents: some run commands, and all share one wallet.
func newLoad(w *world, count int) *load {
	l := &load{w: w, sent: map[string]events.AgentID{}, told: map[events.AgentID]*told{}}
	for i := range count {
		agent, model, tools := events.AgentID(fmt.Sprint("noter-", i)), "scripted/noter", []events.ToolGrant{{Name: "append_line"}}
		if i%3 == 0 {
			agent, model, tools = events.AgentID(fmt.Sprint("scribe-", i)), "scripted/scribe", append(tools, events.ToolGrant{Name: "bash"})
		}
		l.make(agent, model, tools)
	}
	return l
}

func (l *load) make(agent events.AgentID, model string, tools []events.ToolGrant) {
	l.w.check(os.MkdirAll(l.w.path("work", string(agent)), 0o700))
	l.deliver(context.Background(), l.w.random, agent, func(ctx context.Context, client *api.Client) error {
		_, err := client.Do(ctx, events.AgentStream(agent), sagas.Create{
			Meta: sagas.Meta{ID: events.CommandID("make-" + agent), At: storage.Now()}, Agent: agent,
			Config: events.AgentConfig{
				Model: model, Workspace: l.w.path("work", string(agent)), Tools: tools, Wallet: "main", Limits: events.Limits{Queue: 1000},
				Policy: events.Policy{OnLost: events.LostTell},
			},
		}, actors.Origin{Actor: "ada"})
		return err
	})
	l.agents = append(l.agents, agent)
	l.told[agent] = &told{last: events.NoRevision, judged: newJudged()}
}

// deliver asks one host after another until one accepts. False: none did.
func (l *load) deliver(ctx context.Context, random *rand.Rand, agent events.AgentID, ask func(context.Context, *api.Client) error) bool {
	began := time.Now()
	for ctx.Err() == nil && l.w.t.Context().Err() == nil {
		h := l.w.hosts[random.IntN(len(l.w.hosts))]
		tried, cancel := context.WithTimeout(ctx, attemptTime)
		asked := time.Now()
		err := ask(tried, h.client)
		cancel()
		if err == nil {
			l.lock.Lock()
			l.slow = max(l.slow, time.Since(began))
			l.lock.Unlock()
			return true
		}
		if ctx.Err() == nil {
			l.lock.Lock()
			l.failed = append(l.failed, failure{h.name, agent, err, time.Since(asked)})
			l.lock.Unlock()
		}
		if refused := new(sagas.RefusalError); errors.As(err, &refused) {
			l.w.t.Errorf("%s to %s: %v", h.name, agent, err)
			return false
		}
		if tooNew(err) {
			return false
		}
		wait(ctx, 20*time.Millisecond)
	}
	return false
}

// tooNew reports whether a host says that it cannot hold an agent, because a newer build wrote to it.
func tooNew(err error) bool {
	return errors.As(err, new(*actors.UnavailableError)) && strings.Contains(err.Error(), "message.received version")
}

// message sends a message, at times by way of the bus.
func (l *load) message(random *rand.Rand, agent events.AgentID, text string) {
	ctx, cancel := l.w.patient()
	defer cancel()
	ask := func(ctx context.Context, client *api.Client) error {
		_, err := client.Do(ctx, events.AgentStream(agent), sagas.Send{
			Meta: sagas.Meta{ID: events.CommandID(text), At: storage.Now()}, Verb: events.Followup, Text: events.Text{Inline: text},
		}, actors.Origin{Actor: "ada"})
		return err
	}
	if random.IntN(4) == 0 {
		ask = func(ctx context.Context, client *api.Client) error {
			data := fmt.Appendf(nil, `{"agent":%q,"text":%q,"verb":"followup"}`, agent, text)
			return client.Publish(ctx, sagas.DefaultTenant, api.BusCommand{ID: events.CommandID(text), Type: "SendMessage", Data: data}, actors.Origin{Actor: "bus"})
		}
	}
	delivered := l.deliver(ctx, random, agent, ask)
	l.lock.Lock()
	defer l.lock.Unlock()
	if delivered {
		l.sent[text] = agent
	} else {
		l.later = append(l.later, func() {
			if l.deliver(l.w.t.Context(), l.w.random, agent, ask) {
				l.sent[text] = agent
			}
		})
	}
}

// again sends what no host took.
func (l *load) again() {
	later := l.later
	l.later = nil
	for _, send := range later {
		send()
	}
}

// during has people busy while something is done.
func (l *load) during(workers int, pause time.Duration, do func()) {
	ctx, cancel := context.WithCancel(l.w.t.Context())
	var busy sync.WaitGroup
	for range workers {
		random := rand.New(rand.NewPCG(l.w.random.Uint64(), 0)) //nolint:gosec // choices of a test
		busy.Go(func() {
			for ctx.Err() == nil {
				l.lock.Lock()
				l.made++
				text := fmt.Sprint("m", l.made)
				l.lock.Unlock()
				l.message(random, l.agents[random.IntN(len(l.agents))], text)
				wait(ctx, time.Duration(random.Int64N(int64(2*pause))))
			}
		})
	}
	for _, agent := range l.agents {
		random := rand.New(rand.NewPCG(l.w.random.Uint64(), 0)) //nolint:gosec // choices of a test
		busy.Go(func() { l.watch(ctx, random, agent) })
	}
	do()
	cancel()
	busy.Wait()
}

// watch follows an agent, now at this host and now at that.
func (l *load) watch(ctx context.Context, random *rand.Rand, agent events.AgentID) {
	for ctx.Err() == nil {
		l.watchOnce(ctx, l.w.hosts[random.IntN(len(l.w.hosts))], l.told[agent], agent, 1500*time.Millisecond)
		wait(ctx, 20*time.Millisecond)
	}
}

// watchOnce follows an agent at one host for a time.
func (l *load) watchOnce(ctx context.Context, h *host, shown *told, agent events.AgentID, long time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	feed, err := h.client.Watch(ctx, agent, shown.last)
	if err != nil {
		return
	}
	defer feed.Close()
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			return
		}
		if item.Event == nil {
			continue
		}
		if item.Event.Revision != shown.last+1 {
			l.w.t.Errorf("the feed of %s at %s goes from event %d to %d", agent, h.name, shown.last, item.Event.Revision)
		}
		shown.last = item.Event.Revision
		shown.ids = append(shown.ids, item.Event.ID)
		shown.judged.take(item.Event)
	}
}

// rest waits until every message that was accepted is in a turn that has ended, as those who watch are shown.
func (l *load) rest() {
	l.w.t.Helper()
	ctx, cancel := l.w.patient()
	defer cancel()
	var all sync.WaitGroup
	for _, agent := range l.agents {
		random := rand.New(rand.NewPCG(l.w.random.Uint64(), 0)) //nolint:gosec // choices of a test
		all.Go(func() {
			for ctx.Err() == nil && !l.rests(agent) {
				l.watchOnce(ctx, l.w.hosts[random.IntN(len(l.w.hosts))], l.told[agent], agent, 100*time.Millisecond)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		for _, agent := range l.agents {
			if !l.rests(agent) {
				l.w.t.Errorf("%s has not come to rest: %s", agent, l.told[agent].judged.open(l.texts(agent)))
			}
		}
		l.w.t.FailNow()
	}
}

// texts are the messages that an agent was sent.
func (l *load) texts(agent events.AgentID) []string {
	l.lock.Lock()
	defer l.lock.Unlock()
	var texts []string
	for text, to := range l.sent {
		if to == agent {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

func (l *load) rests(agent events.AgentID) bool {
	return l.told[agent].judged.open(l.texts(agent)) == ""
}
