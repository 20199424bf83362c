package skills

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Limits of a search. Reading 2,000 directories takes some tens of milliseconds.
const (
	maxDepth = 6
	maxDirs  = 2_000
	maxFiles = 200 // that are listed beside a SKILL.md
)

// Root is a directory to look for skills in.
type Root struct {
	Dir   string
	Scope Scope
}

// UserRoots are where people keep the skills of all their projects.
func UserRoots(home string) []Root {
	return below(home, ScopeUser)
}

// WorkspaceRoots are where a project keeps its own.
func WorkspaceRoots(workspace string) []Root {
	return below(workspace, ScopeWorkspace)
}

func below(dir string, scope Scope) (roots []Root) {
	for _, name := range []string{".agents/skills", ".claude/skills"} {
		roots = append(roots, Root{filepath.Join(dir, name), scope})
	}
	return roots
}

// Find returns the skills in the directories, by name. A directory that does not exist has none. Where a name is there twice, that of the later scope counts,
// and of the same scope the first.
func Find(roots []Root) ([]Skill, []Problem) {
	found := map[string]Skill{}
	var problems []Problem
	for _, root := range roots {
		skills, said := in(root)
		problems = append(problems, said...)
		for _, s := range skills {
			before, twice := found[s.Name]
			if !twice {
				found[s.Name] = s
				continue
			}
			used, hidden := before, s
			if rank(s.Scope) > rank(before.Scope) {
				used, hidden = s, before
				found[s.Name] = s
			}
			problems = append(problems, Problem{File: hidden.File, Code: "hidden", Weight: Remark, Text: fmt.Sprintf("it is hidden by the skill of the same name in %s", used.File)})
		}
	}
	all := make([]Skill, 0, len(found))
	for _, s := range found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Skill) int { return strings.Compare(a.Name, b.Name) })
	return all, problems
}

func rank(s Scope) int { return slices.Index([]Scope{ScopeUser, ScopeGiven, ScopeWorkspace}, s) }

// in returns the skills below one directory. Links in it are not followed: they lead anywhere.
func in(root Root) (found []Skill, problems []Problem) {
	say := func(file, code, text string) {
		problems = append(problems, Problem{File: file, Code: code, Weight: Unusable, Text: text})
	}
	dir, err := os.OpenRoot(root.Dir)
	if errors.Is(err, fs.ErrNotExist) && root.Scope != ScopeGiven {
		return nil, nil
	}
	if err != nil {
		say(root.Dir, "directory", cause(err))
		return nil, problems
	}
	defer dir.Close()
	seen := 0
	err = fs.WalkDir(dir.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		full := filepath.Join(root.Dir, filepath.FromSlash(at))
		if err != nil {
			say(full, "directory", cause(err))
			return fs.SkipDir
		}
		if !entry.IsDir() {
			return nil
		}
		if name := entry.Name(); at != "." && (name == ".git" || name == "node_modules") {
			return fs.SkipDir
		}
		if seen++; seen > maxDirs {
			say(root.Dir, "too-many", fmt.Sprintf("it has more than %d directories; those after %s were not looked at", maxDirs, full))
			return fs.SkipAll
		}
		s, said := open(dir, at, full)
		problems = append(problems, said...)
		if s != nil {
			s.Scope = root.Scope
			found = append(found, *s)
		}
		if s != nil || len(said) > 0 || strings.Count(at, "/") >= maxDepth-1 {
			return fs.SkipDir // what is below a skill belongs to it
		}
		return nil
	})
	if err != nil {
		say(root.Dir, "directory", cause(err))
	}
	return found, problems
}

// open reads the skill of a directory; nothing if it has none.
func open(root *os.Root, at, full string) (*Skill, []Problem) {
	name, exact := fileIn(root, at)
	if name == "" {
		return nil, nil
	}
	file := filepath.Join(full, name)
	data, err := regular(root, path.Join(at, name), maxMatter+maxBody)
	if err != nil {
		return nil, []Problem{{File: file, Code: "file", Weight: Unusable, Text: cause(err)}}
	}
	dir := filepath.Base(full)
	s, problems := Read(file, dir, data)
	if !exact {
		problems = append([]Problem{{File: file, Code: "file-name", Weight: Invalid, Text: "the file must be named " + FileName}}, problems...)
	}
	return s, problems
}

// fileIn is the name of the file that makes a directory a skill, and whether it is written as it should be.
func fileIn(root *os.Root, at string) (name string, exact bool) {
	entries, err := fs.ReadDir(root.FS(), at)
	if err != nil {
		return "", false
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		if entry.Name() == FileName {
			return FileName, true
		}
		if strings.EqualFold(entry.Name(), FileName) {
			name = entry.Name()
		}
	}
	return name, false
}

// regular reads a regular file of at most so many bytes; a pipe or a device is neither opened nor waited for.
func regular(root *os.Root, name string, most int64) ([]byte, error) {
	check := func(info fs.FileInfo, err error) error {
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return errors.New("it is a directory")
		case !info.Mode().IsRegular():
			return errors.New("it is not a regular file")
		case info.Size() > most:
			return fmt.Errorf("it has %d KiB, and at most %d are read", info.Size()>>10, most>>10)
		}
		return nil
	}
	if err := check(root.Stat(name)); err != nil {
		return nil, err
	}
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := check(file.Stat()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it has more than the %d KiB that are read", most>>10)
	}
	return data, err
}

// cause is why a file cannot be read, without its name.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// Open reads the skill of one directory, or of the SKILL.md that is named.
func Open(at string) (*Skill, []Problem) {
	abs, err := filepath.Abs(at)
	if err != nil {
		return nil, []Problem{{File: at, Code: "directory", Weight: Unusable, Text: cause(err)}}
	}
	if strings.EqualFold(filepath.Base(abs), FileName) {
		abs = filepath.Dir(abs)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, []Problem{{File: at, Code: "directory", Weight: Unusable, Text: cause(err)}}
	}
	defer root.Close()
	s, problems := open(root, ".", abs)
	if s == nil && len(problems) == 0 {
		problems = []Problem{{File: abs, Code: "file", Weight: Unusable, Text: "there is no " + FileName + " in it"}}
	}
	return s, problems
}

// List lists what a skill's directory holds beside its SKILL.md, in order; more says whether there is more of it.
func (s *Skill) List() (names []string, more bool, err error) {
	root, err := os.OpenRoot(filepath.Dir(s.File))
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case entry.IsDir() && at != "." && (entry.Name() == ".git" || entry.Name() == "node_modules" || strings.Count(at, "/") >= maxDepth):
			return fs.SkipDir
		case entry.Type().IsRegular() && at != filepath.Base(s.File):
			if len(names) == maxFiles {
				more = true
				return fs.SkipAll
			}
			names = append(names, at)
		}
		return nil
	})
	return names, more, err
}

// Read reads a file of a skill's directory.
func (s *Skill) Read(name string) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(s.File))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return regular(root, filepath.Clean(name), maxBody)
}
