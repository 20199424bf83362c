package events

// ProjectionAdded adds a declared projection to the catalogue, or replaces one of that name by another text. Whoever follows the stream
// folds history with it from the beginning.
type ProjectionAdded struct {
	Name    string `json:"name"`
	Version int    `json:"version"` // as its text says
	Source  Text   `json:"source"`  // the text that declares it
	By      string `json:"by,omitempty"`
}

// ProjectionRemoved removes a declared projection from the catalogue, with what was skipped in it.
type ProjectionRemoved struct {
	Name   string `json:"name"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ProjectionSkipped has a projection leave out an event that it cannot fold, for ever: also when it is built anew.
type ProjectionSkipped struct {
	Name     string   `json:"name"`
	Position Position `json:"position,string"`
	Event    Ref      `json:"event"`
	Of       Kind     `json:"kind"` // of the event
	Reason   string   `json:"reason"`
	By       string   `json:"by"`
}

// ValidateProjection reports whether name can name a projection.
func ValidateProjection(name string) error { return validName("projection", name) }

// Kind returns the permanent name.
func (ProjectionAdded) Kind() Kind   { return "projection.added" }
func (ProjectionRemoved) Kind() Kind { return "projection.removed" }
func (ProjectionSkipped) Kind() Kind { return "projection.skipped" }

func (e ProjectionAdded) String() string {
	return sentence("projection %s, version %d, was added%s", e.Name, e.Version, by(e.By))
}

func (e ProjectionRemoved) String() string {
	return sentence("projection %s was removed%s%s", e.Name, by(e.By), because(e.Reason))
}

func (e ProjectionSkipped) String() string {
	return sentence("projection %s skips %s (%s) at position %d%s%s", e.Name, e.Event, e.Of, e.Position, by(e.By), because(e.Reason))
}
