package cmd

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

type runFlags struct {
	agent string
	show  showFlags
	agentFlags
}

// showFlags choose what a turn's watcher sees.
type showFlags struct{ quiet, asJSON, verbose, thinking bool }

func (s *showFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&s.quiet, "quiet", "q", false, "print only the final text, when the turn has ended")
	cmd.Flags().BoolVar(&s.asJSON, "json", false, "print one JSON object per event, and one for the result")
	cmd.Flags().BoolVar(&s.thinking, "thinking", false, "show what the model thinks, on standard error")
	cmd.Flags().BoolVarP(&s.verbose, "verbose", "v", false, "show every event, including bookkeeping")
}

func (s *showFlags) view(a *app) *view {
	out, ok := a.out.(*output)
	return &view{app: a, quiet: s.quiet, asJSON: s.asJSON, whole: s.verbose, muse: s.thinking, held: !ok || !out.shown}
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run PROMPT",
		Short: "Give an agent a message and watch its turn",
		Long: "Give an agent a message and watch the turn that it starts. The agent is created if it does not exist; without --agent, a new one\n" +
			"is created, and retired once it has nothing left to do: its history stays. Flags that configure an agent change one that exists\n" +
			"for good, and say so. The model's text goes to standard output, everything else to standard error.\n" +
			"On a terminal the text appears as it arrives. Elsewhere each reply is written when it is complete: what an attempt that fails has said\n" +
			"is not the answer. With --thinking, what the model thinks is shown as it arrives; --think says how much it thinks.\n\n" +
			"The exit status says how the turn ended: 0 done, 3 stopped by a limit, a loop or a refusal, 4 failed, 5 waiting for a person,\n" +
			"130 cancelled; 1 is any other error, 2 an invalid command line. Ctrl-C cancels the turn and waits until that is stored;\n" +
			"a second Ctrl-C exits at once.",
		Example: "  life run --model openai/gpt-5-mini \"What does this project do?\"\n  life run --agent demo --ask bash \"Run the tests\"\n  git diff | life run --agent reviewer -",
		Args:    takes(1, 1, "one prompt, in quotes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd, args[0], &f)
		},
	}
	cmd.Flags().StringVar(&f.agent, "agent", "", "name of the agent (default: a new one)")
	f.show.add(cmd)
	f.add(cmd)
	return cmd
}

func (a *app) run(cmd *cobra.Command, prompt string, f *runFlags) error {
	if f.once = f.agent == ""; f.once {
		f.agent = "run-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:10]
	}
	agent, err := checkAgent(f.agent)
	if err != nil {
		return err
	}
	text, err := argument(prompt, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if text == "" {
		return usage("the prompt is empty")
	}
	ctx := cmd.Context()
	return a.with(ctx, func(host reached) error {
		if err := a.prepare(ctx, cmd, host, agent, &f.agentFlags, f.show.quiet || f.show.asJSON); err != nil {
			return err
		}
		v := f.show.view(a)
		r, err := a.give(ctx, host, agent, v, text)
		if err != nil {
			return err
		}
		return v.conclude(r)
	})
}

// give gives an agent a message and shows its turn.
func (a *app) give(ctx context.Context, host api.Host, agent events.AgentID, v *view, text string) (result, error) {
	return a.attend(ctx, host, agent, v, func() (actors.Receipt, error) {
		return host.Do(ctx, events.AgentStream(agent), sagas.Send{
			Meta: newMeta(""), Verb: events.Collect, From: a.person(), Text: events.Text{Inline: text},
		}, origin())
	})
}

// prepare makes the agent, or configures it as the command line says, and says so unless it is to be quiet.
func (a *app) prepare(ctx context.Context, cmd *cobra.Command, host reached, agent events.AgentID, f *agentFlags, quiet bool) error {
	state, err := host.State(ctx, agent, events.NoRevision)
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing {
		var c events.AgentConfig
		if err := f.apply(a, cmd, &c, true); err != nil {
			return err
		}
		if _, err := host.Do(ctx, events.AgentStream(agent), sagas.Create{Meta: newMeta(""), Agent: agent, Config: c}, origin()); err != nil {
			return fmt.Errorf("create agent %s: %w", agent, err)
		}
		return a.sayOldPrice(host, c.Model, quiet)
	}
	if err != nil {
		return err
	}
	c := state.Agent.Config
	if err := f.apply(a, cmd, &c, false); err != nil {
		return err
	}
	if reflect.DeepEqual(c, state.Agent.Config) {
		return a.sayOldPrice(host, c.Model, quiet)
	}
	if _, err := host.Do(ctx, events.AgentStream(agent), sagas.Configure{Meta: newMeta(""), Config: c}, origin()); err != nil {
		return fmt.Errorf("configure agent %s: %w", agent, err)
	}
	if quiet {
		return nil
	}
	changed := strings.Join(f.given(cmd), " ")
	if was := state.Agent.Config.Model; was != c.Model {
		changed += fmt.Sprintf("; its model was %s", was)
	}
	fmt.Fprintf(a.errs, "the configuration of agent %s changed, for this turn and later ones: %s\n", agent, changed)
	return a.sayOldPrice(host, c.Model, quiet)
}

// sayOldPrice says, once, that the price of a model is old: what the turn costs is then told by it.
func (a *app) sayOldPrice(host reached, model string, quiet bool) error {
	if quiet || !host.here { // a life serve has prices of its own
		return nil
	}
	return a.catalogue().SayOld(a.errs, model, time.Now())
}
