package cmd

import (
	"fmt"
	"io"
	"strings"

	"example.com/life/events"
)

// output is standard output, or standard error. It remembers the first write that failed, so that no result is lost silently; and on a
// terminal it shows control characters, and others that would not be seen, instead of sending them, as a model's text could otherwise move the cursor, set
// the title, reach the clipboard or be read in another order than it has. What is piped stays as it is.
type output struct {
	to     io.Writer
	shown  bool // by a terminal
	failed error
}

func (o *output) Write(text []byte) (int, error) {
	written := text
	if o.shown {
		written = []byte(events.Visible(string(text)))
	}
	if _, err := o.to.Write(written); err != nil {
		if o.failed == nil {
			o.failed = err
		}
		return 0, err
	}
	return len(text), nil
}

// problem is why not everything was written.
func (o *output) problem() error {
	if o.failed == nil {
		return nil
	}
	return fmt.Errorf("print the result: %w", o.failed)
}

// colour is how a line looks on a terminal: a parameter of its escape sequence "select graphic rendition" (ECMA-48).
type colour string

const (
	plain  colour = ""
	faint  colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// colour prints text, in a colour if standard output is a terminal and NO_COLOR (no-color.org) is not set.
func (a *app) colour(c colour, text string) {
	results, ok := a.out.(*output)
	if !ok || !results.shown || c == plain || a.getenv("NO_COLOR") != "" {
		fmt.Fprint(a.out, text)
		return
	}
	results.escape("\x1b[" + string(c) + "m")
	line, ended := strings.CutSuffix(text, "\n")
	fmt.Fprint(a.out, line)
	results.escape("\x1b[0m")
	if ended {
		fmt.Fprintln(a.out)
	}
}

// clearScreen begins a terminal's screen anew; elsewhere it does nothing.
func (a *app) clearScreen() {
	if results, ok := a.out.(*output); ok && results.shown {
		results.escape("\x1b[H\x1b[2J")
	}
}

// escape sends an escape sequence of our own to the terminal.
func (o *output) escape(sequence string) {
	if _, err := io.WriteString(o.to, sequence); err != nil && o.failed == nil {
		o.failed = err
	}
}
