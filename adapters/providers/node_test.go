//go:build node

package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// accumulated is what a reader makes of a stream.
type accumulated struct {
	Text     string           `json:"text"`
	Thinking string           `json:"thinking"`
	Items    []map[string]any `json:"items"` // what the provider wants back of what was thought
	Calls    []struct {
		ID        string         `json:"id"`
		Tool      string         `json:"tool"`
		Arguments map[string]any `json:"arguments"`
	} `json:"calls"`
	Stop   string `json:"stop"`
	Input  int64  `json:"input"`
	Cached int64  `json:"cached"`
	Output int64  `json:"output"`
}

// TestNodeReadsAlike has the vendors' own clients for Node put our recordings of every dialect together, and compares with what we make of them. It
// needs node, npm and a registry, so it is not part of go test ./...: make test-node runs it.
func TestNodeReadsAlike(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "accumulate.mjs"} {
		content, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".sse/")
		w.Header().Set("Content-Type", "text/event-stream")
		http.ServeFile(w, r, filepath.Clean(name+".sse"))
	}))
	defer server.Close()
	for _, d := range dialects() {
		t.Run(d.name, func(t *testing.T) {
			names, err := filepath.Glob(filepath.Join(d.name, "testdata", "*.sse"))
			if err != nil || len(names) == 0 {
				t.Fatalf("%d recordings, %v", len(names), err)
			}
			arguments := []string{"accumulate.mjs", d.name}
			for _, name := range names {
				arguments = append(arguments, server.URL+"/"+name+"/v1")
			}
			var theirs []accumulated
			if err := json.Unmarshal(node(t, dir, "node", arguments...), &theirs); err != nil || len(theirs) != len(names) {
				t.Fatalf("node read %d of %d, %v", len(theirs), len(names), err)
			}
			for i, name := range names {
				model, err := d.open(endpoint.Config{Name: "node", BaseURL: server.URL + "/" + name + "/v1"})
				if err != nil {
					t.Fatal(err)
				}
				answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(theirs[i], ours(t, &answer, theirs[i].Stop), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s (-theirs +ours):\n%s", name, diff)
				}
			}
		})
	}
}

// stops are what the words of the vendors mean.
var stops = map[string]events.StopReason{
	"stop": events.StopEnd, "completed": events.StopEnd, "end_turn": events.StopEnd, "tool_calls": events.StopCalls, "tool_use": events.StopCalls,
	"length": events.StopLength, "max_output_tokens": events.StopLength, "max_tokens": events.StopLength,
	"content_filter": events.StopFiltered, "refusal": events.StopFiltered,
}

// ours is what we make of a stream, as the clients would say it.
func ours(t *testing.T, answer *actors.ModelResponse, stop string) accumulated {
	t.Helper()
	a := accumulated{Text: answer.Text, Input: answer.Usage.Input, Cached: answer.Usage.Cached, Output: answer.Usage.Output, Stop: stop}
	if means := stops[stop]; answer.Stop != means && !(means == events.StopEnd && (len(answer.Calls) > 0 || answer.Stop == events.StopFiltered)) {
		a.Stop = string(answer.Stop)
	}
	for _, block := range answer.Blocks {
		if block.Kind != events.BlockThinking && block.Kind != events.BlockItem {
			continue
		}
		a.Thinking += block.Text
		var raw map[string]any
		if json.Unmarshal([]byte(block.Raw), &raw) != nil {
			continue
		}
		kept := map[string]any{}
		for _, name := range []string{"signature", "data", "encrypted_content"} {
			if raw[name] != nil {
				kept[name] = raw[name]
			}
		}
		if kept["encrypted_content"] != nil {
			kept["id"] = raw["id"]
		}
		if len(kept) > 0 {
			a.Items = append(a.Items, kept)
		}
	}
	for _, call := range answer.Calls {
		if call.Cut {
			continue
		}
		var arguments map[string]any
		if err := json.Unmarshal(call.Arguments, &arguments); err != nil {
			t.Errorf("arguments %s: %v", call.Arguments, err)
		}
		a.Calls = append(a.Calls, struct {
			ID        string         `json:"id"`
			Tool      string         `json:"tool"`
			Arguments map[string]any `json:"arguments"`
		}{call.ID, call.Tool, arguments})
	}
	return a
}

// node runs a program, and gives what it prints.
func node(t *testing.T, dir, name string, arguments ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = dir
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, output, &problems)
	}
	return output
}
