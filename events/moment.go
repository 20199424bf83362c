package events

// Moment names a moment in the history of an agent, as people write it after --at: a revision, a time, or a turn. A time and a turn
// last: as of such a moment means as of its end, and from such a moment on means from its beginning.
type Moment struct {
	Form     MomentForm
	Revision Revision // of MomentRevision
	Begin    Micros   // of MomentTime: the moment is from here
	End      Micros   // of MomentTime: to here, without it; EndOfTime: from Begin on
	Turn     int      // of MomentTurn: its number, from 1
	Round    int      // of MomentTurn: only this round of it, from 1; 0 is all of the turn
}

// MomentForm says how a moment is named.
type MomentForm int

// The forms of a moment.
const (
	MomentLatest   MomentForm = iota // as far as history has come
	MomentRevision                   // 31
	MomentTime                       // 14:02:11
	MomentTurn                       // turn:3, turn:3.1
)

// AtRevision is the moment of one event; NoRevision is the latest.
func AtRevision(revision Revision) Moment {
	if revision == NoRevision {
		return Moment{}
	}
	return Moment{Form: MomentRevision, Revision: revision}
}

// EndOfTime is after every time that can be written.
const EndOfTime Micros = 1 << 62

// Onward is all time from the beginning of a time on; other moments are as they are. A part of history that begins with a time begins
// with the first event from then on, also if the time was before everything.
func (m Moment) Onward() Moment {
	if m.Form == MomentTime {
		m.End = EndOfTime
	}
	return m
}
