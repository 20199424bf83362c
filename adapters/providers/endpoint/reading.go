package endpoint

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Reply puts a reply together from the frames of its stream, as one dialect has them.
type Reply interface {
	Take(frame Frame) bool // false: there is nothing more to take
	Begun() bool           // something of the model has come: the reply is paid for
	Progress() Progress
	Answer() (actors.ModelResponse, error) // the whole reply, once the model has said why it stopped
}

// Progress is what has come of a reply.
type Progress struct {
	Begun  bool   // anything that belongs to a reply
	Ended  bool   // the model has said why it stopped
	Where  string // such as "within call 2"
	Broken []byte // the frame that cannot be read, if there is one
	Said   *Said  // an error within it
	Err    error  // it cannot be used; a [actors.ModelError] has its own class
	Usage  events.Usage

	// What the endpoint itself counted; 0: it does not say.
	Input, Output int64
	Caching       bool // it says what it took from its cache
}

// Asked is a request as it was made.
type Asked struct {
	Question *actors.ModelRequest
	Limit    int64 // of the reply, in tokens; 0: none was asked for
	Lowered  bool  // so that the reply fits the window beside the conversation
}

// Read reads a reply to its end. A reply that was finished is complete, whatever became of the connection afterwards.
func (c *Call) Read(asked Asked, body io.ReadCloser, reply Reply) (actors.ModelResponse, error) {
	stream := NewFrames(body)
	for {
		frame, more := stream.Next()
		if !more || !reply.Take(frame) {
			break
		}
		if reply.Begun() {
			c.Begun()
		}
	}
	p := reply.Progress()
	if err := body.Close(); err != nil && stream.Err() == nil && !p.Ended {
		return actors.ModelResponse{}, c.Unanswered(c.endpoint.Unreached(err))
	}
	if err := c.gone(); err != nil {
		return actors.ModelResponse{}, err
	}
	answer, err := c.conclude(asked.Question, &p, stream, reply)
	if err != nil {
		return actors.ModelResponse{}, err
	}
	if !c.endpoint.Own {
		if cut := CutSilently(asked.Question, p.Input, p.Caching, answer.Usage); cut != nil {
			return actors.ModelResponse{}, cut
		}
	}
	asked.bound(&answer, p.Output)
	failure := windowMet(asked.Question, &answer, p.Input+p.Output)
	if failure == nil && p.Output == 0 {
		failure = unread(asked.Question, &answer)
	}
	if failure != nil {
		return actors.ModelResponse{}, failure
	}
	return answer, nil
}

// conclude gives the reply, or why there is none.
func (c *Call) conclude(question *actors.ModelRequest, p *Progress, stream *Frames, reply Reply) (actors.ModelResponse, error) {
	e := c.endpoint
	switch {
	case p.Said != nil:
		refused := e.Refused(0, *p.Said, 0)
		if !reply.Begun() {
			return actors.ModelResponse{}, refused // it may mean the way of asking
		}
		refused.Usage = p.Usage
		if refused.Class == events.ErrorContext { // llama.cpp's servers say so when the reply fills their window
			Overflow(refused.ModelError, question, p.Said)
		}
		return actors.ModelResponse{}, refused.ModelError
	case p.Err != nil:
		return actors.ModelResponse{}, e.unusable(p, p.Err)
	case !p.Ended || p.Broken != nil:
		return actors.ModelResponse{}, c.Unanswered(e.BrokenOff(*p, stream))
	}
	answer, err := reply.Answer()
	if err != nil {
		return actors.ModelResponse{}, e.unusable(p, err)
	}
	return answer, nil
}

// unusable is the failure of a reply that cannot be used.
func (e *Endpoint) unusable(p *Progress, err error) *actors.ModelError {
	failure := &actors.ModelError{Class: events.ErrorInvalid, Detail: err.Error()}
	if errors.As(err, &failure) {
		failure = new(*failure)
	}
	failure.Detail = e.Failed(failure.Class, failure.Detail, 0).Detail
	if p.Begun && failure.Usage.Total() == 0 {
		failure.Usage = p.Usage
	}
	return failure
}

// bound finds out what a reply met that stopped for its length, if it was not the limit that the agent has. output is what the endpoint counted; it may count
// a little otherwise than it limits.
func (a *Asked) bound(answer *actors.ModelResponse, output int64) {
	if answer.Stop != events.StopLength || answer.Met != "" {
		return
	}
	switch wanted := a.Question.Reply; {
	case a.Lowered:
		answer.Met = events.BoundWindow
	case a.Limit > 0 && (a.Limit < wanted || output > 0 && output < a.Limit*9/10):
		answer.Met = events.BoundEndpoint
	}
}

// windowMet is the failure of a reply of which nothing came because the conversation fills the model's window, of so many tokens; nil if that is not so.
func windowMet(question *actors.ModelRequest, answer *actors.ModelResponse, window int64) *actors.ModelError {
	if answer.Met != events.BoundWindow || strings.TrimSpace(answer.Text) != "" || len(answer.Calls) > 0 {
		return nil
	}
	failure := &actors.ModelError{Class: events.ErrorContext, Detail: "the conversation leaves no room for a reply in the model's window", Usage: answer.Usage}
	if window < LeastWindow {
		window = 0
	}
	completeOverflow(failure, question, window, 0)
	return failure
}

// leastUnread is the size of a request, in tokens, from which an endpoint may have left it unread: no window that agents work in is much smaller.
const leastUnread = 3500

// unread is the failure of a reply without a single token, of which the model was told once already; nil if it is not such a one. LM Studio answers so, with
// status 200 and no word of it, when the conversation does not fit the window that the model was loaded with. A first such reply is an empty one: some endpoints
// give those now and then, and another attempt helps.
func unread(question *actors.ModelRequest, answer *actors.ModelResponse) *actors.ModelError {
	conversation, fixed := Sizes(question)
	sent, last := TokensOf(conversation+fixed), len(question.Messages)-1
	if answer.Fault != events.FaultEmpty || len(answer.Blocks) > 0 || sent < leastUnread || last < 0 || question.Messages[last].Role != sagas.RoleContext {
		return nil
	}
	failure := &actors.ModelError{Class: events.ErrorContext, Usage: answer.Usage, Detail: fmt.Sprintf("the endpoint answered about %d tokens with none, again, and "+
		"does not say why: servers such as LM Studio do so when the conversation does not fit the context length that the model was loaded with; load it with a longer one", sent)}
	completeOverflow(failure, question, 0, 0)
	return failure
}
