package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

func approveCommand(a *app) *cobra.Command {
	var f waitFlags
	digest, again, show := "", false, false
	remember, lasting, changed := "", time.Duration(0), ""
	cmd := &cobra.Command{
		Use:   "approve AGENT [CALL]",
		Short: "Approve a waiting call, or resume a paused turn",
		Long: "Approve a waiting call, or resume a paused turn. Exactly the requested arguments run.\n\n" +
			"CALL is TURN/CALL, such as 3/2.1 for call 2.1 of turn 3, or the number of a paused turn. Commands that show a waiting call print it so, with\n" +
			"the first digits of the arguments' digest: such an answer is refused when the agent has moved on. Without a turn, the call of that name\n" +
			"that waits now is approved, and without CALL the only one that waits: its arguments are shown, and on a terminal you are asked first.\n\n" +
			"--remember has the approval hold for the same call when it is made again: a command line that differs in blanks and comments at most, or the same\n" +
			"arguments of another tool. life permissions remembered lists such approvals, life permissions revoke ends one.",
		Example: "  life approve demo\n  life approve demo 3/2.1 --digest 0fd1a2b4c5d6\n  life approve demo 3/2.1 --show\n  life approve demo 3/2.1 --remember session --for 1h\n" +
			"  life approve demo 3/2.1 --arguments '{\"command\": \"ls\"}'",
		Args: takes(1, 2, "an agent and at most one call"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if show {
				return a.showAsked(cmd.Context(), args)
			}
			return a.respond(cmd, args, &f, func(q *asked) sagas.Command {
				if digest != "" {
					q.Digest = digest
				}
				return sagas.Approve{
					Turn: q.Turn, Call: q.Call, Digest: q.Digest, Again: again || q.Lost, By: a.person(),
					Scope: events.Scope(remember), Lasting: micros(lasting), Arguments: json.RawMessage(changed),
				}
			})
		},
	}
	cmd.Flags().StringVar(&remember, "remember", "", "for what the approval holds: once (this call), session (the same call of this agent) (default: once)")
	cmd.Flags().DurationVar(&lasting, "for", 0, "how long it is remembered (default: 8h)")
	cmd.Flags().StringVar(&changed, "arguments", "", "JSON object of arguments to run the call with, in place of those that were asked for; the model is told")
	cmd.Flags().StringVar(&digest, "digest", "", "approve only the arguments with this digest; its first 12 digits do where the turn is given")
	cmd.Flags().BoolVar(&show, "show", false, "only show all that the call would run with, and approve nothing")
	cmd.Flags().BoolVar(&again, "again", false, "run a call once more that was cut off, so that its effect is unknown")
	f.add(cmd)
	return cmd
}

func approvalsCommand(a *app) *cobra.Command {
	watch, asJSON := false, false
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List what waits for a person, of all agents",
		Long: "List what waits for a person, of all agents, the longest first: calls that need approval, paused turns, and agents in quarantine. It is what\n" +
			"life projections query approvals answers.",
		Example: "  life approvals\n  life approvals --json",
		Args:    takes(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := projectionQuery{asJSON: asJSON}
			q.Projection = "approvals"
			return a.with(cmd.Context(), func(host reached) error {
				if !watch {
					return a.project(cmd.Context(), host, &q)
				}
				return a.watchApprovals(cmd.Context(), host, &q)
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "list them again whenever something changed, until interrupted")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// watchApprovals prints what waits whenever it changed.
func (a *app) watchApprovals(ctx context.Context, host reached, q *projectionQuery) error {
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	before := ""
	for {
		answer, err := host.Query(ctx, q.Question, nil)
		if err != nil {
			return askedWrong(err)
		}
		if string(answer.Answer) != before {
			if before = string(answer.Answer); !q.asJSON {
				a.clearScreen()
			}
			if err := a.project(ctx, host, q); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func denyCommand(a *app) *cobra.Command {
	var f waitFlags
	reason, digest := "", ""
	cmd := &cobra.Command{
		Use:   "deny AGENT [CALL]",
		Short: "Deny a waiting call, or end a paused turn",
		Long: "Deny a waiting call, or end a paused turn. The model sees the denial. CALL is as in life approve; without it, the only waiting call is\n" +
			"denied.",
		Example: "  life deny demo --reason \"not on a Friday\"\n  life deny demo 3/2.1 --digest 0fd1a2b4c5d6",
		Args:    takes(1, 2, "an agent and at most one call"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.respond(cmd, args, &f, func(q *asked) sagas.Command {
				if digest != "" {
					q.Digest = digest
				}
				return sagas.Deny{Turn: q.Turn, Call: q.Call, Digest: q.Digest, By: a.person(), Reason: reason}
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, which the model sees")
	cmd.Flags().StringVar(&digest, "digest", "", "deny only the arguments with this digest; its first 12 digits do where the turn is given")
	f.add(cmd)
	return cmd
}

func answerCommand(a *app) *cobra.Command {
	var f waitFlags
	digest := ""
	cmd := &cobra.Command{
		Use:   "answer AGENT [CALL] TEXT",
		Short: "Answer a question that an agent asks",
		Long: "Answer a question that an agent asks. The model sees TEXT: one of the options that it gave, or another answer. CALL is as in life approve; without\n" +
			"it, the only call that waits is answered. life deny leaves a question unanswered, and the model is told.",
		Example: "  life answer demo 'use the staging database'\n  life answer demo 3/1.1 staging",
		Args:    takes(2, 3, "an agent, at most one call, and the answer"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[len(args)-1]
			return a.respond(cmd, args[:len(args)-1], &f, func(q *asked) sagas.Command {
				if digest != "" {
					q.Digest = digest
				}
				return sagas.Answer{Turn: q.Turn, Call: q.Call, Digest: q.Digest, Answer: text, By: a.person()}
			})
		},
	}
	cmd.Flags().StringVar(&digest, "digest", "", "answer only the call whose arguments have this digest; its first 12 digits do where the turn is given")
	f.add(cmd)
	return cmd
}

// respond sends a person's answer. One that names no turn is bound to what waits at the moment, which is shown; on a terminal the person is asked before it
// is approved.
func (a *app) respond(cmd *cobra.Command, args []string, f *waitFlags, made func(*asked) sagas.Command) error {
	named, err := namedBy(args)
	if err != nil {
		return err
	}
	command := made(&named)
	if named.Turn == "" && named.Digest == "" {
		err := a.with(cmd.Context(), func(host reached) error {
			if err := a.bind(cmd.Context(), host, &named, len(args) == 2); err != nil {
				return err
			}
			command = made(&named)
			if _, approve := command.(sagas.Approve); named.Tool == "" || !approve || f.show.quiet || f.show.asJSON {
				return nil
			}
			return a.confirm(cmd.Context(), host, &named)
		})
		if err != nil {
			return err
		}
	}
	return f.set(a, cmd, named.Agent, func(m sagas.Meta) sagas.Command { return sagas.Identified(command, m) })
}

// showAsked shows all that a waiting call would run with.
func (a *app) showAsked(ctx context.Context, args []string) error {
	named, err := namedBy(args)
	if err != nil {
		return err
	}
	turn := named.Turn
	return a.with(ctx, func(host reached) error {
		if err := a.bind(ctx, host, &named, len(args) == 2); err != nil {
			return err
		}
		if named.Tool == "" || turn != "" && turn != named.Turn {
			return coded("not_found", "no such call of %s waits; life agents shows what does", named.Agent)
		}
		if err := named.complete(ctx, host); err != nil {
			return err
		}
		a.printCall(seen(a.out), &named, allArguments)
		return nil
	})
}

// namedBy reads an agent and, if there is one, a call of it.
func namedBy(args []string) (asked, error) {
	agent, err := checkAgent(args[0])
	if err != nil || len(args) == 1 {
		return asked{Agent: agent}, err
	}
	return parseAsked(agent, args[1])
}

// complete reads the arguments of which the call has a preview.
func (q *asked) complete(ctx context.Context, host api.Host) error {
	if q.Blob == nil {
		return nil
	}
	content, err := host.OpenArguments(ctx, q.Agent, q.Call)
	if err != nil {
		return err
	}
	whole, err := io.ReadAll(io.LimitReader(content, allArguments))
	if err = errors.Join(err, content.Close()); err != nil {
		return fmt.Errorf("read the arguments of call %s of %s: %w", q.Call, q.Turn, err)
	}
	if events.HashBytes(whole) != q.Blob.Hash { // the agent has moved on
		return coded("conflict", "call %s of %s does not wait any more", q.Call, q.Turn)
	}
	q.Arguments, q.Blob = whole, nil
	return nil
}

// parseAsked reads what is answered: TURN/CALL, CALL, or the TURN that is paused. A turn may be written in full, as demo/3.
func parseAsked(agent events.AgentID, text string) (asked, error) {
	q := asked{Agent: agent}
	turn, call, both := cutLast(text, "/")
	switch {
	case text == "":
		return q, usage("the call is empty; name one such as 2/1.1, or none")
	case both && !strings.Contains(call, "."), !both && digits(text): // demo/3 and 3
		turn, call = text, ""
	case !both:
		turn, call = "", text
	}
	q.Call = events.CallID(call)
	if turn == "" && !both {
		return q, nil
	}
	if q.Turn = events.TurnID(turn); digits(turn) {
		q.Turn = events.TurnID(string(agent) + "/" + turn)
	}
	if q.Turn.Agent() != agent || q.Turn.Number() == 0 {
		return q, usage("%q names no call of %s: want TURN/CALL, such as 2/1.1, or the number of a paused turn", text, agent)
	}
	return q, nil
}

func cutLast(text, at string) (before, after string, found bool) {
	i := strings.LastIndex(text, at)
	if i < 0 {
		return "", text, false
	}
	return text[:i], text[i+len(at):], true
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// asked is a call that waits for a person, with what the person decides on; or, without a call, a paused turn.
type asked struct {
	Agent     events.AgentID   `json:"agent"`
	Turn      events.TurnID    `json:"turn"`
	Call      events.CallID    `json:"call"`
	Tool      string           `json:"tool"`
	Arguments json.RawMessage  `json:"arguments"`
	Blob      *events.BlobRef  `json:"blob,omitempty"` // all of the arguments, where they are a preview
	Digest    string           `json:"digest"`
	Lost      bool             `json:"lost,omitempty"`     // it ran, and its effect is unknown
	Question  *events.Question `json:"question,omitempty"` // what it asks; nil: it needs approval
}

func waitingCalls(agent events.AgentID, t *sagas.Turn) []asked {
	var calls []asked
	for i := range t.Calls {
		if c := &t.Calls[i]; c.Stage == sagas.CallWaiting {
			calls = append(calls, asked{agent, t.ID, c.ID, c.Tool, c.Arguments, c.Blob, c.Digest, c.Lost, c.Asked})
		}
	}
	return calls
}

// bind completes an answer that names no turn by what waits at the moment. Where nothing of that name does, the answer stays as it is: its agent knows
// whether it was given before.
func (a *app) bind(ctx context.Context, host api.Host, q *asked, named bool) error {
	state, err := host.State(ctx, q.Agent, events.NoRevision)
	if err != nil {
		return err
	}
	turn := &state.Agent.Turn
	calls := waitingCalls(q.Agent, turn)
	switch i := slices.IndexFunc(calls, func(c asked) bool { return c.Call == q.Call }); {
	case i >= 0:
		*q = calls[i]
	case named:
	case len(calls) == 1:
		*q = calls[0]
	case len(calls) == 0 && turn.Paused != "":
		q.Turn = turn.ID
	case len(calls) > 1:
		var lines strings.Builder
		a.nextSteps(&lines, &result{Agent: q.Agent, Asked: calls})
		return usage("%d calls wait; name one:\n%s", len(calls), strings.TrimSuffix(lines.String(), "\n"))
	}
	return nil
}

// Bytes of arguments that are shown where a person is asked. Of more, the middle is left out.
const (
	shownArguments = 8 << 10
	allArguments   = 64 << 20
)

// printAsked shows what a person decides on, and what to type.
func (a *app) printAsked(w io.Writer, q *asked, most int) {
	left := a.printCall(w, q, most)
	flags, where := "", a.whereFlags()
	if len(q.Digest) >= sagas.ShortDigest {
		flags = " --digest " + q.Digest[:sagas.ShortDigest]
	}
	again := ""
	if q.Lost {
		again = " --again"
	}
	ref := fmt.Sprintf("%s %d/%s", q.Agent, q.Turn.Number(), q.Call)
	ref += flags
	if q.Question != nil {
		fmt.Fprintf(w, "  life answer %s 'TEXT'%s\n  life deny %s%s\n", ref, where, ref, where)
		return
	}
	a.printShow(w, q, left)
	fmt.Fprintf(w, "  life approve %s%s%s\n  life deny %s%s\n", ref, again, where, ref, where)
}

// printShow prints what shows the rest of the arguments, if there is a rest.
func (a *app) printShow(w io.Writer, q *asked, left int) {
	if left > 0 {
		fmt.Fprintf(w, "  life approve %s %d/%s%s --show   (shows the %d bytes that are left out, and approves nothing)\n",
			q.Agent, q.Turn.Number(), q.Call, a.whereFlags(), left)
	}
}

// printCall shows a waiting call with its arguments, and returns how many bytes of them it left out.
func (a *app) printCall(w io.Writer, q *asked, most int) (left int) {
	if q.Question != nil {
		fmt.Fprintf(w, "call %s of %s asks:\n", q.Call, q.Turn)
		for _, line := range strings.Split(events.Visible(q.Question.Text), "\n") {
			fmt.Fprintln(w, "    "+line)
		}
		for _, option := range q.Question.Options {
			fmt.Fprintf(w, "    - %s\n", events.VisibleLine(option))
		}
		return 0
	}
	note := ""
	if q.Lost {
		note = ", which was cut off: whether it took effect is unknown, and approving runs it again"
	}
	fmt.Fprintf(w, "call %s of %s calls %s%s\n", q.Call, q.Turn, events.Visible(q.Tool), note)
	lines, left := events.ShowArguments(q.Arguments, q.Blob, most)
	for _, line := range lines {
		fmt.Fprintln(w, "    "+line)
	}
	return left
}

func cancelCommand(a *app) *cobra.Command {
	var id idFlags
	turn := ""
	cmd := &cobra.Command{
		Use:     "cancel AGENT",
		Short:   "Cancel an agent's running turn",
		Long:    "Cancel an agent's running turn. A running model call is aborted, and the whole process tree of a running command is killed.",
		Example: "  life cancel demo",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			if owner := events.TurnID(turn).Agent(); turn != "" && owner != agent {
				return usage("--turn is %q: a turn of %s is named %s", turn, agent, fmt.Sprintf("%s/1", agent))
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.cancel(cmd.Context(), host, agent, sagas.Cancel{Meta: newMeta(id.id), Turn: events.TurnID(turn), By: a.person()}, id.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&turn, "turn", "", "cancel only this turn, such as demo/3 (default: the running turn)")
	id.add(cmd)
	return cmd
}

// cancel stops a turn. In this process it also waits until the wallet has what the turn cost: nobody else would see to that.
func (a *app) cancel(ctx context.Context, host reached, agent events.AgentID, command sagas.Cancel, asJSON bool) (err error) {
	var receipt actors.Receipt
	act := func() (actors.Receipt, error) {
		receipt, err = host.Do(ctx, events.AgentStream(agent), command, origin())
		return receipt, err
	}
	if host.here {
		_, err = a.await(ctx, host, agent, &view{app: &app{out: io.Discard, errs: io.Discard}}, act)
	} else {
		_, err = act()
	}
	var before *repeated
	if err != nil && !errors.As(err, &before) {
		return err
	}
	return a.printReceipt(receipt, asJSON)
}
