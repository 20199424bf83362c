package actors

import (
	"errors"
	"slices"
	"time"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// following is what a fork's actor knows of the parent that it follows. Of the parent's recording it has a page at a time, and the parent's fold
// before the next decision. All of it can be had again: how far the fork has come stands in its own history.
//
// If we die after a step is stored, the next activation goes on with the one after it; if we die before, with that step, which has
// had no effect: what the tape answers asks nobody. Leaving the tape is stored before anybody else is asked.
type following struct {
	parent  sagas.Agent // before the next step
	page    []events.Envelope
	next    events.Revision // of the parent, after the page
	step    *sagas.Step
	held    []*instruction // answers that came before their turn
	begun   bool           // the parent's fold is there
	ended   string         // why the recording can be read no further
	reading bool
	moving  bool // a move is being stored, or the workspace is being brought up to date
}

// Messages between a fork's actor and its own tasks.
type (
	// recordingRead is a page of the parent's recording.
	recordingRead struct {
		parent *sagas.Agent // the fold before it, at first
		page   storage.Page
		err    error
	}
	// deferred is an answer of homeostasis, or of the knowledge actor, that waits for its turn in the order of the parent.
	deferred struct{ instruction *instruction }
	// restored says that the fork's workspace is as the tape's answers say, so that the move can be made.
	restored struct {
		move sagas.Move
		err  error
	}
	// next has the fork make its next move.
	next struct{}
	// goOn has the fork try again what failed.
	goOn struct{}
)

// followAgain is how long a fork waits before it reads a recording again that could not be read.
const followAgain = time.Second

// pump makes one move after another, until there is something to wait for.
func (a *agent) pump() {
	if a.follow == nil {
		if !a.saga.Fork.Following() {
			return
		}
		a.follow = &following{}
	}
	f := a.follow
	if len(a.flying) == 0 && len(a.queue) > 0 { // decided first; it may come to nothing, and nobody is told
		a.send(next{})
		return
	}
	for !f.reading && !f.moving && len(a.flying) == 0 && !a.dead && !a.leaving && !a.host.closing.Load() && a.saga.Fork.Following() {
		if !a.readStep() {
			return
		}
		held := make([]sagas.Command, len(f.held))
		for i, in := range f.held {
			held[i] = in.command
		}
		move := a.saga.Follow(sagas.Followed{Parent: &f.parent, Step: f.step, Ended: f.ended, Held: held, At: storage.Now()})
		switch move.Kind {
		case sagas.MoveWait:
			return
		case sagas.MovePass:
			f.pass()
		case sagas.MoveDecide:
			a.move(move, events.NewRef(events.AgentStream(a.saga.Fork.Parent), f.step.First))
		case sagas.MoveHear:
			in := f.held[move.Heard]
			f.held = slices.Delete(f.held, move.Heard, move.Heard+1)
			a.move(move, in.causation)
		case sagas.MoveLeave, sagas.MoveFinish:
			a.leaveTape(move)
		}
	}
	if !a.saga.Fork.OnTape() {
		a.takeHeld()
	}
}

// takeHeld takes what was held back.
func (a *agent) takeHeld() {
	held := a.follow.held
	a.follow.held = nil
	for _, in := range held {
		a.instruct(in)
	}
}

// move decides a command. What the fork refuses it records.
func (a *agent) move(move sagas.Move, causation events.Ref) {
	f, step := a.follow, a.follow.step
	f.moving = true
	a.instruct(&instruction{command: move.Command, origin: a.host.origin, causation: causation, done: func(o outcome) {
		f.moving = false
		if step == nil || a.dead {
			return
		}
		if skip := sagas.Skipped(step, o.err, storage.Now()); skip != nil && move.Kind == sagas.MoveDecide {
			a.move(sagas.Move{Kind: sagas.MoveHear, Command: skip, Over: true}, causation)
			return
		}
		if move.Over && (o.err == nil || errors.Is(o.err, sagas.ErrStale)) {
			f.pass()
		}
	}})
}

// pass goes on to the parent's next step.
func (f *following) pass() {
	if f.step == nil {
		return
	}
	f.parent = f.parent.Pass(f.step)
	f.step = nil
}

// readStep makes the next step from what was read of the recording, or has more of it read. At the recording's end there is none.
func (a *agent) readStep() bool {
	f := a.follow
	if f.step != nil {
		return true
	}
	if f.ended != "" || f.begun && f.parent.Revision >= a.saga.Fork.Until {
		return true
	}
	end := decisionEnd(f.page, a.saga.Fork.Until)
	if end == 0 {
		a.readRecording()
		return false
	}
	facts := make([]sagas.Fact, 0, end)
	for i := range f.page[:end] {
		fact, err := sagas.FactOf(&f.page[i])
		if err != nil {
			a.endRecording(err)
			return true
		}
		facts = append(facts, fact)
	}
	step, err := f.parent.NextStep(facts)
	if err != nil {
		a.endRecording(err)
		return true
	}
	f.step, f.page = &step, f.page[end:]
	return true
}

// decisionEnd is how many events the first decision of a page has; 0 when the page may not have all of it.
func decisionEnd(page []events.Envelope, until events.Revision) int {
	for i := range page {
		if page[i].Command != page[0].Command {
			return i
		}
		if page[i].Revision >= until {
			return i + 1
		}
	}
	return 0
}

// readRecording reads on, beside the actor: at first the parent's fold as of how far the fork has come.
func (a *agent) readRecording() {
	f, fork, send, host := a.follow, a.saga.Fork, a.send, a.host
	f.reading = true
	begun, next := f.begun, f.next
	host.run(func() {
		stream := events.AgentStream(fork.Parent)
		var read recordingRead
		if !begun {
			parent, end, err := history.FoldStream(host.running, host.Reader, history.AgentFold(), stream, fork.Done)
			read.parent, read.err, next = &parent, err, end.Revision+1
		}
		if read.err == nil && next <= fork.Until {
			read.page, read.err = host.journal.Read(host.running, stream, next, storage.Forward, storage.Limit{})
		}
		send(read)
	})
}

// receiveDeferred is receive for the messages of a fork that follows its parent.
func (a *agent) receiveDeferred(message any) {
	switch m := message.(type) {
	case recordingRead:
		a.taken(m)
	case deferred:
		if !a.saga.Fork.OnTape() {
			a.instruct(m.instruction)
			return
		}
		a.follow.held = append(a.follow.held, m.instruction)
	case restored:
		a.restored(m)
	case goOn:
		a.follow.reading, a.follow.moving = false, false
	}
	a.pump()
}

func (a *agent) taken(m recordingRead) {
	f := a.follow
	if m.err != nil {
		a.tryLater("read the recording of the parent", m.err)
		return
	}
	f.reading = false
	if m.parent != nil {
		f.parent, f.begun, f.next = *m.parent, true, m.parent.Revision+1
	}
	f.page = append(f.page, m.page.Events...)
	if n := len(m.page.Events); n > 0 {
		f.next = m.page.Events[n-1].Revision + 1
	}
}

// tryLater leaves the fork as it is for a while.
func (a *agent) tryLater(what string, err error) {
	if closed(err) {
		return // after the restart
	}
	a.host.log.Error("follow parent", "what", what, "fork", a.saga.ID, "parent", a.saga.Fork.Parent, "error", err)
	send := a.send
	time.AfterFunc(followAgain, func() { send(goOn{}) })
}

// endRecording notes that the recording can be read no further: for the fork it ends before the event that is in the way.
func (a *agent) endRecording(err error) {
	a.host.log.Warn("the recording of the parent ends early", "fork", a.saga.ID, "parent", a.saga.Fork.Parent, "after", a.follow.parent.Revision, "problem", err)
	a.follow.ended = "the recording cannot be read: " + err.Error()
}

// leaveTape makes the move with which the tape answers nothing more. Before it, the files of the fork's own workspace are made what the calls that
// the tape answered left, for they did not run here. If we die in between, it is done again.
func (a *agent) leaveTape(move sagas.Move) {
	files, own := a.saga.Files, a.host.forkWorkspace(a.saga.ID)
	if !a.saga.Fork.OnTape() || files == nil || own == "" || files.Workspace != own || files.Tree.Manifest == nil {
		a.move(move, "")
		return
	}
	f, send, host, tree := a.follow, a.send, a.host, files.Tree
	f.moving = true
	host.run(func() {
		_, err := host.workspaces.Replace(host.running, tree, own)
		send(restored{move, err})
	})
}

func (a *agent) restored(m restored) {
	if m.err != nil {
		a.tryLater("restore the workspace as the tape leaves it", m.err)
		return
	}
	a.follow.moving = false
	a.move(m.move, "")
}

// onTape reports whether the parent's recording answers a request of the fork.
func (a *agent) onTape(request sagas.Request) bool {
	if !a.saga.Fork.OnTape() {
		return false
	}
	switch request.(type) {
	case sagas.AskModel, sagas.AskTool, sagas.AskReserve, sagas.AskSettle, sagas.AskUndo:
		return true
	}
	return false
}
