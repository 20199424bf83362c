package history

import (
	"context"
	"fmt"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
	"example.com/life/sagas/diff"
)

// Difference is what changed in an agent between two moments.
type Difference struct {
	Agent   events.AgentID `json:"agent"`
	From    Stretch        `json:"from"`
	To      Stretch        `json:"to"`
	Events  int64          `json:"events,string"` // between them
	Changes []Changed      `json:"changes"`
}

// Changed is one change, and the event that was the last to make it.
type Changed struct {
	diff.Change
	Last runs.TraceEvent `json:"last"`
}

// happened shortens a fact of a stream.
func happened(stream events.Stream, fact *sagas.Fact) runs.TraceEvent {
	return runs.TraceEvent{Ref: events.NewRef(stream, fact.Revision), Kind: fact.Kind(), Time: fact.Time, Text: fact.String()}
}

// Difference compares an agent at two moments, a time before which it begins and one after which it ends, and finds for each change the event that made it last. It reads back from the later
// moment only as far as it must. progress, if given, hears how many events were looked at.
func (r *Reader) Difference(ctx context.Context, agent events.AgentID, from, to events.Moment, progress func(int64)) (Difference, error) {
	d := Difference{Agent: agent, Changes: []Changed{}}
	var err error
	if d.From, err = r.Resolve(ctx, agent, from.Onward()); err == nil && from.Form == events.MomentTime {
		d.From, err = r.Resolve(ctx, agent, events.AtRevision(d.From.Before()))
	}
	if err != nil {
		return d, err
	}
	if d.To, err = r.Resolve(ctx, agent, to); err != nil {
		return d, err
	}
	if d.Events = int64(d.To.Revision - d.From.Revision); d.Events < 0 {
		return d, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(
			"the moments are the wrong way round: the first is revision %d, the second revision %d", d.From.Revision, d.To.Revision)}
	}
	stream := events.AgentStream(agent)
	before, _, err := FoldStream(ctx, r, AgentFold(), stream, d.From.Revision)
	if err != nil {
		return d, err
	}
	after, _, err := FoldStream(ctx, r, AgentFold(), stream, d.To.Revision)
	if err != nil {
		return d, err
	}
	changes := diff.Between(&before, &after)
	facts, err := r.lastChanges(ctx, &d, changes, progress)
	if err != nil {
		return d, err
	}
	for i, change := range changes {
		changed := Changed{Change: change}
		if facts[i] != nil {
			changed.Last = happened(stream, facts[i])
		}
		d.Changes = append(d.Changes, changed)
	}
	return d, nil
}

// lastChanges searches stretches of history, each longer than the one after it, from the later moment back.
func (r *Reader) lastChanges(ctx context.Context, d *Difference, changes []diff.Change, progress func(int64)) ([]*sagas.Fact, error) {
	s := seeker{journal: r.journal, agent: d.Agent, stream: events.AgentStream(d.Agent)}
	last, looked := diff.NewLastChanges(changes), int64(0)
	end, length := d.To.Revision, events.Revision(storage.SnapshotEvery/4)
	for more := len(changes) > 0; more && end > d.From.Revision; length = min(2*length, 64*storage.SnapshotEvery) {
		begin := max(d.From.Revision, end-length)
		saga, _, err := FoldStream(ctx, r, AgentFold(), s.stream, begin)
		if err != nil {
			return nil, err
		}
		last.Begin(saga)
		err = s.each(ctx, begin+1, end, func(e *events.Envelope) (bool, error) {
			fact, err := sagas.FactOf(e)
			if err != nil {
				return false, err
			}
			last.Apply(fact)
			if looked++; progress != nil && looked%4096 == 0 {
				progress(looked)
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
		end, more = begin, last.End()
	}
	return last.Found(), nil
}
