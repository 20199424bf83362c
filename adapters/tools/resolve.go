package tools

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/life/events"
)

// place is what a path that a model wrote stands for.
type place struct {
	name string      // below the workspace, without links in it
	info fs.FileInfo // nil: nothing is there yet
}

// resolve follows a path that a model wrote, name by name, and every link on its way. It is what lets links and absolute paths lead anywhere within the
// workspace, finds names in another normal form, and holds back Life's own directory. That nothing outside is reached is the Root's work, whatever
// is found here. The policy is asked about the path as it goes on at each link, and about where it ends.
func (w *workspace) resolve(name string, write bool) (place, error) {
	if err := checkPath(name); err != nil {
		return place{}, err
	}
	shown := events.Cut(name, 100)
	at, rest, err := w.enter(shown, name)
	if err != nil {
		return place{}, err
	}
	var info fs.FileInfo
	for links := 0; err == nil && len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." { // it may come back
				at, rest, err = w.enter(shown, filepath.Join(w.real, "..", strings.Join(rest, "/")))
			} else {
				at = path.Dir(at)
			}
			continue
		}
		at, info, err = w.step(at, part)
		switch {
		case err != nil:
		case info == nil:
			return w.absent(name, at, rest, write)
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return place{}, fmt.Errorf("%s: too many symbolic links", shown)
			}
			if err = w.policy.Check(w.root, path.Join(at, path.Join(rest...)), write); err == nil {
				at, rest, err = w.follow(shown, at, rest)
			}
		default:
			err = w.within(shown, info)
		}
	}
	if err != nil {
		return place{}, err
	}
	if info, err = w.root.Lstat(at); err == nil { // the way may have ended at a directory above
		err = errors.Join(w.within(shown, info), w.policy.Check(w.root, at, write))
	}
	return place{at, info}, err
}

// checkPath refuses what no path can be.
func checkPath(name string) error {
	shown := events.Cut(name, 100)
	switch {
	case len(name) > maxPath:
		return fmt.Errorf("%s…: the path has %d bytes, the most is %d", shown, len(name), maxPath)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%q: a path cannot contain a NUL", shown)
	case !utf8.ValidString(name):
		return fmt.Errorf("%q: the path is not valid UTF-8", shown)
	}
	return nil
}

// enter begins a path: a relative one at the top, an absolute one where it comes into the workspace, by whatever name.
func (w *workspace) enter(shown, name string) (at string, rest []string, err error) {
	if !filepath.IsAbs(name) {
		return ".", strings.Split(name, "/"), nil
	}
	name = filepath.Clean(name)
	for _, top := range []string{w.dir, w.real} {
		if below, err := filepath.Rel(top, name); err == nil && filepath.IsLocal(below) {
			return ".", strings.Split(below, "/"), nil
		}
	}
	// Another link may lead into the workspace. Of what is outside nothing is said but that it is.
	for above, below := name, ""; above != "/"; above, below = filepath.Dir(above), filepath.Join(filepath.Base(above), below) {
		found, err := filepath.EvalSymlinks(above)
		if err != nil {
			continue
		}
		if inside, err := filepath.Rel(w.real, found); err == nil && filepath.IsLocal(inside) {
			return ".", strings.Split(filepath.Join(inside, below), "/"), nil
		}
		break
	}
	return "", nil, fmt.Errorf("%s: the path leads out of the workspace %s", shown, w.dir)
}

// step looks at one name in a directory. If it is not there, but is in another normal form (é as one character or as two), that is meant.
// No information means that nothing is there.
func (w *workspace) step(dir, name string) (at string, info fs.FileInfo, err error) {
	at = path.Join(dir, name)
	info, err = w.root.Lstat(at)
	if !errors.Is(err, fs.ErrNotExist) || !hasNormalForms(name) {
		return at, info, ignoreMissing(err)
	}
	entries, err := w.readDir(dir)
	if err != nil {
		return at, nil, ignoreMissing(err)
	}
	var same []string
	for _, entry := range entries {
		if norm.NFC.String(entry.Name()) == norm.NFC.String(name) {
			same = append(same, entry.Name())
		}
	}
	switch len(same) {
	case 0:
		return at, nil, nil
	case 1:
		at = path.Join(dir, same[0])
		info, err = w.root.Lstat(at)
		return at, info, ignoreMissing(err)
	}
	return "", nil, fmt.Errorf("%s: there are %d files of this name, in different normal forms of Unicode: %+q", at, len(same), same)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hasNormalForms reports whether a text may be written in other bytes that look the same.
func hasNormalForms(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
}

// follow goes on where a symbolic link leads.
func (w *workspace) follow(shown, link string, rest []string) (at string, further []string, err error) {
	to, err := w.root.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	if filepath.IsAbs(to) {
		at, further, err = w.enter(shown, to)
	} else {
		at, further = path.Dir(link), strings.Split(to, "/")
	}
	return at, append(further, rest...), err
}

// within refuses what belongs to Life.
func (w *workspace) within(shown string, info fs.FileInfo) error {
	if w.reserved(info) {
		return fmt.Errorf("%s: it is in Life's own data directory, which is out of reach", shown)
	}
	return nil
}

// absent is a place where nothing is yet. What is no path but a shell's or an editor's way to write one is refused: nobody means such a file.
func (w *workspace) absent(name, at string, rest []string, write bool) (place, error) {
	if why := notAPath(name); why != "" {
		return place{}, fmt.Errorf("%q: %s", events.Cut(name, 100), why)
	}
	for _, part := range rest {
		if part == ".." {
			return place{}, &fs.PathError{Op: "resolve", Path: at, Err: errMissing}
		}
	}
	at = path.Join(at, path.Join(rest...))
	return place{name: at}, w.policy.Check(w.root, at, write)
}

// errMissing is what the system says too.
var errMissing = errors.New("no such file or directory")

// The ways in which shells, editors and other systems write paths.
var (
	scheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+:/`)
	drive    = regexp.MustCompile(`^[A-Za-z]:[\\/]`)
	home     = regexp.MustCompile(`(^|/)~(/|$)|^~[A-Za-z_][A-Za-z0-9_-]*/`)
	variable = regexp.MustCompile(`^\$(\w+|\{\w+\}|\(.*\))(/|$)|(^|/)\$(\{\w+\}|[A-Z_][A-Z0-9_]*)(/|$)|^%\w+%`)
	quoted   = regexp.MustCompile("^(\".*\"|'.*'|`.*`)$")
)

// notAPath says why a name cannot be meant as the path of a file, or nothing.
func notAPath(name string) string {
	switch {
	case scheme.MatchString(name):
		return "it is a URL; write the path itself, relative to the workspace"
	case home.MatchString(name):
		return "~ is not expanded here, and the home directory is outside the workspace; write the path relative to the workspace"
	case variable.MatchString(name):
		return "variables are not expanded here; write the path itself, relative to the workspace"
	case drive.MatchString(name) || strings.Contains(name, `\`):
		return `there is no such file; write / between the names of a path, not \, and no drive`
	case quoted.MatchString(name):
		return "there is no such file; write the path without quotation marks"
	case strings.TrimSpace(name) != name:
		return "there is no such file; the path begins or ends with white space or a line end: write it without"
	case strings.IndexFunc(name, invisible) >= 0:
		return "there is no such file; the path contains control characters or others that cannot be seen: write it without"
	}
	return ""
}

// invisible reports characters that names do not have, unless somebody wants to deceive: control characters, line ends, marks of byte order and
// of the direction of writing.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\uFEFF' || r == '\u200B' || r == '\u2060' || r == '\u2028' || r == '\u2029'
}

// existing is a place where something is. If there is nothing, the error names what may be meant.
func (w *workspace) existing(name string) (place, error) {
	p, err := w.resolve(name, false)
	if err != nil || p.info != nil {
		return p, err
	}
	missing := &fs.PathError{Op: "open", Path: p.name, Err: errMissing}
	entries, err := w.readDir(path.Dir(p.name))
	if err != nil {
		return p, missing
	}
	for _, entry := range entries {
		if w.policy.Check(w.root, path.Join(path.Dir(p.name), entry.Name()), false) != nil {
			continue
		}
		if strings.EqualFold(norm.NFC.String(entry.Name()), norm.NFC.String(path.Base(p.name))) {
			return p, fmt.Errorf("%w; there is %s", errors.New(sentence(missing)), path.Join(path.Dir(p.name), entry.Name()))
		}
	}
	return p, missing
}
