package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// TestGuard turns away requests for other names, from other sites, and without the token.
func TestGuard(t *testing.T) {
	port := &fake{}
	server := serve(t, port, func(c *api.Config) { c.Hosts = []string{"Life.example"} })
	own := strings.TrimPrefix(server.URL, "http://")
	for _, test := range []struct {
		headers []string
		status  int
		code    string
	}{
		{nil, 200, ""},
		{[]string{"Host", "localhost:4777"}, 200, ""},
		{[]string{"Host", "localhost"}, 200, ""},
		{[]string{"Host", "[::1]:4777"}, 200, ""},
		{[]string{"Host", "life.EXAMPLE:80"}, 200, ""},
		{[]string{"Host", "evil.example"}, 421, "unknown_host"},
		{[]string{"Host", "localhost.evil.example"}, 421, "unknown_host"},
		{[]string{"Host", "127.0.0.1.evil.example:4777"}, 421, "unknown_host"},
		{[]string{"Host", "192.168.0.1:4777"}, 421, "unknown_host"},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://" + own}, 200, ""},
		{[]string{"Sec-Fetch-Site", "none"}, 200, ""},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_origin"},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403, "cross_origin"},
		{[]string{"Origin", "http://" + own}, 200, ""},
		{[]string{"Origin", "http://evil.example"}, 403, "cross_origin"},
		{[]string{"Origin", "http://127.0.0.1:1"}, 403, "cross_origin"},
		{[]string{"Origin", "null"}, 403, "cross_origin"},
		{[]string{"Origin", "http://[::1"}, 403, "cross_origin"},
	} {
		answer := request(t, server, "GET", "/v1/health", "", test.headers...)
		if test.code == "" {
			answer.want(t, 200, &api.Health{})
			continue
		}
		answer.wantProblem(t, test.status, test.code, "")
	}
}

func TestToken(t *testing.T) {
	port := &fake{}
	server := serve(t, port, func(c *api.Config) { c.Token = "s3cret" })
	for authorization, status := range map[string]int{
		"Bearer s3cret": 200, "bearer s3cret": 200, "": 401, "Bearer": 401, "Bearer ": 401, "Bearer s3cre": 401, "Bearer s3cret ": 200, // net/http trims
		"Basic s3cret": 401, "s3cret": 401, "Bearer  s3cret": 401,
	} {
		answer := request(t, server, "GET", "/v1/health", "", "Authorization", authorization)
		if answer.StatusCode != status {
			t.Errorf("%q: status %d, want %d", authorization, answer.StatusCode, status)
		}
		if status == http.StatusUnauthorized {
			if answer.wantProblem(t, 401, "unauthorized", ""); answer.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("WWW-Authenticate %q", answer.Header.Get("WWW-Authenticate"))
			}
		}
	}
	if _, err := newClient(t, api.ClientConfig{BaseURL: server.URL, Token: "s3cret"}).Health(t.Context()); err != nil {
		t.Error(err)
	}
	var p *api.Problem
	if _, err := newClient(t, api.ClientConfig{BaseURL: server.URL}).Health(t.Context()); !errors.As(err, &p) || p.Code != "unauthorized" {
		t.Errorf("without the token: %v", err)
	}
}

// buggy is a host that panics.
type buggy struct{ *fake }

func (buggy) Wallet(context.Context, events.WalletID) (sagas.Wallet, error) { panic("in secret.go") }

// TestPanics shows nothing of a bug but that there is one.
func TestPanics(t *testing.T) {
	log := &strings.Builder{}
	port := buggy{&fake{}}
	server := serve(t, port, func(c *api.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	answer := request(t, server, "GET", "/v1/wallets/w", "")
	answer.wantProblem(t, 500, "internal", "its log says why")
	if strings.Contains(answer.body, "secret") || !strings.Contains(log.String(), "in secret.go") {
		t.Errorf("answered %s, logged %s", answer.body, log)
	}
}

// TestNumbersAreStrings holds everything that the API answers with to the rule that 64-bit numbers are strings.
func TestNumbersAreStrings(t *testing.T) {
	var answers []any
	for _, spec := range projections.Catalog {
		answers = append(answers, spec)
		for _, query := range spec.Queries {
			answers = append(answers, query.Answer)
		}
	}
	for _, shown := range append(answers,
		projector.Answer{},
		api.State{},
		api.Wallet{},
		api.StoreReport{},
		api.Health{},
		api.Problem{},
		actors.Receipt{},
		history.VerifyReport{},
		actors.Delta{},
		projections.AgentSummary{},
		events.Envelope{},
	) {
		checkNumbers(t, reflect.TypeOf(shown), reflect.TypeOf(shown).Name(), map[reflect.Type]bool{})
	}
}

func checkNumbers(t *testing.T, typ reflect.Type, path string, seen map[reflect.Type]bool) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		checkNumbers(t, typ.Elem(), path+"[]", seen)
	case reflect.Struct:
		if seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			field := typ.Field(i)
			tag := field.Tag.Get("json")
			if tag == "-" {
				continue
			}
			if kind := field.Type.Kind(); (kind == reflect.Int64 || kind == reflect.Uint64) && !strings.Contains(tag, ",string") {
				t.Errorf("%s.%s is a 64-bit number that is no string in JSON", path, field.Name)
			}
			checkNumbers(t, field.Type, path+"."+field.Name, seen)
		}
	case reflect.Int64, reflect.Uint64:
		if strings.HasSuffix(path, "[]") {
			t.Errorf("%s holds 64-bit numbers that are no strings in JSON", path)
		}
	default:
	}
}
