// Package providers calls language models. Each provider is an implementation of actors.Model that passes
// actorstest.TestModel; what is known of models is in package models.
//
//   - openai: any endpoint that speaks OpenAI's chat completions: package chat.
//   - openai-responses: the same endpoint by OpenAI's Responses, which keep what a model thought between its calls: package responses.
//   - anthropic: any endpoint that speaks Anthropic's Messages: package anthropic.
//   - the endpoints that the configuration names, each in its dialect (dialects.go).
//   - scripted: a deterministic model that needs no key and follows a YAML script ([Scripted]).
//   - [Tape]: records another model's traffic and plays it back.
//
// [New] puts them together: a model is named "provider/model", such as scripted/tour or openai/gpt-4o-mini.
//
// What it promises: a reply is returned only if the provider said that it is complete, so a stream that just ends is a
// failure; every failure has a class that says what can be done about it; one Ask is one attempt, because retries belong to
// the turn, which records them; the end of the context is noticed at once and leaves nothing running; a key is in no error,
// no log and no recording.
//
// # Scripts
//
// A script is a list of rules; the first one that matches the last message of the conversation answers. Every condition
// of when must hold; without conditions a rule always matches:
//
//	rules:
//	  - when:
//	      role: tool            # user, tool or assistant
//	      contains: draft       # the text contains this
//	      equals: yes           # the text is this, but for space around it
//	      matches: '(\w+)\.md'  # the text matches this regular expression (RE2)
//	      tool: list_dir        # it is the result of this tool
//	      failed: false         # the call failed, or did not
//	      round: 2              # of the turn: one more than the replies since the last user message
//	    text: "I read ${1}."    # what the model says
//	    calls:                  # and the tools it calls
//	      - tool: read_file
//	        arguments: {path: "${1}"}  # a text instead of a mapping is sent as arguments that are no JSON
//	    stop: end               # end, calls, length or filtered; else it follows from calls
//	    usage: {input: 10, output: 5, cached: 0} # tokens; else estimated from the sizes
//	    latency: 200ms          # spread over the words of the text
//	    failure:                # instead of a reply, or before it
//	      class: rate_limited   # an events.ErrorClass
//	      detail: slow down
//	      retry_after: 1s
//	      times: 2              # only the first attempts at the same question fail, counted by this process
//
// Placeholders in text and arguments: ${text} is the last message, ${prompt} the last user message, ${result} the last
// tool's result, ${context} the notes recalled last, ${tool} its name, ${call.ARGUMENT} an argument of the call that it answers, ${1} or ${name} a capturing group. $$ is a dollar.
//
// # Adding a provider
//
// Write a package NAME with a constructor that checks its configuration and returns an actors.Model, add its line to the list in
// this file, and hold it to actorstest.TestModel, against a fake that speaks the provider's own protocol. What endpoints over HTTP share
// is in package endpoint.
package providers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/anthropic"
	"example.com/life/adapters/providers/endpoint"
)

// The environment variables of the OpenAI provider.
const (
	EnvOpenAIKey     = "OPENAI_API_KEY"
	EnvOpenAIKeyFile = "OPENAI_API_KEY_FILE"
	EnvOpenAIBaseURL = "OPENAI_BASE_URL"
)

// OpenAIFromEnvironment reads the configuration of openai from environment variables: getenv is os.Getenv.
func OpenAIFromEnvironment(getenv func(name string) string) endpoint.Config {
	return endpoint.Config{
		Name: "openai", Settings: endpoint.Settings{BaseURL: EnvOpenAIBaseURL, Key: EnvOpenAIKey, KeyFile: EnvOpenAIKeyFile}, Default: endpoint.OpenAIBase,
		BaseURL: getenv(EnvOpenAIBaseURL), Key: getenv(EnvOpenAIKey), KeyFile: getenv(EnvOpenAIKeyFile),
	}
}

// The environment variables of the Anthropic provider.
const (
	EnvAnthropicKey     = "ANTHROPIC_API_KEY"
	EnvAnthropicKeyFile = "ANTHROPIC_API_KEY_FILE"
	EnvAnthropicBaseURL = "ANTHROPIC_BASE_URL"
)

// AnthropicFromEnvironment reads the configuration of anthropic from environment variables: getenv is os.Getenv.
func AnthropicFromEnvironment(getenv func(name string) string) endpoint.Config {
	return endpoint.Config{
		Name: "anthropic", Settings: endpoint.Settings{BaseURL: EnvAnthropicBaseURL, Key: EnvAnthropicKey, KeyFile: EnvAnthropicKeyFile}, Default: anthropic.BaseURL,
		BaseURL: getenv(EnvAnthropicBaseURL), Key: getenv(EnvAnthropicKey), KeyFile: getenv(EnvAnthropicKeyFile),
	}
}

// Config is the configuration of all providers.
type Config struct {
	OpenAI    endpoint.Config
	Anthropic endpoint.Config
	Endpoints []Endpoint // that the configuration file names
	Scripted  ScriptedConfig

	MaxOutput func(model string) int64 // the largest reply of provider/model, in tokens, 0 where it is not known; nil: none is
	Window    func(model string) int64 // the tokens of prompt and reply of provider/model, likewise
	Tape      TapeConfig               // of providers over the network. Mode empty: none. Dir gets a directory for each; Model and Secrets are filled in here
}

// Set holds every provider, ready or not.
type Set struct{ providers []provider }

// provider is one line of the list: a model, or why there is none.
type provider struct {
	name    string
	model   actors.Model
	err     error
	warning string
	detail  string // what is in effect, for Doctor
	remote  bool   // its answers are worth a tape: asking again costs money and may answer otherwise
	list    func(context.Context) ([]endpoint.Listed, error)
}

// open makes the list of providers. It is the only one.
func open(config Config) []provider {
	config.OpenAI.Name, config.Anthropic.Name = "openai", "anthropic"
	responses := over("responses", config.responses(), config)
	responses.warning, responses.list = "", nil // they are those of openai
	list := []provider{
		provider{name: "scripted", detail: scriptedDetail(config.Scripted)}.with(Scripted(config.Scripted)),
		over("chat", config.OpenAI, config),
		responses,
		over("anthropic", config.Anthropic, config),
	}
	for _, e := range config.Endpoints {
		p := over(e.Dialect, e.Config, config)
		p.detail = e.Dialect + " at " + p.detail
		list = append(list, p)
	}
	for i := range list {
		if p := &list[i]; p.err == nil && config.Window != nil {
			p.model = endpoint.Windowed(p.model, func(model string) int64 { return config.Window(p.name + "/" + model) })
		}
	}
	return list
}

const responsesName = "openai-responses"

// responses is the configuration of openai, in the other dialect.
func (c Config) responses() endpoint.Config {
	other := c.OpenAI
	other.Name = responsesName
	return other
}

func (p provider) with(model actors.Model, err error) provider {
	p.model, p.err = model, err
	return p
}

func scriptedDetail(config ScriptedConfig) string {
	built := "built-in scripts " + strings.Join(BuiltinScripts(), ", ")
	if config.Dir == "" {
		return built
	}
	return built + "; others from " + config.Dir
}

func address(config endpoint.Config) string {
	base, err := config.Address()
	if err != nil {
		return "" // not shown: it may hold credentials
	}
	return base
}

// New opens every provider. One that is not configured, or wrongly, is an error only when it is looked up: the others work.
func New(config Config) (*Set, error) {
	set := &Set{providers: open(config)}
	if config.Tape.Mode == "" {
		return set, nil
	}
	if config.Tape.Dir == "" || config.Tape.Mode != TapeRecord && config.Tape.Mode != TapePlay {
		return nil, fmt.Errorf("open tape: mode %q in directory %q: want record or play, and a directory", config.Tape.Mode, config.Tape.Dir)
	}
	var keys []string
	for _, e := range config.remote() {
		key, err := e.ReadKey()
		if err != nil && config.Tape.Mode == TapeRecord {
			return nil, fmt.Errorf("open tape: what must not be recorded is unknown: %w", err)
		}
		keys = append(keys, key)
	}
	for i := range set.providers {
		p := &set.providers[i]
		if !p.remote || p.err != nil && config.Tape.Mode == TapeRecord {
			continue // nothing to record
		}
		dir := filepath.Join(config.Tape.Dir, p.name)
		p.model, p.err = Tape(TapeConfig{Dir: dir, Mode: config.Tape.Mode, Model: p.model, Secrets: keys, Mask: config.Tape.Mask})
		p.detail = fmt.Sprintf("tape (%s) in %s", config.Tape.Mode, dir)
	}
	return set, nil
}

// Keys are the keys of providers that can be read, by the names of their variables, for whoever keeps them out of what is stored.
func (c Config) Keys() map[string]string {
	keys := map[string]string{}
	for _, e := range c.remote() {
		if key, err := e.ReadKey(); err == nil && key != "" {
			keys[e.Settings.Key] = key
		}
	}
	return keys
}

// remote are the configurations of all providers over the network.
func (c *Config) remote() []endpoint.Config {
	all := []endpoint.Config{c.OpenAI, c.Anthropic}
	for _, e := range c.Endpoints {
		all = append(all, e.Config)
	}
	return all
}

// Lookup finds the model named "provider/model" and the name that its Question.Model must have.
func (s *Set) Lookup(model string) (found actors.Model, name string, err error) {
	prefix, name, ok := strings.Cut(model, "/")
	if !ok || prefix == "" || name == "" {
		return nil, "", fmt.Errorf("model %q is not provider/model, such as scripted/tour", clip(model, 200))
	}
	for _, p := range s.providers {
		if p.name != prefix {
			continue
		}
		if p.err != nil {
			return nil, "", fmt.Errorf("use model %s: %w", clip(model, 200), p.err)
		}
		return p.model, name, nil
	}
	return nil, "", fmt.Errorf("model %q: there is no provider %q, only %s; endpoints in the configuration file add others",
		clip(model, 200), clip(prefix, 200), enumerated(s.Names()))
}

// Check is the state of one provider, for people.
type Check struct {
	Provider string
	Ready    bool
	Detail   string // what is in effect
	Problem  string // why it is not ready, or a warning about one that is; empty when all is well
	Remedy   string // what to do about the problem
}

// Doctor says of each provider whether it can be asked, and what to do if not. It asks nobody.
func (s *Set) Doctor() []Check {
	checks := make([]Check, len(s.providers))
	for i, p := range s.providers {
		checks[i] = Check{Provider: p.name, Ready: p.err == nil, Detail: p.detail}
		switch {
		case p.err != nil:
			checks[i].Problem, checks[i].Remedy = p.err.Error(), remedy(p.name)
		case p.warning != "":
			checks[i].Problem, checks[i].Remedy = p.warning, "make it readable by you alone: chmod 600 that file"
		}
	}
	return checks
}

func remedy(provider string) string {
	switch provider {
	case "openai", responsesName:
		return fmt.Sprintf("set %s, or %s to a file that holds it; for another endpoint also %s", EnvOpenAIKey, EnvOpenAIKeyFile, EnvOpenAIBaseURL)
	case "anthropic":
		return fmt.Sprintf("set %s, or %s to a file that holds it; for another endpoint also %s", EnvAnthropicKey, EnvAnthropicKeyFile, EnvAnthropicBaseURL)
	case "scripted":
		return "name an existing directory of scripts, or none: the built-in scripts need no directory"
	}
	return "correct endpoints." + provider + " in the configuration file"
}
