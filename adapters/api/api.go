// Package api is the HTTP API of a host, server and client.
//
// The server is one http.Handler over a [Host], and the [Client] is a Host over the wire: the same calls drive a host in process and a
// running one, and return the same typed errors: a *sagas.RefusalError with its code, *actors.OverloadedError, *actors.UnavailableError, storage.ErrClosed and the others.
//
// It guarantees:
//   - A command carries its id in the Idempotency-Key header. A retry with the same id gets the same receipt, marked as a duplicate,
//     and has no further effect.
//   - 64-bit numbers are strings, in and out. Bodies are parsed strictly: unknown and duplicate fields, nulls, invalid UTF-8 and anything
//     after the JSON are errors that name the field.
//   - Errors are RFC 9457 problems; problem.go holds the table of codes and statuses. Internal errors are logged, not shown.
//   - A feed (feed.go) resumes from the revision of the last event that arrived: no event is lost or duplicated.
//   - Cross-origin requests, and host names that are not this server's, are rejected (guard.go).
//
// It decides nothing: it parses requests, calls the host and writes the host's response.
//
// To add a command: its line in commandRoutes. To add another route: its handler, its line in otherRoutes, and its method in the client.
// Both get a row in the tables of routes_test.go. docs/api.md describes the routes to users; a test looks for each in it.
package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// Host is what a server serves and a [Client] is: an *actors.Host, which documents the methods and their errors, with its store and its
// bus.
type Host interface {
	Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error)
	Fork(ctx context.Context, order actors.ForkOrder, origin actors.Origin) (actors.Forked, error)
	Watch(ctx context.Context, agent events.AgentID, after events.Revision) (actors.Feed, error)

	Agents(ctx context.Context, filter projections.AgentFilter) ([]projections.AgentSummary, error)
	State(ctx context.Context, agent events.AgentID, at events.Revision) (history.AgentState, error)
	OpenArguments(ctx context.Context, agent events.AgentID, call events.CallID) (io.ReadCloser, error)
	Wallet(ctx context.Context, id events.WalletID) (sagas.Wallet, error)
	Rules(ctx context.Context, tenant events.TenantID) (sagas.Homeostasis, error)
	ListWorkspace(ctx context.Context, agent events.AgentID, at events.Revision) (history.ListedWorkspace, error)
	OpenWorkspaceFile(ctx context.Context, agent events.AgentID, at events.Revision, path string) (io.ReadCloser, error)

	History(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error)
	Resolve(ctx context.Context, agent events.AgentID, moment events.Moment) (history.Stretch, error)
	Groups(ctx context.Context, agent events.AgentID, order history.GroupOrder) (history.GroupPage, error)
	Search(ctx context.Context, agent events.AgentID, order history.Search) (history.Found, error)
	Difference(ctx context.Context, agent events.AgentID, from, to events.Moment, progress func(looked int64)) (history.Difference, error)
	Waterfall(ctx context.Context, turn events.TurnID) (projections.Turn, error)
	Causes(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.TraceNode, error)
	Effects(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.TraceNode, error)
	Compare(ctx context.Context, order history.CompareOrder, progress func(read int64)) (history.Comparison, error)
	Unstored(ctx context.Context, agent events.AgentID) ([]actors.Unstored, error)
	Cluster(ctx context.Context, stream events.Stream) (actors.ClusterStatus, error)
	Verify(ctx context.Context, agent events.AgentID, progress func(checked, total int64)) (history.VerifyReport, error)

	Projections(ctx context.Context) ([]projector.Status, error)
	Projection(ctx context.Context, name string) (projector.Status, error)
	Query(ctx context.Context, ask projector.Question, progress func(folded int64)) (projector.Answer, error)
	Rebuild(ctx context.Context, names []string, progress func(at, head events.Position)) (projector.Rebuilt, error)
	Step(ctx context.Context, name string, from events.Position, count int) ([]projector.Step, error)

	// CheckStore reads everything the store holds and reports what is damaged; progress hears how many of how many events were read.
	CheckStore(ctx context.Context, progress func(checked, total int64)) (StoreReport, error)
	// AuditSecrets reads everything the store holds and names where there are secrets in it; progress hears how far it is.
	AuditSecrets(ctx context.Context, level events.MaskingLevel, progress func(checked, total int64)) (SecretsReport, error)
	Bus
}

// Config says what a server serves. Host is required.
type Config struct {
	Host   Host
	Log    *slog.Logger // nil: nothing is logged
	Health Health       // what GET /v1/health answers

	Members func() []string // the URLs of the APIs of the cluster's other hosts, which it answers too; nil: there are none

	Hosts      []string      // names that requests may be addressed to, besides localhost, 127.0.0.1 and ::1
	Token      string        // if set, every request must carry it: Authorization: Bearer <token>
	MaxBody    int64         // bytes of a request's body; default 1 MiB
	MaxMessage int64         // bytes of the body that carries a message; default 8 MiB
	Heartbeat  time.Duration // a silent feed says that it is alive this often; default 10 s, at most 15 s
	Feeds      int           // that may be open at once; default 1024
	SlowWrite  time.Duration // a watcher that takes longer for one event is told to come back; default 5 s
}

// Health says which server answers, and from what.
type Health struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Data    string `json:"data,omitempty"` // the data directory, where there is one

	Cluster string        `json:"cluster,omitempty"` // of which it is a host
	Host    events.HostID `json:"host,omitempty"`    // its id there
	Members []string      `json:"members,omitempty"` // URLs of the APIs of its other hosts
}

// SecretsReport says where secrets stand in what is stored, and how many were masked before it was stored. It shows no part of any.
type SecretsReport struct {
	Events   int64           `json:"events,string"` // that were read
	Blobs    int64           `json:"blobs,string"`  // large texts, and files of workspaces
	Findings []SecretFinding `json:"findings"`      // empty when there are none
	More     int             `json:"more,omitempty"`
	Masked   []events.Masked `json:"masked,omitempty"` // by rule
	Unread   []string        `json:"unread,omitempty"` // blobs that could not be read
}

// SecretFinding is a field of an event, or a blob that it refers to, in which there are secrets.
type SecretFinding struct {
	Stream   events.Stream   `json:"stream"`
	Revision events.Revision `json:"revision,string"`
	Kind     events.Kind     `json:"kind"`
	Time     events.Micros   `json:"time,string"`
	Field    string          `json:"field"` // such as text, calls[0].arguments.command, or blob HASH
	Rule     string          `json:"rule"`
	Count    int             `json:"count"`
}

// StoreReport is what a check of the store found.
type StoreReport struct {
	Events  int64         `json:"events,string"`
	Streams int           `json:"streams"`
	Damage  []StoreDamage `json:"damage"`         // empty when all is well
	More    int           `json:"more,omitempty"` // damage beyond what is listed

	Unchecked []string `json:"unchecked,omitempty"` // what could not be looked at from here
}

// StoreDamage is one thing in the store that is not as it was stored.
type StoreDamage struct {
	Stream   events.Stream   `json:"stream,omitempty"` // where that can be told
	Revision events.Revision `json:"revision,string"`  // of the first event touched; -1 when that cannot be told
	Problem  string          `json:"problem"`
}

// maxHeartbeat is how long a feed may be silent at most: proxies and clients take a longer silence for a dead connection.
const maxHeartbeat = 15 * time.Second

type server struct {
	host      Host
	log       *slog.Logger
	health    Health
	members   func() []string
	limits    bodyLimits
	heartbeat time.Duration
	slow      time.Duration
	feeds     chan struct{} // holds a token for each that is open
}

// bodyLimits are the sizes of requests' bodies, in bytes.
type bodyLimits struct{ body, message int64 }

// New returns the handler of the whole API.
func New(config Config) (http.Handler, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("configure api: %w", err)
	}
	s := &server{
		host: config.Host, log: config.Log, health: config.Health, members: config.Members,
		limits:    bodyLimits{cmp.Or(config.MaxBody, 1<<20), cmp.Or(config.MaxMessage, 8<<20)},
		heartbeat: cmp.Or(config.Heartbeat, 10*time.Second), slow: cmp.Or(config.SlowWrite, 5*time.Second),
		feeds: make(chan struct{}, cmp.Or(config.Feeds, 1024)),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	g := &guard{log: s.log, mux: s.mux(), hosts: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}}
	for _, host := range config.Hosts {
		g.hosts[strings.ToLower(host)] = true
	}
	if config.Token != "" {
		sum := sha256.Sum256([]byte(config.Token))
		g.token = &sum
	}
	return g, nil
}

func (c *Config) validate() error {
	switch {
	case c.Host == nil:
		return errors.New("a host is required")
	case c.MaxBody < 0 || c.MaxMessage < 0:
		return errors.New("a size limit is negative")
	case c.Heartbeat < 0 || c.Heartbeat > maxHeartbeat:
		return fmt.Errorf("the heartbeat is %s, want at most %s", c.Heartbeat, maxHeartbeat)
	case c.Feeds < 0:
		return errors.New("the number of feeds is negative")
	case c.SlowWrite < 0:
		return errors.New("the time for a slow write is negative")
	}
	return checkToken(c.Token)
}

// checkToken refuses tokens that no Authorization header can carry.
func checkToken(token string) error {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return errors.New("the token has a character outside printable ASCII, or a space")
		}
	}
	return nil
}

// mux routes requests as the table says.
func (s *server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, serve := range s.routes() {
		mux.Handle(pattern, handler{serve, s.log})
	}
	return mux
}

// routes is the table of contents.
func (s *server) routes() map[string]route {
	routes := s.otherRoutes()
	for _, c := range commandRoutes() {
		routes[c.method+" "+c.path] = s.serveCommand(c)
	}
	return routes
}

// otherRoutes are those that are no command's.
func (s *server) otherRoutes() map[string]route {
	return map[string]route{
		"GET /v1/agents":                   s.list,
		"GET /v1/agents/{agent}":           s.summary,
		"GET /v1/agents/{agent}/state":     s.state,
		"GET /v1/agents/{agent}/moment":    s.moment,
		"GET /v1/agents/{agent}/diff":      s.difference,
		"GET /v1/agents/{agent}/history":   s.groups,
		"GET /v1/agents/{agent}/search":    s.search,
		"GET /v1/agents/{agent}/waterfall": s.waterfall,
		"GET /v1/agents/{agent}/events":    s.agentEvents,
		"GET /v1/agents/{agent}/feed":      s.feed,
		"GET /v1/agents/{agent}/workspace": s.workspace,
		"POST /v1/agents/{agent}/forks":    s.fork,
		"GET /v1/tenants/{tenant}/rules":   s.rules,
		"GET /v1/streams/{stream}/events":  s.streamEvents,
		"GET /v1/wallets/{wallet}":         s.wallet,
		"POST /v1/commands":                s.publish,
		"GET /v1/commands/poisoned":        s.poisoned,

		"GET /v1/agents/{agent}/workspace/file": s.workspaceFile,
		"GET /v1/agents/{agent}/arguments":      s.arguments,

		"POST /v1/commands/poisoned/{entry}/retry": s.retryPoisoned,
		"POST /v1/commands/poisoned/{entry}/drop":  s.dropPoisoned,

		"GET /v1/approvals":          s.approvals,
		"GET /v1/projections":        s.projections,
		"GET /v1/projections/{name}": s.project,

		"GET /v1/projections/{name}/status": s.projectionStatus,
		"GET /v1/projections/{name}/steps":  s.projectionSteps,
		"POST /v1/projections/rebuild":      s.rebuildProjections,

		"GET /v1/diff":           s.diff,
		"POST /v1/verify":        s.verify,
		"POST /v1/store/check":   s.check,
		"POST /v1/store/secrets": s.auditSecrets,
		"GET /v1/causes":         s.causes,
		"GET /v1/effects":        s.effects,
		"GET /v1/unstored":       s.unstored,
		"GET /v1/cluster":        s.cluster,
		"GET /v1/health":         s.healthy,
	}
}

// route answers a request, or returns why not.
type route func(w http.ResponseWriter, r *http.Request) error

// handler turns a route's error into a problem.
type handler struct {
	serve route
	log   *slog.Logger
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.serve(w, r)
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.Code == CodeInternal || p.Code == codeCorrupt {
		h.log.Error("answer request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeProblem(w, p)
}
