package providers

import (
	"cmp"
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
	EnvFirstByte     = "LIFE_MODEL_FIRST_BYTE"
	EnvIdle          = "LIFE_MODEL_SILENCE"

	openAIBaseURL = "https://api.openai.com/v1"
)

// Bounds of the OpenAI provider.
const (
	DefaultFirstByte = 15 * time.Minute // a local model may have to be loaded, and read a long prompt on a slow processor
	DefaultIdle      = 3 * time.Minute  // models that think before they speak are silent for long

	maxReply = 16 << 20 // bytes of one reply, as sent and after decompression
	maxKey   = 16 << 10 // bytes of a key file
)

// OpenAIConfig says how to reach an endpoint that speaks OpenAI's chat completions.
type OpenAIConfig struct {
	BaseURL string       // with its version, such as http://127.0.0.1:11434/v1; empty: OpenAI's own
	Key     string       // empty together with KeyFile: none is sent, which OpenAI's own endpoint does not accept
	KeyFile string       // a file holding the key and nothing else; used when Key is empty
	Client  *http.Client // nil: one of its own; its redirects are never followed

	FirstByte time.Duration // the longest silence before the first piece of a reply; 0 means DefaultFirstByte
	Idle      time.Duration // the longest silence within a reply; 0 means DefaultIdle
}

// OpenAIFromEnvironment reads the configuration from environment variables: getenv is os.Getenv.
func OpenAIFromEnvironment(getenv func(name string) string) OpenAIConfig {
	return OpenAIConfig{BaseURL: getenv(EnvOpenAIBaseURL), Key: getenv(EnvOpenAIKey), KeyFile: getenv(EnvOpenAIKeyFile)}
}

// openAI asks one endpoint.
type openAI struct {
	client    openai.Client
	firstByte time.Duration
	idle      time.Duration
	scrub     *strings.Replacer // takes the key out of whatever the endpoint sends back
	own       bool              // it is OpenAI's own endpoint, not a compatible one
	ways      ways
}

// OpenAI returns the models of an OpenAI-compatible endpoint, asked with streaming chat completions where it streams. Each Ask is one
// request that is accepted: nothing is retried here. The key is in no error, whatever the endpoint echoes.
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
	if config.Idle < 0 || config.FirstByte < 0 {
		return nil, fmt.Errorf("openai: the longest silence is negative: %s before a reply, %s within it", config.FirstByte, config.Idle)
	}
	client := http.Client{Transport: http.DefaultTransport}
	if config.Client != nil {
		client = *config.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	model := &openAI{
		firstByte: cmp.Or(config.FirstByte, DefaultFirstByte), idle: cmp.Or(config.Idle, DefaultIdle),
		scrub: newScrubber(key), own: base == openAIBaseURL,
	}
	options := []option.RequestOption{
		option.WithBaseURL(base), option.WithHTTPClient(&client), option.WithMaxRetries(0),
	}
	if key != "" {
		options = append(options, option.WithAPIKey(key))
	}
	// Not NewClient: that one takes more of the environment than is configured here.
	model.client = openai.Client{Options: options}
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

// Ask sends the question and puts the reply together. A refusal of the way of asking is met with another way, at once: it costs nothing.
func (m *openAI) Ask(ctx context.Context, question actors.ModelRequest, delta func(text string)) (actors.ModelResponse, error) {
	way := m.ways.of(question.Model)
	for changes := 0; ; changes++ {
		answer, err := m.ask(ctx, question, way, delta)
		var refused *refusalError
		if !errors.As(err, &refused) {
			return answer, err
		}
		next, other := way.after(refused, &question, m.own)
		if !other || changes == maxChanges {
			if refused.Class == events.ErrorContext {
				overflow(refused.ModelError, &question, &refused.said)
			}
			return actors.ModelResponse{}, refused.ModelError
		}
		way = next
		m.ways.keep(question.Model, way)
	}
}

// ask makes one request.
func (m *openAI) ask(ctx context.Context, question actors.ModelRequest, way way, delta func(text string)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	params, err := m.params(question, way)
	if err != nil {
		return actors.ModelResponse{}, m.failed(events.ErrorInvalid, err.Error(), 0)
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := newWatchdog(m.firstByte, cancel)
	defer dog.timer.Stop()

	options := []option.RequestOption{option.WithMiddleware(m.receive(dog))}
	if !way.whole {
		options = append(options, option.WithJSONSet("stream", true))
	}
	var response *http.Response
	if err := m.client.Post(watched, "chat/completions", params, &response, options...); err != nil {
		return actors.ModelResponse{}, m.unanswered(ctx, watched, dog, m.unreached(err))
	}
	reply, stream := newReply(question, delta), newFrames(response.Body)
	for {
		event, more := stream.next()
		if !more || !reply.take(event) {
			break
		}
		if reply.begun && dog.wait != m.idle {
			dog.wait = m.idle
			dog.heard()
		}
	}
	if err := response.Body.Close(); err != nil && stream.err() == nil && !reply.ended {
		return actors.ModelResponse{}, m.unanswered(ctx, watched, dog, m.unreached(err))
	}
	return m.conclude(ctx, watched, dog, reply, stream)
}

// conclude gives the reply, or why there is none. A reply that was finished is complete, whatever became of the connection afterwards.
func (m *openAI) conclude(ctx, watched context.Context, dog *watchdog, reply *reply, stream *frames) (actors.ModelResponse, error) {
	var failure *actors.ModelError
	switch {
	case ctx.Err() != nil:
		return actors.ModelResponse{}, ctx.Err()
	case reply.said != nil:
		refused := m.refused(0, *reply.said, 0)
		if !reply.begun {
			return actors.ModelResponse{}, refused
		}
		failure = refused.ModelError
		failure.Usage = reply.usage()
		return actors.ModelResponse{}, failure
	case reply.err != nil:
		return actors.ModelResponse{}, m.failed(events.ErrorInvalid, reply.err.Error(), 0)
	case !reply.ended || reply.broken != nil:
		return actors.ModelResponse{}, m.unanswered(ctx, watched, dog, m.brokenOff(reply, stream))
	}
	answer, err := reply.answer()
	if errors.As(err, &failure) {
		failure.Detail = m.failed(failure.Class, failure.Detail, 0).Detail
		return actors.ModelResponse{}, failure
	}
	if cut := cutSilently(reply.question, &reply.told, answer.Usage); cut != nil {
		return actors.ModelResponse{}, cut
	}
	return answer, nil
}

// unanswered is why no reply came: the caller gave up, the endpoint was silent for too long, or what is given.
func (m *openAI) unanswered(ctx, watched context.Context, dog *watchdog, otherwise error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !errors.Is(context.Cause(watched), errSilent) {
		return otherwise
	}
	setting := EnvFirstByte
	if dog.wait != m.firstByte {
		setting = EnvIdle
	}
	failure := m.failed(events.ErrorTimeout, fmt.Sprintf("nothing came for %s (%s)", dog.wait, setting), 0)
	var broken *actors.ModelError
	if errors.As(otherwise, &broken) {
		failure.Usage = broken.Usage
	}
	return failure
}
