package sagas

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// Questions. A call that was sent may answer with a question in place of a result (RecordQuestion). It then waits for a person as one that needs approval does:
// durably, with nothing running for it. The answer is an event, and the call is sent again with all that was answered (AskTool.Answers), as a request of its
// own. If we die after question.asked, the question waits; after question.answered, which is one decision with tool.requested, the call is sent. An answer that
// was sent twice is recorded once: after the first, the call does not wait.

// Bounds of questions.
const (
	MostQuestions       = 20 // of one call
	mostQuestionOptions = 20
	mostQuestion        = 8 << 10 // bytes of a question, and of all its options
	mostAnswer          = 16 << 10
)

// RecordQuestion is the response to AskTool of a call that cannot go on without a person's answer.
type RecordQuestion struct {
	Meta
	Request events.RequestID
	Call    events.CallID
	events.Question
	Masked []events.Masked // by the host
}

// Answer answers a call's question. Turn and Digest are as in Approve.
type Answer struct {
	Meta
	Turn   events.TurnID   `json:"turn,omitempty"`
	Call   events.CallID   `json:"call,omitempty"`
	Digest string          `json:"digest,omitempty"`
	Answer string          `json:"answer"`
	By     string          `json:"by,omitempty"`
	Masked []events.Masked `json:"-"` // the host masks, and counts
}

// recordQuestion has a call wait for an answer. It is not asked where nobody is there to answer: the model is told.
func (d *decision) recordQuestion(c RecordQuestion) error {
	t := &d.agent.Turn
	call := t.sent(c.Request)
	if call == nil || call.ID != c.Call {
		return ErrStale
	}
	asked := d.question(call, boundedQuestion(c.Question))
	asked.Request, asked.Masked = c.Request, c.Masked
	switch {
	case t.Config.Policy.OnAsk == events.AskDeny:
		d.record(asked)
		d.refuseCall(c.Call, call.Tool, unavailable)
		d.proceed()
	case len(call.Answers) >= MostQuestions:
		d.record(asked)
		d.refuseCall(c.Call, call.Tool, "the call has asked more questions than one call may")
		d.proceed()
	default:
		asked.Expires = d.at + t.Limits.ApprovalTime
		d.record(asked)
	}
	return nil
}

func (d *decision) question(call *Call, q events.Question) events.QuestionAsked {
	return events.QuestionAsked{Turn: d.agent.Turn.ID, Call: call.ID, Tool: call.Tool, Digest: call.Digest, Question: q}
}

// questionAgain asks in a fork what waited in its parent.
func (d *decision) questionAgain(call *Call) {
	asked := d.question(call, *call.Asked)
	if d.agent.Turn.Config.Policy.OnAsk == events.AskDeny {
		d.refuseCall(call.ID, call.Tool, unavailable)
		return
	}
	asked.Expires = d.at + d.agent.Turn.Limits.ApprovalTime
	d.record(asked)
}

// unavailable is what the model is told of a question that nobody is there to answer.
const unavailable = "question_unavailable: nobody is there to answer (on_ask is deny). Decide by yourself, or say in the reply what has to be known"

// boundedQuestion cuts what a tool asks to what is stored and shown.
func boundedQuestion(q events.Question) events.Question {
	q.Text = events.Clip(valid(q.Text), mostQuestion)
	var options []string // nil if there are none, as stored
	left := mostQuestion
	for _, option := range q.Options[:min(len(q.Options), mostQuestionOptions)] {
		option = events.Cut(valid(option), left)
		options, left = append(options, option), left-len(option)
	}
	q.Options = options
	return q
}

// recordAnswer sends the call that asked again, with what was answered.
func (d *decision) recordAnswer(c Answer) error {
	if err := d.agent.movedOn(c.Turn); err != nil {
		return err
	}
	if call := d.agent.Turn.call(c.Call); call == nil || call.Stage != CallWaiting || call.Asked == nil {
		return refuse(RefusedState, "call %s of %s does not wait for an answer", c.Call, d.agent.ID)
	}
	call, err := d.agent.waitingCall(c.Turn, c.Call, c.Digest)
	if err != nil {
		return err
	}
	switch {
	case d.agent.over(call.Expires, d.at):
		return refuse(RefusedState, "the time to answer call %s of %s is over", c.Call, d.agent.ID)
	case c.Answer == "":
		return refuse(RefusedInvalid, "the answer is empty: deny the call to leave its question unanswered")
	case len(c.Answer) > mostAnswer:
		return refuse(RefusedInvalid, "the answer has %d bytes, and at most %d are taken", len(c.Answer), mostAnswer)
	}
	d.record(events.QuestionAnswered{Call: c.Call, Answer: valid(c.Answer), By: valid(c.By), Masked: c.Masked})
	d.sendCall(d.agent.Turn.call(c.Call))
	return nil
}

// applyQuestion folds what a call asks, and what it is answered.
func (t *Turn) applyQuestion(event events.Event) {
	switch e := event.(type) {
	case events.QuestionAsked:
		t.update(e.Call, func(c *Call) { c.Stage, c.Request, c.Expires, c.Asked = CallWaiting, "", e.Expires, &e.Question })
	case events.QuestionAnswered:
		t.update(e.Call, func(c *Call) { c.Answers, c.Asked = append(slices.Clip(c.Answers), e.Answer), nil })
	}
}

// TodoTool is the tool by which a model keeps a list of what is to be done. The list is what the arguments of its latest call that succeeded say.
const TodoTool = "todo_write"

// MostTodos is how many bytes the arguments of a list may have: they stay within their event.
const MostTodos = 16 << 10

// Todo is one thing to be done.
type Todo struct {
	Text   string     `json:"text"`
	Status TodoStatus `json:"status"`
}

// TodoStatus is how far it has come.
type TodoStatus string

// The statuses.
const (
	TodoPending   TodoStatus = "pending"
	TodoRunning   TodoStatus = "in_progress"
	TodoCompleted TodoStatus = "completed"
)

// Known reports whether it is one of the statuses.
func (s TodoStatus) Known() bool { return s == TodoPending || s == TodoRunning || s == TodoCompleted }

// ShowTodos is a list as models and people read it.
func ShowTodos(todos []Todo) string {
	marks := map[TodoStatus]string{TodoPending: "[ ] ", TodoRunning: "[>] ", TodoCompleted: "[x] "}
	lines := make([]string, len(todos))
	for i, todo := range todos {
		lines[i] = strconv.Itoa(i+1) + ". " + marks[todo.Status] + strings.Join(strings.Fields(todo.Text), " ")
	}
	return strings.Join(lines, "\n")
}

// noteTodos keeps the list of a call that succeeded.
func (a *Agent) noteTodos(e *events.ToolReturned) {
	call := a.Turn.call(e.Call)
	if e.Failed || call == nil || call.Tool != TodoTool || call.Blob != nil {
		return
	}
	a.Todos = TodosOf(call.Arguments) // its tool has checked them
}

// TodosOf is the list that the arguments of a call hold; nil if they hold none.
func TodosOf(arguments json.RawMessage) []Todo {
	var list struct {
		Todos []Todo `json:"todos"`
	}
	if json.Unmarshal(arguments, &list) != nil || len(list.Todos) == 0 {
		return nil
	}
	return list.Todos
}

// planned tells the model its list where it may not see the call any more by which it wrote it.
func (a *Agent) planned() string {
	c := &a.Conversation
	if len(a.Todos) == 0 || c.Summary == nil && c.Dropped == 0 && compacts(&a.Turn.Config) {
		return ""
	}
	return "Your list of what is to be done, as " + TodoTool + " had it last:\n" + ShowTodos(a.Todos)
}
