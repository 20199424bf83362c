package events

import "fmt"

// Compaction says what becomes of a conversation that outgrows the window of its model. The zero value is that of builds before there was any: each
// request leaves out as many of the oldest messages as it must.
type Compaction struct {
	Mode  CompactionMode `json:"mode,omitempty"`
	At    int            `json:"at_percent,omitempty"`         // of the window, at which the conversation is compacted; 0: the default, see sagas.DefaultCompactAt
	Keep  int64          `json:"keep_tokens,string,omitempty"` // of the newest rounds, which stay as they are; 0: half of what At allows
	Model string         `json:"model,omitempty"`              // that writes the summaries; empty: the agent's own
}

// CompactionMode says what becomes of the messages that a compaction leaves out.
type CompactionMode string

// The modes of compaction.
const (
	CompactSummarise CompactionMode = "summarise" // a model's summary stands for them
	CompactDrop      CompactionMode = "drop"      // nothing stands for them
	CompactOff       CompactionMode = "off"       // the conversation is not compacted: each request leaves out as many as it must
)

// CompactionRequested records that a person wants the conversation compacted, before the model is asked the next time.
type CompactionRequested struct {
	By string `json:"by,omitempty"`
}

// SummaryRequested records that a model is asked for a summary of the oldest messages of the conversation, which is to stand for them.
type SummaryRequested struct {
	Turn    TurnID `json:"turn"`
	Attempt int    `json:"attempt"` // from 1; a failed or lost attempt is followed by another
	Model   string `json:"model"`
	For     string `json:"for,omitempty"` // the candidate of the route whose window the conversation has outgrown
	Context Digest `json:"context"`       // of what is sent: equal digests mean equal requests
	LeftOut
}

// ConversationCompacted records that the model is not sent the oldest messages of the conversation any more. They stay in history: the moment before
// this event has them all.
type ConversationCompacted struct {
	Turn    TurnID     `json:"turn"`
	Request RequestID  `json:"request,omitempty"` // for the summary, where a model replied to one
	How     Compacting `json:"how"`
	LeftOut
	Because string `json:"because,omitempty"` // why there is no summary, where one was asked for
	Text           // the summary
	Model   string `json:"model,omitempty"` // as the provider named it, where it differs from what was asked

	// What the reply cost, whether it became the summary or not.
	Usage    Usage  `json:"usage,omitzero"`
	Cost     Money  `json:"cost,string,omitempty"`
	Priced   bool   `json:"priced,omitempty"`
	Duration Micros `json:"duration_us,string,omitempty"`
}

// Compacting says what stands for messages that were left out.
type Compacting string

// What can stand for them.
const (
	Summarised Compacting = "summarised" // a summary
	Dropped    Compacting = "dropped"    // nothing
)

// LeftOut says which messages of the conversation a compaction is about: the oldest that are sent yet, up to a round.
type LeftOut struct {
	Messages int   `json:"left_out"`                // how many are left out
	Kept     []int `json:"kept,omitempty"`          // beside them, by their place from the oldest: what people said in the running turn
	Turn     int   `json:"through_turn"`            // with which round of which turn the last one came in; 0 is a turn's beginning
	Round    int   `json:"through_round,omitempty"` //
}

// Kind returns the permanent name.
func (CompactionRequested) Kind() Kind   { return "compaction.requested" }
func (SummaryRequested) Kind() Kind      { return "summary.requested" }
func (ConversationCompacted) Kind() Kind { return "conversation.compacted" }

func (l LeftOut) String() string {
	messages := "1 message"
	if l.Messages != 1 {
		messages = fmt.Sprintf("%d messages", l.Messages)
	}
	return fmt.Sprintf("%s up to turn %d, round %d", messages, l.Turn, l.Round)
}

func (e CompactionRequested) String() string {
	return sentence("compaction before the next request to the model was asked for%s", by(e.By))
}

func (e SummaryRequested) String() string {
	again := ""
	if e.Attempt > 1 {
		again = fmt.Sprintf(", attempt %d", e.Attempt)
	}
	if e.For != "" && e.For != e.Model {
		again += " for the window of " + e.For
	}
	return sentence("model %s was asked to summarise the oldest %s%s", e.Model, e.LeftOut, again)
}

func (e ConversationCompacted) String() string {
	price := ""
	if e.Request != "" {
		price = ", no price"
		if e.Priced {
			price = ", " + e.Cost.String()
		}
		price = fmt.Sprintf(" (%s%s)", e.Usage.tokens(), price)
	}
	if e.How == Summarised {
		return sentence("the conversation was compacted: a summary of %d bytes stands for the oldest %s%s", e.Size(), e.LeftOut, price)
	}
	return sentence("the conversation was compacted: the oldest %s are sent no more%s%s", e.LeftOut, price, because(e.Because))
}
