package providers

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
	"example.com/life/sagas"
)

// toolbox stands for the file tools, with the simplest output that could be theirs.
func toolbox(dir, tool string, arguments map[string]string) (string, error) {
	path := filepath.Join(dir, arguments["path"])
	switch tool {
	case "list_dir":
		entries, err := os.ReadDir(path)
		var names strings.Builder
		for _, entry := range entries {
			fmt.Fprintln(&names, fs.FormatDirEntry(entry)[2:])
		}
		return names.String(), err
	case "read_file":
		content, err := os.ReadFile(path)
		return string(content), err
	case "write_file":
		return "written", os.WriteFile(path, []byte(arguments["content"]), 0o600)
	case "edit_file":
		content, err := os.ReadFile(path)
		if err != nil || strings.Count(string(content), arguments["old"]) != 1 {
			return "", fmt.Errorf("%s does not hold the old text once (%w)", path, err)
		}
		changed := strings.Replace(string(content), arguments["old"], arguments["new"], 1)
		return "edited", os.WriteFile(path, []byte(changed), 0o600)
	case "bash":
		command := exec.Command("bash", "-c", arguments["command"])
		command.Dir = dir
		output, err := command.CombinedOutput()
		return string(output), err
	}
	return "", fmt.Errorf("there is no tool %s", tool)
}

// tour runs the tour on a directory, with each answer asked of a new model, as after a crash.
func tour(t *testing.T, dir string) (tools []string, summary string) {
	t.Helper()
	messages := []sagas.Message{user("Show me what you can do.")}
	for range 20 {
		model, err := Scripted(ScriptedConfig{})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := ask(t, model, "tour", messages...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ask(t, model, "tour", messages...)
		if diff := cmp.Diff(answer, again); diff != "" || err != nil {
			t.Errorf("the same question has another answer: %v\n%s", err, diff)
		}
		if answer.Stop == events.StopEnd {
			return tools, answer.Text
		}
		messages = append(messages, sagas.Message{Role: sagas.RoleAssistant, Text: events.Text{Inline: answer.Text}, Calls: answer.Calls})
		for _, call := range answer.Calls {
			var arguments map[string]string
			if err := json.Unmarshal(call.Arguments, &arguments); err != nil {
				t.Fatal(err)
			}
			tools = append(tools, call.Tool)
			text, err := toolbox(dir, call.Tool, arguments)
			answered := sagas.Message{Role: sagas.RoleTool, CallID: call.ID, Tool: call.Tool, Text: events.Text{Inline: text}}
			if err != nil {
				answered.Failed, answered.Text.Inline = true, err.Error()
			}
			messages = append(messages, answered)
		}
	}
	t.Fatal("the tour does not end")
	return nil, ""
}

func TestTourWorksOnADirectory(t *testing.T) {
	sample, err := Sample()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, sample); err != nil {
		t.Fatal(err)
	}
	tools, summary := tour(t, dir)
	if want := []string{"list_dir", "read_file", "edit_file", "bash"}; !cmp.Equal(tools, want) {
		t.Errorf("the tour used %v, want %v", tools, want)
	}
	if !strings.Contains(summary, "Done.") || !strings.Contains(summary, "2 pages, and the lamp is lit") || !strings.Contains(summary, "Status: reviewed") {
		t.Errorf("the summary is %q", summary)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !strings.Contains(string(readme), "\nStatus: reviewed\n") {
		t.Errorf("README.md is %s, %v", readme, err)
	}
	if tools, summary = tour(t, dir); !strings.Contains(summary, "Done.") || !cmp.Equal(tools, []string{"list_dir", "read_file", "write_file", "edit_file", "bash"}) {
		t.Errorf("a second tour used %v and says %q", tools, summary)
	}
}

func TestTourWorksOnAnyDirectory(t *testing.T) {
	empty := t.TempDir()
	if tools, summary := tour(t, empty); !strings.Contains(summary, "Done.") || !cmp.Equal(tools, []string{"list_dir", "write_file", "edit_file", "bash"}) {
		t.Errorf("on an empty directory: %v, %q", tools, summary)
	}
	code := t.TempDir()
	write(t, code, "main.go", "package main\n")
	if tools, summary := tour(t, code); !strings.Contains(summary, "Done.") || !cmp.Equal(tools, []string{"list_dir", "read_file", "write_file", "edit_file", "bash"}) {
		t.Errorf("on a directory without README: %v, %q", tools, summary)
	}
	if _, summary := tour(t, filepath.Join(empty, "none")); !strings.Contains(summary, "list_dir did not work, so I stop the tour here") {
		t.Errorf("on no directory: %q", summary)
	}
}
