package cmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"example.com/life/events"
	"example.com/life/sagas"
)

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// entry is one value of a configuration file.
type entry struct {
	value string
	line  int
}

// The keys of a configuration file that no flag and no variable has: see providers.ReadEndpoints, readRoutes, permission.ReadRules and mcp.ReadServers.
const (
	endpointsKey = "endpoints"
	routesKey    = "routes"
	rulesKey     = "permission_rules"
	serversKey   = "mcp"
)

// isGroup reports whether a key may be a mapping: sandbox: {mode: ns} is sandbox_mode: ns.
func isGroup(key string) bool { return key == "sandbox" || key == "files" }

// readGroup reads settings whose names begin alike, as a mapping.
func readGroup(name string, group *yaml.Node, read *configFile) error {
	for i := 0; i+1 < len(group.Content); i += 2 {
		key, node := *group.Content[i], group.Content[i+1]
		key.Value = name + "_" + key.Value
		if err := checkKey(&key, read); err != nil {
			return err
		}
		value, err := scalar(node)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", node.Line, key.Value, err)
		}
		read.entries[key.Value] = entry{value, key.Line}
	}
	return nil
}

// configFile is what a configuration file says.
type configFile struct {
	entries  map[string]entry
	sections map[string]*yaml.Node // of endpoints, routes, rules and MCP servers
}

// readConfigFile reads a configuration file; an empty path means that there is none.
func readConfigFile(path string) (configFile, error) {
	if path == "" {
		return configFile{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return configFile{}, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err != nil {
		return configFile{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxConfigFile {
		return configFile{}, fmt.Errorf("read configuration %s: it is larger than %d bytes", path, maxConfigFile)
	}
	read, err := parseConfig(text)
	if err != nil {
		return configFile{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return read, nil
}

// parseConfig reads a mapping of setting names to texts, numbers or lists of them. What it does not know is an error.
func parseConfig(text []byte) (configFile, error) {
	read := configFile{entries: map[string]entry{}, sections: map[string]*yaml.Node{}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return read, nil // empty, or comments only
	} else if err != nil {
		return configFile{}, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return configFile{}, errors.New("the file has a second YAML document; only one is allowed")
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return read, nil
	}
	if root.Kind != yaml.MappingNode {
		return configFile{}, fmt.Errorf("line %d: the file must be a mapping of names to values, such as model: scripted/tour", root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		if !isGroup(key.Value) || node.Kind != yaml.MappingNode { // the keys in it are checked
			if err := checkKey(key, &read); err != nil {
				return configFile{}, err
			}
		}
		if key.Value == endpointsKey || key.Value == routesKey || key.Value == rulesKey || key.Value == serversKey {
			read.sections[key.Value], read.entries[key.Value] = node, entry{line: key.Line}
			continue
		}
		if isGroup(key.Value) && node.Kind == yaml.MappingNode {
			if err := readGroup(key.Value, node, &read); err != nil {
				return configFile{}, err
			}
			continue
		}
		value, err := scalar(node)
		if err != nil {
			return configFile{}, fmt.Errorf("line %d: %s: %w", node.Line, key.Value, err)
		}
		read.entries[key.Value] = entry{value, key.Line}
	}
	return read, nil
}

// readRoutes reads what models named route/NAME stand for: lists of candidates by name. A candidate is a model, or a mapping that says what
// else it is for. No node: there are no routes.
func readRoutes(node *yaml.Node) (map[string][]events.Candidate, error) {
	if node == nil {
		return nil, nil
	}
	var written map[string][]yaml.Node
	if err := node.Decode(&written); err != nil {
		return nil, fmt.Errorf("routes: want lists of models by name, such as {fast: [openai/gpt-4o-mini, scripted/echo]}: %w", err)
	}
	routes := map[string][]events.Candidate{}
	for name, list := range written {
		if !routeName.MatchString(name) {
			return nil, fmt.Errorf("routes: %q is no name of a route: want letters, digits, '.', '-' and '_'", name)
		}
		for i := range list {
			candidate, err := parseCandidate(&list[i])
			if err != nil {
				return nil, fmt.Errorf("routes: %s, line %d: %w", name, list[i].Line, err)
			}
			routes[name] = append(routes[name], candidate)
		}
		if err := sagas.ValidateRoute(routes[name]); err != nil || len(list) == 0 {
			return nil, fmt.Errorf("routes: %s: %w", name, cmp.Or(err, errors.New("it has no candidates")))
		}
	}
	return routes, nil
}

var routeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func parseCandidate(node *yaml.Node) (events.Candidate, error) {
	if node.Kind == yaml.ScalarNode {
		return events.Candidate{Model: node.Value}, nil
	}
	encoded, err := yaml.Marshal(node)
	if err != nil {
		return events.Candidate{}, err
	}
	var written struct {
		Model      string                 `yaml:"model"`
		Modes      []events.OperatingMode `yaml:"modes"`
		Needs      []events.Need          `yaml:"needs"`
		MaxContext int64                  `yaml:"max_context"`
	}
	strict := yaml.NewDecoder(bytes.NewReader(encoded))
	strict.KnownFields(true)
	if err := strict.Decode(&written); err != nil {
		return events.Candidate{}, fmt.Errorf("want a model, or {model, modes, needs, max_context}: %w", err)
	}
	return events.Candidate(written), nil
}

func checkKey(key *yaml.Node, read *configFile) error {
	var known []string
	for _, s := range settings() {
		if s.secret && s.key() == key.Value {
			return fmt.Errorf("line %d: %s does not belong in a file: set %s, or name a file with %s_file", key.Line, key.Value, s.env, key.Value)
		}
		if !s.secret {
			known = append(known, s.key())
		}
	}
	known = append(known, endpointsKey, routesKey, rulesKey, serversKey)
	now, was := renamed(strings.ReplaceAll(key.Value, "_", "-"))
	if now = strings.ReplaceAll(now, "-", "_"); was && slices.Contains(known, now) {
		return fmt.Errorf("line %d: %s is called %s now", key.Line, key.Value, now)
	}
	if !slices.Contains(known, key.Value) {
		return fmt.Errorf("line %d: unknown key %q; the keys are %s", key.Line, key.Value, strings.Join(known, ", "))
	}
	if before, twice := read.entries[key.Value]; twice {
		return fmt.Errorf("line %d: %s is already set in line %d", key.Line, key.Value, before.line)
	}
	return nil
}

func scalar(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "", errors.New("it has no value")
		}
		return node.Value, nil
	case yaml.SequenceNode:
		parts := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return "", errors.New("a list here holds plain values")
			}
			parts[i] = item.Value
		}
		return strings.Join(parts, ","), nil
	case yaml.DocumentNode, yaml.MappingNode, yaml.AliasNode:
	}
	return "", errors.New("it must be a plain value or a list of them")
}
