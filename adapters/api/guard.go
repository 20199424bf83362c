package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"

	"example.com/life/events"
)

// guard stands before every route. The server usually listens on loopback without a token, where any web page the user visits
// can send requests: so it answers only to its own names (a page cannot rebind DNS to reach it) and never to another site.
type guard struct {
	log   *slog.Logger
	mux   *http.ServeMux
	hosts map[string]bool
	token *[sha256.Size]byte // nil: none is required
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.recover(w, r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if p := g.admit(r); p != nil {
		w.Header().Set("Connection", "close") // the next one is no better
		writeProblem(w, p)
		return
	}
	place := placeOf(r.Context())
	place.Prove()
	place.Begin()
	defer place.End()
	unrouted, pattern := g.mux.Handler(r)
	if escaped := r.URL.EscapedPath(); pattern == "" || path.Clean(escaped) != escaped { // the router would redirect, with a page
		writeProblem(w, noRoute(w, r, unrouted))
		return
	}
	g.mux.ServeHTTP(w, r)
}

func (g *guard) admit(r *http.Request) *Problem {
	switch {
	case !g.hosts[hostName(r.Host)]:
		return problem(codeHost, "the request is addressed to %q, which is not a name of this server; life serve --name adds one", events.Clip(r.Host, 200))
	case crossOrigin(r):
		return problem(codeCrossOrigin, "the request comes from a page of another site")
	case g.token != nil && !g.bears(r):
		return problem(codeUnauthorized, "send the token as Authorization: Bearer <token>")
	}
	return nil
}

// bears compares digests, so that neither the token's bytes nor its length can be learned from how long it takes.
func (g *guard) bears(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// hostName is a Host header without its port and brackets, in lower case.
func hostName(hostport string) string {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
}

// crossOrigin reports whether a browser sent the request for a page of another site. Everything but browsers sends neither header.
func crossOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none" // none: the user typed the address
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	from, err := url.Parse(origin)
	return err != nil || from.Host != r.Host
}

// noRoute asks the router's own answer what is wrong: the path, or the method.
func noRoute(w http.ResponseWriter, r *http.Request, answer http.Handler) *Problem {
	seen := &statusOnly{header: http.Header{}}
	answer.ServeHTTP(seen, r)
	if seen.status == http.StatusMethodNotAllowed {
		allow := seen.header.Get("Allow")
		w.Header().Set("Allow", allow)
		return problem(codeMethod, "%s does not take %s, it takes %s", events.Clip(r.URL.Path, 200), events.Clip(r.Method, 200), allow)
	}
	return problem(codeNoRoute, "there is no path %s; docs/api.md lists them", events.Clip(r.URL.Path, 200))
}

// statusOnly keeps the status and headers of an answer that nobody reads.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

// recover keeps a panic from showing anything of itself.
func (g *guard) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
		panic(p)
	}
	g.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	writeProblem(w, problem(CodeInternal, "the server failed; its log says why"))
}
