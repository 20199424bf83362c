package actorstest

import (
	"context"

	"example.com/life/actors"
)

// FakeModel is a model made of one function, for tests of whatever asks models. The function must keep the duties of
// actors.Model itself; delta is never nil.
type FakeModel func(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error)

// Ask calls the function.
func (f FakeModel) Ask(ctx context.Context, question actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
	if delta == nil {
		delta = func(actors.Delta) {}
	}
	return f(ctx, question, delta)
}
