package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

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
	return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(format, args...)}
}

func agentPath(agent events.AgentID, what string) string {
	return "/v1/agents/" + url.PathEscape(string(agent)) + "/" + what
}
