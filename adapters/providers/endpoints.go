package providers

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"example.com/life/adapters/providers/endpoint"
)

// maxEndpoints bounds how many there may be.
const maxEndpoints = 64

// ReadEndpoints reads the endpoints of a configuration file: a mapping of names to what is said of each.
//
//	endpoints:
//	  groq:
//	    dialect: chat                           # else chat
//	    base_url: https://api.groq.com/openai/v1
//	    key_file: /home/ada/.groq               # or key_env: GROQ_API_KEY; without either, no key is sent
//	    headers: {x-team: research}             # sent with every request besides
//	    first_byte: 2m                          # else the setting model_first_byte
//	    silence: 30s                            # else the setting model_silence
//	    window: 32768                           # tokens of prompt and reply, where the table of models does not know
//
// A path that is not absolute is one below dir. The keys of key_env are read with getenv.
func ReadEndpoints(node *yaml.Node, dir string, getenv func(string) string) ([]Endpoint, error) {
	if node == nil {
		return nil, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: endpoints must be a mapping of names to what is said of each, such as groq: {base_url: https://api.groq.com/openai/v1}", node.Line)
	}
	if len(node.Content)/2 > maxEndpoints {
		return nil, fmt.Errorf("line %d: there are %d endpoints, at most %d are allowed", node.Line, len(node.Content)/2, maxEndpoints)
	}
	var all []Endpoint
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i].Value
		fail := func(line int, err error) ([]Endpoint, error) {
			return nil, fmt.Errorf("line %d: endpoints: %s: %w", line, clip(name, 40), err)
		}
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("line %d: endpoints: %w", node.Content[i].Line, err)
		}
		if slices.ContainsFunc(all, func(e Endpoint) bool { return e.Name == name }) {
			return fail(node.Content[i].Line, errors.New("there is another endpoint of that name"))
		}
		read, line, err := readEndpoint(name, node.Content[i+1], dir, getenv)
		if err != nil {
			return fail(line, err)
		}
		all = append(all, read)
	}
	return all, nil
}

// readEndpoint reads one; line is where it is wrong.
func readEndpoint(name string, node *yaml.Node, dir string, getenv func(string) string) (e Endpoint, line int, err error) {
	e.Dialect = "chat"
	e.Config = endpoint.Config{Name: name, Settings: endpoint.Settings{
		BaseURL: "endpoints." + name + ".base_url", Key: "endpoints." + name + ".key_env", KeyFile: "endpoints." + name + ".key_file",
	}}
	if node.Kind != yaml.MappingNode {
		return e, node.Line, errors.New("it must be a mapping, such as {base_url: https://api.groq.com/openai/v1, key_env: GROQ_API_KEY}")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if seen[key.Value] {
			return e, key.Line, fmt.Errorf("%s is said twice", clip(key.Value, 40))
		}
		seen[key.Value] = true
		if err := e.read(key.Value, value, dir, getenv); err != nil {
			return e, value.Line, err
		}
	}
	switch {
	case !seen["base_url"]:
		return e, node.Line, errors.New("base_url is missing")
	case seen["key_file"] && seen["key_env"]:
		return e, node.Line, errors.New("key_file and key_env: name only one of them")
	}
	if _, err := e.Address(); err != nil {
		return e, node.Line, err
	}
	return e, 0, nil
}

// read reads one key. Errors do not repeat values that may be secret.
func (e *Endpoint) read(key string, node *yaml.Node, dir string, getenv func(string) string) error {
	if key == "headers" {
		return e.readHeaders(node)
	}
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" || node.Value == "" {
		return fmt.Errorf("%s must be a plain value", clip(key, 40))
	}
	value := node.Value
	var err error
	switch key {
	case "dialect":
		e.Dialect = value
		_, err = dialectOf(value)
	case "base_url":
		e.BaseURL = value
	case "key_file":
		if e.KeyFile = value; !filepath.IsAbs(value) {
			e.KeyFile = filepath.Join(dir, value)
		}
	case "key_env":
		if strings.ContainsFunc(value, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			return errors.New("key_env is not the name of an environment variable: it names the variable that holds the key, not the key itself")
		}
		e.Key, e.Settings.Key = getenv(value), value
	case "first_byte":
		e.FirstByte, err = patience(key, value)
	case "silence":
		e.Idle, err = patience(key, value)
	case "window":
		e.Window, err = strconv.ParseInt(value, 10, 64)
		if err != nil || e.Window < 1 || e.Window > 1<<40 {
			return errors.New("window must be a number of tokens, such as 32768")
		}
	case "key", "api_key":
		return fmt.Errorf("%s does not belong in a file that others may read: name a file with key_file, or an environment variable with key_env", key)
	default:
		return fmt.Errorf("unknown key %q; the keys are dialect, base_url, key_file, key_env, headers, first_byte, silence and window", clip(key, 40))
	}
	return err
}

func patience(key, value string) (time.Duration, error) {
	length, err := time.ParseDuration(value)
	if err != nil || length <= 0 {
		return 0, fmt.Errorf("%s must be a duration such as 90s or 15m", key)
	}
	return length, nil
}

func (e *Endpoint) readHeaders(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return errors.New("headers must be a mapping of names to values, such as {x-team: research}")
	}
	e.Headers = map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i].Value, node.Content[i+1]
		switch strings.ToLower(name) {
		case "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie":
			return fmt.Errorf("headers: %s is a credential: name a file with key_file, or an environment variable with key_env", name)
		case "host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "accept":
			return fmt.Errorf("headers: %s cannot be set", name)
		}
		if !httpguts.ValidHeaderFieldName(name) || value.Kind != yaml.ScalarNode || !httpguts.ValidHeaderFieldValue(value.Value) {
			return fmt.Errorf("headers: %q is no header that HTTP allows", clip(name, 40))
		}
		e.Headers[name] = value.Value
	}
	return nil
}
