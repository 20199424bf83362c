package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// fakeBus notes what it is told.
type fakeBus struct {
	told []string
	err  error
}

func (b *fakeBus) note(format string, args ...any) error {
	b.told = append(b.told, fmt.Sprintf(format, args...))
	return b.err
}

func (b *fakeBus) Publish(_ context.Context, tenant events.TenantID, c api.BusCommand, origin actors.Origin) error {
	return b.note("publish %s %s %s %s by %s", tenant, c.ID, c.Type, c.Data, origin.Actor)
}

func (b *fakeBus) Poisoned(_ context.Context, tenant events.TenantID) ([]api.PoisonedCommand, error) {
	return []api.PoisonedCommand{{Entry: 3, Command: "c", Type: "Cancel", Event: "command-x@1", Reason: "why", At: 5, Payload: []byte{0xff}}},
		b.note("list %s", tenant)
}

func (b *fakeBus) Retry(_ context.Context, tenant events.TenantID, entry events.Revision, by string) error {
	return b.note("retry %s %d by %s", tenant, entry, by)
}

func (b *fakeBus) Drop(_ context.Context, tenant events.TenantID, entry events.Revision, by, reason string) error {
	return b.note("drop %s %d by %s: %s", tenant, entry, by, reason)
}

// TestBus goes to a bus through the server and the client.
func TestBus(t *testing.T) {
	bus := &fakeBus{}
	server := serve(t, whole{fakeBus: bus})
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	ctx := t.Context()
	command := api.BusCommand{ID: "c-1", Type: "Cancel", Data: []byte(`{"agent":"<ada>"}`)}
	list, err := client.Poisoned(ctx, "x")
	if err != nil || len(list) != 1 || list[0].Entry != 3 || list[0].Reason != "why" || list[0].At != 5 || string(list[0].Payload) != "\xff" {
		t.Errorf("poisoned: %+v, %v", list, err)
	}
	err = errors.Join(client.Publish(ctx, "x", command, actors.Origin{Actor: "cli"}), client.Retry(ctx, "x", 3, "ann"), client.Drop(ctx, "x", 3, "ann", "old"))
	if err != nil {
		t.Error(err)
	}
	answer := request(t, server, http.MethodPost, "/v1/commands", `{"type":"Retire","command":{"agent":"ada"}}`, "Content-Type", "application/json", "Idempotency-Key", "k")
	var published struct{ Command string }
	if answer.want(t, http.StatusAccepted, &published); published.Command != "k" {
		t.Errorf("published as %s", answer.body)
	}
	if want := []string{
		"list x", `publish x c-1 Cancel {"agent":"<ada>"} by cli`, "retry x 3 by ann", "list x", "drop x 3 by ann: old", "list x",
		`publish local k Retire {"agent":"ada"} by api`,
	}; !slices.Equal(bus.told, want) {
		t.Errorf("the bus was told %q, want %q", bus.told, want)
	}
}

func TestBusRefuses(t *testing.T) {
	bus := &fakeBus{}
	server := serve(t, whole{fakeBus: bus})
	post := func(path, body string) asked {
		return request(t, server, http.MethodPost, path, body, "Content-Type", "application/json")
	}
	post("/v1/commands", `{"type":"X","command":null}`).wantProblem(t, 400, "malformed", `field "command" is no object`)
	post("/v1/commands", `{"type":"X","command":[1]}`).wantProblem(t, 400, "malformed", `field "command" is no object`)
	post("/v1/commands", `{"kind":"X"}`).wantProblem(t, 400, "malformed", "the fields are: tenant, type, command")
	post("/v1/commands/poisoned/x/retry", `{}`).wantProblem(t, 404, "not_found", "by its number")
	post("/v1/commands/poisoned/1/retry", `{"reason":"r"}`).wantProblem(t, 400, "malformed", "no reason")
	request(t, server, http.MethodGet, "/v1/commands/poisoned?x=1", "").wantProblem(t, 400, "malformed", "tenant")
	if len(bus.told) > 0 {
		t.Errorf("the bus was told %q", bus.told)
	}
	bus.err = &strictjson.Malformed{Detail: "there is no command X"}
	post("/v1/commands", `{"type":"X","command":{}}`).wantProblem(t, 400, "malformed", "there is no command X")
	bus.err = &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no poisoned command 1"}
	post("/v1/commands/poisoned/1/drop", `{"reason":"r"}`).wantProblem(t, 404, "not_found", "there is no poisoned command 1")
	client := newClient(t, api.ClientConfig{BaseURL: server.URL})
	var refusal *sagas.RefusalError
	if err := client.Retry(t.Context(), "x", 1, ""); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedMissing {
		t.Errorf("retry over the client: %v", err)
	}
}
