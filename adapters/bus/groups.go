package bus

import (
	"context"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Groups delivers to consumer groups: each event of a source goes to one member of every group, in order, until it is acknowledged.
// A store whose server knows such groups implements it over them (EventStoreDB's persistent subscriptions); LocalGroups implements
// it over any journal, for the members in one process.
type Groups interface {
	// Consume joins the group of a source and hands it one event at a time, until ctx ends; then it returns ctx's error. Any other
	// error, such as a lost connection, ends the membership: the caller joins again.
	//
	// The source is a stream, or everything that a Filter chooses. A group that is not there yet is created, and begins after the
	// source's Revision or Position; of one that is there they are ignored. Groups are told apart by name and source.
	//
	// When handle returns nil the event is done with: it is not delivered to the group again, except after a crash (at least once).
	// When it returns an error the event is delivered again, to this member or another one, before later ones. handle may take as
	// long as it likes and must return soon after its context ends, which is when ctx ends or the membership does; then what it
	// returns still counts where it can. A member whose turn it is not, because another one has the group, waits.
	Consume(ctx context.Context, group string, source storage.From, handle func(ctx context.Context, e events.Envelope) error) error

	// ConsumeAhead is Consume for a member that handles several events at once. handle is given one event after another, in order, and returns
	// without waiting; at most ahead events are under way, which are those for which done was not called yet. An event is done with when done is
	// called with nil, whatever becomes of those before it. With an error it is delivered again: only a member that is about to leave says so,
	// because later events of the group are under way.
	//
	// When ctx ends, no further event is handed out, and ConsumeAhead returns when those under way are done with. The context that handle is given
	// ends earlier only if the membership does: what done is told then does not count any more.
	ConsumeAhead(ctx context.Context, group string, source storage.From, ahead int, handle func(ctx context.Context, e events.Envelope, done func(error))) error
}
