package cmd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/workspace"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

// served is a host behind life serve. A workspace is restored in this process, for the user who asks, from the blobs of the data
// directory, which both share.
type served struct {
	*api.Client
	data string
}

// RestoreWorkspace is Host.RestoreWorkspace.
func (s served) RestoreWorkspace(ctx context.Context, agent events.AgentID, at events.Revision, dir string) (history.RestoredWorkspace, error) {
	var made history.RestoredWorkspace
	listed, err := s.ListWorkspace(ctx, agent, at)
	if err != nil {
		return made, err
	}
	kept, err := blobs.Open(filepath.Join(s.data, stores.BlobsName))
	if err != nil {
		return made, err
	}
	store, err := workspace.New(workspace.Config{Blobs: kept})
	if err != nil {
		return made, err
	}
	made = history.RestoredWorkspace{WorkspaceState: listed.WorkspaceState, Dir: dir}
	made.Restored, err = store.Restore(ctx, listed.Tree, dir)
	return made, err
}

func workspaceCommand(a *app) *cobra.Command {
	return group("workspace", "List, compare and restore the files of an agent's workspace as of any moment",
		"  life workspace list demo --at turn:3\n  life workspace restore demo --at turn:3 --to /tmp/demo-3",
		workspaceListCommand(a), workspaceDiffCommand(a), workspaceRestoreCommand(a))
}

func workspaceListCommand(a *app) *cobra.Command {
	at, asJSON := "", false
	cmd := &cobra.Command{
		Use:   "list AGENT",
		Short: "List the files of an agent's workspace as of any moment",
		Long: "List the files of an agent's workspace as recorded at a moment. Files are recorded before a turn's first call and after each call of a\n" +
			"tool that may change them; changes by other programs are seen at the next such call. If no call recorded anything, the current workspace\n" +
			"is listed, and the output says so.",
		Example: "  life workspace list demo\n  life workspace list demo --at turn:3\n  life workspace list demo --at 12 --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withWorkspace(cmd.Context(), args[0], []momentFlag{{"at", at}}, func(_ reached, listed []history.ListedWorkspace) error {
				if asJSON {
					return a.printJSON(listed[0])
				}
				return printWorkspace(seen(a.out), &listed[0])
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "moment to show: "+momentHelp+" (default: the latest)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// momentFlag is a flag that names a moment, as it was given.
type momentFlag struct{ name, text string }

// withWorkspace lists an agent's workspace as of moments.
func (a *app) withWorkspace(ctx context.Context, name string, moments []momentFlag, use func(reached, []history.ListedWorkspace) error) error {
	agent, err := checkAgent(name)
	if err != nil {
		return err
	}
	parsed := make([]events.Moment, len(moments))
	for i, m := range moments {
		if parsed[i], err = parseMoment(m.name, m.text); err != nil {
			return err
		}
	}
	return a.with(ctx, func(host reached) error {
		listed := make([]history.ListedWorkspace, len(moments))
		for i, m := range parsed {
			find := a.revisionOf
			if moments[i].name == "from" {
				find = a.revisionBefore
			}
			at, err := find(ctx, host, agent, m)
			if err != nil {
				return err
			}
			if listed[i], err = host.ListWorkspace(ctx, agent, at); err != nil {
				return err
			}
		}
		return use(host, listed)
	})
}

// revisionOf is the revision of a moment, NoRevision for the latest. A revision needs no search.
func (a *app) revisionOf(ctx context.Context, host reached, agent events.AgentID, m events.Moment) (events.Revision, error) {
	switch m.Form {
	case events.MomentLatest:
		return events.NoRevision, nil
	case events.MomentRevision:
		return m.Revision, nil
	case events.MomentTime, events.MomentTurn:
	}
	at, err := a.resolve(ctx, host, agent, m)
	return at.Revision, err
}

// revisionBefore is the revision before the beginning of a time; of other moments it is their own.
func (a *app) revisionBefore(ctx context.Context, host reached, agent events.AgentID, m events.Moment) (events.Revision, error) {
	if m.Form != events.MomentTime {
		return a.revisionOf(ctx, host, agent, m)
	}
	at, err := a.begin(ctx, host, agent, m)
	return at.Before(), err
}

func printWorkspace(out io.Writer, l *history.ListedWorkspace) error {
	w := table(out)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("workspace", "%s", l.Workspace)
	line("as of", "revision %d", l.Revision)
	if l.Event != "" {
		line("recorded by", "%s", l.Event)
	}
	if l.Note != "" {
		line("note", "%s", l.Note)
	}
	if l.Tree.Missing != "" {
		line("missing", "%s", events.Visible(l.Tree.Missing))
	}
	if l.Tree.Manifest != nil {
		line("files", "%d in %d directories, %d bytes", l.Tree.Files, l.Tree.Dirs, l.Tree.Bytes)
	}
	if err := w.Flush(); err != nil || len(l.Files) == 0 {
		return err
	}
	fmt.Fprintln(out)
	w = table(out)
	fmt.Fprintln(w, "MODE\tSIZE\tHASH\tPATH")
	for i := range l.Files {
		f := &l.Files[i]
		switch f.Kind {
		case storage.RegularFile:
			fmt.Fprintf(w, "%o\t%d\t%.12s\t%s\n", f.Mode, f.Size, f.Hash, shownPath(f.Path))
		case storage.Directory:
			fmt.Fprintf(w, "%o\t\t\t%s/\n", f.Mode, shownPath(f.Path))
		case storage.Link:
			fmt.Fprintf(w, "link\t\t\t%s -> %s\n", shownPath(f.Path), shownPath(f.Target))
		case storage.LeftOut:
			fmt.Fprintf(w, "left out\t\t\t%s: %s\n", shownPath(f.Path), events.Visible(f.Why))
		}
	}
	return w.Flush()
}

// shownPath quotes a path that would not be read as it is.
func shownPath(path string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar && r != '\\' && r != '"' }
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return strconv.Quote(path)
}

func workspaceRestoreCommand(a *app) *cobra.Command {
	at, to, asJSON := "", "", false
	cmd := &cobra.Command{
		Use:   "restore AGENT",
		Short: "Restore the files of an agent's workspace, as of any moment, to a new directory",
		Long: "Restore the files of an agent's workspace, as recorded at a moment, to a directory that does not exist or is empty. Either the directory\n" +
			"is complete, with every byte verified, or it does not exist. The agent and its own workspace are not touched.",
		Example: "  life workspace restore demo --at turn:3 --to /tmp/demo-3",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usage("--to is required: the directory to create")
			}
			dir, err := filepath.Abs(to)
			if err != nil {
				return err
			}
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			moment, err := parseMoment("at", at)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				revision, err := a.revisionOf(cmd.Context(), host, agent, moment)
				if err != nil {
					return err
				}
				report, err := host.RestoreWorkspace(cmd.Context(), agent, revision, dir)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(report)
				}
				return a.printRestored(&report)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "moment to restore: "+momentHelp+" (default: the latest)")
	cmd.Flags().StringVar(&to, "to", "", "directory to create")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) printRestored(r *history.RestoredWorkspace) error {
	fmt.Fprintf(a.out, "ok: %d files, %d bytes as of revision %d in %s\n", r.Restored.Files, r.Restored.Bytes, r.Revision, r.Dir)
	if r.Note != "" {
		fmt.Fprintf(a.errs, "life: %s\n", r.Note)
	}
	if r.Tree.Missing != "" {
		fmt.Fprintf(a.errs, "life: not recorded, so not restored: %s\n", events.Visible(r.Tree.Missing))
	}
	for _, f := range r.Restored.LeftOut {
		fmt.Fprintf(a.errs, "life: left out: %s: %s\n", shownPath(f.Path), events.Visible(f.Why))
	}
	for _, path := range r.Restored.Outgoing {
		fmt.Fprintf(a.errs, "life: the link %s leads out of the directory: following it leaves the copy\n", shownPath(path))
	}
	return nil
}

func undoCommand(a *app) *cobra.Command {
	var id idFlags
	to, dry, force := "", false, false
	cmd := &cobra.Command{
		Use:   "undo AGENT --to MOMENT",
		Short: "Restore the files of an agent's workspace, in place, as they were at a moment",
		Long: "Restore the files of an agent's workspace, in place, as they were recorded at a moment of its history. What the agent and its commands changed since is\n" +
			"undone; files that only somebody else changed stay. If somebody else changed a file that is to be restored, nothing is done: --force restores\n" +
			"all files as they were. What is there now is recorded before, so an undo can be undone. It waits until no turn runs, and the next turn is told\n" +
			"which files are not as the agent left them. --dry-run shows what the agent changed.",
		Example: "  life undo demo --to turn:2 --dry-run\n  life undo demo --to turn:3\n  life undo demo --to 31 --force --json",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usage("--to is required: the moment whose files are restored, as turn:2 or a revision that life history lists")
			}
			if dry {
				return a.showUndo(cmd.Context(), args[0], to, id.asJSON)
			}
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			moment, err := parseMoment("to", to)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				at, err := a.revisionOf(cmd.Context(), host, agent, moment)
				if err != nil {
					return err
				}
				ended, err := undoFiles(cmd.Context(), host, agent, sagas.Undo{Meta: newMeta(id.id), To: at, Force: force, By: a.person()})
				if err != nil {
					return err
				}
				return a.printUndo(agent, &ended, id.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "moment whose files are restored: "+momentHelp)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show which files the agent changed since")
	cmd.Flags().BoolVar(&force, "force", false, "restore all files as they were, also those that somebody else changed since")
	id.add(cmd)
	return cmd
}

// showUndo shows what an undo would change, by what was recorded.
func (a *app) showUndo(ctx context.Context, agent, to string, asJSON bool) error {
	return a.withWorkspace(ctx, agent, []momentFlag{{"now", ""}, {"to", to}}, func(_ reached, listed []history.ListedWorkspace) error {
		then := &listed[1]
		changes := compareFiles(&listed[0], then)
		if asJSON {
			return a.printJSON(changes)
		}
		if len(changes.Changes) == 0 {
			fmt.Fprintf(a.errs, "life: nothing to undo: the files are as of revision %d\n", then.Revision)
			return nil
		}
		return a.printChangedFiles(&changes)
	})
}

// undoFiles asks for the files and waits for what comes of it.
func undoFiles(ctx context.Context, host reached, agent events.AgentID, command sagas.Undo) (events.UndoEnded, error) {
	before, err := host.State(ctx, agent, events.NoRevision)
	if err != nil {
		return events.UndoEnded{}, err
	}
	if command.To == events.NoRevision {
		command.To = before.Revision
	}
	receipt, err := host.Do(ctx, events.AgentStream(agent), command, origin())
	if err != nil {
		return events.UndoEnded{}, err
	}
	feed, err := host.Watch(ctx, agent, receipt.Revision)
	if err != nil {
		return events.UndoEnded{}, fmt.Errorf("watch agent %s: %w", agent, err)
	}
	defer feed.Close()
	return undoEnded(ctx, feed, agent, receipt)
}

func undoEnded(ctx context.Context, feed actors.Feed, agent events.AgentID, receipt actors.Receipt) (events.UndoEnded, error) {
	request := events.RequestID(events.NewRef(receipt.Stream, receipt.Revision))
	for {
		item, err := feed.Next(ctx)
		if err != nil {
			return events.UndoEnded{}, fmt.Errorf("wait for the files of %s: %w; the undo goes on, and life history %s shows its end", agent, err, agent)
		}
		if item.Event == nil {
			continue
		}
		event, err := item.Event.Event()
		if err != nil {
			return events.UndoEnded{}, err
		}
		if ended, is := event.(events.UndoEnded); is && ended.Request == request {
			return ended, nil
		}
	}
}

func (a *app) printUndo(agent events.AgentID, e *events.UndoEnded, asJSON bool) error {
	if e.Failed() {
		return coded("conflict", "the files of %s are as they were: %s", agent, events.Visible(e.Detail))
	}
	if asJSON {
		return a.printJSON(e)
	}
	for _, path := range e.Written {
		fmt.Fprintf(a.out, "restored  %s\n", shownPath(path))
	}
	for _, path := range e.Removed {
		fmt.Fprintf(a.out, "removed   %s\n", shownPath(path))
	}
	if e.More > 0 {
		fmt.Fprintf(a.out, "and %d more\n", e.More)
	}
	fmt.Fprintf(a.out, "ok: the files of %s are as of revision %d\n", agent, e.To)
	for _, left := range e.Left {
		fmt.Fprintf(a.errs, "life: left as it is: %s\n", events.Visible(left))
	}
	return nil
}
