package bus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// answered knows which commands have a reply. Groups begin anew in a store that history was copied to, and forget the latest ack in a crash, so
// commands are delivered again that are done with. An agent knows those that it accepted; of those that were refused or poisoned only
// the replies tell.
//
// Commands and replies have one order, or nearly so: replies are read as far as the command that is looked for, and those to commands before
// it are forgotten. New commands read nothing.
type answered struct {
	journal  storage.Journal
	commands events.Stream
	replies  events.Stream

	mu      sync.Mutex
	next    events.Revision              // of the replies, after those that were read
	end     bool                         // there were no more when they were read
	latest  events.Revision              // of the commands that were looked for
	waiting map[events.Revision]struct{} // commands at or after latest that have a reply
}

func newAnswered(journal storage.Journal, tenant events.TenantID) *answered {
	return &answered{
		journal: journal, commands: events.Stream(CommandTopic(tenant)), replies: events.Stream(ReplyTopic(tenant)),
		latest: events.NoRevision, waiting: map[events.Revision]struct{}{},
	}
}

// has reports whether the command at a revision has a reply.
func (a *answered) has(ctx context.Context, command events.Revision) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if command != a.latest+1 { // another member of the group may have had those in between, or this very one
		a.end = false
	}
	a.latest = command
	for done := range a.waiting {
		if done < command {
			delete(a.waiting, done)
		}
	}
	for {
		if _, found := a.waiting[command]; found || a.end {
			return found, nil
		}
		page, err := a.journal.Read(ctx, a.replies, a.next, storage.Forward, storage.Limit{})
		if err != nil {
			return false, fmt.Errorf("look for the reply to %s: %w", events.NewRef(a.commands, command), err)
		}
		for i := range page.Events {
			a.note(&page.Events[i])
			a.next = page.Events[i].Revision + 1
		}
		a.end = page.End || len(page.Events) == 0
	}
}

// note takes in a reply. Other events in the stream of replies answer nothing.
func (a *answered) note(e *events.Envelope) {
	if !slices.Contains([]events.Kind{acceptedKind, refusedKind, poisonedKind}, e.Kind) {
		return
	}
	stream, revision, err := events.Ref(messageOf(e).Metadata.Get(CausationKey)).Split()
	if err == nil && stream == a.commands && revision >= a.latest {
		a.waiting[revision] = struct{}{}
	}
}

// unanswered acks commands that have a reply: nothing of them is done again. While the replies cannot be read, a command waits.
func (a *answered) unanswered(handle message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		revision, err := strconv.ParseInt(m.Metadata.Get(RevisionKey), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the place of a command: %w", err)
		}
		if found, err := a.has(m.Context(), events.Revision(revision)); found || err != nil {
			return nil, err
		}
		return handle(m)
	}
}
