package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Projected is what a projection answered.
type Projected struct {
	Projection string          `json:"projection"`
	Version    int             `json:"version"`
	Query      string          `json:"query"`
	Position   events.Position `json:"position,string"` // up to which history is in the answer
	Events     int64           `json:"events,string"`   // that were folded
	Answer     json.RawMessage `json:"answer"`          // as projections.QuerySpec.Answer of the query
}

// Project asks a projection: it folds history up to and including a position (0: all of it) and answers. A query that makes no
// sense, and history that cannot be projected, are a *sagas.Refusal that says why. progress, if given, hears how many events were
// folded.
func (h *Host) Project(
	ctx context.Context, name string, query projections.Query, at events.Position, progress func(folded int64),
) (Projected, error) {
	spec, err := projections.Find(name)
	if err != nil {
		return Projected{}, &sagas.Refusal{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	if query, _, err = spec.Check(query); err != nil {
		return Projected{}, &sagas.Refusal{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	p := projecting{host: h, spec: spec, fold: spec.New(), at: at, progress: progress}
	if err := p.read(ctx); err != nil {
		return Projected{}, err
	}
	answer, err := p.fold.Answer(query)
	if errors.Is(err, projections.ErrMissing) {
		return Projected{}, &sagas.Refusal{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	if err != nil {
		return Projected{}, fmt.Errorf("ask projection %s: %w", name, err)
	}
	text, err := plainJSON(answer)
	if err != nil {
		return Projected{}, fmt.Errorf("encode answer of projection %s: %w", name, err)
	}
	return Projected{spec.Name, spec.Version, query.Name, p.through, p.events, text}, nil
}

// plainJSON encodes without HTML escapes, so that an answer is the same bytes here and over the API.
func plainJSON(value any) (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// projecting is one pass over history.
type projecting struct {
	host     *Host
	spec     *projections.Spec
	fold     projections.Fold
	at       events.Position // 0: to the end
	progress func(folded int64)
	through  events.Position
	events   int64
}

// pageRead is a page, or why there is none.
type pageRead struct {
	page Page
	err  error
}

// read folds page after page; the next one is read meanwhile.
func (p *projecting) read(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	pages := make(chan pageRead, 1)
	go p.pages(ctx, pages)
	defer func() {
		stop()
		for range pages { // until the reader has ended
		}
	}()
	for read := range pages {
		if read.err != nil {
			return fmt.Errorf("read events for projection %s: %w", p.spec.Name, read.err)
		}
		more, err := p.apply(&read.page)
		if err != nil || !more {
			return err
		}
		if p.progress != nil {
			p.progress(p.events)
		}
	}
	return ctx.Err()
}

// pages reads from the beginning until the end, an error, or the end of the context.
func (p *projecting) pages(ctx context.Context, pages chan<- pageRead) {
	defer close(pages)
	for next := events.Position(1); ; {
		page, err := p.host.journal.ReadAll(ctx, next, Forward, Filter{Kinds: p.spec.Kinds}, Limit{Events: maxPageEvents, Bytes: 4 << 20})
		select {
		case <-ctx.Done():
			return
		case pages <- pageRead{page, err}:
		}
		if err != nil || page.End || p.at > 0 && page.Next > p.at {
			return
		}
		next = page.Next
	}
}

// apply folds a page, and reports whether the next one is wanted.
func (p *projecting) apply(page *Page) (more bool, err error) {
	for i := range page.Events {
		e := &page.Events[i]
		if p.at > 0 && e.Position > p.at {
			p.through = p.at
			return false, nil
		}
		if err := p.fold.Apply(&projections.Recorded{Envelope: e}); err != nil {
			return false, &sagas.Refusal{Code: sagas.RefusedState, Detail: fmt.Sprintf("projection %s %v", p.spec.Name, err)}
		}
		p.through = e.Position
		p.events++
	}
	if page.Next > 0 {
		p.through = max(p.through, page.Next-1)
	}
	if p.at > 0 && p.through >= p.at {
		p.through = p.at
		return false, nil
	}
	return !page.End, nil
}
