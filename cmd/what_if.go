package cmd

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/whatif"
	"example.com/life/adapters/declared"
	"example.com/life/events"
)

// whatIfFlags is what life what-if is asked.
type whatIfFlags struct {
	agents, set         []string
	from, to, where     string
	turns, parallel     int
	live, offline, tape bool
	budget              string
	id                  string
	patience            time.Duration
	discard, bare       bool
	asJSON, progress    bool
}

func whatIfCommand(a *app) *cobra.Command {
	var f whatIfFlags
	cmd := &cobra.Command{
		Use:   "what-if --agents NAMES --set KEY=VALUE",
		Short: "Run many recorded turns again with a change, and tabulate the differences",
		Long: "Run many recorded turns again with a change, and tabulate the differences. Each turn is forked at its start with the changed settings,\n" +
			"receives what people sent the agent in that turn, runs to its end, and is compared with the original. The parents are not touched. The\n" +
			"forks are named what-if-ID-AGENT-TURN and stay, so that you can inspect them with life diff. The same --id continues an interrupted run.\n\n" +
			"Recorded responses of models and tools are used as long as the requests are the same; after that, calls are live (--tape, the\n" +
			"default), or the turn stops (--offline). With --live, all calls are live from the start.",
		Example: "  life what-if --agents demo --set model=openai/gpt-4o-mini --turns 5 --budget 0.50\n" +
			"  life what-if --agents 'support-*' --set prompt='Be brief.' --from 2026-11-01 --parallel 4 --json",
		Args: takes(0, 0, "only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.newWhatIf(&f)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				return w.do(cmd.Context(), host)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.agents, "agents", nil, "agents whose turns to run: names, or patterns such as 'support-*'")
	flags.StringArrayVar(&f.set, "set", nil, "setting to change, as KEY=VALUE (life fork --help lists the keys); may be repeated")
	flags.StringVar(&f.from, "from", "", "only turns that began at or after this moment: "+momentHelp)
	flags.StringVar(&f.to, "to", "", "only turns that had ended by this moment: "+momentHelp)
	flags.StringVar(&f.where, "where", "", "only turns with an event for which this expression is true, such as 'kind == \"tool.returned\" and failed'")
	flags.IntVar(&f.turns, "turns", 0, "at most this many of the latest turns of each agent; 0: all")
	flags.BoolVar(&f.tape, "tape", false, "use recorded responses until something differs, then make calls (the default)")
	flags.BoolVar(&f.live, "live", false, "make every call live")
	flags.BoolVar(&f.offline, "offline", false, "use recorded responses only: a turn stops at its first difference")
	flags.StringVar(&f.budget, "budget", "", "dollars that all turns together may cost; when they are spent, no further turn runs")
	flags.IntVar(&f.parallel, "parallel", 2, "number of turns to run in parallel")
	flags.StringVar(&f.id, "id", "", "name of this what-if, used in the names of the forks; the name of an interrupted one continues it (default: a new name)")
	flags.DurationVar(&f.patience, "patience", 10*time.Minute, "how long one turn may take before it counts as waiting")
	flags.BoolVar(&f.discard, "discard", false, "retire the forks after the comparison")
	flags.BoolVar(&f.bare, "no-workspace", false, "give forks no workspace (default: a copy of the parent's workspace as of the start of the turn)")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// whatIf is one what-if under way.
type whatIf struct {
	app    *app
	flags  *whatIfFlags
	config whatif.Config
}

// newWhatIf checks what is asked.
func (a *app) newWhatIf(f *whatIfFlags) (*whatIf, error) {
	w := &whatIf{app: a, flags: f, config: whatif.Config{
		ID: f.id, Origin: origin(), Agents: f.agents, Turns: f.turns, Tape: events.TapeFirst, NoWorkspace: f.bare,
		Parallel: f.parallel, Patience: f.patience, Discard: f.discard,
	}}
	for _, pattern := range f.agents {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, usage("--agents: %q is not a name or a pattern", pattern)
		}
	}
	switch {
	case len(f.agents) == 0:
		return nil, usage("--agents is required: the agents whose turns to run; '*' means all")
	case f.turns < 0:
		return nil, usage("--turns is %d: it must be a number of turns; 0 means all", f.turns)
	case f.parallel < 1:
		return nil, usage("--parallel is %d: it must be at least 1", f.parallel)
	case f.patience <= 0:
		return nil, usage("--patience is %s: it must be positive", f.patience)
	case f.live && f.offline, f.live && f.tape, f.offline && f.tape:
		return nil, usage("give only one of --tape, --live and --offline")
	case f.live:
		w.config.Tape = events.TapeLive
	case f.offline:
		w.config.Tape = events.TapeOffline
	}
	keys, _ := actors.SettingKeys()
	for _, set := range f.set {
		if key, _, is := strings.Cut(set, "="); !is || !slices.Contains(keys, key) {
			return nil, usage("--set %q is not KEY=VALUE; the keys are: %s", set, strings.Join(keys, ", "))
		}
		text, err := settingText(set)
		if err != nil {
			return nil, err
		}
		w.config.Set = append(w.config.Set, text)
	}
	if w.config.ID == "" {
		w.config.ID = strings.ReplaceAll(uuid.NewString(), "-", "")[:6]
	}
	if err := events.AgentID(w.config.ID).Validate(); err != nil || len(w.config.ID) > whatif.MaxID {
		return nil, usage("--id is %q: it must have 1 to %d characters of a-z 0-9 . _ -, and begin with a letter or digit", w.config.ID, whatif.MaxID)
	}
	if f.where != "" {
		where, err := declared.CompileFilter(f.where)
		if err != nil {
			return nil, usage("--where: %w", err)
		}
		w.config.Where = func(e *events.Envelope) (bool, error) {
			is, err := where(e)
			if err != nil {
				err = fmt.Errorf("--where: %w", err)
			}
			return is, err
		}
	}
	return w, w.readBounds()
}

// readBounds reads the flags that bound a what-if in time and money.
func (w *whatIf) readBounds() (err error) {
	if w.flags.budget != "" {
		w.config.Budget, err = events.ParseMoney(w.flags.budget)
		if err != nil || w.config.Budget <= 0 {
			return usage("--budget is %q: it must be an amount in dollars, such as 0.50", w.flags.budget)
		}
	}
	if w.flags.from != "" {
		if w.config.From, err = parseMoment("from", w.flags.from); err != nil {
			return err
		}
	}
	if w.flags.to != "" {
		w.config.To, err = parseMoment("to", w.flags.to)
	}
	return err
}

// do chooses the turns, runs them and tells what came of it.
func (w *whatIf) do(ctx context.Context, host whatif.Host) error {
	m := w.app.newMeter(w.flags.progress)
	defer m.done()
	run := whatif.New(host, w.config)
	turns, err := run.Choose(ctx, func(agent events.AgentID, number, of int) {
		m.show("looking for turns of %s, agent %d of %d", agent, number, of)
	})
	if err != nil {
		return err
	}
	m.done()
	if len(turns) == 0 {
		return &exit{exitError, coded("not_found", "no agent selected by --agents has a turn that ended in that time; life agents lists the agents")}
	}
	if !w.flags.asJSON {
		fmt.Fprintf(w.app.errs, "life: what-if %s: %d turns; if it is interrupted, --id %s continues it\n", w.config.ID, len(turns), w.config.ID)
	}
	results := run.Run(ctx, turns, func(done int, left time.Duration) {
		m.show("%d of %d turns, %s left", done, len(turns), left.Round(time.Second))
	})
	m.done()
	if err := w.print(results); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return &exit{code: exitCancelled}
	}
	return nil
}
