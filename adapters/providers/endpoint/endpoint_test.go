package endpoint

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// named is a configuration with the names of openai.
func named(config Config) Config {
	config.Name, config.Default = "openai", "https://api.openai.com/v1"
	config.Settings = Settings{BaseURL: "OPENAI_BASE_URL", Key: "OPENAI_API_KEY", KeyFile: "OPENAI_API_KEY_FILE"}
	return config
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		config Config
		says   string
	}{
		"no key":              {Config{}, "set OPENAI_API_KEY"},
		"not a URL":           {Config{BaseURL: "localhost:8080"}, "OPENAI_BASE_URL"},
		"credentials":         {Config{BaseURL: "http://me:secret@host/v1"}, "credentials belong in"},
		"a query":             {Config{BaseURL: "http://host/v1?key=secret"}, "credentials belong in"},
		"a key of two lines":  {Config{Key: "secret\nsecret"}, "OPENAI_API_KEY"},
		"no such file":        {Config{KeyFile: filepath.Join(dir, "none")}, "none"},
		"an empty file":       {Config{KeyFile: file("empty", "\n", 0o600)}, "is empty"},
		"a file that is none": {Config{KeyFile: dir}, "read key"},
		"a huge file":         {Config{KeyFile: file("huge", strings.Repeat("k", maxKey+1), 0o600)}, "not one line"},
		"negative idle":       {Config{Key: "k", Idle: -1}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(named(test.config))
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q and no secret", err, test.says)
			}
		})
	}
	loose := Config{KeyFile: file("loose", "test-key"+"\n", 0o644)}
	if key, err := loose.ReadKey(); err != nil || key != "test-key" {
		t.Errorf("key from file: %q, %v", key, err)
	}
	if warning := loose.Warning(); !strings.Contains(warning, "loose") || !strings.Contains(warning, "-rw-r--r--") {
		t.Errorf("warning of a readable key file: %q", warning)
	}
	if warning := (Config{KeyFile: file("tight", "test-key", 0o600)}).Warning(); warning != "" {
		t.Errorf("warning of a private key file: %q", warning)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", " 0.25 ", 250 * time.Millisecond},
		{"Retry-After", "Sun, 01 Mar 2026 12:01:30 GMT", 90 * time.Second},
		{"Retry-After", "Sun, 01 Mar 2026 11:00:00 GMT", 0},
		{"Retry-After", "-3", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "NaN", 0},
		{"Retry-After", "1e300", maxRetryAfter},
		{"Retry-After", "Inf", maxRetryAfter},
		{"Retry-After-Ms", "120", 120 * time.Millisecond},
		{"Retry-After-Ms", "oops", 0},
		{"X-Other", "5", 0},
	} {
		header := http.Header{}
		header.Set(test.name, test.value)
		if got := retryAfter(header, 429, now); got != test.want {
			t.Errorf("%s: %s gives %s, want %s", test.name, test.value, got, test.want)
		}
	}
	both := http.Header{"Retry-After": {"9"}, "Retry-After-Ms": {"80"}}
	if got := retryAfter(both, 429, now); got != 80*time.Millisecond {
		t.Errorf("both headers give %s, want the finer one", got)
	}
}
