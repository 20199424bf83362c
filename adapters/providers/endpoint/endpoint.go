// Package endpoint holds what all models behind an HTTP endpoint share, whatever dialect the endpoint speaks: its address and key
// ([Config]), one request that is bounded and watched for silence ([Call]), streams as they are really sent ([Frames]), failures sorted by
// what can be done about them ([Endpoint.Refused]), the times at which to ask again, and what sizes tell where an endpoint does not.
//
// What it promises: the key is in no error; a body is bounded; a silent endpoint is left; whatever an endpoint answers has a class.
package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
)

// The settings of how long an endpoint may be silent.
const (
	EnvFirstByte = "LIFE_MODEL_FIRST_BYTE"
	EnvIdle      = "LIFE_MODEL_SILENCE"
)

// Bounds of an endpoint.
const (
	DefaultFirstByte = 15 * time.Minute // a local model may have to be loaded, and read a long prompt on a slow processor
	DefaultIdle      = 3 * time.Minute  // models that think before they speak are silent for long

	MaxReply = 16 << 20 // bytes of one reply, as sent and after decompression
	maxKey   = 16 << 10 // bytes of a key file
)

// Config says how to reach an endpoint.
type Config struct {
	Name     string   // of the provider, in errors
	Settings Settings // what errors tell people to set

	BaseURL string            // as its dialect wants it, such as http://127.0.0.1:11434/v1; empty: Default
	Default string            // the vendor's own address, which does not answer without a key; empty: there is none
	Key     string            // empty together with KeyFile: none is sent
	KeyFile string            // a file holding the key and nothing else; used when Key is empty
	Client  *http.Client      // nil: one of its own; its redirects are never followed
	Headers map[string]string // sent with every request besides

	FirstByte time.Duration // the longest silence before the first piece of a reply; 0 means DefaultFirstByte
	Idle      time.Duration // the longest silence within a reply; 0 means DefaultIdle

	MaxOutput func(model string) int64 // the largest reply of a model, in tokens, 0 where it is not known; nil: none is
}

// Settings are the names of an endpoint's settings.
type Settings struct{ BaseURL, Key, KeyFile string }

// Endpoint is an address that models are asked at. It is safe for concurrent use.
type Endpoint struct {
	Base   string // without a slash at its end
	Key    string // for the dialect's header; empty: none
	Own    bool   // it is the vendor's own, not a compatible one
	Client *http.Client

	firstByte time.Duration
	idle      time.Duration
	setting   string            // of the base URL
	scrub     *strings.Replacer // takes the key out of whatever the endpoint sends back
}

// New checks a configuration.
func New(config Config) (*Endpoint, error) {
	base, err := config.Address()
	if err != nil {
		return nil, err
	}
	key, err := config.ReadKey()
	if err != nil {
		return nil, err
	}
	if key == "" && base == config.Default {
		return nil, fmt.Errorf("there is no key: set %s, or %s to a file that holds it, or %s to an endpoint that needs none",
			config.Settings.Key, config.Settings.KeyFile, config.Settings.BaseURL)
	}
	if config.Idle < 0 || config.FirstByte < 0 {
		return nil, fmt.Errorf("%s: the longest silence is negative: %s before a reply, %s within it", config.Name, config.FirstByte, config.Idle)
	}
	client := http.Client{Transport: http.DefaultTransport}
	if config.Client != nil {
		client = *config.Client
	}
	if len(config.Headers) > 0 {
		client.Transport = withHeaders{cmp.Or(client.Transport, http.DefaultTransport), config.Headers}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Endpoint{
		Base: base, Key: key, Own: base == config.Default, Client: &client,
		firstByte: cmp.Or(config.FirstByte, DefaultFirstByte), idle: cmp.Or(config.Idle, DefaultIdle), setting: config.Settings.BaseURL,
		scrub: newScrubber(key),
	}, nil
}

// Address is the endpoint's address, checked.
func (c Config) Address() (string, error) {
	if c.BaseURL == "" && c.Default != "" {
		return c.Default, nil
	}
	base, err := url.Parse(strings.TrimSpace(c.BaseURL))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Hostname() == "" || strings.ContainsAny(base.Host, " ,;") {
		return "", fmt.Errorf("the base URL of %s (%s) is not an http or https address such as %s",
			c.Name, c.Settings.BaseURL, cmp.Or(c.Default, "http://127.0.0.1:11434/v1"))
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return "", fmt.Errorf("the base URL of %s (%s) holds more than host and path: credentials belong in %s", c.Name, c.Settings.BaseURL, c.Settings.Key)
	}
	address := strings.TrimRight(base.String(), "/")
	for _, path := range []string{"/chat/completions", "/completions", "/responses", "/messages", "/models", "/embeddings"} {
		if without, ends := strings.CutSuffix(address, path); ends {
			return "", fmt.Errorf("the base URL of %s (%s) ends with the path of a request, %s: set it to %s", c.Name, c.Settings.BaseURL, path, without)
		}
	}
	return address, nil
}

// withHeaders adds headers to every request.
type withHeaders struct {
	http.RoundTripper
	headers map[string]string
}

// RoundTrip implements http.RoundTripper.
func (w withHeaders) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context()) // it is the caller's
	for name, value := range w.headers {
		request.Header.Set(name, value)
	}
	return w.RoundTripper.RoundTrip(request)
}

// ReadKey returns the key, from its file if need be; empty when none is configured.
func (c Config) ReadKey() (string, error) {
	key, source := c.Key, c.Settings.Key
	if key == "" && c.KeyFile != "" {
		source = c.KeyFile
		file, err := os.Open(c.KeyFile)
		if err != nil {
			return "", fmt.Errorf("read key of %s: %w", c.Name, err)
		}
		defer file.Close()
		content, err := io.ReadAll(io.LimitReader(file, maxKey+1))
		if err != nil {
			return "", fmt.Errorf("read key of %s: %w", c.Name, err)
		}
		if key = string(content); strings.TrimSpace(key) == "" {
			return "", fmt.Errorf("read key of %s: %s is empty", c.Name, source)
		}
	}
	key = strings.TrimSpace(key)
	if len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the key of %s (%s) is not one line of printable ASCII", c.Name, source)
	}
	return key, nil
}

// Warning says what is wrong with the key file's permissions, if anything.
func (c Config) Warning() string {
	if c.Key != "" || c.KeyFile == "" {
		return ""
	}
	info, err := os.Stat(c.KeyFile)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return "" // a missing file is an error, not a warning
	}
	return fmt.Sprintf("the key file %s can be read by others (%s)", c.KeyFile, fs.FormatFileInfo(info)[:10])
}

// Failed makes a failure without the key in it. It scrubs before it cuts: half a key would not be recognised.
func (e *Endpoint) Failed(class events.ErrorClass, detail string, after time.Duration) *actors.ModelError {
	return &actors.ModelError{Class: class, RetryAfter: after, Detail: events.Clip(e.scrub.Replace(detail), maxDetail)}
}

// asFailure is the failure that an error holds, if any.
func asFailure(err error) (*actors.ModelError, bool) {
	var failure *actors.ModelError
	return failure, errors.As(err, &failure)
}
