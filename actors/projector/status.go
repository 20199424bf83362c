package projector

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Status is one of a host's catalogue, and how it stands on this host.
type Status struct {
	projections.Spec
	Declared *sagas.DeclaredFold `json:"declared,omitempty"` // nil: it is in the build
	State    State               `json:"state"`
	Problem  string              `json:"problem,omitempty"` // why it is broken, or why the latest rebuild did not take over

	Position events.Position `json:"position,string"`         // up to which history is in it
	Head     events.Position `json:"head,string"`             // of the latest event there is
	Behind   int64           `json:"behind,string"`           // events until there; an estimate where positions have gaps
	Rate     int             `json:"rate"`                    // events it folds in a second at present
	Trend    Trend           `json:"trend"`                   //
	Left     events.Micros   `json:"left_us,string,omitzero"` // until it is at the head, at this rate
	Events   int64           `json:"events,string"`           // that were folded
	Since    events.Micros   `json:"since,string"`            // when its fold was begun

	Stored   events.Position           `json:"stored,string"`       // of the latest stored state
	Bytes    int                       `json:"bytes"`               // of that state
	TooLarge bool                      `json:"too_large,omitempty"` // the state is not stored any more: a start reads on from Stored
	Stopped  *Stopped                  `json:"stopped,omitempty"`   //
	Skipped  []sagas.SkippedProjection `json:"skipped,omitempty"`   // events that it leaves out
	Building *Building                 `json:"building,omitempty"`  // what is built beside it
	Host     events.HostID             `json:"host,omitempty"`      // that keeps it, where not every host does
}

// Building is a fold that is built to take the place of the one that answers.
type Building struct {
	Version  int             `json:"version"`
	Position events.Position `json:"position,string"`
	Rate     int             `json:"rate"`
	Left     events.Micros   `json:"left_us,string,omitzero"`
}

// State sums up how a projection stands.
type State string

// The states.
const (
	StateResting    State = "resting"     // it is read on when it is asked
	StateBuilding   State = "building"    // it was never at the end of history, and cannot be asked
	StateCatchingUp State = "catching up" // it answers as of where it is
	StateLive       State = "live"
	StateStopped    State = "stopped"
	StateBroken     State = "broken"    // its text cannot be used
	StateElsewhere  State = "elsewhere" // other hosts of the cluster keep it
)

// Trend says whether a projection comes nearer to the end of history.
type Trend string

// The trends.
const (
	TrendUpToDate      Trend = "up to date"
	TrendCatchingUp    Trend = "catching up"
	TrendFallingBehind Trend = "falling behind"
	TrendStandingStill Trend = "standing still"
)

// Projections lists the host's catalogue, in its order, and how each stands.
func (p *Projector) Projections(ctx context.Context) ([]Status, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return nil, err
	}
	head, err := p.head(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of history: %w", err)
	}
	p.mu.Lock()
	all := slices.Clone(p.list)
	p.heads.note(head, 0)
	p.mu.Unlock()
	list := make([]Status, len(all))
	for i, each := range all {
		if r, err := p.serves(each); err == nil {
			if err := p.prepare(ctx, r); err != nil {
				return nil, err
			}
		}
		list[i] = each.status(p, head)
	}
	return list, nil
}

// Projection says how one projection of the catalogue stands. In a host that rests it is read on to the end first.
func (p *Projector) Projection(ctx context.Context, name string) (Status, error) {
	if err := p.catalogueIfResting(ctx); err != nil {
		return Status{}, err
	}
	of, err := p.find(name)
	if err != nil {
		return Status{}, err
	}
	if _, err := p.serves(of); p.config.Resting && err == nil {
		if _, err := p.refresh(ctx, of, func(int64) {}); err != nil {
			return Status{}, err
		}
	}
	head, err := p.head(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("find the end of history: %w", err)
	}
	return of.status(p, head), nil
}

func (each *projection) status(p *Projector, head events.Position) Status {
	p.mu.Lock()
	serving, green, status := each.serving, each.green, Status{Declared: each.declared, Skipped: each.skipped}
	status.Problem = cmp.Or(each.broken, each.failed)
	growth := p.heads.speed()
	p.mu.Unlock()
	if serving == nil {
		status.Spec = projections.Spec{Name: each.name, Version: each.declared.Version}
		status.State, status.Head, status.Trend = StateBroken, head, TrendStandingStill
		return status
	}
	serving.describe(&status, head, growth)
	if p.config.Resting && status.State != StateStopped {
		status.State = StateResting
	}
	if !p.keeps(each.name) {
		status.State, status.Trend = StateElsewhere, TrendStandingStill
	}
	if green != nil {
		var other Status
		green.describe(&other, head, growth)
		status.Building = &Building{Version: other.Version, Position: other.Position, Rate: other.Rate, Left: other.Left}
	}
	return status
}

func (r *reading) describe(status *Status, head events.Position, growth float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	status.Spec, status.Position, status.Events, status.Stopped, status.Since = *r.spec, r.at, r.folded, r.stopped, r.begun
	status.Head, status.State = max(head, r.at), phases[r.phase].state
	status.Stored, status.Bytes, status.TooLarge = r.stored.at, r.stored.bytes, r.stored.large
	distance := status.Head - r.at
	if status.Behind = int64(distance); r.folded > 0 && r.at > 0 {
		status.Behind = min(status.Behind, int64(math.Ceil(float64(distance)*float64(r.folded)/float64(r.at))))
	}
	status.Rate, status.Trend, status.Left = r.trend.judge(distance, growth)
}

// trend knows how fast a reading has moved lately.
type trend struct{ samples []sample }

// sample is where a reading was at a moment.
type sample struct {
	when   time.Time
	at     events.Position
	folded int64
}

const (
	trendEvery = 200 * time.Millisecond
	trendKept  = 25
)

// note takes a sample, if the latest is old enough.
func (t *trend) note(at events.Position, folded int64) {
	when := time.Now()
	if n := len(t.samples); n > 1 && when.Sub(t.samples[n-2].when) < trendEvery {
		t.samples[n-1] = sample{when, at, folded}
		return
	}
	if len(t.samples) == trendKept {
		t.samples = slices.Delete(t.samples, 0, 1)
	}
	t.samples = append(t.samples, sample{when, at, folded})
}

// speed is how many positions it moved in a second lately.
func (t *trend) speed() float64 {
	if len(t.samples) < 2 {
		return 0
	}
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	if time.Since(last.when) > trendKept*trendEvery {
		return 0
	}
	return float64(last.at-first.at) / time.Since(first.when).Seconds()
}

// judge says how many events a second were folded lately, whether the distance to the head, which moves too, gets smaller, and how long
// it takes to be there.
func (t *trend) judge(distance events.Position, growth float64) (rate int, trend Trend, left events.Micros) {
	if distance == 0 {
		trend = TrendUpToDate
	} else {
		trend = TrendStandingStill
	}
	speed := t.speed()
	if speed > 0 {
		first, last := t.samples[0], t.samples[len(t.samples)-1]
		rate = int(float64(last.folded-first.folded) / time.Since(first.when).Seconds())
	}
	switch {
	case distance == 0 || speed == 0 && growth == 0:
		return rate, trend, 0
	case speed <= growth:
		return rate, TrendFallingBehind, 0
	}
	return rate, TrendCatchingUp, events.Micros(float64(distance) / (speed - growth) * 1e6)
}
