package api

import (
	"context"
	"net/http"
	"strconv"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// forkBody orders a fork. What is left out is as in the parent.
type forkBody struct {
	At        string          `json:"at,omitempty"`   // a moment; empty: the latest
	Name      events.AgentID  `json:"name,omitempty"` // empty: derived from the parent's name and the Idempotency-Key
	Set       []string        `json:"set,omitempty"`  // KEY=VALUE
	Edit      string          `json:"edit_message,omitempty"`
	Tape      events.TapeMode `json:"tape,omitempty"`
	Turns     int             `json:"turns,omitempty"`
	Wallet    events.WalletID `json:"wallet,omitempty"`
	Budget    events.Money    `json:"budget,string,omitempty"`
	Workspace string          `json:"workspace,omitempty"`
}

// Rules are a tenant's homeostasis rules.
type Rules struct {
	Tenant   events.TenantID `json:"tenant"`
	Revision events.Revision `json:"revision,string"` // -1: it has adopted none
	Rules    []events.Rule   `json:"rules"`
}

// fork makes a fork and answers when it is made; its feed shows how it follows its parent.
func (s *server) fork(w http.ResponseWriter, r *http.Request) error {
	var body forkBody
	meta, err := s.read(w, r, s.limits.message, &body)
	if err != nil {
		return err
	}
	origin, err := originOf(r)
	if err != nil {
		return err
	}
	parent := events.AgentID(r.PathValue("agent"))
	at, err := s.momentOf(r.Context(), parent, body.At)
	if err != nil {
		return err
	}
	forked, err := s.host.Fork(r.Context(), actors.ForkOrder{
		ID: meta.ID, Parent: parent, At: at, Name: body.Name, Set: body.Set, Edit: body.Edit, Tape: body.Tape, Turns: body.Turns,
		Wallet: body.Wallet, Budget: body.Budget, Workspace: body.Workspace,
	}, origin)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/agents/"+string(forked.Agent))
	status := http.StatusCreated
	if forked.Duplicate {
		status = http.StatusOK
	}
	answersAsOf(w, forked.Position)
	return writeJSON(w, status, forked)
}

// momentOf finds the revision of a moment; an empty one is the latest.
func (s *server) momentOf(ctx context.Context, agent events.AgentID, text string) (events.Revision, error) {
	m, err := query{parameterAt: {text}}.moment(parameterAt)
	if err != nil {
		return events.NoRevision, err
	}
	return s.resolve(ctx, agent, m)
}

// rules answers with a tenant's rules: its own, or those that hold without.
func (s *server) rules(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	tenant := events.TenantID(r.PathValue("tenant"))
	found, err := s.host.Rules(r.Context(), tenant)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, NewRules(tenant, found))
}

// NewRules shows a tenant's rules.
func NewRules(tenant events.TenantID, h sagas.Homeostasis) Rules {
	rules := h.Rules
	if len(rules) == 0 {
		rules = sagas.DefaultRules()
	}
	return Rules{Tenant: tenant, Revision: h.Revision, Rules: rules}
}

// Fork has the server make a fork. Sent again with the same id it is the same fork.
func (c *Client) Fork(ctx context.Context, order actors.ForkOrder, origin actors.Origin) (actors.Forked, error) {
	for _, err := range []error{order.ID.Validate(), order.Parent.Validate()} {
		if err != nil {
			return actors.Forked{}, invalid("%v", err)
		}
	}
	body := forkBody{
		Name: order.Name, Set: order.Set, Edit: order.Edit, Tape: order.Tape, Turns: order.Turns, Wallet: order.Wallet,
		Budget: order.Budget, Workspace: order.Workspace,
	}
	if order.At != events.NoRevision {
		body.At = strconv.FormatInt(int64(order.At), 10)
	}
	var forked actors.Forked
	err := c.exchange(ctx, call{method: http.MethodPost, path: agentPath(order.Parent, "forks"), body: body, header: headersOf(order.ID, origin)}, &forked)
	return forked, err
}

// Rules asks the server for a tenant's rules. Without rules of its own, those are the default ones.
func (c *Client) Rules(ctx context.Context, tenant events.TenantID) (sagas.Homeostasis, error) {
	if err := tenant.Validate(); err != nil {
		return sagas.Homeostasis{}, invalid("%v", err)
	}
	var rules Rules
	err := c.get(ctx, rulesPath(tenant), nil, &rules)
	return sagas.Homeostasis{Revision: rules.Revision, Rules: rules.Rules}, err
}

func rulesPath(tenant events.TenantID) string { return "/v1/tenants/" + string(tenant) + "/rules" }
