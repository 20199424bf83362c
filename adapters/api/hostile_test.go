package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/adapters/api"
	"example.com/life/adapters/declared"
	"example.com/life/events"
)

// input is a kind of what a caller can write into a request.
type input int

const (
	number     input = iota // within bounds
	moment                  // of an agent's history
	choice                  // one of a few words
	expression              // true or false of an event
	reference               // to an event
	name                    // of an agent
	words                   // any text: all of it is taken
)

// hostile are inputs of each kind that no route takes, and the codes of the problems that they are answered with. Not found is an answer to
// what is well formed.
func hostile(kind input) (values, codes []string) {
	long := strings.Repeat("9", 9000)
	switch kind {
	case number:
		return []string{"-99", "9223372036854775808", "1e3", "0x10", "٣", " 1", "1\x00", long}, []string{"malformed"}
	case moment:
		return []string{"turn:99999999999999999999", "turn:-1", "turn:1.1.1", "2026-99-99", "\x00", "٣", long}, []string{"malformed", "not_found"}
	case choice:
		return []string{"up", "FORWARD", "\u202e", "\xff", long}, []string{"malformed", "invalid"}
	case expression:
		return []string{
			strings.Repeat("(", 2000), "1" + strings.Repeat("+1", 900) + " > 0", `text matches "(.?.?){500}b|(.?.?){500}c|(.?.?){500}d"`, `text matches "a{1001}"`,
			`any(calls, any(calls, true))`, `text matches kind`, "kind == \"\xff", long,
		}, []string{"invalid"}
	case reference:
		return []string{"@", "agent-ada@-1", "agent-ada@9223372036854775808", "\x00@1", long, "agent-" + long + "@1", "nobody@7"}, []string{"malformed", "invalid", "not_found", "invalid_stream"}
	case name:
		return []string{"ADA", "a/b", "..", "\u202eada", "\xff", long}, []string{"malformed", "invalid", "not_found"}
	case words:
	}
	return nil, nil
}

// row is what a caller can write into the requests of one route.
type row struct {
	query map[string]input
	with  string // parameters that it does not go without
	body  string // one that it takes; empty: it takes none
}

// rows has every route. The {parts} of its path are names.
func rows() map[string]row {
	page := map[string]input{"from": number, "limit": number, "bytes": number, "direction": choice}
	at := map[string]input{"at": moment}
	return map[string]row{
		"GET /v1/agents":                           {query: map[string]input{"limit": number, "status": choice}},
		"POST /v1/agents":                          {body: `{"config":{"model":"fake/one"}}`},
		"GET /v1/agents/{agent}":                   {},
		"PUT /v1/agents/{agent}/config":            {body: `{"model":"fake/one"}`},
		"POST /v1/agents/{agent}/messages":         {body: `{"text":"hello"}`},
		"POST /v1/agents/{agent}/cancel":           {body: `{"by":"ann"}`},
		"POST /v1/agents/{agent}/compact":          {body: `{"by":"ann"}`},
		"POST /v1/agents/{agent}/undo":             {body: `{"to":"3","force":true,"by":"ann"}`},
		"POST /v1/agents/{agent}/approve":          {body: `{"by":"ann"}`},
		"POST /v1/agents/{agent}/revoke":           {body: `{"remembered":"agent-demo@12","by":"ann"}`},
		"POST /v1/agents/{agent}/deny":             {body: `{"by":"ann"}`},
		"POST /v1/agents/{agent}/answer":           {body: `{"call":"1.1","by":"ann","answer":"staging"}`},
		"POST /v1/agents/{agent}/retire":           {body: `{"reason":"done"}`},
		"POST /v1/agents/{agent}/release":          {body: `{"by":"ann"}`},
		"POST /v1/agents/{agent}/forks":            {body: `{"name":"other"}`},
		"GET /v1/agents/{agent}/feed":              {query: map[string]input{"after": number}},
		"GET /v1/agents/{agent}/events":            {query: page},
		"GET /v1/agents/{agent}/state":             {query: at},
		"GET /v1/agents/{agent}/moment":            {query: at},
		"GET /v1/agents/{agent}/diff":              {query: map[string]input{"from": moment, "to": moment}},
		"GET /v1/agents/{agent}/history":           {query: map[string]input{"from": moment, "to": moment, "limit": number, "direction": choice}},
		"GET /v1/agents/{agent}/search":            {query: map[string]input{"from": moment, "to": moment, "limit": number, "direction": choice, "where": expression, "text": words, "kind": words}},
		"GET /v1/agents/{agent}/waterfall":         {query: map[string]input{"turn": number}},
		"GET /v1/agents/{agent}/workspace":         {query: at},
		"GET /v1/agents/{agent}/workspace/file":    {query: map[string]input{"at": moment}},
		"GET /v1/tenants/{tenant}/rules":           {},
		"PUT /v1/tenants/{tenant}/rules":           {body: `{"rules":[]}`},
		"GET /v1/streams/{stream}/events":          {query: page},
		"POST /v1/knowledge/{tenant}":              {body: `{"by":"ann"}`},
		"POST /v1/wallets/{wallet}":                {body: `{"micro_dollars":"1"}`},
		"POST /v1/wallets/{wallet}/credit":         {body: `{"micro_dollars":"1"}`},
		"GET /v1/wallets/{wallet}":                 {},
		"POST /v1/commands":                        {body: `{"type":"Cancel","command":{}}`},
		"GET /v1/commands/poisoned":                {query: map[string]input{"tenant": words}},
		"POST /v1/commands/poisoned/{entry}/retry": {body: `{"by":"ann"}`},
		"POST /v1/commands/poisoned/{entry}/drop":  {body: `{"by":"ann","reason":"no"}`},
		"GET /v1/approvals":                        {query: map[string]input{"at": number, "min": number}},
		"GET /v1/projections":                      {},
		"GET /v1/projections/{name}":               {query: map[string]input{"at": number, "min": number, "query": choice, "from": choice}},
		"GET /v1/projections/{name}/status":        {},
		"GET /v1/projections/{name}/steps":         {query: map[string]input{"from": number, "count": number}},
		"POST /v1/projections":                     {body: `{"source":"x"}`},
		"POST /v1/projections/{name}/remove":       {body: `{"reason":"no"}`},
		"POST /v1/projections/{name}/skip":         {body: `{"position":"1","reason":"no","by":"ann"}`},
		"POST /v1/projections/rebuild":             {body: `{"projections":["balance"]}`},
		"GET /v1/diff":                             {query: map[string]input{"a": name, "b": name, "turn": name, "turns": number, "pairs": number}, with: "a=ada&b=ben&"},
		"POST /v1/verify":                          {query: map[string]input{"agent": name}},
		"POST /v1/store/check":                     {},
		"POST /v1/store/secrets":                   {query: map[string]input{"masking": choice}},
		"GET /v1/causes":                           {query: map[string]input{"event": reference}},
		"GET /v1/effects":                          {query: map[string]input{"event": reference}},
		"GET /v1/agents/{agent}/arguments":         {query: map[string]input{"call": reference}},
		"GET /v1/unstored":                         {query: map[string]input{"agent": words}},
		"GET /v1/cluster":                          {query: map[string]input{"stream": words}},
		"GET /v1/health":                           {},
	}
}

// bodies are those that no route takes, and the code of the problem.
func bodies() map[string]string {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte("{}")) // into memory
	_ = zip.Close()
	return map[string]string{
		strings.Repeat("[", 100_000): "malformed", strings.Repeat(`{"a":`, 100_000): "malformed", `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}": "malformed",
		"\xff\xfe{\x00}\x00": "malformed", "\ufeff{}": "malformed", "{\"a\":\"\xff\"}": "malformed", "null": "malformed", "{}{}": "malformed", `{"\u0000":1}`: "malformed",
		`{"` + strings.Repeat("n", 100_000) + `":1}`: "malformed", `{"x":1e999999}`: "malformed", packed.String(): "malformed", "{": "malformed",
		`{"by":"` + strings.Repeat("x", 9<<20) + `"}`: "too_large",
	}
}

// paths are names, as paths have them, that no entity has.
func paths() []string {
	return []string{strings.Repeat("x", 1100), "%00", "%ff", "%E2%80%AE", "..%2F..%2Fetc%2Fpasswd", "%2e%2e", "UPPER", "a%20b", "%F0%9F%92%A9"}
}

// attack sends hostile requests, and keeps count.
type attack struct {
	server   *httptest.Server
	sent     int
	answered map[string]int // by code
	slowest  time.Duration
	largest  uint64 // bytes that were allocated for one
	worst    string
}

const (
	mostAnswer = 8 << 10  // bytes of a problem, whatever it is about
	mostMemory = 64 << 20 // bytes that one request has allocated, here and in the server: the largest body is read in doubling pieces
)

// send sends one, and wants a problem with one of these codes.
func (a *attack) send(t *testing.T, method, path, body string, codes []string, headers ...string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	answer := request(t, a.server, method, path, body, headers...)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	what := fmt.Sprintf("%s %.120q %.60q %.60q", method, path, body, headers)
	var p api.Problem
	if err := json.Unmarshal([]byte(answer.body), &p); err != nil || !slices.Contains(codes, p.Code) || answer.StatusCode >= 500 || len(answer.body) > mostAnswer {
		t.Errorf("%s is answered %d with %d bytes, %.300s; want %v", what, answer.StatusCode, len(answer.body), answer.body, codes)
	}
	allocated := after.TotalAlloc - before.TotalAlloc
	if a.sent++; allocated > a.largest {
		a.largest, a.worst = allocated, what
	}
	a.answered[p.Code]++
	a.slowest = max(a.slowest, took)
}

// hostileHost is one with the languages of expressions and of declared projections.
func hostileHost(t *testing.T) whole {
	t.Helper()
	memory := actorstest.NewMemory()
	host, err := actors.New(t.Context(), actors.Config{
		Masker:  actorstest.Unmasked{},
		Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), Models: models{}, Tools: []actors.Tool{echo()}, OpeningCredit: 100 * events.Dollar,
		Declare: declared.Parse,
		Where: func(text string) (history.EventFilter, error) {
			filter, err := declared.CompileFilter(text)
			return history.EventFilter(filter), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, host) })
	all := whole{host, &fakeBus{}}
	do(t, all, "agent-ada", create("ada"))
	do(t, all, "agent-ben", create("ben"))
	do(t, all, "agent-ada", say("s1", "hello"))
	until(t, watch(t, all, "ada", events.NoRevision), "settlement.recorded")
	return all
}

// TestHostileInput sends to every route, in every place where a caller can write something, what no caller should: each is answered with a
// problem of a bounded size that is the caller's, at a bounded cost, and the host goes on. A route without a row here fails the test.
func TestHostileInput(t *testing.T) {
	host := hostileHost(t)
	all, a := rows(), &attack{server: serve(t, host), answered: map[string]int{}}
	a.server.Client().Timeout = time.Minute // a request that hangs fails, and not the test
	for _, pattern := range api.Routes() {
		r, there := all[pattern]
		if !there {
			t.Errorf("%s has no row: say what a caller can write into it", pattern)
			continue
		}
		delete(all, pattern)
		t.Run(pattern, func(t *testing.T) { a.route(t, pattern, r) })
	}
	for pattern := range all {
		t.Errorf("there is no route %s", pattern)
	}
	a.sources(t)
	if a.largest > mostMemory {
		t.Errorf("%d bytes were allocated for %s", a.largest, a.worst)
	}
	request(t, a.server, "GET", "/v1/agents/ada", "").want(t, 200, &struct{}{})
	t.Logf("%d hostile requests were answered %v; the slowest took %s, the most memory was %d KiB, for %s", a.sent, a.answered, a.slowest.Round(time.Millisecond), a.largest>>10, a.worst)
}

// route sends to one route, at one place after another.
func (a *attack) route(t *testing.T, pattern string, r row) {
	method, path, _ := strings.Cut(pattern, " ")
	good := strings.NewReplacer("{agent}", "ada", "{tenant}", "local", "{stream}", "agent-ada", "{wallet}", "main", "{entry}", "0", "{name}", "balance").Replace(path)
	for parameter, kind := range r.query {
		values, codes := hostile(kind)
		for _, value := range values {
			a.send(t, method, good+"?"+r.with+parameter+"="+url.QueryEscape(value), "", codes)
		}
	}
	twice, unknown := []string{"malformed", "invalid"}, good+"?"+strings.Repeat("x", 9000)+"=1"
	a.send(t, method, unknown, r.body, twice)
	a.send(t, method, good+"?x=1&x=2", r.body, twice)
	a.send(t, method, good+"?%zz=1", r.body, twice)
	a.send(t, "PATCH", good, "", []string{"method"})
	if before, after, named := strings.Cut(path, "{"); named {
		_, after, _ = strings.Cut(after, "}")
		for _, hostileName := range paths() {
			a.send(t, method, before+hostileName+after, r.body, []string{"invalid", "invalid_stream", "malformed", "not_found", "no_route", "conflict"})
		}
	}
	if r.body == "" {
		return
	}
	for body, code := range bodies() {
		a.send(t, method, good, body, []string{code})
	}
	a.send(t, method, good, r.body, []string{"media_type"}, "Content-Type", "text/plain")
	a.send(t, method, good, r.body, []string{"media_type"}, "Content-Type", "application/json; charset=utf-16")
	if pattern == "POST /v1/projections/rebuild" { // it is no command
		return
	}
	for _, key := range []string{strings.Repeat("k", 129), "é", "a\tb"} {
		a.send(t, method, good, r.body, []string{"malformed", "invalid"}, "Idempotency-Key", key)
	}
}

// sources adds projections whose text is hostile.
func (a *attack) sources(t *testing.T) {
	head := "name: burn\nversion: 1\nabout: burns\non: [message.received]\nkey: {agent: agent}\nfold:\n"
	for _, source := range []string{
		strings.Repeat("a: &a [", 1000), "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nname: [*c,*c,*c]\n",
		strings.Repeat("x", 100_000), head + strings.Repeat("  f: 1\n", 50), head + "  f: int(text matches \"" + strings.Repeat("(.?.?){500}", 20) + "\")\n", "\x00", "",
	} {
		body, err := json.Marshal(map[string]string{"source": source})
		if err != nil {
			t.Fatal(err)
		}
		a.send(t, "POST", "/v1/projections", string(body), []string{"invalid", "malformed"})
	}
}

// TestHostileHeaders: more headers than a request may have are refused before any route sees them.
func TestHostileHeaders(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.MaxHeaderBytes = 64 << 10 // as life serve has it
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Life-Actor", strings.Repeat("x", 100<<10))
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d, %v", answer.StatusCode, err)
	}
}
