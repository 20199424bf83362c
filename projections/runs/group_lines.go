package runs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
	"example.com/life/projections"
)

// add gives an event its place in the group.
func (g *openGroup) add(r *projections.Recorded, agent events.AgentID) {
	g.Events++
	g.Last = r.Revision
	if g.Turn == "" && strings.HasPrefix(r.Correlation, string(agent)+"/") { // also a turn whose beginning was not read
		g.Turn = events.TurnID(r.Correlation)
	}
	if g.Turn != "" && g.Ended == 0 {
		g.Elapsed = max(0, r.Time-g.Started)
	}
	event, err := r.Event()
	if err != nil {
		g.tell(r, "it cannot be read: "+err.Error())
		return
	}
	if g.addTurn(r, event) || g.addModel(r, event) || g.addCall(r, event) {
		return
	}
	switch e := event.(type) {
	case events.MessageReceived:
		g.texts[e.Message] = lineOf(e.Text)
		if len(g.Lines) >= mostLines {
			g.count(r.Kind)
			return
		}
		g.line(r, GroupLine{What: LineMessage, ID: string(e.Message), Name: e.From, State: string(e.Verb), Text: lineOf(e.Text)})
	case events.MessageDelivered, events.AdviceRequested, events.AdviceGiven, events.AdviceMissed,
		events.BudgetRequested, events.BudgetGranted, events.SettlementRequested, events.SettlementRecorded:
		g.count(r.Kind)
	default:
		g.tell(r, event.String())
	}
}

// addTurn knows the events that the heading tells.
func (g *openGroup) addTurn(r *projections.Recorded, event events.Event) bool {
	switch e := event.(type) {
	case events.TurnStarted:
		g.Turn, g.Started, g.Elapsed = e.Turn, r.Time, 0
		for _, id := range e.Messages {
			g.Messages = append(g.Messages, GroupMessage{id, g.texts[id]})
			delete(g.texts, id)
		}
	case events.TurnEnded:
		g.Ended, g.Outcome, g.Reason, g.Detail = r.Time, e.Outcome, e.Reason, e.Detail
		g.Elapsed = max(0, r.Time-g.Started) // in old histories a clock may have gone back
		g.Rounds, g.Calls, g.Tokens, g.Cost, g.Unpriced = e.Rounds, e.ToolCalls, e.Usage.Total(), e.Cost, e.Unpriced
	default:
		return false
	}
	g.Heading++
	return true
}

// addModel knows the events of a round.
func (g *openGroup) addModel(r *projections.Recorded, event events.Event) bool {
	switch e := event.(type) {
	case events.ModelRequested:
		key := "round " + strconv.Itoa(e.Round)
		i, known := g.lines[key]
		if !known {
			i = g.line(r, GroupLine{What: LineRound, ID: strconv.Itoa(e.Round), Name: e.Model, State: "asked"})
			g.Rounds = max(g.Rounds, e.Round)
			g.lines[key] = i
		} else {
			g.Lines[i].Events++
			g.Lines[i].State = "asked"
			g.Lines[i].Attempts = max(2, g.Lines[i].Attempts+1)
		}
		g.lines[string(r.Ref())] = i
	case events.ModelReplied:
		l := g.answered(r, e.Request, LineRound)
		l.State, l.Text = string(e.Stop), lineOf(e.Text)
		l.Tokens, l.Cost, l.Duration = l.Tokens+e.Usage.Total(), l.Cost+e.Cost, e.Duration
		g.Tokens += e.Usage.Total()
		g.Cost += e.Cost
		g.Unpriced = g.Unpriced || !e.Priced
		for i, call := range e.Calls {
			g.asked[l.ID+"."+strconv.Itoa(i+1)] = oneLine(string(call.Arguments))
		}
	case events.SummaryRequested:
		const latest = "summary"
		i, known := g.lines[latest]
		if !known || e.Attempt == 1 {
			i = g.line(r, GroupLine{What: LineSummary, Name: e.Model, State: "asked"})
			g.lines[latest] = i
		} else {
			g.Lines[i].Events++
			g.Lines[i].State, g.Lines[i].Attempts = "asked", e.Attempt
		}
		g.lines[string(r.Ref())] = i
	case events.ConversationCompacted:
		if e.Request == "" {
			return false
		}
		l := g.answered(r, e.Request, LineSummary)
		l.State, l.Text = string(e.How), oneLine(e.String())
		l.Tokens, l.Cost, l.Duration = l.Tokens+e.Usage.Total(), l.Cost+e.Cost, e.Duration
		g.Tokens += e.Usage.Total()
		g.Cost += e.Cost
		g.Unpriced = g.Unpriced || !e.Priced
	case events.ModelFailed:
		l := g.answered(r, e.Request, LineRound)
		l.State, l.Text = "failed", string(e.Class)+": "+oneLine(e.Detail)
		l.Tokens, l.Cost = l.Tokens+e.Usage.Total(), l.Cost+e.Cost
		g.Tokens += e.Usage.Total()
		g.Cost += e.Cost
		g.Unpriced = g.Unpriced || e.Usage.Total() > 0 && !e.Priced
	default:
		return false
	}
	return true
}

// addCall knows the events of a call. A call in doubt after a restart is asked about again under its name.
func (g *openGroup) addCall(r *projections.Recorded, event events.Event) bool {
	switch e := event.(type) {
	case events.ApprovalRequested:
		l := g.call(r, e.Call, e.Tool)
		l.State = "waits for approval"
		if len(e.Arguments) > 0 { // whole, as a person decides on it
			l.Text, l.LeftOut = events.LineArguments(e.Arguments, e.Blob, events.AskedBytes), e.Cut()
		}
	case events.QuestionAsked:
		l := g.call(r, e.Call, e.Tool)
		l.State, l.Text, l.LeftOut = "asks", oneLine(e.Text), false
	case events.QuestionAnswered:
		g.call(r, e.Call, "").State = "answered"
	case events.ApprovalGranted:
		g.call(r, e.Call, "").State = "approved"
	case events.ApprovalDenied:
		if e.Call == "" {
			return false
		}
		g.call(r, e.Call, "").State = "denied"
	case events.ApprovalExpired:
		g.call(r, e.Call, "").State = "expired"
	case events.ToolRequested:
		l := g.call(r, e.Call, e.Tool)
		l.State, l.Text, l.LeftOut = "sent", oneLine(string(e.Arguments)), false
	case events.ToolReturned:
		l := g.call(r, e.Call, "")
		l.State, l.Result, l.Duration = "returned", lineOf(e.Text), e.Duration
		if e.Failed {
			l.State = "failed"
		}
	case events.ToolRefused:
		l := g.call(r, e.Call, e.Tool)
		if l.Result = oneLine(e.Reason); l.State != "denied" && l.State != "expired" {
			l.State = "refused"
		}
	case events.ToolLost:
		l := g.call(r, e.Call, "")
		l.State, l.Result = "lost", oneLine(e.Detail)
	default:
		return false
	}
	return true
}

// call returns the line of a call, which this event is behind from now on.
func (g *openGroup) call(r *projections.Recorded, id events.CallID, tool string) *GroupLine {
	key := "call " + string(id)
	i, known := g.lines[key]
	if !known {
		i = g.line(r, GroupLine{What: LineCall, ID: string(id), Text: g.asked[string(id)]})
		g.lines[key] = i
		if g.Ended == 0 {
			g.Calls++
		}
	} else {
		g.Lines[i].Events++
	}
	l := &g.Lines[i]
	l.Name = cmp.Or(l.Name, tool)
	return l
}

// answered returns the line of a request that an event answers. One that was not read gets a line of its own.
func (g *openGroup) answered(r *projections.Recorded, request events.RequestID, what string) *GroupLine {
	i, known := g.lines[string(request)]
	if !known {
		i = g.line(r, GroupLine{What: what})
		g.lines[string(request)] = i
		return &g.Lines[i]
	}
	g.Lines[i].Events++
	return &g.Lines[i]
}

// line adds a line for an event.
func (g *openGroup) line(r *projections.Recorded, l GroupLine) int {
	l.At, l.Revision, l.Events = r.Time, r.Revision, 1
	g.Lines = append(g.Lines, l)
	return len(g.Lines) - 1
}

// tell gives an event a line of its own.
func (g *openGroup) tell(r *projections.Recorded, text string) {
	if len(g.Lines) >= mostLines {
		g.count(r.Kind)
		return
	}
	g.line(r, GroupLine{What: LineEvent, ID: string(r.Kind), Text: oneLine(text)})
}

func (g *openGroup) count(kind events.Kind) {
	i := slices.IndexFunc(g.Others, func(c GroupCount) bool { return c.Kind == kind })
	if i < 0 {
		g.Others = append(g.Others, GroupCount{Kind: kind, Count: 1})
		return
	}
	g.Others[i].Count++
}

// mostLines bounds the messages and events that a group tells one by one: an agent may live long without a turn.
const mostLines = 2000

// lineBytes is how much of a text a line shows.
const lineBytes = 240

// lineOf is a text as one line.
func lineOf(t events.Text) string { return oneLine(t.Inline) }

// oneLine is the beginning of a text, with its spaces and line breaks as single spaces.
func oneLine(text string) string {
	long := len(text) > 4*lineBytes
	if long {
		text = strings.ToValidUTF8(text[:4*lineBytes], "")
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > lineBytes {
		text, long = strings.ToValidUTF8(text[:lineBytes], ""), true
	}
	if long {
		text += " …"
	}
	return text
}
