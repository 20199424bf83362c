package permission

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"example.com/life/events"
)

// Bounds of what is taken apart. What is beyond them is not judged part by part: a person looks at it.
const (
	mostLine     = 100_000 // bytes of a command line
	mostKeyed    = 16_384  // bytes of one that has a key of its own
	mostCommands = 200     // simple commands of one line
	mostNested   = 8       // command lines in command lines, as in bash -c
	mostDepth    = 250     // brackets within brackets; the parser recurses
)

// Word is one word of a command.
type Word struct {
	Text string
	Open bool // the shell completes it when it runs: a variable, a pattern, the output of a command
	Glob bool // and all that is open is a pattern of file names
}

// Command is one simple command of a command line.
type Command struct {
	Forms  [][]Word // as written, then without one wrapper after another, such as env or timeout; the last is what runs
	Raised bool     // one of the wrappers gives it other rights
	Read   bool     // it is a shell, and the line that it runs is taken apart too
}

// words is what runs in the end.
func (c *Command) words() []Word { return c.Forms[len(c.Forms)-1] }

// String is the command as it was written, with … for what is open.
func (c *Command) String() string { return join(c.Forms[0]) }

func join(words []Word) string {
	parts := make([]string, len(words))
	for i, w := range words {
		quoted, err := syntax.Quote(w.Text, syntax.LangBash)
		if parts[i] = quoted; err != nil || w.Open {
			parts[i] = w.Text
		}
	}
	return strings.Join(parts, " ")
}

// File is a file that a redirection opens.
type File struct {
	Path  Word
	Write bool
}

// Line is a command line, taken apart.
type Line struct {
	Commands []Command
	Files    []File
	Doubts   []string // why it cannot be told what the line does
	Moves    []Word   // where cd goes

	normal string // the line as it would be written, without comments and blanks; empty if it is not understood
}

// key is equal for lines that are the same but for blanks and comments; empty for what is not understood.
func (l *Line) key(tool string) string {
	if l.normal == "" {
		return ""
	}
	return events.HashBytes([]byte(tool + "\x00" + l.normal))
}

// Parse takes a command line apart as bash would. It never fails: of what bash does not understand, or does with text that is not in the line, there is a doubt.
func Parse(text string) *Line {
	r := reader{line: &Line{}, unsafe: map[string]bool{}, counted: map[string]bool{}}
	r.read(text, 0)
	r.checkArithmetic()
	return r.line
}

// reader takes a command line apart.
type reader struct {
	line    *Line
	depth   int             // of command lines in command lines
	unsafe  map[string]bool // variables that hold text which is not a number
	counted map[string]bool // variables that hold nothing but numbers
	numbers []string        // variables that are evaluated as arithmetic
}

func (r *reader) doubt(format string, args ...any) {
	if doubt := fmt.Sprintf(format, args...); len(r.line.Doubts) < 20 && !slices.Contains(r.line.Doubts, doubt) {
		r.line.Doubts = append(r.line.Doubts, doubt)
	}
}

func (r *reader) read(text string, depth int) {
	switch {
	case len(text) > mostLine:
		r.doubt("it is longer than %d bytes", mostLine)
		return
	case depth > mostNested:
		r.doubt("more than %d command lines are in one another", mostNested)
		return
	case strings.ContainsRune(text, 0):
		r.doubt("it holds a NUL character")
		return
	case nesting(text) > mostDepth:
		r.doubt("its brackets are nested more than %d deep", mostDepth)
		return
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		r.doubt("it is not understood: %v", err)
		return
	}
	if depth == 0 && len(text) <= mostKeyed {
		var normal strings.Builder
		if syntax.NewPrinter().Print(&normal, file) == nil {
			r.line.normal = normal.String()
		}
	}
	before := r.depth
	r.depth = depth
	r.node(file)
	r.depth = before
}

// nesting is at most how deep brackets are in one another.
func nesting(text string) int {
	depth, most := 0, 0
	for _, c := range []byte(text) {
		switch c {
		case '(', '{', '`', '"', '[', '!': // what the parser recurses for
			depth++
			most = max(most, depth)
		case ')', '}', ']':
			depth = max(depth-1, 0)
		case '\n', ';':
			if depth <= 1 {
				depth = 0
			}
		}
	}
	return most
}

// node visits everything below a node that can run, name a file or set a variable.
func (r *reader) node(top syntax.Node) {
	syntax.Walk(top, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			for _, redirect := range n.Redirs {
				r.redirect(redirect)
			}
		case *syntax.CallExpr:
			r.call(n)
		case *syntax.DeclClause:
			r.declare(n)
		case *syntax.Assign:
			r.assign(n)
		case *syntax.WordIter:
			r.loop(n)
		case *syntax.FuncDecl:
			r.function(n)
		case *syntax.CoprocClause:
			r.doubt("it starts a coprocess")
		case *syntax.ParamExp:
			r.parameter(n)
		default:
			r.arithmetic(n)
		}
		return true
	})
}

// function refuses to look through a function that goes by the name of a program.
func (r *reader) function(f *syntax.FuncDecl) {
	if f.Name != nil && (known(f.Name.Value) || wrapper(f.Name.Value) != nil) {
		r.doubt("a function is named %s, as a program is", f.Name.Value)
	}
}

// call takes one simple command apart.
func (r *reader) call(n *syntax.CallExpr) {
	if len(n.Args) == 0 {
		return // assignments only, which are visited
	}
	if len(r.line.Commands) >= mostCommands {
		r.doubt("it has more than %d commands", mostCommands)
		return
	}
	words := make([]Word, len(n.Args))
	for i, arg := range n.Args {
		words[i] = literal(arg)
	}
	r.command(words)
}

// command adds a command, without its wrappers.
func (r *reader) command(words []Word) {
	if len(r.line.Commands) >= mostCommands {
		r.doubt("it has more than %d commands", mostCommands)
		return
	}
	c := Command{Forms: [][]Word{words}}
	for range mostNested {
		if words[0].Open {
			r.doubt("what %s runs is not in the line", clip(words[0].Text))
			break
		}
		unwrap := wrapper(base(words[0].Text))
		if unwrap == nil {
			break
		}
		next, doubt := unwrap(r, words)
		if doubt != "" {
			r.doubt("%s", doubt)
		}
		if base(words[0].Text) == "sudo" || base(words[0].Text) == "doas" {
			c.Raised = true
		}
		if len(next) == 0 {
			break
		}
		words = next
		c.Forms = append(c.Forms, words)
	}
	if len(c.Forms) > mostNested {
		r.doubt("more than %d commands run one another", mostNested)
	}
	at := len(r.line.Commands)
	r.line.Commands = append(r.line.Commands, c)
	read := r.inspect(words)
	r.line.Commands[at].Read = read
}

// redirect notes the file that a redirection opens.
func (r *reader) redirect(n *syntax.Redirect) {
	switch n.Op {
	case syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc:
		return
	case syntax.RdrIn:
		r.file(literal(n.Word), false)
	case syntax.DplIn, syntax.DplOut:
		if w := literal(n.Word); w.Open || strings.Trim(w.Text, "0123456789-") != "" { // >&file
			r.file(w, true)
		}
	default:
		r.file(literal(n.Word), true)
	}
	if n.N != nil && strings.HasPrefix(n.N.Value, "{") {
		r.setVariable(strings.Trim(n.N.Value, "{}"), true)
	}
}

func (r *reader) file(path Word, write bool) {
	if len(r.line.Files) >= mostCommands {
		r.doubt("it opens more than %d files", mostCommands)
		return
	}
	r.line.Files = append(r.line.Files, File{Path: path, Write: write})
}

// literal is what a word is after quotes are removed, and whether that is all of it.
func literal(w *syntax.Word) Word {
	var out Word
	if w == nil {
		return Word{Open: true}
	}
	var text strings.Builder
	patterns := true
	for i, part := range w.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			plain, pattern := unescape(p.Value)
			text.WriteString(plain)
			if pattern {
				out.Open = true
			}
			if i == 0 && strings.HasPrefix(p.Value, "~") && (len(plain) > 1 && plain[1] != '/' || strings.Contains(p.Value, `\`)) {
				out.Open, patterns = true, false // somebody else's home
			}
		case *syntax.SglQuoted:
			text.WriteString(p.Value)
			if p.Dollar && strings.Contains(p.Value, `\`) {
				out.Open, patterns = true, false
			}
		case *syntax.DblQuoted:
			if !quoted(&text, p) {
				out.Open, patterns = true, false
			}
		default:
			text.WriteString("…")
			out.Open, patterns = true, false
			if _, is := part.(*syntax.ExtGlob); is {
				patterns = true
			}
		}
	}
	out.Text, out.Glob = text.String(), out.Open && patterns
	return out
}

// quoted adds what is between double quotes, and reports whether that is all of it.
func quoted(text *strings.Builder, q *syntax.DblQuoted) bool {
	whole := true
	for _, part := range q.Parts {
		lit, is := part.(*syntax.Lit)
		if !is {
			text.WriteString("…")
			whole = false
			continue
		}
		for i := 0; i < len(lit.Value); i++ {
			c := lit.Value[i]
			if c == '\\' && i+1 < len(lit.Value) && strings.IndexByte("$`\"\\\n", lit.Value[i+1]) >= 0 {
				i++
				if c = lit.Value[i]; c == '\n' {
					continue
				}
			}
			text.WriteByte(c)
		}
	}
	return whole
}

// unescape removes the backslashes of an unquoted text, and reports whether the shell takes it for a pattern.
func unescape(value string) (plain string, pattern bool) {
	if !strings.ContainsAny(value, `\*?[{`) {
		return value, false
	}
	var text strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value):
			i++
			if value[i] != '\n' {
				text.WriteByte(value[i])
			}
			continue
		case strings.IndexByte("*?[", c) >= 0,
			c == '{' && strings.Contains(value[i:], "}") && (strings.Contains(value[i:], ",") || strings.Contains(value[i:], "..")):
			pattern = true
		}
		text.WriteByte(c)
	}
	if text.String() == "[" { // the command of that name
		pattern = false
	}
	return text.String(), pattern
}

// base is a program's name without its directory.
func base(program string) string { return program[strings.LastIndexByte(program, '/')+1:] }

func clip(text string) string {
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}
