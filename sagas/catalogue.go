package sagas

import (
	"fmt"
	"slices"
	"strings"

	"example.com/life/events"
)

// Catalogue is the fold of a tenant's projections: those that were declared at run time, and the events that a projection leaves out.
// It decides who is in it and never looks into a projection.
type Catalogue struct {
	Revision events.Revision     `json:"revision"`
	Declared []DeclaredFold      `json:"declared,omitempty"` // in the order in which they were added first
	Skipped  []SkippedProjection `json:"skipped,omitempty"`  // by position for each name
	Accepted []Accepted          `json:"accepted,omitempty"` // the latest commands from outside
}

// DeclaredFold is a projection that was declared at run time.
type DeclaredFold struct {
	Name    string        `json:"name"`
	Version int           `json:"version"`
	Source  events.Text   `json:"source"`
	By      string        `json:"by,omitempty"`
	Since   events.Micros `json:"since"`
	// Before is what its text was before: it answers until the new one is built.
	Before *DeclaredFold `json:"before,omitempty"`
}

// SkippedProjection is an event that a projection leaves out.
type SkippedProjection struct {
	Name     string          `json:"name"`
	Position events.Position `json:"position"`
	Event    events.Ref      `json:"event"`
	Of       events.Kind     `json:"kind"`
	Reason   string          `json:"reason"`
	By       string          `json:"by"`
}

// NewCatalogue returns a catalogue in which nothing was declared.
func NewCatalogue() Catalogue { return Catalogue{Revision: events.NoRevision} }

// Declares returns the declared projection of a name, or nil.
func (c Catalogue) Declares(name string) *DeclaredFold {
	for i := range c.Declared {
		if c.Declared[i].Name == name {
			return &c.Declared[i]
		}
	}
	return nil
}

// Decide implements [Saga].
func (c Catalogue) Decide(command Command) ([]events.Event, error) {
	switch m := command.(type) {
	case AddProjection:
		return c.add(m)
	case RemoveProjection:
		return c.remove(m)
	case SkipEvent:
		return c.skip(m)
	}
	return nil, refuse(RefusedInvalid, "the catalogue of projections cannot decide %T", command)
}

func (c Catalogue) add(m AddProjection) ([]events.Event, error) {
	if err := known(c.Accepted, m); err != nil {
		return nil, err
	}
	if err := events.ValidateProjection(m.Name); err != nil {
		return nil, refuse(RefusedInvalid, "%v", err)
	}
	m.Source = validText(m.Source)
	if m.Version < 1 {
		return nil, refuse(RefusedInvalid, "projection %s has version %d, want 1 or more", m.Name, m.Version)
	}
	if there := c.Declares(m.Name); there != nil && there.Version == m.Version && sameText(there.Source, m.Source) {
		return nil, refuse(RefusedExists, "projection %s is there already, with the same text", m.Name)
	}
	return []events.Event{events.ProjectionAdded{Name: m.Name, Version: m.Version, Source: m.Source, By: valid(m.By)}}, nil
}

// sameText compares texts by what they are, not by how they are kept.
func sameText(a, b events.Text) bool {
	if a.Blob == nil || b.Blob == nil {
		return a.Blob == b.Blob && a.Inline == b.Inline
	}
	return a.Blob.Hash == b.Blob.Hash
}

func (c Catalogue) remove(m RemoveProjection) ([]events.Event, error) {
	if err := known(c.Accepted, m); err != nil {
		return nil, err
	}
	if c.Declares(m.Name) == nil {
		return nil, refuse(RefusedMissing, "there is no declared projection %q", events.Clip(m.Name, 200))
	}
	return []events.Event{events.ProjectionRemoved{Name: m.Name, By: valid(m.By), Reason: valid(m.Reason)}}, nil
}

func (c Catalogue) skip(m SkipEvent) ([]events.Event, error) {
	if err := known(c.Accepted, m); err != nil {
		return nil, err
	}
	switch {
	case events.ValidateProjection(m.Name) != nil:
		return nil, refuse(RefusedInvalid, "%v", events.ValidateProjection(m.Name))
	case m.Position == 0 || m.Event == "":
		return nil, refuse(RefusedInvalid, "to skip an event takes its position, and there must be one")
	case strings.TrimSpace(m.Reason) == "":
		return nil, refuse(RefusedInvalid, "to skip an event takes a reason: it is left out of projection %s for ever", m.Name)
	case m.By == "":
		return nil, refuse(RefusedInvalid, "to skip an event takes the name of who does it")
	case c.skips(m.Name, m.Event):
		return nil, refuse(RefusedExists, "projection %s skips position %d already", m.Name, m.Position)
	}
	return []events.Event{events.ProjectionSkipped{
		Name: m.Name, Position: m.Position, Event: m.Event, Of: m.Of, Reason: valid(m.Reason), By: valid(m.By),
	}}, nil
}

func (c Catalogue) skips(name string, event events.Ref) bool {
	return slices.ContainsFunc(c.Skipped, func(s SkippedProjection) bool { return s.Name == name && s.Event == event })
}

// Apply implements [Saga].
func (c Catalogue) Apply(fact Fact) Catalogue {
	c.Revision = fact.Revision
	c.Accepted = accept(c.Accepted, fact)
	switch e := fact.Event.(type) {
	case events.ProjectionAdded:
		made := DeclaredFold{Name: e.Name, Version: e.Version, Source: e.Source, By: e.By, Since: fact.Time}
		c.Declared = slices.Clone(c.Declared)
		if there := c.Declares(e.Name); there != nil {
			before := *there
			before.Before = nil
			made.Before = &before
			*there = made
			return c
		}
		c.Declared = append(c.Declared, made)
	case events.ProjectionRemoved:
		c.Declared = slices.DeleteFunc(slices.Clone(c.Declared), func(d DeclaredFold) bool { return d.Name == e.Name })
		c.Skipped = slices.DeleteFunc(slices.Clone(c.Skipped), func(s SkippedProjection) bool { return s.Name == e.Name })
	case events.ProjectionSkipped:
		c.Skipped = append(slices.Clone(c.Skipped), SkippedProjection{
			Name: e.Name, Position: e.Position, Event: e.Event, Of: e.Of, Reason: e.Reason, By: e.By,
		})
	}
	return c
}

// Ready implements [Saga]: the catalogue asks nothing of anyone.
func (c Catalogue) Ready() []Request { return nil }

// Recall implements [Saga].
func (c Catalogue) Recall(facts []Fact) (Command, error) {
	if len(facts) == 0 {
		return nil, fmt.Errorf("recall a command: no facts")
	}
	meta := Meta{ID: facts[0].Command, At: facts[0].Time}
	switch e := facts[0].Event.(type) {
	case events.ProjectionAdded:
		return AddProjection{Meta: meta, Name: e.Name, Version: e.Version, Source: e.Source, By: e.By}, nil
	case events.ProjectionRemoved:
		return RemoveProjection{Meta: meta, Name: e.Name, By: e.By, Reason: e.Reason}, nil
	case events.ProjectionSkipped:
		return SkipEvent{Meta: meta, Name: e.Name, Position: e.Position, Event: e.Event, Of: e.Of, Reason: e.Reason, By: e.By}, nil
	}
	return nil, fmt.Errorf("recall a command: no decision begins with %s", facts[0].Kind())
}
