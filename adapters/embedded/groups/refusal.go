package groups

import "fmt"

// Kind is why something was refused.
type Kind int

// The kinds.
const (
	Exists  Kind = iota // a group of that name is there
	Missing             // there is no such group
	Full                // the group has as many consumers as it may
	Dropped             // the group was changed, deleted or restarted: join again; or its stream is deleted for good
	Failed              // the settings or the request make no sense, or the store failed
)

// RefusalError says what was not done to a group, and why.
type RefusalError struct {
	Kind  Kind
	Key   Key
	Cause error // of Failed
}

// Error is the text that EventStoreDB's clients get.
func (r *RefusalError) Error() string {
	group, stream := r.Key.Group, r.Key.Stream
	switch r.Kind {
	case Exists:
		return fmt.Sprintf("Subscription group %s on stream %s exists.", group, stream)
	case Missing:
		return fmt.Sprintf("Subscription group %s on stream %s does not exist.", group, stream)
	case Full:
		return fmt.Sprintf("Maximum subscriptions reached for subscription group %s on stream %s.", group, stream)
	case Dropped:
		return fmt.Sprintf("Subscription group %s on stream %s was dropped.", group, stream)
	case Failed:
	}
	return fmt.Sprintf("Subscription group %s on stream %s failed: '%v'", group, stream, r.Cause)
}

// Unwrap returns the cause.
func (r *RefusalError) Unwrap() error { return r.Cause }
