// Package storage declares what Life needs of the stores beneath it, and the rules that all of them share: [Journal] keeps events, [Snapshots]
// caches folds of them, [Blobs] keeps large contents and [Workspaces] the files of agents. It holds no store: those are adapters, and each passes
// the conformance suite of its port in actors/actorstest. It knows events and nothing else of Life, so that a store links no actor.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"example.com/life/events"
)

// Journal is the event store as Life needs it. It has one conformance suite, actorstest.TestJournal, that every
// implementation passes. All methods are safe for concurrent use and return promptly when their context ends.
type Journal interface {
	// Append stores the batch at the end of the stream, whole or not at all, and returns once it is durable.
	//
	// The writer fills every field of each envelope but Stream, Revision and Position, which the journal may fill in. From then
	// on the batch is the journal's, whatever the answer: the writer may send it again and does nothing else with it. If the expectation does not hold the
	// error is a *ConflictError and nothing was stored, with one exception: when the stream already holds exactly these event ids
	// at the place the expectation names, the answer is success with the revisions they have (a retry after a lost answer).
	// Any other error leaves the outcome unknown: retry with the same event ids, or read back. An empty batch only checks
	// the expectation. ErrFull: the disk is full, nothing was stored, reads go on.
	Append(ctx context.Context, stream events.Stream, expected Expected, batch []events.Envelope) (Appended, error)

	// Read returns a page of one stream. Forward it starts at the first revision ≥ from; Backward at the last one ≤ from.
	// A stream that does not exist reads as an empty page whose Last is NoRevision.
	Read(ctx context.Context, stream events.Stream, from events.Revision, direction Direction, limit Limit) (Page, error)

	// ReadAll returns a page of the whole store: Forward the events behind a place, Backward those before it. A place that
	// the store did not give is ErrPlace. A filter may make a page empty without being the end: Page.End says so.
	ReadAll(ctx context.Context, from Place, direction Direction, filter Filter, limit Limit) (Page, error)

	// Subscribe delivers what is stored after a point and then what is appended, with no gap and no duplicate, in order.
	// A position that the store did not give is ErrPlace, here or from Next.
	Subscribe(ctx context.Context, from From) (Subscription, error)
}

// Beginner is a Journal that takes appends without anyone waiting for them, in line: appends are decided, and reach the disk, in the order
// in which they were begun. So one append can be begun on the strength of another that is not stored yet.
type Beginner interface {
	// Begin is Append, whose answer it gives to done: once, at the latest when ctx ends, from any goroutine, which done must not
	// hold up; it may be this one. When Begin returns, the append has its place in line.
	//
	// An append is stored only if everything it needs is: otherwise it is answered ErrNeeded, and nothing was stored. That holds through
	// a crash at any moment: no append is ever found there without those that it needs.
	Begin(ctx context.Context, begun Begun, done func(Appended, error))
}

// Roomy is a Journal that knows whether it is full.
type Roomy interface {
	// Room says why no append can be stored at the moment, by ErrFull, ErrReadOnly or the disk's failure; nil: there is room. It answers at once.
	Room() error
}

// Bounded is a Journal that takes less at once than MaxAppend.
type Bounded interface {
	// MaxAppend is the most that one batch may hold, in bytes as the store counts them.
	MaxAppend() int
}

// Begun is an append that nobody waits for.
type Begun struct {
	Stream   events.Stream
	Expected Expected
	Batch    []events.Envelope
	Ticket   *Ticket   // by which later appends may need this one; used once. nil: none will
	Needs    []*Ticket // of appends begun before
}

// Ticket stands for an append that was begun, before its answer is known. Its journal accepts it when it has decided to store the append.
type Ticket struct{ accepted atomic.Bool }

// Accept says that the append is in line for the disk, before everything that is decided later.
func (t *Ticket) Accept() {
	if t != nil {
		t.accepted.Store(true)
	}
}

// CheckNeeds returns ErrNeeded unless all tickets were accepted. A journal asks when an append's turn has come.
func CheckNeeds(stream events.Stream, needs []*Ticket) error {
	for _, t := range needs {
		if !t.accepted.Load() {
			return fmt.Errorf("append to %s: %w", stream, ErrNeeded)
		}
	}
	return nil
}

// Latest is a revision beyond the end of every stream: what is read back from it begins at the end.
const Latest events.Revision = 1 << 62

// Expected is what an append requires of its stream: a revision, or one of the conditions below.
type Expected int64

// Conditions on a stream; a value ≥ 0 requires exactly that last revision.
const (
	ExpectNoStream Expected = -1 // no event yet
	ExpectAny      Expected = -2 // nothing
	ExpectExists   Expected = -4 // at least one event
)

// ExpectRevision requires the stream's last revision; NoRevision requires that there is none.
func ExpectRevision(revision events.Revision) Expected { return Expected(revision) }

// String says what is expected.
func (e Expected) String() string {
	switch e {
	case ExpectNoStream:
		return "no stream"
	case ExpectAny:
		return "anything"
	case ExpectExists:
		return "an existing stream"
	}
	return fmt.Sprintf("revision %d", int64(e))
}

// Appended says where a batch stands.
type Appended struct {
	First, Last events.Revision // equal to the stream's last revision when the batch was empty
	Position    events.Position // of the last event; nothing is promised of it when the batch was empty
}

// Place is a gap between two events of the whole store, where ReadAll begins. Positions name events and are not to be counted
// with: a store is asked only for places made of positions that it gave, with an event or an append, and refuses others (EventStoreDB's are
// byte offsets of its log, and it reads from nowhere else). The zero Place is Start.
type Place struct {
	Position events.Position
	Before   bool // before the event at Position, instead of after it
}

// Start is the place before every event.
func Start() Place { return Place{} }

// End is the place behind every event.
func End() Place { return Place{Position: math.MaxUint64} }

// After is the place behind the event at a position; After(0) is Start.
func After(position events.Position) Place { return Place{Position: position} }

// Before is the place in front of the event at a position.
func Before(position events.Position) Place { return Place{Position: position, Before: position > 0} }

// String says where it is.
func (p Place) String() string {
	switch {
	case p == Start():
		return "the start"
	case p == End():
		return "the end"
	case p.Before:
		return fmt.Sprintf("before position %d", p.Position)
	}
	return fmt.Sprintf("after position %d", p.Position)
}

// Direction is the order of a read.
type Direction int

// The directions.
const (
	Forward Direction = iota
	Backward
)

// Limit bounds a page. Zero means the default. A page holds at least one event when there is one, whatever its size.
type Limit struct {
	Events int // at most this many; default 512, at most 4096
	Bytes  int // about this much data; default 1 MiB, at most 16 MiB
}

// Page is part of a stream or of the store.
type Page struct {
	Events []events.Envelope
	Last   events.Revision // Read: the stream's last revision when the page was read
	Next   Place           // ReadAll: where to go on, in the direction of the read
	End    bool            // nothing more in this direction at the moment
}

// Filter chooses events of ReadAll and of subscriptions to everything. The zero value chooses all but the store's own; otherwise an
// event is chosen when its stream begins with one of Streams, or its kind with one of Kinds.
type Filter struct {
	Streams []string
	Kinds   []string
	System  bool // choose from the store's own streams too, whose names begin with "$": metadata, users, consumer groups
}

// From is where a subscription begins. With a Stream it is that stream after Revision (NoRevision: from its beginning);
// without, it is everything after Position, which the store gave (0: from the beginning), that the Filter chooses.
type From struct {
	Stream   events.Stream
	Revision events.Revision
	Position events.Position
	Filter   Filter
}

// Subscription is a feed of events. It belongs to one goroutine.
type Subscription interface {
	// Next waits for the next event. It returns the context's error, or ErrClosed after Close or when the store closes.
	// A subscriber that is slow is never skipped: it reads on from the store.
	Next(ctx context.Context) (events.Envelope, error)
	io.Closer
}

// Errors of a Journal and of the stores beside it.
var (
	ErrClosed = errors.New("the store is closed")
	ErrFull   = errors.New("the disk is full")
	// ErrReadOnly: the store was opened although nothing can be written to it; reads go on. Trying again at once does not help.
	ErrReadOnly = errors.New("the store can only be read")
	ErrCorrupt  = errors.New("the stored bytes are damaged")
	ErrDeleted  = errors.New("the stream was deleted for good") // nothing can be read from it or appended to it, ever
	ErrPlace    = errors.New("no event of the store is at this position")
	ErrNeeded   = errors.New("an append that this one needs was not stored")
)

// HalfError says that a store holds a part of what was being copied or imported into it, and in which way that is finished.
type HalfError struct {
	Store  string // its directory, or its address
	What   string // "a copy" or "an import"
	Finish string // what to type
}

// Error names the store, and what to type.
func (h *HalfError) Error() string {
	return fmt.Sprintf("%s holds half %s, which was cut off: what is there is not whole, so nothing reads it or goes on from it. Finish it: %s", h.Store, h.What, h.Finish)
}

// ConflictError says that a stream is not as an append expected: someone else wrote to it. A stream that was deleted and may begin again reads as
// one that does not exist, but goes on at its last revision: that is the one to expect, or ExpectNoStream.
type ConflictError struct {
	Stream   events.Stream
	Expected Expected
	Actual   events.Revision // NoRevision when the stream does not exist, or was deleted and is expected to exist
}

// Error names the stream and both revisions.
func (c *ConflictError) Error() string {
	actual := "does not exist"
	if c.Actual != events.NoRevision {
		actual = fmt.Sprintf("is at revision %d", c.Actual)
	}
	return fmt.Sprintf("append to %s: expected %s, but the stream %s", c.Stream, c.Expected, actual)
}

// Blobs stores large payloads by the BLAKE3 hash of their bytes, once.
type Blobs interface {
	// Put stores the bytes and returns once they are durable. Storing the same bytes again changes nothing.
	Put(ctx context.Context, media string, content io.Reader) (events.BlobRef, error)
	// Open returns the bytes. Reading to the end verifies them: bytes that do not match the hash give ErrCorrupt instead
	// of io.EOF. A blob that is not there gives an error that matches fs.ErrNotExist.
	Open(ctx context.Context, ref events.BlobRef) (io.ReadCloser, error)
}
