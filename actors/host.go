// Package actors is the runtime: agents, wallets, homeostasis, notes and the catalogue of projections as supervised actors, the pools in
// front of models and tools, and the ports through which they reach the outside world (model.go). Everything that is not an actor has its
// own package: the ports of stores are in storage, queries over stored events in history, live projections in projector, and
// what-if runs in whatif.
//
// An actor here is a thin shell around a saga: receive, Decide, append with the expected revision, Apply, send what is Ready.
// protoactor provides mailboxes and supervision and nothing more: history is ours, through [storage.Journal], and the expected revision
// of every append keeps an agent to one writer, not where it runs.
//
// A [Host] passes commands to a registry (registry.go), which activates the entity (lifecycle.go, entity.go) and forwards them. An agent
// (agent.go) sends requests to homeostasis and the wallet through their registries, and to models and tools through their pools
// (pool.go); every response comes back as a command. No actor waits for another.
//
// Read agent.go for what happens after a crash, and docs/turn.md for why a crash loses nothing.
package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Config says what a host is made of. Journal, Blobs, Models and Tools are required.
type Config struct {
	Name      string // of this host, in events and logs; default "local"
	Build     string // version of the program, for reports
	Journal   storage.Journal
	Snapshots storage.Snapshots // nil: histories are always read from the beginning
	Blobs     storage.Blobs
	Models    Models
	Routes    map[string][]events.Candidate // by name; an agent's model "route/NAME" is one of its candidates
	Skills    Skills                        // nil: there are none
	Servers   Servers                       // nil: there are none
	Prices    Prices                        // nil: no model has a price
	Editors   Editors                       // nil: agents edit by text, unless they are configured otherwise
	Tools     []Tool
	Files     storage.Workspaces // nil: the files of workspaces are not recorded, and forks have none
	Forks     string             // directory for the workspaces of forks; empty: a fork is given one, or has none
	Log       *slog.Logger       // nil: nothing is logged
	Masker    Masker
	// Permissions judges calls; nil: agents' modes and policies are all there is.
	Permissions Permissions
	// Where compiles an expression that is true of the events somebody looks for; nil: histories cannot be searched by expression.
	Where func(expression string) (history.EventFilter, error)

	Idle          time.Duration // an entity with nothing to do leaves memory after this; 0: default 5 min; negative: never
	OpeningCredit events.Money  // with which the wallet "main" opens when it is first needed

	// Resting leaves agents with work outstanding alone until a command comes for them. Without it a new host goes on with
	// all of it, so a host that is opened to look must rest: looking has no effects.
	Resting bool

	// Projections are those that the host keeps besides projections.Catalog. No two have one name.
	Projections []projections.Spec
	// Declare reads the text of a projection that is declared at run time. nil: none can be.
	Declare func(source []byte) (projections.Spec, error)

	// Cluster makes the host one of several on the store; nil: it is the only one, and nothing is different from when there were no clusters.
	Cluster *Cluster

	limits limits
}

// Models finds the model that a name such as scripted/tour means.
type Models interface {
	// Lookup returns the provider and the model's name without the provider's.
	Lookup(model string) (found Model, name string, err error)
}

// Skills finds what agents can be taught by files.
type Skills interface {
	// Find returns the skills of these sources (see events.SkillsConfig), by name. What keeps some of them from being used is for the log, not an error.
	Find(from []string, workspace string) []events.Skill
}

// Servers are the MCP servers of the host's configuration, which agents can be granted the tools of.
type Servers interface {
	// Offers returns what these servers offer now to an agent with that workspace, and what is wrong with them. It waits for each until it has answered, or its time to
	// do so is over.
	Offers(ctx context.Context, servers []string, workspace string) ([]events.ToolGrant, []events.ServerProblem)
	// Known is Offers as it was last heard. It does not wait; false: one of them was not heard since the host started.
	Known(servers []string, workspace string) ([]events.ToolGrant, []events.ServerProblem, bool)
	// Spec is what the configuration says of calls of a server's tool; false: the host has no such server.
	Spec(tool string) (ToolSpec, bool)
	// Run calls a tool, as Tool does.
	Run(ctx context.Context, use ToolUse) (ToolResult, error)
}

// Host runs agents. Its methods are safe for concurrent use.
type Host struct {
	*history.Reader // what answers from history alone
	*projector.Projector

	name        string
	journal     storage.Journal
	line        storage.Beginner // the journal, if it takes appends in line; else nil
	snapshots   storage.Snapshots
	blobs       storage.Blobs
	models      Models
	routes      map[string][]events.Candidate
	skills      Skills
	servers     Servers
	prices      Prices
	editors     Editors
	toolbox     map[string]Tool
	workspaces  storage.Workspaces
	masker      Masker
	permissions Permissions
	inMemory    sync.Map // what is said of each agent in memory before it decides: noted by id
	forks       string
	log         *slog.Logger
	limits      limits
	batches     batchLimit
	idle        time.Duration
	credit      events.Money
	origin      Origin
	cluster     *clustered    // nil: the host is the only one
	id          events.HostID // in a cluster; else empty

	system                                        *actor.ActorSystem
	agents, wallets, homeostasis, provider, tools *actor.PID
	knowledge                                     *actor.PID
	catalogues                                    *actor.PID
	dispatcher                                    *dispatcher
	feeds                                         *feeds
	inflight                                      inflight
	receipts                                      receipts
	appending                                     sharedDeadline
	running                                       context.Context //nolint:containedctx // the lifetime of everything the host started
	cancel                                        context.CancelFunc
	tasks                                         sync.WaitGroup // every goroutine the host started
	alive                                         sync.WaitGroup // entities
	living                                        atomic.Int64   // entities, counted
	quitting                                      sync.WaitGroup // registries that have not heard of it
	effects                                       atomic.Int64   // calls under way that cannot be repeated
	closing                                       atomic.Bool
	began                                         time.Time
}

// New starts a host. Agents that had work outstanding go on with it, unless the host is resting.
func New(ctx context.Context, config Config) (*Host, error) {
	h, err := configure(config)
	if err != nil {
		return nil, err
	}
	projecting := projector.Config{
		Journal: h.journal, Snapshots: h.snapshots, Blobs: h.blobs, Log: h.log, Tenant: sagas.DefaultTenant,
		Resting: config.Resting, Projections: config.Projections, Declare: config.Declare,
	}
	if h.cluster != nil {
		projecting.Keeps = h.cluster.keepsProjection
	}
	h.Projector, err = projector.New(ctx, projecting)
	if err != nil {
		return nil, err
	}
	h.running, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.dispatcher = newDispatcher()
	h.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet(h.log) }),
		actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond), // its timer is a goroutine that nobody waits for: have it end at once
	)
	if err := h.spawn(); err != nil {
		h.Projector.Close()
		h.cluster.end()
		return nil, err
	}
	if config.Resting {
		return h, nil
	}
	if h.cluster != nil {
		h.cluster.start()
		return h, nil
	}
	if err := h.recover(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

func configure(c Config) (*Host, error) {
	if c.Journal == nil || c.Blobs == nil || c.Models == nil || c.Masker == nil {
		return nil, errors.New("configure host: a journal, blobs, models and a masker are required")
	}
	h := &Host{
		name: cmp.Or(c.Name, "local"), journal: c.Journal, snapshots: c.Snapshots, blobs: c.Blobs, models: c.Models, routes: c.Routes, skills: c.Skills, servers: c.Servers, masker: c.Masker, permissions: c.Permissions, prices: c.Prices, editors: c.Editors,
		toolbox: map[string]Tool{}, workspaces: c.Files, forks: c.Forks, credit: c.OpeningCredit,
		log: c.Log, idle: cmp.Or(c.Idle, 5*time.Minute), limits: c.limits.completed(),
		feeds: newFeeds(),
	}
	h.began = time.Now()
	h.batches.set(mostAppend(c.Journal))
	h.inflight.host, h.inflight.errands = h, map[events.AgentID]*errand{}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.prices == nil {
		h.prices = unpriced{}
	}
	h.Reader = history.New(history.Config{
		Journal: h.journal, Snapshots: h.snapshots, Blobs: h.blobs, Files: h.workspaces, Log: h.log, Build: c.Build, Where: c.Where,
	})
	h.origin = Origin{Actor: h.name}
	if line, ok := c.Journal.(storage.Beginner); ok {
		h.line = line
	}
	if c.Cluster != nil {
		if c.Cluster.Member == nil || c.Cluster.Peers == nil || c.Resting {
			return nil, errors.New("configure host: a host of a cluster has a membership and peers, and does not rest")
		}
		h.cluster = newClustered(h, *c.Cluster)
		h.id = h.cluster.self
	}
	for _, tool := range c.Tools {
		spec := tool.Spec()
		name := spec.Name
		if _, twice := h.toolbox[name]; twice {
			return nil, fmt.Errorf("configure host: two tools are named %s", name)
		}
		h.toolbox[name] = described{tool, spec}
	}
	return h, nil
}

// described is a tool whose description was asked for once: it never changes, and models are sent it with every request.
type described struct {
	Tool
	spec ToolSpec
}

// Spec implements [Tool].
func (d described) Spec() ToolSpec { return d.spec }

// spawn starts the actors under the root: the registries and the pools.
func (h *Host) spawn() error {
	start := func(name string, produce func() actor.Actor) (*actor.PID, error) {
		pid, err := h.system.Root.SpawnNamed(actor.PropsFromProducer(produce, actor.WithSupervisor(actor.NewOneForOneStrategy(0, 0, stopFailing)), actor.WithDispatcher(h.dispatcher)), name)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		return pid, nil
	}
	registryOf := func(t entityType) func() actor.Actor {
		return func() actor.Actor {
			return &registry{host: h, entityType: t, live: map[string]*handle{}, failures: map[string]*failures{}, pulling: map[string][]deliver{}}
		}
	}
	var err error
	for _, each := range []struct {
		pid     **actor.PID
		name    string
		produce func() actor.Actor
	}{
		{&h.homeostasis, "homeostasis", registryOf(homeostasisType())},
		{&h.wallets, "wallets", registryOf(walletType())},
		{&h.knowledge, "knowledge", registryOf(knowledgeType())},
		{&h.catalogues, "catalogues", registryOf(catalogueType())},
		{&h.provider, "provider", func() actor.Actor {
			return &pool[sagas.AskModel]{host: h, work: h.askModel, limit: h.limits.ModelCalls}
		}},
		{&h.tools, "tools", func() actor.Actor {
			return &pool[sagas.AskTool]{host: h, work: h.runTool, limit: h.limits.ToolCalls}
		}},
		{&h.agents, "agents", registryOf(agentType())},
	} {
		if *each.pid, err = start(each.name, each.produce); err != nil {
			return err
		}
	}
	return nil
}

// stopFailing is what becomes of an entity that panics where it does not notice itself: it stops. A restart would drop the message
// and keep the rest of a state that nobody vouches for.
func stopFailing(any) actor.Directive { return actor.StopDirective }

// recover brings every agent to life that has work outstanding.
func (h *Host) recover(ctx context.Context) error {
	list, err := h.Agents(ctx, projections.AgentFilter{})
	if err != nil {
		return fmt.Errorf("find agents with work to do: %w", err)
	}
	for _, agent := range list {
		if agent.Open() {
			h.system.Root.Send(h.agents, deliver{id: string(agent.ID), message: wakeUp{}})
		}
	}
	return nil
}

// registries lists the actors that keep entities.
func (h *Host) registries() []*actor.PID {
	return []*actor.PID{h.agents, h.wallets, h.homeostasis, h.knowledge, h.catalogues}
}

// Close stops the host: new commands are refused, effects that cannot be repeated get until ctx ends to finish, everything else is
// cut off and goes on when the host starts again. No goroutine is left behind.
func (h *Host) Close(ctx context.Context) error {
	if h.closing.Swap(true) {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for h.effects.Load() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
			h.log.Warn("closing while calls that cannot be repeated run: they will be recorded as lost", "calls", h.effects.Load())
		case <-tick.C:
		}
	}
	h.feeds.close()
	registries := h.registries()
	h.quitting.Add(len(registries))
	for _, pid := range registries {
		h.system.Root.Send(pid, quit{}) // behind the answers that are under way: they are stored before the entity stops
	}
	h.quitting.Wait()
	h.alive.Wait()
	h.cancel()
	h.tasks.Wait()
	h.Projector.Close()
	for _, pid := range append(registries, h.provider, h.tools) {
		if err := h.system.Root.StopFuture(pid).Wait(); err != nil {
			h.log.Warn("stop actor", "actor", pid.GetId(), "error", err)
		}
	}
	h.system.Shutdown()
	h.dispatcher.close()
	return nil
}

// run does a task beside the actors, on a goroutine that Close waits for.
func (h *Host) run(task func()) {
	h.tasks.Add(1)
	h.dispatcher.tasks.run(func() {
		defer h.tasks.Done()
		task()
	})
}

// appendRaw stores one event that no saga decided, at the end of a stream as it is now; unless the stream ends with its like.
func (h *Host) appendRaw(ctx context.Context, stream events.Stream, event events.Event) error {
	page, err := h.journal.Read(ctx, stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return err
	}
	if len(page.Events) == 0 {
		return fmt.Errorf("stream %s does not exist", stream)
	}
	if page.Events[0].Kind == event.Kind() {
		return nil
	}
	data, version, err := events.Encode(event)
	if err != nil {
		return err
	}
	_, err = h.append(stream, storage.ExpectRevision(page.Events[0].Revision), []events.Envelope{{
		ID: uuid.New(), Kind: event.Kind(), Version: version, Time: max(storage.Now(), page.Events[0].Time), Actor: h.name, Host: h.id,
		Command: history.CircuitCommand, Correlation: history.CircuitCommand,
		Digest: page.Events[0].Digest.Next(event.Kind(), data), Data: data,
	}})
	return err
}

func agentType() entityType {
	return entityType{
		stream:     func(id string) events.Stream { return events.AgentStream(events.AgentID(id)) },
		quarantine: true,
		produce: func(r *registry, self *actor.PID, h *handle) actor.Actor {
			a := &agent{running: map[events.RequestID]underway{}}
			a.actorShell = actorShell[sagas.Agent]{handle: h, registry: self, behavior: a}
			a.entity = entity[sagas.Agent]{stream: r.entityType.stream(h.id), fold: history.AgentFold(), turn: func(a *sagas.Agent) events.TurnID { return a.Turn.ID }, working: (*sagas.Agent).Working, host: r.host}
			return a
		},
	}
}

// unpriced knows no prices.
type unpriced struct{}

func (unpriced) Cost(string, events.Usage) (events.Money, bool) { return 0, false }

// quiet keeps the actor library's chatter out of the log, and its warnings in.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(warnings{log.Handler()}).With("from", "protoactor")
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

// limits bound what a host does. Zero means the default; only tests set others.
type limits struct {
	Waiting    int // commands that wait for one entity, more are refused: 1,024
	ModelCalls int // at the same time: 256
	ToolCalls  int // at the same time: 64

	Answers int // bytes of answers that wait in memory to be stored, beyond they go to the blob store: 64 MiB

	Append    time.Duration // storing a decision, retries included: 15 s
	Advice    time.Duration // after which the turn goes on in its last mode: 250 ms
	Knowledge time.Duration // after which the turn goes on without what is known: 2 s
	Model     time.Duration // one attempt at a model's reply: 2 h; silence ends it much sooner, and the turn's own time limit
	Tool      time.Duration // a tool that names no time of its own: 10 min
}

// completed has the defaults where nothing is set.
func (l limits) completed() limits {
	return limits{
		Waiting: cmp.Or(l.Waiting, 1024), ModelCalls: cmp.Or(l.ModelCalls, 256), ToolCalls: cmp.Or(l.ToolCalls, 64), Answers: cmp.Or(l.Answers, 64<<20),
		Append: cmp.Or(l.Append, 15*time.Second), Advice: cmp.Or(l.Advice, 250*time.Millisecond), Knowledge: cmp.Or(l.Knowledge, 2*time.Second),
		Model: cmp.Or(l.Model, 2*time.Hour), Tool: cmp.Or(l.Tool, 10*time.Minute),
	}
}
