// Package registration lets the EventStoreDB client and protoactor's cluster be linked into one binary.
//
// Both register a protobuf file named gossip.proto, and the protobuf runtime panics at start when a file name is registered
// twice. Only the names clash: the messages in the two files have different names, so having the runtime keep the first file
// name and go on is safe. The runtime reads its policy from the environment when it is initialised, so the policy must be set before.
// Go initialises packages that depend on nothing else in the order of their import paths, and this one imports only os: it comes
// before google.golang.org/protobuf as long as the module's path sorts before that (docs/adr/0002).
//
// Every main package and every test that links both imports this package for its effect. A policy that is set already is kept.
package registration

import "os"

// policy is the variable that the protobuf runtime reads.
const policy = "GOLANG_PROTOBUF_REGISTRATION_CONFLICT"

// main would be too late: the runtime reads the policy while packages are initialised.
var _ = ignoreConflicts()

func ignoreConflicts() bool {
	if _, set := os.LookupEnv(policy); set {
		return false
	}
	return os.Setenv(policy, "ignore") == nil
}
