package skills

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/blake3"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Library gives agents their skills. It is safe for concurrent use.
type Library struct {
	home string
	log  *slog.Logger

	mu   sync.Mutex
	said map[Problem]bool // what is in the log already
}

// maxSaid bounds what the log is remembered to have; after that it is told again.
const maxSaid = 1_000

// NewLibrary returns the skills of a host. home is the home directory of the person who runs it; empty: there is none.
func NewLibrary(home string, log *slog.Logger) *Library {
	return &Library{home: home, log: log, said: map[Problem]bool{}}
}

// Find returns the skills of these sources, by name; see events.SkillsConfig. It logs once what is wrong with others.
func (l *Library) Find(from []string, workspace string) []events.Skill {
	var roots []Root
	for _, source := range from {
		switch {
		case source == sagas.SkillsOfUser && l.home != "":
			roots = append(roots, UserRoots(l.home)...)
		case source == sagas.SkillsOfUser:
		case source == sagas.SkillsOfWorkspace && workspace != "":
			roots = append(roots, WorkspaceRoots(workspace)...)
		case source == sagas.SkillsOfWorkspace:
		default:
			roots = append(roots, Root{source, ScopeGiven})
		}
	}
	found, problems := Find(roots)
	if len(found) > sagas.MostSkills {
		problems = append(problems, Problem{File: found[sagas.MostSkills].File, Code: "too-many", Weight: Unusable, Text: fmt.Sprintf("only %d skills are offered, by name; this one and those after it are not", sagas.MostSkills)})
		found = found[:sagas.MostSkills]
	}
	l.report(problems)
	var offered []events.Skill // nil without any: what is recorded is compared
	for i := range found {
		s := &found[i]
		offered = append(offered, events.Skill{Name: s.Name, Description: events.Cut(s.Description, sagas.MostSkillDescription), File: s.File, Digest: s.Digest})
	}
	return offered
}

// report logs what keeps skills from being used.
func (l *Library) report(problems []Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range problems {
		if p.Weight != Unusable || l.said[p] {
			continue
		}
		if len(l.said) >= maxSaid {
			clear(l.said)
		}
		l.said[p] = true
		l.log.Warn("a skill cannot be offered; life skills validate shows why", "file", p.File, "line", p.Line, "problem", p.Text)
	}
}

// Content is what a model reads of a skill that it was offered. changed says whether the file is another one now.
func (l *Library) Content(offered events.Skill) (text string, changed bool, err error) {
	s, problems := Open(offered.File)
	if s == nil {
		for _, p := range problems {
			if p.Weight == Unusable {
				return "", false, errors.New(p.Text)
			}
		}
	}
	text, err = s.Content()
	return text, s.Digest != offered.Digest, err
}

// File is a text file of a skill's directory.
func (l *Library) File(offered events.Skill, name string) (string, error) {
	s := Skill{File: offered.File}
	data, err := s.Read(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %s", name, cause(err))
	case !utf8.Valid(data):
		digest := blake3.Sum256(data)
		return "", fmt.Errorf("%s: it is not text (%d bytes, BLAKE3 %s)", name, len(data), hex.EncodeToString(digest[:8]))
	}
	return string(data), nil
}
