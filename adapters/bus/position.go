package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// position is how far a consumer has come: everything up to an event is handled. It is the event that counts, not its position, which is
// another when the store was copied or is reached in another way.
type position struct {
	Stream   events.Stream   `json:"stream,omitempty"` // of the event; empty in what older builds stored
	Revision events.Revision `json:"revision,string"`
	Position events.Position `json:"position,string"` // in the store, when this was stored
}

// spreadLater is by how much positions behind life store serve grew when it began to spread them: older builds stored smaller ones.
const spreadLater = 128

// LostError says that a consumer cannot go on in this store: the event that it handled last is not in it, or another stands in its place. It
// happens where its position was copied from another store, or its store restored from an earlier backup.
type LostError struct {
	Checkpoints events.Stream
	Event       events.Ref // handled last; "@" and the revision where an older build did not store the stream
	Position    events.Position
}

// Error says so, and how to go on.
func (l *LostError) Error() string {
	return fmt.Sprintf("go on from %s: the event handled last, %s at position %d, is not in this store: the position is of another store, or of what "+
		"came after a backup; begin anew under another name", l.Checkpoints, l.Event, l.Position)
}

const checkpointKind = "checkpoint.stored"

// keptPositions is how many positions a store that honours stream metadata keeps of one consumer; the last one counts.
const keptPositions = 16

// saveWithin bounds one saving, so that a consumer is not held up by it.
const saveWithin = 5 * time.Second

// positions keeps a consumer's position in a stream of its own, "checkpoint-<key>". It saves seldom, so after a crash what came
// since is delivered again. One goroutine at a time may use it.
type positions struct {
	journal storage.Journal
	key     string // empty: nothing is kept
	every   int
	log     *slog.Logger

	at      position
	unsaved int
	bounded bool // its stream was told to keep the last few only
}

func (p *positions) stream() events.Stream { return checkpointPrefix + events.Stream(p.key) }

// load moves the source to the stored position, if there is one.
func (p *positions) load(ctx context.Context, source *storage.From) error {
	p.at = position{Revision: source.Revision, Position: source.Position}
	if p.key == "" {
		return nil
	}
	page, err := p.journal.Read(ctx, p.stream(), 1<<62, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return fmt.Errorf("read %s: %w", p.stream(), err)
	}
	if len(page.Events) == 0 {
		return nil
	}
	if err := json.Unmarshal(page.Events[0].Data, &p.at); err != nil {
		return fmt.Errorf("read %s: %s holds no position: %w", p.stream(), page.Events[0].Ref(), err)
	}
	p.bounded = true
	if source.Stream == "" {
		if p.at.Position, err = p.locate(ctx, page.Events[0].Position); err != nil {
			return err
		}
	}
	source.Revision, source.Position = p.at.Revision, p.at.Position
	return nil
}

// locate says where the event is that was handled last: before noted, where that is recorded.
func (p *positions) locate(ctx context.Context, noted events.Position) (events.Position, error) {
	if p.at.Stream != "" {
		page, err := p.journal.Read(ctx, p.at.Stream, p.at.Revision, storage.Forward, storage.Limit{Events: 1})
		if err != nil && !errors.Is(err, storage.ErrDeleted) {
			return 0, fmt.Errorf("go on from %s: %w", p.stream(), err)
		}
		if len(page.Events) > 0 && page.Events[0].Revision == p.at.Revision {
			return page.Events[0].Position, nil
		}
	}
	candidates := []events.Position{p.at.Position} // the stream was deleted or truncated, or is not known
	if p.at.Stream == "" && p.at.Position <= math.MaxInt64/spreadLater {
		candidates = append(candidates, spreadLater*p.at.Position)
	}
	for _, at := range candidates {
		if at >= noted {
			continue // an event is handled before that is recorded: this is the position of another store
		}
		page, err := p.journal.ReadAll(ctx, storage.Before(at), storage.Forward, storage.Filter{System: true}, storage.Limit{Events: 1})
		if err != nil && !errors.Is(err, storage.ErrPlace) {
			return 0, fmt.Errorf("go on from %s: %w", p.stream(), err)
		}
		if len(page.Events) == 0 {
			continue
		}
		if e := &page.Events[0]; e.Position == at && e.Revision == p.at.Revision && (p.at.Stream == "" || p.at.Stream == e.Stream) {
			return at, nil
		}
	}
	return 0, &LostError{Checkpoints: p.stream(), Event: events.NewRef(p.at.Stream, p.at.Revision), Position: p.at.Position}
}

// passed notes how far the consumer is now that another event is handled, and saves when enough are.
func (p *positions) passed(ctx context.Context, to position) {
	if p.at == to { // one that is older is under way
		return
	}
	p.at = to
	if p.unsaved++; p.unsaved >= p.every {
		p.save(ctx)
	}
}

// save stores the position. If it cannot, more is delivered again after a crash, and it is tried again with the next event.
func (p *positions) save(ctx context.Context) {
	if p.key == "" || p.unsaved == 0 {
		p.unsaved = 0
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin) // the last one is saved when ctx has ended
	defer cancel()
	data, err := json.Marshal(p.at)
	if err == nil {
		_, err = appendAgain(ctx, p.journal, p.stream(), []events.Envelope{recordOf(checkpointKind, data)})
	}
	if err != nil {
		p.log.Warn("store a consumer's position: some events will be delivered again", "stream", p.stream(), "error", err)
		return
	}
	p.unsaved = 0
	p.bound(ctx)
}

// bound has stores that honour stream metadata drop old positions. Where it fails the stream only grows.
func (p *positions) bound(ctx context.Context) {
	if p.bounded {
		return
	}
	p.bounded = true
	metadata := recordOf("$metadata", fmt.Appendf(nil, `{"$maxCount":%d}`, keptPositions))
	if _, err := p.journal.Append(ctx, "$$"+p.stream(), storage.ExpectNoStream, []events.Envelope{metadata}); err != nil {
		p.log.Debug("bound a stream of positions", "stream", p.stream(), "error", err)
	}
}

// recordOf is an event of this package's own: one that no saga decided.
func recordOf(kind events.Kind, data []byte) events.Envelope {
	e := events.Envelope{ID: uuid.New(), Kind: kind, Data: data}
	e.SetMetadata([]byte(`{}`))
	e.Time = storage.Now()
	return e
}
