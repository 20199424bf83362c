package endpoint

import (
	"example.com/life/actors"
	"example.com/life/events"
)

// ShownCalls shows the calls of a reply as they stream in, one after the other: of each its tool, its arguments piece by piece, and its end. Where the
// pieces of several alternate, the later calls wait. A watcher sees them; what runs is the calls of the whole reply alone.
type ShownCalls struct {
	delta func(actors.Delta)
	calls []*ShownCall
	at    int // all before this one have been shown
}

// ShownCall is what has come of a call.
type ShownCall struct {
	Tool      string // nothing is shown before it is known
	Arguments string // as far as the model has written them
	Whole     bool   // nothing of it can follow
	Torn      bool   // no more of it is shown: it was cut off, or came out of order

	place func() int
	block int
	begun bool
	shown int // bytes of the arguments
}

// NewShownCalls shows calls by delta.
func NewShownCalls(delta func(actors.Delta)) ShownCalls { return ShownCalls{delta: delta} }

// Begin adds a call. place is which of the blocks that stream in it is, once it does.
func (s *ShownCalls) Begin(place func() int) *ShownCall {
	call := &ShownCall{place: place}
	s.calls = append(s.calls, call)
	return call
}

// Pass passes on what has come since the last time.
func (s *ShownCalls) Pass() {
	for ; s.at < len(s.calls); s.at++ {
		c := s.calls[s.at]
		if c.Tool != "" && !c.Torn {
			s.show(c)
		}
		if !c.Whole && !c.Torn {
			return
		}
	}
}

func (s *ShownCalls) show(c *ShownCall) {
	piece := actors.Delta{Kind: events.BlockCall}
	if !c.begun {
		c.begun, c.block = true, c.place()
		piece.Block, piece.Tool = c.block, c.Tool
		s.delta(piece)
	}
	piece.Block, piece.Tool, piece.Offset = c.block, "", c.shown
	if len(c.Arguments) > c.shown {
		piece.Text, c.shown = c.Arguments[c.shown:], len(c.Arguments)
		s.delta(piece)
	}
	if c.Whole {
		piece.Offset, piece.Text, piece.Done = c.shown, "", true
		s.delta(piece)
	}
}
