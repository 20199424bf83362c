// Package permission says what a call of a tool is before it runs: what kind of thing it does, and what the rules of the administrator, the user and the
// project say about it. Command lines are taken apart as bash does (mvdan.cc/sh), and each simple command is judged. It decides nothing: what becomes of the
// call is decided by the agent's saga, from what is found here and the agent's mode.
//
// A sandbox confines commands; this does not. What it knows of a command line can be led astray by programs that do other things than their names say, so
// what it does not know, it calls unclear.
package permission

import (
	"encoding/json"
	"strings"

	"example.com/life/events"
)

// shellTool is the tool whose calls are command lines.
const shellTool = "bash"

// Bounds of what is recorded of a call.
const (
	mostListed = 16
	mostText   = 200
)

// call is a call of a tool, taken apart.
type call struct {
	tool      string
	arguments json.RawMessage
	values    map[string]any
	workspace string
	line      *Line // of the shell; else nil
	parts     []part
}

// part is what is judged by itself: a command, a file that a redirection opens, or the whole of another call.
type part struct {
	command *Command
	file    *File
}

func newCall(tool string, arguments json.RawMessage) *call {
	c := &call{tool: tool, arguments: arguments}
	if json.Unmarshal(arguments, &c.values) != nil {
		c.values = nil
	}
	command, is := c.values["command"].(string)
	if tool != shellTool || !is {
		c.parts = []part{{}}
		return c
	}
	c.line = Parse(command)
	for i := range c.line.Commands {
		c.parts = append(c.parts, part{command: &c.line.Commands[i]})
	}
	for i := range c.line.Files {
		c.parts = append(c.parts, part{file: &c.line.Files[i]})
	}
	return c
}

// Judge says what a call is, and what rules say about it. Class is the class of calls of a tool other than the shell.
func Judge(rules []Rule, paths Paths, place Place, tool string, class events.CallClass, arguments json.RawMessage) events.Finding {
	c := newCall(tool, arguments)
	c.workspace = place.Workspace
	found := events.Finding{Class: class}
	if c.line != nil {
		found.Class = events.ClassRead
	}
	covered := len(c.parts) > 0 // every part is allowed
	for i := range c.parts {
		p := &c.parts[i]
		j := p.judge(c, rules, paths, place)
		if c.line == nil {
			j.Class = class
		}
		note(&found, &j)
		covered = covered && (j.Ruled == events.VerdictAllow || j.Ruled == "" && c.line != nil && (j.Class == events.ClassRead || p.file != nil && j.Class == events.ClassEdit))
	}
	if c.line != nil {
		for _, doubt := range c.line.Doubts {
			found.Class, found.Why = events.ClassUnclear, doubt
			covered = false
			break
		}
		found.Key = c.line.key(tool)
	}
	whole(&found, c, rules)
	if found.Ruled == events.VerdictAllow && !covered && !allowedWhole(c, rules) {
		found.Ruled, found.Rule, found.Reason = "", "", ""
	}
	return found
}

// note adds what was found of a part to what was found of the call.
func note(found *events.Finding, j *judged) {
	if of := worse(found.Class, j.Class); of != found.Class {
		found.Class, found.Why = of, j.Why
	}
	if stronger(j.Ruled, found.Ruled) {
		found.Ruled, found.Rule, found.Reason = j.Ruled, j.Rule, j.reason
	}
	found.Firm = found.Firm || j.firm
	if j.Text == "" {
		return
	}
	if len(found.Commands) == mostListed {
		found.More++
		return
	}
	found.Commands = append(found.Commands, j.JudgedCommand)
}

// whole applies rules that name no command, file or host: they are about a command line even if it has no part that is understood.
func whole(found *events.Finding, c *call, rules []Rule) {
	for i := range rules {
		r := &rules[i]
		if len(c.parts) == 0 && r.Match.Command == nil && r.Match.Path == "" && r.Match.Domain == "" && r.fits(c, &part{}) == yes && stronger(r.Decision, found.Ruled) {
			found.Ruled, found.Rule, found.Reason = r.Decision, r.At, r.Reason
			found.Firm = found.Firm || r.firm()
		}
	}
}

// allowedWhole reports whether a rule allows a call whatever is in it.
func allowedWhole(c *call, rules []Rule) bool {
	for i := range rules {
		if r := &rules[i]; r.Decision == events.VerdictAllow && r.Match.empty() && r.fits(c, &part{}) == yes {
			return true
		}
	}
	return false
}

// firm reports whether a person is asked each time.
func (r *Rule) firm() bool { return r.Scope == ScopeAdmin && r.Decision == events.VerdictAsk }

// judged is what was found of a part.
type judged struct {
	events.JudgedCommand
	reason string
	firm   bool
}

func (p *part) judge(c *call, rules []Rule, paths Paths, place Place) judged {
	var j judged
	s := sorter{paths: paths, place: place, line: c.line}
	switch {
	case p.command != nil:
		j.Text = short(p.command.String())
		j.Class, j.Why = s.command(p.command)
	case p.file != nil:
		sign := "< "
		if p.file.Write {
			sign = "> "
		}
		j.Text = short(sign + p.file.Path.Text)
		j.Class, j.Why = s.file(p.file.Path, p.file.Write)
	}
	for i := range rules {
		r := &rules[i]
		decision, reason := r.Decision, r.Reason
		switch r.fits(c, p) {
		case no:
			continue
		case maybe:
			if decision == events.VerdictAllow {
				continue
			}
			if decision == events.VerdictDeny {
				decision, reason = events.VerdictAsk, "it may be what is denied: "+reason
			}
		case yes:
		}
		j.firm = j.firm || r.firm()
		if stronger(decision, j.Ruled) {
			j.Ruled, j.Rule, j.reason = decision, r.At, reason
		}
	}
	return j
}

// stronger reports whether a decision is to be preferred to another: deny to ask, ask to allow, allow to none.
func stronger(a, b events.Verdict) bool { return rank(a) > rank(b) }

func rank(v events.Verdict) int {
	return map[events.Verdict]int{events.VerdictAllow: 1, events.VerdictAsk: 2, events.VerdictDeny: 3}[v]
}

func short(text string) string { return events.Clip(strings.ToValidUTF8(text, "\ufffd"), mostText) }
