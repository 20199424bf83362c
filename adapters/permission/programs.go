package permission

import (
	"regexp"
	"slices"
	"strings"
)

// inspect looks at what a program does with its arguments that is not the arguments' plain meaning: it runs what is in them, or in its input. It reports
// whether all that the program runs is a command line that was taken apart.
func (r *reader) inspect(words []Word) (read bool) {
	program, args := base(words[0].Text), words[1:]
	switch {
	case words[0].Open:
	case isShell(program):
		return r.shell(program, args)
	case isInterpreter(program):
		r.interpreter(program, args)
	case runsOthers(program):
		r.doubt("%s runs what is not looked at here", program)
	default:
		r.special(program, args)
	}
	return false
}

func isShell(program string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "yash"}, program)
}

// isInterpreter reports whether a program runs programs of a language, which may be in its arguments or its input.
func isInterpreter(program string) bool {
	return slices.Contains([]string{
		"node", "nodejs", "perl", "ruby", "php", "lua", "luajit", "deno", "bun", "Rscript", "osascript", "tclsh", "wish", "guile", "elixir", "erl", "julia", "groovy",
		"scala", "swift", "ts-node", "tsx", "ipython", "pypy", "pypy3", "fish", "csh", "tcsh", "pwsh", "powershell", "raku", "R", "octave", "sbcl", "racket", "nu", "xonsh", "elvish",
	}, program) || strings.HasPrefix(program, "python") || regexp.MustCompile(`^(perl|ruby|php|lua|node)[0-9.]+$`).MatchString(program)
}

// runsOthers reports whether a program runs others that its arguments name in ways of its own.
func runsOthers(program string) bool {
	return slices.Contains([]string{
		"eval", "source", ".", "trap", "alias", "shopt", "enable", "bind", "complete", "compgen", "coproc", "fc", "history",
		"parallel", "watch", "strace", "ltrace", "gdb", "lldb", "script", "su", "ssh", "chroot", "unshare", "nsenter", "firejail", "bwrap", "flock", "chrt",
		"taskset", "systemd-run", "at", "batch", "crontab", "screen", "tmux", "expect", "unbuffer", "rlwrap", "entr", "run-parts", "setpriv", "runuser", "pkexec", "capsh",
		"start-stop-daemon", "daemonize", "numactl", "prlimit", "perf", "valgrind", "faketime", "fakeroot", "proot", "docker", "podman", "nerdctl", "kubectl", "npx", "uvx", "bunx",
		"pipx", "gawk", "mawk", "nawk", "ex", "ed", "vi", "vim", "nvim", "view", "emacs", "nano", "m4", "dc", "gnuplot", "sqlite3", "psql", "mysql", "socat", "ld.so", "ld-linux.so.2",
		"ld-linux-x86-64.so.2", "catchsegv", "logrotate", "systemctl", "service", "launchctl", "open", "xdg-open", "mapfile", "readarray", "jshell", "sg", "newgrp", "cpulimit", "chpst",
		"setarch", "linux32", "linux64", "dbus-run-session", "xvfb-run", "stap", "bpftrace", "hyperfine",
	}, program)
}

// shell reads the command line that a shell is given.
func (r *reader) shell(program string, args []Word) (read bool) {
	for i := 0; i < len(args); i++ {
		text := args[i].Text
		switch {
		case args[i].Open:
			r.doubt("what %s runs is not in the line", program)
			return false
		case text == "--rcfile", text == "--init-file":
			r.doubt("%s %s runs a file", program, text)
			return false
		case text == "-O" || text == "+O" || text == "-o" || text == "+o":
			i++
		case strings.HasPrefix(text, "--"):
			if text == "--" {
				continue
			}
		case (strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+")) && len(text) > 1:
			if strings.Contains(text, "s") {
				r.doubt("%s runs what it reads", program)
				return false
			}
			takes := strings.Count(text, "o") + strings.Count(text, "O")
			if strings.Contains(text, "c") {
				return r.given(program, args[i+1:], takes)
			}
			i += takes
		case strings.HasPrefix(text, "/dev/") || strings.HasPrefix(text, "/proc/") || text == "-":
			r.doubt("%s runs what it reads", program)
			return false
		default:
			return false // a script, as any other program
		}
	}
	r.doubt("%s runs what it reads", program)
	return false
}

// given reads the line after -c, which comes after the arguments of other options.
func (r *reader) given(program string, args []Word, skip int) (read bool) {
	for len(args) > 0 && strings.HasPrefix(args[0].Text, "-") && !args[0].Open {
		if args[0].Text == "-o" || args[0].Text == "-O" {
			skip++
		}
		args = args[1:]
	}
	if len(args) <= skip || args[skip].Open {
		r.doubt("what %s -c runs is not in the line", program)
		return false
	}
	r.read(args[skip].Text, r.depth+1)
	return true
}

// interpreter doubts programs that are in the arguments, or in the input.
func (r *reader) interpreter(program string, args []Word) {
	for _, arg := range args {
		text := arg.Text
		switch {
		case arg.Open, text == "-", strings.HasPrefix(text, "/dev/"), strings.HasPrefix(text, "/proc/"):
			r.doubt("what %s runs is not in the line", program)
			return
		case text == "--version" || text == "-V" || text == "--help" || text == "-v" && program == "node":
			return
		case strings.HasPrefix(program, "python") && (text == "-m" || strings.HasPrefix(text, "-m")):
			return
		case strings.HasPrefix(program, "python") && strings.Trim(text, "-uBOsSEIbqdvix") == "":
		case strings.HasPrefix(text, "-"):
			r.doubt("%s %s may run what is in the line", program, clip(text))
			return
		default:
			return // a script, as any other program
		}
	}
	r.doubt("%s runs what it reads", program)
}

// special looks at programs that run others with some of their arguments.
func (r *reader) special(program string, args []Word) {
	switch program {
	case "find":
		r.find(args)
	case "git":
		r.git(args)
	case "awk":
		r.awk(args)
	case "sed":
		r.sed(args)
	case "read", "printf", "unset", "wait", "getopts", "test", "[", "declare", "typeset", "local", "export", "readonly", "let":
		r.names(program, args)
	case "cd", "pushd", "popd":
		to := Word{Open: true}
		for _, arg := range args {
			if !strings.HasPrefix(arg.Text, "-") || arg.Text == "-" {
				to = arg
				break
			}
		}
		to.Open = to.Open || program == "popd" || to.Text == "-"
		r.line.Moves = append(r.line.Moves, to)
	case "set":
		for _, arg := range args {
			if arg.Open && strings.HasPrefix(arg.Text, "…") && len(args) == 1 {
				r.doubt("set takes what is not in the line")
			}
		}
	case "hash":
		if len(args) > 0 {
			r.doubt("hash says which program a name stands for")
		}
	default:
		r.hooks(program, args)
	}
}

// names looks at builtins that take names of variables: as a[$(command)] is one, they run the command.
func (r *reader) names(program string, args []Word) {
	takes := program != "printf" && program != "test" && program != "["
	for i, arg := range args {
		if option := arg.Text; !takes && (option == "-v" || option == "-R") && !arg.Open {
			if i+1 < len(args) {
				r.named(program, args[i+1])
			}
			continue
		}
		if program == "printf" && strings.HasPrefix(arg.Text, "-v") && len(arg.Text) > 2 {
			r.named(program, Word{Text: arg.Text[2:], Open: arg.Open})
		}
		if !takes || strings.HasPrefix(arg.Text, "-") && !arg.Open {
			continue
		}
		if program == "read" && i > 0 && slices.Contains([]string{"-p", "-d", "-t", "-n", "-N", "-u", "-i"}, args[i-1].Text) {
			continue
		}
		if program == "getopts" && i != 1 {
			continue
		}
		if key, _, is := strings.Cut(arg.Text, "="); is && program != "read" {
			arg = Word{Text: key, Open: strings.Contains(key, "…")}
		}
		r.named(program, arg)
	}
}

func (r *reader) named(program string, w Word) {
	if number(w.Text) && program == "wait" || strings.HasPrefix(w.Text, "%") || program == "wait" && w.Text == "…" {
		return
	}
	if w.Open || !name(w.Text) {
		r.doubt("%s takes the name of a variable that is not in the line", program)
		return
	}
	r.setVariable(w.Text, false)
}

func (r *reader) find(args []Word) {
	for i := 0; i < len(args); i++ {
		switch args[i].Text {
		case "-exec", "-execdir", "-ok", "-okdir":
			end := i + 1
			for end < len(args) && args[end].Text != ";" && (args[end].Text != "+" || args[end-1].Text != "{}") {
				end++
			}
			inner := slices.Clone(args[i+1 : end])
			for k := range inner {
				inner[k].Open = inner[k].Open || strings.Contains(inner[k].Text, "{}")
			}
			if len(inner) > 0 {
				r.command(inner)
			}
			i = end
		case "-fprint", "-fprint0", "-fls", "-fprintf":
			if i+1 < len(args) {
				r.file(args[i+1], true)
			}
		}
	}
}

// git doubts options and configuration with which git runs other programs.
func (r *reader) git(args []Word) {
	sub := false
	for i, arg := range args {
		text := arg.Text
		for _, runs := range []string{
			"--exec-path=", "--upload-pack", "--receive-pack", "--exec", "--ext-diff", "--open-files-in-pager", "--config-env", "--textconv", "--extcmd", "--to-cmd", "--cc-cmd", "--editor",
			"--git-dir", "--work-tree", "--template", "--tree-filter", "--index-filter", "--msg-filter", "--env-filter", "--commit-filter", "--parent-filter", "--tag-name-filter", "--super-prefix",
		} {
			if strings.HasPrefix(text, runs) {
				r.doubt("git %s decides what git runs, or where", clip(runs))
			}
		}
		switch {
		case sub && i > 0 && (text == "-x" || text == "--exec") && slices.ContainsFunc(args, func(w Word) bool { return w.Text == "rebase" }),
			sub && strings.HasPrefix(text, "-O") && slices.ContainsFunc(args, func(w Word) bool { return w.Text == "grep" }),
			strings.HasPrefix(text, "ext::"), strings.HasPrefix(text, "-u") && slices.ContainsFunc(args, func(w Word) bool { return w.Text == "clone" || w.Text == "ls-remote" }):
			r.doubt("git %s runs a program", clip(text))
		case !sub && (text == "-c" || text == "-C" || strings.HasPrefix(text, "-c") && len(text) > 2 || strings.HasPrefix(text, "-C") && len(text) > 2):
			r.doubt("git %s decides what git runs, or where", clip(text))
		case !sub && !strings.HasPrefix(text, "-"):
			sub = true
			if arg.Open {
				r.doubt("what git does is not in the line")
			}
			if slices.Contains([]string{"filter-branch", "difftool", "mergetool", "send-email", "instaweb", "daemon", "bisect", "submodule", "config", "alias", "credential", "hook"}, text) &&
				gitRuns(text, args[i+1:]) {
				r.doubt("git %s may run what is in its arguments or configuration", text)
			}
		}
	}
}

// gitRuns reports whether a subcommand can run something, given its arguments.
func gitRuns(sub string, args []Word) bool {
	has := func(texts ...string) bool {
		return slices.ContainsFunc(args, func(w Word) bool { return slices.Contains(texts, w.Text) || w.Open })
	}
	switch sub {
	case "bisect":
		return has("run")
	case "submodule":
		return has("foreach", "update", "add")
	case "config":
		return !has("--get", "--list", "-l", "--get-all", "--get-regexp", "get", "list") || has("--edit", "-e", "edit", "set")
	}
	return true
}

var awkRuns = regexp.MustCompile(`system|\||>|getline|@|ENVIRON`)

func (r *reader) awk(args []Word) {
	script := false
	for i := 0; i < len(args); i++ {
		text := args[i].Text
		switch {
		case script:
		case text == "-F" || text == "-v":
			i++
		case strings.HasPrefix(text, "-F") || strings.HasPrefix(text, "-v"):
		case strings.HasPrefix(text, "-") && text != "--":
			r.doubt("awk %s may run what is in a file", clip(text))
		case text == "--":
		default:
			script = true
			if args[i].Open || awkRuns.MatchString(text) {
				r.doubt("the program of awk may run others, or write files")
			}
		}
	}
}

var sedPlain = regexp.MustCompile(`^((\d+|\$|/([^/\\]|\\.)*/)(,(\d+|\$|/([^/\\]|\\.)*/))?!?)?([pdq=]|s(/([^/\\]|\\.)*/([^/\\]|\\.)*/|\|([^|\\]|\\.)*\|([^|\\]|\\.)*\||#([^#\\]|\\.)*#([^#\\]|\\.)*#|,([^,\\]|\\.)*,([^,\\]|\\.)*,)[gpiI0-9]*)$`)

func (r *reader) sed(args []Word) {
	seen := false
	for i := 0; i < len(args); i++ {
		text := args[i].Text
		switch {
		case text == "-e" || text == "--expression":
			if i++; i < len(args) {
				r.sedScript(args[i])
			}
			seen = true
		case strings.HasPrefix(text, "--expression="):
			r.sedScript(Word{Text: text[len("--expression="):], Open: args[i].Open})
			seen = true
		case text == "-f" || strings.HasPrefix(text, "--file") || strings.HasPrefix(text, "-f"):
			r.doubt("sed runs a script that is in a file")
			seen = true
		case strings.HasPrefix(text, "-") && len(text) > 1:
			if !strings.HasPrefix(text, "--") && strings.HasSuffix(text, "e") && !strings.HasPrefix(text, "-i") {
				if i++; i < len(args) {
					r.sedScript(args[i])
				}
				seen = true
			}
		case !seen:
			r.sedScript(args[i])
			seen = true
		}
	}
}

func (r *reader) sedScript(script Word) {
	for part := range strings.FieldsFuncSeq(script.Text, func(c rune) bool { return c == ';' || c == '\n' }) {
		if part = strings.TrimSpace(part); part != "" && !sedPlain.MatchString(part) {
			r.doubt("the script of sed may run programs, or write files")
			return
		}
	}
	if script.Open {
		r.doubt("the script of sed is not in the line")
	}
}

// hooks doubts arguments with which a program runs another.
func (r *reader) hooks(program string, args []Word) {
	hooks := map[string][]string{
		"tar":    {"--to-command", "--checkpoint-action", "-I", "--use-compress-program", "--rsh-command", "-F", "--info-script", "--new-volume-script"},
		"zip":    {"-TT", "--unzip-command"},
		"rsync":  {"-e", "--rsh", "--rsync-path"},
		"scp":    {"-S", "-o", "-F"},
		"sftp":   {"-S", "-o", "-F", "-b"},
		"rg":     {"--pre", "--hostname-bin"},
		"fd":     {"-x", "-X", "--exec", "--exec-batch"},
		"fdfind": {"-x", "-X", "--exec", "--exec-batch"},
		"sort":   {"--compress-program"},
		"split":  {"--filter"},
		"go":     {"-toolexec", "--toolexec", "-exec", "--exec", "-vettool", "--vettool", "-overlay"},
		"gcc":    {"-wrapper", "-fplugin"},
		"g++":    {"-wrapper", "-fplugin"},
		"clang":  {"-Xclang", "-fplugin"},
		"make":   {"--eval", "-f", "--file", "--makefile", "-C", "--directory", "-E"},
		"cmake":  {"-E", "-P"},
		"man":    {"-P", "--pager", "-H", "--html"},
		"less":   {"+"},
		"more":   {"+"},
		"ctags":  {"--options"},
		"jq":     {"-f", "--from-file", "-L"},
		"wget":   {"--use-askpass", "--config", "-e", "--execute"},
		"curl":   {"-K", "--config"},
		"dpkg":   {"--pre-invoke", "--post-invoke"},
		"apt":    {"-o", "-c"}, "apt-get": {"-o", "-c"},
		"nmap": {"--script"}, "tcpdump": {"-z"}, "pip": {"--config-settings"},
		"cargo": {"--config"}, "npm": {"exec", "x"}, "pnpm": {"dlx", "exec"}, "yarn": {"dlx", "exec"}, "openssl": {"-engine", "engine"}, "env": {"-S", "--split-string"},
	}[program]
	for _, arg := range args {
		for _, hook := range hooks {
			long := strings.HasPrefix(hook, "--")
			if arg.Text == hook || strings.HasPrefix(arg.Text, hook+"=") || !long && len(hook) == 2 && strings.HasPrefix(arg.Text, hook) || long && abbreviates(arg.Text, hook) {
				r.doubt("%s %s runs a program, or reads one from a file", program, clip(arg.Text))
			}
		}
	}
}

// abbreviates reports whether an option may be a shortened long option, as GNU programs take them.
func abbreviates(option, long string) bool {
	option, _, _ = strings.Cut(option, "=")
	return len(option) > 3 && strings.HasPrefix(option, "--") && strings.HasPrefix(long, option)
}
