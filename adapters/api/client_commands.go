package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Do sends a command to an agent or a wallet, and returns when the decision is stored. The time of the decision is the server's.
// When ctx ends or the connection breaks, what became of the command is unknown: send it again, with the same id, to learn it.
func (c *Client) Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error) {
	id := command.Metadata().ID
	if err := id.Validate(); err != nil {
		return actors.Receipt{}, invalid("%v", err)
	}
	call, err := callOf(stream, command)
	if err != nil {
		return actors.Receipt{}, err
	}
	call.header = headersOf(id, origin)
	var receipt actors.Receipt
	if err := c.exchange(ctx, call, &receipt); err != nil {
		return actors.Receipt{}, err
	}
	return receipt, nil
}

// headersOf say which command it is and where it comes from.
func headersOf(id events.CommandID, origin actors.Origin) http.Header {
	header := http.Header{idempotencyKey: {string(id)}}
	for name, value := range map[string]string{actorHeader: origin.Actor, traceHeader: origin.Traceparent} {
		if value != "" {
			header.Set(name, value)
		}
	}
	return header
}

func invalid(format string, args ...any) error {
	return &sagas.Refusal{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(format, args...)}
}

// callOf is the request that carries a command.
func callOf(stream events.Stream, command sagas.Command) (call, error) {
	category, id := stream.Split()
	switch category {
	case events.AgentCategory:
		if err := events.AgentID(id).Validate(); err != nil {
			return call{}, invalid("%v", err)
		}
		return agentCall(events.AgentID(id), command)
	case events.WalletCategory:
		if err := events.WalletID(id).Validate(); err != nil {
			return call{}, invalid("%v", err)
		}
		return walletCall(events.WalletID(id), command)
	case events.HomeostasisCategory:
		if err := events.TenantID(id).Validate(); err != nil {
			return call{}, invalid("%v", err)
		}
		return tenantCall(events.TenantID(id), command)
	case events.ProjectionsCategory:
		if events.TenantID(id) != sagas.DefaultTenant {
			return call{}, invalid("a host keeps the projections of tenant %s only", sagas.DefaultTenant)
		}
		return projectionsCall(command)
	case events.KnowledgeCategory:
		if err := events.TenantID(id).Validate(); err != nil {
			return call{}, invalid("%v", err)
		}
		return knowledgeCall(events.TenantID(id), command)
	}
	return call{}, invalid("stream %q takes no commands over the API", string(stream))
}

func agentCall(agent events.AgentID, command sagas.Command) (call, error) {
	post := func(verb string, body any) (call, error) {
		return call{method: http.MethodPost, path: agentPath(agent, verb), body: body}, nil
	}
	switch c := command.(type) {
	case sagas.Create:
		if c.Agent != agent {
			return call{}, invalid("the command creates agent %q in the stream of %q", c.Agent, agent)
		}
		return call{method: http.MethodPost, path: "/v1/agents", body: createBody{agent, bodyOfConfig(&c.Config)}}, nil
	case sagas.Configure:
		return call{method: http.MethodPut, path: agentPath(agent, "config"), body: bodyOfConfig(&c.Config)}, nil
	case sagas.Send:
		if c.Text.Blob != nil {
			return call{}, invalid("a message carries its text, not a blob")
		}
		if c.Verb == "" { // the route's default would hide the mistake
			return call{}, invalid("verb %q is not collect, followup, steer or interrupt", c.Verb)
		}
		return post("messages", messageBody{strings.ToValidUTF8(c.Text.Inline, "\ufffd"), c.Verb, c.From})
	case sagas.Cancel:
		return post("cancel", cancelBody{c.Turn, c.By})
	case sagas.Approve:
		return post("approve", approveBody{c.Call, c.Digest, c.By})
	case sagas.Deny:
		return post("deny", denyBody{c.Call, c.By, c.Reason})
	case sagas.Retire:
		return post("retire", retireBody{c.Reason})
	case sagas.Release:
		return post("release", releaseBody{c.By})
	}
	return call{}, invalid("%T cannot be sent to an agent over the API", command)
}

func walletCall(wallet events.WalletID, command sagas.Command) (call, error) {
	path := "/v1/wallets/" + string(wallet)
	switch c := command.(type) {
	case sagas.OpenWallet:
		if c.Wallet != wallet {
			return call{}, invalid("the command opens wallet %q in the stream of %q", c.Wallet, wallet)
		}
		return call{method: http.MethodPost, path: path, body: openBody{c.Credit}}, nil
	case sagas.Credit:
		return call{method: http.MethodPost, path: path + "/credit", body: creditBody{c.Amount, c.By, c.Memo}}, nil
	}
	return call{}, invalid("%T cannot be sent to a wallet over the API", command)
}

func agentPath(agent events.AgentID, what string) string {
	return "/v1/agents/" + url.PathEscape(string(agent)) + "/" + what
}
