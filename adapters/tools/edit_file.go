package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
)

// What is shown of an edited file.
const (
	editAround = 3   // lines before and after each edit
	editLines  = 200 // at most
	mostEdits  = 1000
)

type editFileArgs struct {
	Path    string    `json:"path" min:"1" jsonschema:"the file, relative to the workspace"`
	FileTag string    `json:"file_tag,omitempty" jsonschema:"the eight digits after # in what read_file showed; the version that was shown last if not given"`
	Edits   []editArg `json:"edits" min:"1" max:"1000" jsonschema:"all of them are made, or none; their anchors are of the file before the call"`
	DryRun  bool      `json:"dry_run,omitempty" jsonschema:"show what would be changed, and change nothing"`
}

type editArg struct {
	Op   string `json:"op" min:"1" jsonschema:"replace, delete, insert_before, insert_after, append (at the end of the file) or prepend"`
	At   string `json:"at,omitempty" jsonschema:"the line's anchor, such as 12:9f3e; not for append and prepend"`
	End  string `json:"end,omitempty" jsonschema:"the anchor of the last line to replace or delete; only the one line if not given"`
	Text lines  `json:"text,omitempty" jsonschema:"the new lines, as one string or as a list of lines, without anchors; not for delete"`
}

// editing is edit_file, which is another tool for agents that edit by text.
type editing struct{ byAnchors, byText actors.Tool }

// newEditFile makes a tool that is not repeatable: where an edit was made, the lines around it have moved, and it could be made again.
func (f files) newEditFile() (actors.Tool, error) {
	byAnchors, err := newFileTool(f, actors.ToolSpec{Name: "edit_file", Risk: events.RiskMedium}, editFile)
	if err != nil {
		return nil, err
	}
	byText, err := f.newStrReplace()
	return editing{byAnchors, byText}, err
}

// Spec is that of the tool by anchors, with what agents are shown that edit by text.
func (e editing) Spec() actors.ToolSpec {
	spec, plain := e.byAnchors.Spec(), e.byText.Spec()
	spec.Plain = &actors.PlainSpec{Description: plain.Description, Schema: plain.Schema}
	return spec
}

// Run edits as the agent was told that it can.
func (e editing) Run(ctx context.Context, use actors.ToolUse) (actors.ToolResult, error) {
	if use.Editor.Anchored() {
		return e.byAnchors.Run(ctx, use)
	}
	return e.byText.Run(ctx, use)
}

func editFile(ctx context.Context, w *workspace, args editFileArgs) (string, error) {
	edits, wrong := readEdits(args.Edits)
	if len(wrong) > 0 {
		return "", errors.New("invalid arguments of edit_file:\n- " + strings.Join(wrong, "\n- "))
	}
	return w.writing(ctx, args.Path, func(target string, old fs.FileInfo) (string, error) {
		if old == nil {
			return "", fmt.Errorf("%s: no such file; write_file creates it", target)
		}
		v, err := w.version(target, old)
		if err != nil {
			return "", err
		}
		return w.editByAnchors(v, args, edits)
	})
}

// readEdits reads anchors and texts.
func readEdits(given []editArg) (edits []hashline.Edit, wrong []string) {
	for i := range given {
		g := &given[i]
		e := hashline.Edit{Op: hashline.Op(g.Op), Lines: g.Text.text, Closed: g.Text.closed}
		note := func(field string, err error) {
			if err != nil && len(wrong) < mostWrong {
				wrong = append(wrong, fmt.Sprintf("edits[%d].%s: %v", i, field, err))
			}
		}
		var err error
		switch {
		case !slices.Contains(hashline.Ops(), e.Op):
			note("op", fmt.Errorf("must be one of %v, not %.40q", hashline.Ops(), g.Op))
		case e.Op == hashline.Append || e.Op == hashline.Prepend:
			if g.At != "" || g.End != "" {
				note("at", fmt.Errorf("%s takes no anchor", e.Op))
			}
		default:
			e.At, err = hashline.ParseAnchor(g.At)
			note("at", err)
		}
		if g.End != "" {
			end, err := hashline.ParseAnchor(g.End)
			note("end", err)
			e.End = &end
		}
		edits = append(edits, e)
	}
	return edits, wrong
}

// editByAnchors makes a batch of edits, or none.
func (w *workspace) editByAnchors(v *version, args editFileArgs, edits []hashline.Edit) (string, error) {
	resolved, moves, err := w.resolveEdits(v, strings.ToLower(args.FileTag), edits)
	if err != nil {
		return "", w.conflict(v, err)
	}
	if err := v.fits(edits); err != nil {
		return "", err
	}
	result, err := hashline.Apply(v.file, resolved)
	if err != nil {
		return "", fmt.Errorf("%s was not changed: %w", v.name, err)
	}
	after := &version{name: v.name, draft: args.DryRun, charset: v.charset, file: result.File, text: result.File.Bytes()}
	if after.stored = after.text; v.charset.codec != nil {
		if after.stored, err = v.charset.encode(after.text); err != nil {
			return "", fmt.Errorf("%s was not changed: %w", v.name, err)
		}
	}
	after.digest = hashline.DigestOf(after.stored)
	done, way := "edited", ""
	if args.DryRun {
		done = "would be edited"
	} else if way, err = w.write(v.name, v.info, after.stored); err != nil {
		return "", err
	}
	return w.edited(after, done, &result, moves) + way, nil
}

// fits refuses text that the file's bytes cannot hold.
func (v *version) fits(edits []hashline.Edit) error {
	for i := range edits {
		for _, line := range edits[i].Lines {
			if v.charset.codec == nil && !ascii(line) && !mostlyUTF8(v.text) {
				return fmt.Errorf("edits[%d].text: %s is %s, and the text has characters that are stored otherwise there; iconv in bash can convert the file", i, v.name, legacy(v.text))
			}
		}
	}
	return nil
}

// resolveEdits finds what the anchors name: in this version, if it is the one that was shown, or where its lines have gone since.
func (w *workspace) resolveEdits(v *version, tag string, edits []hashline.Edit) ([]hashline.Edit, []hashline.Move, error) {
	seen := w.shown.version(w.agent, w.real+"/"+v.name, tag)
	var before *hashline.File
	switch {
	case seen != nil && seen.digest != v.digest:
		before = hashline.Parse(seen.text)
	case seen == nil && tag != v.digest.Tag():
		return nil, nil, &hashline.ConflictError{Conflicts: unknown(v, edits)}
	}
	if seen != nil {
		if unseen := notShown(seen, edits); len(unseen) > 0 {
			return nil, nil, &hashline.ConflictError{Conflicts: unseen}
		}
	}
	return hashline.Resolve(v.file, before, edits)
}

// unknown are the anchors of a version that nobody here knows.
func unknown(v *version, edits []hashline.Edit) (all []hashline.Conflict) {
	for i := range edits {
		all = append(all, hashline.Conflict{Edit: i, Anchor: edits[i].At, Why: "unknown_version", Near: min(max(1, edits[i].At.Number), v.file.Len())})
	}
	return all
}

// notShown are the anchors of lines that the agent was not shown.
func notShown(seen *shownAnchor, edits []hashline.Edit) (all []hashline.Conflict) {
	for i := range edits {
		for _, a := range []*hashline.Anchor{&edits[i].At, edits[i].End} {
			if a != nil && a.Number > 0 && !seen.has(a.Number) {
				all = append(all, hashline.Conflict{Edit: i, Anchor: *a, Why: "unseen_line", Near: a.Number})
			}
		}
	}
	return all
}

// conflict says of each anchor what is wrong with it, and shows the lines there with anchors that hold.
func (w *workspace) conflict(v *version, err error) error {
	var found *hashline.ConflictError
	if !errors.As(err, &found) {
		return fmt.Errorf("%s was not changed: %w", v.name, err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "edit_conflict: %s was not changed. Use the anchors below; the file need not be read again.\n", v.name)
	marked := map[int]bool{}
	var near [][2]int
	for i, c := range found.Conflicts {
		c.Near = min(c.Near, v.file.Len())
		if c.Near > 0 {
			marked[c.Near], near = true, append(near, [2]int{c.Near, c.Near})
		}
		if i >= mostWrong {
			continue
		}
		fmt.Fprintf(&out, "- edits[%d]", c.Edit)
		if c.Anchor.Number > 0 {
			fmt.Fprintf(&out, " at %v", c.Anchor)
		}
		fmt.Fprintf(&out, ": %s", c.Why)
		if len(c.Where) > 0 {
			fmt.Fprintf(&out, "; lines with this tag now: %s", listed(c.Where))
		}
		out.WriteByte('\n')
	}
	out.WriteString(w.windows(v, near, marked))
	return errors.New(out.String())
}

// windows shows parts of a file.
func (w *workspace) windows(v *version, near [][2]int, marked map[int]bool) string {
	slices.SortFunc(near, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	var out strings.Builder
	left := editLines
	for _, part := range around(near, editAround, v.file.Len()) {
		last := min(part[1], part[0]+left-1)
		if last < part[0] {
			out.WriteString("[there is more: read_file shows it]\n")
			break
		}
		text, to := w.show(v, part[0], last, outputLimit/2, marked)
		out.WriteString(v.head(part[0], to) + text)
		left -= to - part[0] + 1
	}
	return out.String()
}

// edited says what was changed, with the anchors that hold now.
func (w *workspace) edited(after *version, done string, result *hashline.Result, moves []hashline.Move) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s: %d edits, now #%s\n", after.name, done, len(result.Changed), after.digest.Tag())
	for _, m := range moves {
		fmt.Fprintf(&out, "relocated: %d→%d\n", m.From, m.To)
	}
	for _, warning := range result.Warnings[:min(len(result.Warnings), mostWrong)] {
		fmt.Fprintf(&out, "warning: %s\n", warning)
	}
	var near [][2]int
	marked := map[int]bool{}
	for _, c := range result.Changed {
		near = append(near, [2]int{min(c.First, after.file.Len()), max(min(c.First, after.file.Len()), c.Last)})
		for n := c.First; n <= c.Last; n++ {
			marked[n] = true
		}
	}
	if after.file.Len() == 0 {
		return out.String() + "[the file is empty]\n"
	}
	return out.String() + w.windows(after, near, marked)
}
