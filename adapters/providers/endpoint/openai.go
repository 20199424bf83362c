package endpoint

import (
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// OpenAIBase is OpenAI's own address, of both its dialects.
const OpenAIBase = "https://api.openai.com/v1"

// NewOpenAI checks the configuration of an endpoint that speaks one of OpenAI's dialects, and makes the vendor's client for it. The client retries nothing, and
// takes nothing from the environment.
func NewOpenAI(config Config) (*Endpoint, *openai.Client, error) {
	at, err := New(config)
	if err != nil {
		return nil, nil, err
	}
	options := []option.RequestOption{option.WithBaseURL(at.Base), option.WithHTTPClient(at.Client), option.WithMaxRetries(0)}
	if at.Key != "" {
		options = append(options, option.WithAPIKey(at.Key))
	}
	return at, &openai.Client{Options: options}, nil // not NewClient: that one takes more of the environment than is configured here
}
