package actorstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
	"example.com/life/sagas/markdown"
)

// Knowledge is the notes of one tenant in memory: the saga decides, the projection answers, and a list holds the history.
type Knowledge struct {
	mu      sync.Mutex
	saga    sagas.Knowledge
	fold    projections.Fold
	spec    *projections.Spec
	history []events.NoteWritten // by revision; of a removal the zero value
	calls   int
}

const fakeTenant events.TenantID = "local"

// NewKnowledge returns notes of which there are none.
func NewKnowledge() *Knowledge {
	spec, err := projections.Find("knowledge")
	if err != nil {
		panic(err)
	}
	return &Knowledge{saga: sagas.NewKnowledge(), spec: spec, fold: spec.New()}
}

// Ask implements actors.Knowledge.
func (k *Knowledge) Ask(ctx context.Context, query projections.Query) (json.RawMessage, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	query, _, err := k.spec.Check(query)
	if err != nil {
		return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	answer, err := k.fold.Answer(query)
	if errors.Is(err, projections.ErrMissing) {
		return nil, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// Text implements actors.Knowledge.
func (k *Knowledge) Text(_ context.Context, note events.Ref) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, revision, err := note.Split()
	if err != nil || int(revision) >= len(k.history) {
		return "", fmt.Errorf("there is no event %s", note)
	}
	return k.history[revision].Inline, nil
}

// Keep implements actors.Knowledge. No call ever returned anything.
func (k *Knowledge) Keep(ctx context.Context, change actors.NoteChange) (actors.Receipt, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return actors.Receipt{}, err
	}
	if change.FromCall != "" {
		return actors.Receipt{}, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "this turn has no call " + string(change.FromCall) + " that returned"}
	}
	k.calls++
	command := sagas.KeepNotes{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprintf("note-%d", k.calls)), At: 1}}
	if change.Remove != "" {
		command.Remove = []sagas.NoteRemoval{{Note: change.Note.ID, Reason: change.Remove}}
	} else {
		change.Note.Links = append(change.Note.Links, markdown.Read(change.Note.Inline).Links...)
		command.Write = []events.Note{change.Note}
	}
	decided, err := k.saga.Decide(command)
	var known *sagas.DuplicateError
	if errors.As(err, &known) {
		return actors.Receipt{Duplicate: true}, nil
	}
	if err != nil {
		return actors.Receipt{}, err
	}
	return actors.Receipt{Written: len(command.Write), Removed: len(command.Remove)}, k.record(decided[0], command.ID)
}

func (k *Knowledge) record(event events.Event, id events.CommandID) error {
	data, version, err := events.Encode(event)
	if err != nil {
		return err
	}
	written, _ := event.(events.NoteWritten) //nolint:errcheck // the zero value stands for a removal
	revision := events.Revision(len(k.history))
	k.history = append(k.history, written)
	k.saga = k.saga.Apply(sagas.Fact{Event: event, Revision: revision, Command: id})
	return k.fold.Apply(&projections.Recorded{Envelope: &events.Envelope{
		Stream: events.KnowledgeStream(fakeTenant), Revision: revision, Position: events.Position(revision + 1), Time: 1,
		Kind: event.Kind(), Version: version, Data: data,
	}})
}
