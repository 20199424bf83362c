// Package peers carries what the hosts of a cluster ask each other: pings, and calls with bodies that others read.
//
// All of it goes over TLS 1.3 on one port, on which both ends show a certificate of the cluster's authority; on loopback too. The name in a
// host's certificate is the host's name, and no other name counts. Whoever holds the key of one certificate can command every agent.
//
//	certificates.go  makes the authority and the certificates       identity.go  reads them
//	frame.go         what is on the wire                            body.go      strict JSON in it
//	client.go        asks, over one connection for each purpose     connection.go
//	server.go        answers                                        asked.go     one connection of it
//
// Frames over one connection, and not HTTP/2 or gRPC, because they take a fifth of the processor's time
// ([ADR 28](../../docs/adr/0028-frames-between-hosts.md)).
package peers
