package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"example.com/life/actors"
	"example.com/life/events"
)

// The environment variables of the OpenAI provider, and where it is when nothing else is said.
const (
	EnvOpenAIKey     = "OPENAI_API_KEY"
	EnvOpenAIKeyFile = "OPENAI_API_KEY_FILE"
	EnvOpenAIBaseURL = "OPENAI_BASE_URL"

	openAIBaseURL = "https://api.openai.com/v1"
)

// Bounds of the OpenAI provider.
const (
	defaultIdle = 3 * time.Minute // models that think before they speak are silent for long
	maxReply    = 16 << 20        // bytes of one streamed reply, as sent and after decompression
	maxKey      = 16 << 10        // bytes of a key file
)

// OpenAIConfig says how to reach an endpoint that speaks OpenAI's chat completions.
type OpenAIConfig struct {
	BaseURL string        // with its version, such as http://127.0.0.1:11434/v1; empty: OpenAI's own
	Key     string        // empty together with KeyFile: none is sent, which OpenAI's own endpoint does not accept
	KeyFile string        // a file holding the key and nothing else; used when Key is empty
	Client  *http.Client  // nil: one of its own; its redirects are never followed
	Idle    time.Duration // the longest silence before and within a reply; 0 means 3 minutes
}

// OpenAIFromEnvironment reads the configuration from environment variables: getenv is os.Getenv.
func OpenAIFromEnvironment(getenv func(name string) string) OpenAIConfig {
	return OpenAIConfig{BaseURL: getenv(EnvOpenAIBaseURL), Key: getenv(EnvOpenAIKey), KeyFile: getenv(EnvOpenAIKeyFile)}
}

// openAI asks one endpoint.
type openAI struct {
	chat  openai.ChatCompletionService
	idle  time.Duration
	scrub *strings.Replacer // takes the key out of whatever the endpoint sends back
	own   bool              // it is OpenAI's own endpoint, not a compatible one
}

// OpenAI returns the models of an OpenAI-compatible endpoint, asked with streaming chat completions. Each Ask is one HTTP
// request: nothing is retried here. The key is in no error, whatever the endpoint echoes.
func OpenAI(config OpenAIConfig) (actors.Model, error) {
	base, err := config.baseURL()
	if err != nil {
		return nil, err
	}
	key, err := config.key()
	if err != nil {
		return nil, err
	}
	if key == "" && base == openAIBaseURL {
		return nil, fmt.Errorf("there is no key: set %s, or %s to a file that holds it, or %s to an endpoint that needs none",
			EnvOpenAIKey, EnvOpenAIKeyFile, EnvOpenAIBaseURL)
	}
	if config.Idle < 0 {
		return nil, fmt.Errorf("openai: the idle time %s is negative", config.Idle)
	}
	client := http.Client{Transport: http.DefaultTransport}
	if config.Client != nil {
		client = *config.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	model := &openAI{idle: config.Idle, scrub: newScrubber(key), own: base == openAIBaseURL}
	if model.idle == 0 {
		model.idle = defaultIdle
	}
	options := []option.RequestOption{
		option.WithBaseURL(base), option.WithHTTPClient(&client), option.WithMaxRetries(0),
	}
	if key != "" {
		options = append(options, option.WithAPIKey(key))
	}
	// The service, not the whole client: that one takes more of the environment than is configured here.
	model.chat = openai.NewChatCompletionService(options...)
	return model, nil
}

// baseURL checks the endpoint's address.
func (c OpenAIConfig) baseURL() (string, error) {
	if c.BaseURL == "" {
		return openAIBaseURL, nil
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return "", fmt.Errorf("the base URL of openai (%s) is not an http or https address such as %s", EnvOpenAIBaseURL, openAIBaseURL)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return "", fmt.Errorf("the base URL of openai (%s) holds more than host and path: credentials belong in %s", EnvOpenAIBaseURL, EnvOpenAIKey)
	}
	return strings.TrimRight(base.String(), "/"), nil
}

// key returns the key, from its file if need be.
func (c OpenAIConfig) key() (string, error) {
	key, source := c.Key, EnvOpenAIKey
	if key == "" && c.KeyFile != "" {
		source = c.KeyFile
		file, err := os.Open(c.KeyFile)
		if err != nil {
			return "", fmt.Errorf("read key of openai: %w", err)
		}
		defer file.Close()
		content, err := io.ReadAll(io.LimitReader(file, maxKey+1))
		if err != nil {
			return "", fmt.Errorf("read key of openai: %w", err)
		}
		if key = string(content); strings.TrimSpace(key) == "" {
			return "", fmt.Errorf("read key of openai: %s is empty", source)
		}
	}
	key = strings.TrimSpace(key)
	if len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the key of openai (%s) is not one line of printable ASCII", source)
	}
	return key, nil
}

// keyFileWarning says what is wrong with the key file's permissions, if anything.
func (c OpenAIConfig) keyFileWarning() string {
	if c.Key != "" || c.KeyFile == "" {
		return ""
	}
	info, err := os.Stat(c.KeyFile)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return "" // a missing file is an error, not a warning
	}
	return fmt.Sprintf("the key file %s can be read by others (%s)", c.KeyFile, fs.FormatFileInfo(info)[:10])
}

// Ask sends the question and puts the streamed reply together.
func (m *openAI) Ask(ctx context.Context, question actors.ModelRequest, delta func(text string)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	params, err := m.params(question)
	if err != nil {
		return actors.ModelResponse{}, m.failed(events.ErrorInvalid, err.Error(), 0)
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(m.idle, func() { cancel(errIdle) })
	defer idle.Stop()

	reply := newReply(question, delta)
	chunks := m.chat.NewStreaming(watched, params, option.WithMiddleware(m.receive(idle)))
	for reply.err == nil && chunks.Next() {
		reply.add(chunks.Current())
	}
	broken := chunks.Err()
	if err := chunks.Close(); err != nil && broken == nil {
		broken = err
	}
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	if reply.err != nil {
		return actors.ModelResponse{}, m.failed(events.ErrorInvalid, reply.err.Error(), 0)
	}
	if reply.finished { // complete, whatever became of the connection afterwards
		return reply.answer()
	}
	if errors.Is(context.Cause(watched), errIdle) {
		return actors.ModelResponse{}, m.failed(events.ErrorTimeout, fmt.Sprintf("nothing came for %s", m.idle), 0)
	}
	return actors.ModelResponse{}, m.classify(broken, reply.begun)
}

// errIdle ends a call whose stream has been silent for too long.
var errIdle = errors.New("the stream is silent")
