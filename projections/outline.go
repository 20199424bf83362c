package projections

import (
	"bytes"

	"example.com/life/events"
)

// outlinedVersion is the newest version of a kind that outline reads, and its functions read the older ones too. A kind whose version
// is raised leaves the list, or is read here in its new form: a test holds the list to the catalogue.
func outlinedVersion(kind events.Kind) int {
	if kind == "tool.returned" {
		return 2 // with trees, which are passed over
	}
	return 1
}

// outline reads the kinds that make up most of a history without what is large in them, by hand: all projections together fold
// several times as many events a second as with encoding/json, which looks at every byte twice. It reads what events.Encode
// writes; anything else, such as spaces, escapes in a name or a field it does not expect, is nil, and then the whole event is
// decoded in the ordinary way.
func outline(e *events.Envelope) events.Event {
	if e.Version < 1 || e.Version > outlinedVersion(e.Kind) || len(e.Data) == 0 || e.Data[0] != '{' {
		return nil
	}
	f := fields{data: e.Data}
	event := f.read(e.Kind)
	if event == nil || f.bad || f.at != len(f.data) {
		return nil
	}
	return event
}

func (f *fields) read(kind events.Kind) events.Event {
	switch kind {
	case "message.received":
		return f.messageReceived()
	case "turn.started":
		return f.turnStarted()
	case "turn.ended":
		return f.turnEnded()
	case "advice.requested":
		return f.adviceRequested()
	case "advice.given":
		return f.adviceGiven()
	case "model.requested":
		return f.modelRequested()
	case "model.replied":
		return f.modelReplied()
	case "tool.requested":
		return f.toolRequested()
	case "tool.returned":
		return f.toolReturned()
	}
	return f.readMoney(kind)
}

func (f *fields) readMoney(kind events.Kind) events.Event {
	switch kind {
	case "budget.requested":
		return f.budgetRequested()
	case "budget.granted":
		return f.budgetGranted()
	case "settlement.requested":
		return f.settlementRequested()
	case "settlement.recorded":
		return f.settlementRecorded()
	case "funds.reserved":
		return f.fundsReserved()
	case "funds.settled":
		return f.fundsSettled()
	}
	return nil
}

// fields walks through the fields of a JSON object as events.Encode writes it. After something that it does not expect it is bad,
// and ends.
type fields struct {
	data []byte
	at   int
	key  []byte // of the field whose value comes
	bad  bool
}

// next moves to the next field's value, into the object at its beginning and out of it at its end.
func (f *fields) next() bool {
	if f.bad || f.at >= len(f.data) {
		f.bad = true
		return false
	}
	switch c := f.data[f.at]; {
	case (c == '{') != f.begins():
		f.bad = true
		return false
	case c == '{' && f.at+1 < len(f.data) && f.data[f.at+1] == '}':
		f.at += 2
		return false
	case c == '{' || c == ',':
		f.at++
	case c == '}':
		f.at++
		return false
	default:
		f.bad = true
		return false
	}
	f.key = f.quoted()
	f.expect(':')
	return !f.bad
}

// begins reports whether a value begins here, and not what follows one.
func (f *fields) begins() bool {
	if f.at == 0 {
		return true
	}
	before := f.data[f.at-1]
	return before == ':' || before == '[' || before == ','
}

// element moves to the next element of a list, into it at its beginning and out of it at its end.
func (f *fields) element() bool {
	if f.bad || f.at >= len(f.data) {
		f.bad = true
		return false
	}
	switch c := f.data[f.at]; {
	case (c == '[') != f.begins():
	case c == '[' && f.at+1 < len(f.data) && f.data[f.at+1] == ']':
		f.at += 2
		return false
	case c == '[' || c == ',':
		f.at++
		return true
	case c == ']':
		f.at++
		return false
	}
	f.bad = true
	return false
}

func (f *fields) expect(c byte) {
	if f.bad || f.at >= len(f.data) || f.data[f.at] != c {
		f.bad = true
		return
	}
	f.at++
}

// quoted reads a string that is plain ASCII without escapes.
func (f *fields) quoted() []byte {
	f.expect('"')
	if f.bad {
		return nil
	}
	for end := f.at; end < len(f.data); end++ {
		switch c := f.data[end]; {
		case c == '"':
			text := f.data[f.at:end]
			f.at = end + 1
			return text
		case c < ' ' || c == '\\' || c >= 0x80:
			f.bad = true
			return nil
		}
	}
	f.bad = true
	return nil
}

func (f *fields) text() string { return string(f.quoted()) }

// number reads a whole number of 64 bits, which is written as a string.
func (f *fields) number() int64 {
	f.expect('"')
	n := f.integer()
	f.expect('"')
	return n
}

// integer reads a whole number.
func (f *fields) integer() int64 {
	negative := f.at < len(f.data) && f.data[f.at] == '-'
	if negative {
		f.at++
	}
	n, begin := int64(0), f.at
	for f.at < len(f.data) && f.data[f.at] >= '0' && f.data[f.at] <= '9' {
		n = 10*n + int64(f.data[f.at]-'0')
		f.at++
	}
	if length := f.at - begin; length == 0 || length > 18 || length > 1 && f.data[begin] == '0' {
		f.bad = true // longer ones may not fit
	}
	if negative {
		n = -n
	}
	return n
}

func (f *fields) boolean() bool {
	rest := f.data[min(f.at, len(f.data)):]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		f.at += 4
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		f.at += 5
		return false
	}
	f.bad = true
	return false
}

// skip passes over a value of any kind.
func (f *fields) skip() {
	depth, begin := 0, f.at
	for f.at < len(f.data) && !f.bad {
		switch c := f.data[f.at]; c {
		case '"':
			f.skipString()
			if depth == 0 {
				return
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				f.bad = f.at == begin
				return // the end of what holds a number or a literal
			}
			if depth--; depth == 0 {
				f.at++
				return
			}
		case ',':
			if depth == 0 {
				f.bad = f.at == begin
				return
			}
		}
		f.at++
	}
	f.bad = true
}

func (f *fields) skipString() {
	f.at++
	for {
		end := bytes.IndexByte(f.data[f.at:], '"')
		if end < 0 {
			f.bad = true
			return
		}
		end += f.at
		slashes := 0
		for slashes < end-f.at && f.data[end-1-slashes] == '\\' {
			slashes++
		}
		f.at = end + 1
		if slashes%2 == 0 {
			return
		}
	}
}

// unexpected gives up.
func (f *fields) unexpected() { f.bad = true }

func texts[T ~string](f *fields) []T {
	var all []T
	for f.element() {
		all = append(all, T(f.text()))
	}
	return all
}
