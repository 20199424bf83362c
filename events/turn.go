package events

import "fmt"

// TurnStarted opens a turn: these messages, this configuration, these limits.
type TurnStarted struct {
	Turn     TurnID      `json:"turn"`
	Messages []MessageID `json:"messages"`
	// ByWindow: what was learnt of the windows of a route's candidates counts before one is asked. So it is in every turn of an agent with a route from
	// version 2 on.
	ByWindow bool `json:"by_window,omitempty"`
}

// as implements older.
func (e TurnStarted) as(version int) Event {
	if version < 2 {
		e.ByWindow = false
	}
	return e
}

// TurnPaused records that the turn waits for a person before it goes on.
type TurnPaused struct {
	Turn   TurnID `json:"turn"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// TurnResumed records that a person let a paused turn go on; the limit it met is granted once more.
type TurnResumed struct {
	Turn TurnID `json:"turn"`
	By   string `json:"by,omitempty"`
}

// TurnEnded closes a turn. Whatever was still outstanding is abandoned: late answers are dropped.
type TurnEnded struct {
	Turn      TurnID  `json:"turn"`
	Outcome   Outcome `json:"outcome"`
	Reason    Reason  `json:"reason,omitempty"`
	Detail    string  `json:"detail,omitempty"`
	Rounds    int     `json:"rounds"`
	ToolCalls int     `json:"tool_calls"`
	Usage     Usage   `json:"usage"`
	Cost      Money   `json:"cost,string"`        // of the priced calls
	Unpriced  bool    `json:"unpriced,omitempty"` // some call had no price: its tokens count, its dollars are unknown
}

// LoopWarned records that the model was told it keeps making the same call.
type LoopWarned struct {
	Call  CallID `json:"call"`
	Tool  string `json:"tool"`
	Count int    `json:"count"`
}

// Outcome says how a turn ended.
type Outcome string

// The outcomes of a turn.
const (
	Done      Outcome = "done"      // the model finished
	Cancelled Outcome = "cancelled" // a person stopped it, or a message interrupted it
	Stopped   Outcome = "stopped"   // a limit, a loop or a refusal stopped it; Reason says which
	Failed    Outcome = "failed"    // the model could not be asked any more
)

// Reason names why a turn paused or ended.
type Reason string

// The reasons.
const (
	ReasonNone        Reason = ""
	ReasonUser        Reason = "user"             // cancelled by a person
	ReasonInterrupt   Reason = "interrupt"        // by a message with the verb interrupt
	ReasonRounds      Reason = "limit.rounds"     //
	ReasonTokens      Reason = "limit.tokens"     //
	ReasonMoney       Reason = "limit.money"      //
	ReasonTime        Reason = "limit.time"       //
	ReasonToolCalls   Reason = "limit.tool_calls" //
	ReasonErrors      Reason = "limit.errors"     // too many failures in a row
	ReasonLoop        Reason = "loop"             // the same call five times in a row, with the same result
	ReasonReservation Reason = "wallet.refused"   // no reservation, no model call
	ReasonSleep       Reason = "mode.sleep"       // homeostasis advised sleep
	ReasonModel       Reason = "model.failed"     //
	ReasonTruncated   Reason = "model.truncated"  // the reply met a limit of tokens: its own, the endpoint's, or the window's
	ReasonFiltered    Reason = "model.refused"    // the model declined
	ReasonLost        Reason = "tool.lost"        // the effect of a call is unknown
	ReasonUnstored    Reason = "reply.too_large"  // the model's reply cannot be stored
	ReasonRetired     Reason = "agent.retired"    //
	ReasonOffline     Reason = "fork.offline"     // the recording does not answer, and nobody else may be asked
)

// Usage counts tokens as the provider reported them, or as they are estimated where it does not.
type Usage struct {
	Input     int64 `json:"input,string"` // the whole input: fresh, read from the cache and written to it
	Output    int64 `json:"output,string"`
	Cached    int64 `json:"cached,string,omitempty"` // part of Input served from the provider's cache
	Estimated bool  `json:"estimated,omitempty"`     // some of it was not reported, and is estimated from the size of the texts

	CacheWrite     int64 `json:"cache_write,string,omitempty"`      // part of Input written to the provider's cache, for minutes
	CacheWriteLong int64 `json:"cache_write_long,string,omitempty"` // part of Input written to it for an hour
	Reasoning      int64 `json:"reasoning,string,omitempty"`        // part of Output that was thought and not said
}

// Total is what counts against the token limit.
func (u Usage) Total() int64 { return u.Input + u.Output }

// Plus adds two usages.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, Output: u.Output + v.Output, Cached: u.Cached + v.Cached, Estimated: u.Estimated || v.Estimated,
		CacheWrite: u.CacheWrite + v.CacheWrite, CacheWriteLong: u.CacheWriteLong + v.CacheWriteLong, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// tokens says how many there are.
func (u Usage) tokens() string {
	if u.Estimated {
		return fmt.Sprintf("about %d tokens (estimated)", u.Total())
	}
	return fmt.Sprintf("%d tokens", u.Total())
}

// Kind returns the permanent name.
func (TurnStarted) Kind() Kind { return "turn.started" }
func (TurnPaused) Kind() Kind  { return "turn.paused" }
func (TurnResumed) Kind() Kind { return "turn.resumed" }
func (TurnEnded) Kind() Kind   { return "turn.ended" }
func (LoopWarned) Kind() Kind  { return "loop.warned" }

func (e TurnStarted) String() string {
	return sentence("turn %s started with %s", e.Turn, list(e.Messages))
}

func (e TurnPaused) String() string {
	return sentence("turn %s paused (%s)%s", e.Turn, e.Reason, because(e.Detail))
}

func (e TurnResumed) String() string { return sentence("turn %s was resumed%s", e.Turn, by(e.By)) }

func (e TurnEnded) String() string {
	reason := ""
	if e.Reason != ReasonNone {
		reason = " (" + string(e.Reason) + ")"
	}
	cost := e.Cost.String()
	if e.Unpriced {
		cost += " and calls with no price"
	}
	return sentence("turn %s ended: %s%s after %d rounds, %d tool calls, %s, %s%s",
		e.Turn, e.Outcome, reason, e.Rounds, e.ToolCalls, e.Usage.tokens(), cost, because(e.Detail))
}

func (e LoopWarned) String() string {
	return sentence("the model was warned: %s was called %d times in a row with the same arguments", e.Tool, e.Count)
}
