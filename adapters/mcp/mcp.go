// Package mcp gives agents the tools of MCP servers (https://modelcontextprotocol.io), from protocol 2024-11-05 to 2026-07-28.
//
// A server is a program that runs in the sandbox, in the workspace of the agent that uses it, or a machine that is asked over HTTP. Which there are is said by the host's
// configuration ([ReadServers]); which of them an agent uses, by the agent's. What a server offered is recorded with the agent's configuration, so that history knows what a
// model was told, and what its arguments were checked against.
//
// Servers are not trusted. What they say of their tools' effects is ignored. Whatever they send is bounded, in size and time, and text from them reaches models without
// the sequences that terminals obey. One that does not keep to that loses its connection, and its processes end; the call that met it fails, and says why.
package mcp

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/sandbox"
	"example.com/life/events"
)

// Server is a server as the configuration describes it.
type Server struct {
	Name    string
	Command []string          // of a server that is a program: its name or path, and its arguments
	Env     map[string]string // all of its environment but PATH, HOME, TMPDIR, PWD, LANG and TERM
	URL     string            // of a server that is asked over HTTP
	Headers map[string]string // of each request to it
	Key     string            // bearer token of each request; empty: none
	Secrets []string          // values in Env that came from files or the host's own environment

	Tools    []string      // names, or patterns of names, of the tools that agents may use, as the server names them; empty: all
	ReadOnly []string      // names of those that change nothing, as whoever wrote the configuration knows
	Connect  time.Duration // how long it may take to say what it offers
	Call     time.Duration // how long a call may take
}

// Bounds of the times.
const (
	defaultConnect = 20 * time.Second
	defaultCall    = 2 * time.Minute
	mostTime       = time.Hour
	idleTime       = 5 * time.Minute  // after which a program that nobody uses is ended
	freshFor       = 30 * time.Second // that what a server offers is taken for what it still offers
	firstPause     = time.Second      // before a server that failed is tried again
	longestPause   = time.Minute
	endsWithin     = time.Second // that a program has to end by itself, after its input ended
)

// Bounds of sizes, in bytes, and of numbers.
const (
	mostMessage  = 16 << 20 // one message of a server
	mostReceived = 32 << 20 // of a server, for one call
	mostPages    = 50       // of a list
	mostListed   = 1_000    // entries of a list
	mostText     = 30_000   // that a model sees of one result
	mostLinks    = 64       // connections at a time
	mostComplain = 4 << 10  // that is kept of what a program printed to its standard error
)

// Config is what the client needs.
type Config struct {
	Servers  []Server
	Commands Commands
	Blobs    storage.Blobs // gets results that are too long for the model
	Scratch  string        // an absolute directory for what programs keep outside the workspace
	Version  string        // of this program, as servers are told
	Log      *slog.Logger
}

// Commands runs programs in the sandbox.
type Commands interface {
	// Run runs a program and returns when nothing of it is left. When ctx ends first, the error is the context's.
	Run(ctx context.Context, c sandbox.Command) (sandbox.Exit, error)
	// Probe says how well programs are confined.
	Probe(ctx context.Context) sandbox.Report
}

var serverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)

// CheckName refuses what is no name of a server: it becomes part of the names of tools, of which models take 64 letters.
func CheckName(name string) error {
	if !serverName.MatchString(name) {
		return fmt.Errorf("%q is no name of an MCP server: want at most 24 small letters, digits and '-'", events.Clip(name, 40))
	}
	return nil
}

// prefix begins the names of all tools of servers.
const prefix = "mcp__"

// mostName is what models take of a tool's name, in bytes.
const mostName = 64

var strange = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// ToolName is how models name a server's tool: mcp__SERVER__TOOL, with what they do not take replaced, and what is too long cut and marked by a part of its hash.
func ToolName(server, tool string) string {
	name := prefix + server + "__" + strange.ReplaceAllString(tool, "_")
	if len(name) <= mostName {
		return name
	}
	return name[:mostName-9] + "_" + events.HashBytes([]byte(tool))[:8]
}

// serverOf is the server of a tool's name.
func serverOf(name string) (string, bool) {
	rest, is := strings.CutPrefix(name, prefix)
	server, _, both := strings.Cut(rest, "__")
	return server, is && both
}
