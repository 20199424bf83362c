package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// entry is one value of a configuration file.
type entry struct {
	value string
	line  int
}

// readConfigFile reads a configuration file; an empty path means that there is none.
func readConfigFile(path string) (map[string]entry, error) {
	if path == "" {
		return map[string]entry{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxConfigFile {
		return nil, fmt.Errorf("read configuration %s: it is larger than %d bytes", path, maxConfigFile)
	}
	entries, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return entries, nil
}

// parseConfig reads a mapping of setting names to texts, numbers or lists of them. What it does not know is an error.
func parseConfig(text []byte) (map[string]entry, error) {
	entries := map[string]entry{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return entries, nil // empty, or comments only
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has a second YAML document; only one is allowed")
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return entries, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: the file must be a mapping of names to values, such as model: scripted/tour", root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		if err := checkKey(key, entries); err != nil {
			return nil, err
		}
		value, err := scalar(node)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", node.Line, key.Value, err)
		}
		entries[key.Value] = entry{value, key.Line}
	}
	return entries, nil
}

func checkKey(key *yaml.Node, entries map[string]entry) error {
	var known []string
	for _, s := range settings() {
		if s.secret && s.key() == key.Value {
			return fmt.Errorf("line %d: %s does not belong in a file: set %s, or name a file with %s_file", key.Line, key.Value, s.env, key.Value)
		}
		if !s.secret {
			known = append(known, s.key())
		}
	}
	now, was := renamed(strings.ReplaceAll(key.Value, "_", "-"))
	if now = strings.ReplaceAll(now, "-", "_"); was && slices.Contains(known, now) {
		return fmt.Errorf("line %d: %s is called %s now", key.Line, key.Value, now)
	}
	if !slices.Contains(known, key.Value) {
		return fmt.Errorf("line %d: unknown key %q; the keys are %s", key.Line, key.Value, strings.Join(known, ", "))
	}
	if before, twice := entries[key.Value]; twice {
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
