package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

type historyFlags struct {
	from, to          string
	limit             int
	kinds             []string
	text, where       string
	compact, reverse  bool
	asJSON, progress  bool
	limited           bool // --limit was given
	fromHere, forward bool // --from was given; begin at the first event
}

// What is shown of a long history when nothing else is said.
const (
	shownEvents = 200
	shownTurns  = 20
)

func historyCommand(a *app) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history AGENT",
		Short: "Print an agent's history",
		Long: "Print an agent's history, one line for each event: its revision, its time and what it says. With --compact, print one block for\n" +
			"each turn: its prompt, outcome and cost, then a line for each round, call and message; events without a line of their own are\n" +
			"counted. --kind, --text and --where select events. Of a long history only the latest part is shown (and read), unless\n" +
			"--from, --to, --limit or --json is given.",
		Example: "  life history demo\n  life history demo --compact\n  life history demo --reverse --limit 5\n" +
			"  life history demo --from turn:3 --to turn:3\n  life history demo --kind tool.,approval. --text README\n" +
			"  life history demo --where 'kind == \"tool.returned\" and failed'\n  life history demo --json | jq .kind",
		Args: takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			if f.limit < 0 {
				return usage("--limit is %d: it must be a number of events, or of turns with --compact; 0 means all", f.limit)
			}
			f.limited, f.fromHere = cmd.Flags().Changed("limit"), f.from != ""
			if f.compact && (len(f.kinds) > 0 || f.text != "" || f.where != "") {
				return usage("--compact shows whole turns: --kind, --text and --where work only without it")
			}
			from, err := parseMoment("from", f.from)
			if err != nil {
				return err
			}
			to, err := parseMoment("to", f.to)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				first, last, err := a.stretch(cmd.Context(), host, agent, from, to)
				if err != nil {
					return err
				}
				if f.compact {
					return a.groups(cmd.Context(), host, agent, first, last, &f)
				}
				return a.history(cmd.Context(), host, agent, first, last, &f)
			})
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "moment to start at: "+momentHelp)
	cmd.Flags().StringVar(&f.to, "to", "", "moment to end at")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most this many events, or turns with --compact: the latest ones, or the first ones with --from; 0: all")
	cmd.Flags().StringSliceVar(&f.kinds, "kind", nil, "only events whose kind begins with one of these, such as tool. or turn.ended")
	cmd.Flags().StringVar(&f.text, "text", "", "only events with this text in their description or their data")
	cmd.Flags().StringVar(&f.where, "where", "", "only events for which this expression is true, such as cost > 10000")
	cmd.Flags().BoolVar(&f.compact, "compact", false, "show turns instead of events")
	cmd.Flags().BoolVar(&f.reverse, "reverse", false, "show the latest first")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// stretch resolves the two ends of a part of history: NoRevision for one that was not given.
func (a *app) stretch(ctx context.Context, host api.Host, agent events.AgentID, from, to events.Moment) (first, last events.Revision, err error) {
	first, last = events.NoRevision, events.NoRevision
	for _, end := range []struct {
		at   events.Moment
		into *events.Revision
	}{{from, &first}, {to, &last}} {
		switch end.at.Form {
		case events.MomentLatest:
		case events.MomentRevision:
			*end.into = end.at.Revision
		case events.MomentTime, events.MomentTurn:
			find := a.resolve
			if end.into == &first {
				find = a.begin
			}
			found, err := find(ctx, host, agent, end.at)
			if err != nil {
				return 0, 0, err
			}
			if *end.into = found.Revision; end.into == &first {
				*end.into = found.First
			}
		}
	}
	return first, last, nil
}

// history prints events, page by page.
func (a *app) history(ctx context.Context, host api.Host, agent events.AgentID, first, last events.Revision, f *historyFlags) error {
	m := a.newMeter(f.progress)
	defer m.done()
	r := &historyReader{host: host, agent: agent, meter: m, order: history.Search{
		First: first, Last: last, Reverse: f.reverse, Kinds: f.kinds, Text: f.text, Where: f.where,
	}}
	limit := f.limit
	tail := first == events.NoRevision && !f.reverse && limit > 0
	if !f.limited && !f.asJSON && !f.reverse && !f.forward && first == events.NoRevision && last == events.NoRevision {
		limit, tail = shownEvents, true
	}
	if tail {
		r.order.Reverse = true
	}
	var kept []events.Envelope // of the tail, the latest first
	printer := a.eventPrinter(f.asJSON)
	err := r.each(ctx, limit, func(e *events.Envelope) error {
		if tail {
			kept = append(kept, *e)
			return nil
		}
		m.done()
		return printer.print(e)
	})
	m.done()
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(kept) {
		if err := printer.print(&e); err != nil {
			return err
		}
	}
	switch n := len(kept); {
	case first > r.end:
		fmt.Fprintf(a.errs, "life: the history of %s ends at revision %d\n", agent, r.end)
	case !f.limited && tail && r.more && n > 0:
		fmt.Fprintf(a.errs, "life: these are the latest %d events; --limit 0 shows all, --from and --to select a part\n", n)
	}
	return nil
}

// historyReader reads an agent's events page by page.
type historyReader struct {
	host  api.Host
	agent events.AgentID
	order history.Search
	meter *meter
	end   events.Revision
	more  bool // there are more than were asked for
}

// each uses the events that are wanted, at most limit of them; 0 is no limit.
func (r *historyReader) each(ctx context.Context, limit int, use func(*events.Envelope) error) error {
	for used, looked := 0, int64(0); ; {
		if limit > 0 {
			r.order.Limit = min(limit-used, 512)
		}
		found, err := r.host.Search(ctx, r.agent, r.order)
		if err != nil {
			return err
		}
		for i := range found.Events {
			if err := use(&found.Events[i]); err != nil {
				return err
			}
		}
		used, looked, r.end = used+len(found.Events), looked+found.Looked, found.Last
		r.more = found.Next != events.NoRevision
		if !r.more || limit > 0 && used >= limit {
			return nil
		}
		r.meter.show("%d events searched, %d found", looked, used)
		if r.order.Reverse {
			r.order.Last = found.Next
		} else {
			r.order.First = found.Next
		}
	}
}

// eventPrinter prints events, with a line for each day but today.
type eventPrinter struct {
	*app
	asJSON bool
	day    string // of the event before
}

func (a *app) eventPrinter(asJSON bool) *eventPrinter {
	return &eventPrinter{app: a, asJSON: asJSON, day: time.Now().Format(time.DateOnly)}
}

func (p *eventPrinter) print(e *events.Envelope) error {
	if p.asJSON {
		return p.printJSON(e)
	}
	if day := time.UnixMicro(int64(e.Time)).Format(time.DateOnly); day != p.day {
		fmt.Fprintln(p.out, day)
		p.day = day
	}
	fmt.Fprintln(p.out, envelopeLine(e))
	return nil
}

func tailCommand(a *app) *cobra.Command {
	from, asJSON, deltas, thinking := "", false, false, false
	cmd := &cobra.Command{
		Use:   "tail AGENT",
		Short: "Follow an agent's history as it happens",
		Long: "Print an agent's events as they are stored, until Ctrl-C. If no life serve runs, nothing new can happen: then it prints what is\n" +
			"stored and exits.",
		Example: "  life tail demo\n  life tail demo --from 0 --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			begin, err := revisionFlag("from", from)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				if host.here {
					fmt.Fprintln(a.errs, "life: no life serve is running, so nothing new can happen; these are the stored events")
					return a.history(cmd.Context(), host, agent, begin, events.NoRevision, &historyFlags{asJSON: asJSON, forward: true})
				}
				return a.tail(cmd.Context(), host, agent, begin, asJSON, showing(deltas, thinking))
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "revision to start at (default: only new events)")
	cmd.Flags().BoolVar(&deltas, "text", false, "show the model's text as it arrives")
	cmd.Flags().BoolVar(&thinking, "thinking", false, "show what the model thinks as it arrives")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// showing returns which pieces of replies a watcher wants to see.
func showing(text, thinking bool) func(*actors.FeedDelta) bool {
	return func(d *actors.FeedDelta) bool {
		switch d.Kind {
		case events.BlockThinking:
			return thinking
		case events.BlockText, events.BlockCall, events.BlockItem:
			return text
		}
		return text || thinking // what says that pieces are void has no kind
	}
}

func (a *app) tail(ctx context.Context, host api.Host, agent events.AgentID, begin events.Revision, asJSON bool, wanted func(*actors.FeedDelta) bool) error {
	state, err := host.State(ctx, agent, events.NoRevision)
	if err != nil {
		return err
	}
	after := state.Revision
	if begin != events.NoRevision {
		after = begin - 1
	}
	feed, err := host.Watch(ctx, agent, after)
	if err != nil {
		return err
	}
	defer feed.Close()
	printer := a.eventPrinter(asJSON)
	text := "" // of the line that the model is writing
	for {
		item, err := feed.Next(ctx)
		if errors.Is(err, storage.ErrClosed) {
			return coded("closed", "life serve stopped; run life tail again when it is back")
		}
		if err != nil {
			return err
		}
		switch {
		case item.Event != nil:
			if text != "" && !strings.HasSuffix(text, "\n") {
				fmt.Fprintln(a.out)
			}
			text = ""
			if err := printer.print(item.Event); err != nil {
				return err
			}
		case !wanted(item.Delta):
		case asJSON:
			if err := a.printJSON(map[string]*actors.FeedDelta{"delta": item.Delta}); err != nil {
				return err
			}
		case item.Delta.Void:
			fmt.Fprint(a.out, "\n(void: the attempt broke off)\n")
			text = ""
		case item.Delta.Kind == events.BlockCall:
			text = a.tailCall(item.Delta, text)
		default:
			text = item.Delta.Text
			fmt.Fprint(a.out, text)
		}
	}
}

// tailCall prints a piece of a call, which has a line of its own, and gives what stands last on the line. line is what stood there before.
func (a *app) tailCall(d *actors.FeedDelta, line string) string {
	if d.Tool != "" {
		if line != "" && !strings.HasSuffix(line, "\n") {
			fmt.Fprintln(a.out)
		}
		line = "calling " + events.VisibleLine(d.Tool) + " "
		fmt.Fprint(a.out, line)
	}
	if d.Text != "" {
		line = events.VisibleLine(d.Text)
		fmt.Fprint(a.out, line)
	}
	if d.Done {
		line = ""
		fmt.Fprintln(a.out)
	}
	return line
}
