package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{"", "# nothing\n", "model: scripted/tour\n", "tools: [a, b]\n", "- a\n", "model: {a: b}\n", "a: &x [*x]\n", "model: 1\n---\nmodel: 2\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parseConfig(text)
		if err != nil && entries != nil {
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
		"model: a/b\nmood: c/d\n":  `line 2: unknown key "mood"; the keys are data, store, store_credentials_file, model`,
		"model: a/b\nmodel: c/d\n": `line 2: model is already set in line 1`,
		"openai_api_key: sk-1\n":   `line 1: openai_api_key does not belong in a file: set OPENAI_API_KEY`,
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
	for key, want := range map[string]string{"": "", "k": "openai/gpt-5-mini"} {
		c, err := resolve(lookup(map[string]string{"HOME": t.TempDir(), "OPENAI_API_KEY": key}), flagsOf(nil))
		if err != nil || c.get("model") != want {
			t.Errorf("key %q: %q, %v; want %s", key, c.get("model"), err, want)
		}
	}
}
