// Package events is the contract of Life: it defines every event there is.
//
// An event is a past-tense struct of plain values. Its Kind is permanent; its Go name may change. What happened is stored as JSON
// inside an [Envelope]; the [Catalog] lists every kind with its version, and the upcasts that carry older versions forward.
// Identities are distinct types, money is an integer, 64-bit numbers are strings in JSON (a test holds every event to it), and
// payloads over [InlineLimit] are blobs.
//
// The package is pure: no context, clock, randomness, goroutine, I/O or log. It may import the standard library,
// google/uuid and zeebo/blake3 and nothing else.
//
// To add an event: write its struct in its family's file, list it in [Catalog], and run the tests with -rewrite to add
// testdata/<kind>@<version>.json. Those files never change: to change an event's shape, raise its version and write an upcast.
package events

// Kind is an event's permanent name: "<family>.<past participle>", lower case.
type Kind string

// Event is something that happened.
type Event interface {
	// Kind returns the permanent name.
	Kind() Kind
	// String says in one sentence what happened, for logs, the command line and the console.
	String() string
}
