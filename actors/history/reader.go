// Package history answers what is asked of stored events: what an agent was at a moment and where that moment is, what changed between two, how two
// agents differ, what led to an event and what followed from it, and whether this build still decides what was recorded. A [Reader] reads one
// stream, or the few that an answer needs, and acts on nothing: no actor is brought to life, asked or told. That no model, tool or wallet is
// reached from here can be seen from what the package imports.
//
//	fold.go, state.go            a stream folded up to a revision, by way of snapshots
//	moment.go, locate.go         how people write moments, and where they are in a history
//	ancestry.go                  the histories that a fork's begins with
//	search.go, groups.go         pages of a history: the events that are wanted, or turn by turn
//	waterfall.go, difference.go  one turn; one agent at two moments
//	causes.go, effects.go        along causation, across streams
//	compare.go                   two agents against each other
//	verify.go                    chains, decisions and blobs checked
//	workspace.go                 the files that an agent's calls left
package history

import (
	"context"
	"fmt"
	"log/slog"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Config says what a reader reads. Journal and Blobs are required.
type Config struct {
	Journal   storage.Journal
	Snapshots storage.Snapshots // nil: histories are always read from the beginning
	Blobs     storage.Blobs
	Files     storage.Workspaces // nil: the files of workspaces are not recorded
	Log       *slog.Logger       // nil: nothing is logged
	Build     string             // version of the program, for reports
	// Where compiles an expression that is true of the events somebody looks for; nil: histories cannot be searched by expression.
	Where func(expression string) (EventFilter, error)
}

// Reader answers questions about history. Its methods are safe for concurrent use.
type Reader struct {
	journal   storage.Journal
	snapshots storage.Snapshots
	blobs     storage.Blobs
	files     storage.Workspaces
	log       *slog.Logger
	build     string
	where     func(expression string) (EventFilter, error)
}

// New returns a reader.
func New(c Config) *Reader {
	r := &Reader{journal: c.Journal, snapshots: c.Snapshots, blobs: c.Blobs, files: c.Files, log: c.Log, build: c.Build, where: c.Where}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// History returns a page of a stream as it is stored.
func (r *Reader) History(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	return r.journal.Read(ctx, stream, from, direction, limit)
}

// Scan reads a stream event by event, from a revision on or back, until no more are wanted. Pages grow, so that who finds at once what is looked for
// reads little.
func (r *Reader) Scan(
	ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, use func(*events.Envelope) (more bool, err error),
) error {
	for size := 64; from >= 0; size = min(4*size, storage.MaxPageEvents) {
		page, err := r.journal.Read(ctx, stream, from, direction, storage.Limit{Events: size})
		if err != nil {
			return fmt.Errorf("read %s from revision %d: %w", stream, from, err)
		}
		for i := range page.Events {
			if more, err := use(&page.Events[i]); err != nil || !more {
				return err
			}
		}
		if page.End || len(page.Events) == 0 {
			return nil
		}
		from = page.Events[len(page.Events)-1].Revision + 1
		if direction == storage.Backward {
			from -= 2
		}
	}
	return nil
}
