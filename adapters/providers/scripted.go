package providers

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

//go:embed scripts/*.yaml
var builtinScripts embed.FS

// BuiltinScripts are the names of the scripts that are always there. "tour" works on a directory with the file tools,
// "echo" repeats the last user message, and "bench" makes a turn of two rounds with one call of the tool "echo".
func BuiltinScripts() []string { return []string{"tour", "echo", "bench"} }

// ScriptedConfig says where scripts are.
type ScriptedConfig struct {
	Dir string // of YAML files, named by their path in it; empty: only the built-in scripts
}

// scripted is a model that follows scripts. It is stateless given the conversation, but for failure.times: see attempts.
type scripted struct {
	dir      string
	builtin  map[string]*script
	attempts attempts

	mu    sync.Mutex
	files map[string]scriptOnDisk
}

// scriptOnDisk is a compiled file, good while the file keeps its time and size.
type scriptOnDisk struct {
	script *script
	time   time.Time
	size   int64
}

// Scripted returns a model that needs no key: it does what a script says. The question's model names the script.
func Scripted(config ScriptedConfig) (actors.Model, error) {
	model := &scripted{dir: config.Dir, builtin: map[string]*script{}, files: map[string]scriptOnDisk{}}
	if config.Dir != "" {
		if info, err := os.Stat(config.Dir); err != nil {
			return nil, fmt.Errorf("open scripts directory: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("open scripts directory: %s is not a directory", config.Dir)
		}
	}
	for _, name := range BuiltinScripts() {
		source, err := builtinScripts.ReadFile("scripts/" + name + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("read built-in script %s: %w", name, err)
		}
		if model.builtin[name], err = parseScript(name, source); err != nil {
			return nil, err
		}
	}
	return model, nil
}

// Ask answers with the first rule that matches the conversation.
func (m *scripted) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if err := ctx.Err(); err != nil {
		return actors.ModelResponse{}, err
	}
	script, ok := m.builtin[question.Model]
	if !ok {
		var err error
		if script, err = m.open(question.Model); err != nil {
			return actors.ModelResponse{}, unusable(err)
		}
	}
	scene := newScene(question.Messages)
	rule := script.match(&scene)
	if rule == nil {
		return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorInvalid, Detail: fmt.Sprintf(
			"no rule of script %s matches the last message (round %d): %s", script.name, scene.round, scene.describe())}
	}
	if rule.failure != nil && (rule.times == 0 || m.attempts.next(script.name, rule.line, question) <= rule.times) {
		if err := pause(ctx, rule.latency); err != nil {
			return actors.ModelResponse{}, err
		}
		failure := *rule.failure
		return actors.ModelResponse{}, &failure
	}
	answer, err := rule.answer(&scene, question)
	if err != nil {
		return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorInvalid, Detail: fmt.Sprintf(
			"script %s, rule at line %d: %v", script.name, rule.line, err)}
	}
	if err := stream(ctx, answer.Text, rule.latency, delta); err != nil {
		return actors.ModelResponse{}, err
	}
	return answer, nil
}

// open returns a script of the directory, compiled again if the file has changed. The name may leave out ".yaml".
func (m *scripted) open(name string) (*script, error) {
	if m.dir == "" {
		return nil, fmt.Errorf("there is no script %q: the built-in ones are %s, and no scripts directory is configured",
			events.Clip(name, 200), strings.Join(BuiltinScripts(), ", "))
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("script %q is not a path inside the scripts directory", events.Clip(name, 200))
	}
	file, err := os.OpenInRoot(m.dir, name)
	if errors.Is(err, fs.ErrNotExist) && filepath.Ext(name) == "" {
		file, err = os.OpenInRoot(m.dir, name+".yaml")
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no script %q: the built-in ones are %s, others are YAML files in %s",
				events.Clip(name, 200), strings.Join(BuiltinScripts(), ", "), m.dir)
		}
		return nil, fmt.Errorf("open script: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open script %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open script %s: it is not a regular file", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.files[name]; ok && known.time.Equal(info.ModTime()) && known.size == info.Size() {
		return known.script, nil
	}
	source, err := io.ReadAll(io.LimitReader(file, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("read script %s: %w", name, err)
	}
	compiled, err := parseScript(name, source)
	if err != nil {
		return nil, err
	}
	m.files[name] = scriptOnDisk{script: compiled, time: info.ModTime(), size: info.Size()}
	return compiled, nil
}

// unusable is an error of a file that a reply is made of. That there is no file left to open is the host's affair, and passes.
func unusable(err error) error {
	if storage.OutOfFiles(err) {
		return err
	}
	return &actors.ModelError{Class: events.ErrorInvalid, Detail: err.Error()}
}

// scene is the conversation as rules see it.
type scene struct {
	messages []sagas.Message
	last     *sagas.Message
	round    int // of the turn, from 1: one more than the replies since the last user message
	groups   []string
	matched  *regexp.Regexp
}

func newScene(messages []sagas.Message) scene {
	s := scene{messages: messages, last: &sagas.Message{}, round: 1}
	for i := len(messages) - 1; i >= 0 && s.last.Role == ""; i-- {
		if messages[i].Role != sagas.RoleContext { // rules answer what was said or done
			s.last = &messages[i]
		}
	}
	for i := len(messages) - 1; i >= 0 && messages[i].Role != sagas.RoleUser; i-- {
		if messages[i].Role == sagas.RoleAssistant {
			s.round++
		}
	}
	return s
}

func (s *scene) describe() string {
	switch s.last.Role {
	case sagas.RoleTool:
		outcome := "gave"
		if s.last.Failed {
			outcome = "failed with"
		}
		return fmt.Sprintf("tool %s %s %q", s.last.Tool, outcome, events.Clip(s.last.Text.Inline, 200))
	case sagas.RoleUser, sagas.RoleAssistant, sagas.RoleContext:
		return fmt.Sprintf("%s said %q", s.last.Role, events.Clip(s.last.Text.Inline, 200))
	}
	return "there is no message"
}

func (s *script) match(scene *scene) *rule {
	for i := range s.rules {
		if s.rules[i].match(scene) {
			return &s.rules[i]
		}
	}
	return nil
}

func (r *rule) match(scene *scene) bool {
	last := scene.last
	if r.role != "" && r.role != last.Role || r.tool != "" && r.tool != last.Tool {
		return false
	}
	if r.failed != nil && *r.failed != last.Failed || r.round != 0 && r.round != scene.round {
		return false
	}
	text := last.Text.Inline
	if r.equals != nil && strings.TrimSpace(*r.equals) != strings.TrimSpace(text) || !strings.Contains(text, r.contains) {
		return false
	}
	if r.matches == nil {
		return true
	}
	scene.groups, scene.matched = r.matches.FindStringSubmatch(text), r.matches
	return scene.groups != nil
}

// answer fills in the rule's reply.
func (r *rule) answer(scene *scene, question actors.ModelRequest) (actors.ModelResponse, error) {
	answer := actors.ModelResponse{Stop: r.stop, Model: question.Model}
	var err error
	if answer.Text, err = r.text.fill(scene.value); err != nil {
		return actors.ModelResponse{}, fmt.Errorf("text: %w", err)
	}
	if len(r.calls) > 0 {
		answer.Calls = make([]events.ModelCall, len(r.calls))
	}
	for i := range r.calls {
		arguments, err := r.calls[i].arguments.fill(scene.value)
		if err != nil {
			return actors.ModelResponse{}, fmt.Errorf("calls[%d].arguments: %w", i, err)
		}
		answer.Calls[i] = events.ModelCall{
			ID:        "call-" + strconv.Itoa(len(question.Messages)) + "-" + strconv.Itoa(i+1),
			Tool:      r.calls[i].tool,
			Arguments: json.RawMessage(arguments),
		}
	}
	if r.usage != nil {
		answer.Usage = *r.usage
	} else {
		answer.Usage = estimate(question, answer)
	}
	return answer, nil
}

// value gives a placeholder's value; what the conversation does not have is empty.
func (s *scene) value(name string) string {
	switch name {
	case placeText:
		return s.last.Text.Inline
	case placeTool:
		return s.last.Tool
	case placePrompt:
		return s.lastOf(sagas.RoleUser)
	case placeContext:
		return s.lastOf(sagas.RoleContext)
	case placeResult:
		return s.lastOf(sagas.RoleTool)
	}
	if argument, ok := strings.CutPrefix(name, placeCallDot); ok {
		return s.argument(argument)
	}
	number, err := strconv.Atoi(name)
	if err != nil {
		number = s.matched.SubexpIndex(name)
	}
	return s.groups[number]
}

func (s *scene) lastOf(role sagas.Role) string {
	for i := len(s.messages) - 1; i >= 0; i-- {
		if s.messages[i].Role == role {
			return s.messages[i].Text.Inline
		}
	}
	return ""
}

// argument finds the call that the last message answers, and gives one of its arguments.
func (s *scene) argument(name string) string {
	for i := len(s.messages) - 1; i >= 0; i-- {
		for _, call := range s.messages[i].Calls {
			if call.ID != s.last.CallID {
				continue
			}
			var arguments map[string]any
			if json.Unmarshal(call.Arguments, &arguments) != nil || arguments[name] == nil {
				return ""
			}
			if text, ok := arguments[name].(string); ok {
				return text
			}
			return fmt.Sprint(arguments[name])
		}
	}
	return ""
}

// estimate counts tokens as if each were four bytes.
func estimate(question actors.ModelRequest, answer actors.ModelResponse) events.Usage {
	input, output := len(question.System), len(answer.Text)
	for i := range question.Messages {
		input += len(question.Messages[i].Text.Inline)
	}
	for i := range answer.Calls {
		output += len(answer.Calls[i].Arguments)
	}
	return events.Usage{Input: int64(input/4 + 1), Output: int64(output/4 + 1)}
}

// stream hands the text over word by word, the latency spread evenly over the words.
func stream(ctx context.Context, text string, latency time.Duration, delta func(actors.Delta)) error {
	if delta == nil || text == "" {
		return pause(ctx, latency)
	}
	step := latency / time.Duration(strings.Count(text, " ")+1)
	for at := 0; at < len(text); {
		if err := pause(ctx, step); err != nil {
			return err
		}
		word := strings.IndexByte(text[at:], ' ') + 1
		if word == 0 {
			word = len(text) - at
		}
		delta(actors.Delta{Kind: events.BlockText, Offset: at, Text: text[at : at+word]})
		at += word
	}
	return nil
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
