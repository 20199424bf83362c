package api_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// driver is a host that can be forked, in process or behind the API.
func forkSteps() []struct {
	name string
	does func(ctx context.Context, d driver) (any, error)
} {
	type does = func(ctx context.Context, d driver) (any, error)
	fork := func(order actors.ForkOrder) does {
		return func(ctx context.Context, d driver) (any, error) {
			return d.Fork(ctx, order, actors.Origin{Actor: "test"})
		}
	}
	rules := func(tenant events.TenantID) does {
		return func(ctx context.Context, d driver) (any, error) {
			found, err := d.Rules(ctx, tenant)
			return api.NewRules(tenant, found), err
		}
	}
	adopt := func(id string, rules ...events.Rule) does {
		return func(ctx context.Context, d driver) (any, error) {
			return d.Do(ctx, events.HomeostasisStream("local"), sagas.Adopt{Meta: meta(id), Rules: rules, By: "ann"}, actors.Origin{Actor: "test"})
		}
	}
	half := 0.5
	order := actors.ForkOrder{
		ID: "f1", Parent: ada, Name: "twin", At: 0, Set: []string{"prompt=Be <brief>.", "limits.money=0.25"}, Edit: "another <text>", Tape: events.TapeLive,
		Turns: 1, Budget: events.Dollar, Workspace: actors.NoWorkspace,
	}
	other := order
	other.ID = "f2"
	return []struct {
		name string
		does does
	}{
		{"fork", fork(order)},
		{"fork again", fork(order)},
		{"its name for another", fork(other)},
		{"of nobody", fork(actors.ForkOrder{ID: "f3", Parent: "nobody", At: events.NoRevision})},
		{"with a malformed parent", fork(actors.ForkOrder{ID: "f4", Parent: "ADA", At: events.NoRevision})},
		{"with a malformed id", fork(actors.ForkOrder{ID: "a b", Parent: ada})},
		{"with an unknown key", fork(actors.ForkOrder{ID: "f5", Parent: ada, At: 0, Set: []string{"colour=red"}})},
		{"in an unknown mode", fork(actors.ForkOrder{ID: "f6", Parent: ada, At: 0, Tape: "sideways"})},
		{"after the end", fork(actors.ForkOrder{ID: "f7", Parent: ada, At: 1000})},
		{"named by its order", fork(actors.ForkOrder{ID: "f8", Parent: ada, At: events.NoRevision})},
		{"rules", rules("local")},
		{"rules of nobody", rules("nobody")},
		{"malformed", rules("NOBODY")},
		{"adopt", adopt("r1", events.Rule{Name: "half", Measure: "progress", AtLeast: &half, Mode: events.ModeVerify})},
		{"adopt nothing that is measured", adopt("r2", events.Rule{Name: "odd", Measure: "luck", AtMost: &half, Mode: events.ModeVerify})},
		{"rules adopted", rules("local")},
	}
}

// TestSameForks makes forks and adopts rules in process and through the API: the answers are alike.
func TestSameForks(t *testing.T) {
	host, behind := startHost(t), startHost(t)
	hosts := []driver{host, newClient(t, api.ClientConfig{BaseURL: serve(t, behind).URL})}
	answers := make([][]result, len(hosts))
	for i, d := range hosts {
		run(t, d, []step{onAda("create", create(ada)), onAda("message", say("s1", "call")), comes("approval.requested", 0)})
		for _, s := range forkSteps() {
			answers[i] = append(answers[i], run(t, d, []step{{s.name, func(ctx context.Context, _ driver) (any, error) { return s.does(ctx, d) }}})...)
		}
	}
	elsewhere := cmpopts.IgnoreFields(actors.Receipt{}, "Position") // the forks of two hosts go on at their own pace
	for i := range answers[0] {
		if diff := cmp.Diff(answers[0][i], answers[1][i], internals(), elsewhere); diff != "" {
			t.Errorf("%s (- in process, + through the API):\n%s", answers[0][i].Step, diff)
		}
	}
}

// TestForkBodies: what is wrong with an order is named, and nothing is made.
func TestForkBodies(t *testing.T) {
	host := startHost(t)
	server := serve(t, host)
	run(t, host, []step{onAda("create", create(ada))})
	const path = "/v1/agents/ada/forks"
	for body, inDetail := range map[string]string{
		`{"at":7}`:                 `"at" is a number, want a string`,
		`{"at":"noonish"}`:         "is no moment",
		`{"set":"model=x"}`:        `"set" is a string, want an array`,
		`{"turns":"1"}`:            `"turns" is a string, want a whole number`,
		`{"budget":5}`:             `64-bit numbers are strings`,
		`{"x":1}`:                  `there is no field "x"`,
		`{"name":"b","name":"b"}`:  "is there twice",
		`{"edit_message":"\ud800x`: "unexpected end",
	} {
		request(t, server, "POST", path, body).wantProblem(t, 400, "malformed", inDetail)
	}
	request(t, server, "POST", path+"?x=1", `{}`).wantProblem(t, 400, "malformed", "query")
	request(t, server, "PUT", "/v1/tenants/local/rules", `{"rules":[{"gauge":"x"}]}`).wantProblem(t, 400, "malformed", "gauge")
	request(t, server, "PUT", "/v1/tenants/local/rules", `{"rules":[7]}`).wantProblem(t, 400, "malformed", `"rules[0]" is a number, want an object`)
	agents, err := host.Agents(t.Context(), projections.AgentFilter{})
	if err != nil || len(agents) != 1 {
		t.Errorf("there are %d agents, %v", len(agents), err)
	}
	made := request(t, server, "POST", path, `{"name":"twin","at":"0"}`, "Idempotency-Key", "k")
	if made.StatusCode != 201 || made.Header.Get("Location") != "/v1/agents/twin" {
		t.Errorf("status %d at %q: %s", made.StatusCode, made.Header.Get("Location"), made.body)
	}
	if again := request(t, server, "POST", path, `{"name":"twin","at":"0"}`, "Idempotency-Key", "k"); again.StatusCode != 200 {
		t.Errorf("again: status %d: %s", again.StatusCode, again.body)
	}
}
