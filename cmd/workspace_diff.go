package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// changedFiles is what life workspace diff reports.
type changedFiles struct {
	Agent   events.AgentID  `json:"agent"`
	From    events.Revision `json:"from,string"`
	To      events.Revision `json:"to,string"`
	Changes []changedFile   `json:"changes"`
}

// changedFile is one path that is not as it was.
type changedFile struct {
	Path   string        `json:"path"`
	Change string        `json:"change"`         // added, removed or changed
	From   *storage.File `json:"from,omitempty"` // nil: it was not there
	To     *storage.File `json:"to,omitempty"`   // nil: it is not there any more
}

// mostDiffed is how large a file may be, in bytes, for its changes to be shown line by line.
const mostDiffed = 1 << 20

func workspaceDiffCommand(a *app) *cobra.Command {
	from, to, file, asJSON := "", "", "", false
	cmd := &cobra.Command{
		Use:   "diff AGENT",
		Short: "Show which files of an agent's workspace changed between two moments",
		Long: "Show which files of an agent's workspace were added, removed or changed between two moments or, with --file, the changes in one\n" +
			"text file, line by line.",
		Example: "  life workspace diff demo --from turn:2 --to turn:3\n  life workspace diff demo --from 0 --file notes/june.md\n  life workspace diff demo --from 0 --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return usage("--from is required: the earlier moment; 0 is the agent's first event")
			}
			return a.withWorkspace(cmd.Context(), args[0], []momentFlag{{"from", from}, {"to", to}}, func(host reached, listed []history.ListedWorkspace) error {
				for i := range listed {
					if listed[i].Tree.Manifest == nil {
						return coded("not_found", "the files as of revision %d were not recorded: %s", listed[i].Revision, events.Visible(listed[i].Tree.Missing))
					}
				}
				if file != "" {
					return a.diffFile(cmd.Context(), host, &listed[0], &listed[1], file)
				}
				changes := compareFiles(&listed[0], &listed[1])
				if asJSON {
					return a.printJSON(changes)
				}
				return a.printChangedFiles(&changes)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the earlier moment: "+momentHelp)
	cmd.Flags().StringVar(&to, "to", "", "the later moment (default: the latest)")
	cmd.Flags().StringVar(&file, "file", "", "show the changes of this file, by its path in the workspace")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// compareFiles lists what differs, by path.
func compareFiles(from, to *history.ListedWorkspace) changedFiles {
	result := changedFiles{Agent: to.Agent, From: from.Revision, To: to.Revision, Changes: []changedFile{}}
	before := map[string]*storage.File{}
	for i := range from.Files {
		before[from.Files[i].Path] = &from.Files[i]
	}
	after := map[string]bool{}
	for i := range to.Files {
		f := &to.Files[i]
		after[f.Path] = true
		switch old := before[f.Path]; {
		case old == nil:
			result.Changes = append(result.Changes, changedFile{f.Path, "added", nil, f})
		case old.Kind != f.Kind || old.Mode != f.Mode || old.Hash != f.Hash || old.Target != f.Target:
			result.Changes = append(result.Changes, changedFile{f.Path, "changed", old, f})
		}
	}
	for i := range from.Files {
		if f := &from.Files[i]; !after[f.Path] {
			result.Changes = append(result.Changes, changedFile{f.Path, "removed", f, nil})
		}
	}
	return result
}

func (a *app) printChangedFiles(c *changedFiles) error {
	if len(c.Changes) == 0 {
		fmt.Fprintf(a.errs, "life: no file changed between revisions %d and %d\n", c.From, c.To)
		return nil
	}
	w := table(a.out)
	for _, change := range c.Changes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", change.Change, shownPath(change.Path), change.detail())
	}
	return w.Flush()
}

// detail says in what a path changed.
func (c *changedFile) detail() string {
	switch {
	case c.From == nil:
		return what(c.To)
	case c.To == nil:
		return what(c.From)
	case c.From.Kind != c.To.Kind || c.From.Target != c.To.Target:
		return what(c.From) + ", now " + what(c.To)
	case c.From.Hash == c.To.Hash:
		return fmt.Sprintf("mode %o, now %o", c.From.Mode, c.To.Mode)
	}
	return fmt.Sprintf("%d bytes, now %d bytes", c.From.Size, c.To.Size)
}

func what(f *storage.File) string {
	switch f.Kind {
	case storage.Directory:
		return "directory"
	case storage.Link:
		return "link to " + shownPath(f.Target)
	case storage.LeftOut:
		return events.Visible(f.Why)
	case storage.RegularFile:
	}
	return fmt.Sprintf("%d bytes", f.Size)
}

// diffFile prints the changes of one text file as a unified diff.
func (a *app) diffFile(ctx context.Context, host reached, from, to *history.ListedWorkspace, path string) error {
	old, before, err := textOf(ctx, host, from, path)
	if err != nil {
		return err
	}
	current, after, err := textOf(ctx, host, to, path)
	if err != nil {
		return err
	}
	if !before && !after {
		return coded("not_found", "there is no file %s at either moment: life workspace list %s lists the files", shownPath(path), to.Agent)
	}
	name := func(l *history.ListedWorkspace) string { return fmt.Sprintf("%s@%d", shownPath(path), l.Revision) }
	_, err = a.out.Write(diff.Diff(name(from), old, name(to), current))
	return err
}

// textOf reads a text file of a workspace; one that is not there is empty.
func textOf(ctx context.Context, host reached, l *history.ListedWorkspace, path string) (text []byte, there bool, err error) {
	for i := range l.Files {
		f := &l.Files[i]
		if f.Path != path {
			continue
		}
		if f.Kind != storage.RegularFile || f.Size > mostDiffed {
			return nil, true, coded("invalid", "%s as of revision %d is not a text file of at most %d bytes: %s", shownPath(path), l.Revision, mostDiffed, what(f))
		}
		reader, err := host.OpenWorkspaceFile(ctx, l.Agent, l.Revision, path)
		if err != nil {
			return nil, true, err
		}
		text, err := io.ReadAll(reader)
		if err == nil && bytes.IndexByte(text, 0) >= 0 {
			err = coded("invalid", "%s as of revision %d is not text", shownPath(path), l.Revision)
		}
		return text, true, errors.Join(err, reader.Close())
	}
	return nil, false, nil
}
