// Package eventstore is the journal over EventStoreDB: the store that several hosts share.
//
// It speaks EventStoreDB's gRPC protocol with the official client's messages, and is told where the store is by the connection strings
// that every EventStoreDB client reads. The client's own connection is not used: it dies for good when the store is away, keeps its
// callers beyond their contexts, and ends the process at an event that lacks a field (docs/adr/0008). What stands in its place:
//
//	target.go     a connection string, checked, and what it means for a connection
//	discover.go   who leads: all addresses are asked at once
//	node.go       one server and its connections; heartbeats
//	line.go, search.go   the node, replaced when it is lost; callers wait for it until their contexts end
//	call.go, silence.go  attempts one after another until there is an answer
//	failure.go, mistake.go  what an answer that is an error means, and what to change
//	append.go, read.go, readall.go, subscribe.go   the port
//	wire.go, answer.go   envelopes as EventStoreDB's events, and back
//	groups.go, member.go consumer groups, which are EventStoreDB's persistent subscriptions
//
// Promises beyond the port's:
//
//   - While the store is away nothing is lost and nobody is stuck: calls wait for it until their contexts end, then say since when it is
//     away and why. No more than Config.MaxWaiting wait; the next is refused at once. Nothing has to be restarted when it is back.
//   - An append whose answer was lost is sent again with the same ids. With an exact expectation the store recognises it. Without one the
//     stream is read back first, on the connection that the append is then sent on: what was stored before that connection's server
//     started is found in the stream, what it has stored since it remembers.
//   - Subscriptions have connections of their own, since EventStoreDB answers no more than 100 calls at once on one.
//   - Everything is asked of the leader, so that a read sees every append that was answered before.
//   - Nothing that comes over the network ends the process.
//
// To add a call: write it as an attempt on one connection that returns failed(…) for an error, and give it to Journal.call.
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"example.com/life/actors/storage"
	_ "example.com/life/adapters/registration" // before the client's messages are registered
)

// Config says where the store is and what is asked of it. Zero values mean the defaults.
type Config struct {
	Connection string           // esdb://… or esdb+discover://…, as any EventStoreDB client reads it; required
	Username   string           // instead of the connection string's, so that no secret need stand in it
	Password   string           // belongs to Username
	MaxAppend  int              // bytes of one append; default 1 MiB. It must not be above the server's own MaxAppendSize
	MaxWaiting int              // callers that wait at once while the store is away; default 1024
	Away       func(*AwayError) // is told, instead of the log, that the store is away, by Open too, and from time to time while it stays away; nil when it is back. It must not block
	Log        *slog.Logger     // default: nowhere
}

// The defaults and bounds of Config.
const (
	defaultMaxAppend  = 1 << 20 // EventStoreDB's MaxAppendSize unless it was changed
	defaultMaxWaiting = 1024
)

func (c Config) completed() Config {
	if c.MaxAppend <= 0 {
		c.MaxAppend = defaultMaxAppend
	}
	c.MaxAppend = min(c.MaxAppend, storage.MaxAppend)
	if c.MaxWaiting <= 0 {
		c.MaxWaiting = defaultMaxWaiting
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Journal implements storage.Journal over EventStoreDB.
type Journal struct {
	config Config
	target *target
	line   *line

	mu     sync.Mutex
	feeds  map[*subscription]struct{}
	closed bool
}

// Open checks the configuration, connects, and returns once the store has answered. It waits for a store that is away until ctx ends, or
// for as many attempts as the connection string's maxDiscoverAttempts; an open journal never gives up.
func Open(ctx context.Context, config Config) (*Journal, error) {
	config = config.completed()
	target, warnings, err := parseTarget(config)
	if err != nil {
		return nil, fmt.Errorf("open the event store: %w", err)
	}
	for _, warning := range warnings {
		config.Log.WarnContext(ctx, "the connection string is not followed to the letter, or is unsafe", "store", target.name, "because", warning)
	}
	j := &Journal{config: config, target: target, feeds: map[*subscription]struct{}{}}
	j.line = newLine(ctx, target, config)
	if err := j.line.opened(ctx); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Close ends subscriptions, consumers and calls, which give storage.ErrClosed, as calls after it do: whether an append under way was
// stored is not known then. It can be called at any time, more than once.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	feeds := make([]*subscription, 0, len(j.feeds))
	for feed := range j.feeds {
		feeds = append(feeds, feed)
	}
	j.mu.Unlock()
	j.line.close()
	for _, feed := range feeds {
		feed.end()
	}
	return nil
}
