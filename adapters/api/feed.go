package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Names of the feed's items that are no events. Kinds have a dot in them, so none is mistaken for one.
const (
	itemDelta  = "delta"  // text that the model has just produced
	itemResync = "resync" // the watcher is too slow: it is cut off, and comes back from the last id it saw
	itemClosed = "closed" // the host is closing
	itemFailed = "failed" // the feed cannot go on; the data is a problem
)

// feed shows an agent's events as server-sent events: their revision as the id, their kind as the name, the envelope as the data.
// Deltas have no id, so whoever reconnects with Last-Event-ID asks for what came after the last event. One goroutine reads the
// feed and writes, nothing is buffered: a slow watcher holds up nobody, for the feed behind it reads on from the store.
func (s *server) feed(w http.ResponseWriter, r *http.Request) error {
	after, err := resumeFrom(r)
	if err != nil {
		return err
	}
	select {
	case s.feeds <- struct{}{}:
		defer func() { <-s.feeds }()
	default:
		w.Header().Set("Connection", "close") // it makes room
		return problem(codeUnavailable, "%d feeds are open, and there are no more: try again, or raise the server's limit of open files (ulimit -n)", cap(s.feeds))
	}
	feed, err := s.host.Watch(r.Context(), events.AgentID(r.PathValue("agent")), after)
	if err != nil {
		return err
	}
	defer feed.Close()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // some proxies hold answers back
	out := &stream{w: w, control: http.NewResponseController(w), slow: s.slow, sent: after}
	_ = out.control.SetReadDeadline(time.Time{}) //nolint:errcheck // where deadlines are not known there is none to lift
	if r.Method == http.MethodHead {
		return nil
	}
	if err := out.text("retry: 1000\n\n"); err != nil {
		return nil
	}
	s.pass(r.Context(), feed, out)
	return nil
}

// resumeFrom reads the revision after which to go on: a browser that reconnects sends the header beside the query it began with.
func resumeFrom(r *http.Request) (events.Revision, error) {
	q, err := readQuery(r, "after")
	if err != nil {
		return 0, err
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		after, err := q.number("after", int64(events.NoRevision), int64(events.NoRevision), lastRevision)
		return events.Revision(after), err
	}
	after, err := strconv.ParseInt(last, 10, 64)
	if err != nil || after < int64(events.NoRevision) || after > lastRevision {
		return 0, problem(codeMalformed, "the Last-Event-ID is %q, want the revision of an event", events.Clip(last, 200))
	}
	return events.Revision(after), nil
}

// pass carries the feed's items until it ends, the watcher leaves, or is too slow.
func (s *server) pass(ctx context.Context, feed actors.Feed, out *stream) {
	for {
		waiting, cancel := context.WithTimeout(ctx, s.heartbeat)
		item, err := feed.Next(waiting)
		cancel()
		switch {
		case err == nil:
			err = out.item(item)
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			err = out.text(": alive\n\n")
		case errors.Is(err, storage.ErrClosed):
			err = errors.Join(errEnded, out.named(itemClosed, struct{}{}))
		default:
			s.log.Error("read feed", "error", err)
			err = errors.Join(errEnded, out.named(itemFailed, problemOf(err)))
		}
		if err != nil { // ended, or nobody reads
			return
		}
	}
}

// errEnded says that the feed's last item was written.
var errEnded = errors.New("the feed has ended")

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	slow    time.Duration
	sent    events.Revision // the last
}

func (s *stream) item(item actors.Item) error {
	if item.Delta != nil {
		return s.named(itemDelta, item.Delta)
	}
	data, err := encodeJSON(item.Event)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", item.Event.Ref(), err)
	}
	s.sent = item.Event.Revision
	name := strings.Map(visible, string(item.Event.Kind)) // whoever else writes to the store names kinds as he likes
	return s.text(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n", item.Event.Revision, name, data))
}

// visible drops what would end a line.
func visible(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}

func (s *stream) named(name string, value any) error {
	data, err := encodeJSON(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return s.text("event: " + name + "\ndata: " + string(data) + "\n")
}

// text writes, and tells a watcher who took too long for it to come back. Twice the time, and the connection is cut.
func (s *stream) text(text string) error {
	began := time.Now()
	_ = s.control.SetWriteDeadline(began.Add(2 * s.slow)) //nolint:errcheck // where deadlines are not known, none is set
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	if took := time.Since(began); took > s.slow {
		slow := fmt.Errorf("the watcher took %s for one item", took)
		_, err := fmt.Fprintf(s.w, "event: %s\ndata: {\"after\":\"%d\"}\n\n", itemResync, s.sent)
		return errors.Join(slow, err, s.control.Flush())
	}
	return nil
}
