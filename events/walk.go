package events

import "encoding/json"

// The kinds that make up most of a history, for reader: each names its fields as they are stored, in the present version. A field that
// is added to such a kind is added here too; a test says so. A kind that has a walk has a line at the end of this file, and nothing else
// lists it.

func (e *MessageReceived) walk(r *reader) {
	r.mark('{')
	text(r, "message", &e.Message)
	text(r, "verb", &e.Verb)
	maybeText(r, "from", &e.From)
	e.Text.walk(r)
	r.mark('}')
}

func (e *TurnStarted) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	texts(r, "messages", &e.Messages)
	r.maybeFlag("by_window", &e.ByWindow)
	r.mark('}')
}

func (e *TurnEnded) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	text(r, "outcome", &e.Outcome)
	maybeText(r, "reason", &e.Reason)
	maybeText(r, "detail", &e.Detail)
	number(r, "rounds", &e.Rounds)
	number(r, "tool_calls", &e.ToolCalls)
	e.Usage.walk(r)
	quoted(r, "cost", &e.Cost)
	r.maybeFlag("unpriced", &e.Unpriced)
	r.mark('}')
}

func (e *AdviceRequested) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	r.mark('}')
}

func (e *AdviceGiven) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	text(r, "mode", &e.Mode)
	maybeTexts(r, "because", &e.Because)
	r.mark('}')
}

func (e *BudgetRequested) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	text(r, "wallet", &e.Wallet)
	quoted(r, "amount", &e.Amount)
	r.mark('}')
}

func (e *BudgetGranted) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	quoted(r, "amount", &e.Amount)
	r.mark('}')
}

func (e *SettlementRequested) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	text(r, "wallet", &e.Wallet)
	quoted(r, "spent", &e.Spent)
	r.mark('}')
}

func (e *SettlementRecorded) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	quoted(r, "released", &e.Released)
	r.mark('}')
}

func (e *FundsReserved) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	text(r, "turn", &e.Turn)
	quoted(r, "amount", &e.Amount)
	r.mark('}')
}

func (e *FundsSettled) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	text(r, "turn", &e.Turn)
	quoted(r, "spent", &e.Spent)
	quoted(r, "released", &e.Released)
	r.mark('}')
}

func (e *ModelRequested) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	number(r, "round", &e.Round)
	number(r, "attempt", &e.Attempt)
	text(r, "model", &e.Model)
	r.digest("context", &e.Context)
	maybeNumber(r, "dropped", &e.Dropped)
	maybeNumber(r, "shortened", &e.Shortened)
	maybeQuoted(r, "room", &e.Room)
	maybeText(r, "route", &e.Route)
	maybeText(r, "because", &e.Because)
	r.mark('}')
}

func (e *ModelReplied) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	e.Text.walk(r)
	if r.key("calls") {
		e.walkCalls(r)
	}
	maybeText(r, "withheld", &e.Withheld)
	text(r, "stop", &e.Stop)
	maybeText(r, "met", &e.Met)
	maybeText(r, "model", &e.Model)
	e.Usage.walk(r)
	quoted(r, "cost", &e.Cost)
	r.flag("priced", &e.Priced)
	quoted(r, "duration_us", &e.Duration)
	r.maybeFlag("polling", &e.Polling)
	maybeText(r, "fault", &e.Fault)
	if r.key("blocks") {
		e.walkBlocks(r)
	}
	r.mark('}')
}

func (e *ModelReplied) walkBlocks(r *reader) {
	e.Blocks = []Block{}
	r.mark('[')
	for more := !r.next(']'); more && !r.bad; {
		var block Block
		block.walk(r)
		e.Blocks = append(e.Blocks, block)
		if more = r.next(','); !more {
			r.mark(']')
		}
	}
}

func (b *Block) walk(r *reader) {
	r.mark('{')
	text(r, "kind", &b.Kind)
	maybeNumber(r, "bytes", &b.Bytes)
	walkText(r, "text", &b.Text)
	walkText(r, "raw", &b.Raw)
	r.mark('}')
}

// walkText is a field that is a text of its own.
func walkText(r *reader, name string, t **Text) {
	if !r.key(name) {
		return
	}
	*t = &Text{}
	r.mark('{')
	(*t).walk(r)
	r.mark('}')
}

func (e *ModelReplied) walkCalls(r *reader) {
	e.Calls = []ModelCall{}
	r.mark('[')
	for more := !r.next(']'); more && !r.bad; {
		var call ModelCall
		call.walk(r)
		e.Calls = append(e.Calls, call)
		if more = r.next(','); !more {
			r.mark(']')
		}
	}
}

func (m *ModelCall) walk(r *reader) {
	r.mark('{')
	text(r, "id", &m.ID)
	text(r, "tool", &m.Tool)
	r.raw("arguments", (*[]byte)(&m.Arguments))
	r.maybeFlag("cut", &m.Cut)
	walkBlob(r, "blob", &m.Blob)
	r.mark('}')
}

func (e *ToolRequested) walk(r *reader) {
	r.mark('{')
	text(r, "turn", &e.Turn)
	text(r, "call", &e.Call)
	text(r, "tool", &e.Tool)
	r.raw("arguments", (*[]byte)(&e.Arguments))
	walkBlob(r, "blob", &e.Blob)
	r.mark('}')
}

func (e *ToolReturned) walk(r *reader) {
	r.mark('{')
	text(r, "request", &e.Request)
	text(r, "call", &e.Call)
	e.Text.walk(r)
	r.maybeFlag("failed", &e.Failed)
	walkBlob(r, "full", &e.Full)
	quoted(r, "duration_us", &e.Duration)
	walkTree(r, "before", &e.Before)
	walkTree(r, "tree", &e.Tree)
	maybeText(r, "sandbox", &e.Sandbox)
	maybeText(r, "confined", &e.Confined)
	r.mark('}')
}

// walk is that of a text in the object that it is embedded in. An outline has none.
func (t *Text) walk(r *reader) {
	switch {
	case !r.key("text"):
	case r.outline && r.at < len(r.data) && r.data[r.at] == '"':
		r.skipString()
	default:
		t.Inline = r.string()
	}
	walkBlob(r, "blob", &t.Blob)
	if r.key("masked") {
		t.walkMasked(r)
	}
}

func (t *Text) walkMasked(r *reader) {
	t.Masked = []Masked{}
	r.mark('[')
	for more := !r.next(']'); more && !r.bad; {
		var masked Masked
		r.mark('{')
		text(r, "rule", &masked.Rule)
		number(r, "count", &masked.Count)
		r.mark('}')
		t.Masked = append(t.Masked, masked)
		if more = r.next(','); !more {
			r.mark(']')
		}
	}
}

func walkBlob(r *reader, name string, ref **BlobRef) {
	if !r.key(name) {
		return
	}
	*ref = &BlobRef{}
	r.mark('{')
	text(r, "hash", &(*ref).Hash)
	quoted(r, "size", &(*ref).Size)
	text(r, "media", &(*ref).Media)
	r.mark('}')
}

func walkTree(r *reader, name string, tree **Tree) {
	if !r.key(name) {
		return
	}
	*tree = &Tree{}
	t := *tree
	r.mark('{')
	walkBlob(r, "manifest", &t.Manifest)
	maybeNumber(r, "files", &t.Files)
	maybeNumber(r, "dirs", &t.Dirs)
	maybeQuoted(r, "bytes", &t.Bytes)
	maybeText(r, "missing", &t.Missing)
	r.mark('}')
}

func (u *Usage) walk(r *reader) {
	if !r.need("usage") {
		return
	}
	r.mark('{')
	quoted(r, "input", &u.Input)
	quoted(r, "output", &u.Output)
	maybeQuoted(r, "cached", &u.Cached)
	r.maybeFlag("estimated", &u.Estimated)
	maybeQuoted(r, "cache_write", &u.CacheWrite)
	maybeQuoted(r, "cache_write_long", &u.CacheWriteLong)
	maybeQuoted(r, "reasoning", &u.Reasoning)
	r.mark('}')
}

// walker is an event that a reader reads. The reader is handed over by value, so that it needs no memory of its own.
type walker interface {
	read(r reader) Event
}

func (e MessageReceived) read(r reader) Event     { e.walk(&r); return whole(&r, e) }
func (e TurnStarted) read(r reader) Event         { e.walk(&r); return whole(&r, e) }
func (e TurnEnded) read(r reader) Event           { e.walk(&r); return whole(&r, e) }
func (e AdviceRequested) read(r reader) Event     { e.walk(&r); return whole(&r, e) }
func (e AdviceGiven) read(r reader) Event         { e.walk(&r); return whole(&r, e) }
func (e BudgetRequested) read(r reader) Event     { e.walk(&r); return whole(&r, e) }
func (e BudgetGranted) read(r reader) Event       { e.walk(&r); return whole(&r, e) }
func (e SettlementRequested) read(r reader) Event { e.walk(&r); return whole(&r, e) }
func (e SettlementRecorded) read(r reader) Event  { e.walk(&r); return whole(&r, e) }
func (e FundsReserved) read(r reader) Event       { e.walk(&r); return whole(&r, e) }
func (e FundsSettled) read(r reader) Event        { e.walk(&r); return whole(&r, e) }
func (e ModelRequested) read(r reader) Event      { e.walk(&r); return whole(&r, e) }
func (e ModelReplied) read(r reader) Event        { e.walk(&r); return whole(&r, e) }
func (e ToolRequested) read(r reader) Event       { e.walk(&r); return whole(&r, e) }
func (e ToolReturned) read(r reader) Event        { e.walk(&r); return whole(&r, e) }

// whole is an event that was read; nil when not all of it was understood.
func whole[E Event](r *reader, e E) Event {
	if !r.whole() {
		return nil
	}
	return e
}

// walked reads a kind that has a walk; nil for others, and for what is not written as Encode writes it.
func (s *Spec) walked(data json.RawMessage, outline bool) Event {
	if zero, ok := s.Zero.(walker); ok {
		return zero.read(reader{data: data, outline: outline})
	}
	return nil
}
