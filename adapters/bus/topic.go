package bus

import (
	"errors"
	"fmt"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// CategoryPrefix begins the topics that stand for many streams: "category-agent" is everything in streams that begin with "agent-".
const CategoryPrefix = "category-"

// The streams of this package are named by a prefix and what they belong to.
const (
	checkpointPrefix = "checkpoint-" // and a subscriber: how far it has come
	commandPrefix    = "command-"    // and a tenant: commands to its agents
	replyPrefix      = "reply-"      // and a tenant: what became of them
	poisonPrefix     = "poison-"     // and a tenant: commands that could not be carried out
)

// CommandTopic is where programs publish commands to a tenant's agents.
func CommandTopic(tenant events.TenantID) string { return commandPrefix + string(tenant) }

// ReplyTopic is where the outcome of each command is published.
func ReplyTopic(tenant events.TenantID) string { return replyPrefix + string(tenant) }

// PoisonTopic is where commands end that could not be carried out.
func PoisonTopic(tenant events.TenantID) string { return poisonPrefix + string(tenant) }

// errTopic is wrapped by the errors about topics that cannot be used.
var errTopic = errors.New("unusable topic")

// sourceOf returns what a topic stands for, from its beginning.
func sourceOf(topic string) (storage.From, error) {
	if category, ok := strings.CutPrefix(topic, CategoryPrefix); ok {
		if category == "" {
			return storage.From{}, fmt.Errorf("%w: %q names no category", errTopic, topic)
		}
		return storage.From{Filter: storage.Filter{Streams: []string{category + "-"}}}, nil
	}
	if err := storage.CheckStream(events.Stream(topic)); err != nil {
		return storage.From{}, fmt.Errorf("%w: %w", errTopic, err)
	}
	return storage.From{Stream: events.Stream(topic), Revision: events.NoRevision}, nil
}

// streamOf returns the stream that a topic's messages are appended to.
func streamOf(topic string) (events.Stream, error) {
	if strings.HasPrefix(topic, CategoryPrefix) {
		return "", fmt.Errorf("%w: %q stands for many streams, so nothing can be published to it", errTopic, topic)
	}
	if err := storage.CheckStream(events.Stream(topic)); err != nil {
		return "", fmt.Errorf("%w: %w", errTopic, err)
	}
	return events.Stream(topic), nil
}

// labelOf names a source within the names of its consumers' positions.
func labelOf(source storage.From) string {
	f := source.Filter
	switch {
	case source.Stream != "":
		return string(source.Stream)
	case len(f.Streams) == 1 && len(f.Kinds) == 0:
		return CategoryPrefix + strings.TrimSuffix(f.Streams[0], "-")
	}
	return "streams " + strings.Join(f.Streams, ",") + " kinds " + strings.Join(f.Kinds, ",")
}
