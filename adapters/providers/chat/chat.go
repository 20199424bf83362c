// Package chat asks models behind an endpoint that speaks OpenAI's chat completions, as such endpoints really answer (reply.go and what it
// names) and as they want to be asked (way.go).
package chat

import (
	"context"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// chat asks one endpoint.
type chat struct {
	*endpoint.Endpoint
	client *openai.Client
	ways   endpoint.Ways[way]
}

// New returns the models of an endpoint, asked with streaming chat completions where it streams. Each Ask is one request that is accepted:
// nothing is retried here. The key is in no error, whatever the endpoint echoes.
func New(config endpoint.Config) (actors.Model, error) {
	at, client, err := endpoint.NewOpenAI(config)
	if err != nil {
		return nil, err
	}
	return &chat{Endpoint: at, client: client}, nil
}

// Ask sends the question and puts the reply together. A refusal of the way of asking is met with another way, at once: it costs nothing.
func (m *chat) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	return m.ways.Ask(&question,
		func(way way) (actors.ModelResponse, error) { return m.ask(ctx, question, way, delta) },
		func(way way, refused *endpoint.Refusal) (next, keep way) {
			next = way.after(refused, &question, m.Own)
			if next == way && way.refusesThinking(endpoint.AnyOf(refused.Said.Words()), &question, m.Own) {
				refused.Detail += thinkingRemedy(question.Thinking)
			}
			return next, next.lasting(m.ways.Of(question.Model))
		})
}

// ask makes one request.
func (m *chat) ask(ctx context.Context, question actors.ModelRequest, way way, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	params, err := params(question, way, m.Own)
	if err != nil {
		return actors.ModelResponse{}, m.Failed(events.ErrorInvalid, err.Error(), 0)
	}
	watched, call := m.Begin(ctx)
	defer call.End()
	options := []option.RequestOption{option.WithMiddleware(func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		return call.Receive(request, next)
	})}
	if !way.whole {
		options = append(options, option.WithJSONSet("stream", true))
	}
	var response *http.Response
	if err := m.client.Post(watched, "chat/completions", params, &response, options...); err != nil {
		return actors.ModelResponse{}, call.Unanswered(m.Unreached(err))
	}
	asked := endpoint.Asked{Question: &question, Limit: way.replyLimit(&question, m.Own), Lowered: way.noContext}
	return call.Read(asked, response.Body, newReply(question, delta))
}
