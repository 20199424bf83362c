package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
)

type forkFlags struct {
	at, name, edit, wallet, budget, workspace string
	set                                       []string
	tape, live, offline, noInputs             bool
	turns                                     int
	show                                      showFlags
}

func forkCommand(a *app) *cobra.Command {
	var f forkFlags
	keys, about := actors.SettingKeys()
	var help strings.Builder
	for i := range keys {
		fmt.Fprintf(&help, "  %-22s %s\n", keys[i], about[i])
	}
	cmd := &cobra.Command{
		Use:   "fork AGENT",
		Short: "Create an agent that continues another agent's history, and run it",
		Long: "Create a new agent that continues AGENT's history as of --at, with other settings, and watch it. It receives everything that AGENT was sent\n" +
			"after that (messages, approvals, denials, cancellations), each at its point. With --tape, the default, recorded responses of AGENT's models\n" +
			"and tools are used as long as the fork makes the same requests; life reports the first request that differs, and from there on calls are\n" +
			"live (or, with --offline, the run stops). The fork has a copy of AGENT's workspace, and a wallet of its own that holds no real money.\n" +
			"Afterwards it is an agent like any other.\n\n" +
			"The exit status says how the fork's latest turn ended, as for life run. The keys of --set:" + help.String() +
			"A value of prompt, rules or policy that begins with @ names a file.",
		Example: "  life fork demo --at 31\n  life fork demo --at turn:2 --set model=openai/gpt-5-mini --set limits.rounds=10\n" +
			"  life fork demo --at turn:2 --set prompt=@brief.txt --name brief --offline\n  life fork demo --at 12 --edit-message \"Only look, change nothing\"",
		Args: takes(1, 1, "one agent"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.fork(cmd, args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "a revision, a time, or turn:N as it ended (default: the latest)")
	flags.StringVar(&f.name, "name", "", "name of the fork (default: the agent's name and six characters)")
	flags.StringArrayVar(&f.set, "set", nil, "KEY=VALUE, a setting that differs from AGENT's; may be repeated")
	flags.StringVar(&f.edit, "edit-message", "", "replacement text for the message that starts the first turn of the fork")
	flags.BoolVar(&f.tape, "tape", false, "use recorded responses until something differs, then make calls (the default)")
	flags.BoolVar(&f.live, "live", false, "make every call live")
	flags.BoolVar(&f.offline, "offline", false, "make no call: stop at the first difference")
	flags.BoolVar(&f.noInputs, "no-inputs", false, "do not send the fork what AGENT was sent later")
	flags.IntVar(&f.turns, "turns", 0, "send the fork what AGENT was sent until this many of AGENT's later turns had ended (default: all)")
	flags.StringVar(&f.wallet, "wallet", "", "an existing wallet that pays for live calls (default: the fork's own wallet)")
	flags.StringVar(&f.budget, "budget", "", "dollars in the fork's own wallet, at most what AGENT's wallet had available (default: that amount)")
	flags.StringVar(&f.workspace, "workspace", "", "directory for the fork's tools, or none (default: a copy of AGENT's as of --at)")
	f.show.add(cmd)
	return cmd
}

func (a *app) fork(cmd *cobra.Command, agent string, f *forkFlags) error {
	parent, err := checkAgent(agent)
	if err != nil {
		return err
	}
	order, err := f.order(parent)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	return a.with(ctx, func(host reached) error {
		if f.at != "" {
			moment, err := history.ParseMoment(f.at, time.Now())
			if err != nil {
				return usage("--at: %w", err)
			}
			place, err := host.Resolve(ctx, parent, moment)
			if err != nil {
				return err
			}
			order.At = place.Revision
		}
		forked, err := host.Fork(ctx, order, origin())
		if err != nil {
			return err
		}
		v := f.show.view(a)
		state, err := a.followFork(ctx, host, forked.Agent, v)
		if err != nil {
			return err
		}
		return v.concludeFork(&forked, &state.Agent, state.Revision)
	})
}

// order is what the command line asks for.
func (f *forkFlags) order(parent events.AgentID) (actors.ForkOrder, error) {
	order := actors.ForkOrder{
		ID: events.CommandID(uuid.NewString()), Parent: parent, At: events.NoRevision, Name: events.AgentID(f.name), Edit: f.edit,
		Tape: events.TapeFirst, Turns: f.turns, Wallet: events.WalletID(f.wallet), Workspace: f.workspace,
	}
	if err := f.exclusive(); err != nil {
		return order, err
	}
	switch {
	case f.live:
		order.Tape = events.TapeLive
	case f.offline:
		order.Tape = events.TapeOffline
	}
	if f.turns < 0 {
		return order, usage("--turns is %d: it must be positive", f.turns)
	}
	if f.noInputs {
		order.Turns = actors.NoTurns
	}
	if f.budget != "" {
		if err := setMoney(&order.Budget, f.budget); err != nil {
			return order, usage("--budget: %w", err)
		}
	}
	if f.workspace != "" && f.workspace != actors.NoWorkspace {
		dir, err := directory(f.workspace)
		if err != nil {
			return order, err
		}
		order.Workspace = dir
	}
	for _, setting := range f.set {
		text, err := settingText(setting)
		if err != nil {
			return order, err
		}
		order.Set = append(order.Set, text)
	}
	return order, checkText(f.edit)
}

// exclusive refuses flags that contradict each other.
func (f *forkFlags) exclusive() error {
	switch {
	case f.tape && f.live, f.tape && f.offline, f.live && f.offline:
		return usage("give only one of --tape, --live and --offline")
	case f.noInputs && f.turns != 0:
		return usage("give --no-inputs or --turns, not both")
	case f.wallet != "" && f.budget != "":
		return usage("--budget applies to the fork's own wallet: give --budget or --wallet, not both")
	}
	return nil
}

// settingText puts a file's content in the place of its name.
func settingText(setting string) (string, error) {
	key, value, _ := strings.Cut(setting, "=")
	path, named := strings.CutPrefix(value, "@")
	if !named || key != "prompt" && key != "rules" && key != "policy" {
		return setting, checkText(setting)
	}
	text, err := readPrompt(path)
	if err != nil {
		return "", fmt.Errorf("--set %s: %w", key, err)
	}
	return key + "=" + text, checkText(text)
}

// followFork shows what a fork does until it has followed its parent to the end, or can do nothing more.
func (a *app) followFork(ctx context.Context, host reached, fork events.AgentID, v *view) (history.AgentState, error) {
	feed, err := host.Watch(ctx, fork, events.NoRevision)
	if err != nil {
		return history.AgentState{}, fmt.Errorf("watch fork %s: %w", fork, err)
	}
	defer feed.Close()
	defer v.finish()
	for {
		item, err := feed.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return history.AgentState{}, &exit{exitCancelled, fmt.Errorf("left before fork %s had followed its parent; life serve continues it, life state %s shows its progress", fork, fork)}
		}
		if err != nil {
			return history.AgentState{}, fmt.Errorf("follow fork %s: %w", fork, err)
		}
		if item.Delta != nil {
			v.delta(item.Delta)
			continue
		}
		event, err := item.Event.Event()
		if err != nil {
			return history.AgentState{}, err
		}
		if err := v.event(item.Event, event); err != nil {
			return history.AgentState{}, err
		}
		switch event.(type) {
		case events.ForkFinished, events.AgentRetired, events.AgentQuarantined:
			return host.State(ctx, fork, events.NoRevision)
		}
	}
}

// forkResult is how a fork was left.
type forkResult struct {
	*actors.Forked
	Taped    int                  `json:"taped"`
	Live     int                  `json:"live"`
	Skipped  int                  `json:"skipped"`
	Diverged *events.ForkDiverged `json:"diverged,omitempty"`
	Result   result               `json:"result"`
}

// concludeFork says how far the fork followed its parent, where it went another way first, and how it was left.
func (v *view) concludeFork(forked *actors.Forked, agent *sagas.Agent, revision events.Revision) error {
	l := &agent.Fork
	r := left(agent, revision)
	if v.asJSON {
		if err := v.app.printJSON(forkResult{forked, l.Taped, l.Live, l.Skipped, l.Diverged, r}); err != nil {
			return err
		}
		return r.forkStatus(agent)
	}
	v.printFinal(&r)
	if v.quiet && r.Outcome == events.Done {
		return r.forkStatus(agent)
	}
	w := v.app.errs
	fmt.Fprintf(w, "fork %s of %s at revision %d: %d calls from the tape, %d live\n", forked.Agent, forked.Parent, forked.At, l.Taped, l.Live)
	if d := l.Diverged; d != nil {
		place := fmt.Sprintf("round %d", d.Round)
		if d.Call != "" {
			place = "call " + string(d.Call)
		}
		fmt.Fprintf(w, "  first difference in turn %s, %s: %s\n", d.Turn, place, events.Visible(d.Detail))
	} else if l.Tape != events.TapeLive {
		fmt.Fprintln(w, "  no difference")
	}
	if l.Skipped > 0 {
		fmt.Fprintf(w, "  %d inputs of %s were not accepted; life history %s --kind fork.skipped says why\n", l.Skipped, forked.Parent, forked.Agent)
	}
	switch {
	case agent.Turn.ID != "":
		fmt.Fprintln(w, r.waits())
		v.app.nextSteps(w, &r)
	case agent.Last != nil && !v.quiet:
		fmt.Fprintln(w, endLine(r))
	}
	return r.forkStatus(agent)
}

// left is how an agent's latest turn was left.
func left(agent *sagas.Agent, revision events.Revision) result {
	f := follower{agent: agent.ID, latest: revision}
	switch {
	case agent.Turn.ID != "":
		f.blocked = agent
	case agent.Last != nil:
		f.turn, f.ended = agent.Last.Turn, agent.Last
	}
	return f.result()
}

// forkStatus is the exit status of a fork: that of its latest turn. One that had none is well.
func (r *result) forkStatus(agent *sagas.Agent) error {
	if agent.Turn.ID == "" && (agent.Last == nil || agent.Last.Turn.Agent() != agent.ID) {
		return nil
	}
	if r.Outcome == events.Cancelled { // in its parent too: nobody cancelled the verb
		return nil
	}
	return r.status()
}
