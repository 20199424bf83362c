package skills

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cut separates the front matter from the text. body begins after the closing line, which is line end.
func cut(data []byte) (matter string, body []byte, end int, code, problem string) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if strings.TrimRight(string(first), " \t\r") != "---" {
		return "", data, 0, "no-front-matter", `the file must begin with a line "---", the fields name and description, and another line "---"`
	}
	var lines []string
	size := 0
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		text := strings.TrimSuffix(string(line), "\r")
		if text == "---" || text == "..." {
			return strings.Join(lines, "\n"), rest, n, "", ""
		}
		if size += len(text) + 1; size > maxMatter {
			return "", nil, 0, "front-matter-large", fmt.Sprintf("the front matter is longer than %d KiB, or no line \"---\" ends it", maxMatter>>10)
		}
		lines = append(lines, text)
	}
	return "", nil, 0, "front-matter-open", `no line "---" ends the front matter`
}

// fields are the front matter's, in their order.
type fields struct {
	names  []string
	values map[string]*yaml.Node
	lines  map[string]int
}

// read reads the front matter. Line numbers are those of the file. Values that only need quotes to be YAML are read as if they had them.
func (r *reader) readMatter(matter string) (fields, bool) {
	root, err := document(matter)
	if err != nil {
		quoted, line := quote(matter)
		if line == 0 {
			r.add(lineOf(err), Unusable, "yaml", "the front matter is not YAML: "+reason(err))
			return fields{}, false
		}
		again, errQuoted := document(quoted)
		if errQuoted != nil {
			r.add(lineOf(err), Unusable, "yaml", "the front matter is not YAML: "+reason(err))
			return fields{}, false
		}
		r.add(line+1, Invalid, "unquoted", "the value must be quoted to be YAML; it is read as if it was: "+reason(err))
		root = again
	}
	if root == nil {
		r.add(1, Unusable, "front-matter-empty", "the front matter is empty: name and description are required")
		return fields{}, false
	}
	if root.Kind != yaml.MappingNode {
		r.add(root.Line+1, Unusable, "yaml", "the front matter must be fields with values, such as name: NAME")
		return fields{}, false
	}
	if count(root, map[*yaml.Node]bool{}, maxNodes) < 0 {
		r.add(1, Unusable, "yaml", fmt.Sprintf("the front matter repeats itself: it has more than %d values", maxNodes))
		return fields{}, false
	}
	return r.collect(root), true
}

func (r *reader) collect(root *yaml.Node) fields {
	f := fields{values: map[string]*yaml.Node{}, lines: map[string]int{}}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if _, twice := f.values[key.Value]; twice {
			r.add(key.Line+1, Invalid, "duplicate-field", fmt.Sprintf("%s is there twice; the first counts", show(key.Value)))
			continue
		}
		f.names = append(f.names, key.Value)
		f.values[key.Value], f.lines[key.Value] = value, key.Line+1
	}
	return f
}

// document is the only document of a YAML text; nil if it is empty.
func document(text string) (*yaml.Node, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		return nil, err
	}
	if len(node.Content) == 0 {
		return nil, nil
	}
	return node.Content[0], nil
}

// count is what is left of a number of nodes; negative if there are more of them.
func count(n *yaml.Node, above map[*yaml.Node]bool, left int) int {
	if left--; left < 0 || above[n] {
		return -1
	}
	above[n] = true
	defer delete(above, n)
	if n.Kind == yaml.AliasNode {
		return count(n.Alias, above, left)
	}
	for _, below := range n.Content {
		if left = count(below, above, left); left < 0 {
			return -1
		}
	}
	return left
}

// quote puts quotes around the values of the first level that begin no quoted text, block or collection of several lines. line is the first that changed.
func quote(matter string) (quoted string, line int) {
	lines := strings.Split(matter, "\n")
	for i, text := range lines {
		key, value, found := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		if !found || key == "" || strings.ContainsAny(key, " \t#\"'{[") || value == "" || strings.ContainsAny(value[:1], `"'|>`) {
			continue
		}
		if plain(text) {
			continue
		}
		lines[i] = key + ": " + strconv.Quote(value)
		if line == 0 {
			line = i + 1
		}
	}
	return strings.Join(lines, "\n"), line
}

// plain reports whether a line is YAML by itself.
func plain(line string) bool {
	root, err := document(line)
	return err == nil && root != nil && root.Kind == yaml.MappingNode
}

// reason is what YAML's reader says, without its name and its line, which is one of the front matter.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(text, "line "); found {
		if _, after, found := strings.Cut(rest, ": "); found {
			text = after
		}
	}
	return strings.Join(strings.Fields(text), " ")
}

// lineOf is the line of the file that YAML's reader names; 0 if it names none.
func lineOf(err error) int {
	rest, found := strings.CutPrefix(err.Error(), "yaml: line ")
	if !found {
		return 0
	}
	number, _, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	return n + 1
}
