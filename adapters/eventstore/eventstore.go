// Package eventstore is the journal over EventStoreDB, through its official client.
package eventstore

import _ "example.com/life/adapters/registration" // before the client's messages are registered
