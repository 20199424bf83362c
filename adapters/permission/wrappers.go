package permission

import (
	"slices"
	"strings"
)

// unwrap returns the command that a wrapper runs; nothing where it runs none. A doubt says why it cannot be told.
type unwrap func(r *reader, words []Word) (inner []Word, doubt string)

// wrapper is how a program is looked through that runs the command in its arguments; nil for programs that do not.
func wrapper(program string) unwrap {
	switch program {
	case "env":
		return unwrapEnv
	case "timeout":
		return operands(1, options{short: "vf", arg: "sk", long: []string{"foreground", "preserve-status", "verbose"}, longArg: []string{"signal", "kill-after"}})
	case "nice":
		return operands(0, options{short: "0123456789", arg: "n", longArg: []string{"adjustment"}})
	case "ionice":
		return operands(0, options{short: "t", arg: "cn", longArg: []string{"class", "classdata"}})
	case "nohup":
		return operands(0, options{})
	case "setsid":
		return operands(0, options{short: "cfw", long: []string{"ctty", "fork", "wait"}})
	case "time":
		return operands(0, options{short: "pvaq", arg: "f", long: []string{"portability", "verbose", "quiet"}, longArg: []string{"format"}})
	case "stdbuf":
		return operands(0, options{arg: "ioe", longArg: []string{"input", "output", "error"}})
	case "xargs":
		return unwrapXargs
	case "sudo":
		return unwrapSudo
	case "doas":
		return operands(0, options{short: "nL", arg: "u"})
	case "command":
		return unwrapCommand
	case "builtin", "noglob":
		return operands(0, options{})
	case "exec":
		return operands(0, options{short: "cl", arg: "a"})
	case "busybox", "toybox":
		return operands(0, options{})
	}
	return nil
}

// options are those of a wrapper. Of others it is not known whether the next word belongs to them.
type options struct {
	short, arg    string // letters: of options by themselves, and of those with an argument
	long, longArg []string
}

// skip returns how many words the options take.
func (o options) skip(words []Word) (n int, doubt string) {
	for i := 0; i < len(words); i++ {
		text := words[i].Text
		switch {
		case words[i].Open && (strings.HasPrefix(text, "-") || strings.HasPrefix(text, "…")):
			return i, "an option that is not in the line decides what runs"
		case text == "--":
			return i + 1, ""
		case !strings.HasPrefix(text, "-") || text == "-":
			return i, ""
		case strings.HasPrefix(text, "--"):
			name, _, joined := strings.Cut(text[2:], "=")
			switch {
			case slices.Contains(o.longArg, name) && !joined:
				i++
			case !slices.Contains(o.long, name) && !slices.Contains(o.longArg, name):
				return i, "its option " + clip(text) + " is not known here"
			}
		default:
			next, known := o.letters(text[1:])
			if !known {
				return i, "its option " + clip(text) + " is not known here"
			}
			i += next
		}
	}
	return len(words), ""
}

// letters reads short options, and reports how many of the next words belong to them.
func (o options) letters(letters string) (next int, known bool) {
	for i := range len(letters) {
		switch {
		case strings.IndexByte(o.short, letters[i]) >= 0:
		case strings.IndexByte(o.arg, letters[i]) < 0:
			return 0, false
		case i == len(letters)-1:
			return 1, true
		default:
			return 0, true
		}
	}
	return 0, true
}

// operands looks through a wrapper with so many words of its own before the command.
func operands(own int, o options) unwrap {
	return func(_ *reader, words []Word) ([]Word, string) {
		n, doubt := o.skip(words[1:])
		if doubt != "" {
			return nil, words[0].Text + ": " + doubt
		}
		if n += 1 + own; n < len(words) {
			return words[n:], ""
		}
		return nil, ""
	}
}

func unwrapEnv(r *reader, words []Word) ([]Word, string) {
	o := options{short: "i0v", arg: "uC", long: []string{"ignore-environment", "null", "debug"}, longArg: []string{"unset", "chdir"}}
	n, doubt := o.skip(words[1:])
	if doubt != "" {
		return nil, "env: " + doubt
	}
	for _, w := range words[1 : n+1] {
		if strings.HasPrefix(w.Text, "-C") || strings.HasPrefix(w.Text, "--chdir") {
			r.line.Moves = append(r.line.Moves, Word{Open: true})
		}
	}
	for n++; n < len(words); n++ {
		key, _, is := strings.Cut(words[n].Text, "=")
		switch {
		case !is && words[n].Open:
			return nil, "env: what it runs is not in the line"
		case !is:
			return words[n:], ""
		case !name(key):
			return nil, "env: it sets a variable that is not in the line"
		}
		r.setVariable(key, false)
	}
	return nil, ""
}

func unwrapXargs(r *reader, words []Word) ([]Word, string) {
	o := options{
		short: "0rtxp", arg: "nPIiLlsdEea",
		long:    []string{"null", "no-run-if-empty", "verbose", "exit", "interactive", "open-tty"},
		longArg: []string{"max-args", "max-procs", "replace", "max-lines", "max-chars", "delimiter", "eof", "arg-file"},
	}
	n, doubt := o.skip(words[1:])
	if doubt != "" {
		return nil, "xargs: " + doubt
	}
	if n+1 >= len(words) {
		return nil, ""
	}
	inner := slices.Clone(words[n+1:])
	for _, w := range words[1 : n+1] {
		if strings.HasPrefix(w.Text, "-I") || strings.HasPrefix(w.Text, "-i") || strings.HasPrefix(w.Text, "--replace") {
			for i := range inner { // whatever stands for the input
				inner[i].Open = true
			}
			return inner, ""
		}
	}
	return append(inner, Word{Text: "…", Open: true}), ""
}

func unwrapSudo(r *reader, words []Word) ([]Word, string) {
	o := options{
		short: "AbEHiKklNnPSsVv", arg: "CDghpRrTtUu",
		long:    []string{"preserve-env", "login", "shell", "non-interactive", "set-home", "stdin", "background", "askpass"},
		longArg: []string{"user", "group", "host", "chdir", "chroot", "prompt", "role", "type", "other-user"},
	}
	n, doubt := o.skip(words[1:])
	if doubt != "" {
		return nil, "sudo: " + doubt
	}
	for n++; n < len(words); n++ {
		key, _, is := strings.Cut(words[n].Text, "=")
		if !is || !name(key) {
			return words[n:], ""
		}
		r.setVariable(key, false)
	}
	return nil, ""
}

func unwrapCommand(_ *reader, words []Word) ([]Word, string) {
	for _, w := range words[1:] {
		if !strings.HasPrefix(w.Text, "-") {
			break
		}
		if strings.ContainsAny(w.Text, "vV") {
			return nil, "" // it only looks
		}
	}
	return operands(0, options{short: "p"})(nil, words)
}
