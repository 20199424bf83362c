package embedded

import (
	"errors"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// ErrSoftDeleted is wrapped, beside the conflict, by the refusal of one who expects that a stream exists which was deleted.
var ErrSoftDeleted = errors.New("the stream was deleted; what is appended next begins it again")

// decide settles one request: what it will be told, and what goes into the group's batch. False means that it must wait for
// the group to be applied, because it has to look at what the group may hold.
func (c *committer) decide(r *request) bool {
	if r.action == importing {
		r.decided = c.decideImport(r)
		return true
	}
	// What it needs was begun before it and is decided by now. It is in this group or an earlier one, so it is on disk whenever this is.
	if err := storage.CheckNeeds(r.stream, r.needs); err != nil {
		r.decided = answer{err: err}
		return true
	}
	h, missing, err := c.standing(r)
	if err != nil {
		r.decided = answer{err: fmt.Errorf("append to %s: %w", r.stream, err)}
		return true
	}
	conflict := func(actual events.Revision) *storage.ConflictError { // there is hardly ever one
		return &storage.ConflictError{Stream: r.stream, Expected: r.expected, Actual: actual}
	}
	at, exact, count := events.Revision(r.expected), r.expected >= storage.ExpectNoStream, len(r.batch)
	behind := exact && at < h.revision
	recreates := h.deleted && r.expected == storage.ExpectNoStream // for this writer there is no stream, whatever it holds
	switch {
	case r.expected == storage.ExpectExists && h.deleted:
		r.decided = answer{err: fmt.Errorf("%w: %w", conflict(events.NoRevision), ErrSoftDeleted)} // it keeps its revision only for those who name one
	case missing, exact && at > h.revision,
		behind && !recreates && (count == 0 || events.Revision(count) > h.revision-at):
		r.decided = answer{err: conflict(h.revision)}
	case r.action == deleting:
		r.decided = c.delete(r.stream, h)
	case r.action == ending:
		r.decided = c.end(r.stream)
	case count == 0 && behind:
		r.decided = answer{err: conflict(h.revision)}
	case h.deleted && c.group.batch != nil:
		return false
	case count == 0:
		r.decided = c.nothing(r.stream, h)
	case exact && at == h.revision, !exact && !c.known(r.stream, r.batch[0].ID):
		c.write(r, h)
	case c.group.batch != nil:
		return false
	case exact:
		c.decideRetry(r, h, conflict(h.revision))
	default:
		c.decideAny(r, h, conflict(h.revision))
	}
	return true
}

// standing is where a request's stream ends; missing says that there has to be one, and is none. A stream that was ended for
// good is an error. Its metadata are not: they can be written, as in EventStoreDB 24.10, although nobody can read them any more.
func (c *committer) standing(r *request) (h head, missing bool, err error) {
	if name, ok := original(r.stream); ok {
		if _, err = c.head(name); err != nil { // in the cache before its metadata are written
			return h, false, err
		}
	}
	if h, err = c.head(r.stream); err != nil {
		return h, false, err
	}
	if h.ended() {
		return h, false, storage.ErrDeleted
	}
	missing = h.revision == events.NoRevision && (r.expected == storage.ExpectExists || r.action == deleting)
	if missing && c.described { // one that has nothing but metadata is there
		var description head
		description, err = c.head(metastream(r.stream))
		missing = description.revision == events.NoRevision
	}
	return h, missing, err
}

// decideRetry compares an append with the events that stand where it would: the same ids are a retry, anything else a conflict.
func (c *committer) decideRetry(r *request, h head, conflict error) {
	first := events.Revision(r.expected) + 1
	same, i := true, 0
	appended := storage.Appended{First: first, Last: first + events.Revision(len(r.batch)) - 1}
	err := c.store.scan(r.stream, first, func(e *events.Envelope) bool {
		same = e.ID == r.batch[i].ID
		appended.Position = e.Position
		i++
		return same && i < len(r.batch)
	})
	switch {
	case err != nil:
		r.decided = answer{err: fmt.Errorf("append to %s: compare with what is stored: %w", r.stream, err)}
	case same && i == len(r.batch):
		r.decided = answer{appended: appended}
	case !same && i == 1 && h.deleted && r.expected == storage.ExpectNoStream:
		c.write(r, h)
	default:
		r.decided = answer{err: conflict}
	}
}

// decideAny settles an append without a revision. Only ids stored lately are recognised: this is best effort, as the port says.
func (c *committer) decideAny(r *request, h head, conflict error) {
	first, found, err := c.lately(r.stream, r.batch[0].ID)
	last := first
	for i := 1; err == nil && found && i < len(r.batch); i++ {
		var other bool
		if last, other, err = c.lately(r.stream, r.batch[i].ID); err == nil && !other {
			err = conflict
		}
	}
	switch {
	case errors.Is(err, conflict):
		r.decided = answer{err: conflict}
	case err != nil:
		r.decided = answer{err: fmt.Errorf("append to %s: compare with what is stored: %w", r.stream, err)}
	case found:
		r.decided = answer{appended: storage.Appended{First: first.revision, Last: last.revision, Position: last.position}}
	default:
		c.write(r, h)
	}
}

func (c *committer) known(stream events.Stream, id events.EventID) bool {
	c.ids.recall(c.store, stream)
	_, found := c.ids.get(idKey{c.ids.hash(stream), id})
	return found
}

// lately finds an id among those that this stream got lately.
func (c *committer) lately(stream events.Stream, id events.EventID) (idPlace, bool, error) {
	place, found := c.ids.get(idKey{c.ids.hash(stream), id})
	if !found {
		return place, false, nil
	}
	same := false
	err := c.store.scan(stream, place.revision, func(e *events.Envelope) bool {
		same = e.ID == id && e.Position == place.position
		return false
	})
	return place, same, err
}

// nothing answers an append of nothing that meets its expectation. A deleted stream comes back, and is empty.
func (c *committer) nothing(stream events.Stream, h head) answer {
	a := answer{appended: storage.Appended{First: h.revision, Last: h.revision, Position: c.next - 1}}
	if h.deleted {
		var metadata []byte
		if metadata, a.err = c.metadataText(stream); a.err == nil {
			a.err = c.revive(stream, h.revision+1, metadata)
		}
	}
	return a
}

// write puts a request's events into the group, and with them what they mean for the streams they touch. A deleted stream comes
// back with them: its metadata change in the same group.
func (c *committer) write(r *request, h head) {
	var metadata []byte
	if h.deleted {
		if metadata, r.decided.err = c.metadataText(r.stream); r.decided.err != nil {
			return
		}
	}
	r.first, r.position = h.revision+1, c.next
	c.put(&r.piece)
	c.heads.put(r.stream, head{revision: r.last(), position: r.end()})
	r.decided = r.appended()
	if h.deleted {
		r.decided.err = c.revive(r.stream, r.first, metadata)
	}
	if name, ok := original(r.stream); ok {
		r.decided.err = errors.Join(r.decided.err, c.describe(name, &r.batch[len(r.batch)-1]))
	}
}
