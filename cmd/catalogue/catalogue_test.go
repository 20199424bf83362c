package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/providers"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/models"
)

// verbs is the command line in small.
type verbs struct {
	settings  Settings
	out, errs bytes.Buffer
}

func newVerbs(t *testing.T) *verbs {
	return &verbs{settings: Settings{Data: t.TempDir(), Models: providers.Config{OpenAI: providers.OpenAIFromEnvironment(func(string) string { return "" })}}}
}

// life runs a verb and returns what it prints, errors too.
func (v *verbs) life(of func(*Command) *cobra.Command, args ...string) string {
	v.out.Reset()
	v.errs.Reset()
	c := &Command{
		Print: func() io.Writer { return &v.out }, Note: func() io.Writer { return &v.errs },
		Columns:  func() *tabwriter.Writer { return tabwriter.NewWriter(&v.out, 0, 4, 2, ' ', 0) },
		JSON:     func(value any) error { return json.NewEncoder(&v.out).Encode(value) },
		Usage:    fmt.Errorf,
		Takes:    func(least, most int, _ string) cobra.PositionalArgs { return cobra.RangeArgs(least, most) },
		Settings: func() Settings { return v.settings },
	}
	cmd := of(c)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		return v.out.String() + v.errs.String() + "error: " + err.Error()
	}
	return v.out.String() + v.errs.String()
}

func says(t *testing.T, printed string, wanted ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(printed), " ")
	for _, want := range wanted {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in:\n%s", want, printed)
		}
	}
}

func TestListAndShow(t *testing.T) {
	v := newVerbs(t)
	printed := v.life((*Command).ListModels)
	says(t, printed, "openai/gpt-4o 128000 16384 no yes 2.50 10.00 2025-08 (", "scripted/* - - - yes 0.00 0.00 -", "more of providers that are not configured")
	if strings.Contains(printed, "groq/") {
		t.Errorf("it lists models that cannot be asked:\n%s", printed)
	}
	says(t, v.life((*Command).ListModels, "*"), "groq/llama-3.1-8b-instant 131072", "anthropic/claude-opus-4-5")
	says(t, v.life((*Command).ListModels, "SONNET-4-5"), "anthropic/claude-sonnet-4-5 200000 64000 yes yes 3.00 15.00")
	says(t, v.life((*Command).ListModels, "[a"), "error: \"[a\" is not a part of a name or a pattern")
	says(t, v.life((*Command).ListModels, "nothing"), "error: no model that is known has a name like \"nothing\"")
	says(t, v.life((*Command).ListModels, "openai/gpt-4o", "--json"), `{"models":[{"model":"openai/gpt-4o","price":{"as_of":"2025-08"`, `"input":"2500000"`, `"window":128000`, `"days_old":`)
	says(t, v.life((*Command).ShowPrices, "anthropic/claude-sonnet-4-5-20250929"),
		"anthropic/claude-sonnet-4-5-20250929 3.00 0.30 3.75 6.00 15.00", "with more than 200000 tokens of prompt 6.00 0.60 7.50 12.00 22.50",
		"built in, as read at https://docs.claude.com", "as of 2025-11", "days old: life prices update reads newer prices")
	says(t, v.life((*Command).ShowPrices, "openai/unknown"), "error: the price of openai/unknown is not known", "the setting prices names a file of your own")
	says(t, v.life((*Command).ShowPrices), "openai/o3 2.00 0.50 - - 8.00 2025-08")
	says(t, v.life((*Command).ShowPrices, "--json"), `"model":"openai/o3"`)
}

func TestUpdate(t *testing.T) {
	v := newVerbs(t)
	path := filepath.Join(t.TempDir(), "theirs.json")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05},
		"gpt-new": {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05, "max_input_tokens": 9000},
		"far/away": {"litellm_provider": "far", "input_cost_per_token": 0, "output_cost_per_token": 0},
		"bad": {"litellm_provider": "openai", "input_cost_per_token": 2, "output_cost_per_token": 8},
		"ear": {"mode": "audio_transcription"}}`)
	printed := v.life((*Command).UpdatePrices, path, "--as-of", "2026-11-01")
	says(t, printed, "read 3 prices, as of 2026-11-01; 1 entries are about other things", "refused openai/bad: input_cost_per_token: 2 dollars per token is more than any model costs",
		"openai/gpt-4o 2.00 and 10.00, was 2.50 and 10.00", "openai/gpt-new new: 2.00 and 10.00", "1 other models changed: --json names all", "written to "+models.PricesPath(v.settings.Data))
	says(t, v.life((*Command).ShowPrices, "openai/gpt-4o-2024-08-06"), "2.00 - - - 10.00", "from "+models.PricesPath(v.settings.Data), "LiteLLM", "as of 2026-11-01")
	says(t, v.life((*Command).UpdatePrices, path), "nothing changes")

	v.settings.Own = filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(v.settings.Own, []byte("models: {openai/gpt-new: {input: 1, output: 1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(`{"gpt-new": {"litellm_provider": "openai", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05}}`)
	says(t, v.life((*Command).UpdatePrices, path, "--json"), `"read":1`, `"refused":[]`, `"model":"far/away","before":`, `"hidden":["openai/gpt-new"]`)

	before, err := os.ReadFile(models.PricesPath(v.settings.Data))
	if err != nil {
		t.Fatal(err)
	}
	put(`{"gpt-new": {}}`)
	says(t, v.life((*Command).UpdatePrices, path), "error: read "+path+": none of its 1 entries")
	says(t, v.life((*Command).UpdatePrices, path, "--as-of", "lately"), "error: --as-of is \"lately\"")
	if after, err := os.ReadFile(models.PricesPath(v.settings.Data)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused file changes the table: %v", err)
	}
}

// TestSayOld: that a price is old is said once, until it has changed and is old again.
func TestSayOld(t *testing.T) {
	v := newVerbs(t)
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	say := func(model string) string {
		v.out.Reset()
		if err := v.settings.SayOld(&v.out, model, now); err != nil {
			t.Fatal(err)
		}
		return v.out.String()
	}
	says(t, say("openai/gpt-5"), "the price of openai/gpt-5 is 486 days old (as of 2025-08): life prices update")
	says(t, say("openai/o3"), "the price of openai/o3")
	for _, model := range []string{"openai/gpt-5", "openai/o3", "openai/unknown", "scripted/tour"} {
		if said := say(model); said != "" {
			t.Errorf("of %s it says %s", model, said)
		}
	}
	v.settings.Own = filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(v.settings.Own, []byte("as_of: 2026-01\nmodels: {openai/gpt-5: {input: 1, output: 1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, say("openai/gpt-5"), "333 days old (as of 2026-01)")
	if err := os.WriteFile(filepath.Join(v.settings.Data, saidName), []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, say("openai/gpt-5"), "333 days old")
}

// TestRefresh: what endpoints list is kept under their names; those that do not answer keep what they listed before.
func TestRefresh(t *testing.T) {
	lists := `{"data":[{"id":"llama","context_window":4096},{"id":"bad name"},{"id":"org/big"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if lists == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, lists)
	}))
	defer server.Close()
	v := newVerbs(t)
	says(t, v.life((*Command).RefreshModels), "openai: not listed: there is no key", "no endpoint listed its models")
	at := endpoint.Config{Name: "box", BaseURL: server.URL}
	v.settings.Models.Endpoints = []providers.Endpoint{{Config: at, Dialect: "chat"}}
	says(t, v.life((*Command).RefreshModels), "box: 2 models, 1 with their windows; 1 have names that cannot be used", "openai: not listed: there is no key")
	says(t, v.life((*Command).ListModels), "box/llama 4096 - - - - - -", "box/org/big - - - - - - -", "openai/gpt-5 400000")
	lists = `[{"id":"llama","context_window":8192}]`
	says(t, v.life((*Command).RefreshModels, "--json"), `{"endpoint":"box","models":1,"limits":1,"skipped":0,"as_of":"`+time.Now().UTC().Format(time.DateOnly)+`"}`)
	lists = ""
	says(t, v.life((*Command).RefreshModels), "box: not listed, its list of "+time.Now().UTC().Format(time.DateOnly)+" stays: model overloaded")
	printed := v.life((*Command).ListModels, "box")
	says(t, printed, "box/llama 8192")
	if strings.Contains(printed, "org/big") {
		t.Errorf("a model is listed that is gone:\n%s", printed)
	}
	v.settings.Models.Endpoints[0].Window = 2048
	says(t, v.life((*Command).ListModels, "box"), "box/llama 2048")
	names, err := v.settings.ModelNames()
	if err != nil || !slices.Contains(names, "box/llama") || !slices.Contains(names, "scripted/") || slices.Contains(names, "groq/llama-3.1-8b-instant") {
		t.Errorf("completion offers %v, %v", names, err)
	}
}
