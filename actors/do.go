package actors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Receipt says that a command was accepted and is stored.
type Receipt struct {
	Stream    events.Stream    `json:"stream"`
	Revision  events.Revision  `json:"revision,string"`     // of the first event it caused
	Position  events.Position  `json:"position,string"`     // by which all of it is stored: what a query can demand, see projector.Question.Min
	Message   events.MessageID `json:"message,omitempty"`   // of a message that was sent
	Turn      events.TurnID    `json:"turn,omitempty"`      // that it started
	Written   int              `json:"written,omitempty"`   // notes that were new, or had a new version
	Removed   int              `json:"removed,omitempty"`   // notes
	Duplicate bool             `json:"duplicate,omitempty"` // it was accepted before, or nothing of it is new; nothing happened
}

// fencedRetries is how often a command is sent again, with the same id, after another writer took over its stream.
const fencedRetries = 3

// Do has an agent, a wallet or homeostasis decide a command, and returns when the decision is stored. The errors are
// *sagas.RefusalError (it was not accepted), *history.UnreadableError (the stream cannot be folded, until somebody mends it), *OverloadedError and
// *UnavailableError (try again later, with the same id), ErrClosed, and ctx's,
// which leaves the outcome unknown: send the same command again to learn it.
func (h *Host) Do(ctx context.Context, stream events.Stream, command sagas.Command, origin Origin) (Receipt, error) {
	if _, forking := command.(sagas.Fork); forking {
		return Receipt{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "a fork is ordered with Host.Fork, which knows its parent"}
	}
	return h.do(ctx, stream, &instruction{command: command, origin: origin})
}

// do is Do for an instruction that says more than a command.
func (h *Host) do(ctx context.Context, stream events.Stream, order *instruction) (Receipt, error) {
	if h.closing.Load() {
		return Receipt{}, storage.ErrClosed
	}
	if err := checkID(order.command.Metadata().ID); err != nil {
		return Receipt{}, err
	}
	if h.cluster != nil {
		return h.cluster.do(ctx, stream, order)
	}
	return h.doHere(ctx, stream, order, nil)
}

// doHere has an entity of this host decide a command from outside. Unfit are the hosts of a cluster for which this one stands in.
func (h *Host) doHere(ctx context.Context, stream events.Stream, order *instruction, unfit []events.HostID) (Receipt, error) {
	command, err := h.complete(ctx, stream, order.command)
	if err != nil {
		return Receipt{}, err
	}
	registry, id, err := h.address(stream)
	if err != nil {
		return Receipt{}, err
	}
	if err := sameName(command, id); err != nil {
		return Receipt{}, err
	}
	for try := 0; ; try++ {
		done := make(chan outcome, 1)
		h.system.Root.Send(registry, deliver{id: id, unfit: unfit, message: &instruction{
			command: command, origin: order.origin, base: order.base, done: func(o outcome) { done <- o },
		}})
		select {
		case o := <-done:
			var fenced *FencedError
			if errors.As(o.err, &fenced) && try < fencedRetries {
				continue
			}
			receipt, err := h.receipt(ctx, stream, command.Metadata().ID, o)
			if err == nil && registry == h.catalogues {
				err = h.Reconcile(ctx)
			}
			return receipt, err
		case <-ctx.Done():
			return Receipt{}, fmt.Errorf("wait for %s to decide: %w", stream, ctx.Err())
		case <-h.running.Done():
			return Receipt{}, storage.ErrClosed
		}
	}
}

// sameName checks that what a command makes is named as its stream is.
func sameName(command sagas.Command, id string) error {
	name := id
	switch c := command.(type) {
	case sagas.Create:
		name = string(c.Agent)
	case sagas.Fork:
		name = string(c.Agent)
	case sagas.OpenWallet:
		name = string(c.Wallet)
	}
	if name != id {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf("%q cannot be made in the stream of %q", name, id)}
	}
	return nil
}

func checkID(id events.CommandID) error {
	if err := id.Validate(); err != nil {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	if strings.HasPrefix(string(id), sagas.InternalPrefix) {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "command ids that begin with ~ belong to the host"}
	}
	return nil
}

func (h *Host) receipt(ctx context.Context, stream events.Stream, id events.CommandID, o outcome) (Receipt, error) {
	var known *sagas.DuplicateError
	if errors.As(o.err, &known) {
		if known.Same {
			return Receipt{Stream: stream, Revision: known.Revision, Duplicate: true}, nil
		}
		return h.known(ctx, stream, id, known.Revision)
	}
	if o.err != nil {
		return Receipt{}, o.err
	}
	r := Receipt{Stream: stream, Revision: o.revision, Position: o.position}
	for _, event := range o.events {
		r.note(event)
	}
	h.receipts.keep(id, r)
	return r, nil
}

// receipts remembers what the commands from outside caused that this host decided lately, so that one that is sent again costs no read. Whether it was
// accepted before is for its entity to say. What is here is stored, and history does not change: it holds whichever host has the entity meanwhile, and however often the
// entity has left memory.
type receipts struct {
	mu    sync.Mutex
	kept  map[receiptKey]Receipt
	order []receiptKey // a ring, in which the oldest is at next
	next  int
}

type receiptKey struct {
	stream events.Stream
	id     events.CommandID
}

const mostReceipts = 1 << 14 // about 5 MB

func (r *receipts) keep(id events.CommandID, receipt Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := receiptKey{receipt.Stream, id}
	if r.kept == nil {
		r.kept = map[receiptKey]Receipt{}
	}
	if _, again := r.kept[key]; !again { // the same, or of a command that nobody remembered when its id was used again
		if len(r.order) < mostReceipts {
			r.order = append(r.order, key)
		} else {
			delete(r.kept, r.order[r.next])
			r.order[r.next] = key
			r.next = (r.next + 1) % mostReceipts
		}
	}
	r.kept[key] = receipt
}

// of finds what a command caused, which its entity accepted at a revision.
func (r *receipts) of(stream events.Stream, id events.CommandID, revision events.Revision) (Receipt, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	receipt, kept := r.kept[receiptKey{stream, id}]
	receipt.Duplicate = true
	return receipt, kept && receipt.Revision == revision
}

// known gives the receipt of a command that was accepted before once more: as it is remembered, or from the events that it caused.
func (h *Host) known(ctx context.Context, stream events.Stream, id events.CommandID, revision events.Revision) (Receipt, error) {
	if r, kept := h.receipts.of(stream, id, revision); kept {
		return r, nil
	}
	r := Receipt{Stream: stream, Revision: revision, Duplicate: true}
	most := 8
	if category, _ := stream.Split(); category == events.KnowledgeCategory {
		most = sagas.MaxNotes
	}
	page, err := h.journal.Read(ctx, stream, revision, storage.Forward, storage.Limit{Events: most})
	if err != nil {
		return Receipt{}, fmt.Errorf("read what command %s caused: %w", id, err)
	}
	if len(page.Events) == 0 || page.Events[0].Command != id { // decided beside it, and the append they shared failed
		return Receipt{}, &UnavailableError{Stream: stream, Reason: "the first attempt at the command was not stored"}
	}
	for i := range page.Events {
		if page.Events[i].Command != id {
			break
		}
		event, err := page.Events[i].Event()
		if err != nil {
			return Receipt{}, err
		}
		r.Position = page.Events[i].Position
		r.note(event)
	}
	h.receipts.keep(id, r)
	return r, nil
}

// note takes from an event what a receipt tells of it.
func (r *Receipt) note(event events.Event) {
	switch e := event.(type) {
	case events.MessageReceived:
		r.Message = e.Message
	case events.TurnStarted:
		r.Turn = e.Turn
	case events.NoteWritten:
		r.Written++
	case events.NoteRemoved:
		r.Removed++
	}
}

// complete checks and fills what a command leaves to the host: the configuration's defaults, and where a large text is kept; and masks the
// secrets in it, before anything else sees them.
func (h *Host) complete(ctx context.Context, stream events.Stream, command sagas.Command) (sagas.Command, error) {
	switch c := command.(type) {
	case sagas.Create:
		config, err := h.completeConfig(ctx, c.Config)
		c.Config = config
		c, hits := maskIn(h, config.Masking, c)
		c.Masked = hits
		return c, err
	case sagas.Configure:
		config, err := h.completeConfig(ctx, c.Config)
		c.Config = config
		c, hits := maskIn(h, config.Masking, c)
		c.Masked = hits
		return c, err
	case sagas.Fork:
		c, hits := maskIn(h, c.Config.Masking, c)
		c.Masked = hits
		return c, nil
	case sagas.Send:
		return h.completeSend(ctx, stream, c)
	case sagas.Answer:
		level, err := h.maskingOf(ctx, stream, c.Answer+"\n"+c.By)
		c, hits := maskIn(h, level, c)
		c.Masked = hits
		return c, err
	case sagas.KeepNotes:
		return h.completeNotes(ctx, c)
	case sagas.Undo:
		return h.completeUndo(ctx, stream, c)
	}
	command, masked := maskIn(h, events.MaskShapes, command) // what a tenant's agents share is masked at the level that most have
	switch c := command.(type) {
	case sagas.AddProjection:
		c, err := h.CompleteAdd(c)
		if err == nil {
			c.Source, err = h.spill(ctx, c.Source.Inline)
			c.Source.Masked = masked
		}
		return c, err
	case sagas.SkipEvent:
		return h.CompleteSkip(ctx, c)
	}
	return command, nil
}

// completeSend masks a message, and keeps a large one as a blob.
func (h *Host) completeSend(ctx context.Context, stream events.Stream, c sagas.Send) (sagas.Command, error) {
	if c.Blob != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: `a command has no field "blob"`}
	}
	h.hearServers(ctx, stream)
	level, err := h.maskingOf(ctx, stream, c.Inline+"\n"+c.From)
	if err != nil {
		return nil, err
	}
	text, hits := h.masker.Mask(level, c.Inline)
	from, more := h.masker.Mask(level, c.From)
	kept, err := h.spill(ctx, text)
	kept.Masked = events.CountMasked(hits, more...)
	c.Text, c.From = kept, from
	return c, err
}

// noted is what an agent in memory said of itself; nil: it is not in memory.
func (h *Host) noted(id string) *noted {
	said, _ := h.inMemory.Load(id)
	agent, _ := said.(*noted) //nolint:errcheck // nothing else is in it
	return agent
}

// maskingOf is how much an agent has masked. One that is not in memory is read only if the text holds something.
func (h *Host) maskingOf(ctx context.Context, stream events.Stream, text string) (events.MaskingLevel, error) {
	category, id := stream.Split()
	if category != events.AgentCategory {
		return "", nil
	}
	if agent := h.noted(id); agent != nil {
		return agent.masking, nil
	}
	if _, hits := h.masker.Mask(events.MaskStrict, text); len(hits) == 0 {
		return events.MaskShapes, nil
	}
	state, err := h.State(ctx, events.AgentID(id), events.NoRevision)
	var refused *sagas.RefusalError
	if errors.As(err, &refused) {
		return events.MaskShapes, nil // whatever is wrong is said when the command is decided
	}
	return state.Agent.Config.Masking, err
}

func (h *Host) completeConfig(ctx context.Context, c events.AgentConfig) (events.AgentConfig, error) {
	if c.Wallet == "" {
		c.Wallet = sagas.DefaultWallet
	}
	if c.Tenant == "" {
		c.Tenant = sagas.DefaultTenant
	}
	if c.Compaction.Mode == "" { // recorded, so that agents of earlier builds go on as they did
		c.Compaction.Mode = sagas.DefaultCompaction
	}
	if err := h.checkModel(&c); err != nil {
		return c, err
	}
	if err := h.checkSecrets(&c); err != nil {
		return c, err
	}
	h.completeSkills(&c)
	if err := h.completeServers(ctx, &c); err != nil {
		return c, err
	}
	return h.completeTools(c)
}

// completeServers grants the tools of the MCP servers that the configuration names, as they are now.
func (h *Host) completeServers(ctx context.Context, c *events.AgentConfig) error {
	c.MCP.Problems = nil
	if len(c.MCP.Servers) == 0 {
		c.Tools = withServers(c.Tools, nil)
		return nil
	}
	if h.servers == nil {
		return refusedConfig("there is no MCP server %q: the configuration file has none", events.Clip(c.MCP.Servers[0], 80))
	}
	for _, name := range c.MCP.Servers {
		if _, known := h.servers.Spec(serverPrefix + name + "__"); !known {
			return refusedConfig("there is no MCP server %q in the configuration file", events.Clip(name, 80))
		}
	}
	granted, problems := h.servers.Offers(ctx, c.MCP.Servers, c.Workspace)
	h.maskServers(c.Masking, granted, problems)
	c.Tools, c.MCP.Problems = withServers(c.Tools, granted), problems
	return ctx.Err()
}

// maskServers masks what servers say of themselves: one may repeat the key that it was given.
func (h *Host) maskServers(level events.MaskingLevel, granted []events.ToolGrant, problems []events.ServerProblem) {
	for i := range granted {
		of := &granted[i].Of
		of.Description, _ = h.masker.Mask(level, of.Description)
		schema, _ := h.masker.MaskJSON(level, json.RawMessage(of.Schema))
		of.Schema = string(schema)
	}
	for i := range problems {
		problems[i].Problem, _ = h.masker.Mask(level, problems[i].Problem)
	}
}

// hearServers has the MCP servers of an agent say what they offer, before a message may begin a turn: the turn is offered what they say. Whatever is wrong with the agent
// is said when the message is decided.
func (h *Host) hearServers(ctx context.Context, stream events.Stream) {
	category, id := stream.Split()
	if h.servers == nil || category != events.AgentCategory {
		return
	}
	agent := h.noted(id)
	if agent == nil {
		state, err := h.State(ctx, events.AgentID(id), events.NoRevision)
		if err != nil || state.Agent.Fork.Following() {
			return
		}
		agent = &noted{servers: state.Agent.Config.MCP.Servers, workspace: state.Agent.Config.Workspace}
	}
	if len(agent.servers) > 0 {
		h.servers.Offers(ctx, agent.servers, agent.workspace)
	}
}

// withServers are an agent's own tools, and those of MCP servers.
func withServers(tools, granted []events.ToolGrant) []events.ToolGrant {
	own := slices.DeleteFunc(slices.Clone(tools), func(t events.ToolGrant) bool { return t.Of.Server != "" || strings.HasPrefix(t.Name, serverPrefix) })
	return append(own, granted...)
}

// serverPrefix begins the names of tools of MCP servers: mcp__SERVER__TOOL.
const serverPrefix = "mcp__"

// tool finds a tool of the host, or of one of its MCP servers.
func (h *Host) tool(name string) (Tool, bool) {
	if tool, known := h.toolbox[name]; known || h.servers == nil || !strings.HasPrefix(name, serverPrefix) {
		return tool, known
	}
	spec, known := h.servers.Spec(name)
	return serverTool{h.servers, spec}, known
}

// serverTool is a tool of an MCP server.
type serverTool struct {
	Servers
	spec ToolSpec
}

// Spec implements [Tool].
func (t serverTool) Spec() ToolSpec { return t.spec }

// completeSkills records which skills there are, and grants the tool by which the model asks for them.
func (h *Host) completeSkills(c *events.AgentConfig) {
	c.Skills.Found = h.findSkills(c)
	granted := slices.ContainsFunc(c.Tools, func(t events.ToolGrant) bool { return t.Name == sagas.SkillTool })
	if _, known := h.toolbox[sagas.SkillTool]; known && !granted && len(c.Skills.From) > 0 {
		c.Tools = append(slices.Clone(c.Tools), events.ToolGrant{Name: sagas.SkillTool})
	}
}

func (h *Host) findSkills(c *events.AgentConfig) []events.Skill {
	if h.skills == nil || len(c.Skills.From) == 0 {
		return nil
	}
	return h.skills.Find(c.Skills.From, c.Workspace)
}

func (h *Host) checkModel(c *events.AgentConfig) error {
	if model := c.Compaction.Model; model != "" {
		if _, _, err := h.models.Lookup(model); err != nil {
			return refusedConfig("the model that summarises: %v", err)
		}
	}
	route, err := h.route(c.Model)
	if err != nil {
		return err
	}
	c.Route = route
	for _, candidate := range route {
		if _, _, err := h.models.Lookup(candidate.Model); err != nil {
			return refusedConfig("a candidate of %s: %v", c.Model, err)
		}
	}
	if route != nil {
		return nil
	}
	if _, _, err := h.models.Lookup(c.Model); err != nil {
		return refusedConfig("%v", err)
	}
	return nil
}

// route gives the candidates of a model that is a route; nil for any other model.
func (h *Host) route(model string) ([]events.Candidate, error) {
	name, is := strings.CutPrefix(model, sagas.RoutePrefix)
	if !is {
		return nil, nil
	}
	if route := h.routes[name]; len(route) > 0 {
		return route, nil
	}
	return nil, refusedConfig("there is no route %q; the routes of the configuration file are: %s", events.Clip(name, 80),
		cmp.Or(strings.Join(slices.Sorted(maps.Keys(h.routes)), ", "), "none"))
}

// checkSecrets refuses the names of secrets that the host does not have.
func (h *Host) checkSecrets(c *events.AgentConfig) error {
	for _, name := range c.Secrets {
		if _, known := h.masker.Value(name); !known {
			return refusedConfig("there is no secret %q; the host's setting secrets names: %s", events.Clip(name, 80), cmp.Or(strings.Join(h.masker.Names(), ", "), "none"))
		}
	}
	return nil
}

func refusedConfig(format string, args ...any) error {
	return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(format, args...)}
}

// completeTools checks what a configuration says about tools and where they work, and says how risky each tool is.
func (h *Host) completeTools(c events.AgentConfig) (events.AgentConfig, error) {
	if c.Workspace != "" && !filepath.IsAbs(c.Workspace) {
		return c, refusedConfig("workspace %q is not an absolute path", c.Workspace)
	}
	for _, name := range slices.Concat(c.Policy.Ask, c.Policy.Deny) {
		if _, ok := h.tool(name); !ok && name != "*" {
			return c, refusedConfig("the policy names tool %q, which does not exist: it would protect nothing; the tools are: %s", name, strings.Join(h.ToolNames(), ", "))
		}
	}
	c.Tools = slices.Clone(c.Tools)
	for i := range c.Tools {
		if c.Tools[i].Of.Server != "" {
			continue // it was granted with what it says of itself
		}
		tool, ok := h.toolbox[c.Tools[i].Name]
		if !ok {
			return c, refusedConfig("there is no tool %q; the tools are: %s", c.Tools[i].Name, strings.Join(h.ToolNames(), ", "))
		}
		c.Tools[i].Risk, c.Tools[i].Repeatable = tool.Spec().Risk, tool.Spec().Repeatable
	}
	return h.completeEditor(c), nil
}

// The tools of which an agent's editor says what they are.
const (
	editByAnchors = "edit_file"
	editByText    = "str_replace"
)

// completeEditor records how an agent edits files: what the table of models says of its model, where the configuration says nothing. Who may use edit_file and edits
// in both ways may use str_replace too, under the same rules.
func (h *Host) completeEditor(c events.AgentConfig) events.AgentConfig {
	has := func(name string) bool {
		return slices.ContainsFunc(c.Tools, func(t events.ToolGrant) bool { return t.Name == name })
	}
	if !has(editByAnchors) {
		return c
	}
	if c.Editor == "" && h.editors != nil {
		model := c.Model
		if len(c.Route) > 0 {
			model = c.Route[0].Model
		}
		c.Editor = h.editors.Editor(model)
	}
	second, known := h.toolbox[editByText]
	if c.Editor != events.EditByBoth || has(editByText) || !known {
		return c
	}
	c.Tools = append(c.Tools, events.ToolGrant{Name: editByText, Risk: second.Spec().Risk, Repeatable: second.Spec().Repeatable})
	for _, list := range []*[]string{&c.Policy.Ask, &c.Policy.Deny} {
		if slices.Contains(*list, editByAnchors) && !slices.Contains(*list, editByText) {
			*list = append(slices.Clone(*list), editByText)
		}
	}
	return c
}

// ToolNames lists the tools that agents of this host can be granted, by name.
func (h *Host) ToolNames() []string {
	names := make([]string, 0, len(h.toolbox))
	for name := range h.toolbox {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// toolSpecs describes the tools that a model is offered: the host's own as they are, those of MCP servers as history has them.
func (h *Host) toolSpecs(ask *sagas.AskModel) ([]ToolSpec, error) {
	specs := make([]ToolSpec, len(ask.Tools))
	for i, name := range ask.Tools {
		if at := slices.IndexFunc(ask.Servers, func(t events.ToolGrant) bool { return t.Name == name }); at >= 0 {
			of := &ask.Servers[at].Of
			specs[i] = ToolSpec{Name: name, Description: of.Description, Schema: json.RawMessage(of.Schema), Risk: ask.Servers[at].Risk}
			continue
		}
		tool, ok := h.toolbox[name]
		if !ok {
			return nil, &ModelError{Class: events.ErrorInvalid, Detail: "the agent was granted tool " + name + ", which this host does not have"}
		}
		specs[i] = tool.Spec()
		if plain := specs[i].Plain; plain != nil && !ask.Editor.Anchored() {
			specs[i].Description, specs[i].Schema = plain.Description, plain.Schema
		}
	}
	return specs, nil
}

// Pulse asks the registry of agents, so that whoever has the answer knows that the host can work.
func (h *Host) Pulse(ctx context.Context) error {
	answered := make(chan struct{})
	h.system.Root.Send(h.agents, pulse{answered})
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the registry of agents does not answer: %w", ctx.Err())
	case <-h.running.Done():
		return storage.ErrClosed
	}
}

// Live counts the entities in memory.
func (h *Host) Live() int { return int(h.living.Load()) }
