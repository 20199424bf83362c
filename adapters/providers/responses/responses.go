// Package responses asks models behind an endpoint that speaks OpenAI's Responses, as such endpoints really answer (reply.go) and as they
// want to be asked (way.go). Nothing is kept at the endpoint: every request holds the whole conversation, and what the endpoint wants back
// of its replies, such as encrypted reasoning, is kept in their blocks (items.go).
package responses

import (
	"context"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// model asks one endpoint.
type model struct {
	*endpoint.Endpoint
	client *openai.Client
	ways   endpoint.Ways[way]
}

// New returns the models of an endpoint, asked with streaming responses where it streams. Each Ask is one request that is accepted:
// nothing is retried here. The key is in no error, whatever the endpoint echoes.
func New(config endpoint.Config) (actors.Model, error) {
	at, client, err := endpoint.NewOpenAI(config)
	if err != nil {
		return nil, err
	}
	return &model{Endpoint: at, client: client}, nil
}

// Ask sends the question and puts the reply together. A refusal of the way of asking is met with another way, at once: it costs nothing.
func (m *model) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	return m.ways.Ask(&question,
		func(way way) (actors.ModelResponse, error) { return m.ask(ctx, question, way, delta) },
		func(way way, refused *endpoint.Refusal) (next, keep way) {
			next = way.after(refused, &question)
			return next, next.lasting()
		})
}

// ask makes one request.
func (m *model) ask(ctx context.Context, question actors.ModelRequest, way way, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	body, err := body(&question, way, m.Own)
	if err != nil {
		return actors.ModelResponse{}, m.Failed(events.ErrorInvalid, err.Error(), 0)
	}
	watched, call := m.Begin(ctx)
	defer call.End()
	receive := option.WithMiddleware(func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		return call.Receive(request, next)
	})
	var response *http.Response
	if err := m.client.Post(watched, "responses", body, &response, receive); err != nil {
		return actors.ModelResponse{}, call.Unanswered(m.Unreached(err))
	}
	asked := endpoint.Asked{Question: &question, Limit: way.limit(&question), Lowered: way.afresh > 0}
	return call.Read(asked, response.Body, newReply(question, delta))
}
