package history

import (
	"context"
	"encoding/json"
	"errors"

	"example.com/life/events"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// What one answer about causes and effects may read. Nothing here reads the whole store: an event's cause is named in its envelope, and
// what it led to stands in streams that are known, after it.
const (
	mostSteps   = 2000   // decisions of a chain of causes
	mostTold    = 50_000 // events read for a tree of effects
	nearby      = 4096   // events of another stream among which an answer is looked for
	mostWaiting = 20_000 // events among which the turn is looked for that takes in a message
)

// tracer follows causation across streams.
type tracer struct {
	reader   *Reader
	graph    *runs.Causality
	read     int64
	progress func(read int64)
	turns    map[events.TurnID]bool // of which all events were added
}

func (r *Reader) newTracer(progress func(int64)) *tracer {
	return &tracer{reader: r, graph: runs.NewCausality(), progress: progress, turns: map[events.TurnID]bool{}}
}

func (t *tracer) add(e *events.Envelope) {
	t.graph.Add(e)
	if t.read++; t.progress != nil && t.read%1024 == 0 {
		t.progress(t.read)
	}
}

// load adds the decision that an event belongs to, and returns the event.
func (t *tracer) load(ctx context.Context, ref events.Ref) (*events.Envelope, error) {
	stream, revision, err := ref.Split()
	if err != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	s, err := t.reader.seeker(ctx, stream)
	if err != nil {
		return nil, err
	}
	at, err := s.event(ctx, revision)
	if err != nil {
		return nil, err
	}
	first := revision
	if at.Command != "" {
		other := func(e *events.Envelope) (int64, bool) { return 0, e.Command != at.Command }
		before, _, err := s.numbered(ctx, 0, revision, other)
		if err != nil {
			return nil, err
		}
		first = before + 1
	}
	err = s.each(ctx, first, s.last, func(e *events.Envelope) (bool, error) {
		if e.Revision > revision && (e.Command != at.Command || at.Command == "") {
			return false, nil
		}
		t.add(e)
		return true, nil
	})
	return &at, err
}

// after finds the first event of a stream that stands after a position in the store and is wanted, among those nearby.
func (t *tracer) after(ctx context.Context, stream events.Stream, position events.Position, wanted func(*events.Envelope) bool) (found events.Ref, err error) {
	s, err := t.reader.seeker(ctx, stream)
	if err != nil || s.last == events.NoRevision {
		return "", err
	}
	begin, err := s.first(ctx, int64(position), func(e *events.Envelope) (int64, bool) { return int64(e.Position), true })
	if err != nil {
		return "", err
	}
	err = s.each(ctx, begin, min(s.last, begin+nearby), func(e *events.Envelope) (bool, error) {
		if wanted(e) {
			found = e.Ref()
		}
		return found == "", nil
	})
	return found, err
}

// Causes follows an event back to what set it off: from its decision to the event that it answers, and so on across streams, to a command
// from outside.
func (r *Reader) Causes(ctx context.Context, ref events.Ref, progress func(read int64)) (*runs.TraceNode, error) {
	t := r.newTracer(progress)
	seen := map[events.Ref]bool{}
	for queue, steps := []events.Ref{ref}, 0; len(queue) > 0 && steps < mostSteps; steps++ {
		at := queue[0]
		if queue = queue[1:]; seen[at] {
			continue
		}
		seen[at] = true
		if !t.graph.Knows(at) {
			if _, err := t.load(ctx, at); err != nil {
				if at != ref && isMissing(err) {
					continue // another program's reference, or an event that was removed
				}
				return nil, err
			}
		}
		if err := t.messages(ctx, at); err != nil {
			return nil, err
		}
		causes := t.graph.CausesOf(at)
		if len(causes) == 0 {
			origin, err := t.origin(ctx, t.graph.Together(at)[0])
			if err != nil {
				return nil, err
			}
			if origin != "" {
				t.graph.Because(origin, at)
				causes = append(causes, origin)
			}
		}
		queue = append(queue, causes...)
	}
	return t.graph.Causes(ref), nil
}

func isMissing(err error) bool {
	var refusal *sagas.RefusalError
	return errors.As(err, &refusal) && (refusal.Code == sagas.RefusedMissing || refusal.Code == sagas.RefusedInvalid)
}

// messages adds the messages that a decision takes into a turn, where they were received before.
func (t *tracer) messages(ctx context.Context, at events.Ref) error {
	for _, e := range t.graph.Together(at) {
		for _, id := range runs.MessagesTaken(e) {
			s, err := t.reader.seeker(ctx, e.Stream)
			if err != nil {
				return err
			}
			found, err := s.first(ctx, int64(messageNumber(id)), messageOf)
			if err != nil {
				return err
			}
			if received := events.NewRef(e.Stream, found); found <= e.Revision && !t.graph.Knows(received) {
				if _, err := t.load(ctx, received); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// origin finds what no envelope names: the event at which a fork was made, or the command on the bus that was carried out.
func (t *tracer) origin(ctx context.Context, e *events.Envelope) (events.Ref, error) {
	if e.Kind == (events.AgentForked{}).Kind() {
		event, err := e.Event()
		if forked, is := event.(events.AgentForked); err == nil && is {
			return events.NewRef(events.AgentStream(forked.Parent), forked.At), nil
		}
	}
	if runs.ByHost(e) {
		return t.before(ctx, e)
	}
	if category, _ := e.Stream.Split(); category == commandCategory || e.Command == "" {
		return "", nil
	}
	return t.published(ctx, e)
}

// before finds what a turn had come to when the host went on with it by itself.
func (t *tracer) before(ctx context.Context, e *events.Envelope) (events.Ref, error) {
	s := seeker{journal: t.reader.journal, stream: e.Stream}
	same := func(before *events.Envelope) (int64, bool) { return 0, before.Correlation == e.Correlation }
	at, _, err := s.numbered(ctx, max(0, e.Revision-nearby), e.Revision-1, same)
	if err != nil || at == events.NoRevision {
		return "", err
	}
	return events.NewRef(e.Stream, at), nil
}

// published finds the command on the bus that a decision carried out, if there is one: before it, and under the same id.
func (t *tracer) published(ctx context.Context, e *events.Envelope) (events.Ref, error) {
	stream := t.commandStream(ctx, e)
	s, err := t.reader.seeker(ctx, stream)
	if err != nil || s.last == events.NoRevision {
		return "", err
	}
	end, err := s.first(ctx, int64(e.Position), func(e *events.Envelope) (int64, bool) { return int64(e.Position), true })
	if err != nil || end == 0 {
		return "", err
	}
	var found events.Ref
	err = s.each(ctx, max(0, end-nearby), end-1, func(published *events.Envelope) (bool, error) {
		if publishedID(published) == e.Command {
			found = published.Ref()
			t.add(published)
		}
		return found == "", nil
	})
	return found, err
}

// commandStream is where commands for an agent's tenant are published.
func (t *tracer) commandStream(ctx context.Context, e *events.Envelope) events.Stream {
	tenant := sagas.DefaultTenant
	if agent, is := e.Stream.Agent(); is {
		if state, err := t.reader.State(ctx, agent, e.Revision); err == nil && state.Agent.Config.Tenant != "" {
			tenant = state.Agent.Config.Tenant
		}
	}
	return events.Stream("command-" + string(tenant))
}

// publishedID is the id of a command on the bus: the one that its metadata name, else the message's own.
func publishedID(e *events.Envelope) events.CommandID {
	var metadata struct {
		Command events.CommandID `json:"command"`
	}
	if e.Foreign != nil && json.Unmarshal(e.Foreign.Metadata, &metadata) == nil && metadata.Command != "" {
		return metadata.Command
	}
	return events.CommandID(e.ID.String())
}
