package permission

import (
	"path"
	"slices"
	"strings"

	"example.com/life/events"
)

// Paths says which files a call may use.
type Paths interface {
	// Check says why a path may not be read, or written, by what runs in a workspace; empty if it may. A relative path begins at the workspace.
	Check(workspace, path string, write bool) (why string)
}

// Place is where a call would run.
type Place struct {
	Workspace string
	Confined  bool // what it starts cannot leave the workspace
}

// worse is the class of which there is more to know.
func worse(a, b events.CallClass) events.CallClass {
	if b.AtMost(a) {
		return a
	}
	return b
}

// sorter sorts the parts of a command line.
type sorter struct {
	paths Paths
	place Place
	line  *Line
}

// command says what kind of thing a command does, and why, where that is not plain.
func (s *sorter) command(c *Command) (events.CallClass, string) {
	words := c.words()
	program, ok := plainName(words[0])
	switch {
	case words[0].Open:
		return events.ClassUnclear, "what it runs is not in the line"
	case c.Raised:
		return events.ClassOutside, "it runs with other rights"
	case !ok:
		return events.ClassRun, ""
	case c.Read:
		return events.ClassRead, "" // what it runs is judged by itself
	case reachesOut(program, words[1:]):
		return events.ClassOutside, "it reaches the network"
	case destroys(program, words[1:]):
		return events.ClassDestructive, "what it removes is not restored easily"
	}
	if targets, writes := written(program, words[1:]); writes {
		return s.files(targets, true, events.ClassEdit)
	}
	if looks, anything := reads(program, words[1:]); looks {
		if anything {
			return events.ClassRead, ""
		}
		return s.files(withoutScript(program, words[1:]), false, events.ClassRead)
	}
	return events.ClassRun, ""
}

// files is the class of a command that uses files, if it has that class where it may use them.
func (s *sorter) files(words []Word, write bool, class events.CallClass) (events.CallClass, string) {
	why := ""
	for _, w := range words {
		if _, value, is := strings.Cut(w.Text, "="); is && strings.HasPrefix(w.Text, "-") {
			w.Text = value
		} else if strings.HasPrefix(w.Text, "-") && !w.Open {
			continue
		}
		of, because := s.file(w, write)
		if of == events.ClassUnclear {
			of = events.ClassRun
		}
		if of == events.ClassEdit || of == events.ClassRead {
			continue
		}
		if worse(class, of) != class {
			class, why = of, because
		}
	}
	return class, why
}

// withoutScript leaves out the first operand of programs for which it is no file.
func withoutScript(program string, args []Word) []Word {
	if !slices.Contains([]string{"grep", "egrep", "fgrep", "rg", "awk", "sed", "jq", "tr"}, program) || hasPrefix(args, "-e") || hasPrefix(args, "-f") || hasPrefix(args, "--regexp") || hasPrefix(args, "--file") {
		return args
	}
	for i, w := range args {
		if !strings.HasPrefix(w.Text, "-") {
			return slices.Concat(args[:i], args[i+1:])
		}
	}
	return args
}

// file says what it means to open a file.
func (s *sorter) file(w Word, write bool) (events.CallClass, string) {
	class := events.ClassRead
	if write {
		class = events.ClassEdit
	}
	clean := path.Clean(w.Text)
	switch {
	case w.Open && (!w.Glob || write || strings.Contains(w.Text, "..") || strings.HasPrefix(w.Text, "~")):
		return events.ClassUnclear, "which file it opens is not in the line"
	case w.Glob && strings.HasPrefix(path.Base(clean), "."):
		return events.ClassUnclear, "which hidden files it opens is not in the line"
	case clean == "/dev/null", clean == "/dev/stdout", clean == "/dev/stderr", clean == "/dev/stdin", strings.HasPrefix(clean, "/dev/fd/"):
		return events.ClassRead, ""
	case strings.HasPrefix(clean, "/dev/tcp/"), strings.HasPrefix(clean, "/dev/udp/"):
		return events.ClassOutside, "it reaches the network"
	case strings.HasPrefix(clean, "/dev/"):
		return events.ClassOutside, "it opens a device"
	case strings.HasPrefix(w.Text, "~"):
		return events.ClassOutside, w.Text + " is outside the workspace"
	case s.place.Confined && strings.HasPrefix(clean, "/tmp/"), !write && systemDir(clean):
		return class, ""
	case s.place.Confined && !write && path.IsAbs(clean) && !strings.HasPrefix(clean+"/", path.Clean(s.place.Workspace)+"/"):
		return class, "" // it is not there
	}
	if path.IsAbs(clean) || len(s.line.Moves) == 0 {
		if why := s.paths.Check(s.place.Workspace, clean, write); why != "" {
			return events.ClassOutside, why
		}
		return class, ""
	}
	dir := "" // after cd: each directory that it may be in by now
	for _, move := range s.line.Moves {
		if move.Open || strings.HasPrefix(move.Text, "~") {
			return events.ClassUnclear, "which directory it is in is not in the line"
		}
		if dir = path.Join(dir, move.Text); path.IsAbs(move.Text) {
			dir = path.Clean(move.Text)
		}
		for _, from := range []string{"", dir, move.Text} {
			if why := s.paths.Check(s.place.Workspace, path.Join(from, w.Text), write); why != "" {
				return events.ClassOutside, why
			}
		}
	}
	return class, ""
}

func systemDir(clean string) bool {
	for _, dir := range []string{"/usr/", "/bin/", "/lib/", "/lib64/", "/opt/"} {
		if strings.HasPrefix(clean+"/", dir) {
			return true
		}
	}
	return false
}

// plainName is the name of a program that is found where the system's are.
func plainName(w Word) (string, bool) {
	dir, name := path.Split(w.Text)
	return name, dir == "" || slices.Contains([]string{"/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/"}, dir)
}

func reachesOut(program string, args []Word) bool {
	switch program {
	case "curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "ftp", "sftp", "scp", "ssh", "ping", "dig", "nslookup", "host", "aria2c", "http", "https", "lynx", "w3m", "gh", "aws", "gcloud", "az", "mail", "sendmail", "mutt", "rclone", "whois", "traceroute":
		return true
	case "git":
		return slices.Contains([]string{"push", "pull", "fetch", "clone", "ls-remote", "remote-https", "archive", "svn", "p4", "request-pull", "send-pack", "fetch-pack"}, gitVerb(args)) &&
			(gitVerb(args) != "archive" || hasPrefix(args, "--remote"))
	case "rsync":
		return slices.ContainsFunc(args, func(w Word) bool { return strings.Contains(w.Text, ":") || w.Open })
	}
	return false
}

func hasPrefix(args []Word, prefix string) bool {
	return slices.ContainsFunc(args, func(w Word) bool { return strings.HasPrefix(w.Text, prefix) })
}

// letters are the short options among the arguments.
func letters(args []Word) string {
	var all strings.Builder
	for _, w := range args {
		if strings.HasPrefix(w.Text, "-") && !strings.HasPrefix(w.Text, "--") {
			all.WriteString(w.Text[1:])
		}
	}
	return all.String()
}

// gitVerb is the subcommand of git.
func gitVerb(args []Word) string {
	for i := 0; i < len(args); i++ {
		switch text := args[i].Text; {
		case text == "-c" || text == "-C" || text == "--git-dir" || text == "--work-tree" || text == "--namespace" || text == "--super-prefix":
			i++
		case !strings.HasPrefix(text, "-"):
			return text
		}
	}
	return ""
}

func destroys(program string, args []Word) bool {
	short := letters(args)
	switch program {
	case "rm":
		all := strings.ContainsAny(short, "rR") || hasPrefix(args, "--r")
		return all && slices.ContainsFunc(args, func(w Word) bool {
			clean := path.Clean(w.Text)
			return !strings.HasPrefix(w.Text, "-") && (w.Open || clean == "." || clean == "/" || clean == ".." || clean == ".git" || strings.HasPrefix(w.Text, "~"))
		}) || hasPrefix(args, "--no-p")
	case "find":
		return hasPrefix(args, "-delete")
	case "git":
		return gitDestroys(gitVerb(args), args)
	case "chmod", "chown", "chgrp":
		return strings.Contains(short, "R") || hasPrefix(args, "--rec")
	case "dd", "shred", "wipefs", "fdisk", "parted", "sfdisk", "shutdown", "reboot", "halt", "poweroff", "init", "killall", "pkill", "kill", "userdel", "useradd", "usermod", "passwd",
		"mount", "umount", "insmod", "rmmod", "modprobe", "iptables", "nft", "sysctl", "truncate":
		return true
	}
	return strings.HasPrefix(program, "mkfs")
}

func gitDestroys(verb string, args []Word) bool {
	short := letters(args)
	switch verb {
	case "push":
		return strings.Contains(short, "f") || hasPrefix(args, "--f") || hasPrefix(args, "--mirror") || hasPrefix(args, "--delete") || hasPrefix(args, "+")
	case "reset":
		return hasPrefix(args, "--h") || hasPrefix(args, "--m") || hasPrefix(args, "--k")
	case "clean", "gc", "prune", "filter-branch", "filter-repo", "reflog", "update-ref", "replace":
		return verb != "reflog" || slices.ContainsFunc(args, func(w Word) bool { return w.Text == "expire" || w.Text == "delete" })
	case "checkout", "restore", "switch":
		return strings.Contains(short, "f") || hasPrefix(args, "--f") || hasPrefix(args, "--discard") || slices.ContainsFunc(args, func(w Word) bool { return w.Text == "." || w.Text == "--" || w.Open })
	case "branch", "tag":
		return strings.ContainsAny(short, "Ddf") || hasPrefix(args, "--d") || hasPrefix(args, "--f")
	case "stash":
		return slices.ContainsFunc(args, func(w Word) bool { return w.Text == "drop" || w.Text == "clear" })
	case "worktree", "remote":
		return slices.ContainsFunc(args, func(w Word) bool { return w.Text == "remove" || w.Text == "rm" })
	}
	return false
}

// written lists the files that a program writes whose only business that is.
func written(program string, args []Word) (targets []Word, writes bool) {
	plain := operandsOf(args)
	switch program {
	case "rm", "rmdir", "unlink", "mkdir", "touch", "tee", "mv", "ln", "cp", "install":
		return append(plain, valuesOf(args, "-t", "--target-directory")...), true
	case "chmod", "chown", "chgrp":
		if len(plain) > 0 {
			plain = plain[1:]
		}
		return plain, true
	case "sort", "tree":
		targets = valuesOf(args, "-o", "--output")
		return targets, len(targets) > 0
	case "sed":
		if strings.Contains(letters(args), "i") || hasPrefix(args, "--i") {
			return plain[min(1, len(plain)):], true
		}
	}
	return nil, false
}

func operandsOf(args []Word) (plain []Word) {
	options := true
	for _, w := range args {
		switch {
		case options && w.Text == "--" && !w.Open:
			options = false
		case !options || !strings.HasPrefix(w.Text, "-") || w.Text == "-":
			plain = append(plain, w)
		}
	}
	return plain
}

// valuesOf are the values of an option, joined to it or in the next word.
func valuesOf(args []Word, short, long string) (values []Word) {
	for i, w := range args {
		switch {
		case (w.Text == short || w.Text == long) && i+1 < len(args):
			values = append(values, args[i+1])
		case strings.HasPrefix(w.Text, short) && !strings.HasPrefix(w.Text, "--") && len(w.Text) > len(short):
			values = append(values, Word{Text: w.Text[len(short):], Open: w.Open})
		case strings.HasPrefix(w.Text, long+"="), abbreviates(w.Text, long) && strings.Contains(w.Text, "="):
			_, value, _ := strings.Cut(w.Text, "=")
			values = append(values, Word{Text: value, Open: w.Open})
		}
	}
	return values
}

// known reports whether a name is that of a program that is judged by it.
func known(program string) bool {
	looks, _ := reads(program, nil)
	_, writes := written(program, nil)
	return looks || writes || program == "git" || program == "find" || isShell(program) || isInterpreter(program) || reachesOut(program, nil) || destroys(program, nil) || runsOthers(program)
}

// reads reports whether a program only looks; any: whatever its arguments are.
func reads(program string, args []Word) (looks, anything bool) {
	short := letters(args)
	switch program {
	case "echo", "printf", "true", "false", ":", "pwd", "test", "[", "basename", "dirname", "sleep", "wait", "exit", "break", "continue", "return", "shift", "cd", "pushd", "popd",
		"seq", "expr", "type", "which", "set", "unset", "read", "export", "local", "whoami", "id", "uname", "nproc", "uptime", "jobs", "getopts", "command", "env", "printenv", "yes":
		return true, true
	case "cat", "ls", "head", "tail", "wc", "grep", "egrep", "fgrep", "stat", "du", "df", "realpath", "readlink", "cut", "tr", "comm", "diff", "cmp",
		"md5sum", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "b2sum", "cksum", "sum", "od", "hexdump", "strings", "nl", "fold", "fmt", "column", "rev", "tac", "paste",
		"join", "expand", "unexpand", "jq", "rg", "sort", "tree", "awk":
		return true, false
	case "sed":
		return !strings.Contains(short, "i") && !hasPrefix(args, "--i"), false
	case "file":
		return !strings.Contains(short, "C"), false
	case "uniq", "xxd":
		return len(operandsOf(args)) < 2 && !strings.Contains(short, "r"), false
	case "date":
		return !strings.Contains(short, "s") && !hasPrefix(args, "--s"), true
	case "hostname":
		return len(args) == 0, true
	case "find":
		return !slices.ContainsFunc(args, func(w Word) bool {
			return slices.Contains([]string{"-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"}, w.Text)
		}), false
	case "git":
		return gitReads(args), false
	case "go":
		return len(args) > 0 && slices.Contains([]string{"version", "list", "doc"}, args[0].Text), false
	case "xargs":
		return len(args) == 0, true
	}
	versioned := slices.Contains([]string{"python", "python3", "node", "npm", "cargo", "rustc", "gcc", "make", "java", "ruby", "perl"}, program)
	return versioned && len(args) == 1 && args[0].Text == "--version", true
}

func gitReads(args []Word) bool {
	if len(args) == 0 || hasPrefix(args, "--output") || hasPrefix(args, "--ext-diff") || slices.ContainsFunc(args, func(w Word) bool { return w.Open && !w.Glob }) {
		return false
	}
	rest := args[1:]
	plain := operandsOf(rest)
	switch args[0].Text {
	case "status", "log", "diff", "show", "rev-parse", "rev-list", "ls-files", "ls-tree", "cat-file", "blame", "describe", "shortlog", "merge-base", "name-rev", "diff-tree", "diff-files", "diff-index",
		"for-each-ref", "show-ref", "grep", "whatchanged", "count-objects", "check-ignore", "check-attr", "var", "version":
		return true
	case "branch", "tag", "remote":
		return len(plain) == 0 && !strings.ContainsAny(letters(rest), "dDmMcCfu") && !hasPrefix(rest, "--set") && !hasPrefix(rest, "--edit")
	case "stash", "worktree":
		return len(plain) > 0 && plain[0].Text == "list"
	}
	return false
}
