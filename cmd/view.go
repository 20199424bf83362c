package cmd

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// view shows a turn while it runs: the model's text on standard output, each piece once, and what happens on standard error; or only the turn's final
// text, when it has ended; or, as JSON, one event a line on standard output.
type view struct {
	app    *app
	quiet  bool // only the final text
	asJSON bool
	whole  bool // every event, also those that only keep the books
	held   bool // no piece before its reply: what reads standard output cannot take back what a failed attempt said
	muse   bool // also what the model thinks, on standard error

	mu      sync.Mutex
	request events.RequestID // whose text is being shown
	shown   strings.Builder  // of it, or would be if not quiet
	open    bool             // the line that the text stands on has not ended
	musing  bool             // so of the line of what it thinks
	mused   int              // bytes that were shown of what it thought
	calling bool             // the line of a call that it makes has not ended
	called  int              // bytes of the call's arguments that came
	replied map[events.RequestID]bool
	final   string // of the latest reply
	left    int64  // bytes that final lacks
	failed  int    // attempts in a row
	most    int    // attempts that may fail
}

// plumbing reports whether a turn's watcher can do without an event.
func plumbing(event events.Event) bool {
	switch event.(type) {
	case events.MessageReceived, events.MessageDelivered, events.TurnStarted, events.TurnEnded, events.ModelRequested, events.ModelReplied,
		events.AdviceRequested, events.AdviceGiven, events.AdviceMissed,
		events.KnowledgeRequested, events.BudgetRequested, events.BudgetGranted, events.SettlementRequested, events.SettlementRecorded, events.AgentRetired,
		events.SummaryRequested:
		return true
	}
	return false
}

// delta shows a piece of what the model produces.
func (v *view) delta(d *actors.FeedDelta) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asJSON || v.replied[d.Request] {
		return // the reply's event had all of it
	}
	v.begin(d.Request)
	switch d.Kind {
	case events.BlockThinking:
		v.think(d.Text)
	case events.BlockText, "": // a life serve of an earlier version does not say
		v.shown.WriteString(d.Text)
		if !v.held {
			v.print(d.Text)
		}
	case events.BlockCall:
		v.call(d)
	case events.BlockItem:
	}
	if d.Void {
		v.void()
	}
}

// mostCalled is how much is shown of a call's arguments while they come, in bytes: the call's own event follows.
const mostCalled = 200

// call writes the call that a model is making, on one line.
func (v *view) call(d *actors.FeedDelta) {
	if v.held || v.quiet {
		return
	}
	if d.Tool != "" {
		v.endLine()
		fmt.Fprintf(v.app.errs, "calling %s ", events.VisibleLine(d.Tool))
		v.calling, v.called = true, 0
	}
	if !v.calling {
		return
	}
	if text := events.Cut(d.Text, max(mostCalled-v.called, 0)); text != "" {
		fmt.Fprint(v.app.errs, events.VisibleLine(text))
	}
	if v.called += len(d.Text); d.Done {
		if v.called > mostCalled {
			fmt.Fprintf(v.app.errs, "… (%d bytes)", v.called)
		}
		v.endLine()
	}
}

// think writes what the model thinks.
func (v *view) think(text string) {
	if !v.muse || v.quiet || text == "" {
		return
	}
	if !v.musing {
		v.endLine()
		fmt.Fprint(v.app.errs, "thinking: ")
	}
	fmt.Fprint(v.app.errs, text)
	v.musing, v.mused = true, v.mused+len(text)
}

// void says that what was shown of an attempt is not the reply.
func (v *view) void() {
	seen := v.mused > 0 || v.calling || v.shown.Len() > 0 && !v.held
	v.shown.Reset()
	v.mused = 0
	if seen && !v.quiet {
		v.endLine()
		fmt.Fprintln(v.app.errs, "life: the attempt broke off: what it said is not the answer")
	}
}

// begin notes whose text comes now.
func (v *view) begin(request events.RequestID) {
	if v.request == request {
		return
	}
	v.endLine()
	v.request, v.mused = request, 0
	v.shown.Reset()
}

// print writes text of the model's.
func (v *view) print(text string) {
	if text == "" || v.quiet {
		return
	}
	if v.musing || v.calling {
		v.endLine()
	}
	fmt.Fprint(v.app.out, text)
	v.open = !strings.HasSuffix(text, "\n")
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
		if call, ok := event.(events.ToolRequested); ok && call.Tool == sagas.TodoTool {
			v.todos(sagas.TodosOf(call.Arguments))
		}
	}
	v.attempts(envelope, event)
	return nil
}

// todos shows the list that a model keeps.
func (v *view) todos(list []sagas.Todo) {
	for _, line := range strings.Split(sagas.ShowTodos(list), "\n") {
		if line != "" {
			fmt.Fprintln(v.app.errs, "    "+events.VisibleLine(line))
		}
	}
}

// attempts says when a model that failed is asked again, and how often it may yet be.
func (v *view) attempts(envelope *events.Envelope, event events.Event) {
	switch e := event.(type) {
	case events.ModelReplied, events.TurnStarted, events.ConversationCompacted:
		v.failed = 0
	case events.ModelRequested:
		v.most = sagas.MaxFailures
	case events.SummaryRequested:
		v.most = sagas.MaxSummaryFailures
	case events.ModelFailed:
		v.failed++
		if e.RetryAt > 0 && !v.quiet {
			wait := time.Duration(max(e.RetryAt-envelope.Time, 0)) * time.Microsecond
			fmt.Fprintf(v.app.errs, "life: retrying in %s, attempt %d of %d\n", wait.Round(100*time.Millisecond), v.failed+1, cmp.Or(v.most, sagas.MaxFailures))
		}
	}
}

// reply completes the text that was shown in pieces; pieces may be missing.
func (v *view) reply(e events.ModelReplied) {
	if v.replied == nil {
		v.replied = map[events.RequestID]bool{}
	}
	v.replied[e.Request] = true
	v.begin(e.Request)
	if v.mused == 0 {
		v.think(e.Thought())
	}
	shown := v.shown.String()
	v.final, v.left = e.Inline, 0
	switch {
	case e.Blob == nil:
	case int64(len(shown)) == e.Blob.Size:
		v.final = shown
	case len(shown) > len(e.Inline):
		v.final, v.left = shown, e.Blob.Size-int64(len(shown))
	default: // the event has the beginning, with a mark at its end
		v.final = strings.TrimSuffix(e.Inline, "…")
		v.left = e.Blob.Size - int64(len(v.final))
	}
	rest, ok := strings.CutPrefix(v.final, shown)
	switch {
	case v.held:
		rest = v.final
	case !ok: // pieces were lost on the way: the whole of it again
		v.endLine()
		rest = v.final
	}
	v.print(rest)
	v.endLine()
	if !v.quiet {
		v.tellLeft()
	}
}

// tellLeft says how much of a reply could not be shown.
func (v *view) tellLeft() {
	if v.left > 0 {
		fmt.Fprintf(v.app.errs, "life: the reply has %d more bytes, which did not arrive here\n", v.left)
	}
}

// endLine ends the line that the model's text stands on.
func (v *view) endLine() {
	if v.open {
		fmt.Fprintln(v.app.out)
	}
	if v.musing || v.calling {
		fmt.Fprintln(v.app.errs)
	}
	v.open, v.musing, v.calling = false, false, false
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

// conclude prints the final line and, when a person has to act, what to decide on and what to type. The exit status follows from it.
func (v *view) conclude(r result) error {
	v.printFinal(&r)
	switch {
	case v.asJSON:
		if err := v.app.printJSON(map[string]result{"result": r}); err != nil {
			return err
		}
	case r.Outcome == "":
		fmt.Fprintln(v.app.errs, r.waits())
		v.app.nextSteps(v.app.errs, &r)
	case !v.quiet || r.Outcome != events.Done:
		fmt.Fprintln(v.app.errs, endLine(r))
	}
	return r.status()
}

// printFinal prints the final text of a turn that has ended, where it was not shown as it came.
func (v *view) printFinal(r *result) {
	if v.quiet && r.Outcome != "" && v.final != "" {
		fmt.Fprintln(v.app.out, strings.TrimSuffix(v.final, "\n"))
		v.tellLeft()
	}
}

// waits is the line before what a person can type.
func (r *result) waits() string {
	what := "To approve or deny:"
	if len(r.Asked) > 0 && !slices.ContainsFunc(r.Asked, func(q asked) bool { return q.Question == nil }) {
		what = "To answer or decline:"
	}
	return fmt.Sprintf("turn %s is waiting for a person, revision %d. %s", r.Turn, r.Revision, what)
}

func endLine(r result) string {
	line := fmt.Sprintf("turn %s %s", r.Turn, r.Outcome)
	if r.Reason != "" {
		line += " (" + string(r.Reason) + ")"
	}
	cost, about := r.Cost.String(), ""
	if r.Usage.Estimated {
		cost, about = cost+" (estimated: the endpoint does not report tokens)", "about "
	}
	if r.Unpriced {
		cost += " and calls without a price"
	}
	line += fmt.Sprintf(": %d rounds, %d tool calls, %s%d tokens, %s, revision %d", r.Rounds, r.Calls, about, r.Usage.Total(), cost, r.Revision)
	if r.Detail != "" {
		line += "\n  " + events.Visible(r.Detail)
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
	for i := range r.Asked {
		a.printAsked(w, &r.Asked[i], shownArguments)
	}
	if r.Paused != "" {
		ref := fmt.Sprintf("%s %d", r.Agent, r.Turn.Number())
		fmt.Fprintf(w, "  life approve %s%s\n  life deny %s%s\n", ref, where, ref, where)
	}
}

// whereFlags repeats the flags without which another command would not find this data directory, or this store.
func (a *app) whereFlags() string {
	flags := ""
	for _, name := range []string{"data", "store"} {
		if is := a.config.find(name); strings.HasPrefix(is.source, "flag") {
			flags += " --" + name + " " + quote(is.value)
		}
	}
	return flags
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
