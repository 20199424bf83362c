package providers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
)

// openAI is a configuration of openai.
func openAI(config endpoint.Config) endpoint.Config {
	from := OpenAIFromEnvironment(func(string) string { return "" })
	config.Name, config.Settings, config.Default = from.Name, from.Settings, from.Default
	return config
}

// anthropicOf is a configuration of anthropic.
func anthropicOf(config endpoint.Config) endpoint.Config {
	from := AnthropicFromEnvironment(func(string) string { return "" })
	config.Name, config.Settings, config.Default = from.Name, from.Settings, from.Default
	return config
}

func TestSetLooksUpModels(t *testing.T) {
	set, err := New(Config{OpenAI: openAI(endpoint.Config{}), Anthropic: anthropicOf(endpoint.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	model, name, err := set.Lookup("scripted/echo")
	if err != nil || name != "echo" {
		t.Fatalf("scripted/echo is %q, %v", name, err)
	}
	if answer, err := ask(t, model, name, user("hi")); err != nil || answer.Text != "hi" {
		t.Errorf("got %+v, %v", answer, err)
	}
	for name, says := range map[string]string{
		"echo":          "is not provider/model, such as scripted/tour",
		"/echo":         "is not provider/model",
		"scripted/":     "is not provider/model",
		"other/a/b":     `there is no provider "other", only scripted, openai, openai-responses and anthropic;`,
		"openai/gpt-4o": "there is no key: set OPENAI_API_KEY",

		"openai-responses/gpt-5":     "there is no key: set OPENAI_API_KEY",
		"anthropic/claude-haiku-4-5": "there is no key: set ANTHROPIC_API_KEY, or ANTHROPIC_API_KEY_FILE to a file that holds it, or ANTHROPIC_BASE_URL",
	} {
		if _, _, err := set.Lookup(name); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gives %v, want the name and %q", name, err, says)
		}
	}
	local, err := New(Config{OpenAI: openAI(endpoint.Config{BaseURL: "http://127.0.0.1:11434/v1/"})})
	if err != nil {
		t.Fatal(err)
	}
	if _, name, err := local.Lookup("openai/org/model:7b"); err != nil || name != "org/model:7b" {
		t.Errorf("a model of an endpoint without key: %q, %v", name, err)
	}
}

func TestOpenAIFromEnvironment(t *testing.T) {
	environment := map[string]string{EnvOpenAIKey: "k", EnvOpenAIKeyFile: "f", EnvOpenAIBaseURL: "u"}
	got := OpenAIFromEnvironment(func(name string) string { return environment[name] })
	if got.Key != "k" || got.KeyFile != "f" || got.BaseURL != "u" {
		t.Errorf("from environment: %+v", got)
	}
	environment = map[string]string{EnvAnthropicKey: "k", EnvAnthropicKeyFile: "f", EnvAnthropicBaseURL: "u"}
	got = AnthropicFromEnvironment(func(name string) string { return environment[name] })
	if got.Key != "k" || got.KeyFile != "f" || got.BaseURL != "u" {
		t.Errorf("from environment: %+v", got)
	}
}

// TestKeys: the keys of all providers are kept out of what is stored.
func TestKeys(t *testing.T) {
	file := write(t, t.TempDir(), "key", "sk-of-a-file\n")
	keys := Config{OpenAI: openAI(endpoint.Config{Key: "sk-of-openai"}), Anthropic: anthropicOf(endpoint.Config{KeyFile: file})}.Keys()
	if len(keys) != 2 || keys[EnvOpenAIKey] != "sk-of-openai" || keys[EnvAnthropicKey] != "sk-of-a-file" {
		t.Errorf("keys: %v", keys)
	}
}

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	key := write(t, dir, "key", "secret-key")
	healthy, err := New(Config{OpenAI: openAI(endpoint.Config{KeyFile: key}), Anthropic: anthropicOf(endpoint.Config{KeyFile: key}), Scripted: ScriptedConfig{Dir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range healthy.Doctor() {
		if !check.Ready || check.Problem != "" || check.Remedy != "" || check.Detail == "" {
			t.Errorf("%+v", check)
		}
	}
	ill, err := New(Config{OpenAI: openAI(endpoint.Config{BaseURL: "http://me:secret@host"}), Anthropic: anthropicOf(endpoint.Config{BaseURL: "http://me:secret@host"}), Scripted: ScriptedConfig{Dir: filepath.Join(dir, "none")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range ill.Doctor() {
		if check.Ready || check.Problem == "" || check.Remedy == "" || strings.Contains(check.Problem+check.Remedy+check.Detail, "secret") {
			t.Errorf("%+v", check)
		}
	}
}

func TestSetWithATape(t *testing.T) {
	const testKey = "test-key-0123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"the key is %s\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", testKey)
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	local := openAI(endpoint.Config{BaseURL: server.URL, Key: testKey, Client: client})
	dir := filepath.Join(t.TempDir(), "tapes")
	once := func(config Config) string {
		set, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		model, name, err := set.Lookup("openai/fake-1")
		if err != nil {
			t.Fatal(err)
		}
		return outcome(t, model, actors.ModelRequest{Model: name})
	}
	if got := once(Config{OpenAI: local, Tape: TapeConfig{Dir: dir, Mode: TapeRecord}}); got != "the key is "+testKey {
		t.Errorf("recording: %q", got)
	}
	if got := once(Config{OpenAI: openAI(endpoint.Config{}), Tape: TapeConfig{Dir: dir, Mode: TapePlay}}); got != "the key is [redacted]" {
		t.Errorf("playing without a key: %q", got)
	}
	if _, err := New(Config{Tape: TapeConfig{Mode: TapePlay}}); err == nil {
		t.Error("a tape without a directory was opened")
	}
	if _, err := New(Config{Tape: TapeConfig{Dir: dir, Mode: TapeRecord}, OpenAI: openAI(endpoint.Config{KeyFile: dir})}); err == nil {
		t.Error("a tape records though the key is unreadable")
	}
	if _, err := New(Config{Tape: TapeConfig{Dir: dir, Mode: "rewind"}}); err == nil || !strings.Contains(err.Error(), "record or play") {
		t.Errorf("a tape of an unknown mode gives %v", err)
	}
	unrecorded, err := New(Config{Tape: TapeConfig{Dir: filepath.Join(dir, "none"), Mode: TapePlay}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := unrecorded.Lookup("openai/fake-1"); err == nil || !strings.Contains(err.Error(), "open tape") {
		t.Errorf("a tape that was never recorded gives %v", err)
	}
	if _, _, err := unrecorded.Lookup("scripted/echo"); err != nil {
		t.Errorf("scripts need no tape: %v", err)
	}
}
