package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.com/life/adapters/api"
	"example.com/life/adapters/providers"
	"example.com/life/events"
	"example.com/life/sagas"
)

// tourModel is the scripted model that shows what an agent does. It calls nobody and costs nothing.
const tourModel = "scripted/tour"

func demoCommand(a *app) *cobra.Command {
	var show showFlags
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Watch a scripted agent work on a sample workspace; it needs no key and costs nothing",
		Long: "Watch a scripted agent work on a sample workspace: it lists the directory, reads a file, edits one and runs a command. The workspace is\n" +
			"written to DIR, a new directory (default: a temporary one). No model is called, whatever keys there are. The agent is called demo,\n" +
			"or demo-2 and so on.",
		Example: "  life demo\n  life demo tour",
		Args:    takes(0, 1, "the name of a new directory, or nothing"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.demo(cmd, args, &show)
		},
	}
	show.add(cmd)
	return cmd
}

func (a *app) demo(cmd *cobra.Command, args []string, show *showFlags) error {
	ctx := cmd.Context()
	return a.with(ctx, func(host reached) error {
		workspace, err := demoWorkspace(args)
		if err != nil {
			return err
		}
		agent, err := unusedAgent(ctx, host, "demo")
		if err != nil {
			return err
		}
		fmt.Fprintf(a.errs, "agent %s, played by the script %s, works on a copy of the sample workspace: %s\n", agent, tourModel, workspace)
		c := events.AgentConfig{Model: tourModel, Workspace: workspace, Tools: grants("list_dir,read_file,edit_file,bash")}
		if _, err := host.Do(ctx, events.AgentStream(agent), sagas.Create{Meta: newMeta(""), Agent: agent, Config: c}, origin()); err != nil {
			return fmt.Errorf("create agent %s: %w", agent, err)
		}
		v := show.view(a)
		r, err := a.give(ctx, host, agent, v, "Take the tour")
		if err != nil {
			return err
		}
		if err := v.conclude(r); err != nil || show.quiet || show.asJSON {
			return err
		}
		return a.afterDemo(agent)
	})
}

// afterDemo says what to look at next.
func (a *app) afterDemo(agent events.AgentID) error {
	fmt.Fprintln(a.errs, "\nEvery step is a stored event. Look at it:")
	w, where := table(a.errs), a.whereFlags()
	for _, line := range [][2]string{
		{"history %s", "what happened, event by event"},
		{"state %s --at turn:1.2", "the agent as it was"},
		{"workspace diff %s --from 0", "what it changed"},
		{"verify %s", "every decision is made again and compared"},
	} {
		fmt.Fprintf(w, "  life "+line[0]+"%s\t%s\n", agent, where, line[1])
	}
	return w.Flush()
}

// demoWorkspace writes the sample to the directory that is named, or to a temporary one.
func demoWorkspace(args []string) (string, error) {
	if len(args) == 1 {
		return writeSample(args[0])
	}
	parent, err := os.MkdirTemp("", "life-demo-")
	if err != nil {
		return "", fmt.Errorf("create the demo's workspace: %w", err)
	}
	return writeSample(filepath.Join(parent, "workspace"))
}

// unusedAgent is a name, or the first of name-2, name-3 … that no agent has.
func unusedAgent(ctx context.Context, host api.Host, name string) (events.AgentID, error) {
	for n := 1; ; n++ {
		agent := events.AgentID(name)
		if n > 1 {
			agent = events.AgentID(fmt.Sprintf("%s-%d", name, n))
		}
		_, err := host.State(ctx, agent, events.NoRevision)
		var refusal *sagas.RefusalError
		if errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing {
			return agent, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func sampleCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "sample DIR",
		Short:   "Write a small workspace for the tour to a new directory",
		Example: "  life sample /tmp/tour && life run --workspace /tmp/tour --model scripted/tour \"Take the tour\"",
		Args:    takes(1, 1, "the name of a new directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := writeSample(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, dir)
			return nil
		},
	}
}

// writeSample writes the sample workspace to a new directory and returns its absolute path.
func writeSample(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	files, err := providers.Sample()
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return "", coded("exists", "%s already exists: name a new directory", dir)
	} else if err != nil {
		return "", fmt.Errorf("create the sample: %w", err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return "", fmt.Errorf("write the sample: %w", err)
	}
	return dir, nil
}
