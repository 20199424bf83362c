// Package bus implements Watermill on a journal: programs send commands to agents, and receive events, through topics.
//
// A topic is a stream, and "category-x" is everything in streams that begin with "x-" (topic.go). A message is an event (message.go).
// [Publisher] appends, [Subscriber] delivers: what it consumes as, a member of a group or one of many that all get everything, is a
// [Groups], and feed.go implements both over any journal, with stored positions (position.go).
//
// On these two stand
//
//	ingress.go    commands that any program publishes, executed by a host, with replies (command.go, sender.go, reply.go)
//	poisoned.go   commands that could not be executed, and what was done about them
//	forward.go    selected events, published to any other Watermill publisher; bus/jetstream is one
//
// Promises, which docs/bus.md states for users and the tests hold:
//   - Order. The next message of a topic is withheld until the one before is acked; a nacked one comes again before all others.
//   - At least once. A message is delivered again if its ack was lost, under the same id. Nothing is delivered exactly once here:
//     consumers know ids, or positions. Watermill's Deduplicator is not used, because it acks a message that was nacked before.
//   - A command happens once, because the entity that decides it knows its id; it is acked only when the decision is stored.
//   - A command that cannot be executed is kept with the reason, and stays listed until it is retried or dropped.
//
// It may not know any store but through storage.Journal and Groups, nor any broker: those are subpackages of their own.
//
// To add a command of the sagas to the bus: its line in vocabulary (command.go), and its row in docs/bus.md.
package bus
