package bus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// answered knows which commands have a reply. Groups begin anew in a store that history was copied to, and forget the latest acks in a crash, so
// commands are delivered again that are done with. An agent knows those that it accepted; of those that were refused or poisoned only
// the replies tell.
//
// Each command is done with when it has a reply, so before the reply to one stand the replies to all earlier ones but those that were under way
// beside it. So replies are read from near the oldest command that is under way, and as far as the command that is looked for; those to
// commands before the oldest are forgotten. New commands read nothing.
type answered struct {
	journal  storage.Journal
	commands events.Stream
	replies  events.Stream
	beside   events.Revision // commands that are under way at once, at most

	mu     sync.Mutex
	begun  bool
	next   events.Revision // of the replies, after those that were read
	end    bool            // there were no more when they were read
	latest events.Revision // of the commands that were looked for
	oldest events.Revision // that was under way then
	done   spans           // commands from the oldest on that have a reply
}

func newAnswered(journal storage.Journal, tenant events.TenantID, beside int) *answered {
	return &answered{
		journal: journal, commands: events.Stream(CommandTopic(tenant)), replies: events.Stream(ReplyTopic(tenant)), beside: events.Revision(beside),
		latest: events.NoRevision,
	}
}

// has reports whether a command that was just delivered has a reply. Commands are looked for in the order in which they are delivered; oldest is
// the first of those that are under way, this one included.
func (a *answered) has(ctx context.Context, command, oldest events.Revision) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.begun || oldest < a.oldest {
		if err := a.seek(ctx, oldest); err != nil {
			return false, err
		}
	}
	if command != a.latest+1 { // another member of the group may have had those in between, or this very one
		a.end = false
	}
	a.latest, a.oldest = command, oldest
	a.done = a.done.from(oldest)
	return a.find(ctx, command)
}

// hasNow reports whether a command that was looked for before has a reply by now.
func (a *answered) hasNow(ctx context.Context, command events.Revision) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end = false
	return a.find(ctx, command)
}

func (a *answered) find(ctx context.Context, command events.Revision) (bool, error) {
	for {
		if found := a.done.has(command); found || a.end {
			return found, nil
		}
		page, err := a.read(ctx, a.next, storage.Limit{})
		if err != nil {
			return false, err
		}
		for i := range page.Events {
			if of := a.answers(&page.Events[i]); of >= a.oldest {
				a.done = a.done.with(of)
			}
			a.next = page.Events[i].Revision + 1
		}
		a.end = page.End || len(page.Events) == 0
	}
}

// seek finds a place among the replies before which there is none to a command from oldest on.
func (a *answered) seek(ctx context.Context, oldest events.Revision) error {
	a.begun, a.next, a.end, a.done, a.oldest = false, 0, false, nil, oldest
	if at := oldest - 4*a.beside; at > 0 {
		page, err := a.read(ctx, at, storage.Limit{Events: 1})
		if err != nil {
			return err
		}
		// Where the group did not begin with the first command, there are fewer replies than commands.
		if len(page.Events) > 0 && page.Events[0].Revision == at {
			if of := a.answers(&page.Events[0]); of != events.NoRevision && of+2*a.beside <= oldest {
				a.next = at
			}
		}
	}
	a.begun = true
	return nil
}

func (a *answered) read(ctx context.Context, from events.Revision, limit storage.Limit) (storage.Page, error) {
	page, err := a.journal.Read(ctx, a.replies, from, storage.Forward, limit)
	if err != nil {
		return page, fmt.Errorf("look for replies in %s: %w", a.replies, err)
	}
	return page, nil
}

// answers is the command that an event is the reply to; NoRevision: it is no reply.
func (a *answered) answers(e *events.Envelope) events.Revision {
	if !slices.Contains([]events.Kind{acceptedKind, refusedKind, poisonedKind}, e.Kind) {
		return events.NoRevision
	}
	stream, revision, err := events.Ref(messageOf(e).Metadata.Get(CausationKey)).Split()
	if err != nil || stream != a.commands {
		return events.NoRevision
	}
	return revision
}

// spans are revisions, as stretches without gaps: in order, and none touches another.
type spans []span

type span struct{ first, last events.Revision }

// at is the first span that ends at a revision or after it.
func (s spans) at(revision events.Revision) int {
	i, _ := slices.BinarySearchFunc(s, revision, func(one span, r events.Revision) int { return cmp.Compare(one.last, r) })
	return i
}

func (s spans) has(revision events.Revision) bool {
	i := s.at(revision)
	return i < len(s) && s[i].first <= revision
}

// with adds a revision.
func (s spans) with(revision events.Revision) spans {
	if s.has(revision) {
		return s
	}
	i := s.at(revision) // the one behind it
	before, behind := i > 0 && s[i-1].last == revision-1, i < len(s) && s[i].first == revision+1
	switch {
	case before && behind:
		s[i-1].last = s[i].last
		return slices.Delete(s, i, i+1)
	case before:
		s[i-1].last = revision
	case behind:
		s[i].first = revision
	default:
		return slices.Insert(s, i, span{revision, revision})
	}
	return s
}

// from drops what is before a revision.
func (s spans) from(revision events.Revision) spans {
	s = slices.Delete(s, 0, s.at(revision))
	if len(s) > 0 {
		s[0].first = max(s[0].first, revision)
	}
	return s
}
