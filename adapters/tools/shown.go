package tools

import (
	"sync"

	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
)

// The bounds of what is remembered of shown files, for all agents together.
const (
	shownFiles    = 256
	shownVersions = 4
	shownBytes    = 64 << 20
)

// shown remembers which lines of which version of a file an agent was shown, and the version itself: an edit is about what was shown, and if the file is another by
// now, the difference says where its lines have gone. It is memory, not history: after a restart an agent's edits are accepted for the version that they name,
// and refused with fresh anchors for any other.
type shown struct {
	mu    sync.Mutex
	files []*shownFile // the one that was used last comes last
	bytes int
}

// shownFile is what was shown of one file to one agent.
type shownFile struct {
	agent    events.AgentID
	path     string         // with the workspace
	versions []*shownAnchor // the newest last
}

// shownAnchor is one version of a file.
type shownAnchor struct {
	digest hashline.Digest
	text   []byte
	lines  [][2]int // from and to, of those that were shown
}

// has reports whether a line was shown.
func (v *shownAnchor) has(number int) bool {
	for _, part := range v.lines {
		if number >= part[0] && number <= part[1] {
			return true
		}
	}
	return false
}

// add remembers that lines were shown.
func (s *shown) add(agent events.AgentID, path string, digest hashline.Digest, text []byte, parts ...[2]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file(agent, path)
	if f == nil {
		f = &shownFile{agent: agent, path: path}
		s.files = append(s.files, f)
	}
	var version *shownAnchor
	for i, v := range f.versions {
		if v.digest == digest {
			version = v
			f.versions = append(append(f.versions[:i:i], f.versions[i+1:]...), v)
			break
		}
	}
	if version == nil {
		version = &shownAnchor{digest: digest, text: text}
		f.versions = append(f.versions, version)
		s.bytes += len(text)
		if len(f.versions) > shownVersions {
			s.bytes -= len(f.versions[0].text)
			f.versions = f.versions[1:]
		}
	}
	version.lines = append(version.lines, parts...)
	for len(s.files) > shownFiles || s.bytes > shownBytes && len(s.files) > 1 {
		for _, v := range s.files[0].versions {
			s.bytes -= len(v.text)
		}
		s.files = s.files[1:]
	}
}

// file finds a file, and makes it the one that was used last.
func (s *shown) file(agent events.AgentID, path string) *shownFile {
	for i, f := range s.files {
		if f.agent == agent && f.path == path {
			s.files = append(append(s.files[:i:i], s.files[i+1:]...), f)
			return f
		}
	}
	return nil
}

// version returns a version of a file that was shown: the one with a tag, or the newest. The result may be read, and is not changed.
func (s *shown) version(agent events.AgentID, path, tag string) *shownAnchor {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file(agent, path)
	if f == nil {
		return nil
	}
	for i := len(f.versions) - 1; i >= 0; i-- {
		if v := f.versions[i]; tag == "" || v.digest.Tag() == tag {
			return &shownAnchor{v.digest, v.text, append([][2]int(nil), v.lines...)}
		}
	}
	return nil
}
