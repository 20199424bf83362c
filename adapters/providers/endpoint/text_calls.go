package endpoint

import (
	"regexp"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// callMarks begin a tool call in the formats that models are trained on, where the server should have parsed it and did not: because its
// parser is not switched on or failed, or because the reply was cut off. Each stands at the beginning of a line.
var callMarks = regexp.MustCompile(`(?im)^[ \t]*(?:` + callMark + `)`)

// AnyMark is a mark anywhere: in what a model thinks, a call that it meant to make stands where it may.
var AnyMark = regexp.MustCompile(`(?i)(?:` + callMark + `)`)

//nolint:gochecknoglobals // an explicit list, never written to
var callMark = strings.Join([]string{
	`</?tool_calls?>`,                 // Hermes, Qwen, GLM, Jamba
	`<function[=_ ][\w"=.:-]*[>{(]?`,  // Llama, Qwen's coders
	`</?function_calls?>`, `<invoke `, // Anthropic's
	`<(?:[\w-]+:)(?:tool_call|function_calls|invoke)\b`,
	`\[TOOL_CALLS?\]`, `<TOOLCALL>`, `\[AVAILABLE_TOOLS\]`, // Mistral, Nemotron
	`<\|?python_tag\|?>`,                        // Llama 3
	`<\|tool_calls?(?:_section)?(?:_begin)?\|>`, // Kimi, Granite, Phi
	`<[|｜]tool[▁_]calls?[▁_]begin[|｜]>`,         // DeepSeek
	`<[|｜]DSML[|｜]`,
	`<\|START_ACTION\|>`, `<\|action_start\|>`, // Command, InternLM
	`(?:<\|start\|>assistant)?<\|channel\|>commentary to=`, // gpt-oss
	"```tool_(?:code|calls?)\\b",                           // Gemma
}, "|")

// fences of code: what stands between them is shown, not called.
var fences = regexp.MustCompile("(?m)^[ \t]*```(?:[^`\n]*)$")

// CallInText reports whether a text holds a call of a tool that was offered, whole or cut off. Without tools there are none.
func CallInText(text string, tools []actors.ToolSpec) bool {
	if len(tools) == 0 || !strings.ContainsAny(text, "<[{`") {
		return false
	}
	if bareCall(strings.TrimSpace(text), tools) {
		return true
	}
	for _, at := range callMarks.FindAllStringIndex(text, -1) {
		if len(fences.FindAllStringIndex(text[:at[0]], -1))%2 == 0 {
			return true
		}
	}
	return false
}

// FaultOf is why a reply without calls is no answer; empty if it is one.
func FaultOf(question *actors.ModelRequest, text, thoughts string, stop events.StopReason) events.Fault {
	empty := strings.TrimSpace(text) == ""
	switch {
	case CallInText(text, question.Tools), empty && len(question.Tools) > 0 && AnyMark.MatchString(thoughts):
		return events.FaultCall
	case empty && stop != events.StopLength: // at its limit it is told to raise that
		return events.FaultEmpty
	}
	return ""
}

// bareNames are how a call begins that is JSON and nothing else, as small models write them; a list of them begins alike.
var bareNames = regexp.MustCompile(`^(?:\x60{3}(?:json)?\s*)?\[?\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?(?:"function"\s*:\s*\{\s*)?"(?:name|function|tool|tool_name)"\s*:\s*"([^"]*)("?)\s*(?:,\s*"(\w*)("?))?`)

// bareCall reports whether a whole text is a call of an offered tool: its name comes first, and its arguments follow or are cut off.
func bareCall(text string, tools []actors.ToolSpec) bool {
	found := bareNames.FindStringSubmatch(text)
	if found == nil {
		return false
	}
	name, closed, next := found[1], found[2] != "", found[3]
	ends := len(found[0]) == len(text) // it is cut off within what was looked at
	for _, tool := range tools {
		switch {
		case !closed && ends && name != "" && strings.HasPrefix(tool.Name, name):
			return true
		case closed && name == tool.Name && (ends || isArguments(next) || next == "" && strings.TrimRight(text[len(found[0]):], "}] \n`") == ""):
			return true
		}
	}
	return false
}

func isArguments(key string) bool {
	switch key {
	case "arguments", "parameters", "args", "input", "params", "id", "type":
		return true
	}
	return false
}
