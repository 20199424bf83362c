// Package runs reads stretches of history. A projection, of package projections, follows the whole store and is asked; what is here is
// handed the events of a question that somebody asks now: what an agent did turn by turn ([RunFold], [GroupFold]), how two runs differ
// ([AlignRuns], [CompareTurns]), what led to what ([Causality]), what many turns tried again add up to ([Summarize]), and how two states
// or texts differ ([Changes], [DiffLines]).
//
// The package is pure, as projections is.
//
// # Runs
//
// A run is what one agent did, told as turns, rounds and calls, so that it can be held against another's. It is folded from the
// agent's events by [RunFold]; for a fork these are its parent's up to the point of the fork and then its own.
//
// # Equal history
//
// Two runs have an equal history when their turns are equal, one by one and in order. Two turns are equal when
//   - they took in messages with the same texts, before the same rounds,
//   - each round asked the same: the same model, prompt, tools and size of reply, the same hint of the operating mode, and the same
//     conversation before it, cut to the window in the same place,
//   - each reply has the same text, stop reason and calls, and each call the same tool and arguments,
//   - each call came to the same: people were asked or not and answered alike, it returned, failed, was refused, was lost or was
//     abandoned, and what the model saw of it is the same text,
//   - they waited for a person for the same reasons, before the same rounds,
//   - they have the same outcome for the same reason, or both still run.
//
// Identities (of agents, turns, messages, requests and events, and those that providers give calls), names of people, times,
// revisions, attempts, wallets, advice that changed no request, and what was measured (durations, tokens, cost) are not part of it.
// What was measured is compared in totals. [CompareTurns] decides it of two turns, whose first difference it names,
// and [RunAlignment.Equal] of two runs.
//
// A turn behaves the same when all of that holds but what was asked: another prompt may lead to the same answers.
package runs

import (
	"example.com/life/events"
	"example.com/life/projections"
)

// RunTurn is one turn of a run.
type RunTurn struct {
	projections.TurnTimes
	Number   int          `json:"number"` // of its agent's turns, from 1
	First    events.Ref   `json:"first"`  // its first event
	Last     events.Ref   `json:"last"`   // its latest
	Setup    *RunSetup    `json:"setup,omitempty"`
	Messages []RunMessage `json:"messages"` // that it began with
	Rounds   []RunRound   `json:"rounds"`
	Pauses   []RunPause   `json:"pauses,omitempty"`
	Detail   string       `json:"detail,omitempty"` // of its end
	Totals   RunTotals    `json:"totals"`
	again    runAgain
}

// runAgain is what it takes to fold a turn once more from its own events.
type runAgain struct {
	from  events.Ref   // of the first message that waited when it began
	given []RunMessage // messages that came before the fold began
	setup *RunSetup
	mode  events.OperatingMode
	chain events.Digest
}

// RunSetup is the part of an agent's configuration that its requests to models depend on.
type RunSetup struct {
	Model  string   `json:"model"`
	Prompt string   `json:"prompt"` // BLAKE3 of it
	Tools  []string `json:"tools"`
	Reply  int64    `json:"reply_tokens,string"` // 0: the standard limit
}

// RunMessage is a message as a turn took it in.
type RunMessage struct {
	Message events.MessageID `json:"message"`
	Verb    events.Verb      `json:"verb"`
	From    string           `json:"from,omitempty"`
	Text    RunText          `json:"text"`
	at      events.Micros
}

// RunPause is a wait for a person to let the turn go on.
type RunPause struct {
	Round  int           `json:"round"` // before which, from 1
	Reason events.Reason `json:"reason"`
}

// RunText stands for a text: equal hashes mean equal texts.
type RunText struct {
	Hash    string     `json:"hash,omitempty"` // BLAKE3, as a blob is named
	Size    int64      `json:"size,string"`
	Preview string     `json:"preview,omitempty"` // how it begins
	Event   events.Ref `json:"event,omitempty"`   // that holds it
}

// RunRound is one request to a model, its reply, and what became of the calls in it.
type RunRound struct {
	Round   int                  `json:"round"`
	Joined  []RunMessage         `json:"joined,omitempty"` // messages that the turn took in before it
	Model   string               `json:"model"`            // that was asked
	Mode    events.OperatingMode `json:"mode,omitempty"`   // that homeostasis advised
	Context events.Digest        `json:"context"`          // of the request, as recorded
	Dropped int                  `json:"dropped,omitempty"`
	Failed  []RunFailure         `json:"failed,omitempty"` // attempts that failed
	Asked   int                  `json:"asked"`            // attempts altogether
	Replied bool                 `json:"replied"`
	Text    RunText              `json:"text"`
	Stop    events.StopReason    `json:"stop,omitempty"`
	Usage   events.Usage         `json:"usage"`
	Cost    events.Money         `json:"cost,string"`
	Priced  bool                 `json:"priced"`
	Took    events.Micros        `json:"took_us,string"`
	Calls   []RunCall            `json:"calls,omitempty"`
	before  events.Digest        // of the conversation that it was asked to continue, without identities
	setup   *RunSetup
	closed  bool // its calls are part of the conversation
}

// RunFailure is an attempt at a model that failed.
type RunFailure struct {
	Class  events.ErrorClass `json:"class"`
	Detail string            `json:"detail"`
}

// RunCall is one call of a round.
type RunCall struct {
	Call      events.CallID `json:"call"`
	Tool      string        `json:"tool"`
	Arguments RunText       `json:"arguments"`
	Approval  RunApproval   `json:"approval,omitempty"`
	End       RunEnd        `json:"end"`
	Result    RunText       `json:"result"` // as the model sees it
	Sent      int           `json:"sent"`   // how often: again after it was lost and a person let it
	Lost      int           `json:"lost,omitempty"`
	Took      events.Micros `json:"took_us,string"`
}

// RunApproval says what people said about a call before it ran first.
type RunApproval string

// The answers to a call that needs a person.
const (
	NotAsked RunApproval = "" // it needed none
	Asked    RunApproval = "asked"
	Granted  RunApproval = "granted"
	Denied   RunApproval = "denied"
	Expired  RunApproval = "expired"
)

// RunEnd says what became of a call.
type RunEnd string

// The ends of a call.
const (
	CallOpen      RunEnd = "open" // nothing yet
	CallReturned  RunEnd = "returned"
	CallFailed    RunEnd = "failed"
	CallRefused   RunEnd = "refused"
	CallLost      RunEnd = "lost"
	CallAbandoned RunEnd = "abandoned" // the turn ended before it answered
)

// RunTotals is what turns did and what it took, counted.
type RunTotals struct {
	Turns    int           `json:"turns"`
	Rounds   int           `json:"rounds"`
	Calls    int           `json:"calls"`
	Failures int           `json:"failures"` // calls that failed, were refused or were lost
	Attempts int           `json:"attempts"` // at models that failed
	Usage    events.Usage  `json:"usage"`
	Cost     events.Money  `json:"cost,string"`
	Unpriced int           `json:"unpriced,omitempty"` // replies of models without a price: their cost is unknown
	Elapsed  events.Micros `json:"elapsed_us,string"`
	Running  events.Micros `json:"running_us,string"`
	Queued   events.Micros `json:"queued_us,string"`
	Person   events.Micros `json:"person_us,string"`
	Outcomes RunOutcomes   `json:"outcomes"`
}

// RunOutcomes counts turns by how they ended.
type RunOutcomes struct {
	Done      int `json:"done,omitempty"`
	Stopped   int `json:"stopped,omitempty"`
	Failed    int `json:"failed,omitempty"`
	Cancelled int `json:"cancelled,omitempty"`
	Running   int `json:"running,omitempty"` // they have not ended
}

// Plus adds the totals of other turns.
func (t RunTotals) Plus(u RunTotals) RunTotals {
	return RunTotals{
		Turns: t.Turns + u.Turns, Rounds: t.Rounds + u.Rounds, Calls: t.Calls + u.Calls, Failures: t.Failures + u.Failures,
		Attempts: t.Attempts + u.Attempts, Usage: t.Usage.Plus(u.Usage), Cost: t.Cost + u.Cost, Unpriced: t.Unpriced + u.Unpriced,
		Elapsed: t.Elapsed + u.Elapsed, Running: t.Running + u.Running, Queued: t.Queued + u.Queued, Person: t.Person + u.Person,
		Outcomes: RunOutcomes{
			Done: t.Outcomes.Done + u.Outcomes.Done, Stopped: t.Outcomes.Stopped + u.Outcomes.Stopped, Failed: t.Outcomes.Failed + u.Outcomes.Failed,
			Cancelled: t.Outcomes.Cancelled + u.Outcomes.Cancelled, Running: t.Outcomes.Running + u.Outcomes.Running,
		},
	}
}
