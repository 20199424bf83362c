package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Bus takes commands that are carried out later, in order, and looks after those that could not be. docs/bus.md describes it.
type Bus interface {
	// Publish stores a command under its id, for whoever carries out the tenant's commands. What cannot be read is a
	// *strictjson.Malformed and is not stored; everything else is answered on the bus.
	Publish(ctx context.Context, tenant events.TenantID, command BusCommand, origin actors.Origin) error
	// Poisoned lists the commands that could not be carried out, the oldest first.
	Poisoned(ctx context.Context, tenant events.TenantID) ([]PoisonedCommand, error)
	// Retry publishes one of them again.
	Retry(ctx context.Context, tenant events.TenantID, entry events.Revision, by string) error
	// Drop records that one of them will never be carried out, and why.
	Drop(ctx context.Context, tenant events.TenantID, entry events.Revision, by, reason string) error
}

// BusCommand is a command as it is published.
type BusCommand struct {
	ID   events.CommandID
	Type string          // such as SendMessage
	Data json.RawMessage // its fields
}

// PoisonedCommand is a command that could not be carried out, and that nobody has tried again or dropped since.
type PoisonedCommand struct {
	Entry   events.Revision  `json:"entry,string"` // its number
	Command events.CommandID `json:"command"`
	Type    string           `json:"type"`
	Event   events.Ref       `json:"event"` // where it was published
	Reason  string           `json:"reason"`
	At      events.Micros    `json:"at,string"`
	Actor   string           `json:"actor,omitempty"`
	Payload []byte           `json:"payload"` // as it was published, in base64: it may be no JSON
}

// The bodies and answers of the bus.
type (
	publishBody struct {
		Tenant  events.TenantID `json:"tenant,omitempty"` // empty: local
		Type    string          `json:"type"`
		Command json.RawMessage `json:"command,omitempty"`
	}
	published struct {
		Command events.CommandID `json:"command"`
	}
	poisonedList struct {
		Poisoned []PoisonedCommand `json:"poisoned"`
	}
	settleBody struct {
		Tenant events.TenantID `json:"tenant,omitempty"`
		By     string          `json:"by,omitempty"`
		Reason string          `json:"reason,omitempty"` // of dropping
	}
)

// publish answers 202 once a command is stored: what becomes of it is said on the bus.
func (s *server) publish(w http.ResponseWriter, r *http.Request) error {
	var body publishBody
	meta, err := s.read(w, r, s.limits.message, &body)
	if err != nil {
		return err
	}
	origin, err := originOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), decideWithin)
	defer cancel()
	command := BusCommand{meta.ID, body.Type, body.Command}
	if err := s.host.Publish(ctx, cmp.Or(body.Tenant, sagas.DefaultTenant), command, origin); err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, published{meta.ID})
}

// poisoned lists what could not be carried out.
func (s *server) poisoned(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "tenant")
	if err != nil {
		return err
	}
	list, err := s.host.Poisoned(r.Context(), cmp.Or(events.TenantID(q.text("tenant")), sagas.DefaultTenant))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, poisonedList{list})
}

func (s *server) retryPoisoned(w http.ResponseWriter, r *http.Request) error {
	return s.settle(w, r, func(ctx context.Context, tenant events.TenantID, entry events.Revision, body settleBody) error {
		if body.Reason != "" {
			return problem(codeMalformed, "trying again needs no reason")
		}
		return s.host.Retry(ctx, tenant, entry, body.By)
	})
}

func (s *server) dropPoisoned(w http.ResponseWriter, r *http.Request) error {
	return s.settle(w, r, func(ctx context.Context, tenant events.TenantID, entry events.Revision, body settleBody) error {
		return s.host.Drop(ctx, tenant, entry, body.By, body.Reason)
	})
}

// settle does something about the poisoned command in the path, and answers with what is left.
func (s *server) settle(
	w http.ResponseWriter, r *http.Request, do func(context.Context, events.TenantID, events.Revision, settleBody) error,
) error {
	var body settleBody
	if _, err := s.read(w, r, s.limits.body, &body); err != nil {
		return err
	}
	entry, err := strconv.ParseInt(r.PathValue("entry"), 10, 64)
	if err != nil || entry < 0 {
		return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "a poisoned command is named by its number"}
	}
	tenant := cmp.Or(body.Tenant, sagas.DefaultTenant)
	if err := do(r.Context(), tenant, events.Revision(entry), body); err != nil {
		return err
	}
	list, err := s.host.Poisoned(r.Context(), tenant)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, poisonedList{list})
}

// Publish implements Bus.
func (c *Client) Publish(ctx context.Context, tenant events.TenantID, command BusCommand, origin actors.Origin) error {
	if err := command.ID.Validate(); err != nil {
		return invalid("%v", err)
	}
	return c.exchange(ctx, call{
		method: http.MethodPost, path: "/v1/commands", header: headersOf(command.ID, origin),
		body: publishBody{tenant, command.Type, command.Data},
	}, &published{})
}

// Poisoned implements Bus.
func (c *Client) Poisoned(ctx context.Context, tenant events.TenantID) ([]PoisonedCommand, error) {
	var list poisonedList
	if err := c.get(ctx, "/v1/commands/poisoned", url.Values{"tenant": {string(tenant)}}, &list); err != nil {
		return nil, err
	}
	return list.Poisoned, nil
}

// Retry implements Bus.
func (c *Client) Retry(ctx context.Context, tenant events.TenantID, entry events.Revision, by string) error {
	return c.settle(ctx, entry, "retry", settleBody{Tenant: tenant, By: by})
}

// Drop implements Bus.
func (c *Client) Drop(ctx context.Context, tenant events.TenantID, entry events.Revision, by, reason string) error {
	return c.settle(ctx, entry, "drop", settleBody{tenant, by, reason})
}

func (c *Client) settle(ctx context.Context, entry events.Revision, how string, body settleBody) error {
	path := "/v1/commands/poisoned/" + strconv.FormatInt(int64(entry), 10) + "/" + how
	return c.exchange(ctx, call{method: http.MethodPost, path: path, body: body}, &poisonedList{})
}
