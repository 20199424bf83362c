// Package bus is Watermill on top of a journal: programs talk to agents, and learn of what they did, through topics.
//
// A topic is a stream, and "category-x" is everything in streams that begin with "x-" (topic.go). A message is an event (message.go).
// [Publisher] appends, [Subscriber] delivers: what it consumes as, a member of a group or one of many that all get everything, is a
// [Groups], and feed.go implements both over any journal, with stored positions (position.go).
//
// On these two stand
//
//	ingress.go    commands that any program publishes, carried out by a host and answered (command.go, sender.go, reply.go)
//	poisoned.go   commands that could not be carried out, and what was done about them
//	forward.go    chosen events, published to any other Watermill publisher; bus/jetstream is one
//
// Promises, which docs/bus.md states for users and the tests hold:
//   - Order. The next message of a topic is withheld until the one before is acked; a nacked one comes again before all others.
//   - At least once. A message is delivered again if its ack was lost, under the same id. Nothing is delivered exactly once here:
//     consumers know ids, or positions. Watermill's Deduplicator is not used, because it acks a message that was nacked before.
//   - A command happens once, because the entity that decides it knows its id; it is acked only when the decision is stored.
//   - What cannot be carried out is kept with its reason, and stays listed until somebody tries it again or drops it.
//
// It may not know any store but through storage.Journal and Groups, nor any broker: those are subpackages of their own.
//
// To add a command: its struct in command.go, listed in vocabulary, its two methods in command_decide.go, and its row in docs/bus.md.
package bus
