// Package anthropic asks models behind an endpoint that speaks Anthropic's Messages: Anthropic's own, and servers and gateways that offer the
// same protocol.
//
// The vendor's package writes and sends the requests (request.go, conversation.go). The replies are put together here, from the events as they
// come (reply.go, block.go): the package's own accumulator makes an empty object of a call that was cut off, and takes a stream that just ends
// for a whole one.
//
// What a model thinks is signed by its provider, who wants it back byte for byte: such blocks are kept as they came, and sent back to the model
// that they came from.
package anthropic

import (
	"context"
	"net/http"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// BaseURL is Anthropic's own endpoint. The protocol's path, v1/messages, is not part of it.
const BaseURL = "https://api.anthropic.com"

// messages asks one endpoint.
type messages struct {
	*endpoint.Endpoint
	client sdk.Client
	ways   endpoint.Ways[way]
	most   func(model string) int64
}

// New returns the models of an endpoint, asked with streams where it streams. Each Ask is one request that is accepted: nothing is retried
// here. The key is in no error, whatever the endpoint echoes.
func New(config endpoint.Config) (actors.Model, error) {
	config.BaseURL = Origin(config.BaseURL)
	at, err := endpoint.New(config)
	if err != nil {
		return nil, err
	}
	most := config.MaxOutput
	if most == nil {
		most = func(string) int64 { return 0 }
	}
	options := []option.RequestOption{
		option.WithBaseURL(at.Base), option.WithHTTPClient(at.Client), option.WithMaxRetries(0),
		option.WithoutOpenTelemetry(), // the host traces its calls itself
	}
	if at.Key != "" {
		options = append(options, option.WithAPIKey(at.Key))
	}
	// Not NewClient: that one takes keys, addresses, headers and profiles from the environment.
	return &messages{Endpoint: at, client: sdk.Client{Options: options}, most: most}, nil
}

// version is the protocol's, as the vendor's package sends it.
const version = "2026-10-21"

// Header proves who asks where the vendor's package is not used: for a list of models.
func Header(key string) http.Header {
	return http.Header{"Authorization": {"Bearer " + key}, "Anthropic-Version": {version}}
}

// Origin takes the protocol's path off a base URL: people copy it from endpoints that want it.
func Origin(base string) string {
	for _, path := range []string{"/", "/messages", "/v1"} {
		base = strings.TrimSuffix(base, path)
	}
	return base
}

// Ask sends the question and puts the reply together. A refusal of the way of asking is met with another way, at once: it costs nothing.
func (m *messages) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	return m.ways.Ask(&question,
		func(way way) (actors.ModelResponse, error) { return m.ask(ctx, &question, way, delta) },
		func(way way, refused *endpoint.Refusal) (next, keep way) {
			return way.after(refused, way.limit(&question, m.most(question.Model)), m.Own)
		})
}

// ask makes one request.
func (m *messages) ask(ctx context.Context, question *actors.ModelRequest, way way, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	params, err := params(question, way, m.Own, m.most(question.Model))
	if err != nil {
		return actors.ModelResponse{}, m.Failed(events.ErrorInvalid, err.Error(), 0)
	}
	watched, call := m.Begin(ctx)
	defer call.End()
	options := append(way.options(m.Key), option.WithMiddleware(func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		return call.Receive(request, next)
	}))
	var response *http.Response
	if err := m.client.Post(watched, "v1/messages", params, &response, options...); err != nil {
		return actors.ModelResponse{}, call.Unanswered(m.Unreached(err))
	}
	asked := endpoint.Asked{Question: question, Limit: params.MaxTokens, Lowered: way.lowered}
	return call.Read(asked, response.Body, newReply(question, delta))
}
