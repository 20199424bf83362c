package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

type skillArgs struct {
	Name string `json:"name" jsonschema:"the skill, as the list of available skills names it" min:"1" max:"256"`
	File string `json:"file,omitempty" jsonschema:"instead of the skill itself, a text file that it mentions, by its path from the skill's directory" max:"1024"`
}

// taught makes the tool by which a model asks for a skill.
type taught struct{ skills Skills }

func (t taught) tool() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: sagas.SkillTool, Risk: events.RiskLow, Repeatable: true}, t.activate)
}

func (t taught) activate(_ context.Context, use actors.ToolUse, args skillArgs) (actors.ToolResult, error) {
	at := slices.IndexFunc(use.Skills, func(s events.Skill) bool { return s.Name == args.Name })
	if at < 0 || t.skills == nil {
		return actors.ToolResult{}, fmt.Errorf("there is no skill %q; %s", events.Clip(args.Name, 80), offeredSkills(use.Skills))
	}
	if args.File != "" {
		text, err := t.skills.File(use.Skills[at], args.File)
		if err != nil {
			return actors.ToolResult{}, err
		}
		return actors.ToolResult{Text: cutText(text)}, nil
	}
	text, changed, err := t.skills.Content(use.Skills[at])
	if err != nil {
		return actors.ToolResult{}, errors.Join(errors.New("the skill cannot be read any more"), err)
	}
	if changed {
		text += "\n[The skill was changed after it was offered.]"
	}
	return actors.ToolResult{Text: cutText(text)}, nil
}

func offeredSkills(all []events.Skill) string {
	if len(all) == 0 {
		return "this agent is offered none"
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return "there are " + strings.Join(names, ", ")
}

// cutText is a text as much of it as a model sees of one result.
func cutText(text string) string {
	if len(text) <= outputLimit {
		return text
	}
	shown := events.Cut(text, outputLimit)
	return fmt.Sprintf("%s\n[%d bytes more were left out]", shown, len(text)-len(shown))
}
