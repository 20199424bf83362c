package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{"", "# nothing\n", "model: scripted/tour\n", "tools: [a, b]\n", "- a\n", "model: {a: b}\n", "a: &x [*x]\n", "model: 1\n---\nmodel: 2\n", "endpoints: {groq: {base_url: 'http://h/v1'}}\nendpoints: 5\n", "routes: {a: [b/c, {model: d/e, modes: [execute], needs: [tools], max_context: 9}]}\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := parseConfig(text)
		if err != nil && read.entries != nil {
			t.Errorf("%q: both entries and %v", text, err)
		}
	})
}

// environment is a getenv over a fixed list, and flags alike.
func lookup(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func flagsOf(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, given := values[name]
		return value, given
	}
}

func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "life", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("model: from/file\ncredit: 3\nlisten: 127.0.0.1:1\ntools: [echo, bash]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := resolve(
		lookup(map[string]string{"XDG_CONFIG_HOME": dir, "HOME": dir, "LIFE_CREDIT": "4", "LIFE_LISTEN": "127.0.0.1:2"}),
		flagsOf(map[string]string{"listen": "127.0.0.1:3"}))
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string][2]string{
		"model":  {"from/file", file + ", line 1"},
		"credit": {"4", "environment LIFE_CREDIT"},
		"listen": {"127.0.0.1:3", "flag --listen"},
		"tools":  {"echo,bash", file + ", line 4"},
		"data":   {filepath.Join(dir, ".local", "share", "life"), "default"},
	} {
		if e := c.find(flag); e.value != want[0] || e.source != want[1] {
			t.Errorf("%s is %q from %q, want %q from %q", flag, e.value, e.source, want[0], want[1])
		}
	}
}

func TestConfigIsRefusedByNameAndLine(t *testing.T) {
	for text, want := range map[string]string{
		"model: a/b\nmood: c/d\n":  `line 2: unknown key "mood"; the keys are data, store, store_credentials_file, cluster, peer, peer_name, peer_certs, zone, label, roles, weight, silent, fence, handover, max_live, shared_workspaces, join_older, model`,
		"model: a/b\nmodel: c/d\n": `line 2: model is already set in line 1`,
		"openai_api_key: sk-1\n":   `line 1: openai_api_key does not belong in a file: set OPENAI_API_KEY`,
		"anthropic_api_key: k\n":   `line 1: anthropic_api_key does not belong in a file: set ANTHROPIC_API_KEY`,
		"model:\n":                 `line 1: model: it has no value`,
		"model: {a: b}\n":          `line 1: model: it must be a plain value`,
		"- model\n":                `line 1: the file must be a mapping`,
		"a: b\n---\nc: d\n":        `the file has a second YAML document`,
		"model: [\n":               `did not find expected node content`,
	} {
		if _, err := parseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestTheModelFollowsTheKey(t *testing.T) {
	for keys, want := range map[[2]string]string{{}: "", {"k", ""}: "openai/gpt-5-mini", {"", "k"}: "anthropic/claude-haiku-4-5", {"k", "k"}: "openai/gpt-5-mini"} {
		c, err := resolve(lookup(map[string]string{"HOME": t.TempDir(), "OPENAI_API_KEY": keys[0], "ANTHROPIC_API_KEY": keys[1]}), flagsOf(nil))
		if err != nil || c.get("model") != want {
			t.Errorf("keys %q: %q, %v; want %s", keys, c.get("model"), err, want)
		}
	}
}

// TestEndpointsOfTheFile: endpoints of the configuration file are providers, wait as long as the settings say, and errors name their lines.
func TestEndpointsOfTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	put := func(text string) (config, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return resolve(lookup(map[string]string{"HOME": t.TempDir(), "GROQ": "gsk-1"}), flagsOf(map[string]string{"config": file}))
	}
	c, err := put("model: groq/x\nmodel_silence: 9s\nendpoints:\n  groq: {base_url: 'http://h/v1', key_env: GROQ, first_byte: 2s}\n  box: {base_url: 'http://b', key_file: key}\n")
	if err != nil || len(c.models.Endpoints) != 2 {
		t.Fatal(err, c.models.Endpoints)
	}
	groq, box := c.models.Endpoints[0], c.models.Endpoints[1]
	if groq.Key != "gsk-1" || groq.FirstByte != 2*time.Second || groq.Idle != 9*time.Second || box.FirstByte != 15*time.Minute || box.KeyFile != filepath.Join(filepath.Dir(file), "key") {
		t.Errorf("%+v %+v", groq, box)
	}
	for text, says := range map[string]string{
		"model: a/b\nendpoints:\n  openai: {base_url: 'http://h/v1'}\n": file + ": line 3: endpoints: openai is built in",
		"endpoints:\n  g: {base_url: 'http://h/v1'}\nendpoints: {}\n":   "line 3: endpoints is already set in line 1",
		"endpoint: {}\n":   `unknown key "endpoint"; the keys are data,`,
		"endpoints: [g]\n": "line 1: endpoints must be a mapping",
		"endpoints:\n  g:\n    base_url: http://h/v1\n    dialct: chat\n": `line 4: endpoints: g: unknown key "dialct"`,
	} {
		if _, err := put(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s gives %v, want %q", text, err, says)
		}
	}
}

func TestRoutesAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		"routes: [a/b]\n":                                  `routes: want lists of models by name`,
		"routes:\n  a b: [c/d]\n":                          `"a b" is no name of a route`,
		"routes:\n  fast: []\n":                            `routes: fast: it has no candidates`,
		"routes:\n  fast:\n  - {modus: c/d}\n":             `field modus not found`,
		"routes:\n  fast:\n  - [c/d]\n":                    `fast, line 3: want a model, or {model, modes, needs, max_context}`,
		"routes:\n  fast: [c/d, c/d]\n":                    `fast: invalid: candidate 2: c/d is in the route twice`,
		"routes:\n  fast: [{model: c/d, modes: [fast]}]\n": `unknown operating mode "fast"`,
	} {
		read, err := parseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readRoutes(read.sections[routesKey]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
