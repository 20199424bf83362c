package events

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ModelRequested records that the model is asked for the next reply. The conversation sent is the fold of the history before it.
type ModelRequested struct {
	Turn    TurnID `json:"turn"`
	Round   int    `json:"round"`   // from 1
	Attempt int    `json:"attempt"` // from 1; a failed or lost attempt is followed by another
	Model   string `json:"model"`
	Context Digest `json:"context"`           // of model, prompt, tools and conversation: equal digests mean equal requests
	Dropped int    `json:"dropped,omitempty"` // oldest messages left out to fit the context window
	// What the endpoint's window, once it is known from a failure, asked for besides.
	Shortened int   `json:"shortened,omitempty"`   // messages of which only a part is sent
	Room      int64 `json:"room,string,omitempty"` // tokens of conversation that the window is known to hold

	Route   string `json:"route,omitempty"`   // by which the model was chosen
	Because string `json:"because,omitempty"` // of its candidates
}

// ModelReplied records the model's whole reply.
type ModelReplied struct {
	Request RequestID `json:"request"`
	Text
	Calls    []ModelCall `json:"calls,omitempty"`
	Withheld string      `json:"withheld,omitempty"` // why the reply's calls are not here: it is too large to be stored
	Stop     StopReason  `json:"stop"`
	Met      Bound       `json:"met,omitempty"`   // what a reply of stop "length" met, where it is not the agent's reply_tokens
	Model    string      `json:"model,omitempty"` // as the provider named it, where it differs from what was asked
	Usage    Usage       `json:"usage"`
	Cost     Money       `json:"cost,string"`
	Priced   bool        `json:"priced"` // whether the price table knows the model; if not, Cost is 0 and means nothing
	Duration Micros      `json:"duration_us,string"`
	Polling  bool        `json:"polling,omitempty"` // its first call repeats one whose latest two results differ: the count of repetitions begins again
	Fault    Fault       `json:"fault,omitempty"`   // why this is no answer; the model is told and asked again
	// Blocks is the reply's layout, in the order in which the model gave it. What no block names comes after them: the rest of the text,
	// then the rest of the calls. So a plain reply has none.
	Blocks []Block `json:"blocks,omitempty"`
}

// Block is one part of a reply. Text and calls stand in the reply; a block says where they belong among the others.
type Block struct {
	Kind  BlockKind `json:"kind"`
	Bytes int       `json:"bytes,omitempty"` // of a text: how many of the reply's text are its own, in order
	Text  *Text     `json:"text,omitempty"`  // of thinking, and of an item: what may be shown to people, such as why the provider refused
	// Raw is the provider's own form of the block: one JSON value, kept byte for byte, such as a signature or encrypted reasoning. It is
	// sent back only to the provider and model that it came from.
	Raw *Text `json:"raw,omitempty"`
}

// BlockKind names what a block is.
type BlockKind string

// The kinds of blocks.
const (
	BlockText     BlockKind = "text"
	BlockThinking BlockKind = "thinking"
	BlockCall     BlockKind = "call" // takes the next of the reply's calls
	BlockItem     BlockKind = "item" // of a kind that only its provider understands, such as redacted thinking or fields of a whole message
)

// ModelCall is one tool call the model asks for.
type ModelCall struct {
	ID        string          `json:"id"` // the provider's own
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`      // canonical JSON (sorted keys, no spaces); a JSON string when the model's text was no JSON
	Cut       bool            `json:"cut,omitempty"`  // the reply ended before the call did: it is refused
	Blob      *BlobRef        `json:"blob,omitempty"` // all of the arguments, where they are large: Arguments is a preview of them
}

// Fault says why a reply that is complete is no answer.
type Fault string

// The faults of a reply.
const (
	FaultEmpty Fault = "empty"        // neither text nor calls
	FaultCall  Fault = "call_in_text" // a call written as text, which is never run
)

// ModelFailed records that an attempt to ask the model failed. RetryAt is when it will be asked again; 0 means never.
type ModelFailed struct {
	Request RequestID  `json:"request"`
	Class   ErrorClass `json:"class"`
	Detail  string     `json:"detail"`
	RetryAt Micros     `json:"retry_at,string,omitempty"`
	Usage   Usage      `json:"usage,omitzero"` // what the attempt cost nonetheless
	Cost    Money      `json:"cost,string,omitempty"`
	Priced  bool       `json:"priced,omitempty"`
	Room    int64      `json:"room,string,omitempty"` // tokens of conversation that the model's window holds, where the failure tells
	Left    bool       `json:"left,omitempty"`        // the turn goes on with another candidate of its route
}

// StopReason says why the model stopped.
type StopReason string

// The stop reasons, across providers.
const (
	StopEnd      StopReason = "end"      // finished
	StopCalls    StopReason = "calls"    // wants tools
	StopLength   StopReason = "length"   // met a limit of tokens: the reply's, unless Met says otherwise
	StopFiltered StopReason = "filtered" // declined, or was cut by a filter
	StopPaused   StopReason = "paused"   // the provider paused a long reply: it is asked to continue, as the next round
)

// Bound is what a reply met that stopped for its length, where raising reply_tokens would not help.
type Bound string

// The bounds of a reply besides its own limit.
const (
	BoundWindow   Bound = "window"   // the conversation and the reply fill the model's window
	BoundEndpoint Bound = "endpoint" // the model or its endpoint gives less in one reply than reply_tokens allows
)

// ErrorClass sorts a provider's failures by what can be done about them.
type ErrorClass string

// The classes of failure.
const (
	ErrorRateLimited ErrorClass = "rate_limited" // retried, not before Retry-After
	ErrorOverloaded  ErrorClass = "overloaded"   // retried: the provider is down, slow or cut the connection
	ErrorTruncated   ErrorClass = "truncated"    // retried: the stream ended before the reply did
	ErrorContext     ErrorClass = "context_too_long"
	ErrorAuth        ErrorClass = "auth"
	ErrorRefused     ErrorClass = "refused"   // by the provider's policy
	ErrorInvalid     ErrorClass = "invalid"   // the request, or the reply, makes no sense
	ErrorTimeout     ErrorClass = "timeout"   // retried: no answer within the deadline
	ErrorCancelled   ErrorClass = "cancelled" // its turn ended while the model replied: what had come is counted
)

// Retryable reports whether asking again can help.
func (c ErrorClass) Retryable() bool {
	switch c {
	case ErrorRateLimited, ErrorOverloaded, ErrorTruncated, ErrorTimeout, ErrorCancelled:
		return true
	case ErrorContext, ErrorAuth, ErrorRefused, ErrorInvalid:
		return false
	}
	return false
}

// Thought is what the model thought, as people may see it. Of a text in a blob it is the beginning.
func (e *ModelReplied) Thought() string {
	all := ""
	for i := range e.Blocks {
		if text := e.Blocks[i].Text; text != nil {
			all += text.Inline
		}
	}
	return all
}

// repliedV6 makes a block of what providers wanted back with a reply: fields of the whole message.
func repliedV6(data json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(data, []byte(`"extra"`)) {
		return data, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	extra, has := fields["extra"]
	if !has || string(extra) == "null" {
		return data, nil
	}
	delete(fields, "extra")
	blocks, err := PlainJSON([]struct {
		Kind BlockKind       `json:"kind"`
		Raw  json.RawMessage `json:"raw"`
	}{{BlockItem, extra}})
	if err != nil {
		return nil, err
	}
	fields["blocks"] = blocks
	return PlainJSON(fields)
}

// Kind returns the permanent name.
func (ModelRequested) Kind() Kind { return "model.requested" }
func (ModelReplied) Kind() Kind   { return "model.replied" }
func (ModelFailed) Kind() Kind    { return "model.failed" }

func (e ModelRequested) String() string {
	again := ""
	if e.Attempt > 1 {
		again = fmt.Sprintf(", attempt %d", e.Attempt)
	}
	left := ""
	if e.Room > 0 {
		left = fmt.Sprintf("; %d messages are left out and %d shortened to fit its window", e.Dropped, e.Shortened)
	}
	if e.Route != "" {
		left += fmt.Sprintf("; %s chose it: %s", e.Route, e.Because)
	}
	return sentence("model %s was asked (round %d%s)%s", e.Model, e.Round, again, left)
}

func (e ModelReplied) String() string {
	calls := ""
	if len(e.Calls) == 1 {
		calls = " and called " + e.Calls[0].Tool
	} else if len(e.Calls) > 1 {
		calls = fmt.Sprintf(" and made %d calls", len(e.Calls))
	}
	if e.Withheld != "" {
		calls = ", its calls are not stored" + because(e.Withheld)
	}
	price := "no price"
	if e.Priced {
		price = e.Cost.String()
	}
	fault := ""
	switch e.Fault {
	case FaultEmpty:
		fault = ", which is no answer: it is empty"
	case FaultCall:
		fault = ", which is no answer: it holds a call written as text, which was not run"
	}
	thought := ""
	if text := e.Thought(); text != "" {
		thought = "thought " + line(Text{Inline: text}) + " and "
	}
	stop := string(e.Stop)
	if e.Met != "" {
		stop += ": the limit of the " + string(e.Met)
	}
	return sentence("the model %sreplied %s%s (%s, %s, %s)%s", thought, line(e.Text), calls, stop, e.Usage.tokens(), price, fault)
}

func (e ModelFailed) String() string {
	if e.Class == ErrorCancelled {
		return sentence("the model was cut off (%s)%s", e.Usage.tokens(), because(e.Detail))
	}
	next := "; it is not asked again"
	switch {
	case e.Left:
		next = "; another candidate of the route is asked"
	case e.RetryAt > 0 && e.Room > 0:
		next = fmt.Sprintf("; it will be asked again with at most %d tokens of the conversation", e.Room)
	case e.RetryAt > 0:
		next = "; it will be asked again"
	}
	return sentence("the model failed (%s)%s%s", e.Class, because(e.Detail), next)
}
