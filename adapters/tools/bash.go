package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/adapters/sandbox/supervisor"
	"example.com/life/events"
)

// How long a command may take.
const (
	bashTimeout = 120 * time.Second // unless asked for another
	bashLongest = 600 * time.Second // the bound in bashArgs
)

type bashArgs struct {
	Command   string   `json:"command" min:"1" max:"100000" jsonschema:"the command line"`
	TimeoutMS int      `json:"timeout_ms,omitempty" min:"1" max:"600000" jsonschema:"after how many milliseconds it is cut off; 120000 if not given"`
	Secrets   []string `json:"secrets,omitempty" max:"20" jsonschema:"names of the host's secrets that the command needs: each is in the environment under its name"`
}

// shell runs command lines.
type shell struct {
	files    files
	blobs    storage.Blobs
	scratch  string // see Config
	commands Commands
}

func (s shell) tool() (actors.Tool, error) {
	// The host's own limit must not come first: then the model would not see what the command printed.
	spec := actors.ToolSpec{Name: "bash", Risk: events.RiskHigh, Timeout: bashLongest + time.Minute}
	return newTool(spec, s.bash)
}

func (s shell) bash(ctx context.Context, use actors.ToolUse, args bashArgs) (actors.ToolResult, error) {
	w, err := s.files.open(use.Workspace)
	if err != nil {
		return actors.ToolResult{}, err
	}
	if err := w.close(); err != nil {
		return actors.ToolResult{}, err
	}
	env := []string{"LANG=C.UTF-8", "TERM=dumb"}
	for _, name := range args.Secrets {
		value, err := secretValue(use.Secrets, name)
		if err != nil {
			return actors.ToolResult{}, err
		}
		env = append(env, name+"="+value)
	}
	timeout := cmp.Or(time.Duration(args.TimeoutMS)*time.Millisecond, bashTimeout)
	limited, cancel := context.WithTimeoutCause(ctx, timeout, errTooLong)
	defer cancel()
	output := newSpool(ctx, s.blobs)
	masking := maskedOutput(output, use.Secrets)
	// What belongs to the workspace but is outside it, so that caches outlive a command and are no part of the agent's work.
	own := filepath.Join(s.scratch, events.HashBytes([]byte(w.dir))[:16])
	exit, err := s.commands.Run(limited, sandbox.Command{
		// -c without -l: the profile scripts of a login shell can take longer than the command.
		Path: "/bin/bash", Args: []string{"-c", args.Command}, Env: env, Output: masking,
		Workspace: w.dir, Home: filepath.Join(own, "home"), Temp: filepath.Join(own, "tmp"), Watchdog: watchdog(use.Watchdog),
	})
	_ = masking.Close() // a spool takes everything
	text, full := output.close()
	if ctx.Err() != nil {
		return actors.ToolResult{}, ctx.Err()
	}
	// A command that ended by itself has answered, whatever its exit status: only one that could not be carried out is a failure.
	end, failed := "", err != nil || exit.Left > 0
	switch {
	case err != nil && errors.Is(context.Cause(limited), errTooLong):
		end = fmt.Sprintf("[the command was cut off after %v]", timeout)
	case err != nil:
		end = fmt.Sprintf("[the command could not be run to its end: %v]", err)
	case exit.Excess != "":
		end, failed = "["+excess(exit.Excess)+"]", true
	case exit.Signal != 0:
		end = fmt.Sprintf("[a signal ended the command: %v]", exit.Signal)
	case exit.Code != 0:
		end = fmt.Sprintf("[exit status %d]", exit.Code)
	}
	if exit.Left > 0 {
		end += fmt.Sprintf("[%d processes of the command could not be ended]", exit.Left)
	}
	return actors.ToolResult{Text: ended(text, end) + reached(exit.Network), Full: full, Failed: failed, Sandbox: exit.Level.String(), Confined: exit.Confined}, nil
}

// reached says what a command reached of the network, and what it did not. It is a part of what the model and history see.
func reached(network []string) string {
	var text strings.Builder
	for _, line := range network {
		text.WriteString("\n[network: " + line + "]")
	}
	return text.String()
}

// excess says for which limit a command was ended.
func excess(of supervisor.Excess) string {
	return map[supervisor.Excess]string{
		supervisor.ExcessMemory: "the command was ended: its processes took more memory than one command may",
		supervisor.ExcessDisk:   "the command was ended: the disk is almost full",
		supervisor.ExcessLease:  "the command was ended: its host could not say that it is a member of its cluster still, and others may go on with its work",
	}[of]
}

// watchdog has a command end with its host's right to go on.
func watchdog(of *actors.Watchdog) *supervised.Watchdog {
	if of == nil {
		return nil
	}
	return &supervised.Watchdog{GoesOnUntil: of.GoesOnUntil, Every: of.Every}
}

// secretValue is a secret of the host that the call may use.
func secretValue(secrets actors.Secrets, name string) (string, error) {
	if secrets == nil {
		return "", fmt.Errorf("there is no secret %q here", events.Clip(name, 80))
	}
	return secrets.Value(name)
}

// errTooLong is why the context of a command that took too long ended.
var errTooLong = errors.New("the command took too long")

// ended puts how a command ended on a line of its own after its output.
func ended(text, end string) string {
	switch {
	case text == "" && end == "":
		return "[no output]"
	case text == "" || end == "" || text[len(text)-1] == '\n':
		return text + end
	}
	return text + "\n" + end
}
