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

// The tools of this file change nothing but the conversation: what they do is in history by their calls alone.

type askArgs struct {
	Question string   `json:"question" min:"1" max:"4000" jsonschema:"the question, with what the person needs to know to answer it"`
	Options  []string `json:"options,omitempty" max:"20" jsonschema:"answers to choose from, each at most 300 bytes; the person can give another one"`
}

func newAskUser() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "ask_user", Risk: events.RiskNone, Repeatable: true, Inside: true}, askUser)
}

// askUser asks, and when it is called again gives back what was answered.
func askUser(_ context.Context, use actors.ToolUse, args askArgs) (actors.ToolResult, error) {
	for i, option := range args.Options {
		if option == "" || len(option) > 300 {
			return actors.ToolResult{}, fmt.Errorf("options[%d]: must have from 1 to 300 bytes, not %d", i, len(option))
		}
	}
	if n := len(use.Answers); n > 0 {
		return actors.ToolResult{Text: "The person answered: " + use.Answers[n-1]}, nil
	}
	return actors.ToolResult{Ask: &events.Question{Text: args.Question, Options: args.Options}}, nil
}

type todoArgs struct {
	Todos []todoItem `json:"todos" max:"50" jsonschema:"the whole list, in the order of the work; it replaces the one before"`
}

type todoItem struct {
	Text   string `json:"text" min:"1" max:"300" jsonschema:"what is to be done"`
	Status string `json:"status" jsonschema:"pending, in_progress or completed"`
}

func newTodoWrite() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: sagas.TodoTool, Risk: events.RiskNone, Repeatable: true, Inside: true}, todoWrite)
}

// todoWrite checks the list. Its agent keeps what is in the call's arguments.
func todoWrite(_ context.Context, use actors.ToolUse, args todoArgs) (actors.ToolResult, error) {
	if len(use.Arguments) > sagas.MostTodos {
		return actors.ToolResult{}, fmt.Errorf("todos: the list has %d bytes, and at most %d are kept: shorten it", len(use.Arguments), sagas.MostTodos)
	}
	var wrong []string
	todos := make([]sagas.Todo, len(args.Todos))
	for i, item := range args.Todos {
		if todos[i] = (sagas.Todo{Text: item.Text, Status: sagas.TodoStatus(item.Status)}); !todos[i].Status.Known() {
			wrong = append(wrong, fmt.Sprintf("todos[%d].status: is %q, want pending, in_progress or completed", i, events.Clip(item.Status, 40)))
		}
	}
	if len(wrong) > 0 {
		return failed("invalid arguments of todo_write:\n- " + strings.Join(wrong, "\n- ")), nil
	}
	if len(todos) == 0 {
		return actors.ToolResult{Text: "The list is empty now."}, nil
	}
	return actors.ToolResult{Text: "The list is now:\n" + sagas.ShowTodos(todos)}, nil
}
