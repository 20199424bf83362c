package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// commandRoutes are the routes that take a command, each with a body that is fine and a field to misuse.
func commandRoutes() []struct{ method, path, body, field string } {
	return []struct{ method, path, body, field string }{
		{"POST", "/v1/agents", `{"agent":"ada","config":{"model":"fake/one","tools":["echo"],"limits":{"tokens":"5","rounds":2}}}`, "agent"},
		{"PUT", "/v1/agents/ada/config", `{"model":"fake/one","policy":{"ask":["*"],"on_lost":"tell"}}`, "model"},
		{"POST", "/v1/agents/ada/messages", `{"text":"hello","verb":"steer","from":"ann"}`, "text"},
		{"POST", "/v1/agents/ada/cancel", `{"turn":"ada/1"}`, "turn"},
		{"POST", "/v1/agents/ada/approve", `{"call":"1.1","digest":"d","by":"ann"}`, "call"},
		{"POST", "/v1/agents/ada/deny", `{"call":"1.1","by":"ann","reason":"no"}`, "reason"},
		{"POST", "/v1/agents/ada/answer", `{"call":"1.1","by":"ann","answer":"staging"}`, "answer"},
		{"POST", "/v1/agents/ada/retire", `{"reason":"enough"}`, "reason"},
		{"POST", "/v1/agents/ada/release", `{"by":"ann"}`, "by"},
		{"PUT", "/v1/tenants/local/rules", `{"rules":[{"name":"r","measure":"progress","at_least":0,"mode":"verify"}],"by":"ann"}`, "by"},
		{"POST", "/v1/wallets/savings", `{"micro_dollars":"1500000"}`, "micro_dollars"},
		{
			"POST", "/v1/knowledge/local", `{"write":[{"note":"a","title":"A","text":"b [[c]]","valid_from":"5","links":[{"target":"c","exclusive":true}],
			"source":{"collection":"x","path":"a.md"}}],"remove":[{"note":"b","reason":"old"}],"by":"ann"}`, "by",
		},
		{"POST", "/v1/wallets/savings/credit", `{"micro_dollars":"1500000","memo":"gift"}`, "memo"},
	}
}

// TestMalformedCommands: whatever is wrong with a command is named, and reaches no host.
func TestMalformedCommands(t *testing.T) {
	port := &fake{}
	server := serve(t, port, func(c *api.Config) { c.MaxBody, c.MaxMessage = 4096, 8192 })
	for _, route := range commandRoutes() {
		t.Run(route.path, func(t *testing.T) {
			try := func(body string, headers ...string) asked {
				return request(t, server, route.method, route.path, body, headers...)
			}
			quoted := `"` + route.field + `"`
			try(`{`).wantProblem(t, 400, "malformed", "unexpected end")
			try(`{}{}`).wantProblem(t, 400, "malformed", "after top-level value")
			try(`[]`).wantProblem(t, 400, "malformed", "the body is an array, want an object")
			try(`null`).wantProblem(t, 400, "malformed", "the body is null")
			try(`{"x":1}`).wantProblem(t, 400, "malformed", `there is no field "x"; the fields are: `)
			try(`{"`+strings.ToUpper(route.field)+`":"x"}`).wantProblem(t, 400, "malformed", "there is no field")
			try(`{`+quoted+`:null}`).wantProblem(t, 400, "malformed", route.field+`" is null`)
			try(`{`+quoted+`:7}`).wantProblem(t, 400, "malformed", route.field+`" is a number, want a string`)
			try(`{`+quoted+`:"1",`+quoted+`:"1"}`).wantProblem(t, 400, "malformed", "is there twice")
			try("{"+quoted+":\"\xff\"}").wantProblem(t, 400, "malformed", "UTF-8")
			try(`{`+quoted+`:`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`).wantProblem(t, 400, "malformed", "is an array")
			try(strings.Repeat("[", 4000)).wantProblem(t, 400, "malformed", "")
			try(`{`+quoted+`:"`+strings.Repeat("x", 9000)+`"}`).wantProblem(t, 413, "too_large", "bytes")
			try(route.body, "Content-Type", "text/plain").wantProblem(t, 415, "media_type", "text/plain")
			try(route.body, "Content-Type", "application/json; charset=latin1").wantProblem(t, 415, "media_type", "")
			try(route.body, "Idempotency-Key", strings.Repeat("k", 129)).wantProblem(t, 400, "malformed", "Idempotency-Key")
			try(route.body, "Idempotency-Key", "").wantProblem(t, 400, "malformed", "Idempotency-Key")
			try(route.body, "Life-Actor", "a b").wantProblem(t, 400, "malformed", "Life-Actor")
			request(t, server, route.method, route.path+"?x=1", route.body).wantProblem(t, 400, "malformed", "query")
			wrong := request(t, server, http.MethodDelete, route.path, "")
			wrong.wantProblem(t, 405, "method", "DELETE")
			if !strings.Contains(wrong.Header.Get("Allow"), route.method) {
				t.Errorf("Allow: %q", wrong.Header.Get("Allow"))
			}
			if len(port.got) > 0 {
				t.Fatalf("commands reached the host: %v", port.got)
			}
			fine := try(route.body, "Content-Type", "application/json; charset=UTF-8", "Idempotency-Key", "k1", "Life-Actor", "cli",
				"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			var receipt actors.Receipt
			if fine.want(t, fine.StatusCode, &receipt); fine.StatusCode > 201 || fine.Header.Get("Idempotency-Key") != "k1" || receipt.Stream == "" {
				t.Errorf("status %d, key %q: %s", fine.StatusCode, fine.Header.Get("Idempotency-Key"), fine.body)
			}
			origin := actors.Origin{Actor: "cli", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
			if len(port.got) != 2 || port.got[0].(sagas.Command).Metadata().ID != "k1" || port.got[1] != origin {
				t.Errorf("the host got %v", port.got)
			}
			port.got = nil
		})
	}
}

// TestNumbersInBodies: 64-bit numbers are strings and nothing else, and the path of a wrong one is named.
func TestNumbersInBodies(t *testing.T) {
	port := &fake{}
	server := serve(t, port)
	for body, inDetail := range map[string]string{
		`{"micro_dollars":5}`:                      `"micro_dollars" is a number, want a string: 64-bit numbers are strings`,
		`{"micro_dollars":"1.50"}`:                 `"micro_dollars" is "1.50", want a whole number`,
		`{"micro_dollars":""}`:                     `want a whole number`,
		`{"micro_dollars":"null"}`:                 `want a whole number`,
		`{"micro_dollars":"+5"}`:                   `want a whole number`,
		`{"micro_dollars":"05"}`:                   `want a whole number`,
		`{"micro_dollars":" 5"}`:                   `want a whole number`,
		`{"micro_dollars":"99999999999999999999"}`: `at most 64 bits`,
		`{"micro_dollars":true}`:                   `is a boolean`,
	} {
		request(t, server, "POST", "/v1/wallets/w", body).wantProblem(t, 400, "malformed", inDetail)
	}
	for config, inDetail := range map[string]string{
		`{"limits":{"tokens":5}}`:               `field "config.limits.tokens" is a number`,
		`{"limits":{"rounds":"5"}}`:             `field "config.limits.rounds" is a string, want a whole number`,
		`{"limits":{"rounds":1.5}}`:             `field "config.limits.rounds" is "1.5"`,
		`{"limits":{"rounds":1e3}}`:             `field "config.limits.rounds"`,
		`{"limits":{"Rounds":5}}`:               `there is no field "config.limits.Rounds"`,
		`{"tools":[{"name":"bash"}]}`:           `field "config.tools[0]" is an object, want a string`,
		`{"policy":{"ask":["x",null]}}`:         `field "config.policy.ask[1]" is null`,
		`{"policy":{"on_lost":"ask","risk":1}}`: `there is no field "config.policy.risk"`,
	} {
		request(t, server, "POST", "/v1/agents", `{"config":`+config+`}`).wantProblem(t, 400, "malformed", inDetail)
	}
	if len(port.got) > 0 {
		t.Errorf("commands reached the host: %v", port.got)
	}
}

// TestReadsRefuse: routes that only read name what is wrong with a request too.
func TestReadsRefuse(t *testing.T) {
	host := startHost(t)
	do(t, host, "agent-ada", create(ada))
	server := serve(t, host)
	for _, test := range []struct {
		method, path, body string
		status             int
		code, inDetail     string
	}{
		{"GET", "/", "", 404, "no_route", "there is no path /"},
		{"GET", "/v2/agents", "", 404, "no_route", "/v2/agents"},
		{"GET", "/v1/agents/", "", 404, "no_route", ""},
		{"GET", "/v1/agents//events", "", 404, "no_route", "there is no path /v1/agents//events"},
		{"POST", "/v1/agents/../agents", "{}", 404, "no_route", ""},
		{"PATCH", "/v1/agents/ada", "", 405, "method", "GET"},
		{"POST", "/v1/health", "", 405, "method", "GET"},
		{"GET", "/v1/verify", "", 405, "method", "POST"},
		{"GET", "/v1/projections?x=1", "", 400, "malformed", "takes no query parameters"},
		{"GET", "/v1/projections/balances", "", 404, "not_found", "there are balance, spending"},
		{"GET", "/v1/projections/balance?query=sum", "", 400, "invalid", "there are wallets, accounts"},
		{"GET", "/v1/projections/balance?color=red", "", 400, "invalid", "color"},
		{"GET", "/v1/projections/balance?from=2026-01-01", "", 400, "invalid", "no parameter"},
		{"GET", "/v1/projections/balance?at=-1", "", 400, "malformed", "at"},
		{"GET", "/v1/projections/waterfall?query=turn&turn=nobody/1", "", 404, "not_found", "nobody/1"},
		{"GET", "/v1/diff?a=ada&b=ada", "", 400, "invalid", "one agent"},
		{"GET", "/v1/diff?a=ada&b=nobody", "", 404, "not_found", "there is no agent nobody"},
		{"GET", "/v1/diff?a=ada", "", 400, "invalid", "agent name"},
		{"GET", "/v1/diff?a=ada&b=ben&pairs=0", "", 400, "malformed", "pairs"},
		{"POST", "/v1/diff?a=ada&b=ben", "{}", 405, "method", "GET"},
		{"POST", "/v1/projections/balance", "{}", 405, "method", "GET"},
		{"GET", "/v1/agents/nobody", "", 404, "not_found", "nobody"},
		{"GET", "/v1/agents/NOBODY", "", 400, "invalid", "NOBODY"},
		{"GET", "/v1/agents/a%2Fb", "", 400, "invalid", "a/b"},
		{"GET", "/v1/agents?limit=0", "", 400, "malformed", `"limit" is "0"`},
		{"GET", "/v1/agents?limit=x", "", 400, "malformed", `"limit" is "x"`},
		{"GET", "/v1/agents?limit=1&limit=2", "", 400, "malformed", "twice"},
		{"GET", "/v1/agents?%zz", "", 400, "malformed", "query"},
		{"GET", "/v1/health?x=1", "", 400, "malformed", `"x"`},
		{"GET", "/v1/agents/ada?x=1", "", 400, "malformed", `"x"`},
		{"GET", "/v1/agents/ada/state?at=-1", "", 400, "malformed", `"at"`},
		{"GET", "/v1/agents/ada/state?at=yesterday", "", 400, "malformed", "turn:3.1"},
		{"GET", "/v1/agents/ada/state?at=turn:1", "", 404, "not_found", "no turn yet"},
		{"GET", "/v1/agents/ada/moment?at=2001-01-01", "", 404, "not_found", "begins at"},
		{"GET", "/v1/agents/ada/diff?from=x", "", 400, "malformed", `"from"`},
		{"GET", "/v1/agents/ada/diff?from=0&to=9", "", 404, "not_found", "ends at revision 0"},
		{"GET", "/v1/agents/ada/diff?a=0", "", 400, "malformed", `"a"`},
		{"GET", "/v1/agents/ada/history?limit=0", "", 400, "malformed", `"limit"`},
		{"GET", "/v1/agents/ada/history?direction=up", "", 400, "malformed", "forward or backward"},
		{"GET", "/v1/agents/ada/history?from=turn:7", "", 404, "not_found", "no turn yet"},
		{"GET", "/v1/agents/nobody/history", "", 404, "not_found", "nobody"},
		{"GET", "/v1/agents/ada/search?to=x", "", 400, "malformed", `"to"`},
		{"GET", "/v1/agents/ada/search?where=kind", "", 400, "invalid", "no language of expressions"},
		{"GET", "/v1/agents/ada/search?kinds=x", "", 400, "malformed", `"kinds"`},
		{"GET", "/v1/causes", "", 400, "malformed", `"event"`},
		{"GET", "/v1/causes?event=ada", "", 400, "malformed", "<stream>@<revision>"},
		{"GET", "/v1/effects?event=agent-ada@7", "", 404, "not_found", "there is no event agent-ada@7"},
		{"GET", "/v1/agents/ada/waterfall", "", 400, "malformed", `"turn"`},
		{"GET", "/v1/agents/ada/waterfall?turn=0", "", 400, "malformed", `"turn"`},
		{"GET", "/v1/agents/ada/waterfall?turn=1", "", 404, "not_found", "no turn yet"},
		{"GET", "/v1/agents/ada/moment?at=x", "", 400, "malformed", `"at"`},
		{"GET", "/v1/agents/nobody/moment", "", 404, "not_found", "nobody"},
		{"GET", "/v1/agents/NOBODY/moment", "", 400, "invalid", "NOBODY"},
		{"GET", "/v1/agents/ada/workspace", "", 409, "conflict", "records no files"},
		{"GET", "/v1/agents/ada/workspace?at=x", "", 400, "malformed", `"at"`},
		{"GET", "/v1/agents/ada/workspace/file?path=a&on=1", "", 400, "malformed", "the parameters are: at, path"},
		{"GET", "/v1/agents/ada/workspace/file?path=a", "", 409, "conflict", "records no files"},
		{"GET", "/v1/agents/ada/arguments", "", 400, "malformed", `"call"`},
		{"GET", "/v1/agents/ada/arguments?call=1.1", "", 404, "not_found", "no call 1.1 of ada"},
		{"GET", "/v1/agents/nobody/arguments?call=1.1", "", 404, "not_found", "nobody"},
		{"POST", "/v1/agents/ada/workspace", "{}", 405, "method", "GET"},
		{"GET", "/v1/agents/ada/state?at=99", "", 404, "not_found", "ends at revision 0"},
		{"GET", "/v1/agents/ada/state?on=1", "", 400, "malformed", "the parameters are: at"},
		{"GET", "/v1/agents/ada/events?from=x", "", 400, "malformed", `"from"`},
		{"GET", "/v1/agents/ada/events?limit=9999", "", 400, "malformed", `"limit"`},
		{"GET", "/v1/agents/ada/events?bytes=0", "", 400, "malformed", `"bytes"`},
		{"GET", "/v1/agents/ada/events?direction=up", "", 400, "malformed", "forward or backward"},
		{"GET", "/v1/agents/nobody/events", "", 404, "not_found", "agent-nobody"},
		{"GET", "/v1/agents/NOBODY/events", "", 400, "invalid", "NOBODY"},
		{"GET", "/v1/streams/" + strings.Repeat("x", 1100) + "/events", "", 400, "invalid_stream", "1100"},
		{"GET", "/v1/agents/ada/feed?after=x", "", 400, "malformed", `"after"`},
		{"GET", "/v1/agents/NOBODY/feed", "", 400, "invalid", "NOBODY"},
		{"GET", "/v1/wallets/nobody", "", 404, "not_found", "nobody"},
		{"GET", "/v1/wallets/NOBODY", "", 400, "invalid", "NOBODY"},
		{"GET", "/v1/wallets/nobody?x=1", "", 400, "malformed", `"x"`},
		{"POST", "/v1/verify?agent=nobody", "", 404, "not_found", "nobody"},
		{"POST", "/v1/verify?agent=NOBODY", "", 400, "invalid", "NOBODY"},
		{"POST", "/v1/verify", `{"agent":"ada"}`, 400, "malformed", `"agent"`},
		{"POST", "/v1/store/check?x=1", "", 400, "malformed", ""},
		{"POST", "/v1/store/secrets?masking=all", "", 400, "invalid", "known, shapes or strict"},
	} {
		t.Run(test.method+" "+clipped(test.path), func(t *testing.T) {
			request(t, server, test.method, test.path, test.body).wantProblem(t, test.status, test.code, test.inDetail)
		})
	}
	request(t, server, "GET", "/v1/agents/ada/feed", "", "Last-Event-ID", "x").wantProblem(t, 400, "malformed", "Last-Event-ID")
	if head := request(t, server, "HEAD", "/v1/agents/ada/feed", ""); head.StatusCode != 200 {
		t.Errorf("HEAD of a feed: %d", head.StatusCode)
	}
	for path, want := range map[string]bool{ // a part of history begins with its first event, also if it is to begin before
		"/v1/agents/ada/history?from=2001-01-01":                 true,
		"/v1/agents/ada/search?from=2001-01&to=2999-12-31":       true,
		"/v1/agents/ada/diff?from=2001-01-01&to=2999-01-01T10":   true,
		"/v1/agents/ada/search?from=2999-01-01":                  false,
		"/v1/agents/ada/search?from=2001-01-01/2001-01-02&to=..": false,
	} {
		asked := request(t, server, "GET", path, "")
		if strings.HasSuffix(path, "=..") {
			asked.wantProblem(t, 400, "malformed", `"to"`)
			continue
		}
		var answer map[string]any
		asked.want(t, 200, &answer)
		if found, is := answer["events"].([]any); is && (len(found) > 0) != want {
			t.Errorf("%s answers %v", path, answer)
		}
	}
}

func clipped(path string) string { return path[:min(len(path), 60)] }

// TestCreating: an agent without a name gets one that its command's id decides, so that sending again means the same agent.
func TestCreating(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	body := `{"config":{"model":"fake/one"}}`
	var first, second actors.Receipt
	made := request(t, server, "POST", "/v1/agents", body, "Idempotency-Key", "k1")
	made.want(t, 201, &first)
	request(t, server, "POST", "/v1/agents", body, "Idempotency-Key", "k1").want(t, 200, &second)
	if !second.Duplicate || second.Stream != first.Stream || first.Duplicate {
		t.Errorf("first %v, again %v", first, second)
	}
	var summary projections.AgentSummary
	request(t, server, "GET", made.Header.Get("Location"), "").want(t, 200, &summary)
	if events.AgentStream(summary.ID) != first.Stream || summary.Model != "fake/one" {
		t.Errorf("made %v, found %v", first, summary)
	}
	unnamed := request(t, server, "POST", "/v1/agents", body)
	if unnamed.want(t, 201, &first); unnamed.Header.Get("Idempotency-Key") == "" || first.Stream == second.Stream {
		t.Errorf("without a key: %v", unnamed.Header)
	}
	var receipt actors.Receipt
	request(t, server, "POST", "/v1/agents/"+string(summary.ID)+"/messages", `{"text":"hello"}`, "Idempotency-Key", "m1").want(t, 200, &receipt)
	if receipt.Message != "m1" || receipt.Turn != events.NewTurnID(summary.ID, 1) {
		t.Errorf("a message: %v", receipt)
	}
	var again actors.Receipt
	request(t, server, "POST", "/v1/agents/"+string(summary.ID)+"/messages", `{"text":"hello"}`, "Idempotency-Key", "m1").want(t, 200, &again)
	if receipt.Duplicate = true; again != receipt {
		t.Errorf("sent again %v, want %v", again, receipt)
	}
	request(t, server, "POST", "/v1/agents/"+string(summary.ID)+"/messages", `{"text":"other"}`, "Idempotency-Key", "m1").
		wantProblem(t, 422, "id_reused", "m1")
}

// TestPages walks agents and events by their links.
func TestPages(t *testing.T) {
	host := startHost(t)
	for _, id := range []events.AgentID{"c", "a", "b"} {
		do(t, host, events.AgentStream(id), create(id))
	}
	do(t, host, "agent-a", say("s1", "hello <you> & me"))
	all := until(t, watch(t, host, "a", events.NoRevision), "settlement.recorded")
	server := serve(t, host)
	var names []events.AgentID
	for next := "/v1/agents?limit=2"; next != ""; {
		var page struct {
			Agents []projections.AgentSummary
			Next   string
		}
		request(t, server, "GET", next, "").want(t, 200, &page)
		for _, agent := range page.Agents {
			names = append(names, agent.ID)
		}
		next = page.Next
	}
	if len(names) != 3 || names[0] != "a" || names[2] != "c" {
		t.Errorf("agents %v", names)
	}
	// A filter stays in the link to the next page, and the client's answer is the host's.
	var page struct{ Next string }
	request(t, server, "GET", "/v1/agents?limit=1&status=idle&model=fake%2Fone", "").want(t, 200, &page)
	if page.Next != "/v1/agents?after=a&limit=1&model=fake%2Fone&status=idle" {
		t.Errorf("the next page is %q", page.Next)
	}
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	for filter, want := range map[projections.AgentFilter]int{
		{Status: projections.StatusIdle}: 3, {Status: projections.StatusIdle, Limit: 2}: 2, {Model: "other"}: 0, {Agent: "b"}: 1, {After: "a", Model: "fake/one"}: 2,
	} {
		if found, err := client.Agents(t.Context(), filter); err != nil || len(found) != want {
			t.Errorf("%+v finds %d agents, %v; want %d", filter, len(found), err, want)
		}
	}
	request(t, server, "GET", "/v1/agents?status=asleep", "").wantProblem(t, 400, "invalid", "want one of retired")
	for _, direction := range []string{"forward", "backward"} {
		var seen []events.Envelope
		for next := "/v1/agents/a/events?limit=2&direction=" + direction; next != ""; {
			var page struct {
				Events []events.Envelope
				Last   events.Revision `json:"last,string"`
				End    bool
				Next   string
			}
			request(t, server, "GET", next, "").want(t, 200, &page)
			if page.Last != all[len(all)-1].Revision || page.End == (page.Next != "") {
				t.Errorf("last %d, end %v, next %q", page.Last, page.End, page.Next)
			}
			seen = append(seen, page.Events...)
			next = page.Next
		}
		if len(seen) != len(all) {
			t.Fatalf("%s: %d events, want %d", direction, len(seen), len(all))
		}
		for i := range all {
			same := seen[i]
			if direction == "backward" {
				same = seen[len(seen)-1-i]
			}
			if same.ID != all[i].ID || !bytes.Equal(same.Data, all[i].Data) {
				t.Errorf("%s: %s, want %s", direction, same.Data, all[i].Data)
			}
		}
	}
}

// checking is a host whose store is checked as a function says.
type checking struct {
	api.Host
	check func(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error)
}

func (c checking) CheckStore(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
	return c.check(ctx, progress)
}

// TestLines reads reports that take long.
func TestLines(t *testing.T) {
	report := api.StoreReport{Events: 9, Streams: 2, Damage: []api.StoreDamage{{Stream: "agent-a", Revision: 3, Problem: "torn"}}, More: 1}
	var fails error
	host := startHost(t)
	do(t, host, "agent-ada", create(ada))
	slow := make(chan struct{})
	server := serve(t, checking{Host: host, check: func(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
		for i := int64(0); ; i++ { // until the client has heard of it
			progress(i, 99)
			select {
			case <-slow:
				return report, fails
			case <-ctx.Done():
				return report, ctx.Err()
			default:
			}
		}
	}})
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	heard := func(_, total int64) {
		if total != 99 {
			t.Errorf("total %d", total)
		}
		slow <- struct{}{}
	}
	got, err := client.CheckStore(t.Context(), heard)
	if err != nil || got.Events != 9 || len(got.Damage) != 1 || got.Damage[0] != report.Damage[0] || got.More != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	fails = &actors.UnavailableError{Stream: "agent-a", Reason: "because"}
	if _, err = client.CheckStore(t.Context(), heard); err == nil || err.Error() != fails.Error() {
		t.Errorf("failed later: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err = client.CheckStore(ctx, func(_, _ int64) { cancel() }); err == nil || ctx.Err() == nil {
		t.Errorf("given up: %v", err)
	}
	verified, err := client.Verify(t.Context(), ada, func(int64, int64) {})
	if err != nil || verified.Events != 1 || len(verified.Failures) != 0 {
		t.Errorf("%+v, %v", verified, err)
	}
	health, err := client.Health(t.Context())
	if want := (api.Health{Name: "life", Version: "test", PID: 7, Data: "somewhere"}); err != nil || !reflect.DeepEqual(health, want) {
		t.Errorf("%+v, %v", health, err)
	}
}

// TestLargeMessages: a message may be larger than other bodies, and comes back as a blob.
func TestLargeMessages(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	do(t, client, "agent-ada", create(ada))
	do(t, client, "agent-ada", say("s1", strings.Repeat("long ", 1<<20)))
	history, err := client.History(t.Context(), "agent-ada", 1, storage.Forward, storage.Limit{Events: 1})
	if err != nil {
		t.Fatal(err)
	}
	var received events.MessageReceived
	if err := json.Unmarshal(history.Events[0].Data, &received); err != nil || received.Blob == nil || received.Blob.Size != 5<<20 {
		t.Errorf("%v, %+v", err, received)
	}
	_, err = client.Do(t.Context(), "agent-ada", say("s2", strings.Repeat("long ", 2<<20)), actors.Origin{})
	if p, ok := err.(*api.Problem); !ok || p.Code != "too_large" { //nolint:errorlint // not wrapped
		t.Errorf("too large: %v", err)
	}
}
