package providers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"example.com/life/actors"
)

func readEndpoints(t *testing.T, text, dir string) ([]Endpoint, error) {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	return ReadEndpoints(node.Content[0], dir, func(name string) string {
		return map[string]string{"GROQ_API_KEY": "gsk-very-secret", "TWO_LINES": "gsk-very\nsecret"}[name]
	})
}

func TestReadEndpoints(t *testing.T) {
	read, err := readEndpoints(t, `
groq: {dialect: chat, base_url: "https://api.groq.example/openai/v1/", key_env: GROQ_API_KEY, headers: {x-team: research}, first_byte: 2m, silence: 30s, window: 32768}
my-box_2: {base_url: "http://127.0.0.1:8080/v1", key_file: keys/box}
`, "/etc/life")
	if err != nil || len(read) != 2 {
		t.Fatal(err, read)
	}
	g := read[0]
	if g.Name != "groq" || g.Key != "gsk-very-secret" || g.Headers["x-team"] != "research" || g.FirstByte != 2*time.Minute || g.Idle != 30*time.Second || g.Window != 32768 {
		t.Errorf("%+v", g)
	}
	if address, err := g.Address(); err != nil || address != "https://api.groq.example/openai/v1" {
		t.Errorf("%s %v", address, err)
	}
	if b := read[1]; b.Name != "my-box_2" || b.Dialect != "chat" || b.KeyFile != "/etc/life/keys/box" {
		t.Errorf("%+v", b)
	}
	keys := Config{Endpoints: read}.Keys()
	if keys["GROQ_API_KEY"] != "gsk-very-secret" {
		t.Errorf("the masker is not given the key of an endpoint: %v", keys)
	}
	if none, err := ReadEndpoints(nil, "", nil); err != nil || none != nil {
		t.Error(none, err)
	}
}

func TestEndpointErrors(t *testing.T) {
	for text, says := range map[string]string{
		"openai: {base_url: 'http://h/v1'}":           "openai is built in: give the endpoint another name, such as my-openai",
		"anthropic: {base_url: 'http://h/v1'}":        "anthropic is built in",
		"route: {base_url: 'http://h/v1'}":            "route is built in",
		"Groq: {base_url: 'http://h/v1'}":             `"Groq" cannot name an endpoint`,
		"a/b: {base_url: 'http://h/v1'}":              "cannot name an endpoint",
		"'': {base_url: 'http://h/v1'}":               "cannot name an endpoint",
		"2x: {base_url: 'http://h/v1'}":               "cannot name an endpoint",
		"g: {}":                                       "line 1: endpoints: g: base_url is missing",
		"g: http://h/v1":                              "it must be a mapping",
		"[g]":                                         "must be a mapping of names",
		"g: {base_url: 'http://h/v1', base_url: 'x'}": "said twice",

		"g: {base_url: 'http://h/v1'}\ng: {base_url: 'http://h/v1'}":                       "line 2: endpoints: g: there is another",
		"g: {base_url: 'http://h/v1', dialect: soap}":                                      `there is no dialect "soap", only chat, responses and anthropic`,
		"g: {base_url: 'htps://h/v1'}":                                                     "the base URL of g (endpoints.g.base_url) is not an http or https address",
		"g: {base_url: 'h.example/v1'}":                                                    "is not an http or https address",
		"g: {base_url: 'https//h.example/v1'}":                                             "is not an http or https address",
		"g: {base_url: 'http://:80/v1'}":                                                   "is not an http or https address",
		"g: {base_url: 'http://ada:gsk-very-secret@h/v1'}":                                 "holds more than host and path: credentials belong in endpoints.g.key_env",
		"g: {base_url: 'http://h/v1?key=gsk-very-secret'}":                                 "holds more than host and path",
		"g: {base_url: 'http://h/v1/chat/completions'}":                                    "ends with the path of a request, /chat/completions: set it to http://h/v1",
		"g: {base_url: 'http://h/v1/models/'}":                                             "set it to http://h/v1",
		"g: {base_url: 'http://h/v1', key: gsk-very-secret}":                               "name a file with key_file",
		"g: {base_url: 'http://h/v1', key_env: gsk-very-secret}":                           "not the key itself",
		"g: {base_url: 'http://h/v1', key_env: A, key_file: b}":                            "name only one of them",
		"g: {base_url: 'http://h/v1', headers: {Authorization: 'Bearer gsk-very-secret'}}": "Authorization is a credential",
		"g: {base_url: 'http://h/v1', headers: {host: h}}":                                 "host cannot be set",
		"g: {base_url: 'http://h/v1', headers: {'a b': h}}":                                "no header that HTTP allows",
		"g: {base_url: 'http://h/v1', headers: {a: \"b\\nc\"}}":                            "no header that HTTP allows",
		"g: {base_url: 'http://h/v1', headers: x}":                                         "headers must be a mapping",
		"g: {base_url: 'http://h/v1', first_byte: soon}":                                   "first_byte must be a duration",
		"g: {base_url: 'http://h/v1', silence: -1s}":                                       "silence must be a duration",
		"g: {base_url: 'http://h/v1', window: large}":                                      "window must be a number of tokens",
		"g: {base_url: 'http://h/v1', window: }":                                           "window must be a plain value",
		"g: {base_url: 'http://h/v1', windows: 5}":                                         `unknown key "windows"`,
	} {
		read, err := readEndpoints(t, text, "")
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s gives %v, %v, want %q and no secret", text, read, err, says)
		}
	}
}

// TestNamedEndpoint: models of a named endpoint are asked there, with its key and headers, and only then; a key that is none is an error
// without the key.
func TestNamedEndpoint(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		asked = append(asked, fmt.Sprint(r.URL.Path, " ", r.Header.Get("Authorization"), " ", r.Header.Get("X-Team"), " ", body.Model))
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	defer server.Close()
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte("gsk-of-file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	read, err := readEndpoints(t, fmt.Sprintf(`
groq: {base_url: %q, key_env: GROQ_API_KEY, headers: {x-team: research}}
box: {base_url: %q, key_file: %q}
open: {base_url: %q}
broken: {base_url: %q, key_env: TWO_LINES}
`, server.URL+"/v1", server.URL+"/v1", keyFile, server.URL, server.URL), "")
	if err != nil {
		t.Fatal(err)
	}
	set, err := New(Config{OpenAI: OpenAIFromEnvironment(func(string) string { return "" }), Endpoints: read})
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"groq/llama", "box/org/model", "open/x"} {
		found, name, err := set.Lookup(model)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := found.Ask(t.Context(), actors.ModelRequest{Model: name}, nil); err != nil || answer.Text != "Hi" {
			t.Fatal(answer, err)
		}
	}
	if got := strings.Join(asked, "\n"); got != "/v1/chat/completions Bearer gsk-very-secret research llama\n"+
		"/v1/chat/completions Bearer gsk-of-file  org/model\n/chat/completions   x" {
		t.Errorf("asked:\n%s", got)
	}
	if _, _, err := set.Lookup("broken/x"); err == nil || !strings.Contains(err.Error(), "the key of broken (TWO_LINES) is not one line") || strings.Contains(err.Error(), "gsk") {
		t.Errorf("%v", err)
	}
	if _, _, err := set.Lookup("groc/x"); err == nil || !strings.Contains(err.Error(), "only scripted, openai, openai-responses, anthropic, groq, box, open and broken; endpoints in the configuration file") {
		t.Errorf("%v", err)
	}
	checks := map[string]Check{}
	for _, c := range set.Doctor() {
		checks[c.Provider] = c
	}
	if c := checks["groq"]; !c.Ready || c.Detail != "chat at "+server.URL+"/v1" || c.Problem != "" {
		t.Errorf("%+v", c)
	}
	if c := checks["box"]; !c.Ready || !strings.Contains(c.Problem, "can be read by others") {
		t.Errorf("%+v", c)
	}
	if c := checks["broken"]; c.Ready || c.Remedy != "correct endpoints.broken in the configuration file" {
		t.Errorf("%+v", c)
	}
}
