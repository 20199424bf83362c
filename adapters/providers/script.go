package providers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
	"example.com/life/events/pattern"
	"example.com/life/sagas"
)

// Bounds of a script, and of what it makes.
const (
	maxScript = 1 << 20 // bytes of YAML
	maxRules  = 1000

	maxScriptText = 1 << 20 // bytes of one reply's text, or of one call's arguments
)

// scriptFile is a script as people write it; docs of each field are in the package comment.
type scriptFile struct {
	Rules []ruleFile `yaml:"rules"`
}

type ruleFile struct {
	When struct {
		Role     string  `yaml:"role"`
		Contains string  `yaml:"contains"`
		Equals   *string `yaml:"equals"`
		Matches  string  `yaml:"matches"`
		Tool     string  `yaml:"tool"`
		Failed   *bool   `yaml:"failed"`
		Round    int     `yaml:"round"`
	} `yaml:"when"`
	Text  string `yaml:"text"`
	Calls []struct {
		Tool      string `yaml:"tool"`
		Arguments any    `yaml:"arguments"`
	} `yaml:"calls"`
	Stop  string `yaml:"stop"`
	Usage *struct {
		Input  int64 `yaml:"input"`
		Output int64 `yaml:"output"`
		Cached int64 `yaml:"cached"`
	} `yaml:"usage"`
	Latency time.Duration `yaml:"latency"`
	Failure *struct {
		Class      events.ErrorClass `yaml:"class"`
		Detail     string            `yaml:"detail"`
		RetryAfter time.Duration     `yaml:"retry_after"`
		Times      int               `yaml:"times"`
	} `yaml:"failure"`
}

// script is a compiled script: asking it parses and compiles nothing.
type script struct {
	name  string
	rules []rule
}

type rule struct {
	line     int
	role     sagas.Role
	contains string
	equals   *string
	matches  *regexp.Regexp
	tool     string
	failed   *bool
	round    int

	text    template
	calls   []scriptCall
	stop    events.StopReason
	usage   *events.Usage // nil: estimated from the sizes
	latency time.Duration
	failure *actors.ModelError
	times   int // how many attempts at one question fail; 0 means all
}

type scriptCall struct {
	tool      string
	arguments template
}

// parseScript decodes and compiles a script. Errors name the script and the line.
func parseScript(name string, source []byte) (*script, error) {
	if len(source) > maxScript {
		return nil, fmt.Errorf("read script %s: it has %d bytes, at most %d are allowed", name, len(source), maxScript)
	}
	var file scriptFile
	if err := decodeYAML(source, &file); err != nil {
		return nil, fmt.Errorf("read script %s: %w", name, err)
	}
	if len(file.Rules) == 0 || len(file.Rules) > maxRules {
		return nil, fmt.Errorf("read script %s: it has %d rules, want 1 to %d", name, len(file.Rules), maxRules)
	}
	lines := ruleLines(source)
	compiled := &script{name: name, rules: make([]rule, len(file.Rules))}
	for i := range file.Rules {
		compiled.rules[i].line = lines[min(i, len(lines)-1)]
		if err := compiled.rules[i].compile(&file.Rules[i]); err != nil {
			return nil, fmt.Errorf("read script %s: rule at line %d: %w", name, compiled.rules[i].line, err)
		}
	}
	return compiled, nil
}

// decodeYAML reads exactly one document and refuses fields that it does not know.
func decodeYAML(source []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it holds more than one YAML document")
	}
	return nil
}

// ruleLines finds the line of each rule, for errors. The source has been decoded before.
func ruleLines(source []byte) []int {
	lines := []int{1}
	var document yaml.Node
	if yaml.Unmarshal(source, &document) != nil || len(document.Content) == 0 {
		return lines
	}
	fields := document.Content[0].Content
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i].Value == "rules" && len(fields[i+1].Content) > 0 {
			lines = lines[:0]
			for _, node := range fields[i+1].Content {
				lines = append(lines, node.Line)
			}
		}
	}
	return lines
}

func (r *rule) compile(file *ruleFile) error {
	if err := r.compileWhen(file); err != nil {
		return fmt.Errorf("when: %w", err)
	}
	var groups []string
	if r.matches != nil {
		groups = r.matches.SubexpNames()
	}
	var err error
	if r.text, err = parseTemplate(file.Text, groups); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if err := r.compileCalls(file, groups); err != nil {
		return err
	}
	if err := r.compileStop(file.Stop); err != nil {
		return err
	}
	if file.Latency < 0 {
		return fmt.Errorf("latency: %s is negative", file.Latency)
	}
	r.latency = file.Latency
	if u := file.Usage; u != nil {
		if u.Input < 0 || u.Output < 0 || u.Cached < 0 || u.Cached > u.Input {
			return errors.New("usage: want input, output and cached ≥ 0, and cached as a part of input")
		}
		r.usage = &events.Usage{Input: u.Input, Output: u.Output, Cached: u.Cached}
	}
	return r.compileFailure(file)
}

func (r *rule) compileWhen(file *ruleFile) error {
	when := &file.When
	switch role := sagas.Role(when.Role); role {
	case "", sagas.RoleUser, sagas.RoleAssistant, sagas.RoleTool:
		r.role = role
	default:
		return fmt.Errorf("role %q: want user, assistant or tool", when.Role)
	}
	if when.Tool != "" || when.Failed != nil {
		if r.role != "" && r.role != sagas.RoleTool {
			return fmt.Errorf("tool and failed are of a tool's message, not of role %s", r.role)
		}
		r.role = sagas.RoleTool
	}
	if when.Matches != "" {
		compiled, err := pattern.Compile(when.Matches)
		if err != nil {
			return fmt.Errorf("matches: %w", err)
		}
		r.matches = compiled.Regexp()
	}
	if when.Round < 0 {
		return fmt.Errorf("round %d: rounds count from 1", when.Round)
	}
	r.contains, r.equals, r.tool, r.failed, r.round = when.Contains, when.Equals, when.Tool, when.Failed, when.Round
	return nil
}

func (r *rule) compileCalls(file *ruleFile, groups []string) error {
	if len(file.Calls) > endpoint.MaxCalls {
		return fmt.Errorf("calls: there are %d, at most %d are allowed", len(file.Calls), endpoint.MaxCalls)
	}
	for i, call := range file.Calls {
		if call.Tool == "" {
			return fmt.Errorf("calls[%d]: tool is missing", i)
		}
		arguments := call.Arguments
		if arguments == nil {
			arguments = map[string]any{}
		}
		encoded, err := events.PlainJSON(arguments)
		if err != nil {
			return fmt.Errorf("calls[%d].arguments: %w", i, err)
		}
		if len(encoded) > maxScriptText {
			return fmt.Errorf("calls[%d].arguments: they have %d bytes, at most %d are allowed", i, len(encoded), maxScriptText)
		}
		compiled, err := parseTemplate(string(encoded), groups)
		if err != nil {
			return fmt.Errorf("calls[%d].arguments: %w", i, err)
		}
		compiled.json = true
		r.calls = append(r.calls, scriptCall{tool: call.Tool, arguments: compiled})
	}
	return nil
}

func (r *rule) compileStop(stop string) error {
	switch reason := events.StopReason(stop); reason {
	case "":
		r.stop = events.StopEnd
		if len(r.calls) > 0 {
			r.stop = events.StopCalls
		}
	case events.StopEnd, events.StopCalls, events.StopLength, events.StopFiltered:
		if (reason == events.StopCalls) != (len(r.calls) > 0) && reason != events.StopLength {
			return fmt.Errorf("stop: %s does not fit %d calls", stop, len(r.calls))
		}
		r.stop = reason
	default:
		return fmt.Errorf("stop %q: want end, calls, length or filtered", stop)
	}
	return nil
}

func (r *rule) compileFailure(file *ruleFile) error {
	failure := file.Failure
	if failure == nil {
		if file.Text == "" && len(r.calls) == 0 {
			return errors.New("it does nothing: give it text, calls or failure")
		}
		return nil
	}
	switch failure.Class {
	case events.ErrorRateLimited, events.ErrorOverloaded, events.ErrorTruncated, events.ErrorContext,
		events.ErrorAuth, events.ErrorRefused, events.ErrorInvalid, events.ErrorTimeout:
	default:
		return fmt.Errorf("failure: class %q: want rate_limited, overloaded, truncated, context_too_long, auth, refused, invalid or timeout", failure.Class)
	}
	if failure.RetryAfter < 0 || failure.Times < 0 {
		return errors.New("failure: retry_after and times must not be negative")
	}
	if replies := file.Text != "" || len(r.calls) > 0; replies != (failure.Times > 0) {
		return errors.New("failure: with times it needs the reply that follows, without times it can have none")
	}
	detail := failure.Detail
	if detail == "" {
		detail = fmt.Sprintf("the script's rule at line %d fails", r.line)
	}
	r.failure = &actors.ModelError{Class: failure.Class, RetryAfter: failure.RetryAfter, Detail: detail}
	r.times = failure.Times
	return nil
}
