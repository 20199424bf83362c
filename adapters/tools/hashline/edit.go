package hashline

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Op is what an edit does.
type Op string

// The operations. All but the last two name a line.
const (
	Replace      Op = "replace"
	Delete       Op = "delete"
	InsertBefore Op = "insert_before"
	InsertAfter  Op = "insert_after"
	Append       Op = "append"  // at the end of the file
	Prepend      Op = "prepend" // at its beginning
)

// Ops lists them.
func Ops() []Op { return []Op{Replace, Delete, InsertBefore, InsertAfter, Append, Prepend} }

// Anchor names a line of the version that was shown.
type Anchor struct {
	Number int
	Tag    string
}

func (a Anchor) String() string { return fmt.Sprintf("%d:%s", a.Number, a.Tag) }

// Edit is one change. Its anchors are of the file before the whole batch.
type Edit struct {
	Op     Op
	At     Anchor
	End    *Anchor  // of replace and delete: the last line, included; nil: only the one
	Lines  []string // without their ends
	Closed bool     // the text ended in a line end: then the file's last line gets one too
}

var anchorText = regexp.MustCompile(`^\s*(\d{1,9}):([0-9a-fA-F]{4})(?:~?\|.*)?\s*$`)

// ParseAnchor reads an anchor. What follows its tag in what was shown may be there.
func ParseAnchor(text string) (Anchor, error) {
	found := anchorText.FindStringSubmatch(text)
	if found == nil {
		return Anchor{}, fmt.Errorf("must be a line's number and tag as read_file shows them, such as 12:9f3e, not %.40q", text)
	}
	number, err := strconv.Atoi(found[1])
	if err != nil || number < 1 {
		return Anchor{}, fmt.Errorf("lines are counted from 1, not from %s", found[1])
	}
	return Anchor{number, strings.ToLower(found[2])}, nil
}

// SplitText is a text as lines; one line end at the end is no line of its own.
func SplitText(text string) (lines []string, closed bool) {
	text, closed = strings.CutSuffix(text, "\n")
	lines = strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines, closed
}

var (
	shownLine = regexp.MustCompile(`^\s*\d+:[0-9a-f]{4}~?\|`)
	diffLine  = regexp.MustCompile(`^[-+]`)
)

// copied says what of a text was copied from what is shown rather than meant for the file, or nothing.
func copied(lines []string) string {
	diff := 0
	for _, l := range lines {
		if shownLine.MatchString(l) {
			return fmt.Sprintf("anchor_in_text: the text has a line that begins with an anchor, %.40q: give the line's content alone", l)
		}
		if diffLine.MatchString(l) {
			diff++
		}
	}
	if diff == len(lines) && diff > 1 {
		return "anchor_in_text: every line of the text begins with + or -, as in a diff: give the lines' content alone; str_replace writes such lines where they are meant"
	}
	return ""
}

// Error says what is wrong with one edit of a batch, by its number from 0.
type Error struct {
	Edit int
	Why  string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("edits[%d]: %s", e.Edit, e.Why) }

// check refuses an edit that cannot be meant, whatever the file is.
func (e *Edit) check(number int) error {
	wrong := func(format string, args ...any) error { return &Error{number, fmt.Sprintf(format, args...)} }
	if why := copied(e.Lines); why != "" {
		return wrong("%s", why)
	}
	switch e.Op {
	case Replace, InsertBefore, InsertAfter, Append, Prepend:
		if len(e.Lines) == 0 {
			return wrong("%s needs a text; delete removes lines", e.Op)
		}
	case Delete:
		if len(e.Lines) > 0 {
			return wrong("delete takes no text; replace puts one in place of lines")
		}
	default:
		return wrong("there is no operation %.40q; there are %v", string(e.Op), Ops())
	}
	for _, l := range e.Lines {
		if strings.Contains(l, "\n") {
			return wrong("one of the lines holds a line end: give each line by itself, or the text as one string")
		}
	}
	if e.End != nil {
		switch {
		case e.Op != Replace && e.Op != Delete:
			return wrong("%s takes no end", e.Op)
		case e.End.Number < e.At.Number:
			return wrong("end (%v) is before at (%v)", e.End, e.At)
		}
	}
	return nil
}

// named reports whether the edit names a line.
func (e *Edit) named() bool { return e.Op != Append && e.Op != Prepend }
