package peers

import (
	"context"
	"errors"
	"io"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// deltasOf asks for the pieces that an agent's model produces.
type deltasOf struct {
	Agent events.AgentID `json:"agent"`
}

// Deltas implements [actors.Peers].
func (c *Client) Deltas(ctx context.Context, to cluster.Member, agent events.AgentID, show func(actors.FeedDelta)) error {
	conn, _, err := c.connection(ctx, laneDeltas, to)
	if err != nil {
		return failed(to, err)
	}
	id, e, err := conn.begin(ctx, frame{kind: kindDeltas, body: encode(deltasOf{agent})}, partsKept)
	if err != nil {
		return failed(to, err)
	}
	defer conn.forget(id)
	for {
		part, err := e.next(ctx, conn)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return failed(to, err)
		}
		var delta actors.FeedDelta
		if err := decode(part.body, &delta); err != nil {
			return failed(to, err)
		}
		delta.Lost = delta.Lost || part.left == partsLost
		show(delta)
	}
}

// next waits for the next part; io.EOF: there are no more.
func (e *exchange) next(ctx context.Context, conn *connection) (frame, error) {
	var f frame
	select {
	case f = <-e.answer: // what came before the connection ended, or ctx
	default:
		select {
		case f = <-e.answer:
		case <-conn.broken:
			return frame{}, conn.failure(ctx)
		case <-ctx.Done():
			return frame{}, ctx.Err()
		}
	}
	if f.kind == kindPart {
		return f, nil
	}
	if _, err := f.answered(); err != nil {
		return frame{}, err
	}
	return frame{}, io.EOF
}
