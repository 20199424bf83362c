package cmd

import (
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/life/events"
)

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

// printJSON writes one value on one line, with no HTML escapes: the digests of events cover their exact bytes.
func (a *app) printJSON(value any) error {
	text, err := events.PlainJSON(value)
	if err == nil {
		_, err = a.out.Write(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// table returns a writer that aligns columns separated by tabs; flush it.
func table(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(seen(out), 0, 4, 2, ' ', 0) }

// seen is a writer for what people read, wherever it goes: what they would not see is shown.
func seen(out io.Writer) io.Writer { return &output{to: out, shown: true} }

// terminal reports whether a file is a terminal, or what is written to it goes to one.
func terminal(of any) bool {
	if out, ok := of.(*output); ok {
		return out.shown
	}
	file, ok := of.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// clock writes a time as people read it.
func clock(at events.Micros) string {
	if at == 0 {
		return "-"
	}
	return time.UnixMicro(int64(at)).Format("2006-01-02 15:04:05")
}

// envelopeLine is an event as one line: where, when and what.
func envelopeLine(e *events.Envelope) string {
	return fmt.Sprintf("%4d  %s  %s", e.Revision, time.UnixMicro(int64(e.Time)).Format("15:04:05.000"), sentence(e))
}

// sentence says what an event says; one that cannot be read is shown as it is. Where a sentence leaves out arguments that a person decides on, it says how
// to see them.
func sentence(e *events.Envelope) string {
	event, err := e.Event()
	if err != nil {
		return events.Visible(fmt.Sprintf("%s: %v", e.Kind, err))
	}
	if _, agents := e.Stream.Agent(); agents && e.Foreign != nil {
		return "not Life's, another program wrote it: " + event.String()
	}
	text := event.String()
	if asked, ok := event.(events.ApprovalRequested); ok && asked.Cut() {
		text += "; " + seeAll(asked.Turn, asked.Call, e.Revision, asked.Blob != nil)
	}
	return text
}

// seeAll says how to see the arguments that a line leaves out.
func seeAll(turn events.TurnID, call events.CallID, at events.Revision, blob bool) string {
	if blob {
		return fmt.Sprintf("life approve %s %d/%s --show shows them while it waits", turn.Agent(), turn.Number(), call)
	}
	return fmt.Sprintf("life history %s --from %d --to %d --json shows them", turn.Agent(), at, at)
}

// meter shows how far something has come, on a terminal or when asked, once it takes more than a second.
type meter struct {
	mu    sync.Mutex
	out   io.Writer
	begun time.Time
	last  time.Time
	live  bool // rewrite the line in place
}

// newMeter returns a meter that writes to standard error, or one that stays silent.
func (a *app) newMeter(wanted bool) *meter {
	live := terminal(a.errs)
	if !wanted && !live {
		return &meter{}
	}
	out := a.errs
	if o, ok := out.(*output); ok {
		out = o.to // the meter's own control characters are meant
	}
	return &meter{out: out, begun: time.Now(), live: live}
}

// show replaces what is shown.
func (m *meter) show(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.out == nil || now.Sub(m.begun) < time.Second || now.Sub(m.last) < 200*time.Millisecond {
		return
	}
	m.last = now
	if m.live {
		fmt.Fprintf(m.out, "\r\x1b[K"+format, args...)
		return
	}
	fmt.Fprintf(m.out, format+"\n", args...)
}

// done clears what is shown.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil && m.live && !m.last.IsZero() {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.last = time.Time{}
	}
}

func progressFlag(cmd *cobra.Command, wanted *bool) {
	cmd.Flags().BoolVar(wanted, "progress", false, "show progress even if standard error is not a terminal")
}
