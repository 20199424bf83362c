package cmd

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"example.com/life/events"
)

// view shows a turn while it runs: the model's text on standard output, what happens on standard error; or, as JSON, one event a
// line on standard output.
type view struct {
	app    *app
	quiet  bool // only the model's text
	asJSON bool
	whole  bool // every event, also those that only keep the books

	mu      sync.Mutex
	request events.RequestID // whose text is being shown
	shown   strings.Builder  // of it
	replied map[events.RequestID]bool
}

// plumbing reports whether a turn's watcher can do without an event.
func plumbing(event events.Event) bool {
	switch event.(type) {
	case events.MessageReceived, events.MessageDelivered, events.TurnStarted, events.TurnEnded, events.ModelRequested, events.ModelReplied,
		events.AdviceRequested, events.AdviceGiven, events.AdviceMissed,
		events.KnowledgeRequested, events.BudgetRequested, events.BudgetGranted, events.SettlementRequested, events.SettlementRecorded, events.AgentRetired:
		return true
	}
	return false
}

// delta shows a piece of the model's text.
func (v *view) delta(request events.RequestID, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asJSON || v.replied[request] {
		return // the reply's event had all of it
	}
	if v.request != request {
		v.endLine()
		v.request = request
	}
	v.shown.WriteString(text)
	fmt.Fprint(v.app.out, text)
}

// event shows an event.
func (v *view) event(envelope *events.Envelope, event events.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asJSON {
		return v.app.printJSON(envelope)
	}
	if reply, ok := event.(events.ModelReplied); ok {
		v.reply(reply)
	}
	if !v.quiet && (v.whole || !plumbing(event)) {
		v.endLine()
		fmt.Fprintln(v.app.errs, envelopeLine(envelope))
	}
	return nil
}

// reply completes the text that was shown in pieces; pieces may be missing.
func (v *view) reply(e events.ModelReplied) {
	if v.replied == nil {
		v.replied = map[events.RequestID]bool{}
	}
	v.replied[e.Request] = true
	if v.request != e.Request {
		v.endLine()
	}
	rest, ok := strings.CutPrefix(e.Inline, v.shown.String())
	if !ok && e.Blob == nil { // pieces were lost on the way: the whole of it again
		v.endLine()
		rest, ok = e.Inline, true
	}
	if ok {
		v.shown.WriteString(rest)
		fmt.Fprint(v.app.out, rest)
	}
	v.endLine()
}

// endLine ends the line that the model's text stands on.
func (v *view) endLine() {
	if text := v.shown.String(); text != "" && !strings.HasSuffix(text, "\n") {
		fmt.Fprintln(v.app.out)
	}
	v.shown.Reset()
	v.request = ""
}

// finish ends what is shown.
func (v *view) finish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endLine()
}

// note says something beside the events.
func (v *view) note(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endLine()
	fmt.Fprintln(v.app.errs, "life: "+text)
}

// conclude prints the final line and, when a person has to act, what to type. The exit status follows from it.
func (v *view) conclude(r result) error {
	switch {
	case v.asJSON:
		if err := v.app.printJSON(map[string]result{"result": r}); err != nil {
			return err
		}
	case r.Outcome == "":
		fmt.Fprintf(v.app.errs, "turn %s is waiting for a person, revision %d. To approve or deny:\n", r.Turn, r.Revision)
		v.app.nextSteps(v.app.errs, &r)
	case !v.quiet || r.Outcome != events.Done:
		fmt.Fprintln(v.app.errs, endLine(r))
	}
	return r.status()
}

func endLine(r result) string {
	line := fmt.Sprintf("turn %s %s", r.Turn, r.Outcome)
	if r.Reason != "" {
		line += " (" + string(r.Reason) + ")"
	}
	cost := r.Cost.String()
	if r.Unpriced {
		cost += " and calls without a price"
	}
	line += fmt.Sprintf(": %d rounds, %d tool calls, %d tokens, %s, revision %d", r.Rounds, r.Calls, r.Usage.Total(), cost, r.Revision)
	if r.Detail != "" {
		line += "\n  " + harmless(r.Detail)
	}
	return line
}

// nextSteps prints the commands with which a person lets a waiting turn go on, or not.
func (a *app) nextSteps(w io.Writer, r *result) {
	where := a.whereFlags()
	if r.Wallet != "" {
		if r.unopened {
			fmt.Fprintf(w, "  life wallet open %s --with 10%s\n", r.Wallet, where)
		} else {
			fmt.Fprintf(w, "  life wallet credit %s 10%s\n", r.Wallet, where)
		}
	}
	for _, call := range r.Waiting {
		fmt.Fprintf(w, "  life approve %s %s%s\n  life deny %s %s%s\n", r.Agent, call, where, r.Agent, call, where)
	}
	if r.Paused != "" {
		fmt.Fprintf(w, "  life approve %s%s\n  life deny %s%s\n", r.Agent, where, r.Agent, where)
	}
}

// whereFlags repeats the flag without which another command would not find this data directory.
func (a *app) whereFlags() string {
	if data := a.config.find("data"); strings.HasPrefix(data.source, "flag") {
		return " --data " + quote(data.value)
	}
	return ""
}

// quote makes a word safe to paste into a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
