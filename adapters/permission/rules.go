package permission

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v3"

	"example.com/life/events"
)

// Scope says whose rules they are.
type Scope string

// The scopes. None is stronger than another, but a project's rules only forbid and ask, unless it is trusted; and what the administrator has asked is asked
// each time.
const (
	ScopeAdmin   Scope = "admin"
	ScopeUser    Scope = "user"
	ScopeProject Scope = "project"
)

// Rule says what becomes of calls that it is about.
type Rule struct {
	Tool     string
	Match    Match
	Decision events.Verdict
	Scope    Scope
	Reason   string
	At       string // its file and line
}

// Match is what a rule is about; all that it names has to fit.
type Match struct {
	Command   [][]string        `json:"command,omitempty"`   // the first words of a command: alternatives for each; * is any
	Path      string            `json:"path,omitempty"`      // a pattern of files, relative to the workspace or absolute
	Domain    string            `json:"domain,omitempty"`    // of URLs: it and what is below it
	Server    string            `json:"server,omitempty"`    // of MCP tools
	Arguments map[string]string `json:"arguments,omitempty"` // patterns of values, by where they are, such as options.force
}

// String says what the match is about.
func (m Match) String() string {
	var parts []string
	for _, alternatives := range m.Command {
		parts = append(parts, strings.Join(alternatives, "|"))
	}
	for _, named := range [][2]string{{"path", m.Path}, {"domain", m.Domain}, {"server", m.Server}} {
		if named[1] != "" {
			parts = append(parts, named[0]+" "+named[1])
		}
	}
	for _, where := range slices.Sorted(maps.Keys(m.Arguments)) {
		parts = append(parts, where+" "+m.Arguments[where])
	}
	return strings.Join(parts, " ")
}

// empty reports whether a match is about every call.
func (m *Match) empty() bool {
	return len(m.Command) == 0 && m.Path == "" && m.Domain == "" && m.Server == "" && len(m.Arguments) == 0
}

// Bounds of a file of rules.
const (
	maxRulesFile = 1 << 20
	maxRules     = 1000
)

// ruleNode is a rule as files have it.
type ruleNode struct {
	Tool  string `yaml:"tool"`
	Match struct {
		Command   []yaml.Node       `yaml:"command"`
		Path      string            `yaml:"path"`
		Domain    string            `yaml:"domain"`
		Server    string            `yaml:"server"`
		Arguments map[string]string `yaml:"arguments"`
	} `yaml:"match"`
	Decision events.Verdict `yaml:"decision"`
	Scope    Scope          `yaml:"scope"`
	Reason   string         `yaml:"reason"`
	Tests    struct {
		Match    []yaml.Node `yaml:"match"`
		NotMatch []yaml.Node `yaml:"not_match"`
	} `yaml:"tests"`
}

// ReadFile reads a file of rules: a mapping with the list rules. Every test in it is run.
func ReadFile(file string, scope Scope) ([]Rule, error) {
	opened, err := openRegular(os.OpenFile, file)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer opened.Close()
	return readFrom(opened, file, scope)
}

// openRegular opens what is a regular file, and waits for nothing else.
func openRegular(open func(string, int, fs.FileMode) (*os.File, error), file string) (*os.File, error) {
	opened, err := open(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", file)
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

func readFrom(opened io.Reader, file string, scope Scope) ([]Rule, error) {
	text, err := io.ReadAll(io.LimitReader(opened, maxRulesFile+1))
	if err != nil {
		return nil, fmt.Errorf("read rules %s: %w", file, err)
	}
	if len(text) > maxRulesFile {
		return nil, fmt.Errorf("read rules %s: it is larger than %d bytes", file, maxRulesFile)
	}
	var document struct {
		Rules yaml.Node `yaml:"rules"`
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	if err := strict.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read rules %s: want a mapping with the list rules: %w", file, err)
	}
	return ReadRules(&document.Rules, file, scope)
}

// ReadRules reads a list of rules, and runs every test in it. No node: there are none.
func ReadRules(list *yaml.Node, file string, scope Scope) ([]Rule, error) {
	if list == nil || list.Kind == 0 || list.Tag == "!!null" {
		return nil, nil
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) > maxRules {
		return nil, fmt.Errorf("%s, line %d: rules must be a list of at most %d", file, list.Line, maxRules)
	}
	rules := make([]Rule, 0, len(list.Content))
	for i, node := range list.Content {
		rule, tests, err := readRule(node, scope)
		if err == nil {
			rule.At = fmt.Sprintf("%s:%d", file, node.Line)
			err = tests.run(&rule)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: rule %d: %w", file, node.Line, i+1, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func readRule(node *yaml.Node, scope Scope) (Rule, *tests, error) {
	encoded, err := yaml.Marshal(node)
	if err != nil {
		return Rule{}, nil, err
	}
	var w ruleNode
	strict := yaml.NewDecoder(bytes.NewReader(encoded))
	strict.KnownFields(true)
	if err := strict.Decode(&w); err != nil {
		return Rule{}, nil, fmt.Errorf("want {tool, match, decision, scope, reason, tests}: %w", err)
	}
	rule := Rule{
		Tool: w.Tool, Decision: w.Decision, Scope: scope, Reason: w.Reason,
		Match: Match{Path: w.Match.Path, Domain: strings.ToLower(strings.Trim(w.Match.Domain, ".")), Server: w.Match.Server, Arguments: w.Match.Arguments},
	}
	for i := range w.Match.Command {
		alternatives, err := readAlternatives(&w.Match.Command[i])
		if err != nil {
			return Rule{}, nil, err
		}
		rule.Match.Command = append(rule.Match.Command, alternatives)
	}
	if rule.Tool == "" {
		if rule.Tool = "*"; len(rule.Match.Command) > 0 {
			rule.Tool = shellTool
		}
	}
	return rule, &tests{match: w.Tests.Match, notMatch: w.Tests.NotMatch}, rule.check(w.Scope)
}

func readAlternatives(node *yaml.Node) ([]string, error) {
	var one string
	var many []string
	if node.Decode(&one) == nil && one != "" {
		return []string{one}, nil
	}
	if err := node.Decode(&many); err != nil || len(many) == 0 || slices.Contains(many, "") {
		return nil, errors.New("match.command: want words, each a text or a list of alternatives, such as [git, [push, fetch]]")
	}
	return many, nil
}

// check refuses rules that do not mean what they say.
func (r *Rule) check(scope Scope) error {
	switch {
	case r.Decision != events.VerdictAllow && r.Decision != events.VerdictAsk && r.Decision != events.VerdictDeny:
		return fmt.Errorf("decision is %q, want allow, ask or deny", r.Decision)
	case scope != "" && scope != r.Scope:
		return fmt.Errorf("scope is %q, but the rules of this file are those of the %s", scope, r.Scope)
	case len(r.Match.Command) > 0 && r.Tool != shellTool:
		return fmt.Errorf("match.command is about the tool %s, not about %s", shellTool, r.Tool)
	case !doublestar.ValidatePattern(r.Tool) || !doublestar.ValidatePattern(r.Match.Path) || !doublestar.ValidatePattern(r.Match.Server):
		return errors.New("a pattern of tool, path or server is malformed")
	case strings.ContainsAny(r.Match.Domain, "/:*@ "):
		return fmt.Errorf("match.domain is %q, want a name such as example.com, which stands for what is below it too", r.Match.Domain)
	}
	for where, pattern := range r.Match.Arguments {
		if where == "" || !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("match.arguments: the pattern %q of %q is malformed", pattern, where)
		}
	}
	return nil
}

// tests are calls that a rule has to be about, and calls that it must not be about.
type tests struct {
	match, notMatch []yaml.Node
}

func (t *tests) run(rule *Rule) error {
	for _, group := range []struct {
		nodes []yaml.Node
		want  bool
	}{{t.match, true}, {t.notMatch, false}} {
		for i := range group.nodes {
			call, err := rule.example(&group.nodes[i])
			if err != nil {
				return err
			}
			if got := rule.about(call); got != group.want {
				name, verb := "match", "is not about"
				if got {
					name, verb = "not_match", "is about"
				}
				return fmt.Errorf("its test %s: %s fails: the rule %s it", name, clip(string(call.arguments)), verb)
			}
		}
	}
	return nil
}

// example is the call that a test stands for: a command line, a path or a URL, as the rule has it, or {tool, arguments}.
func (r *Rule) example(node *yaml.Node) (*call, error) {
	var text string
	if node.Decode(&text) == nil && node.Kind == yaml.ScalarNode {
		tool, key := r.Tool, "command"
		switch {
		case len(r.Match.Command) > 0:
		case r.Match.Path != "":
			key = "path"
		case r.Match.Domain != "":
			key = "url"
		case r.Match.Server != "":
			tool = "mcp__" + text + "__any"
		}
		arguments, err := json.Marshal(map[string]string{key: text})
		return newCall(tool, arguments), err
	}
	var full struct {
		Tool      string         `yaml:"tool"`
		Arguments map[string]any `yaml:"arguments"`
	}
	if err := node.Decode(&full); err != nil || full.Tool == "" {
		return nil, errors.New("tests: want a command line, a path or a URL, as the rule's match has it, or {tool, arguments}")
	}
	arguments, err := json.Marshal(full.Arguments)
	return newCall(full.Tool, arguments), err
}

// about reports whether a rule decides about a call: an allowing one about all of it, another one about some of it.
func (r *Rule) about(c *call) bool {
	if r.Decision != events.VerdictAllow {
		return c.fits(r) != no
	}
	for i := range c.parts {
		if r.fits(c, &c.parts[i]) != yes {
			return false
		}
	}
	return len(c.parts) > 0
}

// fit says how sure it is that a rule is about something.
type fit int

const (
	no    fit = iota
	maybe     // the shell decides
	yes
)

// fits says whether a rule is about some of a call.
func (c *call) fits(r *Rule) (best fit) {
	for i := range c.parts {
		best = max(best, r.fits(c, &c.parts[i]))
	}
	return best
}

// fits says whether a rule is about a part of a call.
func (r *Rule) fits(c *call, p *part) fit {
	strict := r.Decision == events.VerdictAllow
	pathsOfShell := c.line != nil && !strict && r.Match.Path != "" && r.Tool != "web_fetch" // .env is .env, whoever reads it
	if match, err := doublestar.Match(r.Tool, c.tool); (err != nil || !match) && !pathsOfShell {
		return no
	}
	fit := yes
	if len(r.Match.Command) > 0 {
		fit = min(fit, p.commandFits(r.Match.Command, strict))
	}
	if r.Match.Path != "" {
		fit = min(fit, p.pathFits(c, r.Match.Path, strict))
	}
	if r.Match.Domain != "" {
		fit = min(fit, p.domainFits(c, r.Match.Domain, strict))
	}
	if r.Match.Server != "" {
		server, _, is := strings.Cut(strings.TrimPrefix(c.tool, "mcp__"), "__")
		if match, err := doublestar.Match(r.Match.Server, server); !is || !strings.HasPrefix(c.tool, "mcp__") || err != nil || !match {
			fit = no
		}
	}
	for where, pattern := range r.Match.Arguments {
		if !argumentFits(c.values, where, pattern) {
			fit = no
		}
	}
	return fit
}

// commandFits compares the first words of a command.
func (p *part) commandFits(pattern [][]string, strict bool) (best fit) {
	if p.command == nil {
		return no
	}
	if strict {
		words := p.command.words()
		if _, plain := plainName(words[0]); p.command.Raised {
			words = p.command.Forms[0]
		} else if !plain && !slices.Contains(pattern[0], words[0].Text) {
			return no
		}
		return exactly(pattern, words)
	}
	for _, form := range p.command.Forms {
		best = max(best, generously(pattern, form))
	}
	return best
}

// exactly reports whether words begin as a pattern says, one by one.
func exactly(pattern [][]string, words []Word) fit {
	if len(words) < len(pattern) {
		return no
	}
	for i, alternatives := range pattern {
		text := words[i].Text
		if i == 0 && !slices.Contains(alternatives, text) {
			text, _ = plainName(words[0])
		}
		if !slices.Contains(alternatives, "*") && (words[i].Open || !slices.Contains(alternatives, text)) {
			return no
		}
	}
	return yes
}

// generously reports whether a command may be what a pattern names: options may stand anywhere and be written together, and values of options before a word
// of the pattern are passed over.
func generously(pattern [][]string, words []Word) fit {
	result := yes
	switch program := words[0]; {
	case program.Open:
		result = maybe
	case !slices.Contains(pattern[0], base(program.Text)) && !slices.Contains(pattern[0], program.Text) && !slices.Contains(pattern[0], "*"):
		return no
	}
	rest, after := words[1:], false // after an option
	for _, alternatives := range pattern[1:] {
		if strings.HasPrefix(alternatives[0], "-") {
			result = min(result, hasOption(words[1:], alternatives))
			continue
		}
		found := no
		for found == no && len(rest) > 0 {
			w := rest[0]
			rest = rest[1:]
			switch {
			case w.Open:
				found = maybe
			case slices.Contains(alternatives, w.Text), slices.Contains(alternatives, "*"):
				found = yes
			case strings.HasPrefix(w.Text, "-"):
				after = !strings.Contains(w.Text, "=")
				continue
			case !after:
				return no
			}
			after = false
		}
		if result = min(result, found); result == no {
			return no
		}
	}
	return result
}

// hasOption reports whether one of some options is among words: -rf is also -fr, and -r -f.
func hasOption(words []Word, options []string) fit {
	short, found := letters(words), no
	for _, option := range options {
		if strings.HasPrefix(option, "--") {
			if slices.ContainsFunc(words, func(w Word) bool {
				return w.Text == option || strings.HasPrefix(w.Text, option+"=") || abbreviates(w.Text, option)
			}) {
				return yes
			}
			continue
		}
		all := true
		for _, letter := range option[1:] {
			all = all && (strings.ContainsRune(short, letter) || letter == 'r' && strings.ContainsRune(short, 'R') ||
				letter == 'f' && hasLong(words, "--force") || letter == 'r' && hasLong(words, "--recursive"))
		}
		if all {
			return yes
		}
	}
	if slices.ContainsFunc(words, func(w Word) bool { return w.Open && !w.Glob }) {
		found = maybe
	}
	return found
}

// hasLong reports whether a long option is among words, or what may be a shortened one.
func hasLong(words []Word, option string) bool {
	return slices.ContainsFunc(words, func(w Word) bool {
		return w.Text == option || strings.HasPrefix(w.Text, option+"=") || abbreviates(w.Text, option)
	})
}

// pathFits compares the files that a part names.
func (p *part) pathFits(c *call, pattern string, strict bool) (best fit) {
	if strict && p.command != nil {
		return no // what a command does with a file is not known
	}
	for _, name := range p.names(c) {
		best = max(best, pathMatches(c, pattern, name))
	}
	return best
}

func pathMatches(c *call, pattern string, w Word) fit {
	candidates := []string{w.Text}
	if c.line != nil && !path.IsAbs(w.Text) {
		dir := ""
		for _, move := range c.line.Moves {
			dir = path.Join(dir, move.Text)
			candidates = append(candidates, path.Join(dir, w.Text), path.Join(move.Text, w.Text))
		}
	}
	for _, name := range candidates {
		name = path.Clean(name)
		inside, is := strings.CutPrefix(name, path.Clean(c.workspace)+"/")
		if !is || c.workspace == "" {
			inside = name
		}
		for _, form := range []string{name, inside} {
			if match, err := doublestar.Match(pattern, form); err == nil && match {
				return yes
			}
		}
		if w.Glob { // of the pattern, what is no pattern itself may be what the shell finds
			if match, err := path.Match(path.Base(name), path.Base(pattern)); err == nil && match {
				return maybe
			}
		}
	}
	if w.Open && !w.Glob {
		return maybe
	}
	return no
}

// names are the words of a part that may be files.
func (p *part) names(c *call) (names []Word) {
	switch {
	case p.file != nil:
		return []Word{p.file.Path}
	case p.command != nil:
		for _, w := range p.command.Forms[0] {
			names = append(names, w)
			for _, sign := range []string{"=", ":", "@"} {
				if _, value, is := strings.Cut(w.Text, sign); is {
					names = append(names, Word{Text: value, Open: w.Open, Glob: w.Glob})
				}
			}
			if len(w.Text) > 2 && w.Text[0] == '-' && w.Text[1] != '-' {
				names = append(names, Word{Text: w.Text[2:], Open: w.Open, Glob: w.Glob})
			}
		}
		return names
	}
	for _, key := range []string{"path", "file", "file_path", "from", "to", "source", "destination", "dir", "directory"} {
		if text, is := c.values[key].(string); is {
			names = append(names, Word{Text: text})
		}
	}
	return names
}

// domainFits compares the hosts of a part's URLs. Allowing is about calls whose only URLs they are.
func (p *part) domainFits(c *call, domain string, strict bool) fit {
	if strict && p.command != nil {
		return no
	}
	var urls []Word
	if p.command != nil {
		urls = p.command.Forms[0]
	} else if text, is := c.values["url"].(string); is {
		urls = []Word{{Text: text}}
	}
	best := no
	for _, w := range urls {
		switch host, malformed := hostOf(w.Text); {
		case host == domain || strings.HasSuffix(host, "."+domain):
			best = yes
		case malformed && !strict, w.Open && !w.Glob && p.command != nil && reachesOut(base(p.command.words()[0].Text), p.command.words()[1:]):
			best = max(best, maybe)
		}
	}
	return best
}

// hostOf is the host of a URL. Of a command's words those count too that a program may take for one.
func hostOf(text string) (host string, malformed bool) {
	whole := strings.Contains(text, "://")
	if !whole {
		if strings.HasPrefix(text, "-") || !strings.Contains(text, ".") {
			return "", false
		}
		text = "https://" + text
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return "", whole
	}
	return strings.ToLower(strings.TrimSuffix(parsed.Hostname(), ".")), false
}

// argumentFits compares a value of the arguments.
func argumentFits(values map[string]any, where, pattern string) bool {
	var value any = values
	for key := range strings.SplitSeq(where, ".") {
		within, is := value.(map[string]any)
		if !is {
			return false
		}
		if value, is = within[key]; !is {
			return false
		}
	}
	text, is := value.(string)
	if !is {
		encoded, err := json.Marshal(value)
		if err != nil {
			return false
		}
		text = string(encoded)
	}
	match, err := doublestar.Match(pattern, text)
	return err == nil && match || pattern == "*"
}
