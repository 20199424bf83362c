package events

import "slices"

// PermissionJudged records what the host's permission policy said of a call when the model asked for it, and what became of it. Agents with neither a
// permission mode nor rules that could be about their calls have none.
type PermissionJudged struct {
	Call CallID `json:"call"`
	Tool string `json:"tool"`
	Finding
	Mode    PermissionMode `json:"mode,omitempty"` // of the agent
	Verdict Verdict        `json:"verdict"`        // of rules, mode, remembered approvals and the agent's policy together
	Because string         `json:"because,omitempty"`
}

// Finding is what is known of a call before it runs. It is a fact from outside: rules and the look at commands may change, what they said stays.
type Finding struct {
	Class    CallClass       `json:"class"`
	Why      string          `json:"why,omitempty"`      // it is of that class
	Ruled    Verdict         `json:"ruled,omitempty"`    // by rules; empty: none decides
	Rule     string          `json:"rule,omitempty"`     // that decided: its file and line
	Reason   string          `json:"reason,omitempty"`   // of that rule
	Firm     bool            `json:"firm,omitempty"`     // a remembered approval does not answer for that rule
	Commands []JudgedCommand `json:"commands,omitempty"` // of a command line, and files that it opens
	More     int             `json:"more,omitempty"`     // commands that are not listed
	Key      string          `json:"key,omitempty"`      // BLAKE3 of the command line without blanks and comments; empty: the digest of the call's arguments is its key
	Sandbox  string          `json:"sandbox,omitempty"`  // what commands of the host run in, as in tool.returned
	Full     bool            `json:"full,omitempty"`     // the host lets agents have the mode full
}

// JudgedCommand is what was found of one command of a command line.
type JudgedCommand struct {
	Text  string    `json:"text"` // at most 200 bytes
	Class CallClass `json:"class"`
	Ruled Verdict   `json:"ruled,omitempty"`
	Rule  string    `json:"rule,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Verdict is what becomes of a call.
type Verdict string

// The verdicts. The greater is the stronger.
const (
	VerdictAllow Verdict = "allow"
	VerdictAsk   Verdict = "ask" // a person
	VerdictDeny  Verdict = "deny"
)

// CallClass sorts calls by what they can do.
type CallClass string

// The classes, each with more to know of than the one before.
const (
	ClassRead        CallClass = "read"        // it changes nothing
	ClassEdit        CallClass = "edit"        // it changes files of the workspace
	ClassRun         CallClass = "run"         // it runs programs that may do anything that their confinement lets them
	ClassDestructive CallClass = "destructive" // it removes what is not restored easily
	ClassOutside     CallClass = "outside"     // it acts on something outside the workspace
	ClassUnclear     CallClass = "unclear"     // what it does cannot be told before it runs
)

// CallClasses lists the classes, each with more to know of than the one before.
func CallClasses() []CallClass {
	return []CallClass{ClassRead, ClassEdit, ClassRun, ClassDestructive, ClassOutside, ClassUnclear}
}

// AtMost reports whether there is no more to know of a class than of another. A class that is not known is more than any.
func (c CallClass) AtMost(other CallClass) bool {
	at := slices.Index(CallClasses(), c)
	return at >= 0 && at <= slices.Index(CallClasses(), other)
}

// PermissionRemembered records that an approval holds for the same call when it is made again, until it expires or is revoked. It is named by its
// revision.
type PermissionRemembered struct {
	Call    CallID `json:"call"` // for which it was given
	Tool    string `json:"tool"`
	Key     string `json:"key"`            // of calls that it is for: of the command line, or the digest of tool and arguments
	Text    string `json:"text,omitempty"` // the beginning of the arguments
	Scope   Scope  `json:"scope"`
	Expires Micros `json:"expires,string"`
	By      string `json:"by,omitempty"`
}

// PermissionRevoked records that a remembered approval holds no more.
type PermissionRevoked struct {
	Remembered Ref    `json:"remembered"` // the event that is revoked
	By         string `json:"by,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// Scope says for which calls an approval is given.
type Scope string

// The scopes.
const (
	ScopeOnce    Scope = "once"    // this call
	ScopeSession Scope = "session" // the same call of this agent
)

// Kind returns the permanent name.
func (PermissionJudged) Kind() Kind     { return "permission.judged" }
func (PermissionRemembered) Kind() Kind { return "permission.remembered" }
func (PermissionRevoked) Kind() Kind    { return "permission.revoked" }

func (e PermissionJudged) String() string {
	return sentence("call %s of %s was judged: %s%s", e.Call, e.Tool, e.Verdict, because(e.Because))
}

func (e PermissionRemembered) String() string {
	return sentence("the approval of call %s was remembered for the %s%s: %s %s", e.Call, string(e.Scope), by(e.By), e.Tool, e.Text)
}

func (e PermissionRevoked) String() string {
	return sentence("the approval remembered as of %s was revoked%s%s", e.Remembered, by(e.By), because(e.Reason))
}
