// Package tools holds the tools that every agent can be given: files, search and commands in its workspace.
//
// A tool here keeps these promises, and actorstest.TestTool checks them:
//
//   - Its arguments are a struct. The JSON Schema that models see is generated from it, and arguments are validated against that schema
//     before anything happens. All errors are reported at once, field by field, in words that help a model correct them.
//   - File tools cannot leave the workspace, by any path and any symbolic link: each works through an os.Root. They open
//     regular files and directories only. A file is replaced whole or not at all.
//   - What the file policy protects (package fspolicy) is neither read nor found, or not written.
//   - What the model sees is at most events.InlineLimit bytes, cut between characters, and says what was left out.
//   - A failure that the model can react to is a failed result. When the context ends, the tool returns its error
//     promptly, and none of its processes are left.
//
// bash is confined by what runs it: [Commands].
//
// To add a tool: write NAME.go with its arguments and what it does, NAME.md with what the model reads, a test, and its line in
// New.
package tools

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/network"
	"example.com/life/adapters/sandbox"
	"example.com/life/events"
)

//go:embed *.md
var descriptions embed.FS

// Config is what the tools need.
type Config struct {
	Blobs    storage.Blobs // gets output that is too long for the model
	Commands Commands
	Scratch  string           // an absolute directory for what commands keep outside their workspace: HOME and TMPDIR
	Ignore   Ignore           // what is left out of searches; nil: nothing
	Policy   *fspolicy.Policy // of what is protected in workspaces; nil: what is built in
	Network  *network.Policy  // of what web_fetch may reach; nil: nothing
	Skills   Skills           // nil: there are none
	Own      DataDir          // which no file tool reaches; nil: nothing is out of reach
}

// Commands runs programs.
type Commands interface {
	// Run runs a program and returns when nothing of it is left. When ctx ends first, the error is the context's.
	Run(ctx context.Context, c sandbox.Command) (sandbox.Exit, error)
}

// Skills reads what agents can be taught by files.
type Skills interface {
	// Content is what the model reads when it activates a skill. changed says whether the file is another one than when it was offered.
	Content(s events.Skill) (text string, changed bool, err error)
	// File is a text file beside the skill's own, by its path from the skill's directory.
	File(s events.Skill, name string) (text string, err error)
}

// DataDir keeps what belongs to Life out of reach.
type DataDir interface {
	// Guard looks at Life's data directory before a call that works in a workspace. It refuses a workspace that is in it, and otherwise returns what
	// tells the directories and files that belong to it.
	Guard(workspace string) (reserved func(fs.FileInfo) bool, err error)
}

// Ignore tells what a workspace's own rules leave out.
type Ignore interface {
	// Begin begins a look at a workspace: the result says which file of rules leaves out a path, or nothing. It reads the rules with read, and whoever
	// asks does not go into what is left out.
	Begin(read func(path string) []byte) func(path string, dir bool) (by string)
}

func (c Config) validate() error {
	if c.Blobs == nil {
		return errors.New("a blob store is required")
	}
	if c.Commands == nil {
		return errors.New("what runs commands is required")
	}
	if !filepath.IsAbs(c.Scratch) {
		return fmt.Errorf("the scratch directory %q must be an absolute path", c.Scratch)
	}
	return nil
}

// New returns every tool, in the order in which models are told of them. All are safe for concurrent use.
func New(c Config) ([]actors.Tool, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configure tools: %w", err)
	}
	f := files{own: c.Own, ignore: c.Ignore, policy: c.Policy, shown: &shown{}}
	if f.policy == nil {
		f.policy = &fspolicy.Policy{}
	}
	commands := shell{files: f, blobs: c.Blobs, scratch: c.Scratch, commands: c.Commands}
	var all []actors.Tool
	for _, build := range []func() (actors.Tool, error){
		f.newReadFile, f.newWriteFile, f.newEditFile, f.newStrReplace, f.newAppendLine, f.newDeleteFile, f.newMoveFile, f.newListDir, f.newGlob, f.newGrep, commands.tool, web{c.Blobs, c.Network}.tool, newEcho,
		newKnowledgeSearch, newKnowledgeTraverse, newNote, taught{c.Skills}.tool, newAskUser, newTodoWrite,
	} {
		tool, err := build()
		if err != nil {
			return nil, fmt.Errorf("make tools: %w", err)
		}
		all = append(all, tool)
	}
	return all, nil
}

type echoArgs struct {
	Text string `json:"text" max:"30000" jsonschema:"the text to give back"`
}

func newEcho() (actors.Tool, error) {
	return newTool(actors.ToolSpec{Name: "echo", Risk: events.RiskNone, Repeatable: true},
		func(_ context.Context, _ actors.ToolUse, args echoArgs) (actors.ToolResult, error) {
			return actors.ToolResult{Text: events.Cut(args.Text, outputLimit)}, nil
		})
}
