package projector

// phase is where a reading is in its life. It begins unread, and is dropped at last:
//
//	unread ──► building ──► live ◄──► behind      its state was loaded; it arrived at the end of history; the tail left it behind
//	    └─────────────────────────────► behind    what was loaded had been at the end before
//	any of these ──► stopped, doubtful            by an event that it cannot fold
//	stopped ──► building, behind                  that event is skipped
//	any ──► dropped
//
// The methods below are all that change it: restored, left, stop and resume with the reading's lock held, the others take it.
type phase int

const (
	unread   phase = iota // its stored state was not looked for
	building              // it was never at the end of history: it cannot answer
	behind                // it was at the end once: it answers as of where it is
	live                  // it is at the end, and what follows is handed to it
	stopped               // it goes no further: it answers as of there
	doubtful              // so, and its fold may be half changed: it cannot answer, a sound one is put in its place
	dropped               // another has taken its place, or its projection was removed
)

// phases are their names, and how each is shown.
//
//nolint:gochecknoglobals // never written to
var phases = [...]struct {
	name  string
	state State
}{
	unread: {"unread", StateBuilding}, building: {"building", StateBuilding}, behind: {"behind", StateCatchingUp}, live: {"live", StateLive},
	stopped: {"stopped", StateStopped}, doubtful: {"doubtful", StateStopped}, dropped: {"dropped", StateCatchingUp},
}

// String names the phase.
func (p phase) String() string { return phases[p].name }

// active reports whether a reading takes events.
func (p phase) active() bool { return p < stopped }

// loaded notes that the stored state was looked for; built says that it is one that was at the end of history.
func (r *reading) loaded(built bool) {
	switch {
	case r.phase != unread:
	case built:
		r.phase = behind
	default:
		r.phase = building
	}
}

// arrive notes that the reading is at the end of history, or as near as it comes, and reports whether it is there for the first time.
func (r *reading) arrive() (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.phase == stopped || r.phase == doubtful:
		first, r.resumes = r.resumes == building, behind
	case r.phase.active():
		first, r.phase = r.phase <= building, live
	}
	return first
}

// fellBehind notes that history went on without the reading: it is to be read up to there.
func (r *reading) fellBehind() {
	if r.phase == live {
		r.phase = behind
	}
	r.fed = false
}

// stop notes that the reading goes no further than before an event; inDoubt says that its fold may hold a part of it.
func (r *reading) stop(at *Stopped, inDoubt bool) {
	if !r.phase.active() {
		return
	}
	if r.resumes = behind; r.phase <= building {
		r.resumes = building
	}
	if r.phase = stopped; inDoubt {
		r.phase = doubtful
	}
	r.stopped = at
}

// resume notes that the event before which the reading stopped is skipped.
func (r *reading) resume() {
	if r.phase == stopped {
		r.phase, r.stopped, r.fed = r.resumes, nil, false
	}
}

// untouched reports whether nothing was read for it, and nothing is about to be.
func (r *reading) untouched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == unread && !r.fed
}

// drop ends whatever feeds the reading.
func (r *reading) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = dropped
}
