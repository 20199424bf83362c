package history

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// Search says which events of an agent's history are wanted.
type Search struct {
	First   events.Revision
	Last    events.Revision // NoRevision: the end
	Reverse bool            // the latest first
	Limit   int             // events of one page; 0: 512, at most 4096
	Kinds   []string        // beginnings of kinds, one of which has to fit; none: any
	Text    string          // in what the event says or in its data, whatever the case
	Where   string          // an expression that is true of it, see Config.Where
}

// Found is a page of events that were wanted.
type Found struct {
	Events []events.Envelope `json:"events"`
	Looked int64             `json:"looked,string"` // events that were looked at
	Last   events.Revision   `json:"last,string"`   // the end of the history when the page was read
	Next   events.Revision   `json:"next,string"`   // where to go on; -1: that is all
}

// EventFilter reports whether an event is wanted. It belongs to one goroutine.
type EventFilter func(*events.Envelope) (bool, error)

// What one page may cost.
const (
	mostLooked = 20_000          // events
	mostTime   = 2 * time.Second // for those after the first: a condition may take long for each event
)

// Search returns a page of the events that are wanted. A page may be empty without being the last: it ends after so many events, or so
// much time.
func (r *Reader) Search(ctx context.Context, agent events.AgentID, order Search) (Found, error) {
	s := searching{order: order, began: time.Now(), found: Found{Events: []events.Envelope{}, Next: events.NoRevision}}
	var err error
	if s.wanted, err = r.filters(&order); err != nil {
		return s.found, err
	}
	end, err := r.Resolve(ctx, agent, events.Moment{})
	if err != nil {
		return s.found, err
	}
	s.begin(end.Revision)
	for s.more() {
		page, err := r.journal.Read(ctx, events.AgentStream(agent), s.at, s.direction, storage.Limit{Events: s.ask()})
		if err != nil {
			return s.found, fmt.Errorf("read %s from revision %d: %w", events.AgentStream(agent), s.at, err)
		}
		if len(page.Events) == 0 {
			return s.found, nil
		}
		for i := range page.Events {
			if err := ctx.Err(); err != nil { // the caller has left
				return s.found, err
			}
			if err := s.look(&page.Events[i]); err != nil {
				return s.found, err
			}
			if !s.more() {
				break
			}
		}
	}
	return s.found, nil
}

// searching is one page under way.
type searching struct {
	order     Search
	wanted    []EventFilter
	direction storage.Direction
	at        events.Revision // to look at next
	size      int             // bytes found
	began     time.Time
	found     Found
}

func (s *searching) begin(end events.Revision) {
	if s.found.Last = end; s.order.Last == events.NoRevision || s.order.Last > end {
		s.order.Last = end
	}
	s.order.First = max(s.order.First, 0)
	s.order.Limit = storage.Limit{Events: s.order.Limit}.Bounded().Events
	if s.at = s.order.First; s.order.Reverse {
		s.at, s.direction = s.order.Last, storage.Backward
	}
}

// more reports whether the page goes on; if it is full, it notes where the next one begins.
func (s *searching) more() bool {
	if s.at < s.order.First || s.at > s.order.Last {
		return false
	}
	if s.found.Looked >= mostLooked || s.found.Looked > 0 && time.Since(s.began) > mostTime || len(s.found.Events) >= s.order.Limit || s.size >= storage.DefaultPageBytes {
		s.found.Next = s.at
		return false
	}
	return true
}

// ask is how many events to read at once.
func (s *searching) ask() int {
	if len(s.wanted) == 0 {
		return s.order.Limit - len(s.found.Events)
	}
	return storage.DefaultPageEvents
}

func (s *searching) look(e *events.Envelope) error {
	if s.at = e.Revision + 1; s.order.Reverse {
		s.at = e.Revision - 1
	}
	if e.Revision < s.order.First || e.Revision > s.order.Last {
		return nil
	}
	s.found.Looked++
	for _, wanted := range s.wanted {
		if ok, err := wanted(e); err != nil || !ok {
			return err
		}
	}
	s.found.Events, s.size = append(s.found.Events, *e), s.size+len(e.Data)
	return nil
}

// filters are the conditions that an event has to meet, the cheapest first.
func (r *Reader) filters(order *Search) ([]EventFilter, error) {
	var all []EventFilter
	if len(order.Kinds) > 0 {
		all = append(all, func(e *events.Envelope) (bool, error) {
			return slices.ContainsFunc(order.Kinds, func(kind string) bool { return strings.HasPrefix(string(e.Kind), kind) }), nil
		})
	}
	if order.Where != "" {
		if r.where == nil {
			return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "this host has no language of expressions to search with"}
		}
		compiled, err := r.where(order.Where)
		if err != nil {
			return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
		}
		all = append(all, func(e *events.Envelope) (bool, error) {
			ok, err := compiled(e)
			if err != nil {
				err = &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
			}
			return ok, err
		})
	}
	if order.Text != "" {
		all = append(all, says(order.Text))
	}
	return all, nil
}

// says chooses events with a text in their data or in what they say.
func says(text string) EventFilter {
	text = strings.ToLower(text)
	return func(e *events.Envelope) (bool, error) {
		if bytes.Contains(bytes.ToLower(e.Data), []byte(text)) {
			return true, nil
		}
		event, err := e.Event()
		return err == nil && strings.Contains(strings.ToLower(event.String()), text), nil
	}
}
