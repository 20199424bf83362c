package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"

	"example.com/life/actors"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/notes"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// The bounds of one command of life knowledge add. A note can be written alone, whatever its size.
const (
	addNotes = 256
	addBytes = 1 << 20
)

type knowledgeAddFlags struct {
	notes.Config
	tenant   string
	prune    bool
	asJSON   bool
	progress bool
}

func knowledgeAddCommand(a *app) *cobra.Command {
	var f knowledgeAddFlags
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Import the Markdown files of a directory as notes",
		Long: "Import the Markdown files of a directory as notes, with their front matter and [[links]]. Unchanged files change nothing, changed files\n" +
			"become new versions. Notes whose files are gone are listed, and removed with --prune. A file that is not a valid note is reported with\n" +
			"the reason, and all others are imported. A directory with the name of another one that was imported is a collection of its own.",
		Example: "  life knowledge add ~/notes\n  life knowledge add ~/notes --prune --json\n  life knowledge add ~/vaults/capsule --collection capsule --prefix capsule/",
		Args:    takes(1, 1, "one directory"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if f.Dir, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			if f.Dir, err = filepath.EvalSymlinks(f.Dir); err != nil {
				return fmt.Errorf("read notes: %w", err)
			}
			if f.Prefix != "" && !strings.HasSuffix(f.Prefix, "/") {
				return usage("--prefix is %q: it must end in a slash", f.Prefix)
			}
			return a.with(cmd.Context(), func(host reached) error { return a.addNotes(cmd.Context(), host, &f) })
		},
	}
	cmd.Flags().StringVar(&f.Collection, "collection", "", "name of the collection that the notes belong to (default: the directory's name, with those above it if another directory has that)")
	cmd.Flags().StringVar(&f.Prefix, "prefix", "", "prefix of each note's id, such as capsule/")
	cmd.Flags().StringVar(&f.tenant, "tenant", string(sagas.DefaultTenant), "tenant that the notes belong to")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "remove notes of the collection whose files are gone")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// added is what life knowledge add did.
type added struct {
	Collection string          `json:"collection"`
	Files      int             `json:"files"`
	Written    int             `json:"written"`   // new notes and new versions
	Unchanged  int             `json:"unchanged"` //
	Vanished   []events.NoteID `json:"vanished"`  // their files are gone
	Removed    int             `json:"removed"`   // of the vanished ones
	Problems   []fileProblem   `json:"problems"`
}

type fileProblem struct {
	Path   string `json:"path"`
	Line   int    `json:"line,omitempty"`
	Detail string `json:"detail"`
	Ignore bool   `json:"ignored,omitempty"` // it may not have been meant to be read, and makes no failure
}

// adding is one run of life knowledge add.
type adding struct {
	*app
	host   reached
	flags  *knowledgeAddFlags
	stream events.Stream
	meter  *meter
	did    added
	batch  []events.Note
	bytes  int
	seen   map[events.NoteID]bool
	least  events.Position // of the notes that were written: what vanished is asked for as of then
}

func (a *app) addNotes(ctx context.Context, host reached, f *knowledgeAddFlags) error {
	r := adding{
		app: a, host: host, flags: f, stream: events.KnowledgeStream(events.TenantID(f.tenant)), meter: a.newMeter(f.progress), seen: map[events.NoteID]bool{},
		did: added{Collection: f.Collection, Vanished: []events.NoteID{}, Problems: []fileProblem{}},
	}
	defer r.meter.done()
	if err := r.nameCollection(ctx); err != nil {
		return err
	}
	err := notes.Read(ctx, f.Config, func(note events.Note, problem *notes.Problem) error { return r.take(ctx, note, problem) })
	if err == nil {
		err = r.flush(ctx)
	}
	if err == nil {
		err = r.vanished(ctx)
	}
	r.meter.done()
	if err != nil {
		return fmt.Errorf("%w\n"+
			"  %d notes were written; run it again to continue", err, r.did.Written)
	}
	return r.report()
}

// nameCollection finds the name of the directory's collection, if none was given: the shortest end of its path under which it was
// imported before, or under which no other directory was.
func (r *adding) nameCollection(ctx context.Context) error {
	if r.flags.Collection == "" {
		known, err := r.collections(ctx)
		if err != nil {
			return err
		}
		r.flags.Collection = collectionOf(r.flags.Dir, known)
		if base := filepath.Base(r.flags.Dir); r.flags.Collection != base {
			fmt.Fprintf(r.errs, "life: collection %s is that of another directory, %s, so this is collection %s; type --collection %s if it is the same, moved\n",
				base, strings.Join(known[base], ", "), r.flags.Collection, base)
		}
	}
	r.did.Collection = r.flags.Collection
	return nil
}

// collectionOf chooses the name of a directory's collection. Known are the directories of each collection; of those that builds before
// this one imported none is.
func collectionOf(dir string, known map[string][]string) string {
	free := ""
	for name, above := filepath.Base(dir), filepath.Dir(dir); ; name, above = filepath.Base(above)+"/"+name, filepath.Dir(above) {
		if slices.Contains(known[name], dir) {
			return name
		}
		if free == "" && len(known[name]) == 0 {
			free = name
		}
		if above == filepath.Dir(above) {
			return cmp.Or(free, dir)
		}
	}
}

// collections asks for the directories of each collection, as of the latest note.
func (r *adding) collections(ctx context.Context) (map[string][]string, error) {
	latest, err := r.host.History(ctx, r.stream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil || len(latest.Events) == 0 {
		return nil, err
	}
	query := projections.Query{Name: "collections", Parameters: map[string]string{"tenant": r.flags.tenant}}
	asked, err := r.host.Query(ctx, projector.Question{Projection: "knowledge", Query: query, Min: latest.Events[0].Position}, nil)
	if err != nil {
		return nil, err
	}
	var answer projections.NoteCollections
	if err := decodeAnswer(asked, &answer); err != nil {
		return nil, err
	}
	known := map[string][]string{}
	for _, c := range answer.Collections {
		known[c.Name] = c.Dirs
	}
	return known, nil
}

// take adds a note to the batch, which is sent when it is full.
func (r *adding) take(ctx context.Context, note events.Note, problem *notes.Problem) error {
	if problem != nil {
		r.problem(problem)
	}
	if problem != nil && problem.Ignore {
		return nil
	}
	r.did.Files++
	r.seen[note.ID] = true // also if it could not be read: its file is not gone
	if problem != nil {
		return nil
	}
	if len(r.batch) == addNotes || r.bytes+len(note.Inline) > addBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.batch, r.bytes = append(r.batch, note), r.bytes+len(note.Inline)
	r.meter.show("%d files read, %d notes written", r.did.Files, r.did.Written)
	return nil
}

func (r *adding) problem(p *notes.Problem) {
	r.did.Problems = append(r.did.Problems, fileProblem{p.Path, p.Line, p.Detail, p.Ignore})
}

// flush writes the batch.
func (r *adding) flush(ctx context.Context) error {
	err := r.write(ctx, r.batch)
	r.batch, r.bytes = r.batch[:0], 0
	return err
}

// write writes some notes together. If they are refused, each half is tried by itself, so that at last the refused note is named and
// all others are written.
func (r *adding) write(ctx context.Context, batch []events.Note) error {
	if len(batch) == 0 {
		return nil
	}
	receipt, err := r.keep(ctx, sagas.KeepNotes{Write: batch})
	var refused *sagas.RefusalError
	switch {
	case errors.As(err, &refused) && (refused.Code == sagas.RefusedInvalid || refused.Code == sagas.RefusedState):
		if len(batch) == 1 {
			r.problem(&notes.Problem{Path: batch[0].Source.Path, Detail: refused.Detail})
			return nil
		}
		half := len(batch) / 2
		if err := r.write(ctx, batch[:half]); err != nil {
			return err
		}
		return r.write(ctx, batch[half:])
	case err != nil:
		return err
	}
	r.did.Written += receipt.Written
	r.did.Unchanged += len(batch) - receipt.Written
	return nil
}

func (r *adding) keep(ctx context.Context, command sagas.KeepNotes) (actors.Receipt, error) {
	command.Meta, command.Author = newMeta(""), events.NoteAuthor{By: r.person()}
	receipt, err := r.host.Do(ctx, r.stream, command, origin())
	r.least = max(r.least, receipt.Position)
	return receipt, err
}

// vanished finds the notes of the collection whose files are gone, and removes them if that is wanted, or if they are written under the
// composed form of their name now. The list is only where to look: what is removed must still be of the collection when that is decided.
func (r *adding) vanished(ctx context.Context) error {
	var removals []sagas.NoteRemoval
	for after, more := events.NoteID(""), true; more; {
		var page projections.NoteList
		if err := r.page(ctx, after, &page); err != nil {
			return err
		}
		more = page.More
		for i := range page.Notes {
			after = page.Notes[i].Note
			if r.seen[after] || r.unread(page.Notes[i].Source) {
				continue
			}
			r.did.Vanished = append(r.did.Vanished, after)
			composed := events.NoteID(norm.NFC.String(string(after)))
			switch {
			case composed != after && r.seen[composed]:
				removals = append(removals, sagas.NoteRemoval{Note: after, Reason: "its name is composed now", Collection: r.flags.Collection})
			case r.flags.prune:
				removals = append(removals, sagas.NoteRemoval{Note: after, Reason: "its file is gone", Collection: r.flags.Collection})
			}
		}
	}
	for now := range slices.Chunk(removals, sagas.MaxNotes) {
		receipt, err := r.keep(ctx, sagas.KeepNotes{Remove: now})
		if err != nil {
			return err
		}
		r.did.Removed += receipt.Removed
	}
	return nil
}

// unread reports whether a note's file lies in a directory that could not be read.
func (r *adding) unread(source string) bool {
	at := strings.TrimPrefix(source, r.flags.Collection+":")
	return slices.ContainsFunc(r.did.Problems, func(p fileProblem) bool { return strings.HasPrefix(at, p.Path+"/") })
}

func (r *adding) page(ctx context.Context, after events.NoteID, page *projections.NoteList) error {
	const most = 10_000
	query := projections.Query{Name: "notes", Parameters: map[string]string{
		"collection": r.flags.Collection, "tenant": r.flags.tenant, "limit": strconv.Itoa(most),
	}}
	if after != "" {
		query.Parameters["after"] = string(after)
	}
	answer, err := r.host.Query(ctx, projector.Question{Projection: "knowledge", Query: query, Min: r.least}, func(folded int64) {
		r.meter.show("%d files read, %d notes written, %d events folded", r.did.Files, r.did.Written, folded)
	})
	if err != nil {
		return err
	}
	return decodeAnswer(answer, page)
}

// report says what was done. Files that are no notes make it a failure.
func (r *adding) report() error {
	if r.flags.asJSON {
		if err := r.printJSON(r.did); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(r.out, "%s: %d files, %d notes written, %d unchanged, %d missing, %d removed\n",
			r.did.Collection, r.did.Files, r.did.Written, r.did.Unchanged, len(r.did.Vanished), r.did.Removed)
		if len(r.did.Vanished) > r.did.Removed {
			fmt.Fprintln(r.out, "these notes have no file any more; --prune removes them:")
			for _, note := range r.did.Vanished {
				fmt.Fprintf(r.out, "    %s\n", note)
			}
		}
		for _, p := range r.did.Problems {
			fmt.Fprintf(r.errs, "life: %s\n", (&notes.Problem{Path: filepath.Join(r.flags.Dir, p.Path), Line: p.Line, Detail: p.Detail}).String())
		}
	}
	failed := slices.DeleteFunc(slices.Clone(r.did.Problems), func(p fileProblem) bool { return p.Ignore })
	switch n := len(failed); n {
	case 0:
		return nil
	case 1:
		return coded("invalid", "one file is not a valid note and was skipped")
	default:
		return coded("invalid", "%d files are not valid notes and were skipped", n)
	}
}
