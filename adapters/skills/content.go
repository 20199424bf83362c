package skills

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Content is what an agent reads when it activates the skill: its text, where its directory is, and what else is in it.
func (s *Skill) Content() (string, error) {
	names, more, err := s.List()
	if err != nil {
		return "", fmt.Errorf("list the files of the skill %s: %w", s.Name, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<skill_content name=%q>\n%s\n\nDirectory of the skill: %s\nPaths in its text are relative to it.", s.Name, s.Body, filepath.Dir(s.File))
	if len(s.AllowedTools) > 0 {
		fmt.Fprintf(&b, "\nIts author expects these tools; it grants none: %s", strings.Join(s.AllowedTools, " "))
	}
	if len(names) > 0 {
		b.WriteString("\n<skill_resources>\n")
		for _, name := range names {
			fmt.Fprintf(&b, "%s\n", name)
		}
		if more {
			fmt.Fprintf(&b, "… more than these %d\n", len(names))
		}
		b.WriteString("</skill_resources>")
	}
	b.WriteString("\n</skill_content>")
	return b.String(), nil
}
