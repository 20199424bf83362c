package eventstoretest

import "google.golang.org/grpc/codes"

// Profile is how one version answers, where versions differ. The named ones are what servers of these versions were seen to answer; a test
// may change a fact to see what rests on it.
type Profile struct {
	Version string

	// Of $all.
	InvalidPlace string // what a counted read from no place is told: "InvalidPosition" or "Error"
	LateRefusal  bool   // a subscription from no place is confirmed before it is refused, with InvalidArgument instead of Unknown
	Checkpoints  Checkpoints
	AtTheEnd     bool // a filtered subscription names a checkpoint when it has caught up
	Endless      bool // that one is 2^64-1/2^64-1 when nothing has matched yet

	// Of streams.
	LastPosition bool // a read ends with the stream's last revision
	EarlyFailure bool // a subscription from the end of a stream that was tombstoned fails, as others do, and does not wait for ever
	Waits        bool // a subscription to a stream that is not there has caught up when it is there, not at once
	DataOnly     bool // what an append may hold counts data, not metadata and types

	// Of the protocol.
	Features  bool       // there is a call that tells the server's version and methods
	CaughtUp  bool       // subscriptions say when they have caught up
	Nonsense  codes.Code // what requests that make no sense are told
	Elections bool       // appends that an election interrupts are told that they timed out; otherwise their calls end without an answer
}

// Checkpoints is which place a filtered subscription names that reads the past, after each interval.
type Checkpoints int

// The places.
const (
	PageBegin  Checkpoints = iota // where the last page began, with prepare 0, or the last event that was sent
	PageEnd                       // where the next page begins, with prepare 0: at the end of the store, where the next event will stand
	LastLooked                    // the last event that was looked at
)

// Version21 lacks calls and messages that later versions have. It was not run: this is what the protocol's history says.
func Version21() Profile {
	return Profile{Version: "21.6.0", InvalidPlace: "Error", Checkpoints: PageBegin, Waits: true, DataOnly: true, Nonsense: codes.Unknown}
}

// Version23 is 23.10.6.
func Version23() Profile {
	return Profile{
		Version: "23.10.6", InvalidPlace: "Error", Checkpoints: PageBegin,
		LastPosition: true, Waits: true, DataOnly: true, Features: true, CaughtUp: true, Nonsense: codes.Unknown,
	}
}

// Version24 is 24.10.4, and stands for all from 24.2 on.
func Version24() Profile {
	return Profile{
		Version: "24.10.4", InvalidPlace: "InvalidPosition", LateRefusal: true, Checkpoints: PageBegin, AtTheEnd: true, Endless: true,
		LastPosition: true, EarlyFailure: true, Features: true, CaughtUp: true, Nonsense: codes.Unknown, Elections: true,
	}
}

// Version24Mended is 24.10.5.
func Version24Mended() Profile {
	p := Version24()
	p.Version, p.Checkpoints, p.Endless = "24.10.5", LastLooked, false
	return p
}

// Version25 is 25.0.0.
func Version25() Profile {
	p := Version24Mended()
	p.Version, p.Checkpoints = "25.0.0", PageEnd
	return p
}

// Profiles are all versions, oldest first.
func Profiles() []Profile {
	return []Profile{Version21(), Version23(), Version24(), Version24Mended(), Version25()}
}
