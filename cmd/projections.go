package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors/projector"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

func projectionsCommand(a *app) *cobra.Command {
	return group("projections", "Query and manage projections of history",
		"  life projections list\n  life projections query balance\n  life projections rebuild --all",
		projectionsListCommand(a), projectionsShowCommand(a), projectionsQueryCommand(a), projectionsRebuildCommand(a),
		projectionsStepCommand(a), projectionsSkipCommand(a), projectionsAddCommand(a), projectionsRemoveCommand(a))
}

// projectionQuery is what life projections query is asked.
type projectionQuery struct {
	projector.Question
	asJSON   bool
	progress bool
}

func projectionsQueryCommand(a *app) *cobra.Command {
	var q projectionQuery
	at, least := "", ""
	cmd := &cobra.Command{
		Use:   "query NAME [QUERY] [NAME=VALUE...]",
		Short: "Query a projection",
		Long: "Query a projection, with its first query by default; life projections list shows them. --at answers as of an earlier position, computed\n" +
			"from the nearest stored state. --min waits until the projection has reached a position, such as the one in a command's receipt.\n" +
			"Nothing is changed.",
		Example: "  life projections query balance\n  life projections query spending by=day,model from=2026-01-01\n" +
			"  life projections query waterfall turn turn=demo/1\n  life projections query balance accounts --at 120 --json",
		Args: takes(1, -1, "the name of a projection, a query and its parameters"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.Projection = args[0]
			if q.Query, err = readProjectionQuery(args[1:]); err != nil {
				return err
			}
			for text, position := range map[*string]*events.Position{&at: &q.At, &least: &q.Min} {
				name := map[*string]string{&at: "--at", &least: "--min"}[text]
				if *text == "" {
					continue
				}
				if *position, err = parsePosition(name, *text, 1); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), func(host reached) error { return a.project(cmd.Context(), host, &q) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "answer as of this position (default: the latest)")
	cmd.Flags().StringVar(&least, "min", "", "wait until the projection has reached this position")
	jsonFlag(cmd, &q.asJSON)
	progressFlag(cmd, &q.progress)
	return cmd
}

// readProjectionQuery reads the name of a query, where there is one, and parameters.
func readProjectionQuery(args []string) (projections.Query, error) {
	q := projections.Query{Parameters: map[string]string{}}
	for i, arg := range args {
		name, value, is := strings.Cut(arg, "=")
		_, twice := q.Parameters[name]
		switch {
		case !is && i == 0:
			q.Name = arg
		case !is || name == "":
			return q, usage("%q is not a parameter; parameters look like agent=demo", arg)
		case twice:
			return q, usage("parameter %s is given twice", name)
		default:
			q.Parameters[name] = value
		}
	}
	return q, nil
}

func (a *app) project(ctx context.Context, host api.Host, q *projectionQuery) error {
	m := a.newMeter(q.progress)
	defer m.done()
	answer, err := host.Query(ctx, q.Question, func(folded int64) { m.show("%d events folded", folded) })
	m.done()
	if err != nil {
		return askedWrong(err)
	}
	if answer.Stopped != nil {
		fmt.Fprintf(a.errs, "life: as of position %d: projection %s %v\n", answer.Position, answer.Projection, answer.Stopped)
	}
	if q.asJSON {
		return a.printJSON(answer)
	}
	return a.showProjected(ctx, host, &answer)
}

// askedWrong makes a question that makes no sense an error of the command line.
func askedWrong(err error) error {
	var refusal *sagas.RefusalError
	if !errors.As(err, &refusal) {
		return err
	}
	if refusal.Code == sagas.RefusedInvalid || refusal.Code == sagas.RefusedMissing && !strings.HasPrefix(refusal.Detail, projections.ErrMissing.Error()) {
		return &exit{exitUsage, detailOnly{refusal}}
	}
	return err
}

// detailOnly is a refusal without its code before it.
type detailOnly struct{ *sagas.RefusalError }

func (d detailOnly) Error() string { return d.Detail }

func (d detailOnly) Unwrap() error { return d.RefusalError }

// showProjected shows an answer by the shape that the projection gives it.
func (a *app) showProjected(ctx context.Context, host api.Host, answer *projector.Answer) error {
	shape, err := a.answerShape(ctx, host, answer)
	if err != nil {
		return err
	}
	typed := reflect.New(shape)
	if err := json.Unmarshal(answer.Answer, typed.Interface()); err != nil {
		return fmt.Errorf("read the answer of projection %s, version %d: %w", answer.Projection, answer.Version, err)
	}
	return showAnswer(seen(a.out), typed.Elem())
}

// answerShape is the type of an answer: this build knows it, or the host says which columns it has.
func (a *app) answerShape(ctx context.Context, host api.Host, answer *projector.Answer) (reflect.Type, error) {
	for _, spec := range slices.Concat(projections.Catalog, a.build.Projections) {
		if shape := shapeOf(&spec, answer); shape != nil {
			return shape, nil
		}
	}
	list, err := host.Projections(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if shape := shapeOf(&list[i].Spec, answer); shape != nil {
			return shape, nil
		}
	}
	return nil, coded("invalid", "projection %s, version %d, is not in this build: use --json", answer.Projection, answer.Version)
}

// shapeOf is the type of an answer, if it is this projection's.
func shapeOf(spec *projections.Spec, answer *projector.Answer) reflect.Type {
	if spec.Name != answer.Projection || spec.Version != answer.Version {
		return nil
	}
	for i := range spec.Queries {
		query := &spec.Queries[i]
		if query.Name == answer.Query && (query.Answer != nil || len(query.Columns) > 0) {
			return reflect.TypeOf(query.Empty())
		}
	}
	return nil
}
