package actors

import (
	"cmp"
	"time"
)

// limits bound what a host does. Zero means the default; only tests set others.
type limits struct {
	Waiting    int // commands that wait for one entity, more are refused: 1,024
	ModelCalls int // at the same time: 256
	ToolCalls  int // at the same time: 64

	Answers int // bytes of answers that wait in memory to be stored, beyond they go to the blob store: 64 MiB

	Append    time.Duration // storing a decision, retries included: 15 s
	Advice    time.Duration // after which the turn goes on in its last mode: 250 ms
	Knowledge time.Duration // after which the turn goes on without what is known: 2 s
	Model     time.Duration // one attempt at a model's reply: 2 h; silence ends it much sooner, and the turn's own time limit
	Tool      time.Duration // a tool that names no time of its own: 10 min
}

// completed has the defaults where nothing is set.
func (l limits) completed() limits {
	return limits{
		Waiting: cmp.Or(l.Waiting, 1024), ModelCalls: cmp.Or(l.ModelCalls, 256), ToolCalls: cmp.Or(l.ToolCalls, 64), Answers: cmp.Or(l.Answers, 64<<20),
		Append: cmp.Or(l.Append, 15*time.Second), Advice: cmp.Or(l.Advice, 250*time.Millisecond), Knowledge: cmp.Or(l.Knowledge, 2*time.Second),
		Model: cmp.Or(l.Model, 2*time.Hour), Tool: cmp.Or(l.Tool, 10*time.Minute),
	}
}
