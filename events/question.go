package events

import "strings"

// QuestionAsked records that a call asks a person something, and waits for the answer: what tools such as ask_user, and servers that they speak for, want to
// know before they can go on. It answers the call's tool.requested, which is sent again with the answer.
type QuestionAsked struct {
	Request RequestID `json:"request"` // that the call was sent by
	Turn    TurnID    `json:"turn"`
	Call    CallID    `json:"call"`
	Tool    string    `json:"tool"`
	Digest  string    `json:"digest"` // as in approval.requested
	Question
	Expires Micros   `json:"expires,string"`   // after which nobody is waited for; 0: nobody is there to be asked
	Masked  []Masked `json:"masked,omitempty"` // in it, by the host
}

// Question is what a person is asked.
type Question struct {
	Text    string   `json:"question"`
	Options []string `json:"options,omitempty"` // answers to choose from; another one can be given
}

// QuestionAnswered records what a person answered.
type QuestionAnswered struct {
	Call   CallID   `json:"call"`
	Answer string   `json:"answer"`
	By     string   `json:"by,omitempty"`
	Masked []Masked `json:"masked,omitempty"`
}

// Kind returns the permanent name.
func (QuestionAsked) Kind() Kind    { return "question.asked" }
func (QuestionAnswered) Kind() Kind { return "question.answered" }

func (e QuestionAsked) String() string {
	options := ""
	if len(e.Options) > 0 {
		options = " (" + strings.Join(e.Options, "; ") + ")"
	}
	return sentence("call %s of %s asks: %s%s", e.Call, e.Tool, Clip(VisibleLine(e.Text), AskedBytes), Clip(options, AskedBytes))
}

func (e QuestionAnswered) String() string {
	return sentence("the question of call %s was answered%s: %s", e.Call, by(e.By), Clip(VisibleLine(e.Answer), AskedBytes))
}
