package sagas

import (
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
)

// A route is a model that stands for several: "route/NAME". Its candidates are part of the agent's configuration, so which of them is asked
// follows from the agent's own events: the first that fits the turn's mode, needs and size. One that fails is left for the rest of the turn:
// after two failures that another attempt could mend, at once where waiting takes long or does not help. A reply comes from one model.

// RoutePrefix begins the names of models that are routes.
const RoutePrefix = "route/"

// Bounds of a route.
const (
	MaxCandidates   = 16
	routeFailures   = 2                  // of one candidate in a row
	routeLongWait   = 20 * events.Second // that an endpoint asks for
	maxRouteContext = mostCounted / bytesPerToken
)

// ValidateRoute reports what makes no sense in a route, as a *RefusalError.
func ValidateRoute(candidates []events.Candidate) error {
	if len(candidates) > MaxCandidates {
		return refuse(RefusedInvalid, "the route has %d candidates, at most %d are possible", len(candidates), MaxCandidates)
	}
	for i, c := range candidates {
		switch {
		case c.Model == "" || strings.HasPrefix(c.Model, RoutePrefix):
			return refuse(RefusedInvalid, "candidate %d is %q: want a model as provider/model, and no route", i+1, c.Model)
		case slices.ContainsFunc(candidates[:i], func(o events.Candidate) bool { return o.Model == c.Model }):
			return refuse(RefusedInvalid, "candidate %d: %s is in the route twice", i+1, c.Model)
		case c.MaxContext < 0 || c.MaxContext > maxRouteContext:
			return refuse(RefusedInvalid, "candidate %d (%s): max_context is %d tokens", i+1, c.Model, c.MaxContext)
		}
		for _, mode := range c.Modes {
			if err := mode.Validate(); err != nil {
				return refuse(RefusedInvalid, "candidate %d (%s): %v", i+1, c.Model, err)
			}
		}
		for _, need := range c.Needs {
			if need != events.NeedTools && need != events.NeedThinking {
				return refuse(RefusedInvalid, "candidate %d (%s) needs %q, want %s or %s", i+1, c.Model, need, events.NeedTools, events.NeedThinking)
			}
		}
	}
	return nil
}

// model is the model that the turn asked last, or would ask.
func (t *Turn) model() string {
	if t.Asked != "" {
		return t.Asked
	}
	return t.Config.Model
}

// asks notes whose window counts, and who is asked.
func (t *Turn) asks(model string) {
	if t.Asked != model {
		t.Troubles = 0
	}
	t.Asked = model
}

// choose is the model to ask next, and why it is that one. Without a route it is the configured one.
func (a *Agent) choose() (model, because string) {
	t := &a.Turn
	if len(t.Config.Route) == 0 {
		return t.Config.Model, ""
	}
	conversation := a.closed()
	tokens := (conversation.Bytes + bytesPerToken - 1) / bytesPerToken
	if t.ByWindow {
		tokens = (conversation.size() + bytesPerToken - 1) / bytesPerToken
	}
	if i := a.candidate(t.Left, tokens); i >= 0 {
		return t.Config.Route[i].Model, a.because(i, tokens)
	}
	for i := range t.Config.Route { // one whose window is too small holds what is compacted
		if c := &t.Config.Route[i]; !slices.Contains(t.Left, c.Model) && a.unmeant(c, tokens) == "" {
			return c.Model, "no candidate holds all of the conversation"
		}
	}
	// Nothing fits: the last that was not left, whatever it is meant for.
	for i := len(t.Config.Route) - 1; i >= 0; i-- {
		if c := &t.Config.Route[i]; !slices.Contains(t.Left, c.Model) {
			return c.Model, "no candidate fits"
		}
	}
	return t.model(), "no candidate is left"
}

// candidate is the first that fits and was not left; -1: none is.
func (a *Agent) candidate(left []string, tokens int64) int {
	return slices.IndexFunc(a.Turn.Config.Route, func(c events.Candidate) bool {
		return !slices.Contains(left, c.Model) && a.misfit(&c, tokens) == ""
	})
}

// misfit is why a candidate does not fit; empty: it does.
func (a *Agent) misfit(c *events.Candidate, tokens int64) string {
	if why := a.unmeant(c, tokens); why != "" || !a.Turn.ByWindow {
		return why
	}
	if known := a.learnt(c.Model); known > 0 && tokens > known {
		return fmt.Sprintf("holds about %d tokens of a conversation of about %d", known, tokens)
	}
	return ""
}

// unmeant is why a candidate is not meant for the turn; empty: it is.
func (a *Agent) unmeant(c *events.Candidate, tokens int64) string {
	switch {
	case len(c.Modes) > 0 && !slices.Contains(c.Modes, a.mode()):
		return fmt.Sprintf("is not for mode %s", a.mode())
	case c.MaxContext > 0 && tokens > c.MaxContext:
		return fmt.Sprintf("takes at most %d tokens of a conversation of about %d", c.MaxContext, tokens)
	case slices.Contains(c.Needs, events.NeedTools) && len(a.Turn.Config.Tools) == 0:
		return "is for turns with tools"
	case slices.Contains(c.Needs, events.NeedThinking) && !thinks(a.Turn.Config.Thinking):
		return "is for turns that think"
	}
	return ""
}

// thinks reports whether a configuration asks a model to think.
func thinks(t events.Thinking) bool {
	return t.Effort != events.EffortOff && (t.Effort != "" || t.Budget > 0)
}

// because says why a candidate is the one: what is the matter with those before it.
func (a *Agent) because(chosen int, tokens int64) string {
	var parts []string
	for i := range a.Turn.Config.Route[:chosen] {
		c := &a.Turn.Config.Route[i]
		if slices.Contains(a.Turn.Left, c.Model) {
			parts = append(parts, c.Model+" failed")
		} else {
			parts = append(parts, c.Model+" "+a.misfit(c, tokens))
		}
	}
	if len(parts) == 0 {
		return "first that fits"
	}
	return strings.Join(parts, "; ")
}

// leaves reports whether a failure makes the turn go on with another candidate.
func (a *Agent) leaves(c *ReplyFailed) bool {
	t := &a.Turn
	if len(t.Config.Route) == 0 || a.candidate(append(slices.Clone(t.Left), t.model()), a.Conversation.Bytes/bytesPerToken) < 0 {
		return false
	}
	switch c.Class {
	case events.ErrorOverloaded, events.ErrorTimeout, events.ErrorTruncated, events.ErrorRateLimited:
		return t.Troubles+1 >= routeFailures || c.RetryAfter > routeLongWait
	case events.ErrorContext, events.ErrorAuth, events.ErrorInvalid:
		return true
	case events.ErrorCancelled: // by us
	case events.ErrorRefused: // by its policy: going from model to model until one agrees is not what a route is for
	}
	return false
}
