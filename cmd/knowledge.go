package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

func knowledgeCommand(a *app) *cobra.Command {
	return group("knowledge", "Search, read and write the notes that people and agents share",
		"  life knowledge add ~/notes\n  life knowledge search \"heat shield\"\n  life knowledge show projects/heat-shield",
		knowledgeAddCommand(a), knowledgeSearchCommand(a), knowledgeTraverseCommand(a), knowledgeShowCommand(a), knowledgeLintCommand(a),
		knowledgeRemoveCommand(a))
}

// notesQuestion is a question to the projection knowledge as flags put it.
type notesQuestion struct {
	parameters map[string]*string
	tenant     string
	valid, at  string
	asJSON     bool
	progress   bool
}

// always stands for no moment in particular.
const always = "always"

// flags adds the flags that all questions have.
func (q *notesQuestion) flags(cmd *cobra.Command, valid string) {
	q.tenantFlag(cmd)
	cmd.Flags().StringVar(&q.valid, "valid", valid, "only what is valid at a moment: now, 2026-01-31, 2026-01-31T14:02:11Z; always: at any time")
	cmd.Flags().StringVar(&q.at, "at", "", "answer as of this position (default: the latest)")
	jsonFlag(cmd, &q.asJSON)
	progressFlag(cmd, &q.progress)
}

func (q *notesQuestion) tenantFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.tenant, "tenant", string(sagas.DefaultTenant), "tenant that the notes belong to")
}

// parameter adds a flag that is a parameter of the query.
func (q *notesQuestion) parameter(cmd *cobra.Command, flag, name, about string) {
	if q.parameters == nil {
		q.parameters = map[string]*string{}
	}
	q.parameters[name] = cmd.Flags().String(flag, "", about)
}

// ask is the question itself.
func (q *notesQuestion) ask(query string, given map[string]string) (projector.Question, error) {
	ask := projector.Question{Projection: "knowledge", Query: projections.Query{Name: query, Parameters: given}}
	given["tenant"] = q.tenant
	for name, value := range q.parameters {
		if *value != "" {
			given[name] = *value
		}
	}
	switch q.valid {
	case always:
	case "now":
		given["valid"] = strconv.FormatInt(int64(storage.Now()), 10)
	default:
		given["valid"] = q.valid
	}
	var err error
	if q.at != "" {
		ask.At, err = parsePosition("--at", q.at, 1)
	}
	return ask, err
}

// askNotes asks the projection, and hands the answer to show, or prints it as JSON.
func askNotes[A any](ctx context.Context, a *app, q *notesQuestion, query string, given map[string]string, show func(reached, *A) error) error {
	ask, err := q.ask(query, given)
	if err != nil {
		return err
	}
	return a.with(ctx, func(host reached) error {
		m := a.newMeter(q.progress)
		defer m.done()
		answered, err := host.Query(ctx, ask, func(folded int64) { m.show("%d events folded", folded) })
		m.done()
		if err != nil {
			return askedWrong(err)
		}
		if answered.Stopped != nil {
			fmt.Fprintf(a.errs, "life: as of position %d: projection %s %v\n", answered.Position, answered.Projection, answered.Stopped)
		}
		if q.asJSON {
			return a.printJSON(answered)
		}
		var answer A
		if err := decodeAnswer(answered, &answer); err != nil {
			return err
		}
		return show(host, &answer)
	})
}

func knowledgeSearchCommand(a *app) *cobra.Command {
	var q notesQuestion
	cmd := &cobra.Command{
		Use:   "search WORDS...",
		Short: "Find the notes that match some words best",
		Long: "Find the notes that match some words best. A note's score is the sum of its text score (BM25), a bonus if the words match its name, an alias\n" +
			"or a tag, and a bonus for being linked to other matching notes.",
		Example: "  life knowledge search heat shield\n  life knowledge search shield --tag thermal --near capsule --limit 3 --json",
		Args:    takes(1, -1, "words"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return askNotes(cmd.Context(), a, &q, "search", map[string]string{"text": strings.Join(args, " ")}, a.printFound(cmd.Context()))
		},
	}
	q.flags(cmd, "now")
	q.parameter(cmd, "limit", "limit", "at most this many notes (default: 10)")
	q.parameter(cmd, "tag", "tag", "only notes with this tag")
	q.parameter(cmd, "near", "near", "prefer notes near these, comma separated")
	return cmd
}

// printFound prints each note with its score and the beginning of its text.
func (a *app) printFound(ctx context.Context) func(reached, *projections.FoundNotes) error {
	return func(host reached, found *projections.FoundNotes) error {
		if len(found.Notes) == 0 {
			fmt.Fprintln(a.out, "no note matches")
			return nil
		}
		out := seen(a.out)
		for i := range found.Notes {
			n := &found.Notes[i]
			fmt.Fprintf(out, "%s  %s%s\n", n.Note, n.Title, heldWhen(n.From, n.To))
			fmt.Fprintf(out, "    score %.4g = text %.4g + names and tags %.4g + links %.4g\n", n.Score, n.BM25, n.Boost, n.Proximity)
			written, err := noteAt(ctx, host, n.Event)
			if err != nil {
				return err
			}
			if line := excerpt(written.Inline); line != "" {
				fmt.Fprintf(out, "    %s\n", line)
			}
		}
		return nil
	}
}

// excerpt is the beginning of a text on one line.
func excerpt(text string) string {
	const most = 120
	return events.Clip(strings.Join(strings.Fields(text), " "), most)
}

// noteAt reads the note.written that an answer points at.
func noteAt(ctx context.Context, host reached, ref events.Ref) (events.NoteWritten, error) {
	stream, revision, err := ref.Split()
	if err != nil {
		return events.NoteWritten{}, err
	}
	page, err := host.History(ctx, stream, revision, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return events.NoteWritten{}, fmt.Errorf("read note %s: %w", ref, err)
	}
	event, err := page.Events[0].Event()
	if err != nil {
		return events.NoteWritten{}, err
	}
	written, is := event.(events.NoteWritten)
	if !is {
		return written, fmt.Errorf("read note %s: it is %s", ref, event.Kind())
	}
	return written, nil
}

// heldWhen says in which time something holds, as far as that is bounded.
func heldWhen(from, to events.Micros) string {
	day := func(at events.Micros) string { return time.UnixMicro(int64(at)).UTC().Format("2006-01-02") }
	switch {
	case from != 0 && to != 0:
		return " (from " + day(from) + " to " + day(to) + ")"
	case from != 0:
		return " (from " + day(from) + ")"
	case to != 0:
		return " (to " + day(to) + ")"
	}
	return ""
}

func knowledgeRemoveCommand(a *app) *cobra.Command {
	var id idFlags
	tenant, reason := "", ""
	cmd := &cobra.Command{
		Use:     "remove NOTE",
		Short:   "Remove a note; its earlier versions stay in history",
		Example: "  life knowledge remove projects/heat-shield --reason \"it was a drawing\"",
		Args:    takes(1, 1, "the id of one note"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage("give the reason with --reason: it is recorded")
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.do(cmd, host, events.KnowledgeStream(events.TenantID(tenant)), sagas.KeepNotes{
					Meta: newMeta(id.id), Author: events.NoteAuthor{By: a.person()}, Remove: []sagas.NoteRemoval{{Note: events.NoteID(args[0]), Reason: reason}},
				}, id)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", string(sagas.DefaultTenant), "tenant that the notes belong to")
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, for the record")
	id.add(cmd)
	return cmd
}

// decodeAnswer reads what a projection answered.
func decodeAnswer(asked projector.Answer, answer any) error {
	if err := json.Unmarshal(asked.Answer, answer); err != nil {
		return fmt.Errorf("read the answer of projection %s, version %d: %w", asked.Projection, asked.Version, err)
	}
	return nil
}
