package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/cenkalti/backoff/v5"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Client connects to servers when they are needed. It is safe for concurrent use.
type Client struct {
	config  Config
	running context.Context //nolint:containedctx // the lifetime of what it started
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	links  map[linkKey]*link
}

type linkKey struct{ server, workspace string }

// New returns a client of the servers of a configuration. It connects to none until it is asked.
func New(ctx context.Context, c Config) *Client {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	client := &Client{config: c, links: map[linkKey]*link{}}
	client.running, client.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return client
}

// Close ends all connections and programs. Nothing of them is left when it returns.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	links := c.links
	c.links = nil
	c.mu.Unlock()
	c.cancel()
	for _, l := range links {
		_ = l.take(context.Background()) //nolint:errcheck // its context does not end; who has it ends with c.running
		l.mu.Lock()
		at := l.live
		l.live = nil
		if l.idle != nil {
			l.idle.Stop()
		}
		l.mu.Unlock()
		if at != nil {
			at.stop(true)
		}
		l.give()
	}
	c.tasks.Wait()
}

// errClosing says that nothing is begun any more.
var errClosing = errors.New("the host is closing")

// background does something while nobody waits; false: the client is closed, and nothing is begun.
func (c *Client) background(do func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(do)
	return true
}

// find is the server of a name.
func (c *Client) find(name string) *Server {
	i := slices.IndexFunc(c.config.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &c.config.Servers[i]
}

// link is a server for a workspace.
func (c *Client) link(name, workspace string) (*link, error) {
	server := c.find(name)
	if server == nil {
		return nil, fmt.Errorf("there is no MCP server %q in the configuration file", events.Clip(name, 40))
	}
	if server.URL != "" {
		workspace = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosing
	}
	key := linkKey{name, workspace}
	if known := c.links[key]; known != nil {
		return known, nil
	}
	if len(c.links) >= mostLinks && !c.forgetOne() {
		return nil, fmt.Errorf("there are %d connections to MCP servers, and no more are made", mostLinks)
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstPause, longestPause
	made := &link{client: c, server: server, workspace: workspace, turn: make(chan struct{}, 1), pauses: pauses}
	c.links[key] = made
	return made, nil
}

// forgetOne forgets a link that is not connected. c.mu is held.
func (c *Client) forgetOne() bool {
	for key, l := range c.links {
		l.mu.Lock()
		unused := l.live == nil && l.used == 0 && len(l.turn) == 0
		l.mu.Unlock()
		if unused {
			delete(c.links, key)
			return true
		}
	}
	return false
}

// Offers implements [actors.Servers].
func (c *Client) Offers(ctx context.Context, servers []string, workspace string) ([]events.ToolGrant, []events.ServerProblem) {
	offers := make([]*offer, len(servers))
	var all sync.WaitGroup
	for i, name := range servers {
		all.Go(func() { offers[i] = c.hear(ctx, name, workspace) })
	}
	all.Wait()
	return merge(offers)
}

// hear is what a server offers, or why it offers nothing.
func (c *Client) hear(ctx context.Context, name, workspace string) *offer {
	l, err := c.link(name, workspace)
	if err == nil {
		var heard *offer
		if heard, err = l.hear(ctx); err == nil {
			return heard
		}
	}
	return &offer{server: name, problems: []string{"it cannot be used: " + clip(err)}}
}

// Known implements [actors.Servers]. What is not known is found out meanwhile.
func (c *Client) Known(servers []string, workspace string) ([]events.ToolGrant, []events.ServerProblem, bool) {
	offers, all := make([]*offer, len(servers)), true
	for i, name := range servers {
		l, err := c.link(name, workspace)
		if err != nil {
			offers[i] = &offer{server: name, problems: []string{"it cannot be used: " + clip(err)}}
			continue
		}
		if offers[i] = l.known(); offers[i] == nil {
			all = false
		}
	}
	if !all {
		return nil, nil, false
	}
	granted, problems := merge(offers)
	return granted, problems, true
}

// Spec implements [actors.Servers].
func (c *Client) Spec(tool string) (actors.ToolSpec, bool) {
	name, is := serverOf(tool)
	server := c.find(name)
	if !is || server == nil {
		return actors.ToolSpec{}, false
	}
	risk, repeatable := server.risk(tool)
	return actors.ToolSpec{Name: tool, Risk: risk, Repeatable: repeatable, Timeout: server.Connect + server.Call + 2*endsWithin}, true
}

// risk is that of calls of a tool, by its name for models: only whoever wrote the configuration is believed.
func (s *Server) risk(tool string) (risk events.RiskLevel, repeatable bool) {
	if slices.ContainsFunc(s.ReadOnly, func(name string) bool { return ToolName(s.Name, name) == tool }) {
		return events.RiskLow, true
	}
	return events.RiskHigh, false
}

// merge is what several servers offer together, as far as an agent can be granted it.
func merge(offers []*offer) (granted []events.ToolGrant, problems []events.ServerProblem) {
	size := 0
	for _, o := range offers {
		left := 0
		for _, tool := range o.tools {
			more := len(tool.Of.Description) + len(tool.Of.Schema)
			if len(granted) >= sagas.MostServerTools || size+more > sagas.MostServerText {
				left++
				continue
			}
			size += more
			granted = append(granted, tool)
		}
		for _, p := range o.problems {
			problems = append(problems, events.ServerProblem{Server: o.server, Problem: p})
		}
		if left > 0 {
			problems = append(problems, events.ServerProblem{Server: o.server, Problem: fmt.Sprintf("%d of its tools are left out: all servers together are granted %d tools and %d KiB of descriptions at most; its setting tools chooses",
				left, sagas.MostServerTools, sagas.MostServerText>>10)})
		}
	}
	return granted, problems
}
