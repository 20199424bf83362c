package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/events"
	"example.com/life/projections"
)

func projectionsCommand(a *app) *cobra.Command {
	return group("projections", "Ask what follows from everything that happened",
		"  life projections list\n  life projections query balance",
		projectionsListCommand(a), projectionsQueryCommand(a))
}

func projectionsListCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the projections and what they can be asked",
		Example: "  life projections list\n  life projections list --json",
		Args:    takes(0, 0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.printJSON(map[string][]projections.Spec{"projections": projections.Catalog})
			}
			for i := range projections.Catalog {
				a.printProjection(&projections.Catalog[i])
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// printProjection prints what a projection is about, its queries and what they take.
func (a *app) printProjection(spec *projections.Spec) {
	fmt.Fprintf(a.out, "%s, version %d: %s\n", spec.Name, spec.Version, spec.About)
	for _, query := range spec.Queries {
		fmt.Fprintf(a.out, "  %s: %s\n", query.Name, query.About)
		for _, p := range query.Takes {
			needed := ""
			if p.Required {
				needed = " (needed)"
			}
			fmt.Fprintf(a.out, "      %s=: %s%s\n", p.Name, p.About, needed)
		}
	}
}

// projectionQuery is what life projections query is asked.
type projectionQuery struct {
	name     string
	query    projections.Query
	at       events.Position // 0: now
	asJSON   bool
	progress bool
}

func projectionsQueryCommand(a *app) *cobra.Command {
	var q projectionQuery
	at := ""
	cmd := &cobra.Command{
		Use:   "query NAME [QUERY] [NAME=VALUE...]",
		Short: "Ask a projection",
		Long: "Ask a projection a query, by default its first; life projections list says what there is. History is read from its beginning, up to\n" +
			"the position that --at names, so any past moment can be asked about. Nothing is changed.",
		Example: "  life projections query balance\n  life projections query spending by=day,model from=2026-01-01\n" +
			"  life projections query waterfall turn turn=demo/1\n  life projections query balance accounts --at 120 --json",
		Args: takes(1, -1, "the name of a projection, a query and its parameters"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.name = args[0]
			if q.query, err = readProjectionQuery(args[1:]); err != nil {
				return err
			}
			if at != "" {
				if q.at, err = parsePosition("at", at); err != nil {
					return err
				}
			}
			spec, err := projections.Find(q.name)
			if err != nil {
				return &exit{exitUsage, err}
			}
			checked, described, err := spec.Check(q.query)
			if err != nil {
				return &exit{exitUsage, err}
			}
			q.query = checked
			return a.with(cmd.Context(), func(host reached) error { return a.project(cmd.Context(), host, &q, described) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "position up to which history is read (default: all of it)")
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
			return q, usage("%q is no parameter such as agent=demo", arg)
		case twice:
			return q, usage("parameter %s is there twice", name)
		default:
			q.Parameters[name] = value
		}
	}
	return q, nil
}

func (a *app) project(ctx context.Context, host inspector, q *projectionQuery, described *projections.QuerySpec) error {
	m := a.newMeter(q.progress)
	defer m.done()
	answer, err := host.Project(ctx, q.name, q.query, q.at, func(folded int64) { m.show("%d events folded", folded) })
	m.done()
	if err != nil {
		return err
	}
	if q.asJSON {
		return a.printJSON(answer)
	}
	typed := reflect.New(reflect.TypeOf(described.Answer))
	if err := json.Unmarshal(answer.Answer, typed.Interface()); err != nil {
		return fmt.Errorf("read the answer of projection %s, version %d: %w", answer.Projection, answer.Version, err)
	}
	return showAnswer(a.out, typed.Elem())
}
