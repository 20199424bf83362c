package events

import "encoding/json"

// The kinds that make up most of a history, for codec: each names its fields as they are stored, in the present version. A field that
// is added to such a kind is added here too; a test says so.

func (e *MessageReceived) walk(c *codec) {
	c.mark('{')
	text(c, "message", &e.Message)
	text(c, "verb", &e.Verb)
	maybeText(c, "from", &e.From)
	e.Text.walk(c)
	c.mark('}')
}

func (e *TurnStarted) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	texts(c, "messages", &e.Messages)
	c.mark('}')
}

func (e *TurnEnded) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	text(c, "outcome", &e.Outcome)
	maybeText(c, "reason", &e.Reason)
	maybeText(c, "detail", &e.Detail)
	number(c, "rounds", &e.Rounds)
	number(c, "tool_calls", &e.ToolCalls)
	e.Usage.walk(c)
	quoted(c, "cost", &e.Cost)
	c.maybeFlag("unpriced", &e.Unpriced)
	c.mark('}')
}

func (e *AdviceRequested) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	c.mark('}')
}

func (e *AdviceGiven) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	text(c, "mode", &e.Mode)
	maybeTexts(c, "because", &e.Because)
	c.mark('}')
}

func (e *BudgetRequested) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	text(c, "wallet", &e.Wallet)
	quoted(c, "amount", &e.Amount)
	c.mark('}')
}

func (e *BudgetGranted) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	quoted(c, "amount", &e.Amount)
	c.mark('}')
}

func (e *SettlementRequested) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	text(c, "wallet", &e.Wallet)
	quoted(c, "spent", &e.Spent)
	c.mark('}')
}

func (e *SettlementRecorded) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	quoted(c, "released", &e.Released)
	c.mark('}')
}

func (e *FundsReserved) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	text(c, "turn", &e.Turn)
	quoted(c, "amount", &e.Amount)
	c.mark('}')
}

func (e *FundsSettled) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	text(c, "turn", &e.Turn)
	quoted(c, "spent", &e.Spent)
	quoted(c, "released", &e.Released)
	c.mark('}')
}

func (e *ModelRequested) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	number(c, "round", &e.Round)
	number(c, "attempt", &e.Attempt)
	text(c, "model", &e.Model)
	c.digest("context", &e.Context)
	maybeNumber(c, "dropped", &e.Dropped)
	c.mark('}')
}

func (e *ModelReplied) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	e.Text.walk(c)
	if c.maybe("calls", len(e.Calls) == 0) {
		e.walkCalls(c)
	}
	text(c, "stop", &e.Stop)
	maybeText(c, "model", &e.Model)
	e.Usage.walk(c)
	quoted(c, "cost", &e.Cost)
	c.flag("priced", &e.Priced)
	quoted(c, "duration_us", &e.Duration)
	c.mark('}')
}

func (e *ModelReplied) walkCalls(c *codec) {
	c.mark('[')
	if c.writing {
		for i := range e.Calls {
			if i > 0 {
				c.mark(',')
			}
			e.Calls[i].walk(c)
		}
		c.mark(']')
		return
	}
	e.Calls = []ModelCall{}
	for more := !c.next(']'); more && !c.bad; {
		var call ModelCall
		call.walk(c)
		e.Calls = append(e.Calls, call)
		if more = c.next(','); !more {
			c.mark(']')
		}
	}
}

func (m *ModelCall) walk(c *codec) {
	c.mark('{')
	text(c, "id", &m.ID)
	text(c, "tool", &m.Tool)
	c.raw("arguments", (*[]byte)(&m.Arguments))
	c.mark('}')
}

func (e *ToolRequested) walk(c *codec) {
	c.mark('{')
	text(c, "turn", &e.Turn)
	text(c, "call", &e.Call)
	text(c, "tool", &e.Tool)
	c.raw("arguments", (*[]byte)(&e.Arguments))
	c.mark('}')
}

func (e *ToolReturned) walk(c *codec) {
	c.mark('{')
	text(c, "request", &e.Request)
	text(c, "call", &e.Call)
	e.Text.walk(c)
	c.maybeFlag("failed", &e.Failed)
	walkBlob(c, "full", &e.Full)
	quoted(c, "duration_us", &e.Duration)
	walkTree(c, "before", &e.Before)
	walkTree(c, "tree", &e.Tree)
	c.mark('}')
}

// walk is that of a text in the object that it is embedded in. An outline has none.
func (t *Text) walk(c *codec) {
	switch {
	case !c.maybe("text", t.Inline == ""):
	case c.outline && c.at < len(c.data) && c.data[c.at] == '"':
		c.skipString()
	default:
		c.string(&t.Inline)
	}
	walkBlob(c, "blob", &t.Blob)
}

func walkBlob(c *codec, name string, ref **BlobRef) {
	if !c.maybe(name, *ref == nil) {
		return
	}
	if !c.writing {
		*ref = &BlobRef{}
	}
	c.mark('{')
	text(c, "hash", &(*ref).Hash)
	quoted(c, "size", &(*ref).Size)
	text(c, "media", &(*ref).Media)
	c.mark('}')
}

func walkTree(c *codec, name string, tree **Tree) {
	if !c.maybe(name, *tree == nil) {
		return
	}
	if !c.writing {
		*tree = &Tree{}
	}
	t := *tree
	c.mark('{')
	walkBlob(c, "manifest", &t.Manifest)
	maybeNumber(c, "files", &t.Files)
	maybeNumber(c, "dirs", &t.Dirs)
	maybeQuoted(c, "bytes", &t.Bytes)
	maybeText(c, "missing", &t.Missing)
	c.mark('}')
}

func (u *Usage) walk(c *codec) {
	if !c.need("usage") {
		return
	}
	c.mark('{')
	quoted(c, "input", &u.Input)
	quoted(c, "output", &u.Output)
	maybeQuoted(c, "cached", &u.Cached)
	c.mark('}')
}

// walked reads the kinds that have a walk; nil for others, and for what is not written as Encode writes it.
func walked(kind Kind, data json.RawMessage, outline bool) Event {
	c := &codec{data: data, outline: outline}
	switch kind {
	case "message.received":
		var e MessageReceived
		if e.walk(c); c.whole() {
			return e
		}
	case "turn.started":
		var e TurnStarted
		if e.walk(c); c.whole() {
			return e
		}
	case "turn.ended":
		var e TurnEnded
		if e.walk(c); c.whole() {
			return e
		}
	case "model.requested":
		var e ModelRequested
		if e.walk(c); c.whole() {
			return e
		}
	case "model.replied":
		var e ModelReplied
		if e.walk(c); c.whole() {
			return e
		}
	case "tool.requested":
		var e ToolRequested
		if e.walk(c); c.whole() {
			return e
		}
	case "tool.returned":
		var e ToolReturned
		if e.walk(c); c.whole() {
			return e
		}
	default:
		return walkedSmall(kind, c)
	}
	return nil
}

// walkedSmall is walked for advice and money.
func walkedSmall(kind Kind, c *codec) Event {
	switch kind {
	case "advice.requested":
		var e AdviceRequested
		if e.walk(c); c.whole() {
			return e
		}
	case "advice.given":
		var e AdviceGiven
		if e.walk(c); c.whole() {
			return e
		}
	case "budget.requested":
		var e BudgetRequested
		if e.walk(c); c.whole() {
			return e
		}
	case "budget.granted":
		var e BudgetGranted
		if e.walk(c); c.whole() {
			return e
		}
	case "settlement.requested":
		var e SettlementRequested
		if e.walk(c); c.whole() {
			return e
		}
	case "settlement.recorded":
		var e SettlementRecorded
		if e.walk(c); c.whole() {
			return e
		}
	case "funds.reserved":
		var e FundsReserved
		if e.walk(c); c.whole() {
			return e
		}
	case "funds.settled":
		var e FundsSettled
		if e.walk(c); c.whole() {
			return e
		}
	}
	return nil
}

// written writes the kinds that have a walk; nil for others, and for what encoding/json writes in ways of its own.
func written(event Event) json.RawMessage {
	c := &codec{writing: true, data: make([]byte, 0, 256)} // holds most events
	switch e := event.(type) {
	case MessageReceived:
		e.walk(c)
	case TurnStarted:
		e.walk(c)
	case TurnEnded:
		e.walk(c)
	case AdviceRequested:
		e.walk(c)
	case AdviceGiven:
		e.walk(c)
	case BudgetRequested:
		e.walk(c)
	case BudgetGranted:
		e.walk(c)
	case SettlementRequested:
		e.walk(c)
	case SettlementRecorded:
		e.walk(c)
	case FundsReserved:
		e.walk(c)
	case FundsSettled:
		e.walk(c)
	case ModelRequested:
		e.walk(c)
	case ModelReplied:
		e.walk(c)
	case ToolRequested:
		e.walk(c)
	case ToolReturned:
		e.walk(c)
	default:
		return nil
	}
	if c.bad {
		return nil
	}
	return c.data
}
