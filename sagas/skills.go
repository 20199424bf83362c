package sagas

import (
	"path"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// SkillTool is the tool by which a model asks for a skill. An agent with skills is granted it.
const SkillTool = "activate_skill"

// Where skills may come from, besides absolute directories.
const (
	SkillsOfUser      = "user"
	SkillsOfWorkspace = "workspace"
)

// Bounds of what an agent is offered, so that a system prompt stays one.
const (
	MostSkills           = 100
	MostSkillDescription = 1_024 // bytes, of each
)

// offered tells the model which skills there are: their names and what they are for. Their texts come only when it asks for them.
func offered(found []events.Skill) string {
	if len(found) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("The following skills are instructions for particular tasks. When a task matches a skill's description, call " + SkillTool +
		" with its name before you begin.\n<available_skills>\n")
	for i := range found {
		b.WriteString("- " + found[i].Name + ": " + found[i].Description + "\n")
	}
	b.WriteString("</available_skills>")
	return b.String()
}

// validateSkills refuses what could not be recorded or offered.
func validateSkills(c *events.SkillsConfig) error {
	for _, from := range c.From {
		if from != SkillsOfUser && from != SkillsOfWorkspace && (!path.IsAbs(from) || !utf8.ValidString(from)) {
			return refuse(RefusedInvalid, "skills.from has %q, want %s, %s or an absolute directory", events.Clip(from, 200), SkillsOfUser, SkillsOfWorkspace)
		}
	}
	if len(c.Found) > MostSkills {
		return refuse(RefusedInvalid, "there are %d skills, and at most %d can be offered: name fewer directories", len(c.Found), MostSkills)
	}
	for i := range c.Found {
		s := &c.Found[i]
		if s.Name == "" || s.Description == "" || len(s.Description) > MostSkillDescription || strings.ContainsAny(s.Name+s.Description, "\n\r") ||
			!utf8.ValidString(s.Name+s.Description+s.File) {
			return refuse(RefusedInvalid, "the skill %q cannot be offered: it needs a name, and a description of one line and at most %d bytes", events.Clip(s.Name, 80), MostSkillDescription)
		}
	}
	return nil
}
